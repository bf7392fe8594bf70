//! Brings bytes to [`crate::trust`] and keeps what it trusted: the client workflow [TUF 5], in the specification's order.
//!
//! Rules:
//! - The update start time is fixed once per refresh [TUF 5.1].
//! - Each file is stored as soon as it is trusted and before the next is asked for, so a refresh that stops halfway has lost nothing.
//! - What is local is verified again, down from the pinned root, as if it had just been received.
//! - "Not trusted" and "could not be decided" are different types: [`TrustError`] and [`Undecided`].

mod chain;
mod download;
#[cfg(feature = "tough")]
pub(crate) mod driver;
#[cfg(feature = "http")]
mod http;
mod mirrors;
mod place;
mod remembered;
mod roots;
mod source;
mod state;
mod store;
#[cfg(feature = "tough")]
mod tough;

use std::io::Read;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

#[cfg(feature = "http")]
pub use self::http::HttpSource;
pub use self::mirrors::Mirrors;
pub use self::place::{Location, Place};
pub use self::remembered::Remembered;
pub use self::source::{DirSource, Source, SourceError};
pub use self::state::{NoStateFolder, default_store};
pub use self::store::{LockedStore, Store, StoreError};
#[cfg(feature = "tough")]
pub use self::tough::ToughSource;
use crate::limits::MetadataLimits;
use crate::metadata::RoleName;
use crate::metadata::roles::TargetFile;
use crate::text::quoted;
use crate::trust::{self, Absence, AfterRoot, AfterSnapshot, AfterTimestamp, Found, RoleRequest, Rules};
use crate::trust::{Step, TrustError, Trusted};

/// A clock that is behind the highest time seen by no more than this is taken for a correction of the clock.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Why a refresh or a lookup ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A check failed: what the repository says is not to be trusted.
    #[error(transparent)]
    NotTrusted(#[from] TrustError),
    /// No check failed, but what there is does not suffice to decide.
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

/// Why nothing can be said about trust.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Undecided {
    /// The repository could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The local store could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A target could not be written where it was to be kept.
    #[error("cannot write {}", quoted(.file))]
    Write {
        /// The file.
        file: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The repository lacks a file that it must have.
    #[error("the repository has no file {}", quoted(.0))]
    Missing(String),
    /// The pinned root is no root, or is not signed as it demands itself [TUF 5.2].
    #[error("the pinned root cannot be used")]
    PinnedRoot(#[source] TrustError),
    /// The repository has more new roots than one refresh follows [TUF 5.3.3]. Those that were followed are stored.
    #[error("more than {0} new roots; what was followed is stored, so the next refresh goes on from there")]
    TooManyRoots(u32),
    /// The store was made with another pinned root, and this one is not of its chain.
    #[error("the local store belongs to another root, {}; use another store", quoted(.0))]
    OtherStore(String),
    /// The clock shows a time before one at which an earlier refresh succeeded. A wrong clock must not revive expired metadata.
    #[error("the clock shows {}, but {} was seen before; if that was wrong, remove {}", shown(.now), shown(.seen), quoted(.file))]
    ClockBehind {
        /// What the clock shows.
        now: DateTime<Utc>,
        /// The highest time seen.
        seen: DateTime<Utc>,
        /// The file to remove in order to forget it.
        file: String,
    },
}

impl Undecided {
    /// A stable code for reports.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Source(_) => "repository-unreadable",
            Self::Missing(_) => "repository-incomplete",
            Self::Write { .. } => "target-unwritable",
            Self::Store(StoreError::Locked { .. }) => "store-locked",
            Self::Store(_) => "store-unusable",
            Self::PinnedRoot(_) => "pinned-root-invalid",
            Self::OtherStore(_) => "store-of-another-root",
            Self::TooManyRoots(_) => "too-many-roots",
            Self::ClockBehind { .. } => "clock-behind",
        }
    }
}

