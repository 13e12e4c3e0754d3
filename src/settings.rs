//! Every setting, its default, and where it can be set: the one place that documents them all.
