//! What one repository's trusted metadata says of who decides on a target path. A pure function; no file and no clock.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Serialize;

use super::theft::{Holder, Theft, Together, thefts, together};
use crate::client::ClientError;
use crate::duration;
use crate::metadata::RoleKeys;
use crate::metadata::delegation::{DelegatedRole, Match};
use crate::metadata::key::{Key, KeyId, PublicKey};
use crate::metadata::roles::Targets;
use crate::text::escaped;
use crate::trust::{Asked, Found, Step, Trusted};

/// Who decides, in one repository.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RepositoryExplanation {
    /// What the map calls it; `None` without a map.
    pub name: Option<String>,
    /// Whether it signs the target.
    pub answer: RepositoryAnswer,
    /// Why it does not, or does not count; for people, safe to print.
    pub why: Option<String>,
    /// The time by which expiry was judged, RFC 3339.
    pub time: Option<String>,
    /// The root.
    pub root: Option<RootExplanation>,
    /// What is signed of the target.
    pub signed: Option<SignedFile>,
    /// The top-level roles, in the order root, timestamp, snapshot, targets; then those on the way to the signer.
    pub roles: Vec<RoleExplanation>,
    /// The way from the top-level targets role to the signer. Empty if that is the signer, or if there is none.
    pub delegations: Vec<DelegationStep>,
    /// The roles that may sign it, were asked before the signer, and do not list it; in the order in which they were asked.
    pub asked: Vec<AskedRole>,
    /// Of `roles`, the one that expires first.
    pub first_to_expire: Option<Expiry>,
    /// What a thief of a key could do.
    pub thefts: Vec<Theft>,
    /// What a thief of enough keys of several roles could do.
    pub together: Vec<Together>,
    /// What should be looked after.
    pub warnings: Vec<Warning>,
}

/// Whether a repository signs the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepositoryAnswer {
    /// It does.
    Signs,
    /// It was asked, and does not.
    DoesNotSign,
    /// A check of its metadata failed.
    NotTrusted,
    /// It could not be asked.
    Unreached,
}

/// The root that all rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RootExplanation {
    /// The version of the newest root, which is in force.
    pub version: u64,
    /// The SHA-256 of its file, in hex.
    pub sha256: String,
    /// The version of the pinned root.
    pub pinned_version: u64,
    /// The SHA-256 of the pinned file, in hex.
    pub pinned_sha256: String,
}

/// What is signed of a target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SignedFile {
    /// The role that signs it.
    pub by: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256 in hex, if listed.
    pub sha256: Option<String>,
    /// Its SHA-512 in hex, if listed.
    pub sha512: Option<String>,
}

/// One role, and who must sign for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RoleExplanation {
    /// Its name, as in metadata: not escaped.
    pub role: String,
    /// The version of its file.
    pub version: u64,
    /// From when on that is expired, RFC 3339.
    pub expires: String,
    /// Whether it is, and was accepted because the caller allows for that.
    pub expired: bool,
    /// The seconds until then; negative if it is expired.
    pub seconds_left: i64,
    /// How many keys must sign.
    pub threshold: u64,
    /// How many different keys can, as far as this version can use them.
    pub usable_keys: usize,
    /// All its keys, in the order of the metadata.
    pub keys: Vec<KeyExplanation>,
    /// The role that says which keys it has.
    pub given_by: String,
    #[serde(skip)]
    pub(super) at: DateTime<Utc>,
}

/// One key of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyExplanation {
    /// Its id, as in metadata: not escaped.
    pub id: String,
    /// Its type, as in metadata; `None` if no such key is listed.
    pub keytype: Option<String>,
    /// Its signature scheme, as in metadata.
    pub scheme: Option<String>,
    /// Whose it is, says the role that gives it. Nothing proves that.
    pub owner: Option<String>,
    /// Whether this version can use it. A key that it cannot use signs nothing.
    pub usable: bool,
}

