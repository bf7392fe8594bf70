//! The role metadata checks of the TUF client workflow [TUF 5.2 to 5.6], without I/O.
//!
//! The caller brings the bytes of each role file and, once, the update start time. Nothing here opens a file, asks a server or
//! reads a clock, so an async program, a fuzzer and [`crate::client`] all drive the same code.
//!
//! Rules:
//! - Roles come in order: root, timestamp, snapshot, targets. The order is in the types: [`AfterRoot`] has no `snapshot` method.
//! - A failed check changes nothing. What was trusted before is still there, and the same stage can be asked again.
//! - What was trusted in an earlier update ("remembered") sets the floor for versions. It is verified again before it counts. If it
//!   has since expired it still counts against rollback, never as the current file.
//! - A delegated role is trusted for the delegation through which it is reached, and for no other.

mod error;
mod search;
mod target;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread;

use chrono::{DateTime, TimeDelta, Utc};

pub use self::error::TrustError;
pub use self::search::{Absence, Asked, Found, RoleRequest, Search, Step};
pub use self::target::TargetCheck;
use crate::digest::{Sha256, Sha512};
use crate::limits::MetadataLimits;
use crate::metadata::json::{self, At};
use crate::metadata::key::{Key, KeyId, PublicKey};
use crate::metadata::roles::{Hashes, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp};
use crate::metadata::{BelowThreshold, Early, Role, RoleKeys, RoleName, Signed, Unverified};
use crate::text::escaped;

/// What one update is judged by: its start time, fixed for all its checks [TUF 5.1], and the limits.
#[derive(Debug, Clone)]
pub struct Rules {
    start: DateTime<Utc>,
    max_staleness: TimeDelta,
    limits: MetadataLimits,
}

impl Rules {
    /// Metadata must not be expired at `start`; default limits.
    #[must_use]
    pub fn at(start: DateTime<Utc>) -> Self {
        Self { start, max_staleness: TimeDelta::zero(), limits: MetadataLimits::default() }
    }

    /// Accepts metadata that has been expired for at most `max_staleness`. That gives up protection against freeze attacks for that
    /// long; protection against rollback stays. A negative duration counts as zero.
    #[must_use]
    pub fn with_max_staleness(self, max_staleness: TimeDelta) -> Self {
        Self { max_staleness: max_staleness.max(TimeDelta::zero()), ..self }
    }

    /// Other limits.
    #[must_use]
    pub fn with_limits(self, limits: MetadataLimits) -> Self {
        Self { limits, ..self }
    }

    /// The update start time.
    #[must_use]
    pub fn start(&self) -> DateTime<Utc> {
        self.start
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &MetadataLimits {
        &self.limits
    }

    /// 5.3.10, 5.4.4, 5.5.6, 5.6.5: the expiry must be later than the start time.
    fn not_expired<T>(&self, role: &RoleName, file: &Signed<T>) -> Result<(), TrustError> {
        // The sum overflows only past the year 262,000; then the file does not expire within the range of the clock either.
        let refused_from = file.expires().checked_add_signed(self.max_staleness).unwrap_or(DateTime::<Utc>::MAX_UTC);
        if refused_from > self.start {
            return Ok(());
        }
        Err(TrustError::Expired { role: role.clone(), expires: file.expires(), now: self.start })
    }

    fn parse<'b, T: Role>(
        &self,
        role: &RoleName,
        bytes: impl Into<Cow<'b, [u8]>>,
    ) -> Result<Unverified<T>, TrustError> {
        Unverified::parse(bytes, &self.limits).map_err(|source| TrustError::Malformed { role: role.clone(), source })
    }
}

/// The chain of roots, from the pinned one to the newest [TUF 5.2, 5.3].
#[derive(Debug, Clone)]
pub struct Roots {
    root: Arc<Signed<Root>>,
    rules: Arc<Rules>,
    chain: Vec<RootFile>,
}

/// Which file a root of the chain was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootFile {
    version: u64,
    sha256: Sha256,
}

