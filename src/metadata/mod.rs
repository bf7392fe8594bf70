//! What a role file says: formats, keys, signatures, thresholds [TUF 4].
//!
//! Knows no time, no file and no network, and decides nothing about versions or freshness; that is [`crate::trust`].
//!
//! Rules:
//! - What a file says can be read only after its signatures were checked: [`Unverified`] has no accessor, [`Signed`] has.
//! - Signatures cover the received `signed` object in canonical form, unknown fields included [TUF 4.1].
//! - One key counts once, whatever ids it hides behind.

pub mod delegation;
pub mod json;
pub mod key;
pub mod members;
mod plain;
pub mod roles;
mod signatures;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use self::json::At;
use self::key::{Key, KeyId};
use self::roles::Root;
pub(crate) use self::signatures::Early;
use self::signatures::{Checked, Message, Signatures};
use crate::limits::MetadataLimits;
use crate::text::{escaped, quoted};

/// A role of the repository [TUF 2.1].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// Says which keys the other top-level roles have.
    Root,
    /// Says which snapshot is current.
    Timestamp,
    /// Says which version of each targets file is current.
    Snapshot,
    /// The top-level targets role.
    Targets,
    /// A targets role that another targets role delegates to. Never one of the names above.
    Delegated(String),
}

impl RoleName {
    /// The name as it stands in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Root => "root",
            Self::Timestamp => "timestamp",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Delegated(name) => name,
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&escaped(self.as_str()), f)
    }
}

/// Why bytes are not metadata of the role that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// Not JSON that every reader understands alike, or not of the role's shape.
    #[error(transparent)]
    Json(#[from] json::Error),
    /// `_type` is not the role that was asked for: a snapshot is no timestamp, whoever signed it.
    #[error("_type is {}, expected \"{expected}\"", quoted(.found))]
    Type {
        /// The role that was asked for.
        expected: &'static str,
        /// What the file says.
        found: String,
    },
    /// `spec_version` is not 1.x or 1.x.y.
    #[error("spec_version is {}, expected 1.0.x", quoted(.0))]
    SpecVersion(String),
    /// A key id signed twice, or stands twice in a role [TUF 4.2].
    #[error("the key id {0} occurs twice in {1}")]
    DuplicateKeyId(KeyId, &'static str),
    /// A limit of [`MetadataLimits`] is exceeded.
    #[error("{found} {what}, at most {limit} are accepted")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
        /// What there is.
        found: usize,
    },
}

/// Fewer keys signed than the delegating role asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signed by {valid} of the {known} known keys, the threshold is {threshold}")]
pub struct BelowThreshold {
    /// How many keys must sign.
    pub threshold: u64,
    /// How many different keys of the role did.
    pub valid: u64,
    /// How many different usable keys the role has.
    pub known: u64,
}

/// Which keys a role has, and how many of them must sign [TUF 4.3, 4.5].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    keyids: Vec<KeyId>,
    threshold: u64,
}

impl RoleKeys {
    pub(crate) fn read(at: At<'_>, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        let threshold = at.field("threshold")?.positive()?;
        let list = at.field("keyids")?;
        let items = list.items()?;
        bounded("key ids in one role", limits.keys, items.len())?;
        let keyids: Vec<KeyId> =
            items.map(|item| Ok(KeyId::new(item.string()?))).collect::<Result<_, json::Error>>()?;
        match twice(keyids.iter()) {
            Some(id) => Err(MetadataError::DuplicateKeyId(id.clone(), "keyids")),
            None => Ok(Self { keyids, threshold }),
        }
    }

    /// Whether the object at `at` says the same.
    fn are(&self, at: At<'_>) -> Result<bool, json::Error> {
        let ids = at.field("keyids")?;
        let mut ours = self.keyids.iter();
        for id in ids.items()? {
            let id = id.string()?;
            if ours.next().is_none_or(|own| own.as_str() != id) {
                return Ok(false);
            }
        }
        Ok(ours.next().is_none() && at.field("threshold")?.positive()? == self.threshold)
    }

    /// The key ids in the order of the file; each once.
    #[must_use]
    pub fn keyids(&self) -> &[KeyId] {
        &self.keyids
    }

    /// How many different keys must sign; at least 1.
    #[must_use]
    pub fn threshold(&self) -> u64 {
        self.threshold
    }
}

/// A format of role file. Sealed: the specification has these and no more.
pub trait Role: private::Sealed + Sized {
    /// The value of `_type`.
    #[doc(hidden)]
    const TYPE: &'static str;

    /// What of a file is read as it passes, and not kept as JSON.
    #[doc(hidden)]
    type Parts: Default;