/// One delegation on the way to the signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DelegationStep {
    /// The role that delegates.
    pub from: String,
    /// The role that it delegates to.
    pub to: String,
    /// What makes it apply to the target.
    pub matched: Matched,
    /// All that is delegated: patterns of paths, or prefixes of their hashes.
    pub scope: Vec<String>,
    /// Whether nobody else is asked once this role has been.
    pub terminating: bool,
}

/// What makes a delegation apply to a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "value", rename_all = "kebab-case")]
pub enum Matched {
    /// This path pattern.
    Pattern(String),
    /// The SHA-256 of the path begins with this, in hex.
    HashPrefix(String),
    /// The path falls into this bin; of so many.
    Bin(u64),
}

/// A role that was asked and does not list the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct AskedRole {
    /// The role.
    pub role: String,
    /// The role that delegates to it.
    pub delegated_by: String,
    /// The version of its file.
    pub version: u64,
    /// What makes the delegation apply to the target.
    pub matched: Option<Matched>,
    /// Whether nobody after it is asked.
    pub terminating: bool,
}

/// A role, and when it expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Expiry {
    /// The role.
    pub role: String,
    /// RFC 3339.
    pub expires: String,
    /// The seconds until then; negative if it is expired.
    pub seconds_left: i64,
}

/// Something that should be looked after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Warning {
    /// A stable code.
    pub code: WarningCode,
    /// For people, safe to print.
    pub message: String,
}

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum WarningCode {
    /// One key is enough to replace the root.
    RootThresholdOne,
    /// A key has several roles, so its thief has all of them.
    SharedKey,
    /// A role is expired, and accepted as the caller asked for.
    Expired,
    /// A role expires soon.
    ExpiresSoon,
    /// A role has keys that this version cannot use.
    UnusableKeys,
    /// As many keys must sign as there are: the loss of one stops the role.
    NoSpareKey,
}

impl RepositoryExplanation {
    /// Explains who decides on the target at `path`. Every role that a search for it needs must be loaded, as it is after
    /// [`Session::find`](crate::client::Session::find). What expires within `soon` is warned of, but for the timestamp, whose life is short by design.
    #[must_use]
    pub fn of(trusted: &Trusted, path: &str, soon: TimeDelta) -> Self {
        // What is loaded stays loaded in the copy only.
        let mut copy = trusted.clone();
        let mut search = copy.search(path);
        let step = search.step();
        let asked = search.asked().to_vec();
        let (found, why) = match step {
            Ok(Step::Found(found)) => (Some(found), None),
            Ok(Step::Absent(absence)) => (None, Some(absence.to_string())),
            Ok(Step::Need(request)) => {
                (None, Some(format!("the role {} may sign it, and is not loaded", request.role())))
            }
            Err(error) => (None, Some(error.to_string())),
        };
        let steps = found.as_ref().map_or_else(Vec::new, |found| steps(trusted, found));
        let now = trusted.rules().start();
        let (roles, holders) = roles(trusted, &steps, now);
        let first = roles.iter().min_by_key(|role| role.at);
        let signers: Vec<&str> = ["targets"].into_iter().chain(steps.iter().map(|step| step.0.to.as_str())).collect();
        Self {
            name: None,
            answer: if found.is_some() { RepositoryAnswer::Signs } else { RepositoryAnswer::DoesNotSign },
            why,
            time: Some(shown(now)),
            root: root(trusted),
            signed: found.as_ref().map(signed),
            asked: asked_before(trusted, path, &asked, &signers),
            first_to_expire: first.map(|role| Expiry {
                role: role.role.clone(),
                expires: role.expires.clone(),
                seconds_left: role.seconds_left,
            }),
            thefts: thefts(&holders),
            together: together(&holders),
            warnings: warnings(&roles, &holders, soon),
            roles,
            delegations: steps.into_iter().map(|(step, _)| step).collect(),
        }
    }

