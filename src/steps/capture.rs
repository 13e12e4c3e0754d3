//! What is kept of a result for later steps.
