//! A role file that is being written: read as strictly as a client reads it, changed only into another one that reads so.
//!
//! Rules:
//! - What is changed is the JSON itself. Fields that this version does not know, key ids that others made up, and the entries of other programs stay.
//! - A change takes the signatures away.
//! - Files are written as the canonical form has it, in one line with sorted members, which clients check fastest. But for a line break in a PEM key,
//!   which JSON does not take as it is, they are in canonical form.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::digest::Sha256;
use crate::limits::MetadataLimits;
use crate::metadata::delegation::Delegations;
use crate::metadata::key::{Key, KeyId};
use crate::metadata::roles::{Root, Snapshot, Targets, Timestamp};
use crate::metadata::{BelowThreshold, MetadataError, Role, RoleKeys, RoleName, Unverified};
use crate::publish::error::PublishError;

/// What every file that is made here says of itself.
const SPEC_VERSION: &str = "1.0.34";
/// For how long a version is good, in seconds: kept in the signed part, so that whoever renews it needs no configuration. Clients pay no attention.
const VALID: &str = "x-plimsoll-valid-seconds";
/// The same of the roles that are made only when the others are signed; kept in the root.
pub(super) const ONLINE_VALID: &str = "x-plimsoll-online-valid-seconds";
/// How target paths are made of image names, kept in the top-level targets role for the publisher alone: a verifier is told by its operator.
pub(super) const TARGET_PATH: &str = "x-plimsoll-target-path";

/// A role file, signed or not.
#[derive(Debug, Clone)]
pub(super) struct Document {
    role: RoleName,
    file: Vec<u8>,
    claims: Claims,
}

#[derive(Debug, Clone)]
enum Claims {
    Root(Box<Unverified<Root>>),
    Timestamp(Box<Unverified<Timestamp>>),
    Snapshot(Box<Unverified<Snapshot>>),
    Targets(Box<Unverified<Targets>>),
}

/// Does the same with whichever kind it is.
macro_rules! each {
    ($claims:expr, $file:ident => $what:expr) => {
        match $claims {
            Claims::Root($file) => $what,
            Claims::Timestamp($file) => $what,
            Claims::Snapshot($file) => $what,
            Claims::Targets($file) => $what,
        }
    };
}

impl Document {
    /// Reads a file of `role`.
    pub(super) fn parse(role: &RoleName, file: Vec<u8>, limits: &MetadataLimits) -> Result<Self, MetadataError> {
        fn boxed<T: Role>(file: &[u8], limits: &MetadataLimits) -> Result<Box<Unverified<T>>, MetadataError> {
            Ok(Box::new(Unverified::parse(file, limits)?))
        }
        let claims = match role {
            RoleName::Root => Claims::Root(boxed(&file, limits)?),
            RoleName::Timestamp => Claims::Timestamp(boxed(&file, limits)?),
            RoleName::Snapshot => Claims::Snapshot(boxed(&file, limits)?),
            RoleName::Targets | RoleName::Delegated(_) => Claims::Targets(boxed(&file, limits)?),
        };
        Ok(Self { role: role.clone(), file, claims })
    }

    /// The first version of a role, without signatures.
    pub(super) fn first(role: &RoleName, fields: Value, life: Life) -> Result<Self, PublishError> {
        let mut signed = Map::new();
        let kind = match role {
            RoleName::Root => Root::TYPE,
            RoleName::Timestamp => Timestamp::TYPE,
            RoleName::Snapshot => Snapshot::TYPE,
            RoleName::Targets | RoleName::Delegated(_) => Targets::TYPE,
        };
        signed.insert("_type".to_owned(), json!(kind));
        signed.insert("spec_version".to_owned(), json!(SPEC_VERSION));
        if let Value::Object(fields) = fields {
            signed.extend(fields);
        }
        life.begin(&mut signed, role, 1)?;
        Self::unsigned(role, &signed)
    }

    /// The next version, after a change; without signatures. `version` is its number.
    pub(super) fn changed(
        &self,
        version: u64,
        life: Life,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<(), PublishError>,
    ) -> Result<Self, PublishError> {
        let mut signed = self.json()?;
        change(&mut signed)?;
        life.begin(&mut signed, &self.role, version)?;
        Self::unsigned(&self.role, &signed)
    }

