//! The traces in MongoDB: documents by their key, and no index besides.

use testledger_projections::traces::Traces;

use crate::views::mongodb::listed::Listed;

impl Listed for Traces {}
