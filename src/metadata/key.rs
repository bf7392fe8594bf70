//! Public keys of role metadata, and the one question they answer: is this a signature over these bytes?
//!
//! A key of an unknown type or scheme, or whose value cannot be decoded, is useless and harms nothing: it verifies no signature. The
//! document that lists it stays valid, so that a repository can introduce a new kind of key before every client knows it.

use std::collections::BTreeMap;
use std::fmt;

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use spki::der::DecodePem;
use spki::{ObjectIdentifier, SubjectPublicKeyInfoOwned};

use super::json::{At, Error};
use crate::digest::hex_to_bytes;
use crate::text::escaped;

/// The name by which signatures and roles refer to a key: opaque, compared as text [TUF 4.2, KEYID].
///
/// It is not required to be a hash of the key. That two ids never stand for one key is seen to where signatures are counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// Takes any text.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as it stands in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&escaped(&self.0), f)
    }
}

/// An entry of a `keys` object: a usable public key, or one that this version cannot use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Option<PublicKey>);

/// A public key that can verify signatures. Two are equal if they are the same key, however each was written down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// Ed25519: 32 bytes. ECDSA: the uncompressed point. RSA: the DER of `RSAPublicKey`. Each has one form only.
    bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    RsaPssSha256,
}

impl Key {
    /// Reads a `KEY` object [TUF 4.2]: `keytype`, `scheme` and `keyval`, the latter's form given by the former two.
    pub(super) fn read(at: At<'_>) -> Result<Self, Error> {
        let keytype = at.field("keytype")?.string()?;
        let scheme = at.field("scheme")?.string()?;
        let keyval = at.field("keyval")?;
        // Other key types keep other things in `keyval`; only that it is an object is common to all.
        let public = keyval.optional("public")?.and_then(|public| public.string().ok());
        Ok(Self(public.and_then(|public| PublicKey::decode(keytype, scheme, public))))
    }

    /// The key, if this version can use it.
    #[must_use]
    pub fn usable(&self) -> Option<&PublicKey> {
        self.0.as_ref()
    }
}

/// A `keys` object, of a root or of delegations.
pub(super) fn read_keys(at: At<'_>) -> Result<BTreeMap<KeyId, Key>, Error> {
    at.fields()?.map(|(id, key)| Ok((KeyId::new(id), Key::read(key)?))).collect()
}

impl PublicKey {
    /// `None` for an unknown pair of key type and scheme, and for a value that is not a key of that type.
    fn decode(keytype: &str, scheme: &str, public: &str) -> Option<Self> {
        let algorithm = match (keytype, scheme) {
            ("ed25519", "ed25519") => Algorithm::Ed25519,
            // The second form of `keytype` is that of old public repositories.
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => Algorithm::EcdsaP256,
            ("ecdsa" | "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384") => Algorithm::EcdsaP384,
            ("rsa", "rsassa-pss-sha256") => Algorithm::RsaPssSha256,
            _ => return None,
        };
        let bytes = match algorithm {
            Algorithm::Ed25519 => hex_to_bytes(public)?,
            Algorithm::EcdsaP256 | Algorithm::EcdsaP384 => {
                hex_to_bytes(public).or_else(|| subject_public_key(public, algorithm))?
            }
            Algorithm::RsaPssSha256 => subject_public_key(public, algorithm)?,
        };
        let well_formed = match algorithm {
            Algorithm::Ed25519 => bytes.len() == 32,
            Algorithm::EcdsaP256 => bytes.len() == 65 && bytes.first() == Some(&4),
            Algorithm::EcdsaP384 => bytes.len() == 97 && bytes.first() == Some(&4),
            Algorithm::RsaPssSha256 => true,
        };
        well_formed.then_some(Self { algorithm, bytes })
    }

