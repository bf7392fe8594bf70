//! The four formats of role file [TUF 4.3 to 4.6].

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::delegation::{Delegations, Listed};
use super::json::{self, At, Document, Kept, Part, Value};
use super::key::{Key, KeyId, read_keys};
use super::members::{Member, Members};
use super::{MetadataError, Role, RoleKeys, plain};
use crate::digest::{Sha256, Sha512};
use crate::limits::MetadataLimits;

/// `root.json`: the keys of the top-level roles [TUF 4.3].
#[derive(Debug, Clone)]
pub struct Root {
    consistent_snapshot: bool,
    keys: BTreeMap<KeyId, Key>,
    root: RoleKeys,
    timestamp: RoleKeys,
    snapshot: RoleKeys,
    targets: RoleKeys,
}

impl Root {
    /// Whether file names carry the version or the hash [TUF 6.2].
    #[must_use]
    pub fn consistent_snapshot(&self) -> bool {
        self.consistent_snapshot
    }

    /// All keys that the file lists, those of no role included.
    #[must_use]
    pub fn keys(&self) -> &BTreeMap<KeyId, Key> {
        &self.keys
    }

    /// The keys of the root role.
    #[must_use]
    pub fn root(&self) -> &RoleKeys {
        &self.root
    }

    /// The keys of the timestamp role.
    #[must_use]
    pub fn timestamp(&self) -> &RoleKeys {
        &self.timestamp
    }

    /// The keys of the snapshot role.
    #[must_use]
    pub fn snapshot(&self) -> &RoleKeys {
        &self.snapshot
    }

    /// The keys of the top-level targets role.
    #[must_use]
    pub fn targets(&self) -> &RoleKeys {
        &self.targets
    }
}

impl Role for Root {
    const TYPE: &'static str = "root";
    type Parts = ();

    fn read(signed: At<'_>, (): (), limits: &MetadataLimits) -> Result<Self, MetadataError> {
        let consistent_snapshot = signed.optional("consistent_snapshot")?.map_or(Ok(false), |at| at.boolean())?;
        let keys = read_keys(signed.field("keys")?)?;
        let roles = signed.field("roles")?;
        Ok(Self {
            consistent_snapshot,
            keys,
            root: RoleKeys::read(roles.field("root")?, limits)?,
            timestamp: RoleKeys::read(roles.field("timestamp")?, limits)?,
            snapshot: RoleKeys::read(roles.field("snapshot")?, limits)?,
            targets: RoleKeys::read(roles.field("targets")?, limits)?,
        })
    }
}

/// `timestamp.json`: which snapshot is current [TUF 4.6].
#[derive(Debug, Clone)]
pub struct Timestamp {
    snapshot: MetaFile,
}

impl Timestamp {
    /// What the current `snapshot.json` must be.
    #[must_use]
    pub fn snapshot(&self) -> &MetaFile {
        &self.snapshot
    }
}

impl Role for Timestamp {
    const TYPE: &'static str = "timestamp";
    type Parts = ();

    fn read(signed: At<'_>, (): (), _: &MetadataLimits) -> Result<Self, MetadataError> {
        Ok(Self { snapshot: MetaFile::read(signed.field("meta")?.field("snapshot.json")?)? })
    }
}

/// `snapshot.json`: which version of each targets file is current [TUF 4.4].
///
/// A repository of hash bins lists tens of thousands. As in [`Targets`], each was checked, and stays in the file's bytes.
#[derive(Debug, Clone)]
pub struct Snapshot {
    targets: MetaFile,
    meta: Arc<Members>,
}

impl Snapshot {
    /// What the current top-level `targets.json` must be.
    #[must_use]
    pub fn targets(&self) -> &MetaFile {
        &self.targets
    }

    /// What the current file of the targets role named `role` must be. `None`: there is no such role.
    #[must_use]
    pub fn role(&self, role: &str) -> Option<MetaFile> {
        self.file(&format!("{role}.json"))
    }

