//! `plimsoll bundle`: what some images need, carried across an air gap. What is trusted is decided in the library.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use plimsoll::bundle::{self, Report, Request, Terms};
use plimsoll::name::ImageName;
use plimsoll::template::TargetPaths;

use crate::args::{Format, duration, image, target_paths, time};
use crate::{input, repository, show, state};

const CREATE_HELP: &str = "Exit codes: 0 written, 1 something is not trusted, 2 undecided, or not written. \
The folder appears only when it is whole.";
const VERIFY_HELP: &str =
    "Exit codes: 0 trusted, 1 not trusted, 2 could not be decided. Nothing is changed, the store neither.";
const IMPORT_HELP: &str = "Exit codes: 0 trusted and imported, 1 not trusted, 2 undecided, or not imported. \
Readers of the repository see its old state or the new one, whenever this is stopped.";

#[derive(Debug, Subcommand)]
pub(crate) enum BundleCommand {
    /// Copy from a repository what some images need, and their archives, into a folder
    #[command(after_help = CREATE_HELP)]
    Create(Create),
    /// Check all of a bundle, and say until when each part of it is good
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Check all of a bundle, and bring it into the folder of a local repository
    #[command(after_help = IMPORT_HELP)]
    Import(Import),
}

/// What a bundle is judged by.
#[derive(Debug, Args)]
pub(crate) struct Judgement {
    /// The root that you trust, from a source other than the repository or the bundle
    #[arg(long, value_name = "ROOT.json")]
    root: PathBuf,

    /// Where trusted metadata is kept, which protects from rollback [default: by root, below the user's state folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    /// Judge expiry by this time instead of the clock
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    time: Option<DateTime<Utc>>,

    /// Accept metadata that has been expired for at most this long: 36h, 7d, 1d12h. Gives up protection against freeze for that long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_staleness: Option<TimeDelta>,

    /// Where the signed files of an image are among the repository's targets, if its publisher says so [default: {host}/{repository}/{tag}/{file}]
    #[arg(long, value_name = "TEMPLATE", value_parser = target_paths)]
    target_path: Option<TargetPaths>,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The TUF repository: a folder or http(s) address below which are metadata/ and targets/
    #[arg(long, value_name = "DIR_OR_URL")]
    repository: PathBuf,

    /// An image that the bundle is to hold; may be given several times
    #[arg(long, value_name = "NAME", value_parser = image, required = true)]
    image: Vec<ImageName>,

    /// An archive of one of the images, to go with it; may be given several times
    #[arg(long, value_name = "FILE")]
    archive: Vec<PathBuf>,

    /// An earlier bundle. What it holds too, but for metadata and manifests, is left out; import the new one only where the earlier one was
    #[arg(long, value_name = "DIR")]
    since: Option<PathBuf>,

    /// The new folder
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    #[command(flatten)]
    judgement: Judgement,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The bundle
    bundle: PathBuf,

    #[command(flatten)]
    judgement: Judgement,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The bundle
    bundle: PathBuf,

    /// The folder of the local repository; made if it is not there
    #[arg(long, value_name = "DIR")]
    into: PathBuf,

    /// Go on even if images that the repository serves already, and the bundle is not for, cannot be verified there any more
    #[arg(long)]
    leave_behind: bool,

    #[command(flatten)]
    judgement: Judgement,
}

/// Runs `plimsoll bundle`.
pub(crate) fn bundle(command: &BundleCommand) -> ExitCode {
    let (judgement, report) = match command {
        BundleCommand::Create(create) => (
            &create.judgement,
            run("create", &create.judgement, &create.output, |terms| {
                let source = repository::whole(&create.repository);
                let source = source.map_err(|e| ("repository-unreadable", show::chain(&e)))?;
                let (archives, since) = (create.archive.as_slice(), create.since.as_deref());
                Ok(bundle::create(terms, source, &Request { images: &create.image, archives, since }, &create.output))
            }),
        ),
        BundleCommand::Verify(verify) => (
            &verify.judgement,
            run("verify", &verify.judgement, &verify.bundle, |terms| Ok(bundle::verify(terms, &verify.bundle))),
        ),
        BundleCommand::Import(import) => (
            &import.judgement,
            run("import", &import.judgement, &import.bundle, |terms| {
                let terms = if import.leave_behind { terms.clone().leaving_others_behind() } else { terms.clone() };
                Ok(bundle::import(&terms, &import.bundle, &import.into))
            }),
        ),
    };
    let text = match judgement.format {
        Format::Json => report.to_json(),
        Format::Human => report.to_string(),
    };
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(report.exit_code()),
        Err(e) => {
            show::diagnostic(&format!("plimsoll: cannot print the report: {e}\n"));
            ExitCode::from(if report.is_trusted() { 2 } else { report.exit_code() })
        }
    }
}

/// An error comes with its code.
type Started = Result<Report, (&'static str, String)>;

fn run(operation: &'static str, judgement: &Judgement, bundle: &Path, run: impl FnOnce(&Terms) -> Started) -> Report {
    let report = judgement.terms().and_then(|terms| run(&terms));
    report.unwrap_or_else(|(code, message)| Report::not_started(operation, code, &message, bundle))
}

impl Judgement {
    fn terms(&self) -> Result<Terms, (&'static str, String)> {
        let root = input::root(&self.root).map_err(|e| ("pinned-root-unreadable", e))?;
        let store = self.store.clone().map_or_else(|| state::default_store(&root), Ok).map_err(|e| ("usage", e))?;
        let mut terms = Terms::new(root).with_store(store).with_time_memory();
        if let Some(time) = self.time {
            terms = terms.with_time(time);
        }
        if let Some(max_staleness) = self.max_staleness {
            terms = terms.with_max_staleness(max_staleness);
        }
        if let Some(target_path) = &self.target_path {
            terms = terms.with_target_paths(target_path.clone());
        }
        Ok(terms)
    }
}