impl RootFile {
    fn of(root: &Signed<Root>) -> Self {
        Self { version: root.version(), sha256: Sha256::of(root.bytes()) }
    }

    /// Its version, 1 or more.
    #[must_use]
    pub fn version(self) -> u64 {
        self.version
    }

    /// The SHA-256 of the file as received.
    #[must_use]
    pub fn sha256(self) -> Sha256 {
        self.sha256
    }
}

/// What a new root means for what is remembered under the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a remembered timestamp and snapshot must be forgotten when their keys were taken away"]
pub enum Rotation {
    /// Remembered files stay.
    Kept,
    /// A key of the timestamp or snapshot role was taken away: forget both files, so that whoever held it cannot have pushed the
    /// version numbers out of reach for good [TUF 5.3.11, fast-forward attack].
    Forget,
}

impl Roots {
    /// Starts from the root that the operator pinned [TUF 5.2]. It may be expired; the last one may not.
    ///
    /// # Errors
    ///
    /// [`TrustError::Malformed`], or [`TrustError::Threshold`] if it is not signed as it demands itself.
    pub fn pin(bytes: &[u8], rules: Rules) -> Result<Self, TrustError> {
        let root = rules.parse::<Root>(&RoleName::Root, bytes)?;
        let root = root.verify_pinned().map_err(|below| threshold(&RoleName::Root, below))?;
        Ok(Self { chain: vec![RootFile::of(&root)], root: Arc::new(root), rules: Arc::new(rules) })
    }

    /// The newest root so far.
    #[must_use]
    pub fn root(&self) -> &Signed<Root> {
        &self.root
    }

    /// What the update is judged by.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The version that the next root must have [TUF 5.3.3].
    ///
    /// # Errors
    ///
    /// [`TrustError::LastRoot`] at 2^64 - 1.
    pub fn next_version(&self) -> Result<u64, TrustError> {
        self.root.version().checked_add(1).ok_or(TrustError::LastRoot)
    }

    /// Checks the next root and takes its place in the chain [TUF 5.3.4 to 5.3.6].
    ///
    /// # Errors
    ///
    /// [`TrustError::Malformed`], [`TrustError::Threshold`] of the old or the new root's own keys, [`TrustError::Version`].
    pub fn rotate(&mut self, bytes: &[u8]) -> Result<Rotation, TrustError> {
        self.next_version()?;
        self.rotate_to(NextRoot(self.rules.parse(&RoleName::Root, bytes)?))
    }

    /// The same with a root that was read ahead.
    pub(crate) fn rotate_to(&mut self, NextRoot(next): NextRoot) -> Result<Rotation, TrustError> {
        let expected = self.next_version()?;
        let next = next.verify_successor(&self.root).map_err(|below| threshold(&RoleName::Root, below))?; // 5.3.4
        same_version(&RoleName::Root, "the root before it", expected, next.version())?; // 5.3.5

        let lost = |role: fn(&Root) -> &RoleKeys| !usable_keys(&next, role).is_superset(&usable_keys(&self.root, role));
        let rotation = if lost(Root::timestamp) || lost(Root::snapshot) { Rotation::Forget } else { Rotation::Kept };
        self.chain.push(RootFile::of(&next));
        self.root = Arc::new(next);
        Ok(rotation)
    }

    /// Ends the chain: there is no newer root [TUF 5.3.9, 5.3.10].
    ///
    /// # Errors
    ///
    /// [`TrustError::Expired`] of the last root alone; those before it may be.
    pub fn finish(self) -> Result<AfterRoot, TrustError> {
        self.rules.not_expired(&RoleName::Root, &self.root)?; // 5.3.10
        let chain = Arc::from(self.chain);
        Ok(AfterRoot { root: self.root, chain, rules: self.rules, seen_timestamp: None, seen_snapshot: None })
    }
}

/// A root that was read before it is its turn: before it is known whether the one before it is trusted. Nothing is believed of it.
#[derive(Debug)]
pub(crate) struct NextRoot(Unverified<Root>);