    /// What the current file of this name must be, such as `targets.json`.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<MetaFile> {
        self.meta.get(name).and_then(|value| MetaFile::of(&value))
    }

    /// All files by name, in order.
    pub fn files(&self) -> impl Iterator<Item = (Cow<'_, str>, MetaFile)> {
        self.meta.iter().filter_map(|(name, value)| Some((name, MetaFile::of(&value)?)))
    }
}

impl Role for Snapshot {
    const TYPE: &'static str = "snapshot";
    type Parts = ();

    fn document<'d>(file: &'d Arc<Vec<u8>>, (): &mut (), _: &MetadataLimits) -> Result<Document<'d>, json::Error> {
        Self::whole_document(file)
    }

    fn whole_document(file: &Arc<Vec<u8>>) -> Result<Document<'_>, json::Error> {
        Document::without::<MetaFile>(file, &[Part { path: &["signed", "meta"], kept: Kept::InPlace(file) }])
    }

    fn read(signed: At<'_>, (): (), _: &MetadataLimits) -> Result<Self, MetadataError> {
        let at = signed.field("meta")?;
        let meta = Arc::clone(at.members()?);
        let targets = meta.get(TARGETS).and_then(|value| MetaFile::of(&value)).ok_or_else(|| at.lacks(TARGETS))?;
        Ok(Self { targets, meta })
    }
}

/// The entry of the top-level targets role.
const TARGETS: &str = "targets.json";

/// What another role says of a role file: its version and, if it likes, length and hashes [TUF 4.4, METAFILES].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaFile {
    version: u64,
    length: Option<u64>,
    hashes: Option<Hashes>,
}

impl Member for MetaFile {
    /// Whatever is not usual is built.
    fn is_plain(_: usize, _: &[u8], _: &Cell<usize>) -> bool {
        false
    }

    fn usual(text: &[u8]) -> Option<usize> {
        plain::usual_meta_file(text)
    }

    fn check(at: At<'_>) -> Result<(), json::Error> {
        Self::read(at).map(drop)
    }
}

impl MetaFile {
    /// A value that was checked when its file was read.
    fn of(value: &Value<'_>) -> Option<Self> {
        Self::read(At::document(value)).ok()
    }

    pub(super) fn read(at: At<'_>) -> Result<Self, json::Error> {
        Ok(Self {
            version: at.field("version")?.positive()?,
            length: at.optional("length")?.map(|at| at.unsigned()).transpose()?,
            hashes: at.optional("hashes")?.map(Hashes::read).transpose()?,
        })
    }

    /// The version that the file must have.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The length in bytes that the file must have, if one is listed.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The hashes that the file must have, if any are listed.
    #[must_use]
    pub fn hashes(&self) -> Option<&Hashes> {
        self.hashes.as_ref()
    }
}

/// A `HASHES` object: one or more hashes of one file, by algorithm [TUF 4.4].
///
/// Algorithms other than SHA-256 and SHA-512 are not looked at, so the object may hold no hash that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashes {
    sha256: Option<Sha256>,
    sha512: Option<Sha512>,
}

impl Hashes {
    fn read(at: At<'_>) -> Result<Self, json::Error> {
        if at.object()?.iter().len() == 0 {
            return Err(at.wrong("at least one hash"));
        }
        for (_, hash) in at.fields()? {
            hash.string()?;
        }
        let sha256 = at.optional("sha256")?;
        let sha512 = at.optional("sha512")?;
        Ok(Self {
            sha256: sha256
                .map(|at| Sha256::from_hex(at.string()?).ok_or_else(|| at.wrong("64 hex digits")))
                .transpose()?,
            sha512: sha512
                .map(|at| Sha512::from_hex(at.string()?).ok_or_else(|| at.wrong("128 hex digits")))
                .transpose()?,
        })
    }

    /// The SHA-256, if listed.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256> {
        self.sha256
    }

    /// The SHA-512, if listed.
    #[must_use]
    pub fn sha512(&self) -> Option<Sha512> {
        self.sha512
    }
}

