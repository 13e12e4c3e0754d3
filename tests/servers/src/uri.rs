//! The addresses of servers and of databases in them.

use crate::error::{Error, Result};

const SCHEME: &str = "mongodb://";

/// The address of `database` on the server with this address, whose own database, if it has one, is replaced.
///
/// # Errors
/// `base` is no address of a MongoDB server.
pub(crate) fn with_database(base: &str, database: &str) -> Result<String> {
    let Some(rest) = base.strip_prefix(SCHEME).filter(|rest| !rest.is_empty()) else {
        let example = "mongodb://127.0.0.1:27017/?replicaSet=rs0";
        return Err(Error::Refused(format!("`{base}` is no address of a MongoDB server; one looks like {example}")));
    };
    let (place, options) = rest.split_once('?').unwrap_or((rest, ""));
    let hosts = place.split('/').next().unwrap_or_default();
    let mark = if options.is_empty() { "" } else { "?" };
    Ok(format!("{SCHEME}{hosts}/{database}{mark}{options}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_takes_its_place() {
        for (base, expected) in [
            ("mongodb://127.0.0.1:1/?replicaSet=rs0", "mongodb://127.0.0.1:1/db?replicaSet=rs0"),
            (
                "mongodb://127.0.0.1:1,127.0.0.1:2/old?replicaSet=rs0",
                "mongodb://127.0.0.1:1,127.0.0.1:2/db?replicaSet=rs0",
            ),
            ("mongodb://127.0.0.1:1?a=b/c", "mongodb://127.0.0.1:1/db?a=b/c"),
            ("mongodb://127.0.0.1:1", "mongodb://127.0.0.1:1/db"),
        ] {
            assert_eq!(with_database(base, "db").unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in ["", "127.0.0.1:1", "mongodb://"] {
            assert!(with_database(bad, "db").is_err(), "{bad}");
        }
    }
}
