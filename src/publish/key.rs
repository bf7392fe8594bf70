//! The keys of those who sign: made, kept in files, read back.
//!
//! Rules:
//! - A private key leaves its file only into a signature. It is never printed and never put into a repository, and what was read of the file is
//!   wiped from memory.
//! - A key file is its owner's alone. One that others may read is refused, as ssh does.
//! - PEM: PKCS #8 [RFC 5958], under a passphrase if the owner likes (PBES2, RFC 8018), as OpenSSL writes and reads it; PKCS #1 for RSA.
//! - Where else a key may be: behind any [`KeySource`] of tough. A key file is one of these.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use pkcs8::der::pem::PemLabel;
use pkcs8::der::{DecodePem, EncodePem};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument};
use spki::SubjectPublicKeyInfoOwned;
use tough::key_source::KeySource;
use tough::schema::key::Key as ToughKey;
use tough::sign::{Sign, parse_keypair};
use zeroize::Zeroizing;

use crate::client::driver::Driver;
use crate::digest::bytes_to_hex;
use crate::metadata::json::{self, At};
use crate::metadata::key::{Key, KeyId, PublicKey};
use crate::text::quoted;

/// Far more than a key of any kind takes.
const KEY_FILE_MAX: u64 = 64 * 1024;

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file could not be read or written.
    #[error("cannot {action} the key file {}", quoted(.file))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        file: String,
        /// The cause.
        source: io::Error,
    },
    /// Others than the owner may read or write the private key.
    #[error("the private key {} may be read or changed by others (mode {mode:03o}); expected 600: chmod 600 it, or make a new one", quoted(.file))]
    Permissions {
        /// The file.
        file: String,
        /// The lower nine bits of its mode.
        mode: u32,
    },
    /// Not a key of a kind that can be used here.
    #[error("{} is no key that can be used: {why}", quoted(.file))]
    Unusable {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The passphrase is missing or wrong.
    #[error("the private key {} is under a passphrase: {why}", quoted(.file))]
    Passphrase {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// A source of keys, or a key in it, failed.
    #[error("the key source failed: {0}")]
    Source(String),
    /// Key and role do not go together: what was signed does not verify.
    #[error("what the key {0} signed does not verify with its own public key")]
    BadSignature(KeyId),
}

/// The kinds of keys that can be made and used. All of them are in the TUF specification, and read by every client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyType {
    /// Ed25519: small, fast, the same signature each time.
    Ed25519,
    /// ECDSA on P-256 with SHA-256: what most key services offer.
    Ecdsa,
    /// RSA of 3,072 bits, PSS with SHA-256.
    Rsa,
}

/// The secret that a key file is encrypted with. Its bytes are wiped when it is dropped, and no `Debug` shows them.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes the bytes as they are.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Asks for the passphrase of the key file at a path; only called for a file that is encrypted.
pub type AskPassphrase = dyn Fn(&Path) -> Result<Passphrase, String> + Send + Sync;

/// A private key in a file, as a source of keys for tough and for this library.
#[derive(Clone)]
pub struct KeyFile {
    path: PathBuf,
    ask: Arc<AskPassphrase>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl KeyFile {
    /// The file at `path`, which is not read before its key is wanted. One that is encrypted is refused unless
    /// [`with_passphrase`](Self::with_passphrase) says where its passphrase comes from.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), ask: Arc::new(|_| Err("there is none at hand".to_owned())) }
    }

    /// Asks `ask` for the passphrase, should the file be encrypted.
    #[must_use]
    pub fn with_passphrase(self, ask: Arc<AskPassphrase>) -> Self {
        Self { ask, ..self }
    }

