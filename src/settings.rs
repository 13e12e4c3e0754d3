//! Every setting: its default, its meaning, and the ways to set it. [`SETTINGS`] is the one place that documents them all.
//!
//! A flag wins over the environment, the environment over `testledger.toml` (looked for in the working directory and
//! then in each directory above it), and that over the default.

pub mod address;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use testledger_projections::router::Routing;
use testledger_projections::traces::EMBEDDING_THRESHOLD;

/// The settings of one engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where the log is: `sqlite:PATH` or `mongodb://HOST/DATABASE?replicaSet=NAME`.
    pub store: String,
    /// How many cases of a run are under way at once.
    pub jobs: usize,
    /// The cap on all executions that are under way at once.
    pub max_concurrent: usize,
    /// The running time an attempt of a case may take, where the plan does not say.
    pub execution_timeout: Duration,
    /// The running time a step may take, where the plan does not say.
    pub step_timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
    /// How long output may stay open after the command itself has ended.
    pub leak_timeout: Duration,
    /// The most a step event holds of one stream of output.
    pub excerpt_bytes: usize,
    /// The most that is kept of one stream of output, as an artifact.
    pub output_bytes: usize,
    /// How long the store may be away before the engine gives up.
    pub store_patience: Duration,
    /// After how many losses of its worker an execution fails.
    pub max_interruptions: u32,
    /// How long an engine that cannot be looked at (on another machine) counts as alive after its last sign of life.
    pub lease: Duration,
    /// How often an engine looks for executions whose engine is lost.
    pub sweep_interval: Duration,
    /// The file with the key for secret captures; empty: `testledger/capture.key` in the user's state folder.
    pub capture_key: String,
    /// How often the terminal's progress is drawn anew.
    pub live_interval: Duration,
    /// Who runs the tests; empty: user@host, marked unverified.
    pub actor: String,
    /// When views are committed.
    pub routing: Routing,
    /// How many items a trace may have before they go to partitions, where views are begun.
    pub trace_embedding_threshold: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            store: "sqlite:.testledger/ledger.db".to_owned(),
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            max_concurrent: 100,
            execution_timeout: Duration::from_secs(30 * 60),
            step_timeout: Duration::from_secs(300),
            grace: Duration::from_secs(10),
            leak_timeout: Duration::from_secs(2),
            excerpt_bytes: 16 << 10,
            output_bytes: 16 << 20,
            store_patience: Duration::from_secs(60),
            max_interruptions: 5,
            lease: Duration::from_secs(60),
            sweep_interval: Duration::from_secs(5),
            capture_key: String::new(),
            live_interval: Duration::from_millis(1000),
            actor: String::new(),
            routing: Routing::default(),
            trace_embedding_threshold: MOST_EMBEDDED,
        }
    }
}

/// One setting as people know it.
pub struct Setting {
    /// The key in `testledger.toml`. The environment variable is `TESTLEDGER_` and this in capitals.
    pub key: &'static str,
    /// What it means, and its unit.
    pub meaning: &'static str,
    set: fn(&mut Settings, &str) -> Result<(), String>,
    show: fn(&Settings) -> String,
}

