//! Who may sign what: the first root, delegations, and keys that take the place of others.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::metadata::RoleName;
use crate::metadata::key::PublicKey;
use crate::publish::document::{Authority, Document, ONLINE_VALID, TARGET_PATH};
use crate::publish::error::PublishError;
use crate::publish::folder::role_name;
use crate::publish::key::{PublicKeyFile, Signers};
use crate::publish::repository::{Repository, View};
use crate::publish::sign::{keys_of, object, odd};
use crate::text::quoted;

/// The keys of a role before there is a repository, and how many of them must sign.
#[derive(Debug, Clone)]
pub struct RolePlan {
    /// The keys; each once.
    pub keys: Vec<PublicKeyFile>,
    /// How many of them must sign: at least 1, at most all.
    pub threshold: u64,
    /// For how long each version is good; `None` is [`default_validity`](super::default_validity).
    pub valid_for: Option<TimeDelta>,
}

/// What a new repository is to be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The root role.
    pub root: RolePlan,
    /// The top-level targets role.
    pub targets: RolePlan,
    /// The snapshot role.
    pub snapshot: RolePlan,
    /// The timestamp role.
    pub timestamp: RolePlan,
    /// How target paths are made of image names, if not as usual; kept for the publisher's later changes.
    pub target_path: Option<String>,
}

/// A new delegation.
#[derive(Debug, Clone)]
pub struct Delegation {
    /// The name of the role that may sign from now on.
    pub role: String,
    /// The role that lets it.
    pub from: String,
    /// The paths that it may sign: patterns in which `*` and `?` never cross a `/` [TUF 4.5].
    pub paths: Vec<String>,
    /// Its keys.
    pub keys: Vec<PublicKeyFile>,
    /// How many of them must sign.
    pub threshold: u64,
    /// Whether nobody after it is asked for these paths any more.
    pub terminating: bool,
    /// For how long each version of the role is good.
    pub valid_for: Option<TimeDelta>,
}

/// What changes of a role's keys.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// Keys that sign from now on.
    pub add: Vec<PublicKeyFile>,
    /// Keys that do not any more: ids, or their beginnings if only one key has it.
    pub remove: Vec<String>,
    /// How many must sign; as before if `None`.
    pub threshold: Option<u64>,
    /// For how long each version is good; as before if `None`.
    pub valid_for: Option<TimeDelta>,
}

