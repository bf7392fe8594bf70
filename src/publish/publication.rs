//! From what is staged to what clients see.
//!
//! Rules:
//! - A role is published when enough of its keys signed, as every role that gives it keys counts them, and when all that it delegates to is published
//!   with it or was before. So clients never meet a role that is not there or not signed.
//! - Then snapshot and timestamp are made anew and signed with the keys at hand. If those are not enough, they wait as well, for `sign`.
//! - Before anything becomes visible, the outcome is checked as a client checks it that has seen all that was published before, and each path that
//!   changed is looked up as a client looks it up.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::client::target_names;
use crate::metadata::RoleName;
use crate::metadata::key::KeyId;
use crate::metadata::roles::{Root, TargetFile};
use crate::publish::document::{Authority, Document};
use crate::publish::error::PublishError;
use crate::publish::folder::{Files, file_name};
use crate::publish::key::Signers;
use crate::publish::repository::{Repository, View};
use crate::publish::sign::keys_of;
use crate::trust::{Roots, Rotation, Rules, Step, Trusted};

/// What a publication did, and what still waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// Role and version of what clients see now and did not before. Empty: nothing was published.
    pub published: Vec<(RoleName, u64)>,
    /// What waits, and for what.
    pub waiting: Vec<Waiting>,
    /// Whether some of that was changed through the very [`Repository`] that was to publish it; the rest others have left.
    pub unfinished: bool,
}

/// A role that cannot be published yet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The role.
    pub role: RoleName,
    /// The version that waits.
    pub version: u64,
    /// What it waits for.
    pub why: Missing,
}

/// What a role waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// Signatures: by one or more of these keys.
    Signatures {
        /// How many have signed.
        valid: u64,
        /// How many must.
        threshold: u64,
        /// Those that have not.
        keys: Vec<KeyId>,
    },
    /// Another role, which has to be signed first or again.
    Role(RoleName),
    /// Somebody published another version meanwhile.
    Outdated,
}

/// What is renewed although it has not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Nothing.
    None,
    /// The timestamp; and the snapshot if a third or less of its time is left and its keys are at hand.
    Online,
}

impl Repository {
    /// Publishes what is signed by enough, with a new snapshot and timestamp.
    ///
    /// # Errors
    ///
    /// [`PublishError::Refused`], [`PublishError::NotFound`] or [`PublishError::MissingTarget`] if clients would not be content; the usual ones if the
    /// repository cannot be written. Clients see what they saw before, and what is staged is still staged.
    pub fn publish(&mut self, signers: &Signers, renewal: Renewal) -> Result<Outcome, PublishError> {
        let ready = self.ready();
        let (snapshot_staged, timestamp_staged) =
            (self.staged.contains_key(&RoleName::Snapshot), self.staged.contains_key(&RoleName::Timestamp));
        let has_news = !ready.is_empty() || snapshot_staged || timestamp_staged || renewal != Renewal::None;
        let is_usable = |role| View { repository: self, chosen: &ready }.get(&role).is_some();
        if !has_news || !is_usable(RoleName::Root) || !is_usable(RoleName::Targets) {
            return Ok(self.outcome(Vec::new(), &ready));
        }

        let Some(snapshot) = self.next_snapshot(&ready, signers, renewal)? else {
            return Ok(self.outcome(Vec::new(), &ready));
        };
        let Some(timestamp) = self.next_timestamp(&ready, &snapshot, signers)? else {
            return Ok(self.outcome(Vec::new(), &ready));
        };
        let next = Next { repository: self, ready: &ready, snapshot: &snapshot, timestamp: &timestamp };
        let mut files = next.files()?;
        files.targets = next.check()?;
        self.folder.publish(&files)?;

        let mut published: Vec<_> = ready.iter().filter_map(|role| self.staged.remove(role)).collect();
        for document in [snapshot, timestamp] {
            self.staged.remove(document.role());
            published.push(document);
        }
        published.retain(|new| self.published.get(new.role()).is_none_or(|old| old.file() != new.file()));
        let mut names = Vec::new();
        for document in published {
            names.push((document.role().clone(), document.version()));
            if *document.role() == RoleName::Root {
                self.roots.push(document.clone());
            }
            self.published.insert(document.role().clone(), document);
        }
        Ok(self.outcome(names, &BTreeSet::new()))
    }

    fn outcome(&self, published: Vec<(RoleName, u64)>, ready: &BTreeSet<RoleName>) -> Outcome {
        let waiting = self.waiting(ready);
        let unfinished = waiting.iter().any(|waiting| self.touched.contains(&waiting.role));
        Outcome { published, waiting, unfinished }
    }

