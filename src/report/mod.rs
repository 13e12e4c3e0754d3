//! What people and CI systems read: terminal progress, JUnit XML; and the reports that tools write.

pub mod fingerprint;
pub mod junit;
pub mod junit_write;
pub mod model;
#[cfg(test)]
mod samples;
pub mod terminal;