impl NextRoot {
    /// Reads it, and finds out which of its own keys signed it, one of the two things that 5.3.4 asks. Takes any bytes, and any thread.
    pub(crate) fn read(bytes: Vec<u8>, rules: &Rules) -> Result<Self, TrustError> {
        let mut next = rules.parse::<Root>(&RoleName::Root, bytes)?;
        next.check_itself();
        Ok(Self(next))
    }
}

/// Keys, not ids: a key that is only renamed was not taken away.
fn usable_keys(root: &Root, role: fn(&Root) -> &RoleKeys) -> BTreeSet<&PublicKey> {
    role(root).keyids().iter().filter_map(|id| root.keys().get(id)?.usable()).collect()
}

/// The root is known; next comes the timestamp [TUF 5.4].
#[derive(Debug, Clone)]
pub struct AfterRoot {
    root: Arc<Signed<Root>>,
    chain: Arc<[RootFile]>,
    rules: Arc<Rules>,
    seen_timestamp: Option<Arc<Signed<Timestamp>>>,
    seen_snapshot: Option<Arc<Signed<Snapshot>>>,
}

impl AfterRoot {
    /// The newest root.
    #[must_use]
    pub fn root(&self) -> &Signed<Root> {
        &self.root
    }

    /// Takes a timestamp of an earlier update as the floor for the new one.
    ///
    /// # Errors
    ///
    /// If it does not verify under the present root. Then it is as if there were none; there is no need to stop.
    pub fn remember_timestamp(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        self.seen_timestamp = Some(Arc::new(self.verify(&RoleName::Timestamp, Root::timestamp, bytes)?));
        Ok(())
    }

    /// Takes a snapshot of an earlier update as the floor for the new one.
    ///
    /// # Errors
    ///
    /// If it does not verify under the present root. Then it is as if there were none; there is no need to stop.
    pub fn remember_snapshot(&mut self, bytes: &[u8]) -> Result<(), TrustError> {
        self.seen_snapshot = Some(Arc::new(self.verify(&RoleName::Snapshot, Root::snapshot, bytes)?));
        Ok(())
    }

    /// Checks a timestamp file and moves on to the snapshot stage [TUF 5.4.2 to 5.4.4].
    ///
    /// `bytes` is the whole file as received. A version equal to the remembered one is not an error: the remembered one stays.
    ///
    /// # Errors
    ///
    /// [`TrustError::Malformed`], [`TrustError::Threshold`], [`TrustError::Rollback`] or [`TrustError::Expired`], for the first check
    /// that fails.
    pub fn timestamp(&self, bytes: &[u8]) -> Result<AfterTimestamp, TrustError> {
        let mut new = match &self.seen_timestamp {
            // Verified by these keys already.
            Some(seen) if seen.bytes() == bytes => Arc::clone(seen),
            _ => Arc::new(self.verify::<Timestamp>(&RoleName::Timestamp, Root::timestamp, bytes)?), // 5.4.2
        };

        if let Some(seen) = &self.seen_timestamp {
            not_lower(&RoleName::Timestamp, "version", seen.version(), new.version())?; // 5.4.3.1
            if new.version() == seen.version() {
                // Nothing new was published. Two files of one version are not compared: the remembered one stays.
                new = Arc::clone(seen);
            }
            let snapshot = (seen.snapshot().version(), new.snapshot().version());
            not_lower(&RoleName::Timestamp, "snapshot version", snapshot.0, snapshot.1)?; // 5.4.3.2
        }

        // After the rollback checks, so that a report names the attack and not its side effect.
        self.rules.not_expired(&RoleName::Timestamp, &new)?; // 5.4.4
        Ok(AfterTimestamp { before: self.clone(), timestamp: new })
    }

    fn verify<T: Role>(
        &self,
        name: &RoleName,
        role: fn(&Root) -> &RoleKeys,
        bytes: &[u8],
    ) -> Result<Signed<T>, TrustError> {
        let file = self.rules.parse::<T>(name, bytes)?;
        file.verify(role(&self.root), self.root.keys()).map_err(|below| threshold(name, below))
    }
}