    /// The staged roles, but for snapshot and timestamp, that can be published together.
    pub(super) fn ready(&self) -> BTreeSet<RoleName> {
        let online = [RoleName::Snapshot, RoleName::Timestamp];
        let mut ready: BTreeSet<RoleName> = self.staged.keys().filter(|role| !online.contains(role)).cloned().collect();
        // What one role lacks, others may lack with it; so until nothing changes any more.
        loop {
            let view = View { repository: self, chosen: &ready };
            let wanting = || ready.iter().filter_map(|role| Some((role, self.lacks(&view, role)?)));
            // One that is not signed goes before those that would have to go with it: what is published of it may do for them.
            let unsigned = wanting().find(|(_, why)| !matches!(why, Missing::Role(_)));
            match unsigned.or_else(|| wanting().next()).map(|(role, _)| role.clone()) {
                Some(role) => ready.remove(&role),
                None => return ready,
            };
        }
    }

    /// What a staged role lacks, seen among the others that would be published with it.
    fn lacks(&self, view: &View<'_>, role: &RoleName) -> Option<Missing> {
        let document = view.get(role)?;
        if self.must_not_be_stale(role).is_err() {
            return Some(Missing::Outdated);
        }
        let mut authorities: Vec<Authority> = view.authorities(role).into_iter().map(|(_, a)| a).collect();
        if *role == RoleName::Root {
            let before = self.published.get(role).and_then(Document::root);
            authorities.extend(before.and_then(|root| Authority::in_root(root, role)));
        }
        if authorities.is_empty() {
            // Nobody delegates to it yet: whoever is to do so waits, too, or there is none.
            return Some(Missing::Role(RoleName::Targets));
        }
        if let Some(missing) = authorities.iter().find_map(|authority| unsigned(document, authority)) {
            return Some(missing);
        }
        let given_keys: Vec<RoleName> = match (document.root(), document.delegations()) {
            (Some(_), _) => vec![RoleName::Targets],
            (_, Some(delegations)) => {
                let listed = delegations.listed().map(|name| RoleName::Delegated(name.to_owned()));
                // Of bins there may be more than anybody has files for.
                let known = view.reached().into_iter().filter(|role| delegations.role(role.as_str()).is_some());
                listed.chain(known).collect()
            }
            _ => Vec::new(),
        };
        let not_signed = |other: &RoleName| match view.get(other) {
            None => true,
            Some(document) => view.authorities(other).iter().any(|(_, a)| document.is_complete(a).is_err()),
        };
        given_keys.into_iter().find(not_signed).map(Missing::Role)
    }

    /// What is staged and not in `ready`, and what it lacks.
    pub(super) fn waiting(&self, ready: &BTreeSet<RoleName>) -> Vec<Waiting> {
        // Among all that is staged a role lacks only what it lacks itself.
        let all = self.all_staged();
        let staged = self.staged.iter().filter(|(role, _)| !ready.contains(role));
        let waiting = staged.filter_map(|(role, document)| {
            let lacks = |chosen| self.lacks(&View { repository: self, chosen }, role);
            let why = lacks(&all).or_else(|| lacks(ready)).or_else(|| self.delegator(role, ready).map(Missing::Role));
            Some(Waiting { role: role.clone(), version: document.version(), why: why? })
        });
        let mut waiting: Vec<Waiting> = waiting.collect();
        // What would be published if only somebody could sign a snapshot and a timestamp.
        for role in ready {
            let Some(document) = self.staged.get(role) else { continue };
            let online = [RoleName::Snapshot, RoleName::Timestamp];
            let waits_for =
                online.into_iter().find(|role| self.staged.contains_key(role)).unwrap_or(RoleName::Snapshot);
            waiting.push(Waiting { role: role.clone(), version: document.version(), why: Missing::Role(waits_for) });
        }
        waiting
    }

    /// The role that gives `role` its keys and is not published yet itself.
    fn delegator(&self, role: &RoleName, ready: &BTreeSet<RoleName>) -> Option<RoleName> {
        let all = self.all_staged();
        let authorities = View { repository: self, chosen: &all }.authorities(role);
        authorities
            .into_iter()
            .map(|(delegator, _)| delegator)
            .find(|d| self.staged.contains_key(d) && !ready.contains(d))
    }

