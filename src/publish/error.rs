//! Why something was not signed or not published.

use std::io;

use crate::image::error::{ArchiveError, Refusal};
use crate::metadata::{BelowThreshold, MetadataError, RoleName};
use crate::publish::key::KeyError;
use crate::text::{escaped, quoted};
use crate::trust::TrustError;

/// Why a repository was not read, changed or published. What clients see is as it was before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A file of the repository could not be read or written.
    #[error("cannot {action} {}", quoted(.file))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Another process is changing the repository.
    #[error("the repository {} is being changed by another process; waited 10 s", quoted(.0))]
    Locked(String),
    /// There is no repository where one is expected, or one where there should be none.
    #[error("{}: {why}", quoted(.folder))]
    Folder {
        /// The folder.
        folder: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file of the repository is no metadata.
    #[error("{}: not valid metadata", quoted(.file))]
    Malformed {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: MetadataError,
    },
    /// What the repository holds is not signed as it must be. Whoever changed it does not have its keys.
    #[error("{}: not signed as the repository itself demands", quoted(.file))]
    NotSigned {
        /// The file.
        file: String,
        /// By how many it is signed, and must be.
        source: BelowThreshold,
    },
    /// What the repository holds does not fit together.
    #[error("{}: {why}", quoted(.file))]
    Inconsistent {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// A key could not be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The archive is not one that could be verified afterwards.
    #[error("this archive would not verify as {image}: {refusal}{}", more(*.others))]
    Archive {
        /// The name.
        image: String,
        /// The first finding.
        refusal: Box<Refusal>,
        /// How many there are besides.
        others: usize,
    },
    /// The archive cannot be read, or breaks a rule.
    #[error(transparent)]
    ArchiveUnreadable(#[from] ArchiveError),
    /// A package list that is not one, or not of this image: beside it, the image would not verify.
    #[error("with the list {}, {image} would not verify: {why}", quoted(.file))]
    List {
        /// The name of the image.
        image: String,
        /// The list.
        file: String,
        /// Why not.
        why: String,
    },
    /// What was asked for makes no sense here.
    #[error("{0}")]
    Usage(String),
    /// Nobody knows this role.
    #[error("there is no role {}", quoted(.0))]
    NoRole(String),
    /// The role may not sign the path, so no client would ever find it there.
    #[error("the role {} may not sign {}: {why}", escaped(.role), quoted(.path))]
    NotDelegated {
        /// The role.
        role: String,
        /// The target path.
        path: String,
        /// Why not.
        why: String,
    },
    /// Another role comes first for this path, so clients would find that one's file.
    #[error("{} is signed by the role {} already, which comes before {}; remove it there first", quoted(.path), escaped(.by), escaped(.role))]
    Shadowed {
        /// The target path.
        path: String,
        /// The role that was to sign it.
        role: String,
        /// The role that clients ask first.
        by: String,
    },
    /// There is nothing to sign.
    #[error("nothing of the role {role} waits for a signature; --renew makes a new version of what is published")]
    NothingStaged {
        /// The role.
        role: RoleName,
    },
    /// No key at hand is one of the role's, or all of those have signed.
    #[error("none of the keys at hand is a key of the role {role} that has not signed yet; its keys are {keys}")]
    NoKey {
        /// The role.
        role: RoleName,
        /// The ids of its keys.
        keys: String,
    },
    /// Someone else's version of a role came first.
    #[error(
        "what waits of the role {role} is version {staged}, but version {published} is published; do it again on top of that"
    )]
    Stale {
        /// The role.
        role: RoleName,
        /// The version that waits.
        staged: u64,
        /// The published version.
        published: u64,
    },
    /// A client that has seen the repository as it is would refuse what was to be published, so it was not.
    #[error("clients would refuse what was to be published")]
    Refused(#[source] TrustError),
    /// A client would not find, or not find this, under a path.
    #[error("clients would not find {} as {} signs it: {why}", quoted(.path), escaped(.role))]
    NotFound {
        /// The target path.
        path: String,
        /// The role that signs it.
        role: String,
        /// Why.
        why: String,
    },
    /// A file that is to be published is not there.
    #[error("the file of {} is not in the repository, expected {}", quoted(.path), quoted(.file))]
    MissingTarget {
        /// The target path.
        path: String,
        /// Where its file should be.
        file: String,
    },
    /// There is no next version.
    #[error(
        "the role {0} has the highest version that there can be; take a key of timestamp or snapshot away, which lets it start again"
    )]
    LastVersion(RoleName),
}

fn more(others: usize) -> String {
    match others {
        0 => String::new(),
        n => format!(" (and {n} more)"),
    }
}

impl PublishError {
    /// A stable code, in kebab-case.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "repository-unusable",
            Self::Locked(_) => "repository-locked",
            Self::Folder { .. } => "repository-folder",
            Self::Malformed { .. } | Self::NotSigned { .. } | Self::Inconsistent { .. } => "repository-damaged",
            Self::Key(_) => "key-unusable",
            Self::Archive { .. } => "archive-not-verifiable",
            Self::ArchiveUnreadable(_) => "archive-unreadable",
            Self::List { .. } => "list-not-verifiable",
            Self::Usage(_) => "usage",
            Self::NoRole(_) => "role-unknown",
            Self::NotDelegated { .. } => "path-not-delegated",
            Self::Shadowed { .. } => "path-shadowed",
            Self::NothingStaged { .. } => "nothing-to-sign",
            Self::NoKey { .. } => "key-missing",
            Self::Stale { .. } => "staged-outdated",
            Self::Refused(_) => "publication-refused",
            Self::NotFound { .. } => "target-not-found",
            Self::MissingTarget { .. } => "target-missing",
            Self::LastVersion(_) => "version-exhausted",
        }
    }
}