    /// Makes a key and writes it to a new file that only its owner can read; encrypted if there is a passphrase.
    ///
    /// Returns the public half.
    ///
    /// # Errors
    ///
    /// [`KeyError::Io`]; a file that is there already is never replaced.
    pub fn generate(path: &Path, kind: KeyType, passphrase: Option<&Passphrase>) -> Result<PublicKeyFile, KeyError> {
        let shown = path.display().to_string();
        let failed = |why: &str| KeyError::Unusable { file: shown.clone(), why: why.to_owned() };
        let der = new_key(kind).ok_or_else(|| failed("the system gave no randomness"))?;
        let (label, document) = match passphrase {
            None => (
                PrivateKeyInfoRef::PEM_LABEL,
                SecretDocument::try_from(der.as_slice()).map_err(|_| failed("it was not encoded"))?,
            ),
            Some(passphrase) => {
                let info = PrivateKeyInfoRef::try_from(der.as_slice()).map_err(|_| failed("it was not encoded"))?;
                let encrypted = info.encrypt(&passphrase.0).map_err(|_| failed("it was not encrypted"))?;
                (EncryptedPrivateKeyInfoRef::PEM_LABEL, encrypted)
            }
        };
        let pem = document.to_pem(label, LineEnding::LF).map_err(|_| failed("it was not encoded"))?;
        // What is given out is read back from what was encoded, so that it is known to be readable.
        let public = PublicKeyFile::of(&signer_of(&der, &shown)?.tuf_key())?;
        write_new(path, pem.as_bytes(), true)?;
        Ok(public)
    }

    fn read(&self) -> Result<Box<dyn Sign>, KeyError> {
        let shown = self.path.display().to_string();
        let pem = read_private(&self.path)?;
        let unusable = |why: &str| KeyError::Unusable { file: shown.clone(), why: why.to_owned() };
        let text = std::str::from_utf8(&pem).map_err(|_| unusable("it is not PEM"))?.trim();
        let (label, document) = SecretDocument::from_pem(text).map_err(|_| unusable("it is not PEM"))?;
        match label {
            PrivateKeyInfoRef::PEM_LABEL => signer_of(document.as_bytes(), &shown),
            EncryptedPrivateKeyInfoRef::PEM_LABEL => {
                let passphrase = |why: String| KeyError::Passphrase { file: shown.clone(), why };
                let secret = (self.ask)(&self.path).map_err(passphrase)?;
                let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes())
                    .map_err(|_| unusable("its encryption is of no known kind"))?;
                let der = info.decrypt(&secret.0).map_err(|_| {
                    passphrase(
                        "it is not the right one, or the encryption is none that is supported (PBES2)".to_owned(),
                    )
                })?;
                signer_of(der.as_bytes(), &shown)
            }
            "RSA PRIVATE KEY" => parse_keypair(text.as_bytes())
                .map(|pair| -> Box<dyn Sign> { Box::new(pair) })
                .map_err(|_| unusable("it is no RSA key that can sign")),
            label => Err(unusable(&format!(
                "its PEM label is {}, expected \"PRIVATE KEY\" (openssl pkcs8 -topk8 -nocrypt makes that of others)",
                quoted(label)
            ))),
        }
    }
}

#[async_trait]
impl KeySource for KeyFile {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(self.read()?)
    }

    async fn write(
        &self,
        value: &str,
        _key_id_hex: &str,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(write_new(&self.path, value.as_bytes(), true)?)
    }
}

fn new_key(kind: KeyType) -> Option<Zeroizing<Vec<u8>>> {
    // PKCS #8 version 1 for all: it is what every other program reads.
    let der = match kind {
        KeyType::Ed25519 => Ed25519KeyPair::generate().ok()?.to_pkcs8v1().ok()?.as_ref().to_vec(),
        KeyType::Ecdsa => {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).ok()?;
            pair.to_pkcs8v1().ok()?.as_ref().to_vec()
        }
        KeyType::Rsa => {
            let pair = RsaKeyPair::generate(KeySize::Rsa3072).ok()?;
            AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).ok()?.as_ref().to_vec()
        }
    };
    Some(Zeroizing::new(der))
}

/// The key in unencrypted PKCS #8.
fn signer_of(der: &[u8], file: &str) -> Result<Box<dyn Sign>, KeyError> {
    // tough takes RSA in PEM alone, the others in DER alone.
    if let Ok(pair) = parse_keypair(der) {
        return Ok(Box::new(pair));
    }
    let unusable = || KeyError::Unusable {
        file: file.to_owned(),
        why: "expected an Ed25519, an ECDSA P-256 or an RSA key of at least 2048 bits in PKCS #8".to_owned(),
    };
    let document = SecretDocument::try_from(der).map_err(|_| unusable())?;
    let pem = document.to_pem(PrivateKeyInfoRef::PEM_LABEL, LineEnding::LF).map_err(|_| unusable())?;
    parse_keypair(pem.as_bytes()).map(|pair| -> Box<dyn Sign> { Box::new(pair) }).map_err(|_| unusable())
}