macro_rules! undecided_from {
    ($($error:ty),*) => {$(
        impl From<$error> for ClientError {
            fn from(error: $error) -> Self {
                Self::Undecided(error.into())
            }
        }
    )*};
}
undecided_from!(SourceError, StoreError);

/// A client of one repository: a pinned root, a source of files, a store.
#[derive(Debug)]
pub struct Client<S> {
    pinned: Vec<u8>,
    source: S,
    store: Store,
    time: Option<DateTime<Utc>>,
    max_staleness: TimeDelta,
    limits: MetadataLimits,
    remembers_time: bool,
    lock_wait: Duration,
}

impl<S: Source> Client<S> {
    /// A client that trusts what follows from `pinned`, the bytes of a `root.json` that the operator provides.
    pub fn new(pinned: impl Into<Vec<u8>>, source: S, store: Store) -> Self {
        Self {
            pinned: pinned.into(),
            source,
            store,
            time: None,
            max_staleness: TimeDelta::zero(),
            limits: MetadataLimits::default(),
            remembers_time: false,
            lock_wait: Duration::from_secs(30),
        }
    }

    /// Takes `time` for the update start time instead of asking the clock. It is not compared with the highest time seen.
    #[must_use]
    pub fn with_time(self, time: DateTime<Utc>) -> Self {
        Self { time: Some(time), ..self }
    }

    /// Accepts metadata that has been expired for at most this long; see [`Rules::with_max_staleness`].
    #[must_use]
    pub fn with_max_staleness(self, max_staleness: TimeDelta) -> Self {
        Self { max_staleness, ..self }
    }

    /// Other limits.
    #[must_use]
    pub fn with_limits(self, limits: MetadataLimits) -> Self {
        Self { limits, ..self }
    }

    /// Remembers in the store the highest time at which a refresh succeeded, and refuses a clock that is more than five minutes behind.
    #[must_use]
    pub fn with_time_memory(self) -> Self {
        Self { remembers_time: true, ..self }
    }

    /// Waits for at most `wait` for another process, or another [`Session`], that uses the store. Default 30 s.
    #[must_use]
    pub fn with_lock_wait(self, wait: Duration) -> Self {
        Self { lock_wait: wait, ..self }
    }

    /// What was trusted.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where the files come from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Brings the top-level metadata up to date [TUF 5.1 to 5.6]. The store is locked as long as the result lives.
    ///
    /// # Errors
    ///
    /// [`ClientError`]. What was trusted until then is stored.
    pub fn refresh(&self) -> Result<Session<'_, S>, ClientError> {
        let mut store = self.store.lock(self.lock_wait)?;
        let start = self.time.unwrap_or_else(Utc::now); // 5.1
        self.check_clock(&store, start)?;
        let rules = Rules::at(start).with_max_staleness(self.max_staleness).with_limits(self.limits.clone());

        let root = self.refresh_root(&mut store, &rules)?;
        let timestamp = self.refresh_timestamp(&mut store, root)?;
        let snapshot = self.refresh_snapshot(&mut store, &timestamp)?;
        let trusted = self.refresh_targets(&mut store, &snapshot)?;

