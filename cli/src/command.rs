//! The commands that there are.

use clap::{Parser, Subcommand};

use crate::args::{Export, Load, Packages, Verify};

/// Decides whether a container image archive may be loaded.
#[derive(Debug, Parser)]
#[command(name = "plimsoll", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 trusted, 1 not trusted, 2 could not be decided.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Verify an image archive against a TUF repository, without loading it
    #[command(after_help = EXIT_CODES)]
    Verify(Box<Verify>),
    /// Verify an image archive, and give exactly what was verified to docker load, or to another loader
    #[command(after_help = LOAD_HELP)]
    Load(Box<Load>),
    /// Verify an image archive, and write exactly what was verified as a new archive
    #[command(after_help = EXPORT_HELP)]
    Export(Box<Export>),
    /// Who is trusted for the name of an image: keys, thresholds, delegations, expiry, and what a thief of each key could do
    #[command(after_help = EXPLAIN_HELP)]
    Explain(Box<crate::explain::Explain>),
    /// List the packages and files of an image, for its publisher to sign. Says nothing about whether the image is trusted
    #[command(after_help = PACKAGES_HELP)]
    Packages(Box<Packages>),
    /// Carry what some images need, and their archives, across an air gap
    #[command(subcommand)]
    Bundle(Box<crate::bundle::BundleCommand>),
    /// Look at the policy: which repository, root and checks the images of a name need
    #[command(subcommand)]
    Policy(Box<crate::policy::PolicyCommand>),
    /// Prove on a node that containerd asks plimsoll-verifier before it pulls an image
    #[command(after_help = crate::doctor::HELP)]
    Doctor(Box<crate::doctor::Doctor>),
    /// The security profiles that are signed beside an image: fetch, check and sign them
    #[command(subcommand)]
    Profile(Box<crate::profile::ProfileCommand>),
    /// Write a TUF repository: sign images, delegate, rotate keys
    #[cfg(feature = "publish")]
    #[command(subcommand)]
    Repository(Box<crate::publish::RepositoryCommand>),
    /// Make and look at the keys that sign
    #[cfg(feature = "publish")]
    #[command(subcommand)]
    Key(Box<crate::publish::KeyCommand>),
}

const LOAD_HELP: &str = "Exit codes: 0 trusted and loaded, 1 not trusted, 2 could not be decided, or the loader failed. \
Nothing is started unless the archive is trusted. What the loader prints goes to standard error.";
const EXPORT_HELP: &str = "Exit codes: 0 trusted and written, 1 not trusted, 2 could not be decided, or not written. \
A file takes its place only when it is whole.";

const EXPLAIN_HELP: &str = "Exit codes: 0 the name is signed, 1 it is not, or a check of the metadata failed, 2 could not be found out. \
No archive is looked at: plimsoll verify does that, by the same metadata.";

const PACKAGES_HELP: &str = "Exit codes: 0 written, 1 the archive would not be trusted whatever is signed, 2 not written. \
Of one image the list is the same at all times. Sign it beside the image: plimsoll repository add --packages packages.spdx.json ...";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
