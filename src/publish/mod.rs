//! Writing repositories: from an image to metadata that clients trust (feature `publish`).
//!
//! What is signed, and how, is this module's; the keys are tough's [`KeySource`](tough::key_source::KeySource), so that a file, a key service or a
//! token can hold them. tough's editor is not used: it signs a role with all keys at once or not at all, puts the hash of a file before its folder
//! instead of before its name, and drops key ids that are not made as its own are. What is written is in the specification's own layout
//! [TUF 6.2, 5.7.3], and any TUF client or tool can read it and go on from there.
//!
//! Rules:
//! - Clients see the old state or the new, whenever the process is killed ([`Repository::publish`]).
//! - What clients would refuse is not published: the outcome is first checked as a client checks it that has seen everything before.
//! - A role is changed in its JSON; what other tools wrote beside stays.
//! - A signature is made for what the caller named, never for what somebody else left staged, but for snapshot and timestamp, which are made here.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use plimsoll::client::{Client, DirSource, Store};
//! use plimsoll::publish::{KeyFile, KeyType, NewTarget, Plan, Renewal, Repository, RolePlan, Signers};
//! use plimsoll::verify::Verifier;
//! use tough::key_source::KeySource;
//!
//! # let scratch = tempfile::tempdir()?;
//! # let (keys, site) = (scratch.path(), scratch.path().join("site"));
//! let now = chrono::Utc::now();
//! let key = keys.join("everything.pem"); // A real repository has a key for each role.
//! let public = KeyFile::generate(&key, KeyType::Ed25519, None)?;
//! let sources: [Box<dyn KeySource>; 1] = [Box::new(KeyFile::new(&key))];
//! let signers = Signers::open(&sources)?;
//!
//! let role = RolePlan { keys: vec![public], threshold: 1, valid_for: None };
//! let (root, targets, snapshot, timestamp) = (role.clone(), role.clone(), role.clone(), role);
//! let mut repository = Repository::create(&site, &Plan { root, targets, snapshot, timestamp, target_path: None }, &signers, now)?;
//!
//! let manifest = std::fs::read("test-repos/source/app.manifest.json")?;
//! let path = "registry.example/team/app/1.4/manifest.json".to_owned();
//! repository.add_targets(vec![NewTarget { path, content: &mut manifest.as_slice() }], None, &signers)?;
//! assert!(repository.publish(&signers, Renewal::None)?.waiting.is_empty());
//!
//! let root = std::fs::read(site.join("metadata/1.root.json"))?; // What verifiers pin.
//! let client = Client::new(root, DirSource::repository(&site)?, Store::in_memory());
//! assert!(Verifier::new(client).verify("test-repos/good/app.tar".as_ref()).is_trusted());
//! # Ok(())
//! # }
//! ```

mod document;
mod error;
mod folder;
mod key;
mod publication;
mod repository;
mod roles;
mod sign;
mod status;
mod targets;

use std::path::Path;

use chrono::{DateTime, Utc};

pub use self::error::PublishError;
pub use self::key::{
    AskPassphrase, KeyError, KeyFile, KeyType, Passphrase, PublicKeyFile, Signers, create_key_folder, key_files,
};
pub use self::publication::{Missing, Outcome, Renewal, Waiting};
pub use self::repository::{Repository, default_validity};
pub use self::roles::{Delegation, Plan, RolePlan, Rotation};
pub use self::status::{RoleStatus, StagedStatus, Status};
pub use self::targets::NewTarget;

use self::folder::Folder;

impl Repository {
    /// Makes a repository in a folder that has none. Its root and an empty targets role are staged, signed with those of `signers` that are theirs;
    /// nothing is published yet.
    ///
    /// # Errors
    ///
    /// [`PublishError::Folder`] if there is a repository already, published or staged; [`PublishError::Usage`] if a threshold cannot be met; the usual
    /// ones if the folder cannot be written.
    pub fn create(folder: &Path, plan: &Plan, signers: &Signers, now: DateTime<Utc>) -> Result<Self, PublishError> {
        let shown = || folder.display().to_string();
        let why = "there is a repository here already";
        if folder.join("metadata").exists() {
            return Err(PublishError::Folder { folder: shown(), why });
        }
        let mut repository = Self::read(Folder::lock(folder)?, now)?;
        if !repository.staged.is_empty() {
            return Err(PublishError::Folder { folder: shown(), why: "a repository is staged here already" });
        }
        repository.stage_first(plan, signers)?;
        Ok(repository)
    }
}
