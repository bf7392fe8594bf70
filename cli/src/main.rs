//! The plimsoll command: reads arguments, asks the library, prints the verdict. No decision is made here.
//!
//! Exit codes: 0 trusted (and loaded or written, if that was asked for), 1 not trusted, 2 undecided. With `--format json` standard output is
//! one JSON object whatever happens; where it takes an exported archive, standard error is.

mod args;
mod authority;
mod bundle;
mod command;
mod doctor;
mod explain;
mod export;
mod input;
mod load;
mod map;
mod output;
mod packages;
mod policy;
mod profile;
#[cfg(feature = "publish")]
mod publish;
mod records;
mod repository;
mod show;
mod state;
mod verify;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use plimsoll::verdict::Verdict;

use crate::args::Format;
use crate::command::{Arguments, Command};

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(Arguments { command: Command::Verify(arguments) }) => verify::run(&arguments),
        Ok(Arguments { command: Command::Load(arguments) }) => {
            let verdict = records::kept(&arguments.how, &arguments.archive, |records| load::load(&arguments, records));
            show::verdict(&verdict, arguments.how.format)
        }
        Ok(Arguments { command: Command::Export(arguments) }) => {
            let verdict =
                records::kept(&arguments.how, &arguments.archive, |records| export::export(&arguments, records));
            let show = if export::is_standard_output(&arguments) { show::verdict_aside } else { show::verdict };
            show(&verdict, arguments.how.format)
        }
        Ok(Arguments { command: Command::Explain(arguments) }) => explain::explain(&arguments),
        Ok(Arguments { command: Command::Packages(arguments) }) => packages::packages(&arguments),
        Ok(Arguments { command: Command::Bundle(command) }) => bundle::bundle(&command),
        Ok(Arguments { command: Command::Policy(command) }) => policy::policy(&command),
        Ok(Arguments { command: Command::Doctor(arguments) }) => doctor::doctor(&arguments),
        Ok(Arguments { command: Command::Profile(command) }) => profile::profile(&command),
        #[cfg(feature = "publish")]
        Ok(Arguments { command: Command::Repository(command) }) => publish::repository(&command),
        #[cfg(feature = "publish")]
        Ok(Arguments { command: Command::Key(command) }) => publish::key(&command),
        Err(error) => usage(&error),
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
        if std::env::args_os().nth(1).is_some_and(|command| command == "explain") {
            return explain::usage(&message);
        }
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
    if std::env::args_os()
        .nth(1)
        .is_some_and(|command| ["repository", "key", "policy", "doctor"].iter().any(|c| command == *c))
    {
        return true;
    }
    let alone = [
        "verify",
        "load",
        "export",
        "explain",
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