    /// The snapshot of what is ready: the published one if it still holds, what is staged if that is it, or a new one. `None` if it is not signed by
    /// enough; then it is staged.
    fn next_snapshot(
        &mut self,
        ready: &BTreeSet<RoleName>,
        signers: &Signers,
        renewal: Renewal,
    ) -> Result<Option<Document>, PublishError> {
        let view = View { repository: self, chosen: ready };
        let published = self.published.get(&RoleName::Snapshot);
        // Entries of other programs stay as they are, and none is ever taken out: clients would take that for a rollback [TUF 5.5.5].
        let mut meta = published.map(Document::meta).transpose()?.unwrap_or_default();
        for role in ready.iter().filter(|role| **role != RoleName::Root) {
            let listed = view.get(role).map(Document::listed);
            meta.extend(listed.map(|listed| (format!("{}.json", role.as_str()), listed)));
        }
        let authority = self.online_authority(&view, &RoleName::Snapshot)?;
        if let Some(published) = published {
            let same = published.meta()? == meta && published.is_complete(&authority).is_ok();
            let left = published.expires().signed_duration_since(self.now);
            let life = self.life(&RoleName::Snapshot, None).valid_for;
            let is_due = left <= life.checked_div(3).unwrap_or(TimeDelta::zero());
            let can_sign = keys_of(&authority).iter().any(|(_, key)| signers.has(key));
            let renews = renewal == Renewal::Online && is_due && can_sign;
            if same && !renews && !self.staged.contains_key(&RoleName::Snapshot) {
                return Ok(Some(published.clone()));
            }
        }
        self.made(&RoleName::Snapshot, meta, &authority, signers)
    }

    fn next_timestamp(
        &mut self,
        ready: &BTreeSet<RoleName>,
        snapshot: &Document,
        signers: &Signers,
    ) -> Result<Option<Document>, PublishError> {
        let view = View { repository: self, chosen: ready };
        let authority = self.online_authority(&view, &RoleName::Timestamp)?;
        let meta = Map::from_iter([("snapshot.json".to_owned(), snapshot.listed())]);
        let timestamp = self.made(&RoleName::Timestamp, meta, &authority, signers)?;
        if timestamp.is_none() && self.published.get(&RoleName::Snapshot).map(Document::file) != Some(snapshot.file()) {
            // Whoever has the timestamp's key alone can go on from here.
            self.put(snapshot.clone())?;
        }
        Ok(timestamp)
    }

    fn online_authority(&self, view: &View<'_>, role: &RoleName) -> Result<Authority, PublishError> {
        let authority = view.root().and_then(|root| Authority::in_root(root, role));
        authority.ok_or_else(|| PublishError::NoRole(role.to_string()))
    }

    /// A snapshot or timestamp that lists `meta`, signed; `None` if not by enough, and then it is staged.
    fn made(
        &mut self,
        role: &RoleName,
        meta: Map<String, Value>,
        authority: &Authority,
        signers: &Signers,
    ) -> Result<Option<Document>, PublishError> {
        let version = self.next_version(role)?;
        let staged = self.staged.get(role).filter(|staged| {
            let same = staged.meta().is_ok_and(|listed| listed == meta);
            same && staged.version() == version && staged.expires() > self.now
        });
        let mut document = match (staged, self.published.get(role)) {
            (Some(staged), _) => staged.clone(),
            (None, Some(published)) => published.changed(version, self.life(role, None), |signed| {
                signed.insert("meta".to_owned(), Value::Object(meta));
                Ok(())
            })?,
            (None, None) => Document::first(role, json!({"meta": meta}), self.life(role, None))?,
        };
        let signed = document.signers(authority);
        for (id, key) in keys_of(authority).into_iter().filter(|(id, _)| !signed.contains(id)) {
            if let Some(signature) = signers.sign(&key, document.message())? {
                document = document.with_signature(&id, &signature)?;
            }
        }
        if document.is_complete(authority).is_ok() {
            return Ok(Some(document));
        }
        self.put(document)?;
        Ok(None)
    }
}

fn unsigned(document: &Document, authority: &Authority) -> Option<Missing> {
    let below = document.is_complete(authority).err()?;
    let signed = document.signers(authority);
    let keys = authority.ids().iter().filter(|id| !signed.contains(id)).cloned().collect();
    Some(Missing::Signatures { valid: below.valid, threshold: below.threshold, keys })
}

/// What clients are about to see.
struct Next<'n> {
    repository: &'n Repository,
    ready: &'n BTreeSet<RoleName>,
    snapshot: &'n Document,
    timestamp: &'n Document,
}

