//! `plimsoll repository init`: a new repository, and keys for the roles that are given none.

use std::path::Path;
use std::process::ExitCode;

use plimsoll::publish::{Passphrase, Plan, PublicKeyFile, PublishError, Repository, RolePlan, create_key_folder};
use plimsoll::text::quoted;

use crate::publish::args::Init;
use crate::publish::keys::{self, must_be_outside, new_passphrase};
use crate::publish::{Failed, Report, now};

const ROLES: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

pub(super) fn init(arguments: &Init) -> Result<ExitCode, Failed> {
    let change = &arguments.change;
    let repository = &change.place.repository;
    // Before any key is made for nothing.
    if repository.join("metadata").exists() {
        let folder = repository.display().to_string();
        return Err(PublishError::Folder { folder, why: "there is a repository here already" }.into());
    }
    let made = Made::new(arguments)?;
    let role = |name: &str| -> Result<RolePlan, Failed> {
        Ok(RolePlan {
            keys: made.keys(name, arguments)?,
            threshold: said(&arguments.threshold, name).unwrap_or(1),
            valid_for: said(&arguments.valid, name),
        })
    };
    let plan = Plan {
        root: role("root")?,
        targets: role("targets")?,
        snapshot: role("snapshot")?,
        timestamp: role("timestamp")?,
        target_path: arguments.target_path.as_ref().map(ToString::to_string),
    };
    let signers = change.keys.open(repository)?;
    let mut created = Repository::create(repository, &plan, &signers, now(&change.place))?;
    let root = repository.join("metadata").join("1.root.json");
    let text =
        format!("{}the root for your verifiers to pin will be {}\n", made.text, quoted(&root.display().to_string()));
    Report::new(text).published(&mut created, &signers, change)
}

fn said<T: Clone>(values: &[(String, T)], role: &str) -> Option<T> {
    values.iter().rev().find(|(of, _)| of == role).map(|(_, value)| value.clone())
}

/// The keys that were made, for roles that were given none.
struct Made {
    keys: Vec<(&'static str, PublicKeyFile)>,
    text: String,
}

impl Made {
    fn new(arguments: &Init) -> Result<Self, Failed> {
        let is_given = |role: &str| arguments.role_key.iter().any(|(of, _)| of == role);
        let missing: Vec<&'static str> = ROLES.into_iter().filter(|role| !is_given(role)).collect();
        let mut made = Self { keys: Vec::new(), text: String::new() };
        if missing.is_empty() {
            return Ok(made);
        }
        let [folder] = arguments.change.keys.keys.as_slice() else {
            let text = format!(
                "say with --keys DIR where the new keys of {} are to be, or give keys with --role-key",
                missing.join(", ")
            );
            return Err(PublishError::Usage(text).into());
        };
        must_be_outside(folder, &arguments.change.place.repository)?;
        create_key_folder(folder)?;
        let passphrase_file = arguments.change.keys.passphrase_file.as_deref();
        let passphrase = arguments.passphrase.then(|| new_passphrase(passphrase_file)).transpose()?;
        for role in missing {
            let key = made.key(&folder.join(format!("{role}.pem")), arguments, passphrase.as_ref())?;
            made.keys.push((role, key));
        }
        Ok(made)
    }

    /// One that an earlier attempt has made is used.
    fn key(&mut self, file: &Path, arguments: &Init, passphrase: Option<&Passphrase>) -> Result<PublicKeyFile, Failed> {
        let shown = quoted(&file.display().to_string()).to_string();
        if file.exists() {
            self.text.push_str(&format!("uses: {shown}, which is there already\n"));
            return keys::public(file, arguments.change.keys.passphrase_file.as_deref());
        }
        let key = keys::make(file, arguments.key_type, passphrase)?;
        self.text.push_str(&format!("made: {shown}, key id {}\n", key.id()));
        Ok(key)
    }

    fn keys(&self, role: &str, arguments: &Init) -> Result<Vec<PublicKeyFile>, Failed> {
        let passphrase_file = arguments.change.keys.passphrase_file.as_deref();
        let given = arguments.role_key.iter().filter(|(of, _)| of == role);
        let given = given.map(|(_, file)| keys::public(file, passphrase_file)).collect::<Result<Vec<_>, _>>()?;
        let made = self.keys.iter().filter(|(of, _)| *of == role).map(|(_, key)| key.clone());
        Ok(given.into_iter().chain(made).collect())
    }
}
