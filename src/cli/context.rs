//! Where a command runs: settings, environment, directory, host, actor, revision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use testledger_schemas::event::{Revision, StartContent};

use crate::cli::exit::Failure;
use crate::settings::{self, Settings};

/// How long git may take to say which revision this is.
const GIT_PATIENCE: Duration = Duration::from_secs(10);
/// How wide output is that goes to no terminal.
const PLAIN_COLUMNS: usize = 100;
/// The widest terminal that is believed.
const MAX_COLUMNS: usize = 1_000;
/// What of the environment is recorded with each attempt: what repeating a test needs, and never a secret.
const RECORDED_VARIABLES: &[&str] = &["CI", "HOME", "LANG", "LC_ALL", "PATH", "PYTHONPATH", "RUSTFLAGS", "SHELL", "TZ"];

/// Where a command runs.
pub struct Context {
    /// Settings from file and environment; flags are applied by each command.
    pub settings: Settings,
    /// The store, where it was given as a flag.
    pub store_flag: Option<String>,
    /// The environment, as far as it is text.
    pub environment: BTreeMap<String, String>,
    /// The working directory.
    pub directory: PathBuf,
}

impl Context {
    /// The context of this process. `store` is the flag, if it was given.
    ///
    /// # Errors
    /// [`Failure`] for a setting that cannot be used, or a working directory that is gone.
    pub fn here(store: Option<String>) -> Result<Self, Failure> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let directory = std::env::current_dir()
            .map_err(|error| Failure::usage(format!("the working directory cannot be used: {error}")))?;
        let mut settings = settings::load(&directory, &environment).map_err(Failure::usage)?;
        if let Some(store) = &store {
            settings.store.clone_from(store);
        }
        Ok(Self { settings, store_flag: store, environment, directory })
    }

    /// Who causes what is appended: the setting, or user@host marked unverified, as nobody has checked it.
    #[must_use]
    pub fn actor(&self) -> String {
        if !self.settings.actor.is_empty() {
            return self.settings.actor.clone();
        }
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
        let user = user.unwrap_or_else(|| nix::unistd::geteuid().to_string());
        format!("unverified:{user}@{}", host())
    }

    /// Where this user's programs keep what outlives a process: `$XDG_STATE_HOME/testledger`, or below the home directory
    /// (XDG Base Directory Specification); none without either.
    #[must_use]
    pub fn state_folder(&self) -> Option<PathBuf> {
        let set = |name: &str| self.environment.get(name).filter(|path| Path::new(path).is_absolute());
        match (set("XDG_STATE_HOME"), set("HOME")) {
            (Some(state), _) => Some(Path::new(state).join("testledger")),
            (None, Some(home)) => Some(Path::new(home).join(".local/state/testledger")),
            (None, None) => None,
        }
    }

    /// What repeating a test needs to know of this place.
    #[must_use]
    pub fn place(&self) -> StartContent {
        let recorded = RECORDED_VARIABLES.iter().filter_map(|name| self.environment.get_key_value(*name));
        StartContent {
            host: host(),
            platform: platform(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            directory: self.directory.display().to_string(),
            environment: recorded.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

/// How many columns standard output has: those of its terminal; where it is none, of `COLUMNS`, or else
/// [`PLAIN_COLUMNS`].
#[must_use]
pub fn columns() -> usize {
    let terminal = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    let named = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal.or_else(named).filter(|columns| (1..=MAX_COLUMNS).contains(columns)).unwrap_or(PLAIN_COLUMNS)
}

/// This machine's name.
#[must_use]
pub fn host() -> String {
    nix::unistd::gethostname().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn platform() -> String {
    let release = nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned());
    format!("{} {} {}", std::env::consts::OS, release.unwrap_or_default(), std::env::consts::ARCH)
}

/// The revision of the git checkout that a directory belongs to; none where there is none, or no git.
pub async fn git_revision(directory: &Path) -> Option<Revision> {
    let directory = directory.to_owned();
    let ask = tokio::task::spawn_blocking(move || {
        let commit = git(&directory, &["rev-parse", "HEAD"])?;
        let changes = git(&directory, &["status", "--porcelain"])?;
        Some(Revision { commit, dirty: !changes.is_empty() })
    });
    tokio::time::timeout(GIT_PATIENCE, ask).await.ok()?.ok()?
}

fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = std::process::Command::new("git");
    command.arg("-C").arg(directory).args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    // Looking must not write: no lock on the index.
    let output = command.env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