        self.remember_clock(&mut store, start)?;
        store.settle()?;
        Ok(Session { client: self, store, trusted })
    }

    /// 5.4.
    fn refresh_timestamp(&self, store: &mut LockedStore<'_>, root: AfterRoot) -> Result<AfterTimestamp, ClientError> {
        let bytes = self.require_metadata("timestamp.json", self.limits.timestamp)?;
        let next = root.timestamp(&bytes)?;
        store.write("timestamp.json", next.timestamp().bytes())?; // 5.4.5
        Ok(next)
    }

    /// 5.5. A stored snapshot of the right version is used without a request.
    fn refresh_snapshot(
        &self,
        store: &mut LockedStore<'_>,
        timestamp: &AfterTimestamp,
    ) -> Result<AfterSnapshot, ClientError> {
        let request = timestamp.snapshot_request();
        if let Some(bytes) = store.read("snapshot.json", request.limit())?
            && let Ok(next) = timestamp.snapshot(&bytes)
        {
            return Ok(next);
        }
        let bytes = self.require_role(&request, timestamp.root().consistent_snapshot())?;
        let next = timestamp.snapshot(&bytes)?;
        store.write("snapshot.json", next.snapshot().bytes())?; // 5.5.7
        Ok(next)
    }

    /// 5.6.
    fn refresh_targets(&self, store: &mut LockedStore<'_>, snapshot: &AfterSnapshot) -> Result<Trusted, ClientError> {
        let request = snapshot.targets_request();
        if let Some(bytes) = store.read("targets.json", request.limit())?
            && let Ok(trusted) = snapshot.targets(bytes)
        {
            return Ok(trusted);
        }
        let bytes = self.require_role(&request, snapshot.root().consistent_snapshot())?;
        let trusted = snapshot.targets(bytes)?;
        store.keep("targets.json", trusted.targets().bytes())?; // 5.6.6
        Ok(trusted)
    }

    fn check_clock(&self, store: &LockedStore<'_>, now: DateTime<Utc>) -> Result<(), ClientError> {
        if !self.uses_clock() {
            return Ok(());
        }
        match highest_time_seen(store)? {
            Some(seen) if now.checked_add_signed(CLOCK_TOLERANCE).is_some_and(|latest| latest < seen) => {
                Err(Undecided::ClockBehind { now, seen, file: store.describe(CLOCK) }.into())
            }
            _ => Ok(()),
        }
    }

    /// Only after a refresh that succeeded: a clock far ahead makes metadata look expired, and must not be remembered.
    fn remember_clock(&self, store: &mut LockedStore<'_>, now: DateTime<Utc>) -> Result<(), ClientError> {
        // Once a minute is often enough, and spares the disk.
        let recent = |seen: DateTime<Utc>| now.signed_duration_since(seen) < TimeDelta::minutes(1);
        if self.uses_clock() && !highest_time_seen(store)?.is_some_and(recent) {
            store.write(CLOCK, shown(&now).as_bytes())?;
        }
        // Unlike the highest time seen, this one may go back: with a clock that was ahead, it is not known when the last refresh was.
        let is_recent = |last: DateTime<Utc>| last <= now && recent(last);
        if self.uses_clock() && !store.read(REFRESHED, 64)?.and_then(|bytes| time_of(&bytes)).is_some_and(is_recent) {
            store.keep(REFRESHED, shown(&now).as_bytes())?;
        }
        Ok(())
    }

    fn uses_clock(&self) -> bool {
        self.remembers_time && self.time.is_none()
    }

    fn require_metadata(&self, name: &str, limit: u64) -> Result<Vec<u8>, ClientError> {
        Ok(self.fetch_metadata(name, limit)?.ok_or_else(|| Undecided::Missing(name.to_owned()))?)
    }

    fn require_role(&self, request: &RoleRequest, consistent: bool) -> Result<Vec<u8>, ClientError> {
        let file = metadata_name(request.role().as_str(), request.version(), consistent);
        if !request.is_acceptable() {
            return Err(TrustError::TooLarge { file, limit: request.limit() }.into());
        }
        self.require_metadata(&file, request.limit())
    }

    fn fetch_metadata(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, ClientError> {
        self.source.metadata(name)?.map(|reader| read_bounded(reader, name, limit)).transpose()
    }
}

/// Up-to-date top-level metadata, and the way to the targets. The store is locked as long as this lives.
#[derive(Debug)]
pub struct Session<'c, S> {
    client: &'c Client<S>,
    store: LockedStore<'c>,
    trusted: Trusted,
}

impl<'c, S: Source> Session<'c, S> {
    /// The trusted metadata.
    #[must_use]
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Looks for a target [TUF 5.6.7], loading only the delegated roles that may sign it. The inner error is why it is not there.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if a role on the way is not trusted or cannot be had.
    pub fn find(&mut self, path: &str) -> Result<Result<Found, Absence>, ClientError> {
        find(self.client, Access::Held(&mut self.store), &mut self.trusted, path)
    }

