#!/usr/bin/env bash
# Show: the disk is full, no file descriptors are left, memory is limited, the store is away for a minute. Each time the run
# fails closed (an exit code and a word that say what is wrong, nothing shown as passed), and a recovery with the resource
# back brings everything to the verdict of an undisturbed run.
#
# Needs root for a small file system of its own (the disk that is full). TESTLEDGER names the binary (default:
# target/release/testledger), SHOWS_DIR the working folder.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=${SHOWS_DIR:-$here/../target/shows}
mkdir -p "$work" && work=$(cd "$work" && pwd)
export STORE=mongodb
# shellcheck source=lib/store.sh
source "$here/lib/store.sh"
testledger=${TESTLEDGER:-$here/../target/release/testledger}
command -v "$testledger" >/dev/null || { echo "no testledger at $testledger: cargo build --release" >&2; exit 2; }
testledger=$(realpath "$(command -v "$testledger")")
commit=$(git -C "$here" rev-parse --short HEAD)$([ -z "$(git -C "$here" status --porcelain)" ] || echo +dirty)
place=$(mktemp -d "$work/resources.XXXXXX")
export HOME=$place
cd "$place"
all=met
figure() { # name value limit met|MISSED
    echo "SHOW resources_$1 value=$2 limit=$3 seed=- commit=$commit $4"
    [ "$4" = met ] || all=MISSED
}
is() { if "$@"; then echo met; else echo MISSED; fi; }

# Four cases of some steps; a folder `hold` keeps them until it is taken away.
cat >plan.yaml <<'EOF'
suite: scarce
cases:
  - id: one
    matrix: { n: [1, 2, 3, 4] }
    steps:
      - { id: a, run: [sh, -c, "echo a >> ran; touch up; while [ -d hold ]; do sleep 0.05; done; head -c 20000 /dev/urandom | base64"] }
      - { id: b, run: [sh, -c, "echo b >> ran; sleep 0.05"] }
EOF

# Waits until a run has begun its first command.
begun() { # pid
    until [ -e up ]; do
        kill -0 "$1" || { echo "the run was over before it began:" >&2; cat run.txt >&2; exit 1; }
        sleep 0.05
    done
}