    /// One of which nothing is known but why.
    pub(super) fn failed(error: &ClientError) -> Self {
        let (answer, why) = match error {
            ClientError::NotTrusted(error) => (RepositoryAnswer::NotTrusted, crate::verdict::with_causes(error)),
            ClientError::Undecided(error) => (RepositoryAnswer::Unreached, crate::verdict::with_causes(error)),
        };
        Self {
            name: None,
            answer,
            why: Some(why),
            time: None,
            root: None,
            signed: None,
            roles: Vec::new(),
            delegations: Vec::new(),
            asked: Vec::new(),
            first_to_expire: None,
            thefts: Vec::new(),
            together: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// A step, and the delegation with its keys.
type Delegated = (DelegationStep, (DelegatedRole, BTreeMap<KeyId, Key>));

fn steps(trusted: &Trusted, found: &Found) -> Vec<Delegated> {
    let mut steps = Vec::new();
    let mut file: &Targets = trusted.targets();
    let chain = found.delegations();
    for (from, to) in chain.iter().zip(chain.iter().skip(1)) {
        let Some(delegations) = file.delegations() else { break };
        let Some(role) = delegations.role(to.as_str()) else { break };
        let scope = role.patterns().chain(role.hash_prefixes()).map(str::to_owned).collect();
        let step = DelegationStep {
            from: from.as_str().to_owned(),
            to: to.as_str().to_owned(),
            matched: matched(&role, found.path(), delegations.bins()).unwrap_or(Matched::Bin(0)),
            scope,
            terminating: role.terminating(),
        };
        // Of what may be thousands of keys, those of this role.
        let ids = role.keys().keyids().iter();
        let keys = ids.filter_map(|id| Some((id.clone(), delegations.keys().get(id)?.clone()))).collect();
        steps.push((step, (role, keys)));
        let Some(next) = trusted.delegated(from.as_str(), to.as_str()) else { break };
        file = next;
    }
    steps
}

fn matched(role: &DelegatedRole, path: &str, bins: Option<u64>) -> Option<Matched> {
    Some(match role.matched_by(path)? {
        Match::Pattern(pattern) => Matched::Pattern(pattern),
        Match::HashPrefix(prefix) => Matched::HashPrefix(prefix),
        Match::Bin => Matched::Bin(bins.unwrap_or(1)),
    })
}

/// The roles that were asked, but for those on the way to the signer: they were asked for the way.
fn asked_before(trusted: &Trusted, path: &str, asked: &[Asked], signers: &[&str]) -> Vec<AskedRole> {
    let not_on_the_way = asked.iter().filter(|asked| !signers.contains(&asked.role()));
    let rows = not_on_the_way.filter_map(|asked| {
        let file = trusted.delegated(asked.delegator(), asked.role())?;
        let by = trusted.loaded_by_name(asked.delegator())?;
        let delegations = by.delegations()?;
        let role = delegations.role(asked.role())?;
        Some(AskedRole {
            role: asked.role().to_owned(),
            delegated_by: asked.delegator().to_owned(),
            version: file.version(),
            matched: matched(&role, path, delegations.bins()),
            terminating: role.terminating(),
        })
    });
    rows.collect()
}

fn root(trusted: &Trusted) -> Option<RootExplanation> {
    let (pinned, newest) = (trusted.root_chain().first()?, trusted.root_chain().last()?);
    Some(RootExplanation {
        version: newest.version(),
        sha256: newest.sha256().to_hex(),
        pinned_version: pinned.version(),
        pinned_sha256: pinned.sha256().to_hex(),
    })
}

fn signed(found: &Found) -> SignedFile {
    let hashes = found.file().hashes();
    SignedFile {
        by: found.delegations().last().map_or_else(String::new, |role| role.as_str().to_owned()),
        length: found.file().length(),
        sha256: hashes.sha256().map(|hash| hash.to_hex()),
        sha512: hashes.sha512().map(|hash| hash.to_hex()),
    }
}

fn roles(trusted: &Trusted, steps: &[Delegated], now: DateTime<Utc>) -> (Vec<RoleExplanation>, Vec<Holder>) {
    let (root, keys) = (trusted.root(), trusted.root().keys());
    let (timestamp, snapshot, targets) = (trusted.timestamp(), trusted.snapshot(), trusted.targets());
    let mut rows = vec![
        row("root", root.version(), root.expires(), (root.root(), keys), ("root", &[]), now),
        row("timestamp", timestamp.version(), timestamp.expires(), (root.timestamp(), keys), ("root", &[]), now),
        row("snapshot", snapshot.version(), snapshot.expires(), (root.snapshot(), keys), ("root", &[]), now),
        row("targets", targets.version(), targets.expires(), (root.targets(), keys), ("root", &[]), now),
    ];
    for (step, (role, keys)) in steps {
        let Some(file) = trusted.delegated(&step.from, &step.to) else { continue };
        let given = (step.from.as_str(), step.scope.as_slice());
        rows.push(row(&step.to, file.version(), file.expires(), (role.keys(), keys), given, now));
    }
    rows.into_iter().unzip()
}

fn row(
    name: &str,
    version: u64,
    expires: DateTime<Utc>,
    (role, keys): (&RoleKeys, &BTreeMap<KeyId, Key>),
    (given_by, scope): (&str, &[String]),
    now: DateTime<Utc>,
) -> (RoleExplanation, Holder) {
    let mut usable: BTreeMap<PublicKey, String> = BTreeMap::new();
    for id in role.keyids() {
        if let Some(public) = keys.get(id).and_then(Key::usable) {
            usable.entry(public.clone()).or_insert_with(|| id.as_str().to_owned());
        }
    }
    let explained = role.keyids().iter().map(|id| {
        let key = keys.get(id);
        KeyExplanation {
            id: id.as_str().to_owned(),
            keytype: key.map(|key| key.keytype().to_owned()),
            scheme: key.map(|key| key.scheme().to_owned()),
            owner: key.and_then(|key| key.owner().map(str::to_owned)),
            usable: key.and_then(Key::usable).is_some(),
        }
    });
    let explanation = RoleExplanation {
        role: name.to_owned(),
        version,
        expires: shown(expires),
        expired: expires <= now,
        seconds_left: expires.signed_duration_since(now).num_seconds(),
        threshold: role.threshold(),
        usable_keys: usable.len(),
        keys: explained.collect(),
        given_by: given_by.to_owned(),
        at: expires,
    };
    let expires = (expires, explanation.expires.clone());
    let holder =
        Holder { role: name.to_owned(), threshold: role.threshold(), keys: usable, scope: scope.to_vec(), expires };
    (explanation, holder)
}

fn warnings(roles: &[RoleExplanation], holders: &[Holder], soon: TimeDelta) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code, message: String| warnings.push(Warning { code, message });
    if holders.first().is_some_and(|root| root.threshold <= 1) {
        warn(
            WarningCode::RootThresholdOne,
            "one key alone can replace the root, and with it all other keys: let two or more of the root's keys be needed".to_owned(),
        );
    }
    for theft in thefts(holders).iter().filter(|theft| theft.roles.len() > 1) {
        let roles: Vec<String> = theft.roles.iter().map(|role| escaped(&role.role).to_string()).collect();
        let what = if theft.keys.len() == 1 { "a key has" } else { "keys have" };
        let message = format!("{what} several roles, so a thief has all of them at once: {}", roles.join(", "));
        warn(WarningCode::SharedKey, message);
    }
    for role in roles {
        let name = escaped(&role.role);
        if role.expired {
            warn(WarningCode::Expired, format!("{name} is expired, and accepted as was asked for"));
        } else if role.role != "timestamp" && role.seconds_left <= soon.num_seconds() {
            warn(WarningCode::ExpiresSoon, format!("{name} expires in {}", duration::shown(role.seconds_left)));
        }
        let useless = role.keys.iter().filter(|key| !key.usable).count();
        if useless > 0 {
            let all = role.keys.len();
            warn(
                WarningCode::UnusableKeys,
                format!("{name}: {useless} of its {all} keys cannot be used by this version"),
            );
        }
        let usable = u64::try_from(role.usable_keys).unwrap_or(u64::MAX);
        if role.threshold > 1 && usable <= role.threshold {
            let message = format!("{name}: all of its {usable} keys must sign, so it is stuck if one is lost");
            warn(WarningCode::NoSpareKey, message);
        }
    }
    warnings
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}
