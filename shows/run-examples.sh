#!/usr/bin/env bash
# Show: in a fresh clone `make run` builds and ends green, and the example that fails is reported well.
#
# CLONE_FROM names the repository (default: this one), SHOWS_DIR the working folder (default: target/shows). What is
# not committed is not in the clone. WITH_TESTS=1 runs `make test` in the clone, too.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=${SHOWS_DIR:-$here/../target/shows}
mkdir -p "$work" && work=$(cd "$work" && pwd)
from=${CLONE_FROM:-$(git -C "$here" rev-parse --show-toplevel)}
run_limit=480
test_limit=3600

clone=$(mktemp -d "$work/fresh-clone.XXXXXX")
trap 'rm -rf "$clone"' EXIT
git clone --quiet "$from" "$clone/testledger"
cd "$clone/testledger"
commit=$(git rev-parse --short HEAD)
# A clone within another checkout must not share its build, its settings or its log.
unset CARGO_TARGET_DIR TESTLEDGER
while IFS= read -r name; do unset "$name"; done < <(compgen -e TESTLEDGER_ || true)

missed=0
show() { # NAME VALUE LIMIT met|MISSED
    echo "SHOW $1 value=$2 limit=$3 seed=- commit=$commit $4"
    [ "$4" = met ] || missed=1
}
verdict() { if "$@"; then echo met; else echo MISSED; fi; }

# in_time LIMIT LOG COMMAND...: the exit code in `code`, whole seconds in `seconds`. The output is kept and shown.
in_time() {
    local limit=$1 log=$2 began=$SECONDS
    shift 2
    code=0
    timeout --kill-after=30 "$limit" "$@" >"$log" 2>&1 || code=$?
    seconds=$((SECONDS - began))
}

in_time "$run_limit" "$work/fresh-clone-run.log" make run
tail -n 40 "$work/fresh-clone-run.log"
[ "$code" = 0 ] || echo "make run ended with exit code $code"
is_green() { [ "$code" = 0 ] && [ "$seconds" -lt "$run_limit" ]; }
show fresh-clone-run "$seconds" "$run_limit" "$(verdict is_green)"
# What the log says of that run: commands and requests that passed, a service, a case that failed once and then passed.
if [ -e .testledger/ledger.db ]; then
    target/debug/testledger events --json >"$work/fresh-clone-run.events"
else
    : >"$work/fresh-clone-run.events"
fi
told=$(python3 - "$work/fresh-clone-run.events" <<'END'
import collections, json, sys
events = [json.loads(line) for line in open(sys.argv[1], encoding="utf-8")]
passed = [e["data"] for e in events if e["type"] == "StepFinished" and e["data"]["outcome"] == "PASSED"]
requests = sum("http_status" in step for step in passed)
ends = collections.Counter(e["type"] for e in events)
second = {e["execution_id"] for e in events if e["type"] == "ExecutionRetryScheduled"}
second &= {e["execution_id"] for e in events if e["type"] == "ExecutionPassed"}
print(f"commands:{len(passed) - requests},requests:{requests},services:{ends['ServiceStarted']},second-tries:{len(second)}")
END
)
has_all() { [[ $told != *:0* ]]; }
show fresh-clone-run-passed "$told" none-0 "$(verdict has_all)"

# `make` ends with an error of its own (2) and says which exit code it saw.
log=$work/fresh-clone-failing.log
in_time "$run_limit" "$log" make run-failing
tail -n 60 "$log"
seen=$(sed -n 's/^make.*Error \([0-9]*\)$/\1/p' "$log" | tail -n 1)
is_100() { [ "$seen" = 100 ]; }
show fresh-clone-failing-example "${seen:-none}" 100 "$(verdict is_100)"
# What a person needs: what was expected and what came, the exit code, the time, what was not run, where to look closer.
explained=0
for message in 'expected it to contain "five"' 'exit code 42, expected 0' 'timed out after' 'NOT RUN' \
    'testledger executions show'; do
    if grep -q -F "$message" "$log"; then explained=$((explained + 1)); else echo "the report lacks: $message"; fi
done
is_explained() { [ "$explained" = 5 ]; }
show fresh-clone-failing-example-messages "$explained" 5 "$(verdict is_explained)"

if [ "${WITH_TESTS:-0}" = 1 ]; then
    in_time "$test_limit" "$work/fresh-clone-test.log" make test
    tail -n 20 "$work/fresh-clone-test.log"
    is_tested() { [ "$code" = 0 ]; }
    show fresh-clone-test "$code" 0 "$(verdict is_tested)"
fi
exit "$missed"
