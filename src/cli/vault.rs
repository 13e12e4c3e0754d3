//! The key for secret captures: read from its file, which is made where there is none.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::engine::vault::{KEY_BYTES, Vault};
use crate::ports::ids::{Ids, RandomIds};

/// The vault of this user. Without a key (its file cannot be made, say) secret captures are not kept, and an interrupted
/// attempt that needs them begins anew.
#[must_use]
pub fn of(context: &Context) -> Vault {
    let file = match context.settings.capture_key.as_str() {
        "" => context.state_folder().join("capture.key"),
        named => context.directory.join(named),
    };
    match key(&file) {
        Ok(key) => Vault::with_key(&key),
        Err(error) => {
            tracing::warn!("{}: {error}: secret captures are not kept for a recovery", file.display());
            Vault::default()
        }
    }
}

fn key(file: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    match std::fs::read(file) {
        Ok(bytes) => bytes.try_into().map_err(|bytes: Vec<u8>| {
            std::io::Error::other(format!("a key has {KEY_BYTES} bytes, and this file has {}", bytes.len()))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => make(file),
        Err(error) => Err(error),
    }
}

/// Makes a key, whole or not at all: of two processes that do so at once, both get the one that was first.
fn make(file: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let halves = [RandomIds.random().to_be_bytes(), RandomIds.random().to_be_bytes()];
    let draft = PathBuf::from(format!("{}.{}", file.display(), std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut opened = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    opened.write_all(&halves.concat())?;
    opened.sync_all()?;
    let linked = std::fs::hard_link(&draft, file);
    std::fs::remove_file(&draft)?;
    match linked {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    std::fs::read(file)?.try_into().map_err(|_| std::io::Error::other("another program writes this file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a/b/capture.key");
        let made = key(&file).unwrap();
        assert_eq!(key(&file).unwrap(), made);
        assert_eq!(make(&file).unwrap(), made);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
        std::fs::write(&file, "short").unwrap();
        assert!(key(&file).unwrap_err().to_string().contains("has 5"));
    }
}