/// A public key as metadata lists it.
#[derive(Debug, Clone)]
pub struct PublicKeyFile {
    id: KeyId,
    entry: serde_json::Value,
    key: PublicKey,
}

impl PublicKeyFile {
    /// Reads a public key (PEM, `SubjectPublicKeyInfo`), or the public half of a private one.
    ///
    /// # Errors
    ///
    /// [`KeyError`], if the file cannot be read or is no key that can be used. A private key is held to the rules for these.
    pub fn read(path: &Path, ask: &Arc<AskPassphrase>) -> Result<Self, KeyError> {
        let shown = path.display().to_string();
        let bytes = read_bounded(open(path)?, path)?;
        let text = String::from_utf8_lossy(&bytes);
        if text.contains("PRIVATE KEY-----") {
            return Self::of(&KeyFile::new(path).with_passphrase(Arc::clone(ask)).read()?.tuf_key());
        }
        Self::from_pem(&text)
            .ok_or_else(|| KeyError::Unusable {
                file: shown,
                why: "expected PEM with a public key: Ed25519, ECDSA P-256 or RSA".to_owned(),
            })
            .and_then(|key| Self::of(&key))
    }

    fn from_pem(text: &str) -> Option<ToughKey> {
        const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
        const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
        const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
        let info = SubjectPublicKeyInfoOwned::from_pem(text.trim()).ok()?;
        let pem = info.to_pem(LineEnding::LF).ok()?;
        let entry = match info.algorithm.oid {
            ED25519 => {
                let public = bytes_to_hex(info.subject_public_key.as_bytes()?);
                serde_json::json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}})
            }
            EC => serde_json::json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": {"public": pem}}),
            RSA => serde_json::json!({"keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": {"public": pem}}),
            _ => return None,
        };
        // tough's own spelling, so that one key has one id, from whichever half it was read.
        serde_json::from_value(entry).ok()
    }

    pub(super) fn of(key: &ToughKey) -> Result<Self, KeyError> {
        let unusable = || KeyError::Source("it has a public key of a kind that plimsoll does not verify".to_owned());
        let id = KeyId::new(bytes_to_hex(key.key_id().map_err(|_| unusable())?.as_ref()));
        let entry = serde_json::to_value(key).map_err(|_| unusable())?;
        let text = serde_json::to_vec(&entry).map_err(|_| unusable())?;
        let value = json::parse(&text).map_err(|_| unusable())?;
        let key = Key::read(At::document(&value)).map_err(|_| unusable())?;
        let key = key.usable().cloned().ok_or_else(unusable)?;
        Ok(Self { id, entry, key })
    }

    /// Writes the key as PEM to a new file that everybody may read.
    ///
    /// # Errors
    ///
    /// [`KeyError::Io`]; a file that is there already is never replaced.
    pub fn write(&self, path: &Path) -> Result<(), KeyError> {
        write_new(path, self.to_pem().as_bytes(), false)
    }

    /// The key as PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let public = self.entry.pointer("/keyval/public").and_then(|public| public.as_str()).unwrap_or_default();
        if public.starts_with("-----BEGIN") {
            return format!("{}\n", public.trim());
        }
        ed25519_pem(public).unwrap_or_default()
    }

    /// The id under which other TUF programs list the key too: the SHA-256 of its entry in canonical form.
    #[must_use]
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// `ed25519`, `ecdsa` or `rsa`.
    #[must_use]
    pub fn key_type(&self) -> &str {
        self.entry.get("keytype").and_then(|kind| kind.as_str()).unwrap_or_default()
    }

    /// The entry of a `keys` object [TUF 4.2].
    pub(super) fn entry(&self) -> &serde_json::Value {
        &self.entry
    }

    pub(super) fn key(&self) -> &PublicKey {
        &self.key
    }
}

/// The `SubjectPublicKeyInfo` of an Ed25519 key [RFC 8410 4].
fn ed25519_pem(hex: &str) -> Option<String> {
    const HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der = [HEAD.as_slice(), &crate::digest::hex_to_bytes(hex)?].concat();
    pkcs8::der::pem::encode_string("PUBLIC KEY", LineEnding::LF, &der).ok()
}

/// Keys at hand, each of which can sign.
pub struct Signers {
    signers: Vec<Signer>,
    driver: Driver,
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.signers.iter().map(|signer| &signer.public.id)).finish()
    }
}

struct Signer {
    sign: Box<dyn Sign>,
    public: PublicKeyFile,
}