impl Repository {
    /// Stages the first root and an empty top-level targets role, signed with those of `signers` that are theirs.
    pub(super) fn stage_first(&mut self, plan: &Plan, signers: &Signers) -> Result<(), PublishError> {
        let mut keys = Map::new();
        let mut roles = Map::new();
        let of = [
            ("root", &plan.root),
            ("targets", &plan.targets),
            ("snapshot", &plan.snapshot),
            ("timestamp", &plan.timestamp),
        ];
        for (role, plan) in of {
            threshold_is_possible(role, plan.threshold, plan.keys.len())?;
            let ids: Vec<&str> = plan.keys.iter().map(|key| key.id().as_str()).collect();
            if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
                return Err(PublishError::Usage(format!("the role {role} is given the same key twice")));
            }
            keys.extend(plan.keys.iter().map(|key| (key.id().as_str().to_owned(), key.entry().clone())));
            roles.insert(role.to_owned(), json!({"keyids": ids, "threshold": plan.threshold}));
        }
        let life = self.life(&RoleName::Root, plan.root.valid_for);
        let seconds = |role, plan: &RolePlan| self.life(&role, plan.valid_for).valid_for.num_seconds();
        let online = json!({
            "snapshot": seconds(RoleName::Snapshot, &plan.snapshot),
            "timestamp": seconds(RoleName::Timestamp, &plan.timestamp),
        });
        let fields = json!({"consistent_snapshot": true, "keys": keys, "roles": roles, ONLINE_VALID: online});
        self.put(Document::first(&RoleName::Root, fields, life)?)?;
        let mut fields = json!({"targets": {}});
        if let (Some(template), Some(fields)) = (&plan.target_path, fields.as_object_mut()) {
            fields.insert(TARGET_PATH.to_owned(), json!(template));
        }
        let life = self.life(&RoleName::Targets, plan.targets.valid_for);
        self.put(Document::first(&RoleName::Targets, fields, life)?)?;
        for role in [RoleName::Root, RoleName::Targets] {
            self.sign_if_possible(&role, signers)?;
        }
        Ok(())
    }

    /// Lets another role sign for some paths. The role starts empty, and has to be signed by its own keys before clients see the delegation.
    ///
    /// # Errors
    ///
    /// [`PublishError::Usage`] if the role is there already, or a pattern or the threshold makes no sense; [`PublishError::NoRole`].
    pub fn delegate(&mut self, delegation: &Delegation, signers: &Signers) -> Result<(), PublishError> {
        let role = RoleName::Delegated(delegation.role.clone());
        let from = role_name(&delegation.from);
        // In any case of its letters: on some disks it would take a top-level role's file.
        let lower = delegation.role.to_ascii_lowercase();
        if !matches!(role_name(&lower), RoleName::Delegated(name) if !name.is_empty()) {
            return Err(PublishError::Usage(format!("{} is no name for a delegated role", quoted(&delegation.role))));
        }
        if self.effective(&role).is_some() {
            let text = format!("the role {} is there already; rotate changes its keys", quoted(&delegation.role));
            return Err(PublishError::Usage(text));
        }
        if self.effective(&from).and_then(Document::delegations).is_some_and(|d| d.role(&delegation.role).is_some()) {
            let text = format!("{from} delegates to the role {} already", quoted(&delegation.role));
            return Err(PublishError::Usage(text));
        }
        threshold_is_possible(&delegation.role, delegation.threshold, delegation.keys.len())?;
        if delegation.paths.is_empty() {
            return Err(PublishError::Usage("a delegation needs at least one path".to_owned()));
        }
        let keys = delegation.keys.iter().map(|key| (key.id().as_str().to_owned(), key.entry().clone()));
        let keys: Map<String, Value> = keys.collect();
        let ids: Vec<&String> = keys.keys().collect();
        let entry = json!({
            "name": delegation.role,
            "keyids": ids,
            "threshold": delegation.threshold,
            "paths": delegation.paths,
            "terminating": delegation.terminating,
        });
        self.change(&from, None, |signed| {
            let delegations = signed.entry("delegations").or_insert_with(|| json!({"keys": {}, "roles": []}));
            let delegations = delegations.as_object_mut().ok_or_else(|| odd("delegations"))?;
            object(delegations, "keys")?.extend(keys.clone());
            let roles = delegations.get_mut("roles").and_then(Value::as_array_mut);
            let roles = roles.ok_or_else(|| {
                PublishError::Usage("the role delegates to hash bins, and to nothing else beside them".to_owned())
            })?;
            roles.push(entry);
            Ok(())
        })?;
        self.sign_if_possible(&from, signers)?;
        let life = self.life(&role, delegation.valid_for);
        self.put(Document::first(&role, json!({"targets": {}}), life)?)?;
        self.sign_if_possible(&role, signers)
    }

    /// Changes the keys of a role: in a new root for a top-level one, in the delegating roles for another.
    ///
    /// Roles that are then not signed by enough of their keys any more get a new version, to be signed by the new keys. A key is taken away from
    /// nothing but this role.
    ///
    /// # Errors
    ///
    /// [`PublishError::Usage`] if the outcome could never be signed, [`PublishError::NoRole`].
    pub fn rotate(&mut self, role: &str, rotation: &Rotation, signers: &Signers) -> Result<(), PublishError> {
        let role = role_name(role);
        let all = self.all_staged();
        let authorities = View { repository: self, chosen: &all }.authorities(&role);
        if authorities.is_empty() {
            return Err(PublishError::NoRole(role.to_string()));
        }
        for (delegator, authority) in authorities {
            let (keyids, threshold) = rotated(&role, &authority, rotation)?;
            let added: Vec<_> =
                rotation.add.iter().map(|key| (key.id().as_str().to_owned(), key.entry().clone())).collect();
            let name = role.as_str();
            self.change(&delegator, rotation.valid_for.filter(|_| delegator == role), |signed| {
                let place = if delegator == RoleName::Root { signed } else { object(signed, "delegations")? };
                let entry = role_entry(place, name).ok_or_else(|| odd("roles"))?;
                entry.insert("keyids".to_owned(), json!(keyids));
                entry.insert("threshold".to_owned(), json!(threshold));
                object(place, "keys")?.extend(added);
                drop_unused_keys(place)
            })?;
            self.sign_if_possible(&delegator, signers)?;
        }
        self.renew_what_is_not_complete(rotation.valid_for.map(|valid| (role, valid)), signers)
    }

    /// New versions of the targets roles that their new keys have not signed.
    fn renew_what_is_not_complete(
        &mut self,
        validity: Option<(RoleName, TimeDelta)>,
        signers: &Signers,
    ) -> Result<(), PublishError> {
        let all = self.all_staged();
        let view = View { repository: self, chosen: &all };
        let incomplete = |role: &RoleName| {
            let document = view.get(role);
            let authorities = view.authorities(role);
            document.is_some_and(|document| authorities.iter().any(|(_, a)| document.is_complete(a).is_err()))
        };
        let renew: Vec<RoleName> = view.reached().into_iter().filter(incomplete).collect();
        for role in renew {
            let valid_for = validity.as_ref().filter(|(of, _)| *of == role).map(|(_, valid)| *valid);
            // What waits already is what is to be signed.
            if !self.staged.contains_key(&role) || valid_for.is_some() {
                self.change(&role, valid_for, |_| Ok(()))?;
            }
            self.sign_if_possible(&role, signers)?;
        }
        Ok(())
    }
}