/// The timestamp is known; next comes the snapshot [TUF 5.5].
#[derive(Debug, Clone)]
pub struct AfterTimestamp {
    before: AfterRoot,
    timestamp: Arc<Signed<Timestamp>>,
}

impl AfterTimestamp {
    /// The newest root.
    #[must_use]
    pub fn root(&self) -> &Signed<Root> {
        &self.before.root
    }

    /// The current timestamp.
    #[must_use]
    pub fn timestamp(&self) -> &Signed<Timestamp> {
        &self.timestamp
    }

    /// What to bring next.
    #[must_use]
    pub fn snapshot_request(&self) -> RoleRequest {
        let limits = &self.before.rules.limits;
        RoleRequest::new(RoleName::Snapshot, self.timestamp.snapshot(), limits.snapshot, limits)
    }

    /// Checks a snapshot file and moves on to the targets stage [TUF 5.5.2 to 5.5.6].
    ///
    /// It may come from the repository or from an earlier update: the checks are the same.
    ///
    /// # Errors
    ///
    /// [`TrustError`], for the first check that fails.
    pub fn snapshot(&self, bytes: &[u8]) -> Result<AfterSnapshot, TrustError> {
        let listed = self.timestamp.snapshot();
        is_listed("snapshot", listed, bytes)?; // 5.5.2
        let new = match &self.before.seen_snapshot {
            // Verified by these keys already.
            Some(seen) if seen.bytes() == bytes => Arc::clone(seen),
            _ => Arc::new(self.before.verify::<Snapshot>(&RoleName::Snapshot, Root::snapshot, bytes)?), // 5.5.3
        };
        same_version(&RoleName::Snapshot, "timestamp", listed.version(), new.version())?; // 5.5.4
        if let Some(seen) = self.before.seen_snapshot.as_ref().filter(|seen| !Arc::ptr_eq(seen, &new)) {
            not_rolled_back(seen, &new)?; // 5.5.5
        }
        self.before.rules.not_expired(&RoleName::Snapshot, &new)?; // 5.5.6
        Ok(AfterSnapshot { before: self.clone(), snapshot: new })
    }
}

/// 5.5.5: every file that the trusted snapshot lists is still listed, in no lower version.
fn not_rolled_back(seen: &Snapshot, new: &Snapshot) -> Result<(), TrustError> {
    for (file, was) in seen.files() {
        let Some(is) = new.file(&file) else {
            return Err(TrustError::RoleRemoved { file: file.into_owned(), trusted: was.version() });
        };
        not_lower(&RoleName::Snapshot, &format!("version of {}", escaped(&file)), was.version(), is.version())?;
    }
    Ok(())
}

/// The snapshot is known; next comes the top-level targets file [TUF 5.6].
#[derive(Debug, Clone)]
pub struct AfterSnapshot {
    before: AfterTimestamp,
    snapshot: Arc<Signed<Snapshot>>,
}

impl AfterSnapshot {
    /// The newest root.
    #[must_use]
    pub fn root(&self) -> &Signed<Root> {
        &self.before.before.root
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Signed<Snapshot> {
        &self.snapshot
    }

    /// What to bring next.
    #[must_use]
    pub fn targets_request(&self) -> RoleRequest {
        let limits = &self.before.before.rules.limits;
        RoleRequest::new(RoleName::Targets, self.snapshot.targets(), limits.targets, limits)
    }

    /// Checks the top-level targets file and ends the refresh [TUF 5.6.2 to 5.6.5].
    ///
    /// It may be large. Bytes that are handed over, as a `Vec<u8>`, are not copied.
    ///
    /// # Errors
    ///
    /// [`TrustError`], for the first check that fails.
    pub fn targets<'b>(&self, bytes: impl Into<Cow<'b, [u8]>>) -> Result<Trusted, TrustError> {
        let AfterTimestamp { before: AfterRoot { root, chain, rules, .. }, timestamp } = &self.before;
        let keys = (root.targets(), root.keys());
        let targets = targets_file(&RoleName::Targets, bytes.into(), self.snapshot.targets(), rules, keys)?;
        Ok(Trusted {
            root: Arc::clone(root),
            chain: Arc::clone(chain),
            timestamp: Arc::clone(timestamp),
            snapshot: Arc::clone(&self.snapshot),
            targets: Arc::new(targets),
            rules: Arc::clone(rules),
            delegated: BTreeMap::new(),
        })
    }
}

