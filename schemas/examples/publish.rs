//! Writes the published JSON Schemas into `schemas/json/`: `cargo run -p testledger-schemas --example publish`.

use std::path::Path;
use std::{fs, io};

use testledger_schemas::published;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("json");
    fs::create_dir_all(&folder)?;
    for (name, schema) in published::all() {
        fs::write(folder.join(name), published::to_text(&schema))?;
        println!("{name}");
    }
    Ok(())
}