/// The key ids and the threshold that a role has after a rotation.
fn rotated(role: &RoleName, authority: &Authority, rotation: &Rotation) -> Result<(Vec<String>, u64), PublishError> {
    let mut ids: Vec<String> = authority.ids().iter().map(|id| id.as_str().to_owned()).collect();
    for remove in &rotation.remove {
        let of_key: Vec<&String> = ids.iter().filter(|id| id.starts_with(remove.as_str())).collect();
        let id = match of_key.as_slice() {
            [one] if !remove.is_empty() => (*one).clone(),
            [] => return Err(PublishError::Usage(format!("the role {role} has no key {}", quoted(remove)))),
            _ => {
                return Err(PublishError::Usage(format!(
                    "several keys of the role {role} begin with {}",
                    quoted(remove)
                )));
            }
        };
        ids.retain(|other| *other != id);
    }
    // By the key itself: others may list it under an id of their own.
    let known: Vec<PublicKey> = keys_of(authority)
        .into_iter()
        .filter(|(id, _)| ids.iter().any(|i| i == id.as_str()))
        .map(|(_, key)| key)
        .collect();
    for key in &rotation.add {
        if known.contains(key.key()) {
            return Err(PublishError::Usage(format!("the key {} is one of the role {role} already", key.id())));
        }
        ids.push(key.id().as_str().to_owned());
    }
    let threshold = rotation.threshold.unwrap_or_else(|| authority.role.threshold());
    threshold_is_possible(role.as_str(), threshold, ids.len())?;
    Ok((ids, threshold))
}

fn threshold_is_possible(role: &str, threshold: u64, keys: usize) -> Result<(), PublishError> {
    let keys = u64::try_from(keys).unwrap_or(u64::MAX);
    if (1..=keys).contains(&threshold) {
        return Ok(());
    }
    let text = format!(
        "the role {} would have {keys} keys, of which {threshold} must sign; expected from 1 to {keys}",
        quoted(role)
    );
    Err(PublishError::Usage(text))
}

/// The entry of a role in a root's `roles`, an object, or in those of delegations, an array.
fn role_entry<'s>(place: &'s mut Map<String, Value>, role: &str) -> Option<&'s mut Map<String, Value>> {
    let succinct = place.contains_key("succinct_roles");
    if succinct {
        return place.get_mut("succinct_roles")?.as_object_mut();
    }
    match place.get_mut("roles")? {
        Value::Object(roles) => roles.get_mut(role)?.as_object_mut(),
        Value::Array(roles) => {
            let is_it = |entry: &&mut Value| entry.get("name").and_then(Value::as_str) == Some(role);
            roles.iter_mut().find(is_it)?.as_object_mut()
        }
        _ => None,
    }
}

/// A key that no role of the file has any more is not left lying in it.
fn drop_unused_keys(place: &mut Map<String, Value>) -> Result<(), PublishError> {
    let mut used = BTreeSet::new();
    let mut note = |entry: &Value| {
        let ids = entry.get("keyids").and_then(Value::as_array).into_iter().flatten();
        used.extend(ids.filter_map(Value::as_str).map(str::to_owned));
    };
    match place.get("roles") {
        Some(Value::Object(roles)) => roles.values().for_each(&mut note),
        Some(Value::Array(roles)) => roles.iter().for_each(&mut note),
        _ => {}
    }
    place.get("succinct_roles").into_iter().for_each(&mut note);
    object(place, "keys")?.retain(|id, _| used.contains(id));
    Ok(())
}
