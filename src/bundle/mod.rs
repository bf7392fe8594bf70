//! Bundles for the air gap: the part of a repository that some images need, and their archives, in one folder.
//!
//! ```text
//! metadata/     the roots from the pinned one on, timestamp, snapshot, targets, the delegated roles that lead to the images: as received
//! targets/      what is signed for the images
//! archives/     the images themselves, if given
//! bundle.json   what is in it. Not signed: it says what to look for, never what to believe
//! ```
//!
//! A bundle is itself a repository, for [`DirSource`](crate::client::DirSource) and for every TUF client, on read-only media too.
//!
//! Rules:
//! - Nothing gets into a bundle that did not verify, and a bundle appears only when it is whole.
//! - All of a bundle is checked: each metadata file, each target, each archive. A file that nothing accounts for is a finding.
//! - [`verify`] changes nothing, the local store neither. [`import`] does, when all is in place.
//! - [`import`] checks a copy of its own, and brings into place the very files that it has checked.
//! - A bundle may leave out what an earlier one has brought ([`Request::since`]): never metadata, never a manifest.

mod archive;
mod check;
mod contents;
mod create;
mod files;
mod import;
mod others;
mod report;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub use self::create::Request;
pub use self::report::{ArchiveEntry, Expiry, ImageEntry, Report, RoleEntry};
use crate::client::{Client, Source, Store};
use crate::limits::{ArchiveLimits, MetadataLimits};
use crate::template::TargetPaths;
use crate::verdict::Finding;
use crate::verify::Stop;

/// How long to wait for another process that uses the local store.
const STORE_WAIT: Duration = Duration::from_secs(30);

/// What a bundle is judged by.
#[derive(Debug, Clone)]
pub struct Terms {
    root: Vec<u8>,
    store: Option<PathBuf>,
    time: Option<DateTime<Utc>>,
    max_staleness: TimeDelta,
    remembers_time: bool,
    target_paths: TargetPaths,
    limits: ArchiveLimits,
    leaves_others_behind: bool,
}

impl Terms {
    /// Trusts what follows from `root`, the bytes of a `root.json` that the operator provides.
    #[must_use]
    pub fn new(root: Vec<u8>) -> Self {
        Self {
            root,
            store: None,
            time: None,
            max_staleness: TimeDelta::zero(),
            remembers_time: false,
            target_paths: TargetPaths::default(),
            limits: ArchiveLimits::default(),
            leaves_others_behind: false,
        }
    }

    /// The folder of the local store. Without it there is no memory from one run to the next, so an old bundle can pass for a new one.
    #[must_use]
    pub fn with_store(self, store: PathBuf) -> Self {
        Self { store: Some(store), ..self }
    }

    /// Judges expiry by this time instead of the clock.
    #[must_use]
    pub fn with_time(self, time: DateTime<Utc>) -> Self {
        Self { time: Some(time), ..self }
    }

    /// Accepts metadata that has been expired for at most this long; see [`Client::with_max_staleness`].
    #[must_use]
    pub fn with_max_staleness(self, max_staleness: TimeDelta) -> Self {
        Self { max_staleness, ..self }
    }

    /// Refuses a clock that is behind what the store has seen; see [`Client::with_time_memory`].
    #[must_use]
    pub fn with_time_memory(self) -> Self {
        Self { remembers_time: true, ..self }
    }

    /// Where the signed files of an image are among the targets, if not as usual.
    #[must_use]
    pub fn with_target_paths(self, target_paths: TargetPaths) -> Self {
        Self { target_paths, ..self }
    }

    /// Other limits for the archives.
    #[must_use]
    pub fn with_limits(self, limits: ArchiveLimits) -> Self {
        Self { limits, ..self }
    }

    /// Lets [`import`] go on where images that the repository serves, and the bundle is not for, would be left without a verdict.
    #[must_use]
    pub fn leaving_others_behind(self) -> Self {
        Self { leaves_others_behind: true, ..self }
    }

    fn client<S: Source>(&self, source: S, store: Store) -> Client<S> {
        let mut client = Client::new(self.root.clone(), source, store).with_max_staleness(self.max_staleness);
        if let Some(time) = self.time {
            client = client.with_time(time);
        }
        if self.remembers_time {
            client = client.with_time_memory();
        }
        client
    }

    fn own_store(&self) -> Store {
        self.store.as_ref().map_or_else(Store::in_memory, Store::folder)
    }

    /// What the store remembers, in a copy that may be changed without consequence.
    fn rehearsal_store(&self) -> Result<Store, Stop> {
        let copy = self.own_store().copy_in_memory(STORE_WAIT, MetadataLimits::default().listed);
        copy.map_err(|error| crate::client::Undecided::from(error).into())
    }
}

/// Copies from a repository what some images need into a new folder.
///
/// The repository is read as any client reads it, with the store of `terms`, so nothing that is older than what was seen gets into a bundle.
#[must_use]
pub fn create<S: Source>(terms: &Terms, source: S, request: &Request<'_>, output: &Path) -> Report {
    let mut report = Report::new("create", output);
    let result = create::create(terms, source, request, output, &mut report);
    report.ended(result)
}

/// Checks all of a bundle, and says until when it is good.
#[must_use]
pub fn verify(terms: &Terms, bundle: &Path) -> Report {
    let mut report = Report::new("verify", bundle);
    let result = check::check(terms, bundle, &mut report).map(drop);
    report.ended(result)
}

/// Checks all of a bundle, and brings it into the folder of a local repository, which readers see in the old state or the new.
///
/// `into` is made if it is not there. Target files come first, the metadata last and in one step where the system can exchange two folders (Linux);
/// elsewhere file by file, `timestamp.json` last.
#[must_use]
pub fn import(terms: &Terms, bundle: &Path, into: &Path) -> Report {
    let mut report = Report::new("import", bundle);
    let result = import::import(terms, bundle, into, &mut report);
    report.ended(result)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Stop {
    let text = format!("cannot read {}: {error}", crate::text::quoted(&path.display().to_string()));
    Stop::Undecided(vec![Finding::new("bundle-unreadable", text)])
}

fn unwritable(path: &Path, error: &std::io::Error) -> Stop {
    let text = format!("cannot write {}: {error}", crate::text::quoted(&path.display().to_string()));
    Stop::Undecided(vec![Finding::new("bundle-unwritable", text)])
}
