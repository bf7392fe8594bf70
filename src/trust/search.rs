//! The walk over delegations in search of one target [TUF 5.6.7]: pre-order, depth first, in order of appearance.
//!
//! It asks for a role by name and is given bytes. Only roles whose delegation matches the path are asked for.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{TrustError, Trusted, targets_file};
use crate::limits::MetadataLimits;
use crate::metadata::delegation::{DelegatedRole, Delegations};
use crate::metadata::key::{Key, KeyId, PublicKey};
use crate::metadata::roles::{MetaFile, TargetFile, Targets};
use crate::metadata::{RoleKeys, RoleName, Signed};

/// A role file that is needed next: which version of it, and how long it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRequest {
    role: RoleName,
    version: u64,
    limit: u64,
    is_acceptable: bool,
}

impl RoleRequest {
    pub(super) fn new(role: RoleName, listed: &MetaFile, unlisted: u64, limits: &MetadataLimits) -> Self {
        let is_acceptable = listed.length().is_none_or(|length| length <= limits.listed);
        let length = listed.length().unwrap_or(unlisted);
        Self { role, version: listed.version(), limit: length.min(limits.listed), is_acceptable }
    }

    /// The role.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// The version that is due; it stands in the file's name where snapshots are consistent [TUF 6.2].
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The most bytes to read.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether the file may be as long as it is listed to be. If not, it is refused whatever is in it, and need not be brought.
    #[must_use]
    pub fn is_acceptable(&self) -> bool {
        self.is_acceptable
    }
}

/// What a search needs or has found.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub enum Step {
    /// Bring this role's file to [`Search::provide`], then call [`Search::step`] again.
    Need(RoleRequest),
    /// The target is signed.
    Found(Found),
    /// The target is not signed.
    Absent(Absence),
}

/// A signed target.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    path: String,
    file: TargetFile,
    delegations: Vec<RoleName>,
}

impl Found {
    /// The target path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its length and hashes.
    #[must_use]
    pub fn file(&self) -> &TargetFile {
        &self.file
    }

    /// The roles from the top-level targets role down to the one that signed the target.
    #[must_use]
    pub fn delegations(&self) -> &[RoleName] {
        &self.delegations
    }
}

/// Why a search ended without the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Absence {
    /// No role that may sign the path signs it.
    #[error("no role that may sign it lists it")]
    NotListed,
    /// A role that may sign the path is not in the snapshot. Going on would let a role of lower priority take its place.
    #[error("the role {0} may sign it, but the snapshot does not list that role")]
    RoleNotInSnapshot(RoleName),
    /// The search visited as many roles as it may.
    #[error("the search ended after {0} delegated roles")]
    TooManyRoles(u32),
}

impl Trusted {
    /// The keys that decide what this repository says about a target: those of the root, of the top-level targets role and of each
    /// delegated role on the way to the one that signed it. `found` is from a search of this metadata.
    #[must_use]
    pub fn keys_behind(&self, found: &Found) -> BTreeSet<PublicKey> {
        let usable = |role: &RoleKeys, keys: &BTreeMap<KeyId, Key>| -> Vec<PublicKey> {
            role.keyids().iter().filter_map(|id| keys.get(id)?.usable().cloned()).collect()
        };
        let root = self.root();
        let mut behind = BTreeSet::from_iter(usable(root.root(), root.keys()));
        behind.extend(usable(root.targets(), root.keys()));
        let mut file = self.targets();
        for (delegator, role) in found.delegations.iter().zip(found.delegations.iter().skip(1)) {
            let Some(delegations) = file.delegations() else { break };
            for delegated in delegations.roles_for(&found.path).iter().filter(|one| one.name() == role.as_str()) {
                behind.extend(usable(delegated.keys(), delegations.keys()));
            }
            let Some(next) = self.delegated(delegator.as_str(), role.as_str()) else { break };
            file = next;
        }
        behind
    }
}

/// A search for one target; see [`Trusted::search`].
#[derive(Debug)]
pub struct Search<'t> {
    trusted: &'t mut Trusted,
    path: String,
    /// Roles yet to visit; the next one is last.
    pending: Vec<Pending>,
    visited: BTreeSet<String>,
    asked: Vec<Asked>,
    end: Option<Step>,
}

/// A delegated role that a search has looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    role: String,
    delegator: String,
}

impl Asked {
    /// The role.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// The role through whose delegation it was reached.
    #[must_use]
    pub fn delegator(&self) -> &str {
        &self.delegator
    }
}

/// A delegation that matches the path.
#[derive(Debug, Clone)]
struct Pending {
    delegator: Arc<Signed<Targets>>,
    /// From the top-level targets role to the delegator.
    above: Vec<RoleName>,
    role: DelegatedRole,
}

impl<'t> Search<'t> {
    pub(super) fn new(trusted: &'t mut Trusted, path: &str) -> Self {
        let top = Arc::clone(&trusted.targets);
        let mut search = Self {
            trusted,
            path: path.to_owned(),
            pending: Vec::new(),
            visited: BTreeSet::new(),
            asked: Vec::new(),
            end: None,
        };
        search.visit(&top, vec![RoleName::Targets]);
        search
    }

    /// The delegated roles that were looked into so far, in that order. The top-level targets role is always the first, and is not among them.
    #[must_use]
    pub fn asked(&self) -> &[Asked] {
        &self.asked
    }

