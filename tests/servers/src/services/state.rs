//! What is kept about a developer's server: its port, and its process while it runs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::Process;
use crate::error::{Error, Result, io};

/// What is known of a server.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// Its port, from the first start on: it stands in the configuration of the replica set, too.
    pub port: Option<u16>,
    /// Its process, as it was started.
    pub process: Option<Process>,
}

impl State {
    /// What is known of the server in this folder; nothing, if there never was one.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = file(folder);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io(format!("read {}", file.display()))(error)),
        };
        let shown = folder.display();
        serde_json::from_str(&text).map_err(|error| {
            Error::Refused(format!("{}: {error}; end its server, and remove {shown} with all its data", file.display()))
        })
    }

    /// Keeps it, the whole or nothing.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let (file, new) = (file(folder), folder.join("services.json.new"));
        let text = serde_json::to_string(self).map_err(|error| io("write down the server")(error.into()))?;
        fs::write(&new, text).map_err(io(format!("write {}", new.display())))?;
        fs::rename(&new, &file).map_err(io(format!("write {}", file.display())))
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("services.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), State::default());
        let state = State { port: Some(20_001), process: Process::of(std::process::id()) };
        assert!(state.process.is_some());
        state.write(folder.path()).unwrap();
        assert_eq!(State::read(folder.path()).unwrap(), state);
        fs::write(file(folder.path()), "{").unwrap();
        assert!(State::read(folder.path()).unwrap_err().to_string().contains("services.json"));
    }
}
