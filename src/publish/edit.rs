//! Changes to a repository. Each makes a new version of one role and leaves it staged, signed by those of the keys at hand that are the role's.

use std::collections::BTreeSet;
use std::io::Read;

use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use crate::client::is_target_path;
use crate::digest::{Sha256, hex_to_bytes};
use crate::metadata::RoleName;
use crate::metadata::key::{Key, KeyId, PublicKey};
use crate::publish::document::{Authority, Document, ONLINE_VALID, TARGET_PATH};
use crate::publish::error::PublishError;
use crate::publish::folder::role_name;
use crate::publish::key::{PublicKeyFile, Signers};
use crate::publish::repository::{Repository, View};
use crate::text::{is_unprintable, quoted};

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

/// A file that is to be signed.
pub struct NewTarget<'f> {
    /// Its target path.
    pub path: String,
    /// Its bytes.
    pub content: &'f mut dyn Read,
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

    /// Signs files. What was signed at the same path before is replaced.
    ///
    /// `role` is who signs; without it, that role of those which may sign all of the paths that a key at hand belongs to.
    ///
    /// # Errors
    ///
    /// [`PublishError::NotDelegated`] and [`PublishError::Shadowed`] if clients would not look for the file there, or find another; the usual ones
    /// if the repository cannot be written. Nothing is staged then.
    pub fn add_targets(
        &mut self,
        targets: Vec<NewTarget<'_>>,
        role: Option<&str>,
        signers: &Signers,
    ) -> Result<RoleName, PublishError> {
        let paths: Vec<String> = targets.iter().map(|target| target.path.clone()).collect();
        let role = self.role_for(&paths, role, signers)?;
        let mut entries = Map::new();
        for target in targets {
            let path = target.path;
            let (length, hash) = self.folder.stage_target(target.content, |hash| hashed(&path, hash))?;
            entries.insert(path, json!({"length": length, "hashes": {"sha256": hash.to_hex()}}));
        }
        self.change(&role, None, signers, |signed| {
            object(signed, "targets")?.extend(entries);
            Ok(())
        })?;
        Ok(role)
    }

    /// Takes what is signed at the paths for which `is_meant` holds out of `role`, or out of all roles. Returns what was taken out, by role.
    ///
    /// The files themselves stay: a client may still be about to ask for one.
    ///
    /// # Errors
    ///
    /// [`PublishError::Usage`] if there is nothing of the kind.
    pub fn remove_targets(
        &mut self,
        is_meant: &dyn Fn(&str) -> bool,
        role: Option<&str>,
        signers: &Signers,
    ) -> Result<Vec<(RoleName, Vec<String>)>, PublishError> {
        let all = self.all_staged();
        let roles = match role {
            Some(role) => vec![role_name(role)],
            None => View { repository: self, chosen: &all }.reached(),
        };
        let mut removed = Vec::new();
        for role in roles {
            let Some(targets) = self.effective(&role).and_then(Document::targets) else {
                return Err(PublishError::NoRole(role.to_string()));
            };
            let paths: Vec<String> =
                targets.targets().map(|(path, _)| path.into_owned()).filter(|path| is_meant(path)).collect();
            if paths.is_empty() {
                continue;
            }
            self.change(&role, None, signers, |signed| {
                let targets = object(signed, "targets")?;
                for path in &paths {
                    targets.remove(path);
                }
                Ok(())
            })?;
            removed.push((role, paths));
        }
        if removed.is_empty() {
            return Err(PublishError::Usage("nothing of the kind is signed".to_owned()));
        }
        Ok(removed)
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
        if !matches!(role_name(&lower), RoleName::Delegated(name) if !name.is_empty() && !name.contains(is_unprintable))
        {
            return Err(PublishError::Usage(format!("{} is no name for a delegated role", quoted(&delegation.role))));
        }
        if self.effective(&role).is_some() {
            let text = format!("the role {} is there already; rotate changes its keys", quoted(&delegation.role));
            return Err(PublishError::Usage(text));
        }
        let listed = self.effective(&from).and_then(Document::delegations);
        if listed.is_some_and(|delegations| delegations.role(&delegation.role).is_some()) {
            let text = format!(
                "the role {from} delegates to {} already, of which there is no file; discard what waits of {from}, and delegate again",
                quoted(&delegation.role)
            );
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
        self.change(&from, None, signers, |signed| {
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
            let is_online = matches!(role, RoleName::Snapshot | RoleName::Timestamp);
            self.change(&delegator, rotation.valid_for.filter(|_| delegator == role), signers, |signed| {
                if let Some(valid) = rotation.valid_for.filter(|_| is_online) {
                    let online = signed.entry(ONLINE_VALID).or_insert_with(|| json!({}));
                    let online = online.as_object_mut().ok_or_else(|| odd(ONLINE_VALID))?;
                    online.insert(name.to_owned(), json!(valid.num_seconds()));
                }
                let place = if delegator == RoleName::Root { signed } else { object(signed, "delegations")? };
                let entry = role_entry(place, name).ok_or_else(|| odd("roles"))?;
                entry.insert("keyids".to_owned(), json!(keyids));
                entry.insert("threshold".to_owned(), json!(threshold));
                object(place, "keys")?.extend(added);
                drop_unused_keys(place)
            })?;
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
            // For how long its versions are good is said in the role's own file.
            if validity.as_ref().is_some_and(|(of, _)| of == role) {
                return true;
            }
            let document = view.get(role);
            let authorities = view.authorities(role);
            document.is_some_and(|document| authorities.iter().any(|(_, a)| document.is_complete(a).is_err()))
        };
        let renew: Vec<RoleName> = view.reached().into_iter().filter(incomplete).collect();
        for role in renew {
            let valid_for = validity.as_ref().filter(|(of, _)| *of == role).map(|(_, valid)| *valid);
            // What waits already is what is to be signed, by whoever left it there.
            if !self.staged.contains_key(&role) || valid_for.is_some() {
                self.change(&role, valid_for, signers, |_| Ok(()))?;
            } else if self.is_ours(&role, signers) {
                self.sign_if_possible(&role, signers)?;
            }
        }
        Ok(())
    }

    /// Stages a new version of a role that says the same, good from now on; not signed.
    ///
    /// # Errors
    ///
    /// [`PublishError::NoRole`] if there is nothing to renew; [`PublishError::Usage`] if what is staged of the role already does not say what is
    /// published.
    pub fn renew(&mut self, role: &str, valid_for: Option<TimeDelta>) -> Result<(), PublishError> {
        let role = role_name(role);
        if let (Some(staged), Some(published)) = (self.staged.get(&role), self.published.get(&role))
            && !staged.says_the_same(published)
        {
            let text = format!(
                "other changes of the role {} wait already, which --renew would sign unseen; look at them with status, then sign them without \
                 --renew, or discard them",
                quoted(role.as_str())
            );
            return Err(PublishError::Usage(text));
        }
        self.change(&role, valid_for, &Signers::open(&[])?, |_| Ok(()))
    }

    /// Signs what is staged of a role.
    ///
    /// # Errors
    ///
    /// [`PublishError::NothingStaged`]; [`PublishError::NoKey`] if that added no signature.
    pub fn sign(&mut self, role: &str, signers: &Signers) -> Result<(), PublishError> {
        let role = role_name(role);
        self.must_not_be_stale(&role)?;
        if !self.staged.contains_key(&role) {
            return Err(PublishError::NothingStaged { role });
        }
        if self.add_signatures(&role, signers)? == 0 {
            let keys = self.authorities_for_signing(&role);
            let mut keys: Vec<String> = keys.iter().flat_map(|a| a.ids().iter().map(ToString::to_string)).collect();
            keys.sort();
            keys.dedup();
            return Err(PublishError::NoKey { role, keys: keys.join(", ") });
        }
        Ok(())
    }

    /// Takes over the signatures of another copy of what is staged of a role, which somebody signed elsewhere. Returns how many were new.
    ///
    /// # Errors
    ///
    /// [`PublishError::Usage`] if the copy says anything else than what is staged.
    pub fn merge(&mut self, role: &str, copy: Vec<u8>) -> Result<usize, PublishError> {
        let role = role_name(role);
        self.must_not_be_stale(&role)?;
        let Some(staged) = self.staged.get(&role) else { return Err(PublishError::NothingStaged { role }) };
        let malformed = |source| PublishError::Malformed { file: format!("the other copy of {role}.json"), source };
        let copy = Document::parse(&role, copy, &self.limits).map_err(malformed)?;
        if copy.message() != staged.message() {
            let text =
                format!("the other copy of {role}.json does not say what is staged here; nothing was taken over");
            return Err(PublishError::Usage(text));
        }
        let mut merged = staged.clone();
        let mut new = 0_usize;
        for authority in self.authorities_for_signing(&role) {
            for id in copy.signers(&authority) {
                if merged.signers(&authority).contains(&id) {
                    continue;
                }
                let theirs = copy.signatures();
                let Some((_, signature)) = theirs.iter().find(|(other, _)| other == id.as_str()) else { continue };
                merged = merged.with_signature(&id, signature)?;
                new = new.saturating_add(1);
            }
        }
        self.put(merged)?;
        Ok(new)
    }

    /// Forgets what is staged of a role.
    ///
    /// # Errors
    ///
    /// [`PublishError::NothingStaged`].
    pub fn discard(&mut self, role: &str) -> Result<(), PublishError> {
        let role = role_name(role);
        if self.unreadable.remove(&role).is_some() {
            return self.folder.unstage(&role);
        }
        if !self.staged.contains_key(&role) {
            return Err(PublishError::NothingStaged { role });
        }
        // A delegation to a role of which there is no file could never be published.
        let all = self.all_staged();
        let delegators = View { repository: self, chosen: &all }.authorities(&role);
        if let (None, Some((delegator, _))) = (self.published.get(&role), delegators.first())
            && *delegator != RoleName::Root
        {
            let text = format!("{delegator} delegates to {role}, which would not be there; discard {delegator} first");
            return Err(PublishError::Usage(text));
        }
        self.staged.remove(&role);
        self.folder.unstage(&role)
    }

    /// The template of target paths that was chosen when the repository was made.
    #[must_use]
    pub fn target_path(&self) -> Option<String> {
        self.effective(&RoleName::Targets).and_then(Document::target_path)
    }

    /// Who is to sign all of these paths, and can.
    fn role_for(&self, paths: &[String], role: Option<&str>, signers: &Signers) -> Result<RoleName, PublishError> {
        if let Some(path) = paths.iter().find(|path| !is_target_path(path)) {
            let text = format!("{} is no target path: expected a plain relative path", quoted(path));
            return Err(PublishError::Usage(text));
        }
        let all = self.all_staged();
        let view = View { repository: self, chosen: &all };
        let fits = |role: &RoleName| paths.iter().try_for_each(|path| self.may_sign(&view, role, path));
        if let Some(role) = role {
            let role = role_name(role);
            if self.effective(&role).and_then(Document::targets).is_none() {
                return Err(PublishError::NoRole(role.to_string()));
            }
            return fits(&role).map(|()| role);
        }
        let candidates = paths.first().map(|path| view.asked_for(path)).unwrap_or_default();
        let has_key = |role: &RoleName| {
            let mut usable = view.authorities(role).into_iter().flat_map(|(_, authority)| keys_of(&authority));
            usable.any(|(_, key)| signers.has(&key))
        };
        let able: Vec<RoleName> = candidates.iter().filter(|role| has_key(role)).cloned().collect();
        match able.as_slice() {
            [one] => fits(one).map(|()| one.clone()),
            [] => Err(PublishError::Usage(format!(
                "no key at hand belongs to a role that may sign {}; these may: {}",
                quoted(paths.first().map_or("", String::as_str)),
                list(&candidates)
            ))),
            several => Err(PublishError::Usage(format!(
                "keys of several roles that may sign this are at hand: {}; say which with --role",
                list(several)
            ))),
        }
    }

    /// Whether clients would find at `path` what `role` signs.
    fn may_sign(&self, view: &View<'_>, role: &RoleName, path: &str) -> Result<(), PublishError> {
        let asked = view.asked_for(path);
        let Some(place) = asked.iter().position(|other| other == role) else {
            let why = match asked.as_slice() {
                [_] => "nobody but targets may".to_owned(),
                asked => format!("these may: {}", list(asked)),
            };
            return Err(PublishError::NotDelegated { role: role.to_string(), path: path.to_owned(), why });
        };
        let signs =
            |role: &&RoleName| view.get(role).and_then(Document::targets).is_some_and(|t| t.target(path).is_some());
        match asked.iter().take(place).find(signs) {
            Some(by) => {
                Err(PublishError::Shadowed { path: path.to_owned(), role: role.to_string(), by: by.to_string() })
            }
            None => Ok(()),
        }
    }

    /// Stages a new version of a role, on top of what is staged of it already, and signs it with the keys at hand. If somebody else left that, nothing
    /// is signed: whoever named the change has not seen the rest. `sign` is for those who have.
    pub(super) fn change(
        &mut self,
        role: &RoleName,
        valid_for: Option<TimeDelta>,
        signers: &Signers,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        self.must_not_be_stale(role)?;
        let version = self.next_version(role)?;
        let life = self.life(role, valid_for);
        let is_ours = self.is_ours(role, signers);
        let document = self.effective(role).ok_or_else(|| PublishError::NoRole(role.to_string()))?;
        let document = document.changed(version, life, change)?;
        self.put(document)?;
        if is_ours {
            self.add_signatures(role, signers)?;
        }
        Ok(())
    }

    /// Whether what is staged of a role, if anything, is signed by a key at hand, whichever keys the role is about to have.
    fn is_ours(&self, role: &RoleName, signers: &Signers) -> bool {
        self.staged.get(role).is_none_or(|staged| {
            let signatures = staged.signatures();
            let mut signatures = signatures.iter().filter_map(|(_, signature)| hex_to_bytes(signature));
            signatures.any(|signature| signers.public().any(|key| key.key().verifies(staged.message(), &signature)))
        })
    }

    pub(super) fn put(&mut self, document: Document) -> Result<(), PublishError> {
        self.folder.stage(document.role(), document.file())?;
        self.touched.insert(document.role().clone());
        self.unreadable.remove(document.role());
        self.staged.insert(document.role().clone(), document);
        Ok(())
    }

    /// Somebody published a version since this one was staged: what it would replace is not what it was made from.
    pub(super) fn must_not_be_stale(&self, role: &RoleName) -> Result<(), PublishError> {
        if let Some(why) = self.unreadable.get(role) {
            let file = format!("staged/metadata/{role}.json");
            return Err(PublishError::Inconsistent { file, why: format!("{why}; discard it, and do it again") });
        }
        match (self.staged.get(role), self.next_version(role)?) {
            (Some(staged), next) if staged.version() != next => {
                let (role, published) = (role.clone(), next.saturating_sub(1));
                Err(PublishError::Stale { role, staged: staged.version(), published })
            }
            _ => Ok(()),
        }
    }

    fn sign_if_possible(&mut self, role: &RoleName, signers: &Signers) -> Result<(), PublishError> {
        self.add_signatures(role, signers).map(drop)
    }

    /// Adds the signature of each key at hand that is the role's and has not signed. Returns how many were added.
    pub(super) fn add_signatures(&mut self, role: &RoleName, signers: &Signers) -> Result<usize, PublishError> {
        let Some(mut document) = self.staged.get(role).cloned() else { return Ok(0) };
        let mut added = 0_usize;
        for authority in self.authorities_for_signing(role) {
            let signed = document.signers(&authority);
            for (id, key) in keys_of(&authority).into_iter().filter(|(id, _)| !signed.contains(id)) {
                if let Some(signature) = signers.sign(&key, document.message())? {
                    document = document.with_signature(&id, &signature)?;
                    added = added.saturating_add(1);
                }
            }
        }
        if added > 0 {
            self.put(document)?;
        }
        Ok(added)
    }

    /// Who has to be satisfied with a role's signatures. Of a new root, the one before it, too [TUF 5.3.4].
    pub(super) fn authorities_for_signing(&self, role: &RoleName) -> Vec<Authority> {
        let all = self.all_staged();
        let view = View { repository: self, chosen: &all };
        let mut authorities: Vec<Authority> = view.authorities(role).into_iter().map(|(_, a)| a).collect();
        if *role == RoleName::Root {
            let before = self.published.get(&RoleName::Root).and_then(Document::root);
            authorities.extend(before.and_then(|root| Authority::in_root(root, &RoleName::Root)));
        }
        authorities
    }
}

/// The usable keys of a role.
pub(super) fn keys_of(authority: &Authority) -> Vec<(KeyId, PublicKey)> {
    let key = |id: &KeyId| Some((id.clone(), authority.keys.get(id).and_then(Key::usable)?.clone()));
    authority.ids().iter().filter_map(key).collect()
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

fn object<'s>(of: &'s mut Map<String, Value>, key: &'static str) -> Result<&'s mut Map<String, Value>, PublishError> {
    of.get_mut(key).and_then(Value::as_object_mut).ok_or_else(|| odd(key))
}

fn odd(key: &'static str) -> PublishError {
    PublishError::Usage(format!("the role's metadata has no {key} of the usual form"))
}

/// The name of a target's file below `targets/`: its SHA-256 before the file name [TUF 5.7.3].
pub(super) fn hashed(path: &str, hash: Sha256) -> String {
    let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash.saturating_add(1)));
    format!("{folder}{}.{name}", hash.to_hex())
}

fn list(roles: &[RoleName]) -> String {
    roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
