//! The spawner: one small process per engine that starts every command and outlives none of them.
