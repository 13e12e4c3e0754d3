//! The table: who may use whom, and who knows what. One line of reason for each.

/// Which other rooms of `src/` a room may use.
pub struct Room {
    /// Its name: a folder or a file of `src/`.
    pub name: &'static str,
    /// The rooms it may use.
    pub uses: &'static [&'static str],
    /// Why.
    pub why: &'static str,
}

/// Every room of `src/`.
pub const ROOMS: &[Room] = &[
    Room { name: "ports", uses: &[], why: "ports are words between rooms and know none of them" },
    Room { name: "execution", uses: &[], why: "the decider is pure and knows the vocabulary only" },
    Room { name: "settings", uses: &[], why: "settings are values" },
    Room { name: "plan", uses: &["ports", "settings"], why: "a plan is read from text, with defaults from settings" },
    Room { name: "event_store", uses: &["ports"], why: "the log knows nobody who writes to it" },
    Room { name: "steps", uses: &["event_store", "plan", "ports", "report"], why: "a step does not know who runs it" },
    Room { name: "report", uses: &["steps"], why: "a report is read into what a step gives back" },
    Room { name: "bus", uses: &["steps"], why: "the bus carries the live output of steps" },
    Room { name: "views", uses: &["event_store"], why: "views follow from the log alone" },
    Room { name: "audit", uses: &["event_store", "ports"], why: "an audit trusts the log alone" },
    Room {
        name: "engine",
        uses: &["bus", "event_store", "execution", "plan", "ports", "report", "settings", "steps"],
        why: "the engine does not know who looks on",
    },
    Room {
        name: "cli",
        uses: &[
            "audit",
            "bus",
            "engine",
            "event_store",
            "execution",
            "plan",
            "ports",
            "published",
            "report",
            "settings",
            "steps",
            "views",
        ],
        why: "the command line wires everything",
    },
    Room { name: "published", uses: &["audit", "cli", "views"], why: "schemas of what is printed" },
    Room { name: "main", uses: &[], why: "main uses the library by its name" },
    Room { name: "lib", uses: &[], why: "the library names its rooms" },
];

/// What some files must not know.
pub struct Ban {
    /// Paths of files, or of folders (with `/` at the end).
    pub files: &'static [&'static str],
    /// Files and folders in those that may all the same.
    pub except: &'static [&'static str],
    /// What must not stand there: `x::` is everything of crate `x`, `a::b` these words in a path, `x` this word, and
    /// `x!` this macro.
    pub words: &'static [&'static str],
    /// Why.
    pub why: &'static str,
}

/// What reaches out of a pure function, or waits.
const WORLD: &[&str] = &[
    "async",
    "await",
    "tokio::",
    "futures::",
    "async_trait::",
    "rusqlite::",
    "mongodb::",
    "bson::",
    "reqwest::",
    "nix::",
    "rand::",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "new_v4",
    "now_v7",
];

/// Every ban.
pub const BANS: &[Ban] = &[
    Ban {
        files: &[
            "schemas/src/",
            "projections/src/projection.rs",
            "projections/src/cut.rs",
            "projections/src/executions/",
            "projections/src/flaky_steps/",
            "projections/src/traces/",
            "src/execution/",
            "src/plan/",
            "src/engine/schedule.rs",
            "src/report/model/",
            "src/steps/junit/",
            "src/report/junit_write/",
            "src/steps/fingerprint.rs",
        ],
        except: &[],
        words: WORLD,
        why: "it is pure: time, ids and randomness come in as arguments",
    },
    Ban {
        files: &["schemas/src/"],
        except: &[],
        words: &["testledger_projections::", "testledger::"],
        why: "the vocabulary knows nobody who uses it",
    },
    Ban {
        files: &["projections/src/"],
        except: &[],
        words: &["testledger::", "rusqlite::", "mongodb::", "bson::", "reqwest::", "nix::", "std::fs", "std::process"],
        why: "folds reach the world through their ports",
    },
    Ban {
        files: &["src/event_store/", "src/views/", "src/steps/", "src/bus/"],
        except: &[],
        words: &["crate::engine", "crate::cli", "crate::api"],
        why: "an adapter knows its port, and neither engine nor commands",
    },
    Ban {
        files: &["src/"],
        except: &["src/event_store/sqlite/", "src/views/sqlite.rs", "src/views/sqlite/"],
        words: &["rusqlite::"],
        why: "a driver is known to its adapters only",
    },
    Ban {
        files: &["src/"],
        except: &["src/event_store/mongodb/", "src/views/mongodb/"],
        words: &["mongodb::", "bson::"],
        why: "a driver is known to its adapters only",
    },
    Ban { files: &["src/"], except: &["src/steps/"], words: &["reqwest::"], why: "HTTP is a business of steps" },
    Ban {
        files: &["src/", "schemas/src/", "projections/src/"],
        except: &["src/cli/", "src/report/terminal/", "src/steps/spawner/"],
        words: &[
            "print!",
            "println!",
            "eprint!",
            "eprintln!",
            "io::stdout",
            "io::stderr",
            "anstream::stdout",
            "anstream::stderr",
        ],
        why: "what a person sees goes through the command line or the terminal report",
    },
];

/// The only files, besides the log itself, that append to it.
pub const APPENDERS: &[&str] = &["src/engine/journal.rs", "src/audit/erase.rs", "src/event_store/"];

/// The enumerations of which every reader names every variant.
pub const CLOSED: &[&str] = &["Event", "ExecutionStatus", "StepOutcome"];

/// Why [`CLOSED`] is.
pub const WHY_CLOSED: &str = "a new variant must make every reader decide: name the others instead";

/// The hosts that may stand in files: examples that lead nowhere, and names that are identifiers.
pub const HOSTS: &[&str] = &[
    "127.0.0.1",
    "localhost",
    "[::1]",
    "x",
    "X",
    "c",
    "host",
    "HOST",
    "ada",
    "a",
    "h",
    "a.b",
    "nowhere.invalid",
    "hunter22.invalid",
    "example.com",
    "json-schema.org",
    "www.w3.org",
    "www.apache.org",
    "docs.rs",
    "doc.rust-lang.org",
    "github.com",
    "www.rfc-editor.org",
    "keepachangelog.com",
    "semver.org",
];
