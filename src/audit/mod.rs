//! The audit: proves that the log is what it was, exports it with its proofs, and erases content lawfully.
//!
//! [`verify::verify`] walks a log, [`export::verify_export`] an exported file; both feed one [`checker::Checker`], so
//! that they find the same. What is found is a [`finding::Finding`].

pub mod artifacts;
pub mod checker;
pub mod clean;
pub mod erase;
pub mod export;
pub mod finding;
pub mod report;
pub mod verify;

pub use clean::{CleanError, Cleaned, clean};
pub use erase::{ErasureDone, ErasureError, ErasureRequest, erase};
pub use export::{ExportError, PageRange, export, verify_export};
pub use finding::Finding;
pub use report::AuditReport;
pub use verify::{Sequencing, VerifyOptions, VerifyProgress, verify};
