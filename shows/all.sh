#!/usr/bin/env bash
# Runs every show, one after the other, and sums up: `make shows`. Exit code 1 if a limit was missed or a show did not
# come to its end. The lines are kept in target/shows/figures.txt, what each show printed beside it.
#
# ONLY="NAME..." runs some of them.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
work=${SHOWS_DIR:-$root/target/shows}
mkdir -p "$work" && work=$(cd "$work" && pwd)
export SHOWS_DIR=$work
figures=$work/figures.txt
: >"$figures"

# The benches come after the scripts: building them puts a `testledger` with test features in the place of the other.
shows=(
    flaky-rules thousand-cases thousand-cases-mongodb published-suites published-suites-mongodb run-examples
    long-stream torture-sqlite tamper-sqlite fuzz-inputs
    append-mongodb ordering-mongodb torture-mongodb history-mongodb tamper-mongodb
    projecting-killed projections-million projections-visible projections-blows flaky-windows
    resources recovery-time recovery-time-10000 recovery-time-lease recovery-nodes simulation recovery-killed
)
command_of() {
    case $1 in
        flaky-rules | thousand-cases | published-suites) echo "shows/$1.sh" ;;
        thousand-cases-mongodb | published-suites-mongodb) echo "env STORE=mongodb shows/${1%-mongodb}.sh" ;;
        resources | simulation) echo "shows/$1.sh" ;;
        recovery-killed | recovery-nodes) echo "cargo bench --quiet --features faults --bench ${1//-/_}" ;;
        recovery-time-10000) echo "env REQUESTS=1 IN_FLIGHT=10000 cargo bench --quiet --bench recovery_time" ;;
        recovery-time-lease) echo "env LEASE=60 EVENTS=100000 cargo bench --quiet --bench recovery_time" ;;
        run-examples) echo "env WITH_TESTS=1 shows/run-examples.sh" ;;
        *) echo "cargo bench --quiet --bench ${1//-/_}" ;;
    esac
}

echo "building (release)"
cargo build --release --quiet --package testledger --package test-servers
bad=()
for name in "${shows[@]}"; do
    [[ -z ${ONLY:-} || " $ONLY " == *" $name "* ]] || continue
    echo "== $name"
    began=$SECONDS code=0
    # shellcheck disable=SC2046 # the words of the command
    $(command_of "$name") >"$work/$name.log" 2>&1 || code=$?
    cat "$work/$name.log"
    echo "   ($((SECONDS - began)) s, exit code $code)"
    lines=$(grep -c '^SHOW ' "$work/$name.log" || true)
    grep '^SHOW ' "$work/$name.log" >>"$figures" || true
    [ "$code" = 0 ] && [ "$lines" -gt 0 ] || bad+=("$name (exit code $code, $lines figures)")
done

echo
awk '{
    printf "%-52s %16s  %-16s %-12s %-16s %s\n", $2, substr($3, 7), substr($4, 7), substr($5, 6), substr($6, 8), $7
}' "$figures"
missed=$(grep -c ' MISSED$' "$figures" || true)
echo
echo "$(wc -l <"$figures") figures, $missed missed; kept in $figures"
for one in "${bad[@]}"; do echo "not as it should be: $one"; done
[ "$missed" = 0 ] && [ "${#bad[@]}" = 0 ]
