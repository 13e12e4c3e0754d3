#!/usr/bin/env bash
# Show: 1,000 cases of one 1-second step at --jobs 100. Every request is durable before the first start, the engine's
# own cost for each execution stays below its limit, every event is there once, the chain verifies, no process is left.
#
# TESTLEDGER names the binary (default: target/release/testledger), SHOWS_DIR the working folder (default:
# target/shows), CASES, JOBS and SECONDS_EACH another size (the limits are meant for the default one), STORE=mongodb
# another store.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=${SHOWS_DIR:-$here/../target/shows}
mkdir -p "$work" && work=$(cd "$work" && pwd)
# shellcheck source=lib/store.sh
source "$here/lib/store.sh"
testledger=${TESTLEDGER:-$here/../target/release/testledger}
command -v "$testledger" >/dev/null || { echo "no testledger at $testledger: cargo build --release" >&2; exit 2; }
testledger=$(realpath "$(command -v "$testledger")")

commit=$(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo none)
[ -z "$(git -C "$here" status --porcelain 2>/dev/null)" ] || commit=$commit+dirty
SHOW_COMMIT=$commit exec python3 "$here/lib/thousand_cases.py" "$testledger" "$work" "$(new_store thousand-cases)"
