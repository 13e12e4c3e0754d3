//! Tests of the views over real logs.