    /// Whether `signature` is this key's signature over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.algorithm {
            Algorithm::Ed25519 => &signature::ED25519,
            Algorithm::EcdsaP256 => &signature::ECDSA_P256_SHA256_ASN1,
            Algorithm::EcdsaP384 => &signature::ECDSA_P384_SHA384_ASN1,
            Algorithm::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

/// The key inside a PEM `SubjectPublicKeyInfo` [RFC 5280 4.1.2.7], if the structure says that it is one for `algorithm`.
fn subject_public_key(pem: &str, algorithm: Algorithm) -> Option<Vec<u8>> {
    const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
    const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

    let info = SubjectPublicKeyInfoOwned::from_pem(pem.trim()).ok()?;
    let curve =
        |expected| info.algorithm.parameters.as_ref()?.decode_as::<ObjectIdentifier>().ok().filter(|c| *c == expected);
    match algorithm {
        Algorithm::RsaPssSha256 if info.algorithm.oid == RSA => {}
        Algorithm::EcdsaP256 if info.algorithm.oid == EC => drop(curve(P256)?),
        Algorithm::EcdsaP384 if info.algorithm.oid == EC => drop(curve(P384)?),
        _ => return None,
    }
    Some(info.subject_public_key.as_bytes()?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::json;

    const ED25519: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    // One P-256 key, as a point and as PEM with its lines at 64 columns.
    const POINT: &str = "04cbc5cab2684160323c25cd06c3307178a6b1d1c9b949328453ae473c5ba7527e35b13f298b41633382241f3fd8526c262d43b45adee5c618fa0642c82b8a9803";
    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEy8XKsmhBYDI8Jc0GwzBxeKax0cm5\nSTKEU65HPFunUn41sT8pi0FjM4IkHz/YUmwmLUO0Wt7lxhj6BkLIK4qYAw==\n-----END PUBLIC KEY-----\n";

    // An RSA key of 2,048 bits.
    const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuFVi0MNGdwObJ/6OSo7c\nKFh+Jw05u3Anpe7W7m5qh2w0n1d5P+u9QaAbhwmKjsafGWb7b4YwI/dwCT5/8JoX\nAPN7d4EzQxLZyd07lTJez8L2pG6Wsb4EVRZqA2G40VTIhaumH6tYyRUMHpU2MjJx\n+gnTWCc+YAVjRrrQMhQ/Tq1fqo2SlQ0Anzgsz23SI2yHsiiIRk7b5+RIUEx86Kf8\nP2cKycuawxrMaWraq2Yc7rLETXzq2hDt93KTFyY3VECHR+TYgbcFfPO+PY4YkusB\n4198388CMzQKaXa1wqkuSc/u0E14ajrt08gQs0v+D5y2SatZoKyDAXKrqz6MIZAj\n5QIDAQAB\n-----END PUBLIC KEY-----\n";

    fn key(keytype: &str, scheme: &str, public: &str) -> Result<Key, Error> {
        let text = format!(r#"{{"keytype":"{keytype}","scheme":"{scheme}","keyval":{{"public":{public:?}}}}}"#);
        Key::read(At::document(&json::parse(text.as_bytes()).unwrap()))
    }

    #[test]
    fn a_key_that_cannot_be_used_is_useless_and_no_error() {
        let cases: &[(&str, &str, &str, &str, bool)] = &[
            ("ed25519", "ed25519", "ed25519", ED25519, true),
            ("upper-case hex", "ed25519", "ed25519", &ED25519.to_uppercase(), true),
            ("31 bytes", "ed25519", "ed25519", &ED25519[2..], false),
            ("not hex", "ed25519", "ed25519", "x", false),
            ("empty", "ed25519", "ed25519", "", false),
            ("unknown scheme", "ed25519", "ed448", ED25519, false),
            ("unknown type", "dilithium", "ed25519", ED25519, false),
            ("ecdsa PEM", "ecdsa", "ecdsa-sha2-nistp256", PEM, true),
            ("ecdsa PEM without the last newline", "ecdsa", "ecdsa-sha2-nistp256", PEM.trim(), true),
            ("ecdsa point", "ecdsa", "ecdsa-sha2-nistp256", POINT, true),
            ("old key type", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", POINT, true),
            ("key type of the other curve", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp256", POINT, false),
            ("PEM of the other curve", "ecdsa", "ecdsa-sha2-nistp384", PEM, false),
            ("point of the other curve", "ecdsa", "ecdsa-sha2-nistp384", POINT, false),
            ("cut PEM", "ecdsa", "ecdsa-sha2-nistp256", &PEM[..80], false),
            ("rsa PEM", "rsa", "rsassa-pss-sha256", RSA_PEM, true),
            // python-tuf can make it, TUF 4.2 does not have it.
            ("rsa PEM with the older padding", "rsa", "rsa-pkcs1v15-sha256", RSA_PEM, false),
            ("rsa PEM with another digest", "rsa", "rsassa-pss-sha512", RSA_PEM, false),
            ("an EC key under rsa", "rsa", "rsassa-pss-sha256", PEM, false),
            ("an RSA key under ecdsa", "ecdsa", "ecdsa-sha2-nistp256", RSA_PEM, false),
        ];
        for (name, keytype, scheme, public, usable) in cases {
            assert_eq!(key(keytype, scheme, public).unwrap().usable().is_some(), *usable, "{name}");
        }
    }

    #[test]
    fn one_key_written_in_two_ways_is_one_key() {
        assert_eq!(key("ecdsa", "ecdsa-sha2-nistp256", PEM), key("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", POINT));
        assert_eq!(key("ed25519", "ed25519", ED25519), key("ed25519", "ed25519", &ED25519.to_uppercase()));
    }

    #[test]
    fn a_key_object_has_its_three_fields() {
        for (text, path) in [
            (r#"{"scheme":"ed25519","keyval":{"public":""}}"#, "keytype"),
            (r#"{"keytype":"ed25519","keyval":{"public":""}}"#, "scheme"),
            (r#"{"keytype":"ed25519","scheme":"ed25519"}"#, "keyval"),
            (r#"{"keytype":"ed25519","scheme":"ed25519","keyval":"x"}"#, "keyval"),
            (r#"{"keytype":1,"scheme":"ed25519","keyval":{}}"#, "keytype"),
        ] {
            let value = json::parse(text.as_bytes()).unwrap();
            let error = Key::read(At::document(&value)).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{path}: ")), "{text}: {error}");
        }
        for text in [
            r#"{"keytype":"hsm","scheme":"x","keyval":{"slot":1}}"#,
            // A person, as tuf-on-ci lets them sign: not a key, but a certificate authority's word.
            r#"{"keytype":"sigstore-oidc","scheme":"Fulcio","keyval":{"identity":"a@example","issuer":"https://issuer.example"}}"#,
        ] {
            let value = json::parse(text.as_bytes()).unwrap();
            assert_eq!(Key::read(At::document(&value)).unwrap(), Key(None), "{text}");
        }
    }

    #[test]
    fn ed25519_signatures_verify() {
        // RFC 8032 7.1, test 1: the empty message.
        let key = key("ed25519", "ed25519", ED25519).unwrap();
        let signature = hex_to_bytes("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b").unwrap();
        let key = key.usable().unwrap();
        assert!(key.verifies(b"", &signature));
        assert!(!key.verifies(b"x", &signature));
        assert!(!key.verifies(b"", &[]));
        assert!(!key.verifies(b"", &signature[..63]));
    }
}