/// All settings.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "store",
        meaning: "where the log is: sqlite:PATH or mongodb://HOST:PORT/DATABASE?replicaSet=NAME",
        set: |settings, text| text_of(&mut settings.store, text),
        show: |settings| address::without_password(&settings.store),
    },
    Setting {
        key: "jobs",
        meaning: "how many cases of a run are under way at once (default: the number of cores)",
        set: |settings, text| count_of(&mut settings.jobs, text, 1..=10_000),
        show: |settings| settings.jobs.to_string(),
    },
    Setting {
        key: "max_concurrent",
        meaning: "the cap on all executions that are under way at once",
        set: |settings, text| count_of(&mut settings.max_concurrent, text, 1..=10_000),
        show: |settings| settings.max_concurrent.to_string(),
    },
    Setting {
        key: "execution_timeout",
        meaning: "the running time an attempt of a case may take, where the plan does not say",
        set: |settings, text| duration_of(&mut settings.execution_timeout, text),
        show: |settings| shown(settings.execution_timeout),
    },
    Setting {
        key: "step_timeout",
        meaning: "the running time a step may take, where the plan does not say",
        set: |settings, text| duration_of(&mut settings.step_timeout, text),
        show: |settings| shown(settings.step_timeout),
    },
    Setting {
        key: "grace",
        meaning: "how long a process may take to end after SIGTERM before SIGKILL",
        set: |settings, text| duration_of(&mut settings.grace, text),
        show: |settings| shown(settings.grace),
    },
    Setting {
        key: "leak_timeout",
        meaning: "how long output may stay open after the command itself has ended",
        set: |settings, text| duration_of(&mut settings.leak_timeout, text),
        show: |settings| shown(settings.leak_timeout),
    },
    Setting {
        key: "excerpt_bytes",
        meaning: "the most a step event holds of one stream of output, in bytes",
        set: |settings, text| count_of(&mut settings.excerpt_bytes, text, 256..=64 << 10),
        show: |settings| settings.excerpt_bytes.to_string(),
    },
    Setting {
        key: "output_bytes",
        meaning: "the most that is kept of one stream of output, as an artifact, in bytes",
        set: |settings, text| count_of(&mut settings.output_bytes, text, 1 << 10..=1 << 30),
        show: |settings| settings.output_bytes.to_string(),
    },
    Setting {
        key: "store_patience",
        meaning: "how long the store may be away before the engine gives up",
        set: |settings, text| duration_of(&mut settings.store_patience, text),
        show: |settings| shown(settings.store_patience),
    },
    Setting {
        key: "max_interruptions",
        meaning: "after how many losses of its worker an execution fails",
        set: |settings, text| {
            let mut count = 0;
            count_of(&mut count, text, 1..=1000)?;
            settings.max_interruptions = u32::try_from(count).unwrap_or(u32::MAX);
            Ok(())
        },
        show: |settings| settings.max_interruptions.to_string(),
    },
    Setting {
        key: "lease",
        meaning: "how long an engine on another machine counts as alive after its last sign of life (on MongoDB)",
        set: |settings, text| {
            let mut lease = Duration::ZERO;
            duration_of(&mut lease, text)?;
            if lease < SHORTEST_LEASE {
                return Err("write a duration of 2s or more".to_owned());
            }
            settings.lease = lease;
            Ok(())
        },
        show: |settings| shown(settings.lease),
    },
    Setting {
        key: "sweep_interval",
        meaning: "how often an engine looks for executions whose engine is lost, and recovers them; 0s: never",
        set: |settings, text| duration_of(&mut settings.sweep_interval, text),
        show: |settings| shown(settings.sweep_interval),
    },
    Setting {
        key: "capture_key",
        meaning: "the file with the key that secret captures are kept under, for recovery (default: testledger/capture.key \
                  in $XDG_STATE_HOME or ~/.local/state; made where there is none)",
        set: |settings, text| text_of(&mut settings.capture_key, text),
        show: |settings| settings.capture_key.clone(),
    },
    Setting {
        key: "live_interval",
        meaning: "how often the terminal's progress is drawn anew",
        set: |settings, text| duration_of(&mut settings.live_interval, text),
        show: |settings| shown(settings.live_interval),
    },
    Setting {
        key: "actor",
        meaning: "who runs the tests, as the log names them (default: user@host, marked unverified)",
        set: |settings, text| text_of(&mut settings.actor, text),
        show: |settings| settings.actor.clone(),
    },
    Setting {
        key: "projection_strategy",
        meaning: "when views are committed: adaptive (by urgency, priority and lag), immediate or batched",
        set: |settings, text| {
            settings.routing.strategy = text.parse()?;
            Ok(())
        },
        show: |settings| settings.routing.strategy.as_str().to_owned(),
    },
    Setting {
        key: "projection_batch_events",
        meaning: "about how many events one commit of views has at the most",
        set: |settings, text| count_of(&mut settings.routing.batch_events, text, 1..=10_000),
        show: |settings| settings.routing.batch_events.to_string(),
    },
    Setting {
        key: "projection_interval",
        meaning: "how long an event that is not urgent waits until it is in the views",
        set: |settings, text| duration_of(&mut settings.routing.interval, text),
        show: |settings| shown(settings.routing.interval),
    },
    Setting {
        key: "trace_embedding_threshold",
        meaning: "how many items a trace may have before they go to partitions; holds from the first fold or a rebuild on",
        set: |settings, text| count_of(&mut settings.trace_embedding_threshold, text, 0..=MOST_EMBEDDED),
        show: |settings| settings.trace_embedding_threshold.to_string(),
    },
    Setting {
        key: "projection_overload_events",
        meaning: "a projection that is so many events behind commits full batches only, until it has caught up",
        set: |settings, text| {
            let mut count = 0;
            count_of(&mut count, text, 1..=100_000_000)?;
            settings.routing.overload_events = count as u64;
            Ok(())
        },
        show: |settings| settings.routing.overload_events.to_string(),
    },
];

