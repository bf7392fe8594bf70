//! A repository as its publishers see it: what clients see of each role, what waits, and who may sign which.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use crate::limits::MetadataLimits;
use crate::metadata::RoleName;
use crate::metadata::key::{Key, PublicKey};
use crate::metadata::roles::Root;
use crate::publish::document::{Authority, Document, Life};
use crate::publish::error::PublishError;
use crate::publish::folder::{Folder, file_name, role_name};

/// The highest version that every client can read: some keep it in a signed 64-bit integer.
const VERSION_MAX: u64 = i64::MAX.unsigned_abs();

/// A repository that is being looked at or changed. As long as it is open for changes, no other process can open it so.
///
/// Changes are kept in the folder `staged` of the repository; clients see them when [`publish`](Self::publish) has found them to be signed by
/// enough keys.
#[derive(Debug)]
pub struct Repository {
    pub(super) folder: Folder,
    pub(super) now: DateTime<Utc>,
    pub(super) limits: MetadataLimits,
    /// All published roots, ascending.
    pub(super) roots: Vec<Document>,
    /// What clients see of each role; of the root, the newest.
    pub(super) published: BTreeMap<RoleName, Document>,
    /// What waits.
    pub(super) staged: BTreeMap<RoleName, Document>,
    /// The roles that were changed through this value.
    pub(super) touched: BTreeSet<RoleName>,
    /// What lies where something would wait and cannot be read, and why. It stops nothing but changes of its own role.
    pub(super) unreadable: BTreeMap<RoleName, String>,
}

impl Repository {
    /// Opens a repository for changes. `now` is the time from which on new versions are good.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: there is none, it is in use, or it holds what is not signed as it says itself. Expired metadata is no error here: it is
    /// what there is to renew.
    pub fn open(folder: &Path, now: DateTime<Utc>) -> Result<Self, PublishError> {
        must_be_repository(folder)?;
        let repository = Self::read(Folder::lock(folder)?, now)?;
        let root = repository.effective(&RoleName::Root).and_then(Document::root);
        if root.is_some_and(|root| !root.consistent_snapshot()) {
            let why = "its root says that consistent_snapshot is false, so files would have to be changed under the eyes of clients; \
                       turn it on with the tool that made the repository";
            return Err(PublishError::Folder { folder: folder.display().to_string(), why });
        }
        Ok(repository)
    }

