//! The views: where they are kept, how they are brought up to date, and what may be asked of them.

pub mod feed;