    /// Goes on until the target is found or ruled out, or a role is needed that was not loaded yet.
    ///
    /// # Errors
    ///
    /// [`TrustError::Threshold`] if a role that is loaded already is not signed with the keys of the delegation by which it is
    /// reached now. The search cannot go on then: the role might be the one that signs the target.
    pub fn step(&mut self) -> Result<Step, TrustError> {
        loop {
            if let Some(end) = &self.end {
                return Ok(end.clone());
            }
            let Some(next) = self.pending.last() else {
                self.end = Some(Step::Absent(Absence::NotListed));
                continue;
            };
            let name = next.role.name();
            if self.visited.contains(name) {
                self.pending.pop(); // 5.6.7.1: a role is visited once, which also ends every cycle.
                continue;
            }
            let limit = self.trusted.rules.limits.delegations;
            if u32::try_from(self.visited.len()).is_ok_and(|visited| visited >= limit) {
                self.end = Some(Step::Absent(Absence::TooManyRoles(limit)));
                continue;
            }
            let role = RoleName::Delegated(name.to_owned());
            let Some(listed) = self.trusted.snapshot.role(name) else {
                self.end = Some(Step::Absent(Absence::RoleNotInSnapshot(role)));
                continue;
            };
            match self.loaded(next)? {
                Some(file) => self.enter(&file),
                None => {
                    let limits = &self.trusted.rules.limits;
                    return Ok(Step::Need(RoleRequest::new(role, &listed, limits.targets, limits)));
                }
            }
        }
    }

    /// Takes the file of the role that [`step`](Self::step) asked for [TUF 5.6.2 to 5.6.5].
    ///
    /// It may come from the repository or from an earlier update: the checks are the same. Without such a request nothing happens.
    /// Returns the file if it was taken. Bytes that are handed over, as a `Vec<u8>`, are not copied.
    ///
    /// # Errors
    ///
    /// [`TrustError`], for the first check that fails. The same role is then still needed. After an error of `step`, that error.
    pub fn provide<'b>(&mut self, bytes: impl Into<Cow<'b, [u8]>>) -> Result<Option<Arc<Signed<Targets>>>, TrustError> {
        let Some(next) = self.pending.last().filter(|_| self.end.is_none()) else { return Ok(None) };
        if self.visited.contains(next.role.name()) {
            return Ok(None);
        }
        // One file for each role name: what a delegator is trusted for is remembered by its name, so a second file under it would
        // pass on trust that only the first one gave.
        if self.loaded(next)?.is_some() {
            return Ok(None);
        }
        let file = Arc::new(self.verified(next, bytes.into())?);
        let (role, delegator) = (next.role.name().to_owned(), next.delegator_name());
        self.trusted.delegated.entry(role).or_default().insert(delegator, Arc::clone(&file));
        Ok(Some(file))
    }

    /// The role's file, if it was loaded before through the same delegation, or else verifies for this one too.
    fn loaded(&self, next: &Pending) -> Result<Option<Arc<Signed<Targets>>>, TrustError> {
        let Some(by_delegator) = self.trusted.delegated.get(next.role.name()) else { return Ok(None) };
        if let Some(file) = by_delegator.get(&next.delegator_name()) {
            return Ok(Some(Arc::clone(file)));
        }
        let Some(other) = by_delegator.values().next() else { return Ok(None) };
        // What one delegator's keys vouch for gives no trust to another delegator's path to the same name.
        Ok(Some(Arc::new(self.verified(next, other.bytes().into())?)))
    }

    fn verified(&self, next: &Pending, bytes: Cow<'_, [u8]>) -> Result<Signed<Targets>, TrustError> {
        let role = RoleName::Delegated(next.role.name().to_owned());
        let Some(listed) = self.trusted.snapshot.role(next.role.name()) else {
            return Err(TrustError::NotInSnapshot { role });
        };
        let keys = next.delegator.delegations().map(Delegations::keys);
        let none = BTreeMap::new();
        targets_file(&role, bytes, &listed, &self.trusted.rules, (next.role.keys(), keys.unwrap_or(&none)))
    }

    /// Moves to the role on top of the pending ones.
    fn enter(&mut self, file: &Arc<Signed<Targets>>) {
        let Some(entered) = self.pending.pop() else { return };
        let name = entered.role.name().to_owned();
        self.trusted.delegated.entry(name.clone()).or_default().insert(entered.delegator_name(), Arc::clone(file));
        self.visited.insert(name.clone());
        self.asked.push(Asked { role: name.clone(), delegator: entered.delegator_name() });
        let mut chain = entered.above;
        chain.push(RoleName::Delegated(name));
        self.visit(file, chain);
    }

    /// Looks into one role: its own files first, then the roles that it delegates to, in order of appearance.
    fn visit(&mut self, file: &Arc<Signed<Targets>>, chain: Vec<RoleName>) {
        if let Some(target) = file.target(&self.path) {
            let found = Found { path: self.path.clone(), file: target, delegations: chain };
            self.end = Some(Step::Found(found));
            return;
        }
        let mut children = file.delegations().map_or_else(Vec::new, |delegations| delegations.roles_for(&self.path));
        if let Some(terminating) = children.iter().position(DelegatedRole::terminating) {
            // 5.6.7.2.1: nothing after a terminating delegation is searched, here or further up.
            children.truncate(terminating.saturating_add(1));
            self.pending.clear();
        }
        let pending = children.into_iter().rev();
        self.pending.extend(pending.map(|role| Pending { delegator: Arc::clone(file), above: chain.clone(), role }));
    }
}

impl Pending {
    fn delegator_name(&self) -> String {
        self.above.last().map_or_else(String::new, |name| name.as_str().to_owned())
    }
}
