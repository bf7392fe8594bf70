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

/// An entry of a `keys` object: a usable public key, or one that this version cannot use. Two are equal if what they verify with is.
#[derive(Debug, Clone)]
pub struct Key {
    public: Option<PublicKey>,
    keytype: String,
    scheme: String,
    owner: Option<String>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for Key {}

/// Where the owner of a key stands, in order: that of tuf-on-ci, and the plain word. Neither is of the specification.
const OWNER: [&str; 2] = ["x-tuf-on-ci-keyowner", "name"];

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
    pub(crate) fn read(at: At<'_>) -> Result<Self, Error> {
        let keytype = at.field("keytype")?.string()?;
        let scheme = at.field("scheme")?.string()?;
        let keyval = at.field("keyval")?;
        // Other key types keep other things in `keyval`; only that it is an object is common to all.
        let public = keyval.optional("public")?.and_then(|public| public.string().ok());
        let public = public.and_then(|public| PublicKey::decode(keytype, scheme, public));
        let mut owner = None;
        for field in OWNER {
            // It decides nothing, so whatever else it may be is no error.
            owner = owner.or(at.optional(field)?.and_then(|at| at.string().ok().map(str::to_owned)));
        }
        Ok(Self { public, keytype: keytype.to_owned(), scheme: scheme.to_owned(), owner })
    }

    /// The key, if this version can use it.
    #[must_use]
    pub fn usable(&self) -> Option<&PublicKey> {
        self.public.as_ref()
    }

    /// Its type, as it stands in metadata.
    #[must_use]
    pub fn keytype(&self) -> &str {
        &self.keytype
    }

    /// Its signature scheme, as it stands in metadata.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whose it is, says whoever signed the file that lists it (`x-tuf-on-ci-keyowner`, or else `name`). Nothing is decided by it.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
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

    // Made with OpenSSL 3.0: keys of the other kinds, and what each signed of MESSAGE.
    const P384_POINT: &str = "04cf23ebe0ac1aacdc37d8895313c6ec8f0ac25c3f2eadc116593df0eac3665cfcc5324d00319ccf7d8e4cf9e350f29d06c4bac792fe8be106aa1637601fe8ca989d4069ddbbee0f59f9ba13be7db894ca13931cef4ddceb8e76114d6c83a1a6b4";
    const P384_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEzyPr4KwarNw32IlTE8bsjwrCXD8urcEW\nWT3w6sNmXPzFMk0AMZzPfY5M+eNQ8p0GxLrHkv6L4QaqFjdgH+jKmJ1Aad277g9Z\n+boTvn24lMoTkxzvTdzrjnYRTWyDoaa0\n-----END PUBLIC KEY-----\n";
    const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA3fhPSULppi4Ko+NnwSxc\nNfuDQjtVQFeclnLvv0U0RZS/h11Amwyu6T+80EZBvkUiq7cfla6Tq5W/L+h+8q94\nTcY5HXvDxdIb91CNx+AYuztsf7a8mdDlnVnOTu3ZB/5+Lhk64WB+fAKt1iqPtjMm\nbysfFXitE8AJlD238q04ovZHxoRPoCBqzm45O59YOd7rNFyvXCuRDyWzFZ+1jpiv\n6IjfKHcKIYpXKaWGKfig6K+1qR5DoaVQyPJgn1d9X1/0jgOUKxD8857KEat06x7B\nzvM1NaYDpCzkzDY9ut7P2HF8/3WkHNfVawHqVAVrKX6yWvIWoE1j7NrSosdopHLQ\n7wIDAQAB\n-----END PUBLIC KEY-----\n";
    const MESSAGE: &[u8] = b"a message";
    const P384_SIGNATURE: &str = "3065023060f9c6014aae56b94ce6557a13930991bf53664a88607a14e4b039301dc16b75ba1fb9d70884404d796c0c46a1753914023100ebd94bde66275b09e571ebac95762961739747a4544a1c570bb476efa5a5868b5a136236bf807f390c1c5117e5b81b1f";
    /// With a salt of 32 bytes.
    const RSA_SIGNATURE: &str = "d0c5f039a73e48d7a05d4a8d546333bedc64655acf57b0d0a1bb92c5b7509f2f3b5c7138c358009ddc91479533261f8c2fe1dd856e86a8bc064f990c687b338e2e1d093415a3cbb5b7bfb61ae6209850d997dcda1959fc9727078410a59a854a2cc2bf9666d9988f60cca3ce6e95bca6d0531b5f0e9a0bdbd8b5699690a58fe6772e56e35b025b77deb8c6ad03fd32699d1ffb16dd71a267f141ae04b738a8e39067653b63047bd23c35344de06748f976990aa3d18f17004f8bde2aa10bba1b3f5e372cdfa3224dbf5be8d5c788a56a225c1db5c1702d120af253c42c2536efc09f495d44bfffba3af52d2881e4c96b89eecd5035fe80aebebb9501e1b4789f";
    /// By the same key, padded as PKCS #1 1.5 has it.
    const RSA_PKCS1_SIGNATURE: &str = "d7368399f47d8f19a5cb00171645cf7c7ffd0471b4557e4845b2957440882ea221496bb8f0ec701bf98f4ac147d979adad0643f427b491f2def2e867735ad12d73a1a7cf4c6b9da0237a4e26c6eab1288eba65c2ca789d0cc384b6d03353fdae48bef2cf1aac3ccfa27b490e68d23f889622508c64547359657ff048495b1e0821c443a232cc5f8766bb41c3cafe4d09c096728e944249264708a389ffb4571ea9b57872acc80636f76de455577c0e7c3840be6344cb1a41acfd39c8bff513d079c9358f98ec6807b81d5ada79fb6bfb94736adbc010a3fee9e0f7970e95f1b8901ee429c70f61b1a96c24c29db2b3b2d71942291ad7044be89c56d750faed00";
    /// Another P-256 key, and its signature of MESSAGE.
    const P256_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjqCmfFPW6UiDArmDE/XuQ5x5zrdy\nrpq76YFFfgBkfou11dHaEw/ZjC5RkCRLAmG3fJoHjHnxr8OopouE8G8yiQ==\n-----END PUBLIC KEY-----\n";
    const P256_SIGNATURE: &str = "30440220043742e0e027ee495463d6638036b3a3e69b0cbc433dbf7d8715cbe9151681940220158a8cc7472943feba776c3dd98e1aa6862eeace7ee9d546e8683d6357b101a2";