    /// Reads the JSON of a file of this role.
    #[doc(hidden)]
    fn document<'d>(
        file: &'d Arc<Vec<u8>>,
        _: &mut Self::Parts,
        _: &MetadataLimits,
    ) -> Result<json::Document<'d>, json::Error> {
        json::Document::parse(file)
    }

    /// The same, with all that the canonical form is made from.
    #[doc(hidden)]
    fn whole_document(file: &Arc<Vec<u8>>) -> Result<json::Document<'_>, json::Error> {
        json::Document::parse(file)
    }

    /// Reads what is special to the role from the `signed` object.
    #[doc(hidden)]
    fn read(signed: At<'_>, parts: Self::Parts, limits: &MetadataLimits) -> Result<Self, MetadataError>;
}

mod private {
    #[expect(unnameable_types, reason = "that it cannot be named is what seals the trait")]
    pub trait Sealed {}
    impl Sealed for super::roles::Root {}
    impl Sealed for super::roles::Timestamp {}
    impl Sealed for super::roles::Snapshot {}
    impl Sealed for super::roles::Targets {}
}

/// A well-formed role file of which nothing is believed yet.
#[derive(Debug, Clone)]
pub struct Unverified<T> {
    signed: Signed<T>,
    signatures: Signatures,
    message: Message,
    /// What is known of the signatures already.
    checked: Checked,
}

/// A role file that a threshold of keys signed. Dereferences to what is special to the role.
#[derive(Debug, Clone)]
pub struct Signed<T> {
    role: T,
    version: u64,
    expires: DateTime<Utc>,
    bytes: Arc<Vec<u8>>,
}

impl<T: Role> Unverified<T> {
    /// Reads a whole role file, as received. Bytes that are handed over, as a `Vec<u8>`, are not copied.
    ///
    /// # Errors
    ///
    /// [`MetadataError`] if the bytes are not a file of this role [TUF 4.1 to 4.6].
    pub fn parse<'b>(bytes: impl Into<Cow<'b, [u8]>>, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        Self::read(Arc::new(bytes.into().into_owned()), limits)
    }

    pub(crate) fn read(bytes: Arc<Vec<u8>>, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        let mut parts = T::Parts::default();
        let json = T::document(&bytes, &mut parts, limits)?;
        let document = At::document(json.value());
        let signed = document.field("signed")?;

        let found = signed.field("_type")?.string()?;
        if found != T::TYPE {
            return Err(MetadataError::Type { expected: T::TYPE, found: found.to_owned() });
        }
        let spec_version = signed.field("spec_version")?.string()?;
        if !is_spec_version_1(spec_version) {
            return Err(MetadataError::SpecVersion(spec_version.to_owned()));
        }
        let version = signed.field("version")?.positive()?;
        let expires = read_expires(signed.field("expires")?)?;
        let role = T::read(signed, parts, limits)?;

        let signatures = Signatures::read(document.field("signatures")?, limits)?;
        let in_file = Message::in_file(&json, &bytes)?;
        drop(json);
        let message = match in_file {
            Some(message) => message,
            // The file is read a second time: hardly any that is not canonical has parts worth it.
            None => Message::built(&T::whole_document(&bytes)?)?,
        };
        Ok(Self { signed: Signed { role, version, expires, bytes }, signatures, message, checked: Checked::default() })
    }

    /// Believes the file if enough different keys of `role`, looked up in `keys`, signed it [TUF 5.3.4, 5.4.2, 5.5.3, 5.6.3].
    ///
    /// A key id that `keys` lacks, a useless key and a wrong signature do not count and do no harm beside enough good ones.
    ///
    /// # Errors
    ///
    /// [`BelowThreshold`] otherwise.
    pub fn verify(self, role: &RoleKeys, keys: &BTreeMap<KeyId, Key>) -> Result<Signed<T>, BelowThreshold> {
        self.verify_with(role, keys, None)
    }

    /// The same, with what was found out about the signatures before the file was read.
    pub(crate) fn verify_with(
        self,
        role: &RoleKeys,
        keys: &BTreeMap<KeyId, Key>,
        early: Option<Early>,
    ) -> Result<Signed<T>, BelowThreshold> {
        let mut checked = early.map_or_else(Checked::default, |early| early.about(&self.message, &self.signatures));
        self.meets(role, keys, &mut checked)?;
        Ok(self.signed)
    }

    /// What the file says, whoever signed it: for whoever is about to sign it, and has to see what.
    #[cfg(feature = "publish")]
    pub(crate) fn claims(&self) -> &Signed<T> {
        &self.signed
    }

    /// The ids under which keys of `role` signed.
    #[cfg(feature = "publish")]
    pub(crate) fn signers(&self, role: &RoleKeys, keys: &BTreeMap<KeyId, Key>) -> Vec<KeyId> {
        self.signatures.signers(role, keys, self.message.bytes(&self.signed.bytes))
    }

    /// What the signatures cover.
    #[cfg(feature = "publish")]
    pub(crate) fn message(&self) -> &[u8] {
        self.message.bytes(&self.signed.bytes)
    }

    /// Whether enough different keys of `role` signed: what [`verify`](Self::verify) asks, for a file that is not believed yet.
    ///
    /// # Errors
    ///
    /// [`BelowThreshold`] if not.
    #[cfg(feature = "publish")]
    pub(crate) fn is_complete(&self, role: &RoleKeys, keys: &BTreeMap<KeyId, Key>) -> Result<(), BelowThreshold> {
        self.meets(role, keys, &mut Checked::default())
    }

    fn meets(&self, role: &RoleKeys, keys: &BTreeMap<KeyId, Key>, checked: &mut Checked) -> Result<(), BelowThreshold> {
        self.signatures.meet(role, keys, self.message.bytes(&self.signed.bytes), checked)
    }
}

