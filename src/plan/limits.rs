//! How large a plan may be.

/// The longest plan file in bytes: 16 MiB.
pub const MAX_TEXT_BYTES: usize = 16 << 20;
/// The deepest nesting of mappings and lists.
pub const MAX_DEPTH: usize = 48;
/// The most values (texts, numbers, lists, mappings) in a file, aliases counted each time they are used.
pub const MAX_NODES: usize = 2_000_000;
/// The most values that all aliases together may stand for.
pub const MAX_REPEATED_NODES: usize = 200_000;
/// How often aliases may be used.
pub const MAX_ALIASES: usize = 10_000;
/// The longest id, in characters.
pub const MAX_ID_LENGTH: usize = 64;
/// The longest name shown to people, in characters.
pub const MAX_NAME_LENGTH: usize = 200;
/// The longest single text in a plan in bytes: 1 MiB.
pub const MAX_FIELD_BYTES: usize = 1 << 20;
/// The most cases after the matrix is written out.
pub const MAX_CASES: usize = 10_000;
/// The most keys of one matrix.
pub const MAX_MATRIX_KEYS: usize = 20;
/// The most cells of one matrix.
pub const MAX_MATRIX_CELLS: usize = 1_000;
/// The most steps of one case.
pub const MAX_STEPS: usize = 100_000;
/// The most steps of all cases together, after the matrix is written out.
pub const MAX_STEPS_IN_ALL: usize = 1_000_000;
/// The most bytes of all steps' texts together, after the matrix is written out: 256 MiB.
pub const MAX_EXPANDED_BYTES: usize = 256 << 20;
/// The most services.
pub const MAX_SERVICES: usize = 100;
