//! Signs an image archive in a repository that `plimsoll repository init` made, with keys from files:
//!
//! ```sh
//! cargo run --features publish --example publish -- REPOSITORY ARCHIVE IMAGE KEY.pem...
//! ```
//!
//! A key service or a token takes the place of a file by another `KeySource` of tough.

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::env;
use std::error::Error;
use std::path::Path;

use plimsoll::image::archive::Archive;
use plimsoll::image::signable::Signable;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use plimsoll::publish::{KeyFile, NewTarget, Outcome, Renewal, Repository, Signers};
use plimsoll::template::TargetPaths;
use tough::key_source::KeySource;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [repository, archive, image, keys @ ..] = arguments.as_slice() else {
        return Err("usage: publish REPOSITORY ARCHIVE IMAGE KEY.pem...".into());
    };
    let outcome = sign(Path::new(repository), Path::new(archive), &image.parse()?, keys)?;
    println!("published: {:?}, waiting: {:?}", outcome.published, outcome.waiting);
    Ok(())
}

/// Signs whatever of the archive has to be signed for it to verify as `image`, and publishes it if the keys are enough.
pub fn sign(repository: &Path, archive: &Path, image: &ImageName, keys: &[String]) -> Result<Outcome, Box<dyn Error>> {
    let limits = ArchiveLimits::default();
    let signable = Signable::of(&Archive::open(archive, &limits)?, image, &limits, &|_, _| {})?;

    let source = |key: &String| -> Box<dyn KeySource> { Box::new(KeyFile::new(key)) };
    let signers = Signers::open(&keys.iter().map(source).collect::<Vec<_>>())?;
    let mut repository = Repository::open(repository, chrono::Utc::now())?;
    let paths: TargetPaths =
        repository.target_path().map_or_else(|| Ok(TargetPaths::default()), |paths| paths.parse())?;

    let mut files: Vec<(String, &[u8])> = Vec::new();
    for (name, bytes) in &signable.files {
        files.push((paths.path(image, name)?, bytes));
    }
    let targets = files.iter_mut().map(|(path, content)| NewTarget { path: path.clone(), content });
    repository.add_targets(targets.collect(), None, &signers)?;
    Ok(repository.publish(&signers, Renewal::None)?)
}
