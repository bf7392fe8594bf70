//! The chain of roots: from the pinned one over the stored ones to the newest of the repository [TUF 5.2, 5.3].
//!
//! Where many roots can be had without asking anybody, from the store or from a folder, they are read a few ahead, and what one of them says of itself is
//! checked in a second thread. What is trusted, and in which order, stays the same.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope};

use super::source::Source;
use super::store::{LockedStore, StoreError};
use super::{Client, ClientError, Undecided};
use crate::metadata::roles::Root;
use crate::metadata::{RoleName, Signed};
use crate::trust::{self, AfterRoot, NextRoot, Roots, Rotation, Rules, TrustError};

/// The root that was pinned when the store was first used.
const PINNED: &str = "pinned";
/// The version of the first root that made a timestamp or snapshot worthless, until both are gone.
const FORGET: &str = "forget";

/// So many roots are followed one by one. Nearly all chains are no longer, and need no thread.
const FEW: u64 = 4;
/// Roots that are read ahead have no more bytes than this together; one always is.
const AHEAD_BYTES: usize = 256 * 1024;
/// And there are no more of them.
const AHEAD: usize = 16;

impl<S: Source> Client<S> {
    /// 5.2 and 5.3: from the pinned root over the stored ones to the newest of the repository.
    pub(super) fn refresh_root(&self, store: &mut LockedStore<'_>, rules: &Rules) -> Result<AfterRoot, ClientError> {
        let mut roots = Roots::pin(&self.pinned, rules.clone()).map_err(Undecided::PinnedRoot)?; // 5.2
        let pinned = roots.root().version();
        let seen = self.newest_root_seen(store, rules)?;
        self.claim_store(store, roots.root(), seen, rules)?;
        self.replay_stored_roots(store, &mut roots)?;
        let newer = self.follow_new_roots(store, &mut roots, seen);
        let found = roots.root().version();
        // The pinned root is guarded by its owner.
        if seen <= found && found > pinned {
            store.write("root.json", roots.root().bytes())?;
        } else if seen <= found {
            store.keep("root.json", roots.root().bytes())?;
        }
        forget_what_is_due(store, found)?; // 5.3.11
        newer?;
        if seen > found {
            let what = "version".to_owned();
            return Err(TrustError::Rollback { role: RoleName::Root, what, trusted: seen, found }.into());
        }
        let mut root = roots.finish()?; // 5.3.10
        // One that does not verify any more was tampered with, or its keys are gone: then there is no floor [5.3.11].
        if let Some(bytes) = store.read("timestamp.json", self.limits.timestamp)? {
            root.remember_timestamp(&bytes).ok();
        }
        if let Some(bytes) = store.read("snapshot.json", self.limits.listed)? {
            root.remember_snapshot(&bytes).ok();
        }
        Ok(root)
    }

    /// The version of the newest root that an earlier refresh ended with; 0 if there was none. If the repository at hand does not lead to
    /// that root, a part of the chain was lost here and the repository hides it.
    fn newest_root_seen(&self, store: &LockedStore<'_>, rules: &Rules) -> Result<u64, ClientError> {
        let Some(bytes) = store.read("root.json", self.limits.root)? else { return Ok(0) };
        Ok(Roots::pin(&bytes, rules.clone()).map_or(0, |stored| stored.root().version()))
    }

    /// The stored roots must form a chain with the pinned one. Where the chain breaks, the rest is fetched again.
    fn replay_stored_roots(&self, store: &mut LockedStore<'_>, roots: &mut Roots) -> Result<(), ClientError> {
        follow(
            roots,
            true,
            u64::MAX,
            store,
            |store, version| Ok(store.root(version, self.limits.root)?),
            |_, _, rotated| Ok(rotated.map_or(ControlFlow::Break(()), |_| ControlFlow::Continue(()))),
        )?;
        Ok(())
    }

    /// 5.3.3 to 5.3.9. A newer root that is not trusted ends the update: going on with the old one would be a freeze.
    fn follow_new_roots(&self, store: &mut LockedStore<'_>, roots: &mut Roots, seen: u64) -> Result<(), ClientError> {
        let most = self.limits.root_rotations;
        let followed = self.fetch_roots(store, roots, seen, most.into())?;
        if followed < most.into() || self.fetch_root(roots.next_version()?)?.is_none() {
            return Ok(());
        }
        Err(Undecided::TooManyRoots(most).into())
    }

