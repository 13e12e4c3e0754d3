//! The decider: three pure functions, `initial`, `evolve`, `decide`.