impl Unverified<Root> {
    /// Believes a root that was pinned, if it is signed as it demands itself [TUF 5.2].
    ///
    /// # Errors
    ///
    /// [`BelowThreshold`] of its own root role.
    pub fn verify_pinned(self) -> Result<Signed<Root>, BelowThreshold> {
        self.meets(self.signed.root(), self.signed.keys(), &mut Checked::default())?;
        Ok(self.signed)
    }

    /// Finds out which of its own keys signed it. That needs no other root, so it can be done ahead.
    pub(crate) fn check_itself(&mut self) {
        let mut checked = Checked::default();
        let _decided_when_it_is_its_turn = self.meets(self.signed.root(), self.signed.keys(), &mut checked);
        self.checked = checked;
    }

    /// Believes a root that follows `trusted`, if both `trusted` and itself are satisfied with its signatures [TUF 5.3.4].
    ///
    /// # Errors
    ///
    /// [`BelowThreshold`] of the trusted root's role, or of its own.
    pub fn verify_successor(self, trusted: &Signed<Root>) -> Result<Signed<Root>, BelowThreshold> {
        let mut checked = self.checked.clone();
        self.meets(trusted.root(), trusted.keys(), &mut checked)?;
        self.meets(self.signed.root(), self.signed.keys(), &mut checked)?;
        Ok(self.signed)
    }
}

impl<T> Signed<T> {
    /// The version, 1 or more.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// From this instant on the file is expired [TUF 4.1].
    #[must_use]
    pub fn expires(&self) -> DateTime<Utc> {
        self.expires
    }

    /// The file, byte for byte as received.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T> Deref for Signed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.role
    }
}

/// The instant of `2030-01-31T00:00:00Z`; also with fractional seconds and a numeric offset, as old public roots have them.
fn read_expires(at: At<'_>) -> Result<DateTime<Utc>, json::Error> {
    let text = at.string()?;
    let instant =
        DateTime::parse_from_rfc3339(text).map_err(|_| at.wrong("a date and time such as 2030-01-31T00:00:00Z"))?;
    Ok(instant.to_utc())
}

/// `1.x` or `1.x.y` [TUF 4.3, SPEC_VERSION]; the two-part form is that of old repositories.
fn is_spec_version_1(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let numeric = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    matches!(parts.len(), 2 | 3) && parts.iter().all(numeric) && parts.first() == Some(&"1")
}

/// One of those that are there more than once. Nearly always there are few of them, or they come in order: neither needs a set.
fn twice<T: Ord>(items: impl ExactSizeIterator<Item = T> + Clone) -> Option<T> {
    if items.len() < 2 || items.clone().is_sorted_by(|a, b| a < b) {
        return None;
    }
    let mut seen = BTreeSet::new();
    items.into_iter().find_map(|item| seen.replace(item))
}

pub(crate) fn bounded(what: &'static str, limit: usize, found: usize) -> Result<(), MetadataError> {
    if found > limit { Err(MetadataError::TooMany { what, limit, found }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spec_version_is_1() {
        for (text, ok) in [
            ("1.0", true),
            ("1.0.34", true),
            ("1.1.0", true),
            ("1", false),
            ("2.0.0", false),
            ("0.9", false),
            ("1.0.0.0", false),
            ("1.", false),
            ("1.x", false),
            ("", false),
            ("01.0", false),
            ("1.0-rc", false),
            (" 1.0", false),
        ] {
            assert_eq!(is_spec_version_1(text), ok, "{text:?}");
        }
    }

    #[test]
    fn expiry_is_an_instant() {
        let cases = [
            ("2030-01-31T00:00:00Z", Some("2030-01-31T00:00:00Z")),
            ("2021-12-18T13:28:12.99008-06:00", Some("2021-12-18T19:28:12.990080Z")),
            ("2030-01-31T00:00:00+02:00", Some("2030-01-30T22:00:00Z")),
            ("2030-01-31T00:00:00", None),
            ("2030-01-31", None),
            ("2030-02-30T00:00:00Z", None),
            ("", None),
            ("never", None),
        ];
        for (text, expected) in cases {
            let value = json::Value::String(text.into());
            let got = read_expires(At::document(&value)).ok();
            assert_eq!(got, expected.map(|e| e.parse().unwrap()), "{text:?}");
        }
    }
}