/// The checks that the top-level and every delegated targets file have in common [TUF 5.6.2 to 5.6.5].
///
/// `by` is who has to sign it, and where their keys are. Of a long file the signatures are checked in another thread meanwhile; what that finds
/// is asked for in its place.
fn targets_file(
    role: &RoleName,
    bytes: Cow<'_, [u8]>,
    listed: &MetaFile,
    rules: &Rules,
    by: (&RoleKeys, &BTreeMap<KeyId, Key>),
) -> Result<Signed<Targets>, TrustError> {
    let bytes = Arc::new(bytes.into_owned());
    let file = thread::scope(|scope| {
        let early = || Early::of(&bytes, by.0, by.1, &rules.limits);
        let early =
            Early::is_worth_it(&bytes).then(|| thread::Builder::new().spawn_scoped(scope, early).ok()).flatten();
        is_listed(role.as_str(), listed, &bytes)?; // 5.6.2
        let file = Unverified::<Targets>::read(Arc::clone(&bytes), &rules.limits);
        let file = file.map_err(|source| TrustError::Malformed { role: role.clone(), source })?;
        let early = early.and_then(|early| early.join().ok()?);
        file.verify_with(by.0, by.1, early).map_err(|below| threshold(role, below)) // 5.6.3
    })?;
    same_version(role, "snapshot", listed.version(), file.version())?; // 5.6.4
    rules.not_expired(role, &file)?; // 5.6.5
    Ok(file)
}

/// All top-level roles are trusted and current. Targets can be looked up [TUF 5.6.7].
#[derive(Debug, Clone)]
pub struct Trusted {
    root: Arc<Signed<Root>>,
    chain: Arc<[RootFile]>,
    timestamp: Arc<Signed<Timestamp>>,
    snapshot: Arc<Signed<Snapshot>>,
    targets: Arc<Signed<Targets>>,
    rules: Arc<Rules>,
    /// By name of the delegated role, then by name of the role that delegates to it.
    delegated: BTreeMap<String, BTreeMap<String, Arc<Signed<Targets>>>>,
}

impl Trusted {
    /// The newest root.
    #[must_use]
    pub fn root(&self) -> &Signed<Root> {
        &self.root
    }

    /// The roots that led to it: the pinned one first, the newest last. At least one.
    #[must_use]
    pub fn root_chain(&self) -> &[RootFile] {
        &self.chain
    }

    /// The current timestamp.
    #[must_use]
    pub fn timestamp(&self) -> &Signed<Timestamp> {
        &self.timestamp
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Signed<Snapshot> {
        &self.snapshot
    }

    /// The current top-level targets file.
    #[must_use]
    pub fn targets(&self) -> &Signed<Targets> {
        &self.targets
    }

    /// A delegated targets file, if a search has loaded it through `delegator`, a role's name.
    #[must_use]
    pub fn delegated(&self, delegator: &str, role: &str) -> Option<&Signed<Targets>> {
        self.delegated.get(role)?.get(delegator).map(AsRef::as_ref)
    }

    /// The delegated targets files that searches have loaded, by name of their role. One role has one file, whoever delegates to it.
    pub(crate) fn loaded(&self) -> impl Iterator<Item = (&str, &Signed<Targets>)> {
        self.delegated.iter().filter_map(|(role, by)| Some((role.as_str(), by.values().next()?.as_ref())))
    }

    /// The file of the top-level targets role, or of a delegated one that searches have loaded.
    pub(crate) fn loaded_by_name(&self, role: &str) -> Option<&Signed<Targets>> {
        if role == RoleName::Targets.as_str() {
            return Some(&self.targets);
        }
        self.delegated.get(role)?.values().next().map(AsRef::as_ref)
    }

    /// The file of a role that has signed a target, as its search has found it.
    pub(crate) fn signer(&self, found: &Found) -> &Signed<Targets> {
        let chain = found.delegations();
        let last = chain.iter().zip(chain.iter().skip(1)).next_back();
        last.and_then(|(delegator, role)| self.delegated(delegator.as_str(), role.as_str())).unwrap_or(&self.targets)
    }

    /// What this update is judged by.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Looks for the file at `path` in the top-level targets role and, in order of priority, in those that it delegates to
    /// [TUF 5.6.7]. Roles loaded on the way stay loaded for the next search.
    pub fn search(&mut self, path: &str) -> Search<'_> {
        Search::new(self, path)
    }
}