    /// Unlocks the store, for others that use it. What was refreshed stays as it is.
    #[must_use]
    pub fn release(self) -> Released<'c, S> {
        Released { client: self.client, trusted: self.trusted }
    }

    /// Brings a target into memory and checks it [TUF 5.7].
    ///
    /// # Errors
    ///
    /// [`TrustError::TooLarge`] if it is longer than [`MetadataLimits::target_in_memory`], [`TrustError::NoKnownHash`] if nothing binds
    /// its bytes, and if it is not what was signed; [`Undecided::Missing`] if the repository has no such file.
    pub fn fetch(&self, found: &Found) -> Result<Vec<u8>, ClientError> {
        fetch(self.client, &self.trusted, found)
    }
}

/// A [`Session`] that has let go of its store, which it locks again only while it loads a role that it has not seen yet. It can go from thread to thread.
///
/// Another process may refresh the store meanwhile. That takes nothing away here, nor there: what is stored of a delegated role counts only as far as it is what
/// the snapshot lists that it is read under.
#[derive(Debug)]
pub struct Released<'c, S> {
    client: &'c Client<S>,
    trusted: Trusted,
}

impl<S: Source> Released<'_, S> {
    /// As [`Session::trusted`].
    #[must_use]
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// As [`Session::find`].
    ///
    /// # Errors
    ///
    /// Those of [`Session::find`], and [`Undecided::Store`] if the store cannot be locked when it is needed.
    pub fn find(&mut self, path: &str) -> Result<Result<Found, Absence>, ClientError> {
        let (store, wait) = (&self.client.store, self.client.lock_wait);
        find(self.client, Access::WhenNeeded { store, wait, held: None }, &mut self.trusted, path)
    }

    /// As [`Session::fetch`].
    ///
    /// # Errors
    ///
    /// Those of [`Session::fetch`].
    pub fn fetch(&self, found: &Found) -> Result<Vec<u8>, ClientError> {
        fetch(self.client, &self.trusted, found)
    }
}

/// A store that is locked, or will be when something is read from it.
enum Access<'a, 's> {
    Held(&'a mut LockedStore<'s>),
    WhenNeeded { store: &'s Store, wait: Duration, held: Option<LockedStore<'s>> },
}

impl<'s> Access<'_, 's> {
    fn store(&mut self) -> Result<&mut LockedStore<'s>, StoreError> {
        match self {
            Self::Held(store) => Ok(store),
            Self::WhenNeeded { store, wait, held } => {
                let locked = held.take().map_or_else(|| store.lock(*wait), Ok)?;
                Ok(held.insert(locked))
            }
        }
    }
}

fn find<S: Source>(
    client: &Client<S>,
    mut access: Access<'_, '_>,
    trusted: &mut Trusted,
    path: &str,
) -> Result<Result<Found, Absence>, ClientError> {
    let consistent = trusted.root().consistent_snapshot();
    let mut search = trusted.search(path);
    loop {
        let request = match search.step()? {
            Step::Found(found) => return Ok(Ok(found)),
            Step::Absent(absence) => return Ok(Err(absence)),
            Step::Need(request) => request,
        };
        let stored = stored_role(request.role());
        let store = access.store()?;
        let local = stored.as_deref().map(|name| store.read(name, request.limit())).transpose()?.flatten();
        if local.is_some_and(|bytes| search.provide(bytes).is_ok()) {
            continue;
        }
        let bytes = client.require_role(&request, consistent)?;
        if let (Some(file), Some(name)) = (search.provide(bytes)?, stored) {
            store.keep(&name, file.bytes())?;
        }
    }
}