    /// Opens a repository to look at it; it may be on read-only media.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn look(folder: &Path, now: DateTime<Utc>) -> Result<Self, PublishError> {
        must_be_repository(folder)?;
        Self::read(Folder::look(folder), now)
    }

    pub(super) fn read(folder: Folder, now: DateTime<Utc>) -> Result<Self, PublishError> {
        let limits = MetadataLimits::default();
        let (roots, published, staged, unreadable) = (Vec::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let touched = BTreeSet::new();
        let mut repository = Self { folder, now, limits, roots, published, staged, touched, unreadable };
        repository.read_roots()?;
        if !repository.roots.is_empty() {
            repository.read_published()?;
        }
        repository.read_staged()?;
        Ok(repository)
    }

    /// From the oldest root that is there, which nothing vouches for but this folder, to the newest.
    fn read_roots(&mut self) -> Result<(), PublishError> {
        for version in self.folder.root_versions()? {
            let name = file_name(&RoleName::Root, version);
            let root = self.read_file(&RoleName::Root, &name)?.ok_or_else(|| self.strange(&name, "it is gone"))?;
            let before = self.roots.last();
            let expected = before.map_or(Some(version), |before| before.version().checked_add(1));
            if root.version() != version || Some(version) != expected {
                let why =
                    format!("it is version {} and comes after {:?}", root.version(), before.map(Document::version));
                return Err(self.strange(&name, &why));
            }
            for signer in before.into_iter().chain([&root]) {
                let authority = signer.root().and_then(|signer| Authority::in_root(signer, &RoleName::Root));
                let authority = authority.ok_or_else(|| self.strange(&name, "it has no root role"))?;
                root.is_complete(&authority)
                    .map_err(|source| PublishError::NotSigned { file: self.shown(&name), source })?;
            }
            self.roots.push(root);
        }
        if let Some(newest) = self.roots.last() {
            self.published.insert(RoleName::Root, newest.clone());
        }
        Ok(())
    }

    fn read_published(&mut self) -> Result<(), PublishError> {
        let Some(timestamp) = self.read_file(&RoleName::Timestamp, "timestamp.json")? else {
            return Err(self.strange(
                "timestamp.json",
                "there is none, so no client can use the repository; a backup may have it",
            ));
        };
        let listed = timestamp.timestamp().map(|t| t.snapshot().version()).unwrap_or_default();
        self.vouched_for(&timestamp, "timestamp.json")?;
        let name = file_name(&RoleName::Snapshot, listed);
        let snapshot = self.need(&RoleName::Snapshot, &name)?;
        self.vouched_for(&snapshot, &name)?;
        let files = snapshot.snapshot().map(|s| s.files().map(|(name, file)| (name.into_owned(), file.version())));
        let files: Vec<(String, u64)> = files.into_iter().flatten().collect();
        self.published.insert(RoleName::Timestamp, timestamp);
        self.published.insert(RoleName::Snapshot, snapshot);
        for (file, version) in files {
            let Some(role) = file.strip_suffix(".json").map(role_name) else { continue };
            let name = file_name(&role, version);
            let document = self.need(&role, &name)?;
            if role == RoleName::Targets {
                self.vouched_for(&document, &name)?;
            }
            self.published.insert(role, document);
        }
        let view = View { repository: self, chosen: &BTreeSet::new() };
        for role in view.reached().iter().skip(1) {
            let Some(document) = view.get(role) else { continue };
            let name = file_name(role, document.version());
            for (_, authority) in view.authorities(role) {
                document
                    .is_complete(&authority)
                    .map_err(|source| PublishError::NotSigned { file: self.shown(&name), source })?;
            }
        }
        Ok(())
    }

    /// Signed as some root demanded. Not always the newest: where a publication was cut off between a new root and its timestamp, it is to be finished.
    fn vouched_for(&self, document: &Document, name: &str) -> Result<(), PublishError> {
        let roots = self.roots.iter().rev().filter_map(Document::root);
        let verdicts = roots.filter_map(|root| Authority::in_root(root, document.role()));
        let mut verdicts = verdicts.map(|authority| document.is_complete(&authority));
        let newest = verdicts.next().unwrap_or(Ok(()));
        if newest.is_ok() || verdicts.any(|verdict| verdict.is_ok()) {
            return Ok(());
        }
        newest.map_err(|source| PublishError::NotSigned { file: self.shown(name), source })
    }

    fn read_staged(&mut self) -> Result<(), PublishError> {
        for (role, file) in self.folder.staged(self.limits.targets)? {
            let document = match file.map(|file| Document::parse(&role, file, &self.limits)) {
                Ok(Ok(document)) => document,
                Ok(Err(error)) => {
                    self.unreadable.insert(role, error.to_string());
                    continue;
                }
                Err(error) => {
                    self.unreadable.insert(role, error.to_string());
                    continue;
                }
            };
            // Published already, and not tidied up: the process was stopped in between.
            if self.published.get(&role).is_some_and(|published| published.file() == document.file()) {
                continue;
            }
            self.staged.insert(role, document);
        }
        Ok(())
    }

    fn need(&self, role: &RoleName, name: &str) -> Result<Document, PublishError> {
        let missing = || self.strange(name, "it is not there, though what is published names it; a backup may have it");
        let document = self.read_file(role, name)?.ok_or_else(missing)?;
        if file_name(role, document.version()) == name {
            return Ok(document);
        }
        Err(self.strange(name, &format!("it says that it is version {}", document.version())))
    }

    fn read_file(&self, role: &RoleName, name: &str) -> Result<Option<Document>, PublishError> {
        let malformed = |source| PublishError::Malformed { file: self.shown(name), source };
        let file = self.folder.metadata(name, self.limits.targets)?;
        file.map(|file| Document::parse(role, file, &self.limits).map_err(malformed)).transpose()
    }

    fn shown(&self, name: &str) -> String {
        self.folder.path().join("metadata").join(name).display().to_string()
    }

    fn strange(&self, name: &str, why: &str) -> PublishError {
        PublishError::Inconsistent { file: self.shown(name), why: why.to_owned() }
    }

    /// What is staged of a role, or else what is published.
    pub(super) fn effective(&self, role: &RoleName) -> Option<&Document> {
        self.staged.get(role).or_else(|| self.published.get(role))
    }

    /// The roles as they would be if all that is staged were published.
    pub(super) fn all_staged(&self) -> BTreeSet<RoleName> {
        self.staged.keys().cloned().collect()
    }

    /// The version that comes after the published one.
    pub(super) fn next_version(&self, role: &RoleName) -> Result<u64, PublishError> {
        let Some(published) = self.published.get(role) else { return Ok(1) };
        match published.version().checked_add(1).filter(|version| *version <= VERSION_MAX) {
            Some(version) => Ok(version),
            // Clients forget what they have seen of all but the root [TUF 5.3.11].
            None if *role != RoleName::Root && self.makes_clients_forget() => Ok(1),
            None => Err(PublishError::LastVersion(role.clone())),
        }
    }

    /// Whether the staged root takes a key of timestamp or snapshot away.
    pub(super) fn makes_clients_forget(&self) -> bool {
        let root = |of: &BTreeMap<RoleName, Document>| of.get(&RoleName::Root).and_then(Document::root).cloned();
        let (Some(before), Some(after)) = (root(&self.published), root(&self.staged)) else { return false };
        let lost = |keys: fn(&Root) -> Vec<PublicKey>| {
            let after = keys(&after);
            keys(&before).iter().any(|key| !after.contains(key))
        };
        lost(|root| usable(root, &RoleName::Timestamp)) || lost(|root| usable(root, &RoleName::Snapshot))
    }

    /// From now on, for as long as the role says, or `valid_for`, or by default.
    pub(super) fn life(&self, role: &RoleName, valid_for: Option<TimeDelta>) -> Life {
        let said = || match role {
            // Made without anybody looking at them, so what is staged, which may be anybody's, has no say unless enough keys signed it.
            RoleName::Snapshot | RoleName::Timestamp => {
                let root =
                    View { repository: self, chosen: &self.ready() }.get(&RoleName::Root)?.online_valid_for(role);
                root.or_else(|| self.published.get(role)?.valid_for())
            }
            _ => self.effective(role)?.valid_for(),
        };
        let valid_for = valid_for.or_else(said).unwrap_or_else(|| default_validity(role));
        Life { now: self.now, valid_for }
    }
}

