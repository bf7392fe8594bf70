//! The signatures of a role file: what they cover, and whether enough keys of a role made them [TUF 4.2, 5.3.4].
//!
//! Rules:
//! - One key counts once, whatever ids it hides behind.
//! - Of a message, no signature is checked twice for the same key: most roots keep the keys of the root before, and both have to be satisfied.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::json::{self, At};
use super::key::{Key, KeyId, PublicKey};
use super::{BelowThreshold, MetadataError, RoleKeys, bounded};
use crate::digest::hex_to_bytes;
use crate::limits::MetadataLimits;

/// The signatures as the file lists them, by key id. `None` is one that is no hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signatures(BTreeMap<KeyId, Option<Vec<u8>>>);

/// Whether the signature under this id is this key's. Of one message and its signatures.
#[derive(Debug, Clone, Default)]
pub(super) struct Checked(BTreeMap<(KeyId, PublicKey), bool>);

impl Signatures {
    pub(super) fn read(at: At<'_>, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        let items = at.items()?;
        bounded("signatures", limits.signatures, items.len())?;
        let mut signatures = BTreeMap::new();
        for item in items {
            let id = KeyId::new(item.field("keyid")?.string()?);
            let signature = hex_to_bytes(item.field("sig")?.string()?);
            if signatures.insert(id.clone(), signature).is_some() {
                return Err(MetadataError::DuplicateKeyId(id, "signatures"));
            }
        }
        Ok(Self(signatures))
    }

    /// Whether enough different keys of `role`, looked up in `keys`, signed `message`.
    pub(super) fn meet(
        &self,
        role: &RoleKeys,
        keys: &BTreeMap<KeyId, Key>,
        message: &[u8],
        checked: &mut Checked,
    ) -> Result<(), BelowThreshold> {
        let usable = |id: &KeyId| keys.get(id).and_then(Key::usable);
        // Sets of keys, not of ids: the same key under two ids is one signer.
        let known: BTreeSet<_> = role.keyids().iter().filter_map(usable).collect();
        let mut valid = BTreeSet::new();
        for id in role.keyids() {
            let Some(key) = usable(id) else { continue };
            if !valid.contains(key) && self.is_by(id, key, message, checked) {
                valid.insert(key);
            }
        }
        let (valid, known, threshold) = (count(valid.len()), count(known.len()), role.threshold());
        if valid >= threshold { Ok(()) } else { Err(BelowThreshold { threshold, valid, known }) }
    }

    fn is_by(&self, id: &KeyId, key: &PublicKey, message: &[u8], checked: &mut Checked) -> bool {
        let Some(Some(signature)) = self.0.get(id) else { return false };
        let known = checked.0.entry((id.clone(), key.clone()));
        *known.or_insert_with(|| key.verifies(message, signature))
    }

    /// The ids under which keys of `role` signed.
    #[cfg(feature = "publish")]
    pub(super) fn signers(&self, role: &RoleKeys, keys: &BTreeMap<KeyId, Key>, message: &[u8]) -> Vec<KeyId> {
        let mut checked = Checked::default();
        let usable = |id: &KeyId| keys.get(id).and_then(Key::usable);
        let signed = |id: &&KeyId| usable(id).is_some_and(|key| self.is_by(id, key, message, &mut checked));
        role.keyids().iter().filter(signed).cloned().collect()
    }
}

/// What the signatures cover: the `signed` object in canonical form [TUF 4.2].
#[derive(Debug, Clone)]
pub(super) enum Message {
    /// The file has it in that form already, at this place.
    InFile(Range<usize>),
    /// The file has it in another form.
    Built(Vec<u8>),
}

impl Message {
    pub(super) fn in_file(document: &json::Document<'_>, file: &[u8]) -> Result<Option<Self>, json::Error> {
        let at = At::document(document.value());
        if !document.is_canonical() || at.object()?.iter().len() != 2 {
            return Ok(None);
        }
        Ok(place_of_signed(at.field("signatures")?.value(), file).map(Self::InFile))
    }

    pub(super) fn built(document: &json::Document<'_>) -> Result<Self, json::Error> {
        Ok(Self::Built(At::document(document.value()).field("signed")?.value().canonical()?))
    }

    pub(super) fn bytes<'f>(&'f self, file: &'f [u8]) -> &'f [u8] {
        match self {
            // The place was found in this file.
            Self::InFile(place) => file.get(place.clone()).unwrap_or_default(),
            Self::Built(bytes) => bytes,
        }
    }
}

/// How a canonical file of two members, `{"signatures":...,"signed":...}`, begins.
const SIGNATURES: &[u8] = b"{\"signatures\":";

/// Where the value of `signed` stands in such a file.
fn place_of_signed(signatures: &json::Value<'_>, file: &[u8]) -> Option<Range<usize>> {
    let head = [SIGNATURES, signatures.canonical().ok()?.as_slice(), b",\"signed\":"].concat();
    let body = file.strip_prefix(head.as_slice())?.trim_ascii_end().strip_suffix(b"}")?;
    Some(head.len()..head.len().checked_add(body.len())?)
}

/// What was found out about a file's signatures before the file was read, in case that it turns out to be canonical.
///
/// To hash a `targets.json` of a million targets takes as long as to read it, and neither needs the other.
#[derive(Debug)]
pub(crate) struct Early {
    place: Range<usize>,
    signatures: Signatures,
    checked: Checked,
}

impl Early {
    /// Below this it is not worth a thread.
    const LONG: usize = 1 << 20;

    /// Whether `file` is so long that its signatures had better be checked while it is read.
    pub(crate) fn is_worth_it(file: &[u8]) -> bool {
        file.len() >= Self::LONG
    }

    /// Checks the signatures as [`Unverified::verify`](super::Unverified::verify) does, if the file begins like a canonical one.
    pub(crate) fn of(
        file: &[u8],
        role: &RoleKeys,
        keys: &BTreeMap<KeyId, Key>,
        limits: &MetadataLimits,
    ) -> Option<Self> {
        // As many signatures as there may be are far shorter.
        let start = file.strip_prefix(SIGNATURES)?;
        let start = start.get(..Self::LONG).unwrap_or(start);
        let value = json::first_value(start, start.len()).ok()?;
        let place = place_of_signed(&value, file)?;
        let signatures = Signatures::read(At::document(&value), limits).ok()?;
        let mut checked = Checked::default();
        let _decided_when_the_file_was_read = signatures.meet(role, keys, file.get(place.clone())?, &mut checked);
        Some(Self { place, signatures, checked })
    }

    /// What it found out, if the message and the signatures are the file's indeed.
    pub(super) fn about(self, message: &Message, signatures: &Signatures) -> Checked {
        match message {
            Message::InFile(place) if *place == self.place && *signatures == self.signatures => self.checked,
            _ => Checked::default(),
        }
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
