//! A TUF client with the command line that the TUF conformance suite drives clients by.
//!
//! ```sh
//! cargo build --release --features http --example tuf_client
//! ```
//!
//! ```text
//! tuf_client --metadata-dir D init ROOT.json
//! tuf_client --metadata-dir D --metadata-url URL refresh
//! tuf_client --metadata-dir D --metadata-url URL --target-dir T --target-base-url URL --target-name NAME [--target-name NAME ...] download
//! ```
//!
//! The exit code is 0 on success and 1 on failure. The folder D is a store: after a refresh it holds the trusted metadata under its
//! unversioned names (`root.json`, `timestamp.json`, ...), byte for byte as received. Targets go to T, each under its percent-encoded
//! path; one that is there already is not fetched again.

#![allow(clippy::print_stderr, reason = "it is a command")]

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plimsoll::client::{Client, HttpSource, Store, encoded};

/// The root that `init` was given. Its name does not end in `.json`, so that nobody takes it for trusted metadata of the repository.
const PINNED: &str = "pinned-root";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tuf_client: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse(env::args().skip(1))?;
    let metadata = arguments.metadata_dir.as_deref().ok_or("--metadata-dir is missing")?;
    match arguments.command.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["init", root] => init(metadata, Path::new(root)),
        ["refresh"] => {
            // No target is asked for, so it does not matter where they would be.
            let url = arguments.metadata_url.as_deref().ok_or("--metadata-url is missing")?;
            client(metadata, HttpSource::new(url, url)?)?.refresh()?;
            Ok(())
        }
        ["download"] => download(metadata, &arguments),
        _ => Err("the command must be one of: init ROOT.json, refresh, download".into()),
    }
}

/// Nothing is checked and nobody is asked: the root is trusted because it was given.
fn init(metadata: &Path, root: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(metadata)?;
    let root = fs::read(root)?;
    fs::write(metadata.join(PINNED), &root)?;
    Ok(fs::write(metadata.join("root.json"), &root)?)
}

fn client(metadata: &Path, source: HttpSource) -> Result<Client<HttpSource>, Box<dyn Error>> {
    let root = fs::read(metadata.join(PINNED)).map_err(|_| "run init first")?;
    Ok(Client::new(root, source, Store::folder(metadata)))
}

/// All targets by one refresh, in the order given, up to the first that cannot be had.
fn download(metadata: &Path, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let metadata_url = arguments.metadata_url.as_deref().ok_or("--metadata-url is missing")?;
    let target_url = arguments.target_base_url.as_deref().ok_or("--target-base-url is missing")?;
    let folder = arguments.target_dir.as_deref().ok_or("--target-dir is missing")?;
    if arguments.target_names.is_empty() {
        return Err("--target-name is missing".into());
    }
    fs::create_dir_all(folder)?;

    let client = client(metadata, HttpSource::new(metadata_url, target_url)?)?;
    let mut session = client.refresh()?;
    for name in &arguments.target_names {
        let found = session.find(name)?.map_err(|absence| format!("{name:?} is not signed: {absence}"))?;
        session.fetch_to_file(&found, &folder.join(file_name(name)))?;
    }
    Ok(())
}

/// One file for each target path, in no other folder. Temporary files begin with a dot, so targets do not.
fn file_name(target: &str) -> String {
    let name = encoded(target);
    name.strip_prefix('.').map_or(name.clone(), |rest| format!("%2E{rest}"))
}

#[derive(Default)]
struct Arguments {
    metadata_dir: Option<PathBuf>,
    metadata_url: Option<String>,
    target_dir: Option<PathBuf>,
    target_base_url: Option<String>,
    target_names: Vec<String>,
    command: Vec<String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--metadata-dir" => arguments.metadata_dir = Some(value()?.into()),
                "--metadata-url" => arguments.metadata_url = Some(value()?),
                "--target-dir" => arguments.target_dir = Some(value()?.into()),
                "--target-base-url" => arguments.target_base_url = Some(value()?),
                "--target-name" => arguments.target_names.push(value()?),
                option if option.starts_with("--") => return Err(format!("unknown option {option}").into()),
                _ => arguments.command.push(word),
            }
        }
        Ok(arguments)
    }
}

fn with_causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}