/// Whether two role files say the same, whoever signed them: their `signed` objects have one canonical form.
pub(crate) fn same_content(a: &[u8], b: &[u8]) -> bool {
    let signed = |bytes: &[u8]| {
        let document = json::parse(bytes).ok()?;
        At::document(&document).field("signed").ok()?.value().canonical().ok()
    };
    a == b || matches!((signed(a), signed(b)), (Some(a), Some(b)) if a == b)
}

/// Checks the bytes of a target against what its role says of it [TUF 5.7.2]: exact length, every known hash, at least one.
///
/// # Errors
///
/// [`TrustError::Length`], [`TrustError::Hash`] or [`TrustError::NoKnownHash`].
pub fn check_target(path: &str, file: &TargetFile, bytes: &[u8]) -> Result<(), TrustError> {
    let mut check = TargetCheck::new(path, file)?;
    check.update(bytes)?;
    check.finish()
}

/// 5.5.2, 5.6.2: length and hashes bind the file only as far as they are listed.
fn is_listed(file: &str, listed: &MetaFile, bytes: &[u8]) -> Result<(), TrustError> {
    if let Some(length) = listed.length() {
        same_length(file, length, bytes)?;
    }
    listed.hashes().map_or(Ok(()), |hashes| same_hashes(file, hashes, bytes))
}

fn same_length(file: &str, expected: u64, bytes: &[u8]) -> Result<(), TrustError> {
    let found = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if found == expected { Ok(()) } else { Err(TrustError::Length { file: file.to_owned(), expected, found }) }
}

fn same_hashes(file: &str, hashes: &Hashes, bytes: &[u8]) -> Result<(), TrustError> {
    let differ = |algorithm, expected, found| TrustError::Hash { file: file.to_owned(), algorithm, expected, found };
    if hashes.sha256().is_none() && hashes.sha512().is_none() {
        return Err(TrustError::NoKnownHash { file: file.to_owned() });
    }
    if let Some(expected) = hashes.sha256() {
        let found = Sha256::of(bytes);
        if found != expected {
            return Err(differ("sha256", expected.to_hex(), found.to_hex()));
        }
    }
    if let Some(expected) = hashes.sha512() {
        let found = Sha512::of(bytes);
        if found != expected {
            return Err(differ("sha512", expected.to_hex(), found.to_hex()));
        }
    }
    Ok(())
}

fn same_version(role: &RoleName, by: &'static str, expected: u64, found: u64) -> Result<(), TrustError> {
    if found == expected { Ok(()) } else { Err(TrustError::Version { role: role.clone(), by, expected, found }) }
}

fn not_lower(role: &RoleName, what: &str, trusted: u64, found: u64) -> Result<(), TrustError> {
    if found >= trusted {
        return Ok(());
    }
    Err(TrustError::Rollback { role: role.clone(), what: what.to_owned(), trusted, found })
}

fn threshold(role: &RoleName, below: BelowThreshold) -> TrustError {
    TrustError::Threshold { role: role.clone(), below }
}
