#!/usr/bin/env bash
# Show: the simulation. Worlds of several engines that die, are cut off or stopped, with every invariant checked after each;
# worlds that repeat themselves commit by commit; a crash before or after every append; every prefix of many logs, recovered;
# the planted bugs, each caught.
#
# SEEDS names another number of worlds (200000 is the long run), LOGS of logs.
set -euo pipefail

cd "$(dirname "$0")/.."
seeds=${SEEDS:-10000}
logs=${LOGS:-1000}
commit=$(git rev-parse --short HEAD)$([ -z "$(git status --porcelain)" ] || echo +dirty)
simulate() { cargo test --quiet --locked --release --workspace --features testledger/faults --test simulation -- --nocapture "$@"; }
code=0
found=$(TESTLEDGER_SIM_SEEDS=$seeds simulate engines_are_lost 2>&1) || code=$?
crashed=$(simulate a_crash_at_any_append 2>&1) || code=$?
prefixes=$(TESTLEDGER_SIM_SEEDS=$logs simulate every_prefix 2>&1) || code=$?
repeated=$(simulate the_same_seed 2>&1) || code=$?
planted=$(simulate every_planted 2>&1) || code=$?
SEEDS=$seeds LOGS=$logs COMMIT=$commit python3 - "$found" "$crashed" "$prefixes" "$repeated" "$planted" <<'EOF' || code=1
import os, re, sys

found, crashed, prefixes, repeated, planted = sys.argv[1:]
seeds, commit, good = int(os.environ["SEEDS"]), os.environ["COMMIT"], True

def figure(name, value, limit, met):
    global good
    good &= met
    print(f"SHOW simulation_{name} value={value} limit={limit} seed=1..{seeds} commit={commit} {'met' if met else 'MISSED'}")

ok = lambda text: "test result: ok" in text
worlds = sum(map(int, re.findall(r"(\d+) worlds", found)))
figure("worlds", worlds, f">={seeds}", worlds >= seeds)
figure("worlds_that_break_an_invariant", 0 if ok(found) else "some", 0, ok(found))
died = sum(map(int, re.findall(r"worlds, (\d+) engines", found)))
figure("engines_lost", died, "reported", True)
points = {}
for point, count in re.findall(r"(\w+): (\d+)", " ".join(re.findall(r"fault points: \{(.*?)\}", found))):
    points[point] = points.get(point, 0) + int(count)
rarest = min(points, key=points.get) if points else "none"
least = points.get(rarest, 0)
figure("fault_points", len(points), 14, len(points) == 14)
figure(f"deaths_at_the_rarest_point_{rarest}", least, ">=100", least >= 100)
planned, hit = re.search(r"(\d+) crashes planned, (\d+) hit", crashed).groups() if ok(crashed) else (0, 0)
figure("crashes_at_appends", hit, f"of {planned}", ok(crashed))
logs, cut, longest = re.search(r"(\d+) logs, (\d+) prefixes.* has (\d+) commits", prefixes).groups() if ok(prefixes) else (0, 0, 0)
figure("logs_recovered_from_every_prefix", logs, f">={os.environ['LOGS']}", int(logs) >= int(os.environ["LOGS"]))
figure("prefixes_recovered", cut, "reported", True)
figure("commits_of_the_longest_log", longest, "reported", True)
figure("seeds_repeated_bit_for_bit", 100 if ok(repeated) else 0, 100, ok(repeated))
bugs = re.findall(r"^(\w+): seed (\d+)", planted, re.M)
figure("planted_bugs_caught", len(bugs), ">=10, all", ok(planted) and len(bugs) >= 10)
worst = max((int(seed) for _, seed in bugs), default=0)
figure("seeds_until_the_last_bug", worst, "<=10000", ok(planted) and worst <= 10000)
sys.exit(0 if good else 1)
EOF
[ "$code" = 0 ] || { printf '%s\n' "$found" "$crashed" "$prefixes" "$repeated" "$planted" | grep -A2 -e panicked -e "run again"; exit 1; }