    /// With one signature more, or another one in its place. What is signed stays as it is, byte for byte.
    pub(super) fn with_signature(&self, id: &KeyId, signature: &str) -> Result<Self, PublishError> {
        let Envelope { signed, mut signatures } = self.envelope()?;
        signatures.retain(|other| other.keyid != id.as_str());
        signatures.push(Signature { keyid: id.as_str().to_owned(), sig: signature.to_owned() });
        Self::of(&self.role, &Envelope { signed, signatures })
    }

    fn unsigned(role: &RoleName, signed: &Map<String, Value>) -> Result<Self, PublishError> {
        // The members come out sorted and without white space.
        let signed = serde_json::value::to_raw_value(signed).map_err(|_| strange(role))?;
        Self::of(role, &Envelope { signed: &signed, signatures: Vec::new() })
    }

    fn of(role: &RoleName, envelope: &Envelope<'_>) -> Result<Self, PublishError> {
        let file = serde_json::to_vec(envelope).map_err(|_| strange(role))?;
        let malformed = |source| PublishError::Malformed { file: format!("{role}.json, as it was to be"), source };
        Self::parse(role, file, &MetadataLimits::default()).map_err(malformed)
    }

    /// Whether the other version of the role is this one but for its number, its expiry and its signatures. For how long versions are good is something
    /// that it says.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let said = |document: &Self| {
            let mut signed = document.json().ok()?;
            ["version", "expires"].into_iter().for_each(|name| drop(signed.remove(name)));
            Some(signed)
        };
        let (this, other) = (said(self), said(other));
        this.is_some() && this == other
    }

    /// It was read before, more strictly.
    fn envelope(&self) -> Result<Envelope<'_>, PublishError> {
        serde_json::from_slice(&self.file).map_err(|_| strange(&self.role))
    }

    pub(super) fn json(&self) -> Result<Map<String, Value>, PublishError> {
        serde_json::from_str(self.envelope()?.signed.get()).map_err(|_| strange(&self.role))
    }

    /// Those fields that only publishers know.
    fn ours(&self) -> Option<Ours> {
        serde_json::from_str(self.envelope().ok()?.signed.get()).ok()
    }

    /// All signatures by key id, also those of keys that are none of the role's, in the order of the file.
    pub(super) fn signatures(&self) -> Vec<(String, String)> {
        let signatures = self.envelope().map(|envelope| envelope.signatures).unwrap_or_default();
        signatures.into_iter().map(|signature| (signature.keyid, signature.sig)).collect()
    }

    /// What a snapshot or timestamp says of other files, with whatever other programs wrote beside.
    pub(super) fn meta(&self) -> Result<Map<String, Value>, PublishError> {
        match self.json()?.remove("meta") {
            Some(Value::Object(meta)) => Ok(meta),
            _ => Err(strange(&self.role)),
        }
    }

    pub(super) fn role(&self) -> &RoleName {
        &self.role
    }

    /// The file, byte for byte.
    pub(super) fn file(&self) -> &[u8] {
        &self.file
    }

    pub(super) fn version(&self) -> u64 {
        each!(&self.claims, file => file.claims().version())
    }

    pub(super) fn expires(&self) -> DateTime<Utc> {
        each!(&self.claims, file => file.claims().expires())
    }

    /// What the signatures cover.
    pub(super) fn message(&self) -> &[u8] {
        each!(&self.claims, file => file.message())
    }

    /// The ids of those keys of the role that signed.
    pub(super) fn signers(&self, authority: &Authority) -> Vec<KeyId> {
        each!(&self.claims, file => file.signers(&authority.role, &authority.keys))
    }

    /// Whether enough keys signed, as a client counts them.
    pub(super) fn is_complete(&self, authority: &Authority) -> Result<(), BelowThreshold> {
        each!(&self.claims, file => file.is_complete(&authority.role, &authority.keys))
    }

    pub(super) fn root(&self) -> Option<&Root> {
        match &self.claims {
            Claims::Root(file) => Some(file.claims()),
            _ => None,
        }
    }

    pub(super) fn timestamp(&self) -> Option<&Timestamp> {
        match &self.claims {
            Claims::Timestamp(file) => Some(file.claims()),
            _ => None,
        }
    }

    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        match &self.claims {
            Claims::Snapshot(file) => Some(file.claims()),
            _ => None,
        }
    }

    pub(super) fn targets(&self) -> Option<&Targets> {
        match &self.claims {
            Claims::Targets(file) => Some(file.claims()),
            _ => None,
        }
    }

    pub(super) fn delegations(&self) -> Option<&Delegations> {
        self.targets().and_then(Targets::delegations)
    }

    /// For how long a version of this role is good, if the file says so.
    pub(super) fn valid_for(&self) -> Option<TimeDelta> {
        duration(&self.ours()?.valid?)
    }

    /// What a root says of another role in that respect.
    pub(super) fn online_valid_for(&self, role: &RoleName) -> Option<TimeDelta> {
        duration(self.ours()?.online_valid?.get(role.as_str())?)
    }

    /// The template of target paths that the publisher keeps in it.
    pub(super) fn target_path(&self) -> Option<String> {
        Some(self.ours()?.target_path?.as_str()?.to_owned())
    }

    /// What another role says of this file: version, length and hash [TUF 4.4, METAFILES].
    pub(super) fn listed(&self) -> Value {
        json!({
            "version": self.version(),
            "length": self.file.len(),
            "hashes": {"sha256": Sha256::of(&self.file).to_hex()},
        })
    }
}

