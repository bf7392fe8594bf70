//! Makes the repositories and archives in `test-repos/` anew, with fixed keys and times: byte for byte the same each time.
//!
//! ```sh
//! cargo run --features publish --example make_test_repos
//! ```

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos");
    for made in ["good", "hostile", "map", "security"] {
        if folder.join(made).exists() {
            fs::remove_dir_all(folder.join(made))?;
        }
    }
    for (name, bytes) in support::samples::files(&folder.join("source")) {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}
