//! Files that are signed, and files that are not any more: each change makes a new version of one targets role.

use std::io::Read;

use serde_json::{Map, json};

use crate::client::is_target_path;
use crate::digest::Sha256;
use crate::metadata::RoleName;
use crate::publish::document::Document;
use crate::publish::error::PublishError;
use crate::publish::folder::role_name;
use crate::publish::key::Signers;
use crate::publish::repository::{Repository, View};
use crate::publish::sign::{keys_of, object};
use crate::text::quoted;

/// A file that is to be signed.
pub struct NewTarget<'f> {
    /// Its target path.
    pub path: String,
    /// Its bytes.
    pub content: &'f mut dyn Read,
}

impl Repository {
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

    /// Whether any role that clients can reach signs a file at this path: as it is published, or staged after that.
    #[must_use]
    pub fn signs(&self, path: &str) -> bool {
        self.signed_at(path).next().is_some()
    }

    /// Whether at this path a file with this SHA-256 is signed, and no other.
    #[must_use]
    pub fn signs_only(&self, path: &str, sha256: Sha256) -> bool {
        self.signs(path) && self.signed_at(path).all(|found| found == Some(sha256))
    }

    /// The SHA-256 of the file that is signed at this path; `None` if there is none, or if roles sign several.
    #[must_use]
    pub fn signed_digest(&self, path: &str) -> Option<Sha256> {
        self.signed_at(path).next().flatten().filter(|sha256| self.signs_only(path, *sha256))
    }

    fn signed_at(&self, path: &str) -> impl Iterator<Item = Option<Sha256>> {
        let all = self.all_staged();
        let roles = View { repository: self, chosen: &all }.reached();
        roles.into_iter().filter_map(move |role| {
            let targets = self.effective(&role).and_then(Document::targets)?;
            Some(targets.target(path)?.hashes().sha256())
        })
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
}

/// The name of a target's file below `targets/`: its SHA-256 before the file name [TUF 5.7.3].
pub(super) fn hashed(path: &str, hash: Sha256) -> String {
    let (folder, name) = path.split_at(path.rfind('/').map_or(0, |slash| slash.saturating_add(1)));
    format!("{folder}{}.{name}", hash.to_hex())
}

fn list(roles: &[RoleName]) -> String {
    roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