/// So many items are sure to fit into one document.
const MOST_EMBEDDED: usize = EMBEDDING_THRESHOLD as usize;
/// The shortest lease: shorter ones would run out under load.
const SHORTEST_LEASE: Duration = Duration::from_secs(2);
/// The longest that a setting's duration may be: 366 days.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// The longest text of a setting, in bytes.
const MAX_TEXT: usize = 4_096;
/// The largest `testledger.toml` that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

fn text_of(target: &mut String, text: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(format!("write a text of 1 to {MAX_TEXT} bytes"));
    }
    target.clear();
    target.push_str(text);
    Ok(())
}

fn count_of(target: &mut usize, text: &str, range: std::ops::RangeInclusive<usize>) -> Result<(), String> {
    match text.parse() {
        Ok(count) if range.contains(&count) => {
            *target = count;
            Ok(())
        }
        Ok(_) | Err(_) => Err(format!("write a whole number from {} to {}", range.start(), range.end())),
    }
}

fn duration_of(target: &mut Duration, text: &str) -> Result<(), String> {
    let mend = || "write a duration such as 500ms, 30s, 5m or 1h30m (at most 366 days)".to_owned();
    let span: jiff::SignedDuration = text.parse().map_err(|_| mend())?;
    *target = Duration::try_from(span).ok().filter(|duration| *duration <= MAX_DURATION).ok_or_else(mend)?;
    Ok(())
}

fn shown(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |span| format!("{span:#}"))
}

/// A setting that cannot be used, with the place it comes from.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct SettingError {
    /// The file with line and column, or the environment variable.
    pub place: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Setting {
    /// The environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("TESTLEDGER_{}", self.key.to_uppercase())
    }

    /// The value in these settings, as one would write it.
    #[must_use]
    pub fn show(&self, settings: &Settings) -> String {
        (self.show)(settings)
    }
}

/// The settings of a process that works in `directory` with this environment, before flags.
///
/// # Errors
/// [`SettingError`] for the first setting that is unknown or cannot be used.
pub fn load(directory: &Path, environment: &BTreeMap<String, String>) -> Result<Settings, SettingError> {
    let mut settings = Settings::default();
    if let Some(path) = find_file(directory) {
        apply_file(&mut settings, &path)?;
    }
    for setting in SETTINGS {
        let variable = setting.variable();
        if let Some(text) = environment.get(&variable) {
            (setting.set)(&mut settings, text).map_err(|problem| SettingError { place: variable, problem })?;
        }
    }
    Ok(settings)
}

fn find_file(directory: &Path) -> Option<PathBuf> {
    directory.ancestors().map(|above| above.join("testledger.toml")).find(|path| path.is_file())
}

