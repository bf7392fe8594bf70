//! The keys at hand, and their passphrases.

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use plimsoll::publish::{AskPassphrase, KeyFile, KeyType, Passphrase, PublicKeyFile, PublishError, Signers, key_files};
use plimsoll::text::quoted;
use tough::key_source::KeySource;

use crate::publish::args::{Generate, KeyKind, Keys, Show};
use crate::publish::{Failed, print};

/// The variable that may hold the passphrase of the keys.
const VARIABLE: &str = "PLIMSOLL_PASSPHRASE";
/// Nobody types more.
const PASSPHRASE_MAX: u64 = 4096;

impl Keys {
    /// All keys at hand, but for what is not needed: no key is read twice.
    pub(crate) fn open(&self, repository: &Path) -> Result<Signers, Failed> {
        let mut files = self.key.clone();
        for folder in &self.keys {
            files.extend(key_files(folder)?);
        }
        for file in &files {
            must_be_outside(file, repository)?;
        }
        let ask = ask(self.passphrase_file.as_deref());
        let source =
            |file: PathBuf| -> Box<dyn KeySource> { Box::new(KeyFile::new(file).with_passphrase(Arc::clone(&ask))) };
        let sources: Vec<Box<dyn KeySource>> = files.into_iter().map(source).collect();
        Ok(Signers::open(&sources)?)
    }
}

/// A key, public or private, of whoever is to sign from now on.
pub(super) fn public(file: &Path, passphrase_file: Option<&Path>) -> Result<PublicKeyFile, Failed> {
    Ok(PublicKeyFile::read(file, &ask(passphrase_file))?)
}

/// `plimsoll key generate`.
pub(super) fn generate(arguments: &Generate) -> Result<(), Failed> {
    let passphrase = arguments.passphrase.then(|| new_passphrase(arguments.passphrase_file.as_deref())).transpose()?;
    let public = make(&arguments.file, arguments.key_type, passphrase.as_ref())?;
    print(&format!(
        "made: {} (keep it to yourself)\nmade: {} (for those who let you sign)\nkey id: {}\n",
        quoted(&arguments.file.display().to_string()),
        quoted(&public_name(&arguments.file).display().to_string()),
        public.id()
    ))
}

/// `plimsoll key show`.
pub(super) fn show(arguments: &Show) -> Result<(), Failed> {
    let key = public(&arguments.file, arguments.passphrase_file.as_deref())?;
    print(&format!("key id: {}\nkind: {}\n{}", key.id(), key.key_type(), key.to_pem()))
}

/// Makes a key and its public half beside it.
pub(super) fn make(file: &Path, kind: KeyKind, passphrase: Option<&Passphrase>) -> Result<PublicKeyFile, Failed> {
    if file.extension().is_none_or(|extension| extension != "pem") {
        let text = format!("the name of a key file ends in .pem, found {}", quoted(&file.display().to_string()));
        return Err(PublishError::Usage(text).into());
    }
    // Before there is a private key without its public half.
    let public = public_name(file);
    if public.exists() {
        let text = format!("{} is there already; no key was made", quoted(&public.display().to_string()));
        return Err(PublishError::Usage(text).into());
    }
    let kind = match kind {
        KeyKind::Ed25519 => KeyType::Ed25519,
        KeyKind::Ecdsa => KeyType::Ecdsa,
        KeyKind::Rsa => KeyType::Rsa,
    };
    let key = KeyFile::generate(file, kind, passphrase)?;
    key.write(&public)?;
    Ok(key)
}

/// `team.pub.pem` for `team.pem`.
pub(super) fn public_name(file: &Path) -> PathBuf {
    file.with_extension("pub.pem")
}

/// A repository is copied to servers and sticks, and whatever is in it goes along.
pub(super) fn must_be_outside(file: &Path, repository: &Path) -> Result<(), Failed> {
    match (resolved(file), resolved(repository)) {
        (Some(place), Some(repository)) if place.starts_with(&repository) => {
            let text = format!(
                "the private key {} is in the repository, which is for everybody; move it elsewhere",
                quoted(&file.display().to_string())
            );
            Err(PublishError::Usage(text).into())
        }
        _ => Ok(()),
    }
}

/// Where a path leads, or will lead once it is there: neither keys nor repository need be yet.
fn resolved(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|there| Some(there.canonicalize().ok()?.join(path.strip_prefix(there).ok()?)))
}

/// Where passphrases come from: the file, the variable, the terminal.
fn ask(file: Option<&Path>) -> Arc<AskPassphrase> {
    let file = file.map(Path::to_path_buf);
    Arc::new(move |key: &Path| {
        if let Some(passphrase) = given(file.as_deref())? {
            return Ok(passphrase);
        }
        if !io::stdin().is_terminal() {
            return Err(format!("say what it is with --passphrase-file or the variable {VARIABLE}"));
        }
        prompt(&format!("Passphrase of {}: ", quoted(&key.display().to_string())))
    })
}

/// The passphrase of keys that are being made.
pub(super) fn new_passphrase(file: Option<&Path>) -> Result<Passphrase, Failed> {
    let usage = |text: String| Failed::from(PublishError::Usage(text));
    if let Some(passphrase) = given(file).map_err(usage)? {
        return Ok(passphrase);
    }
    if !io::stdin().is_terminal() {
        return Err(usage(format!("no passphrase is at hand; --passphrase-file or the variable {VARIABLE} says it")));
    }
    let first = rpassword::prompt_password("New passphrase: ").map_err(|e| usage(e.to_string()))?;
    let second = rpassword::prompt_password("Once more: ").map_err(|e| usage(e.to_string()))?;
    if first != second || first.is_empty() {
        return Err(usage("the two are not the same, or empty; no key was made".to_owned()));
    }
    Ok(Passphrase::new(first.into_bytes()))
}

fn prompt(text: &str) -> Result<Passphrase, String> {
    let typed = rpassword::prompt_password(text).map_err(|e| e.to_string())?;
    Ok(Passphrase::new(typed.into_bytes()))
}

fn given(file: Option<&Path>) -> Result<Option<Passphrase>, String> {
    let Some(file) = file else {
        // One that is empty protects nothing.
        let value = env::var_os(VARIABLE).filter(|value| !value.is_empty());
        return Ok(value.map(|value| Passphrase::new(value.into_encoded_bytes())));
    };
    let failed = |e: io::Error| format!("cannot read {}: {e}", quoted(&file.display().to_string()));
    if !fs::metadata(file).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    let mut line = Vec::new();
    let reader = File::open(file).map_err(failed)?;
    BufReader::new(reader.take(PASSPHRASE_MAX)).read_until(b'\n', &mut line).map_err(failed)?;
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    if line.is_empty() {
        Err(failed(io::Error::other("its first line is empty")))
    } else {
        Ok(Some(Passphrase::new(line)))
    }
}