# Recovers with everything back, and compares the verdict.
recovered() { # name
    local code=0
    "$testledger" recover >recover.txt 2>&1 || code=$?
    local open=0
    "$testledger" recover --dry-run >>recover.txt 2>&1 || open=1
    local passed
    passed=$("$testledger" executions list --all --limit 1000 --json |
        python3 -c 'import json,sys; e=json.load(sys.stdin)["executions"]; print(sum(x["status"]=="PASSED" for x in e), len(e))')
    "$testledger" audit verify --views >verify.txt 2>&1 || { cat verify.txt; code=99; }
    figure "$1_recovered" "exit:$code,open:$open,passed:${passed// /of}" "exit:0,open:0,all" \
        "$(is [ "$code$open${passed% *}" = "00${passed#* }" ])"
    [ "$code$open" = 00 ] || cat recover.txt
}

# --- the disk is full
mkdir disk
if mount -t tmpfs -o size=3m tmpfs disk 2>/dev/null; then
    trap 'umount "$place/disk" 2>/dev/null || true' EXIT
    export TESTLEDGER_STORE=sqlite:$place/disk/ledger.db TESTLEDGER_STORE_PATIENCE=1s
    "$testledger" run -- true >/dev/null 2>&1
    mkdir hold && rm -f up
    code=0
    "$testledger" run plan.yaml --jobs 2 >run.txt 2>&1 &
    run=$!
    begun "$run"
    dd if=/dev/zero of=disk/filler bs=4k >/dev/null 2>&1 || true
    rmdir hold
    wait "$run" || code=$?
    figure disk_full_exit "$code" 111 "$(is [ "$code" = 111 ])"
    figure disk_full_says "$(grep -ciE 'full|no space' run.txt)" ">=1" "$(is grep -qiE 'full|no space' run.txt)"
    rm disk/filler
    recovered disk_full
    umount disk && trap - EXIT
else
    figure disk_full_exit "no-file-system-of-its-own" 111 MISSED
fi

# --- no file descriptors left
export TESTLEDGER_STORE=sqlite:$place/descriptors.db
rm -f up ran
code=0
(ulimit -Sn 24 && ulimit -Hn 24 && exec "$testledger" run plan.yaml --jobs 4) >run.txt 2>&1 || code=$?
figure descriptors_exit "$code" "not 0" "$(is [ "$code" != 0 ])"
figure descriptors_says "$(grep -ciE 'too many open files|descriptor|no room|unable to open' run.txt)" ">=1" \
    "$(is grep -qiE 'too many open files|descriptor|no room|unable to open' run.txt)"
head -5 run.txt
rm -f up ran
mkdir -p hold
code=0
"$testledger" run plan.yaml --jobs 2 >run.txt 2>&1 &
run=$!
begun "$run"
# No more than it has: what it begins from now on finds no room.
prlimit --pid "$run" --nofile="$(find "/proc/$run/fd" -mindepth 1 | wc -l)"
rmdir hold
wait "$run" || code=$?
figure descriptors_in_the_middle_exit "$code" 100 "$(is [ "$code" = 100 ])"
figure descriptors_in_the_middle_says "$(grep -c 'Too many open files' run.txt)" ">=1" "$(is grep -q 'Too many open files' run.txt)"
id=$("$testledger" executions list --limit 1 --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["executions"][0]["id"])')
code=0
"$testledger" executions retry "$id" >retry.txt 2>&1 || { code=$? && cat retry.txt; }
figure descriptors_retried_with_them_back "exit:$code" "exit:0" "$(is [ "$code" = 0 ])"

# --- no memory is left: the process ends in the middle, and is recovered
cp plan.yaml small.yaml
# Thirty-two cases that each say five megabytes.
sed -i -e "s/{ n: .* }/{ n: [$(seq -s, 32)] }/" -e 's/head -c 20000/head -c 4000000/' plan.yaml
export TESTLEDGER_STORE=sqlite:$place/memory.db
rm -f up ran
mkdir -p hold
"$testledger" run plan.yaml --jobs 16 >run.txt 2>&1 &
run=$!
begun "$run"
# The limit of a process that runs already: every further allocation of address space is refused.
prlimit --pid "$run" --as=1
rmdir hold
code=0
wait "$run" || code=$?
figure memory_exit "$code" "not 0" "$(is [ "$code" != 0 ])"
figure memory_says "$(grep -ci 'memory allocation' run.txt)" ">=1" "$(is grep -qi 'memory allocation' run.txt)"
recovered memory
mv small.yaml plan.yaml

# --- the store is away for 60 s, and the patience is shorter
port=$(sed -E 's#.*127\.0\.0\.1:([0-9]+).*#\1#' <<<"$TESTLEDGER_TEST_MONGODB")
server=$(pgrep -f -- "mongod.*--port[= ]$port" | head -1)
export TESTLEDGER_STORE TESTLEDGER_STORE_PATIENCE=20s
TESTLEDGER_STORE=$(new_store resources)
rm -f up ran
mkdir -p hold
code=0
"$testledger" run plan.yaml --jobs 2 >run.txt 2>&1 &
run=$!
begun "$run"
kill -STOP "$server"
(sleep 60 && kill -CONT "$server") &
back=$!
rmdir hold
began=$SECONDS
wait "$run" || code=$?
figure store_away_exit "$code" 111 "$(is [ "$code" = 111 ])"
figure store_away_gave_up_after_s "$((SECONDS - began))" "<=60" "$(is [ "$((SECONDS - began))" -le 60 ])"
figure store_away_says "$(grep -ci 'unavailable' run.txt)" ">=1" "$(is grep -qi unavailable run.txt)"
wait "$back"
recovered store_away

rm -rf "$place"
[ "$all" = met ]
