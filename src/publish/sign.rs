//! What waits: staged, signed key by key, put together from several copies, or given up.

use chrono::TimeDelta;
use serde_json::{Map, Value};

use crate::digest::hex_to_bytes;
use crate::metadata::RoleName;
use crate::metadata::key::{Key, KeyId, PublicKey};
use crate::publish::document::{Authority, Document};
use crate::publish::error::PublishError;
use crate::publish::folder::role_name;
use crate::publish::key::Signers;
use crate::publish::repository::{Repository, View};
use crate::text::quoted;

impl Repository {
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
        // Written once, with its signatures: killed in between, it would be nobody's the next time.
        let before = self.staged.insert(role.clone(), document.clone());
        let added = if is_ours { self.add_signatures(role, signers) } else { Ok(0) };
        match added {
            Ok(0) => self.put(document),
            Ok(_) => Ok(()),
            Err(error) => {
                self.staged.remove(role);
                self.staged.extend(before.map(|before| (role.clone(), before)));
                Err(error)
            }
        }
    }

    /// Whether what is staged of a role, if anything, is signed by a key at hand, whichever keys the role is about to have.
    pub(super) fn is_ours(&self, role: &RoleName, signers: &Signers) -> bool {
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

    pub(super) fn sign_if_possible(&mut self, role: &RoleName, signers: &Signers) -> Result<(), PublishError> {
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

/// A member that is an object.
pub(super) fn object<'s>(
    of: &'s mut Map<String, Value>,
    key: &'static str,
) -> Result<&'s mut Map<String, Value>, PublishError> {
    of.get_mut(key).and_then(Value::as_object_mut).ok_or_else(|| odd(key))
}

pub(super) fn odd(key: &'static str) -> PublishError {
    PublishError::Usage(format!("the role's metadata has no {key} of the usual form"))
}
