//! Repositories as `plimsoll::publish` writes them, with fixed keys and times: byte for byte the same each time.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use plimsoll::publish::{Delegation, NewTarget, Plan, PublicKeyFile, Renewal, Repository, RolePlan, Signers};
use tempfile::TempDir;
use tough::key_source::KeySource;
use tough::sign::{Sign, parse_keypair};

use super::repo::Signer;
use super::samples::{EXPIRES, FOLDER, ROOTS, SECURITY, SNAPSHOT, TARGETS, TEAM, TIMESTAMP};

/// When the samples are published.
const PUBLISHED: &str = "2026-01-01T00:00:00Z";

/// A repository, and the keys of those who publish it.
pub struct Published {
    folder: TempDir,
    signers: Vec<Signer>,
    now: DateTime<Utc>,
}

/// A key pair made from a number, as PKCS #8 [RFC 8410 7].
#[derive(Debug)]
struct Fixed(Signer);

#[async_trait]
impl KeySource for Fixed {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, Box<dyn std::error::Error + Send + Sync>> {
        const HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        Ok(Box::new(parse_keypair(&[HEAD.as_slice(), &[self.0.0; 32]].concat())?))
    }

    async fn write(&self, _: &str, _: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Err("it is made of a number".into())
    }
}

fn signers(keys: &[Signer]) -> Signers {
    let source = |key: &Signer| -> Box<dyn KeySource> { Box::new(Fixed(*key)) };
    Signers::open(&keys.iter().map(source).collect::<Vec<_>>()).unwrap()
}

fn public(keys: &[Signer]) -> Vec<PublicKeyFile> {
    signers(keys).public().cloned().collect()
}

fn role(keys: &[Signer], valid_for: TimeDelta) -> RolePlan {
    RolePlan { keys: public(keys), threshold: keys.len() as u64, valid_for: Some(valid_for) }
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

impl Published {
    /// Root by two keys, a team with two keys for everything below `registry.example/team/`, one signed image.
    pub fn vendor(manifest: &[u8]) -> Self {
        Self::of_vendor(manifest, PUBLISHED, EXPIRES)
    }

    /// The same, published at a time and with timestamps that are good until another.
    pub fn of_vendor(manifest: &[u8], now: &str, timestamp: &str) -> Self {
        let keys = [&ROOTS[..], &[TIMESTAMP, SNAPSHOT, TARGETS], &TEAM].concat();
        let mut published = Self::new(keys, [&ROOTS, &[TARGETS], &[SNAPSHOT], &[TIMESTAMP]], now, timestamp);
        published.delegate_to_team();
        published.sign_image("team", manifest);
        published
    }

    /// One key for each role, and what was approved.
    pub fn security(manifest: &[u8]) -> Self {
        let mut published = Self::of_security(&SECURITY);
        published.sign_image("targets", manifest);
        published
    }

    /// The same, but the vendor's team signs for the security team.
    pub fn borrowed(manifest: &[u8]) -> Self {
        let mut published = Self::of_security(&[&SECURITY[..], &TEAM].concat());
        published.delegate_to_team();
        published.sign_image("team", manifest);
        published
    }

    fn of_security(keys: &[Signer]) -> Self {
        let [root, timestamp, snapshot, targets] = SECURITY;
        Self::new(keys.to_vec(), [&[root], &[targets], &[snapshot], &[timestamp]], PUBLISHED, EXPIRES)
    }

    /// `roles` has the keys of root, targets, snapshot and timestamp; `timestamp` says when the timestamp expires.
    fn new(keys: Vec<Signer>, roles: [&[Signer]; 4], now: &str, timestamp: &str) -> Self {
        let published = Self { folder: tempfile::tempdir().unwrap(), signers: keys, now: at(now) };
        let [root, targets, snapshot] = [0, 1, 2].map(|i| role(roles[i], published.valid_for()));
        let timestamp = role(roles[3], at(timestamp) - published.now);
        let plan = Plan { root, targets, snapshot, timestamp, target_path: None };
        Repository::create(&published.site(), &plan, &signers(&published.signers), published.now).unwrap();
        published
    }

    fn valid_for(&self) -> TimeDelta {
        at(EXPIRES) - self.now
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn open(&self) -> (Repository, Signers) {
        (Repository::open(&self.site(), self.now).unwrap(), signers(&self.signers))
    }

    fn delegate_to_team(&mut self) {
        let (mut repository, signers) = self.open();
        let delegation = Delegation {
            role: "team".to_owned(),
            from: "targets".to_owned(),
            paths: vec!["registry.example/team/*/*/*".to_owned()],
            keys: public(&TEAM),
            threshold: 2,
            terminating: true,
            valid_for: Some(self.valid_for()),
        };
        repository.delegate(&delegation, &signers).unwrap();
    }

    /// Signs and publishes.
    pub fn sign_image(&mut self, role: &str, mut manifest: &[u8]) {
        let (mut repository, signers) = self.open();
        let target = NewTarget { path: format!("{FOLDER}/manifest.json"), content: &mut manifest };
        repository.add_targets(vec![target], Some(role), &signers).unwrap();
        let outcome = repository.publish(&signers, Renewal::None).unwrap();
        assert!(outcome.waiting.is_empty(), "{outcome:?}");
    }

    pub fn copy(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        assert!(Command::new("cp").arg("-r").arg(self.site()).arg(folder.path()).status().unwrap().success());
        Self { folder, signers: self.signers.clone(), now: self.now }
    }

    pub fn pinned(&self) -> Vec<u8> {
        fs::read(self.site().join("metadata/1.root.json")).unwrap()
    }

    /// What clients see: `metadata/...` and `targets/...`.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in ["metadata", "targets"] {
            collect(&self.site(), &self.site().join(folder), &mut files);
        }
        files
    }
}

fn collect(top: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(top, &path, files);
        } else {
            let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
            files.insert(name, fs::read(&path).unwrap());
        }
    }
}
