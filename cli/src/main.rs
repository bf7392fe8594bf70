//! The plimsoll command: reads arguments, asks the library, prints the verdict. No decision is made here.
//!
//! Exit codes: 0 trusted (and loaded or written, if that was asked for), 1 not trusted, 2 undecided. With `--format json` standard output is
//! one JSON object whatever happens; where it takes an exported archive, standard error is.

mod args;
mod bundle;
mod export;
mod input;
mod load;
mod map;
mod output;
mod packages;
mod profile;
#[cfg(feature = "publish")]
mod publish;
mod repository;
mod show;
mod state;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use plimsoll::client::{Client, Store};
use plimsoll::image::archive::Archive;
use plimsoll::verdict::Verdict;
use plimsoll::verify::Verifier;

use crate::args::{Arguments, Command, Format, Verify};

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(Arguments { command: Command::Verify(arguments) }) => {
            let verdict = verify(&arguments).map_or_else(|verdict| *verdict, |(verdict, _)| verdict);
            show::verdict(&verdict, arguments.format)
        }
        Ok(Arguments { command: Command::Load(arguments) }) => {
            let verdict = load::load(&arguments).unwrap_or_else(|verdict| *verdict);
            show::verdict(&verdict, arguments.verify.format)
        }
        Ok(Arguments { command: Command::Export(arguments) }) => {
            let verdict = export::export(&arguments).unwrap_or_else(|verdict| *verdict);
            let show = if export::is_standard_output(&arguments) { show::verdict_aside } else { show::verdict };
            show(&verdict, arguments.verify.format)
        }
        Ok(Arguments { command: Command::Packages(arguments) }) => packages::packages(&arguments),
        Ok(Arguments { command: Command::Bundle(command) }) => bundle::bundle(&command),
        Ok(Arguments { command: Command::Profile(command) }) => profile::profile(&command),
        #[cfg(feature = "publish")]
        Ok(Arguments { command: Command::Repository(command) }) => publish::repository(&command),
        #[cfg(feature = "publish")]
        Ok(Arguments { command: Command::Key(command) }) => publish::key(&command),
        Err(error) => usage(&error),
    }
}

/// The verdict on an archive, and the archive, opened once. `Err` holds a verdict that is not "trusted": there is no archive to check, or something
/// that is needed before any check is not there.
fn verify(arguments: &Verify) -> Result<(Verdict, Archive), Box<Verdict>> {
    let path = arguments.archive.display().to_string();
    let not_started = |code, message: String| Box::new(Verdict::not_started(code, &message, &path));

    let packages = arguments.packages.checks().map_err(|e| not_started("usage", e))?;
    let mut verifier = match (&arguments.map, &arguments.root) {
        (Some(map), _) => {
            Verifier::by_map(map::repositories(map, arguments).map_err(|(code, e)| not_started(code, e))?)
        }
        (None, Some(root)) => {
            let root = input::root(root).map_err(|e| not_started("pinned-root-unreadable", e))?;
            let source = repository::open(&arguments.repository)
                .map_err(|e| not_started("repository-unreadable", show::chain(&e)))?;
            let store = arguments.store.clone().map_or_else(|| state::default_store(&root), Ok);
            let store = store.map_err(|e| not_started("usage", e))?;
            Verifier::new(arguments.configure(Client::new(root, source, Store::folder(store))))
        }
        // The parser of the arguments does not let this pass.
        (None, None) => return Err(not_started("usage", "either --map or --root is needed".to_owned())),
    };
    let limits = arguments.limits();
    verifier = verifier.with_limits(limits.clone()).with_packages(packages);
    if let Some(image) = &arguments.image {
        verifier = verifier.with_image(image.clone());
    }
    if let Some(target_path) = &arguments.target_path {
        verifier = verifier.with_target_paths(target_path.clone());
    }
    if let Some(platform) = &arguments.platform {
        verifier = verifier.with_platform(platform.clone());
    }
    if let Some(progress) = show::progress() {
        verifier = verifier.with_progress(progress);
    }

    match input::archive(&arguments.archive, &limits) {
        (Ok(archive), shown) => Ok((verifier.verify_opened(&archive, &shown), archive)),
        (Err(error), shown) => Err(Box::new(verifier.not_opened(error, &shown))),
    }
}

/// Help and version are what was asked for; all else is wrong usage, reported as JSON too if that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if is_help && asked_for_help_alone() {
        return show::help(error);
    }
    let text = if is_help { HELP_AMONG_OTHERS.to_owned() } else { error.to_string() };
    show::diagnostic(&show::printable(&text));
    if asked_for_json() {
        let message = show::first_line(&text);
        let verdict = Verdict::not_started("usage", &message, "");
        let show = if export::asked_for_standard_output() { show::verdict_aside } else { show::verdict };
        return show(&verdict, Format::Json);
    }
    ExitCode::from(2)
}

const HELP_AMONG_OTHERS: &str = "error: help was asked for among other arguments, so nothing was verified; \
an archive whose name starts with a hyphen goes after --\n";

/// An archive may be called `-h.tar`. Exit code 0 means "trusted", so it must not come from a name that only looks like an option.
fn asked_for_help_alone() -> bool {
    // Of these, exit code 0 says nothing about an image.
    if std::env::args_os().nth(1).is_some_and(|command| command == "repository" || command == "key") {
        return true;
    }
    let alone = [
        "verify",
        "load",
        "export",
        "packages",
        "bundle",
        "create",
        "import",
        "profile",
        "fetch",
        "check",
        "push",
        "help",
        "--help",
        "-h",
        "--version",
        "-V",
    ];
    std::env::args_os().skip(1).all(|argument| alone.iter().any(|a| argument == *a))
}

/// The arguments could not be parsed, so they are looked at one by one.
fn asked_for_json() -> bool {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let pair = |pair: &[std::ffi::OsString]| matches!(pair, [a, b] if a == "--format" && b == "json");
    arguments.iter().any(|a| a == "--format=json") || arguments.windows(2).any(pair)
}
