//! The client that is measured: the bench's own executable, started again, so that its memory is its own.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, exit};

use plimsoll::client::{Client, HttpSource, Store};
use plimsoll::limits::MetadataLimits;

/// The first argument of such a client.
const CLIENT: &str = "--client";

/// A client that refreshes, looks up `targets` and fetches them. `listed` is another limit for role files than the default.
pub(crate) fn client(url: &str, root: &Path, store: &Path, listed: Option<u64>, targets: &[String]) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    let listed = listed.map_or("default".to_owned(), |limit| limit.to_string());
    command.arg(CLIENT).arg(url).arg(root).arg(store).arg(listed).args(targets);
    command
}

/// Ends the process if it is a client, once it has done its work: with 1 if it was refused.
pub(crate) fn run_if_asked() {
    let words: Vec<String> = env::args().skip(1).collect();
    let [mode, url, root, store, listed, targets @ ..] = words.as_slice() else { return };
    if mode != CLIENT {
        return;
    }
    let mut limits = MetadataLimits::default();
    if let Ok(listed) = listed.parse() {
        limits.listed = listed;
    }
    let source = HttpSource::repository(url).unwrap();
    let client = Client::new(fs::read(root).unwrap(), source, Store::folder(store)).with_limits(limits);
    let result = client.refresh().and_then(|mut session| {
        for target in targets {
            let found = session.find(target)?.unwrap();
            session.fetch(&found)?;
        }
        Ok(())
    });
    if let Err(error) = result {
        println!("{error}");
        exit(1);
    }
    exit(0);
}
