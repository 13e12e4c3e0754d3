//! The life of an engine.

use super::declare::vocabulary;
use crate::erasable::Erasable;

vocabulary! {
    /// An engine began its work.
    pub struct WorkerStarted {
        /// Its process id.
        pub pid: u32,
        /// The boot of its host (`/proc/sys/kernel/random/boot_id`).
        pub boot_id: String,
        /// When its process started, in clock ticks since boot (`proc(5)`, `starttime`).
        pub started_ticks: u64,
        /// The version of this program.
        pub version: String,
        /// The host's name.
        pub content: Erasable<WorkerContent>,
    }

    /// Where an engine runs.
    #[derive(Default)]
    pub struct WorkerContent {
        /// The host's name.
        pub host: String,
    }

    /// An engine ended its work in good order.
    pub struct WorkerStopped {}
}
