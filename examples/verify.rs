//! Verifies an archive against a repository in a folder, as an embedding program would.
//!
//! ```sh
//! cargo run --example verify -- test-repos/good/app.tar registry.example/team/app:1.4 test-repos/good test-repos/root.json
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use plimsoll::client::{Client, DirSource, Store};
use plimsoll::verify::Verifier;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [archive, image, repository, root] = arguments.as_slice() else {
        return Err("usage: verify ARCHIVE IMAGE REPOSITORY ROOT.json".into());
    };

    // The root comes from a source that you trust; archive and repository may come from anywhere.
    let source = DirSource::repository(Path::new(repository))?;
    // A program that runs more than once keeps its store in a folder: `Store::folder(...)` is what protects from rollback.
    let client = Client::new(fs::read(root)?, source, Store::in_memory());
    let verifier = Verifier::new(client).with_image(image.parse()?);

    match verifier.verify(Path::new(archive)).into_image() {
        Ok(image) => {
            // Only the check makes a `VerifiedImage`: what takes one cannot be given an image that was not verified.
            println!("trusted: config {}", image.config_digest());
            for layer in image.layers() {
                println!("  layer {} in {}", layer.diff_id(), layer.entry().name);
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(verdict) => {
            // "Not trusted" is an answer; "undecided" asks for somebody to look.
            eprint!("{verdict}");
            Ok(ExitCode::from(verdict.exit_code()))
        }
    }
}
