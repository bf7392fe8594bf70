//! `plimsoll explain`: who is trusted for the name of an image.

use std::process::ExitCode;

use chrono::TimeDelta;
use clap::Args;
use plimsoll::explain::{Explainer, Explanation};
use plimsoll::name::ImageName;

use crate::args::{Format, duration, image};
use crate::authority::{AuthorityOptions, Chosen, NotStarted};
use crate::{map, show};

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The image: HOST/REPO:TAG, HOST/REPO@sha256:HEX or a short name
    #[arg(value_name = "NAME", value_parser = image)]
    name: ImageName,

    #[command(flatten)]
    authority: AuthorityOptions,

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

fn explanation(arguments: &Explain) -> Result<Explanation, NotStarted> {
    let authority = &arguments.authority;
    let mut explainer = Explainer::new(arguments.name.clone()).with_soon(arguments.warn_within);
    if let Some(target_path) = &authority.target_path {
        explainer = explainer.with_target_paths(target_path.clone());
    }
    match authority.chosen()? {
        Chosen::Map(map) => {
            let configure = |client| authority.configure(client, authority.max_staleness);
            Ok(explainer.by_map(&map::repositories(&map, authority.store.as_deref(), configure)?))
        }
        Chosen::One(root) => Ok(explainer.by_client(&authority.client(&root)?)),
        Chosen::Policy(policy) => Ok(explainer.by_terms(&authority.governing(&policy, false)?)),
    }
}
