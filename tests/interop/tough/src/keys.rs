//! Key files in the forms that tough reads, made when they are first asked for.

use std::fs;
use std::path::Path;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use pem::Pem;
use tough::key_source::{KeySource, LocalKeySource};

use crate::Error;

/// A kind of key that tough can sign with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `ed25519`.
    Ed25519,
    /// `ecdsa-sha2-nistp256`.
    Ecdsa,
    /// `rsassa-pss-sha256`, 2048 bits.
    Rsa,
}

impl Kind {
    pub(crate) const ALL: &'static [Self] = &[Self::Ed25519, Self::Ecdsa, Self::Rsa];

    fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }

    /// A new private key: PKCS #8, as DER for elliptic curves and as PEM for RSA.
    fn generate(self) -> Result<Vec<u8>, Error> {
        let rng = SystemRandom::new();
        Ok(match self {
            Self::Ed25519 => Ed25519KeyPair::generate_pkcs8(&rng)?.as_ref().to_vec(),
            Self::Ecdsa => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &rng)?.as_ref().to_vec(),
            Self::Rsa => {
                let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&rsa::KeyPair::generate(KeySize::Rsa2048)?)?;
                pem::encode(&Pem::new("PRIVATE KEY", der.as_ref())).into_bytes()
            }
        })
    }
}

/// A role's keys, one of each kind: the files that are in `folder`, or new ones.
pub(crate) fn key_files(folder: &Path, role: &str, kinds: &[Kind]) -> Result<Vec<Box<dyn KeySource>>, Error> {
    fs::create_dir_all(folder)?;
    let mut sources: Vec<Box<dyn KeySource>> = Vec::new();
    for kind in kinds {
        let path = folder.join(format!("{role}-{}", kind.name()));
        if !path.exists() {
            fs::write(&path, kind.generate()?)?;
        }
        sources.push(Box::new(LocalKeySource { path }));
    }
    Ok(sources)
}
