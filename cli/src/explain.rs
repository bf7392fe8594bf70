//! `plimsoll explain`: who is trusted for the name of an image.

use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use plimsoll::client::{Client, Source, Store};
use plimsoll::explain::{Explainer, Explanation};
use plimsoll::name::ImageName;
use plimsoll::template::TargetPaths;

use crate::args::{Format, Repository, duration, image, target_paths, time};
use crate::{input, map, repository, show, state};

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The image: HOST/REPO:TAG, HOST/REPO@sha256:HEX or a short name
    #[arg(value_name = "NAME", value_parser = image)]
    name: ImageName,

    #[command(flatten)]
    repository: Repository,

    /// The root that you trust, from a source other than the repository
    #[arg(long, value_name = "ROOT.json", required_unless_present = "map", conflicts_with = "map")]
    root: Option<PathBuf>,

    /// Instead of --repository and --root: several repositories, and how many of them must agree (TAP 4)
    #[arg(long, value_name = "MAP.json")]
    map: Option<PathBuf>,

    /// Where trusted metadata is kept, which protects from rollback [default: by root, below the user's state folder]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,

    /// Where the signed files of an image are among the repository's targets, if its publisher says so [default: {host}/{repository}/{tag}/{file}]
    #[arg(long, value_name = "TEMPLATE", value_parser = target_paths)]
    target_path: Option<TargetPaths>,

    /// Judge expiry by this time instead of the clock
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    time: Option<DateTime<Utc>>,

    /// Accept metadata that has been expired for at most this long: 36h, 7d, 1d12h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    max_staleness: Option<TimeDelta>,

    /// Warn of what expires within this time. The timestamp is left out, for its life is short by design
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "7d")]
    warn_within: TimeDelta,

    /// What to print on standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

pub(crate) fn explain(arguments: &Explain) -> ExitCode {
    let explanation = explanation(arguments)
        .unwrap_or_else(|(code, message)| Explanation::not_started(code, &message, &arguments.name.to_string()));
    print(&explanation, arguments.format)
}

/// Wrong usage, in the form that was asked for.
pub(crate) fn usage(message: &str) -> ExitCode {
    print(&Explanation::not_started("usage", message, ""), Format::Json)
}

fn print(explanation: &Explanation, format: Format) -> ExitCode {
    let text = match format {
        Format::Json => explanation.to_json(),
        Format::Human => explanation.to_string(),
    };
    show::text(&text, explanation.exit_code())
}

fn explanation(arguments: &Explain) -> Result<Explanation, (&'static str, String)> {
    let mut explainer = Explainer::new(arguments.name.clone()).with_soon(arguments.warn_within);
    if let Some(target_path) = &arguments.target_path {
        explainer = explainer.with_target_paths(target_path.clone());
    }
    if let Some(map) = &arguments.map {
        let repositories = map::repositories(map, arguments.store.as_deref(), |client| arguments.configure(client))?;
        return Ok(explainer.by_map(&repositories));
    }
    // The parser of the arguments lets nothing pass that has neither.
    let root = arguments.root.as_ref().ok_or(("usage", "either --map or --root is needed".to_owned()))?;
    let root = input::root(root).map_err(|e| ("pinned-root-unreadable", e))?;
    let source = repository::open(&arguments.repository).map_err(|e| ("repository-unreadable", show::chain(&e)))?;
    let store = arguments.store.clone().map_or_else(|| state::default_store(&root), Ok).map_err(|e| ("usage", e))?;
    Ok(explainer.by_client(&arguments.configure(Client::new(root, source, Store::folder(store)))))
}

impl Explain {
    fn configure<S: Source>(&self, client: Client<S>) -> Client<S> {
        crate::args::configure(client, self.time, self.max_staleness)
    }
}