/// For how long a version of a role is good if nobody says otherwise. The online roles are short, for that is what bounds a freeze attack; the others
/// are long enough for people to meet once a year.
#[must_use]
pub fn default_validity(role: &RoleName) -> TimeDelta {
    TimeDelta::days(match role {
        RoleName::Root | RoleName::Targets | RoleName::Delegated(_) => 365,
        RoleName::Snapshot => 30,
        RoleName::Timestamp => 7,
    })
}

fn usable(root: &Root, role: &RoleName) -> Vec<PublicKey> {
    let authority = Authority::in_root(root, role);
    let keys = authority.iter().flat_map(|authority| authority.ids().iter().map(|id| authority.keys.get(id)));
    keys.filter_map(|key| key.and_then(Key::usable).cloned()).collect()
}

fn must_be_repository(folder: &Path) -> Result<(), PublishError> {
    if folder.join("metadata").is_dir() || folder.join("staged").join("metadata").is_dir() {
        return Ok(());
    }
    let why = "there is no repository here, neither a folder metadata nor staged; plimsoll repository init makes one";
    Err(PublishError::Folder { folder: folder.display().to_string(), why })
}

/// The roles as they would be if those of what is staged that were chosen were published.
pub(super) struct View<'r> {
    pub(super) repository: &'r Repository,
    pub(super) chosen: &'r BTreeSet<RoleName>,
}

impl<'r> View<'r> {
    pub(super) fn get(&self, role: &RoleName) -> Option<&'r Document> {
        let staged = self.repository.staged.get(role).filter(|_| self.chosen.contains(role));
        staged.or_else(|| self.repository.published.get(role))
    }

    pub(super) fn root(&self) -> Option<&'r Root> {
        self.get(&RoleName::Root).and_then(Document::root)
    }

    /// Who says which keys the role has: the root, or each targets role that delegates to it and is itself reached.
    pub(super) fn authorities(&self, role: &RoleName) -> Vec<(RoleName, Authority)> {
        let RoleName::Delegated(name) = role else {
            let authority = self.root().and_then(|root| Authority::in_root(root, role));
            return authority.map(|authority| (RoleName::Root, authority)).into_iter().collect();
        };
        let mut found = Vec::new();
        for delegator in self.reached() {
            let delegations = self.get(&delegator).and_then(Document::delegations);
            if let Some(authority) = delegations.and_then(|d| Authority::in_delegations(d, name)) {
                found.push((delegator, authority));
            }
        }
        found
    }

    /// The targets roles that can be reached from the top-level one, that one first.
    pub(super) fn reached(&self) -> Vec<RoleName> {
        let Repository { published, staged, .. } = self.repository;
        let mut left: BTreeSet<&RoleName> = published.keys().chain(staged.keys()).collect();
        let mut reached = vec![RoleName::Targets];
        let mut queue = VecDeque::from([RoleName::Targets]);
        while let Some(role) = queue.pop_front() {
            let Some(delegations) = self.get(&role).and_then(Document::delegations) else { continue };
            let delegated = |other: &&RoleName| match other {
                RoleName::Delegated(name) => delegations.role(name).is_some(),
                _ => false,
            };
            let found: Vec<&RoleName> = left.iter().copied().filter(delegated).collect();
            for other in found {
                left.remove(other);
                reached.push(other.clone());
                queue.push_back(other.clone());
            }
        }
        reached
    }

    /// The roles that clients ask for a path, in their order [TUF 5.6.7], as far as files of them are there.
    pub(super) fn asked_for(&self, path: &str) -> Vec<RoleName> {
        let mut asked = Vec::new();
        let mut stack = vec![RoleName::Targets];
        while let Some(role) = stack.pop() {
            if asked.contains(&role) {
                continue;
            }
            asked.push(role.clone());
            let Some(delegations) = self.get(&role).and_then(Document::delegations) else { continue };
            let mut below = Vec::new();
            for delegated in delegations.roles_for(path) {
                below.push(RoleName::Delegated(delegated.name().to_owned()));
                if delegated.terminating() {
                    // Nothing that was to be asked after this one is asked any more.
                    stack.clear();
                    break;
                }
            }
            stack.extend(below.into_iter().rev());
        }
        asked
    }
}
