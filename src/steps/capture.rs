//! stub: what is kept of a result for later steps.

use std::collections::BTreeMap;

use testledger_schemas::plan::Capture;

use crate::steps::Captured;

/// What captures are taken from.
pub struct CaptureInput<'a> {
    /// The text.
    pub text: &'a str,
    /// Header fields.
    pub headers: Option<&'a [(String, String)]>,
    /// The status.
    pub status: Option<u16>,
}

/// stub.
pub fn take(
    _captures: &BTreeMap<String, Capture>,
    _input: &CaptureInput<'_>,
) -> Result<BTreeMap<String, Captured>, String> {
    Ok(BTreeMap::new())
}