fn fetch<S: Source>(client: &Client<S>, trusted: &Trusted, found: &Found) -> Result<Vec<u8>, ClientError> {
    let (path, file) = (found.path(), found.file());
    let limit = client.limits.target_in_memory;
    if file.length() > limit {
        return Err(TrustError::TooLarge { file: path.to_owned(), limit }.into());
    }
    let names = target_names(path, file, trusted.root().consistent_snapshot());
    if names.is_empty() {
        return Err(TrustError::NoKnownHash { file: path.to_owned() }.into());
    }
    for name in names {
        let Some(reader) = client.source.target(&name)? else { continue };
        // One byte past the end is enough to see that it does not end there.
        let mut bytes = Vec::new();
        let read = reader.take(file.length().saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| SourceError::reading(&name, source))?;
        trust::check_target(path, file, &bytes)?;
        return Ok(bytes);
    }
    Err(Undecided::Missing(path.to_owned()).into())
}

/// The highest time at which a refresh succeeded.
const CLOCK: &str = "clock";
/// When the last refresh succeeded, to the minute; as the highest time seen, it is kept only by a client with a memory for time.
const REFRESHED: &str = "refreshed";

/// `None` for a name that may be too long for a file system, and for one that is a top-level role's but for its case: where file names
/// have no case, the file of a delegated role called `Timestamp` would take the remembered timestamp's place, and its floor away. Such a
/// role is fetched each time.
fn stored_role(role: &RoleName) -> Option<String> {
    let name = format!("{}.json", encoded(role.as_str()));
    let is_taken = |top: &RoleName| name.eq_ignore_ascii_case(&format!("{top}.json"));
    let top = [RoleName::Root, RoleName::Timestamp, RoleName::Snapshot, RoleName::Targets];
    (name.len() <= 200 && !top.iter().any(is_taken)).then_some(name)
}

fn highest_time_seen(store: &LockedStore<'_>) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(store.read(CLOCK, 64)?.and_then(|bytes| time_of(&bytes)))
}

fn time_of(bytes: &[u8]) -> Option<DateTime<Utc>> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// The name of the file of a role other than the timestamp below `metadata/` [TUF 6.2].
pub(crate) fn metadata_name(role: &str, version: u64, consistent: bool) -> String {
    let role = encoded(role);
    if consistent { format!("{version}.{role}.json") } else { format!("{role}.json") }
}

/// The names that a target's file may have below `targets/`: with consistent snapshots, any of its hashes is before the file name
/// [TUF 5.7.3].
pub(crate) fn target_names(path: &str, file: &TargetFile, consistent: bool) -> Vec<String> {
    if !consistent {
        return vec![path.to_owned()];
    }
    // With its slash, also where that is all of it: `/a` is not `a`.
    let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash.saturating_add(1)));
    let hashes = [file.hashes().sha256().map(|hash| hash.to_hex()), file.hashes().sha512().map(|hash| hash.to_hex())];
    hashes.into_iter().flatten().map(|hash| format!("{folder}{hash}.{name}")).collect()
}

/// Whether a target path is one that every source can bring: a relative path without empty part, `.`, `..` or NUL.
#[cfg(feature = "publish")]
pub(crate) fn is_target_path(path: &str) -> bool {
    source::is_plain(path)
}

/// A role name or target path as one path segment: everything but unreserved characters [RFC 3986 2.3] percent-encoded, so that it can be
/// a part of a URL and, unless it is `.`, `..` or too long, the name of a file.
#[must_use]
pub fn encoded(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

pub(crate) fn read_bounded(reader: Box<dyn Read + '_>, file: &str, limit: u64) -> Result<Vec<u8>, ClientError> {
    // Most role files are short: without room for one, it would be read in many pieces that grow.
    let mut bytes = Vec::with_capacity(8 * 1024);
    let read = reader.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|source| SourceError::reading(file, source))?;
    if u64::try_from(bytes.len()).map_or(true, |n| n > limit) {
        return Err(TrustError::TooLarge { file: file.to_owned(), limit }.into());
    }
    Ok(bytes)
}

fn shown(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