impl<'n> Next<'n> {
    fn view(&self) -> View<'n> {
        View { repository: self.repository, chosen: self.ready }
    }

    fn files(&self) -> Result<Files, PublishError> {
        let mut files = Files { timestamp: self.timestamp.file().to_vec(), ..Files::default() };
        let documents = self.ready.iter().filter_map(|role| self.repository.staged.get(role));
        for document in documents.chain([self.snapshot]) {
            files.has_root |= *document.role() == RoleName::Root;
            files.metadata.push((file_name(document.role(), document.version()), document.file().to_vec()));
        }
        files.staged = self.ready.iter().cloned().chain([RoleName::Snapshot, RoleName::Timestamp]).collect();
        Ok(files)
    }

    /// As a client would check it that has seen all that is published now. Returns the names of the target files that are still to be published.
    fn check(&self) -> Result<Vec<String>, PublishError> {
        let mut trusted = self.refreshed().map_err(PublishError::Refused)?;
        let mut unpublished = BTreeSet::new();
        for role in self.ready {
            let Some(targets) = self.repository.staged.get(role).and_then(Document::targets) else { continue };
            let before = self.repository.published.get(role).and_then(Document::targets);
            for (path, file) in targets.targets() {
                if before.is_some_and(|before| before.target(&path).as_ref() == Some(&file)) {
                    continue;
                }
                self.look_up(&mut trusted, role, &path, &file)?;
                unpublished.extend(self.find_file(&path, &file)?);
            }
        }
        Ok(unpublished.into_iter().collect())
    }

    /// The refresh of TUF 5.2 to 5.6.
    fn refreshed(&self) -> Result<Trusted, crate::trust::TrustError> {
        let Repository { roots, published, staged, now, .. } = self.repository;
        let new_root = staged.get(&RoleName::Root).filter(|_| self.ready.contains(&RoleName::Root));
        let mut all = roots.iter().chain(new_root);
        let first = all.next().map(Document::file).unwrap_or_default();
        let mut chain = Roots::pin(first, Rules::at(*now))?;
        let mut forget = false;
        for root in all {
            let rotation = chain.rotate(root.file())?;
            // What was published since an older rotation is remembered.
            forget = rotation == Rotation::Forget && new_root.is_some_and(|new| new.version() == root.version());
        }
        let mut after = chain.finish()?;
        if !forget {
            // One that does not verify under a new root is forgotten by clients, too.
            let file = |role| published.get(&role).map(Document::file).unwrap_or_default();
            after.remember_timestamp(file(RoleName::Timestamp)).ok();
            after.remember_snapshot(file(RoleName::Snapshot)).ok();
        }
        let after = after.timestamp(self.timestamp.file())?.snapshot(self.snapshot.file())?;
        let targets = self.view().get(&RoleName::Targets).map(Document::file).unwrap_or_default();
        after.targets(targets)
    }

    fn look_up(
        &self,
        trusted: &mut Trusted,
        role: &RoleName,
        path: &str,
        file: &TargetFile,
    ) -> Result<(), PublishError> {
        let not_found = |why: String| PublishError::NotFound { path: path.to_owned(), role: role.to_string(), why };
        let view = self.view();
        let mut search = trusted.search(path);
        loop {
            match search.step().map_err(PublishError::Refused)? {
                Step::Need(request) => {
                    let document = view.get(request.role());
                    let bytes = document.map(Document::file).unwrap_or_default();
                    search.provide(bytes).map_err(PublishError::Refused)?;
                }
                Step::Found(found) if found.delegations().last() == Some(role) && found.file() == file => return Ok(()),
                Step::Found(found) => {
                    let by = found.delegations().last().map(ToString::to_string).unwrap_or_default();
                    return Err(not_found(format!("they would find what {by} signs")));
                }
                Step::Absent(absence) => return Err(not_found(absence.to_string())),
            }
        }
    }

    /// The name of a target's file below `targets/`, if it is staged and not published. It is hashed once more: it may have waited for long.
    fn find_file(&self, path: &str, file: &TargetFile) -> Result<Option<String>, PublishError> {
        let names = target_names(path, file, true);
        let missing =
            || PublishError::MissingTarget { path: path.to_owned(), file: names.first().cloned().unwrap_or_default() };
        let find = |name: &String| Some((name.clone(), self.repository.folder.find_target(name)?));
        let (name, (place, is_published)) = names.iter().find_map(find).ok_or_else(missing)?;
        crate::publish::folder::check_file(&place, path, file)?;
        Ok((!is_published).then_some(name))
    }
}

/// Which roles of a root changed their keys; for people.
pub(super) fn key_changes(before: &Root, after: &Root) -> BTreeMap<&'static str, (Vec<KeyId>, Vec<KeyId>)> {
    let roles = [
        ("root", RoleName::Root),
        ("timestamp", RoleName::Timestamp),
        ("snapshot", RoleName::Snapshot),
        ("targets", RoleName::Targets),
    ];
    let mut changes = BTreeMap::new();
    for (name, role) in roles {
        let ids = |root| Authority::in_root(root, &role).map(|a| a.ids().to_vec()).unwrap_or_default();
        let (before, after) = (ids(before), ids(after));
        let only = |in_these: &[KeyId], not_those: &[KeyId]| -> Vec<KeyId> {
            in_these.iter().filter(|id| !not_those.contains(id)).cloned().collect()
        };
        let (added, removed) = (only(&after, &before), only(&before, &after));
        if !added.is_empty() || !removed.is_empty() {
            changes.insert(name, (added, removed));
        }
    }
    changes
}
