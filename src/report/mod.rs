//! What people and CI systems read: terminal progress and JUnit XML.

pub mod junit_write;
pub mod model;
#[cfg(test)]
mod samples;
pub mod terminal;