/// `targets.json` or the file of a delegated role: signed files, and who else may sign which [TUF 4.5].
///
/// It may list millions of files. Each was checked, but what is said of one is only taken out of the file's bytes when it is asked for.
#[derive(Debug, Clone)]
pub struct Targets {
    targets: Arc<Members>,
    delegations: Option<Delegations>,
}

impl Targets {
    /// What this role itself says of the file at `path`.
    #[must_use]
    pub fn target(&self, path: &str) -> Option<TargetFile> {
        self.targets.get(path).and_then(|value| TargetFile::of(&value))
    }

    /// All files of this role, by target path.
    pub fn targets(&self) -> impl Iterator<Item = (Cow<'_, str>, TargetFile)> {
        self.targets.iter().filter_map(|(path, value)| Some((path, TargetFile::of(&value)?)))
    }

    /// How many files this role lists.
    #[must_use]
    pub fn count(&self) -> usize {
        self.targets.len()
    }

    /// Who else may sign which files.
    #[must_use]
    pub fn delegations(&self) -> Option<&Delegations> {
        self.delegations.as_ref()
    }
}

impl Role for Targets {
    const TYPE: &'static str = "targets";

    /// Those that it delegates to: tens of thousands, where they are hash bins.
    type Parts = Listed;

    fn document<'d>(
        file: &'d Arc<Vec<u8>>,
        parts: &mut Listed,
        limits: &MetadataLimits,
    ) -> Result<Document<'d>, json::Error> {
        let listed = RefCell::new(parts);
        let usual = |text: &str| listed.borrow_mut().add_usual(text);
        let take = |at: At<'_>| listed.borrow_mut().add(at, limits);
        let kept = Kept::Items { usual: &usual, take: &take };
        let roles = Part { path: &["signed", "delegations", "roles"], kept };
        Document::without::<TargetFile>(file, &[roles, targets_in(file)])
    }

    fn whole_document(file: &Arc<Vec<u8>>) -> Result<Document<'_>, json::Error> {
        Document::without::<TargetFile>(file, &[targets_in(file)])
    }

    fn read(signed: At<'_>, parts: Listed, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        let targets = Arc::clone(signed.field("targets")?.members()?);
        let delegations = signed.optional("delegations")?;
        let delegations = delegations.map(|at| Delegations::read(at, parts, limits)).transpose()?;
        Ok(Self { targets, delegations })
    }
}

/// A million of them may be listed.
fn targets_in(file: &Arc<Vec<u8>>) -> Part<'_> {
    Part { path: &["signed", "targets"], kept: Kept::InPlace(file) }
}

impl Member for TargetFile {
    fn is_plain(depth: usize, text: &[u8], left: &Cell<usize>) -> bool {
        plain::is_target_file(depth, text, left)
    }

    fn usual(text: &[u8]) -> Option<usize> {
        plain::usual_target_file(text)
    }

    fn check(at: At<'_>) -> Result<(), json::Error> {
        Self::read(at).map(drop)
    }
}

/// What a targets role says of a file: exact length, hashes, and what the repository's owners keep beside [TUF 4.5].
#[derive(Debug, Clone, PartialEq)]
pub struct TargetFile {
    length: u64,
    hashes: Hashes,
    custom: Option<Value<'static>>,
}

impl TargetFile {
    /// A value that was checked when its file was read.
    fn of(value: &Value<'_>) -> Option<Self> {
        Self::read(At::document(value)).ok()
    }

    fn read(at: At<'_>) -> Result<Self, json::Error> {
        let custom = at.optional("custom")?;
        Ok(Self {
            length: at.field("length")?.unsigned()?,
            hashes: Hashes::read(at.field("hashes")?)?,
            custom: custom.map(|at| at.value().clone().into_owned()),
        })
    }

    /// The exact length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The hashes.
    #[must_use]
    pub fn hashes(&self) -> &Hashes {
        &self.hashes
    }

    /// The `custom` field, signed like the rest.
    #[must_use]
    pub fn custom(&self) -> Option<&Value<'static>> {
        self.custom.as_ref()
    }
}
