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
retried=$(grep -c -i -E 'retr|second try|attempt 2' "$work/fresh-clone-run.log" || true)
has_retry() { [ "$retried" -gt 0 ]; }
show fresh-clone-run-tells-of-the-retry "$retried" '>0' "$(verdict has_retry)"

# `make run-failing` may end red itself, or say which exit code it saw: both tell of 100.
in_time "$run_limit" "$work/fresh-clone-failing.log" make run-failing
tail -n 60 "$work/fresh-clone-failing.log"
reports_100() { grep -q -w 100 "$work/fresh-clone-failing.log"; }
show fresh-clone-failing-example "$(verdict reports_100 | sed 's/met/100/; s/MISSED/none/')" 100 "$(verdict reports_100)"
# What a person needs: which step, what was expected or seen, and the command to look closer.
lines=$(grep -c -E 'FAIL|expected|exit code|testledger executions show' "$work/fresh-clone-failing.log" || true)
is_explained() { grep -q 'testledger executions show' "$work/fresh-clone-failing.log" && [ "$lines" -ge 3 ]; }
show fresh-clone-failing-example-message "$lines" '>=3' "$(verdict is_explained)"

if [ "${WITH_TESTS:-0}" = 1 ]; then
    in_time "$test_limit" "$work/fresh-clone-test.log" make test
    tail -n 20 "$work/fresh-clone-test.log"
    is_tested() { [ "$code" = 0 ]; }
    show fresh-clone-test "$code" 0 "$(verdict is_tested)"
fi
exit "$missed"