    /// A PEM key with the last digit of its algorithm's object identifier changed: a key of another kind on the same curve.
    fn of_another_algorithm(pem: &str) -> String {
        // 1.2.840.10045.2.1 is `2a 86 48 ce 3d 02 01`; of its base64 this is the end.
        let other = pem.replacen("zj0CAQ", "zj0CAg", 1);
        assert_ne!(other, pem);
        other
    }

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
            (
                "ecdsa point, its first byte that of a compressed one",
                "ecdsa",
                "ecdsa-sha2-nistp256",
                &POINT.replacen("04", "02", 1),
                false,
            ),
            ("ecdsa point without its last byte", "ecdsa", "ecdsa-sha2-nistp256", &POINT[..128], false),
            ("a compressed point", "ecdsa", "ecdsa-sha2-nistp256", &format!("02{}", &POINT[2..66]), false),
            ("P-384 PEM", "ecdsa", "ecdsa-sha2-nistp384", P384_PEM, true),
            ("P-384 point", "ecdsa", "ecdsa-sha2-nistp384", P384_POINT, true),
            ("P-384, old key type", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384", P384_PEM, true),
            ("P-384 PEM for the other curve", "ecdsa", "ecdsa-sha2-nistp256", P384_PEM, false),
            ("P-384 point for the other curve", "ecdsa", "ecdsa-sha2-nistp256", P384_POINT, false),
            (
                "P-384 point, its first byte that of a compressed one",
                "ecdsa",
                "ecdsa-sha2-nistp384",
                &P384_POINT.replacen("04", "02", 1),
                false,
            ),
            ("P-384 point without its last byte", "ecdsa", "ecdsa-sha2-nistp384", &P384_POINT[..192], false),
            ("rsa PEM", "rsa", "rsassa-pss-sha256", RSA_PEM, true),
            ("rsa PEM with another scheme", "rsa", "rsa-pkcs1v15-sha256", RSA_PEM, false),
            ("rsa in hex", "rsa", "rsassa-pss-sha256", POINT, false),
            ("an RSA key under ecdsa", "ecdsa", "ecdsa-sha2-nistp256", RSA_PEM, false),
            ("an RSA key under ecdsa of P-384", "ecdsa", "ecdsa-sha2-nistp384", RSA_PEM, false),
            ("a PEM of another algorithm", "ecdsa", "ecdsa-sha2-nistp256", &of_another_algorithm(PEM), false),
            (
                "a PEM of another algorithm on P-384",
                "ecdsa",
                "ecdsa-sha2-nistp384",
                &of_another_algorithm(P384_PEM),
                false,
            ),
        ];
        for (name, keytype, scheme, public, usable) in cases {
            assert_eq!(key(keytype, scheme, public).unwrap().usable().is_some(), *usable, "{name}");
        }
    }

    #[test]
    fn one_key_written_in_two_ways_is_one_key() {
        assert_eq!(key("ecdsa", "ecdsa-sha2-nistp256", PEM), key("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256", POINT));
        assert_eq!(key("ecdsa", "ecdsa-sha2-nistp384", P384_PEM), key("ecdsa", "ecdsa-sha2-nistp384", P384_POINT));
        assert_eq!(key("ed25519", "ed25519", ED25519), key("ed25519", "ed25519", &ED25519.to_uppercase()));
    }

    #[test]
    fn a_key_id_is_shown_on_one_line() {
        for (id, shown) in [("", ""), ("k1", "k1"), ("two\nlines", "two\\nlines")] {
            assert_eq!((KeyId::new(id).as_str(), KeyId::new(id).to_string().as_str()), (id, shown));
        }
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
            assert_eq!(Key::read(At::document(&value)).unwrap().usable(), None, "{text}");
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

    #[test]
    fn signatures_of_each_kind_verify_under_that_kind_alone() {
        let rows = [
            ("ecdsa", "ecdsa-sha2-nistp256", P256_PEM, P256_SIGNATURE),
            ("ecdsa", "ecdsa-sha2-nistp384", P384_PEM, P384_SIGNATURE),
            ("rsa", "rsassa-pss-sha256", RSA_PEM, RSA_SIGNATURE),
        ];
        let signatures = [P256_SIGNATURE, P384_SIGNATURE, RSA_SIGNATURE, RSA_PKCS1_SIGNATURE];
        for (keytype, scheme, public, own) in rows {
            let key = key(keytype, scheme, public).unwrap();
            let key = key.usable().unwrap();
            for signature in signatures {
                let bytes = hex_to_bytes(signature).unwrap();
                assert_eq!(key.verifies(MESSAGE, &bytes), signature == own, "{scheme}: {signature}");
                assert!(!key.verifies(b"another", &bytes), "{scheme}");
            }
        }
    }
}