    /// Follows at most so many roots of the repository, and says how many there were.
    fn fetch_roots(
        &self,
        store: &mut LockedStore<'_>,
        roots: &mut Roots,
        seen: u64,
        most: u64,
    ) -> Result<u64, ClientError> {
        follow(
            roots,
            self.source.is_local(),
            most,
            store,
            |_, version| self.fetch_root(version),
            |store, root, rotated| {
                // A root that was seen before is followed again where the stored chain is damaged. What is remembered is younger than
                // it then, and was signed by the keys that it left.
                // Of several such roots the first is noted: it is due as soon as one of them is reached.
                let version = root.version();
                if rotated? == Rotation::Forget && version > seen && due_to_forget(store)?.is_none() {
                    store.write(FORGET, version.to_string().as_bytes())?;
                    store.settle()?;
                }
                store.keep_root(version, root.bytes())?; // 5.3.8
                Ok(ControlFlow::Continue(()))
            },
        )
    }

    fn fetch_root(&self, version: u64) -> Result<Option<Vec<u8>>, ClientError> {
        self.fetch_metadata(&format!("{version}.root.json"), self.limits.root)
    }

    /// A store belongs to the root that was pinned when it was first used, and to those of its chain. With another one its memory would be
    /// taken for a rollback, or be lost.
    fn claim_store(
        &self,
        store: &mut LockedStore<'_>,
        pinned: &Signed<Root>,
        seen: u64,
        rules: &Rules,
    ) -> Result<(), ClientError> {
        let same = |bytes: &[u8]| trust::same_content(bytes, pinned.bytes());
        let owner = store.read(PINNED, self.limits.root)?;
        // What is no root, signed as it demands itself, is damage: whoever claims the store next mends it.
        match owner.and_then(|bytes| Roots::pin(&bytes, rules.clone()).ok()) {
            None => Ok(store.keep(PINNED, pinned.bytes())?),
            Some(owner) if same(owner.root().bytes()) => Ok(()),
            Some(owner) => {
                let version = pinned.version();
                let limit = self.limits.root;
                let is_member = |store: &mut LockedStore<'_>| {
                    store.root(version, limit).map(|root| root.is_some_and(|root| same(&root)))
                };
                if is_member(store)? || (self.mend_chain(store, owner, version, seen)? && is_member(store)?) {
                    return Ok(());
                }
                Err(Undecided::OtherStore(store.describe(PINNED)).into())
            }
        }
    }

    /// Fetches what is lost of the stored chain from its first root to that of a version which was seen, if the repository has it. Without it, whoever pinned a
    /// root in the middle of a damaged chain could not use the store.
    fn mend_chain(
        &self,
        store: &mut LockedStore<'_>,
        mut roots: Roots,
        version: u64,
        seen: u64,
    ) -> Result<bool, ClientError> {
        if version > seen {
            return Ok(false);
        }
        self.replay_stored_roots(store, &mut roots)?;
        let lost = version.saturating_sub(roots.root().version()).min(self.limits.root_rotations.into());
        match self.fetch_roots(store, &mut roots, seen, lost) {
            Ok(_) => Ok(true),
            // They are of another chain.
            Err(ClientError::NotTrusted(_)) => Ok(false),
            Err(undecided) => Err(undecided),
        }
    }
}

