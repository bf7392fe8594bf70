//! The plimsoll command: reads arguments, asks the library, prints the verdict. No decision is made here.
//!
//! Exit codes: 0 trusted, 1 not trusted, 2 undecided. With `--format json` standard output is one JSON object whatever happens.

mod args;
mod input;
mod map;
mod show;
mod state;

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use plimsoll::client::{Client, DirSource, Source, Store};
use plimsoll::verdict::Verdict;
use plimsoll::verify::Verifier;

use crate::args::{Arguments, Command, Format, Verify};

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(Arguments { command: Command::Verify(arguments) }) => {
            let format = arguments.format;
            let verdict = verify(*arguments).unwrap_or_else(|verdict| *verdict);
            show::verdict(&verdict, format)
        }
        Err(error) => usage(&error),
    }
}

/// `Err` holds the verdict "undecided": something that is needed before any check is not there.
fn verify(arguments: Verify) -> Result<Verdict, Box<Verdict>> {
    let path = arguments.archive.display().to_string();
    let not_started = |code, message: String| Box::new(Verdict::not_started(code, &message, &path));

    let mut verifier = match &arguments.map {
        Some(map) => Verifier::by_map(map::repositories(map, &arguments).map_err(|(code, e)| not_started(code, e))?),
        None => {
            let root = input::root(arguments.root.as_deref().unwrap_or(Path::new("")))
                .map_err(|e| not_started("pinned-root-unreadable", e))?;
            let source = DirSource::repository(arguments.repository.as_deref().unwrap_or(Path::new("")))
                .map_err(|e| not_started("repository-unreadable", show::chain(&e)))?;
            let store = arguments.store.clone().map_or_else(|| state::default_store(&root), Ok);
            let store = store.map_err(|e| not_started("usage", e))?;
            let source: Box<dyn Source> = Box::new(source);
            Verifier::new(arguments.configure(Client::new(root, source, Store::folder(store))))
        }
    };
    if let Some(image) = arguments.image {
        verifier = verifier.with_image(image);
    }
    if let Some(platform) = arguments.platform {
        verifier = verifier.with_platform(platform);
    }
    if let Some(progress) = show::progress() {
        verifier = verifier.with_progress(progress);
    }

    if path != "-" {
        return Ok(verifier.verify(&arguments.archive));
    }
    let archive = input::standard_input().map_err(|e| not_started("archive-unreadable", e))?;
    Ok(verifier.verify_archive(archive, "standard input"))
}

/// Help and version are what was asked for; all else is wrong usage, reported as JSON too if that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return show::help(error);
    }
    show::diagnostic(&error.to_string());
    if asked_for_json() {
        let message = show::first_line(&error.to_string());
        return show::verdict(&Verdict::not_started("usage", &message, ""), Format::Json);
    }
    ExitCode::from(2)
}

/// The arguments could not be parsed, so they are looked at one by one.
fn asked_for_json() -> bool {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let pair = |pair: &[std::ffi::OsString]| matches!(pair, [a, b] if a == "--format" && b == "json");
    arguments.iter().any(|a| a == "--format=json") || arguments.windows(2).any(pair)
}
