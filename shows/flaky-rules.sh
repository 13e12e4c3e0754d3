#!/usr/bin/env bash
# Show: the rules of flaky steps against cases worked out by hand from the published definitions, which the rules' own
# docstrings cite. The cases are tests; this counts them, together with the other tests of the statistics.
set -euo pipefail

cd "$(dirname "$0")/.."
commit=$(git rev-parse --short HEAD)$([ -z "$(git status --porcelain)" ] || echo +dirty)
code=0
# The fold against figures by hand, and the walk over runs, the versions and the report beside the code.
found=$({ cargo test --quiet --package testledger-projections --test flaky_steps &&
    cargo test --quiet --package testledger-projections --lib flaky_steps; } 2>&1) || code=$?
passed=$(grep -o '[0-9]* passed' <<<"$found" | awk '{ all += $1 } END { print all + 0 }')
failed=$(grep -o '[0-9]* failed' <<<"$found" | awk '{ all += $1 } END { print all + 0 }')
# A rule without a source in its docstring would stand here.
rules=$(grep -c '^pub const [A-Z_]*: Rule' projections/src/flaky_steps/rules.rs)
cited=$(awk '/^\/\/\// { text = text $0 } /^pub const [A-Z_]*: Rule/ { if (text ~ /20[0-9][0-9]\)|see \[`/) cited++; text = "" } /^$/ { text = "" } END { print cited + 0 }' \
    projections/src/flaky_steps/rules.rs)
word() { if "$@"; then echo met; else echo MISSED; fi; }
echo "SHOW flaky_rules_tests_passed value=$passed limit=>=20 seed=- commit=$commit $(word [ "$passed" -ge 20 ])"
echo "SHOW flaky_rules_tests_failed value=$failed limit=0 seed=- commit=$commit $(word [ "$failed" = 0 ])"
echo "SHOW flaky_rules_cited value=$cited limit=$rules seed=- commit=$commit $(word [ "$cited" = "$rules" ])"
[ "$code" = 0 ] && [ "$passed" -ge 20 ] && [ "$failed" = 0 ] && [ "$cited" = "$rules" ] || { echo "$found"; exit 1; }
