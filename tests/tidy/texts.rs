//! What every file says: what it is at its top, and nothing of the machine it was written on.

use crate::Finding;
use crate::rules::HOSTS;

/// Folders of machines on which this was written. Put together here, so that this file does not name them itself.
const FOLDERS: [&str; 4] =
    [concat!("/work", "/main"), concat!("/work", "/shared"), concat!("/tmp", "/wt"), concat!("/ho", "me/")];

/// Whether a Rust file opens with a line that says what it is.
pub fn opening(path: &str, text: &str) -> Option<Finding> {
    let first = text.lines().next().unwrap_or_default();
    let says_it = first.strip_prefix("//! ").is_some_and(|words| !words.trim().is_empty());
    (!says_it).then(|| Finding {
        file: path.to_owned(),
        line: 1,
        what: "open the file with one `//!` line that says what it is".to_owned(),
    })
}

/// Every place that is one machine's own, and every host that is not known.
pub fn places(path: &str, text: &str) -> Vec<Finding> {
    let mut found = vec![];
    for (number, line) in (1..).zip(text.lines()) {
        let mut say = |what| found.push(Finding { file: path.to_owned(), line: number, what });
        for folder in FOLDERS.iter().filter(|folder| line.contains(*folder)) {
            say(format!("`{folder}` is a folder of one machine"));
        }
        for host in hosts(line).filter(|host| !HOSTS.contains(host)) {
            say(format!("host `{host}`: use one of HOSTS, or add it there"));
        }
    }
    found
}

/// The hosts of the URLs in a line. Where a template stands for the host, there is none.
fn hosts(line: &str) -> impl Iterator<Item = &str> {
    line.split("://")
        .skip(1)
        .map(|rest| {
            let authority = rest.split(|end: char| !(end.is_ascii_alphanumeric() || ".-_:@[]".contains(end))).next();
            let host = authority.unwrap_or_default().rsplit('@').next().unwrap_or_default();
            let end = if host.starts_with('[') {
                host.find(']').map_or(host.len(), |end| end + 1)
            } else {
                host.find(':').unwrap_or(host.len())
            };
            &host[..end]
        })
        .filter(|host| !host.is_empty() && *host != ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_is() {
        assert!(opening("x.rs", "//! The rooms.\n").is_none());
        assert!(
            ["", "use x;", "//!", "// The rooms.", "\n//! The rooms."]
                .iter()
                .all(|text| opening("x.rs", text).is_some())
        );
    }

    #[test]
    fn places_of_one_machine_are_found() {
        let line = format!("see {}/tidy and https://{}/api", FOLDERS[2], "mirror.internal");
        assert_eq!(places("x", &line).len(), 2);
        assert!(places("x", "http://127.0.0.1:80/a http://{host}/b http://u:p@h:1 \"https://\" /work").is_empty());
    }

    #[test]
    fn hosts_are_read_without_port_and_user() {
        let found: Vec<&str> = hosts("http://a.b:8 https://u:p@c/d?e sqlite://[::1]:9 http://{x}").collect();
        assert_eq!(found, ["a.b", "c", "[::1]"]);
    }
}