fn apply_file(settings: &mut Settings, path: &Path) -> Result<(), SettingError> {
    let at = |place: String, problem: String| SettingError { place, problem };
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map_err(|error| at(name.clone(), error.to_string()))?.len();
    if size > MAX_FILE {
        return Err(at(name, format!("it has {size} bytes and may have {MAX_FILE}")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| at(name.clone(), error.to_string()))?;
    let place = |offset: usize| {
        let before = &text[..text.floor_char_boundary(offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
        format!("{name}:{line}:{column}")
    };
    let table: BTreeMap<toml::Spanned<String>, toml::Spanned<toml::Value>> =
        toml::from_str(&text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            at(place(offset), error.message().to_owned())
        })?;
    for (key, value) in &table {
        let setting = SETTINGS.iter().find(|setting| setting.key == key.get_ref().as_str());
        let setting = setting.ok_or_else(|| at(place(key.span().start), unknown(key.get_ref())))?;
        let problem = match plain(value.get_ref()) {
            Some(text) => (setting.set)(settings, &text).err(),
            None => Some("write one text or number".to_owned()),
        };
        if let Some(problem) = problem {
            return Err(at(place(value.span().start), format!("`{}`: {problem}", setting.key)));
        }
    }
    Ok(())
}

fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_)
        | toml::Value::Array(_)
        | toml::Value::Table(_) => None,
    }
}

fn unknown(key: &str) -> String {
    let nearest =
        SETTINGS.iter().max_by(|a, b| strsim::jaro_winkler(a.key, key).total_cmp(&strsim::jaro_winkler(b.key, key)));
    let nearest = nearest.map_or("", |setting| setting.key);
    format!("no setting is called `{key}`: did you mean `{nearest}`? `testledger settings` lists all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_file(text: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("testledger.toml"), text).unwrap();
        let below = folder.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        load(&below, &BTreeMap::new())
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn the_environment_wins_over_the_file_and_that_over_the_default() {
        let settings = with_file("jobs = 3\ngrace = \"2s\"\n").unwrap();
        assert_eq!((settings.jobs, settings.grace, settings.max_concurrent), (3, Duration::from_secs(2), 100));
        let environment = BTreeMap::from([("TESTLEDGER_JOBS".to_owned(), "7".to_owned())]);
        assert_eq!(load(Path::new("/"), &environment).unwrap().jobs, 7);
    }

    #[test]
    fn every_setting_can_be_set_to_what_it_shows() {
        let mut settings = Settings { actor: "ada".into(), capture_key: "key".into(), ..Settings::default() };
        for setting in SETTINGS {
            let text = setting.show(&settings);
            let before = settings.clone();
            assert_eq!((setting.set)(&mut settings, &text), Ok(()), "{} = {text}", setting.key);
            assert_eq!(settings, before, "{}", setting.key);
        }
    }

    #[test]
    fn a_bad_setting_is_named_with_its_place_and_the_mend() {
        assert_eq!(
            with_file("grace = \"2s\"\njbos = 3\n").unwrap_err(),
            "testledger.toml:2:1: no setting is called `jbos`: did you mean `jobs`? `testledger settings` lists all"
        );
        assert_eq!(
            with_file("jobs = 0\n").unwrap_err(),
            "testledger.toml:1:8: `jobs`: write a whole number from 1 to 10000"
        );
        assert!(
            with_file("grace = \"2 parsecs\"").unwrap_err().starts_with("testledger.toml:1:9: `grace`: write a dur")
        );
        assert!(with_file("jobs = ").unwrap_err().starts_with("testledger.toml:1:"));
        let environment = BTreeMap::from([("TESTLEDGER_GRACE".to_owned(), "-1s".to_owned())]);
        assert!(load(Path::new("/"), &environment).unwrap_err().to_string().starts_with("TESTLEDGER_GRACE: write"));
    }
}
