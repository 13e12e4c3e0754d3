//! The key for secret captures: read from its file, which is made where there is none.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::cli::context::Context;
use crate::engine::vault::{KEY_BYTES, Vault};
use crate::ports::ids::{Ids, RandomIds};

/// The mode bits by which others may write a file.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The vault of this user. Without a key (its file cannot be made, say) secret captures are not kept, and an interrupted
/// attempt that needs them begins anew.
#[must_use]
pub fn of(context: &Context) -> Vault {
    let file = match context.settings.capture_key.as_str() {
        "" => context.state_folder().map(|folder| folder.join("capture.key")),
        named => Some(context.directory.join(named)),
    };
    let Some(file) = file else {
        tracing::warn!("there is no home directory for a key: secret captures are not kept for a recovery");
        return Vault::default();
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
    match read(file) {
        Ok(bytes) => bytes.try_into().map_err(|bytes: Vec<u8>| {
            std::io::Error::other(format!("a key has {KEY_BYTES} bytes, and this file has {}", bytes.len()))
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => make(file),
        Err(error) => Err(error),
    }
}

/// What is in the file of a key that nobody else can have put there.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut opened = std::fs::File::open(file)?;
    let metadata = opened.metadata()?;
    let is_trusted = [nix::unistd::geteuid().as_raw(), 0].contains(&metadata.uid());
    if !is_trusted || metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(std::io::Error::other("a key belongs to you or to root, and nobody else may write it"));
    }
    let mut bytes = vec![];
    opened.read_to_end(&mut bytes)?;
    Ok(bytes)
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
    read(file)?.try_into().map_err(|_| std::io::Error::other("another program writes this file"))
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
        std::fs::write(&file, made).unwrap();
        assert_eq!(key(&file).unwrap(), made);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert!(key(&file).unwrap_err().to_string().contains("nobody else may write it"));
    }
}