impl Signers {
    /// Opens each source, which may ask for a passphrase, a PIN or a touch.
    ///
    /// # Errors
    ///
    /// [`KeyError`] for the first source that gives no key.
    pub fn open(sources: &[Box<dyn KeySource>]) -> Result<Self, KeyError> {
        let driver = Driver::new().map_err(|e| KeyError::Source(e.to_string()))?;
        let mut signers: Vec<Signer> = Vec::new();
        for source in sources {
            let sign = driver.run(source.as_sign()).map_err(|e| KeyError::Source(e.to_string()))?;
            let sign = sign.map_err(|e| match e.downcast::<KeyError>() {
                Ok(error) => *error,
                Err(error) => KeyError::Source(error.to_string()),
            })?;
            let public = PublicKeyFile::of(&sign.tuf_key())?;
            // Whatever way it is given twice: one key signs once.
            if signers.iter().all(|other| other.public.key != public.key) {
                signers.push(Signer { sign, public });
            }
        }
        Ok(Self { signers, driver })
    }

    /// The public halves.
    pub fn public(&self) -> impl Iterator<Item = &PublicKeyFile> {
        self.signers.iter().map(|signer| &signer.public)
    }

    /// Whether `key` is at hand.
    pub(super) fn has(&self, key: &PublicKey) -> bool {
        self.signers.iter().any(|signer| signer.public.key == *key)
    }

    /// The signature of `key`, if that is at hand, in hex.
    pub(super) fn sign(&self, key: &PublicKey, message: &[u8]) -> Result<Option<String>, KeyError> {
        let Some(signer) = self.signers.iter().find(|signer| signer.public.key == *key) else { return Ok(None) };
        let rng = SystemRandom::new();
        let signature = self
            .driver
            .run(signer.sign.sign(message, &rng))
            .map_err(|e| KeyError::Source(e.to_string()))?
            .map_err(|e| KeyError::Source(e.to_string()))?;
        // A token or a service may sign something else, with another key or in another form.
        if !key.verifies(message, &signature) {
            return Err(KeyError::BadSignature(signer.public.id.clone()));
        }
        Ok(Some(bytes_to_hex(&signature)))
    }
}

/// Every file that ends in `.pem` in a folder, those of public keys (`.pub.pem`) left out, by name.
///
/// # Errors
///
/// [`KeyError::Io`] if the folder cannot be read.
pub fn key_files(folder: &Path) -> Result<Vec<PathBuf>, KeyError> {
    let failed = |source| io_failed("list", folder, source);
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".pem") && !name.ends_with(".pub.pem") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Makes a folder for keys that only its owner can enter, unless it is there.
///
/// # Errors
///
/// [`KeyError::Io`].
pub fn create_key_folder(folder: &Path) -> Result<(), KeyError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|source| io_failed("create", folder, source))
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let file = open(path)?;
    #[cfg(unix)]
    {
        // Of what was opened: a name can lead elsewhere a moment later.
        let found = file.metadata().map_err(|source| io_failed("read", path, source))?;
        let mode = std::os::unix::fs::MetadataExt::mode(&found) & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Permissions { file: path.display().to_string(), mode });
        }
    }
    read_bounded(file, path)
}

/// Looked at before it is opened: opening a FIFO would wait for ever.
fn open(path: &Path) -> Result<File, KeyError> {
    let failed = |source| io_failed("read", path, source);
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    File::open(path).map_err(failed)
}

fn read_bounded(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    // All at once, so that no part of it is left behind where a growing buffer was.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(KEY_FILE_MAX).unwrap_or(1 << 16)));
    file.take(KEY_FILE_MAX).read_to_end(&mut bytes).map_err(|source| io_failed("read", path, source))?;
    Ok(bytes)
}

fn write_new(path: &Path, bytes: &[u8], private: bool) -> Result<(), KeyError> {
    let failed = |source| io_failed("write", path, source);
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if private { 0o600 } else { 0o644 });
    #[cfg(not(unix))]
    let _the_folder_decides = private;
    let mut file = options.open(path).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key is none, and would be in the way of the next attempt.
        let _the_cause_is_what_matters = fs::remove_file(path);
    }
    written.map_err(failed)
}

fn io_failed(action: &'static str, path: &Path, source: io::Error) -> KeyError {
    KeyError::Io { action, file: path.display().to_string(), source }
}
