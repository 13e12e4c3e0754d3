//! The address of a store: what in it must not be seen.

use percent_encoding::percent_decode_str;

/// The environment variable that names a store.
pub const VARIABLE: &str = "TESTLEDGER_STORE";
/// What stands where a password was.
const MASK: &str = "***";

/// The address as it may be shown: without its password.
#[must_use]
pub fn without_password(store: &str) -> String {
    match password_range(store) {
        Some(range) => format!("{}{MASK}{}", &store[..range.start], &store[range.end..]),
        None => store.to_owned(),
    }
}

/// The password in an address, as it is written and as it is meant; empty where there is none.
#[must_use]
pub fn secrets(store: &str) -> Vec<String> {
    let Some(written) = password_range(store).and_then(|range| store.get(range)) else { return vec![] };
    let meant = percent_decode_str(written).decode_utf8_lossy().into_owned();
    let mut secrets = vec![written.to_owned(), meant];
    secrets.dedup();
    secrets
}

/// `SCHEME://USER:PASSWORD@…`: an address may have one `@` only that is not encoded, but who forgets that must not see
/// the rest of a password; so the last one before the hosts end counts.
fn password_range(store: &str) -> Option<std::ops::Range<usize>> {
    let start = store.find("://")? + 3;
    let end = start + store[start..].rfind('@')?;
    let colon = start + store[start..end].find(':')?;
    Some(colon + 1..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown_and_known_as_written_and_as_meant() {
        let store = "mongodb://ada:p%40ss@127.0.0.1:27017/x?replicaSet=rs0";
        assert_eq!(without_password(store), "mongodb://ada:***@127.0.0.1:27017/x?replicaSet=rs0");
        assert_eq!(secrets(store), ["p%40ss", "p@ss"]);
        assert_eq!(secrets("mongodb://ada:hunter22@127.0.0.1/x"), ["hunter22"]);
        assert_eq!(without_password("mongodb://ada:p@ss@127.0.0.1/x"), "mongodb://ada:***@127.0.0.1/x");
    }

    #[test]
    fn an_address_without_a_password_is_shown_as_it_is() {
        for store in ["sqlite:.testledger/ledger.db", "mongodb://127.0.0.1:27017/x", "mongodb://ada@127.0.0.1/x", "x"] {
            assert_eq!((without_password(store), secrets(store)), (store.to_owned(), vec![]));
        }
    }
}