/// A role file as it lies on disk: what is signed, and by whom.
#[derive(Deserialize, Serialize)]
struct Envelope<'f> {
    signatures: Vec<Signature>,
    #[serde(borrow)]
    signed: &'f RawValue,
}

#[derive(Deserialize, Serialize)]
struct Signature {
    keyid: String,
    sig: String,
}

/// The fields that only publishers know; whatever else another program put there is none of theirs.
#[derive(Deserialize)]
struct Ours {
    #[serde(rename = "x-plimsoll-valid-seconds")]
    valid: Option<Value>,
    #[serde(rename = "x-plimsoll-online-valid-seconds")]
    online_valid: Option<Value>,
    #[serde(rename = "x-plimsoll-target-path")]
    target_path: Option<Value>,
}

fn strange(role: &RoleName) -> PublishError {
    PublishError::Inconsistent { file: format!("{role}.json"), why: "it is not of the usual form".to_owned() }
}

fn duration(seconds: &Value) -> Option<TimeDelta> {
    TimeDelta::try_seconds(seconds.as_i64()?).filter(|valid| *valid > TimeDelta::zero())
}

/// When a version begins, and for how long it is good.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) now: DateTime<Utc>,
    pub(super) valid_for: TimeDelta,
}

impl Life {
    fn begin(self, signed: &mut Map<String, Value>, role: &RoleName, version: u64) -> Result<(), PublishError> {
        let expires = self.now.checked_add_signed(self.valid_for);
        let too_long = || PublishError::Usage(format!("the role {role} cannot be good for that long"));
        let expires = expires.ok_or_else(too_long)?;
        signed.insert("version".to_owned(), json!(version));
        signed.insert("expires".to_owned(), json!(expires.to_rfc3339_opts(SecondsFormat::Secs, true)));
        signed.insert(VALID.to_owned(), json!(self.valid_for.num_seconds()));
        Ok(())
    }
}

/// The keys of a role and how many of them must sign, as its delegating role says.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub(super) keys: BTreeMap<KeyId, Key>,
    pub(super) role: RoleKeys,
}

impl Authority {
    /// What a root says of a top-level role.
    pub(super) fn in_root(root: &Root, role: &RoleName) -> Option<Self> {
        let of_role = match role {
            RoleName::Root => root.root(),
            RoleName::Timestamp => root.timestamp(),
            RoleName::Snapshot => root.snapshot(),
            RoleName::Targets => root.targets(),
            RoleName::Delegated(_) => return None,
        };
        Some(Self { keys: root.keys().clone(), role: of_role.clone() })
    }

    /// What a targets role says of one that it delegates to.
    pub(super) fn in_delegations(delegations: &Delegations, role: &str) -> Option<Self> {
        Some(Self { keys: delegations.keys().clone(), role: delegations.role(role)?.keys().clone() })
    }

    /// The ids of the role's keys.
    pub(super) fn ids(&self) -> &[KeyId] {
        self.role.keyids()
    }
}