/// Follows the roots that `next` brings, by version, until it brings none, `most` were followed, or `each` wants no more. `each` is told of every one, with the
/// newest root that is trusted by then. Returns how many were followed.
///
/// `context` is handed to both. With `ahead`, `next` is asked for a few roots before those before them are trusted, where there are many.
fn follow<C>(
    roots: &mut Roots,
    ahead: bool,
    most: u64,
    context: &mut C,
    mut next: impl FnMut(&mut C, u64) -> Result<Option<Vec<u8>>, ClientError>,
    mut each: impl FnMut(&mut C, &Signed<Root>, Result<Rotation, TrustError>) -> Result<ControlFlow<()>, ClientError>,
) -> Result<u64, ClientError> {
    let ahead = ahead && thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    thread::scope(|scope| {
        let mut reader = None;
        let mut followed = 0;
        while followed < most {
            let version = roots.next_version()?;
            if ahead && followed == FEW {
                reader = Reader::start(scope, roots.rules().clone(), version);
            }
            let rotated = match &mut reader {
                None => next(context, version)?.map(|bytes| roots.rotate(&bytes)),
                Some(reader) => {
                    let root = reader.root(most.saturating_sub(followed), |version| next(context, version))?;
                    root.map(|root| roots.rotate_to(root?))
                }
            };
            let Some(rotated) = rotated else { break };
            if each(context, roots.root(), rotated)?.is_break() {
                break;
            }
            followed = followed.saturating_add(1);
        }
        Ok(followed)
    })
}

/// A thread that reads roots, and what is on the way to it and back, in the order of the versions.
struct Reader {
    given: Sender<Vec<u8>>,
    read: Receiver<Result<NextRoot, TrustError>>,
    /// Lengths in bytes of those on the way.
    waiting: VecDeque<usize>,
    /// The version to be given next; `None` if there is none.
    next: Option<u64>,
    /// Why there is none. It is not its turn before those on the way have had theirs.
    fault: Option<ClientError>,
}

impl Reader {
    /// `None` if there can be no further thread.
    fn start<'scope>(scope: &'scope Scope<'scope, '_>, rules: Rules, next: u64) -> Option<Self> {
        let (given, to_read) = channel::<Vec<u8>>();
        let (ready, read) = channel();
        let work = move || {
            for bytes in to_read {
                if ready.send(NextRoot::read(bytes, &rules)).is_err() {
                    break;
                }
            }
        };
        thread::Builder::new().spawn_scoped(scope, work).ok()?;
        Some(Self { given, read, waiting: VecDeque::new(), next: Some(next), fault: None })
    }

    /// The next root. `bring` brings those behind it, `most` with this one.
    fn root(
        &mut self,
        most: u64,
        mut bring: impl FnMut(u64) -> Result<Option<Vec<u8>>, ClientError>,
    ) -> Result<Option<Result<NextRoot, TrustError>>, ClientError> {
        while let Some(version) = self.next.filter(|_| self.has_room(most)) {
            self.next = None;
            match bring(version) {
                Ok(Some(bytes)) => {
                    self.next = version.checked_add(1);
                    self.waiting.push_back(bytes.len());
                    self.given.send(bytes).ok();
                }
                Ok(None) => {}
                Err(fault) => self.fault = Some(fault),
            }
        }
        match self.waiting.pop_front() {
            // There is an answer to each, unless the thread has panicked. Then the scope does too, and this is not taken for the last root.
            Some(_) => Ok(self.read.recv().ok()),
            None => self.fault.take().map_or(Ok(None), Err),
        }
    }

    fn has_room(&self, most: u64) -> bool {
        let bytes = self.waiting.iter().fold(0_usize, |sum, length| sum.saturating_add(*length));
        let is_short = bytes < AHEAD_BYTES && self.waiting.len() < AHEAD;
        u64::try_from(self.waiting.len()).is_ok_and(|n| n < most) && (is_short || self.waiting.is_empty())
    }
}

/// Forgets what keys have signed that a root up to `found` took away [TUF 5.3.11]: in this refresh, or in one that was stopped before it came to that.
fn forget_what_is_due(store: &mut LockedStore<'_>, found: u64) -> Result<(), StoreError> {
    if due_to_forget(store)?.is_none_or(|version| version > found) {
        return Ok(());
    }
    // That there is this root has to be on disk first. Else a machine that stops could come back without the floor, and without knowing that the root is hidden.
    store.settle()?;
    store.remove("timestamp.json")?;
    store.remove("snapshot.json")?;
    store.remove(FORGET)
}

/// The version of a root whose being there makes what is remembered worthless.
fn due_to_forget(store: &LockedStore<'_>) -> Result<Option<u64>, StoreError> {
    Ok(store.read(FORGET, 20)?.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok()))
}
