# Where a show has its log: a SQLite file, or with STORE=mongodb a database on a MongoDB server of its own, which
# `test-servers with` starts around the show and ends after it. To be sourced, with `here` and `work` set.
#
# Afterwards `of_store` ends the names of the show's figures, and `new_store NAME` prints the address of an empty store.
# TEST_SERVERS names the binary (default: target/release/test-servers).

case ${STORE:-sqlite} in
    sqlite) of_store= ;;
    mongodb)
        of_store=_mongodb
        if [ -z "${SHOW_HAS_SERVER:-}" ]; then
            servers=${TEST_SERVERS:-$here/../target/release/test-servers}
            command -v "$servers" >/dev/null ||
                { echo "no test-servers at $servers: cargo build --release --package test-servers" >&2; exit 2; }
            SHOW_HAS_SERVER=1 exec "$servers" with -- "$0" "$@"
        fi
        ;;
    *)
        echo "STORE is sqlite or mongodb, not $STORE" >&2
        exit 2
        ;;
esac
export SHOW_OF_STORE=$of_store

new_store() {
    if [ -z "$of_store" ]; then
        rm -f "$work/$1.db" "$work/$1.db"-*
        echo "sqlite:$work/$1.db"
    else
        # The server is new, and so is every database on it.
        echo "${TESTLEDGER_TEST_MONGODB%%\?*}$1?${TESTLEDGER_TEST_MONGODB#*\?}"
    fi
}
