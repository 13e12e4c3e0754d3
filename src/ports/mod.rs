//! The small ports through which the engine touches the world, so that a seeded simulation can take their place.

pub mod clock;
pub mod fault;
pub mod ids;
pub mod process;
