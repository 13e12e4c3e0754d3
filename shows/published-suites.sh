#!/usr/bin/env bash
# Show: the test suites of a published Python package and of a published Rust crate run through `testledger run` with
# step-level results, and the counts per outcome equal what pytest and cargo-nextest print themselves.
#
# Everything that is fetched is pinned by version and SHA-256 and kept below SHOWS_DIR (default: target/shows).
# TESTLEDGER names the binary (default: target/release/testledger), STORE=mongodb another store.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=${SHOWS_DIR:-$here/../target/shows}
mkdir -p "$work" && work=$(cd "$work" && pwd)
# shellcheck source=lib/store.sh
source "$here/lib/store.sh"
testledger=${TESTLEDGER:-$here/../target/release/testledger}
command -v "$testledger" >/dev/null || { echo "no testledger at $testledger: cargo build --release" >&2; exit 2; }
testledger=$(realpath "$(command -v "$testledger")")

py_package=python-dateutil py_version=4.0.0
py_archive=python_dateutil-4.0.0.tar.gz
py_sha256=d7295ff14fdc0f92f662100bfb6c551d160ca090f2939f1ec5b9794265c03f06
rs_crate=indexmap rs_version=2.14.2
rs_sha256=cc4e190f5d26ca7051642629da2c52fc03bde85a03197c99408dcd291734c855

set_up_python() {
    venv=$work/published-venv
    if ! cmp -s "$here/lib/requirements.txt" "$venv/installed.txt"; then
        python3 -m venv --clear "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$here/lib/requirements.txt"
        cp "$here/lib/requirements.txt" "$venv/installed.txt"
    fi
    local archives=$work/published-archives
    if ! echo "$py_sha256  $archives/$py_archive" | sha256sum --check --status 2>/dev/null; then
        mkdir -p "$archives"
        "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary "$py_package" \
            --dest "$archives" "$py_package==$py_version"
        echo "$py_sha256  $archives/$py_archive" | sha256sum --check --quiet
    fi
    py_source=$work/${py_archive%.tar.gz}
    rm -rf "$py_source" && tar -xzf "$archives/$py_archive" -C "$work"
}

set_up_rust() {
    local fetch=$work/published-fetch
    mkdir -p "$fetch/src" && : >"$fetch/src/lib.rs"
    printf '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n%s = "=%s"\n[workspace]\n' \
        "$rs_crate" "$rs_version" >"$fetch/Cargo.toml"
    # cargo holds the archive against the checksum in the lock file; we hold the lock file against ours.
    cargo fetch --quiet --manifest-path "$fetch/Cargo.toml"
    grep -q "^checksum = \"$rs_sha256\"" "$fetch/Cargo.lock" || { echo "$rs_crate has another checksum" >&2; exit 1; }
    rs_source=$work/$rs_crate-$rs_version
    rm -rf "$rs_source"
    cp -r "$(cargo metadata --quiet --format-version 1 --manifest-path "$fetch/Cargo.toml" | python3 -c '
import json, os, sys
packages = json.load(sys.stdin)["packages"]
print(os.path.dirname(next(p["manifest_path"] for p in packages if p["name"] == sys.argv[1])))' "$rs_crate")" "$rs_source"
    # A workspace of its own: it may lie within another one here.
    printf '\n[workspace]\n' >>"$rs_source/Cargo.toml"
    rs_target=$work/published-target
    rs_config=$work/published-nextest.toml
    printf '[profile.default.junit]\npath = "junit.xml"\n' >"$rs_config"
    cargo nextest run --cargo-quiet --no-run --locked --manifest-path "$rs_source/Cargo.toml" --target-dir "$rs_target" \
        --config-file "$rs_config" >&2
}

# run NAME PLAN [--param K=V]...: runs the plan on a log of its own and compares. A suite may have failing tests of its
# own (exit code 100): what counts here is that they are counted.
run() {
    local name=$1 plan=$2 store code=0
    store=$(new_store "published-$1")
    shift 2
    "$testledger" run "$here/plans/$plan" --store "$store" "$@" >"$work/published-$name.log" 2>&1 || code=$?
    if [ "$code" != 0 ] && [ "$code" != 100 ]; then
        cat "$work/published-$name.log" >&2
        echo "testledger ended with exit code $code" >&2
        exit 1
    fi
    "$testledger" events --json --store "$store" >"$work/published-$name.events"
    python3 "$here/lib/count_outcomes.py" "$name" "$work/published-$name.events"
}

set_up_python
set_up_rust
commit=$(git -C "$here" rev-parse --short HEAD 2>/dev/null || echo none)
[ -z "$(git -C "$here" status --porcelain 2>/dev/null)" ] || commit=$commit+dirty
export SHOW_COMMIT=$commit
missed=0
run pytest published-python.yaml --param "python=$venv/bin/python" --param "source=$py_source" \
    --param "report=$work/published-pytest.xml" || missed=1
run nextest published-rust.yaml --param "source=$rs_source" --param "target=$rs_target" --param "config=$rs_config" \
    || missed=1
exit "$missed"
