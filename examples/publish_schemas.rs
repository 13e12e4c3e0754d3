//! Writes all published JSON Schemas into `schemas/json/`: `make schemas`.

use std::path::Path;
use std::{fs, io};

use testledger_schemas::published::to_text;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/json");
    fs::create_dir_all(&folder)?;
    for (name, schema) in testledger::published::all() {
        fs::write(folder.join(name), to_text(&schema))?;
        println!("{name}");
    }
    Ok(())
}
