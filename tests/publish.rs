//! Repositories written by this library: what its own client, and tough's, make of them, and where else a key may be than in a file.
//!
//! From the command to the verdict, this is tested in `cli/tests/publish.rs`; with python-tuf, in `cli/tests/end_to_end/publish.rs`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]

#[allow(dead_code, unreachable_pub, reason = "its `main` is for the command")]
#[path = "../examples/publish.rs"]
mod example;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use plimsoll::client::{Client, DirSource, Store, ToughSource};
use plimsoll::publish::{
    Delegation, KeyFile, KeyType, Missing, NewTarget, Plan, PublicKeyFile, Renewal, Repository, RolePlan, Rotation,
    Signers,
};
use tough::key_source::KeySource;
use tough::schema::key::Key;
use tough::sign::Sign;
use tough::{FilesystemTransport, IntoVec, RepositoryLoader, TargetName};
use url::Url;

fn now() -> DateTime<Utc> {
    // tough's client looks at the clock itself.
    Utc::now()
}

/// A folder with a key for each role in `keys`.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("keys")).unwrap();
        Self { folder }
    }

    fn site(&self) -> PathBuf {
        self.folder.path().join("site")
    }

    fn key(&self, name: &str, kind: KeyType) -> PublicKeyFile {
        KeyFile::generate(&self.key_path(name), kind, None).unwrap()
    }

    fn key_path(&self, name: &str) -> PathBuf {
        self.folder.path().join("keys").join(format!("{name}.pem"))
    }

    fn signers(&self, names: &[&str]) -> Signers {
        let source = |name: &&str| -> Box<dyn KeySource> { Box::new(KeyFile::new(self.key_path(name))) };
        Signers::open(&names.iter().map(source).collect::<Vec<_>>()).unwrap()
    }

    /// A published repository with keys of every kind.
    fn repository(&self) -> (Repository, Signers) {
        let role = |name, kind| RolePlan { keys: vec![self.key(name, kind)], threshold: 1, valid_for: None };
        let plan = Plan {
            root: role("root", KeyType::Rsa),
            targets: role("targets", KeyType::Ecdsa),
            snapshot: role("snapshot", KeyType::Ed25519),
            timestamp: role("timestamp", KeyType::Ed25519),
            target_path: None,
        };
        let signers = self.signers(&["root", "targets", "snapshot", "timestamp"]);
        let mut repository = Repository::create(&self.site(), &plan, &signers, now()).unwrap();
        assert!(repository.publish(&signers, Renewal::None).unwrap().waiting.is_empty());
        (repository, signers)
    }
}

fn add(repository: &mut Repository, path: &str, mut content: &[u8], signers: &Signers) {
    let target = NewTarget { path: path.to_owned(), content: &mut content };
    repository.add_targets(vec![target], None, signers).unwrap();
    assert!(repository.publish(signers, Renewal::None).unwrap().waiting.is_empty());
}

/// What our client finds at a target path, starting from the first root.
fn found(site: &Path, path: &str) -> Option<Vec<u8>> {
    let root = fs::read(site.join("metadata/1.root.json")).unwrap();
    let client = Client::new(root, DirSource::repository(site).unwrap(), Store::in_memory());
    let mut session = client.refresh().unwrap();
    let found = session.find(path).unwrap().ok()?;
    Some(session.fetch(&found).unwrap())
}

/// What tough's client reads there.
async fn read_by_tough(site: &Path, path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let root = fs::read(site.join("metadata/1.root.json"))?;
    let url = |folder: &str| Url::from_directory_path(site.join(folder)).unwrap();
    let loader = RepositoryLoader::new(&root, url("metadata"), url("targets")).transport(FilesystemTransport);
    let repository = loader.load().await?;
    let stream = repository.read_target(&TargetName::new(path)?).await?.ok_or("no such target")?;
    Ok(stream.into_vec().await?)
}

#[test]
fn tough_reads_what_is_written_here_as_far_as_it_reads_the_layout() {
    let desk = Desk::new();
    let (mut repository, signers) = desk.repository();
    add(&mut repository, "notes.txt", b"for everybody", &signers);
    // A delegation, a rotation and a renewal besides.
    let team = desk.key("team", KeyType::Ed25519);
    let with_team = desk.signers(&["root", "targets", "snapshot", "timestamp", "team"]);
    let delegation = Delegation {
        role: "team".to_owned(),
        from: "targets".to_owned(),
        paths: vec!["team-*".to_owned()],
        keys: vec![team],
        threshold: 1,
        terminating: true,
        valid_for: None,
    };
    repository.delegate(&delegation, &with_team).unwrap();
    add(&mut repository, "other.txt", b"more", &signers);
    let path = "team-1.txt".to_owned();
    let target = NewTarget { path, content: &mut b"by the team".as_slice() };
    repository.add_targets(vec![target], Some("team"), &with_team).unwrap();
    let rotation = Rotation { add: vec![desk.key("timestamp-2", KeyType::Ecdsa)], ..Rotation::default() };
    repository.rotate("timestamp", &rotation, &with_team).unwrap();
    let outcome = repository.publish(&with_team, Renewal::None).unwrap();
    assert!(outcome.waiting.is_empty(), "{outcome:?}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let files: [(&str, &[u8]); 3] =
        [("notes.txt", b"for everybody"), ("other.txt", b"more"), ("team-1.txt", b"by the team")];
    for (path, content) in files {
        assert_eq!(runtime.block_on(read_by_tough(&desk.site(), path)).unwrap(), content, "{path}");
        assert_eq!(found(&desk.site(), path).unwrap(), content, "{path}");
    }
    // The metadata is read whatever the paths are; the file of one in a folder tough looks for elsewhere.
    add(&mut repository, "registry.example/app/1/manifest.json", b"in a folder", &signers);
    assert_eq!(found(&desk.site(), "registry.example/app/1/manifest.json").unwrap(), b"in a folder");
    assert_eq!(runtime.block_on(read_by_tough(&desk.site(), "notes.txt")).unwrap(), b"for everybody");
    assert!(runtime.block_on(read_by_tough(&desk.site(), "registry.example/app/1/manifest.json")).is_err());
}

#[test]
fn the_example_signs_an_archive() {
    let desk = Desk::new();
    drop(desk.repository());
    let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos/good/app.tar");
    let image = "registry.example/team/app:1.4".parse().unwrap();
    let keys = ["targets", "snapshot", "timestamp"].map(|name| desk.key_path(name).display().to_string());
    let outcome = example::sign(&desk.site(), &archive, &image, &keys).unwrap();
    assert!(!outcome.published.is_empty() && outcome.waiting.is_empty(), "{outcome:?}");
    let root = fs::read(desk.site().join("metadata/1.root.json")).unwrap();
    let client = Client::new(root, DirSource::repository(&desk.site()).unwrap(), Store::in_memory());
    let verdict = plimsoll::verify::Verifier::new(client).with_image(image).verify(&archive);
    assert!(verdict.is_trusted(), "{verdict}");
}

#[test]
fn tough_as_a_source_brings_what_was_published() {
    let desk = Desk::new();
    let (mut repository, signers) = desk.repository();
    add(&mut repository, "registry.example/app/1/manifest.json", b"in a folder", &signers);
    let source = ToughSource::repository(FilesystemTransport, &format!("file://{}", desk.site().display())).unwrap();
    let root = fs::read(desk.site().join("metadata/1.root.json")).unwrap();
    let client = Client::new(root, source, Store::in_memory());
    assert_eq!(client.refresh().unwrap().trusted().targets().version(), 2);
}

/// A key that is not in a file: its private half never leaves whatever it is in.
#[derive(Debug)]
struct Token {
    file: KeyFile,
    /// It signs this instead of what it is given.
    lies: Option<Vec<u8>>,
}

struct InToken {
    inner: Box<dyn Sign>,
    lies: Option<Vec<u8>>,
}

#[async_trait]
impl KeySource for Token {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, Box<dyn Error + Send + Sync>> {
        Ok(Box::new(InToken { inner: self.file.as_sign().await?, lies: self.lies.clone() }))
    }

    async fn write(&self, _: &str, _: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
        Err("a token makes its keys itself".into())
    }
}

#[async_trait]
impl Sign for InToken {
    fn tuf_key(&self) -> Key {
        self.inner.tuf_key()
    }

    async fn sign(
        &self,
        message: &[u8],
        rng: &(dyn aws_lc_rs::rand::SecureRandom + Sync),
    ) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        self.inner.sign(self.lies.as_deref().unwrap_or(message), rng).await
    }
}

#[test]
fn any_source_of_keys_signs_and_is_not_believed() {
    for (lies, expected) in [(None, None), (Some(b"something else".to_vec()), Some("key-unusable"))] {
        let desk = Desk::new();
        let (mut repository, _) = desk.repository();
        let names = ["targets", "snapshot", "timestamp"];
        let token = |name: &&str| -> Box<dyn KeySource> {
            Box::new(Token { file: KeyFile::new(desk.key_path(name)), lies: lies.clone() })
        };
        let signers = Signers::open(&names.iter().map(token).collect::<Vec<_>>()).unwrap();
        let target = NewTarget { path: "notes.txt".to_owned(), content: &mut b"signed by a token".as_slice() };
        let added = repository.add_targets(vec![target], None, &signers).map_err(|e| e.code());
        assert_eq!(added.as_ref().err().copied(), expected);
        if expected.is_none() {
            repository.publish(&signers, Renewal::None).unwrap();
            assert_eq!(found(&desk.site(), "notes.txt").unwrap(), b"signed by a token");
        }
    }
}

#[test]
fn one_process_at_a_time_changes_a_repository_and_anybody_looks_at_it() {
    let desk = Desk::new();
    let (repository, _) = desk.repository();
    assert_eq!(Repository::look(&desk.site(), now()).unwrap().status().roles.len(), 4);
    let started = std::time::Instant::now();
    assert_eq!(Repository::open(&desk.site(), now()).unwrap_err().code(), "repository-locked");
    assert!(started.elapsed() >= std::time::Duration::from_secs(9), "it waited for the other one");
    drop(repository);
    Repository::open(&desk.site(), now()).unwrap();
}

#[test]
fn what_was_opened_to_be_looked_at_cannot_be_changed() {
    let desk = Desk::new();
    let (repository, signers) = desk.repository();
    drop(repository);
    let mut repository = Repository::look(&desk.site(), now()).unwrap();
    let target = NewTarget { path: "notes.txt".to_owned(), content: &mut b"x".as_slice() };
    assert_eq!(repository.add_targets(vec![target], None, &signers).unwrap_err().code(), "usage");
    assert_eq!(repository.renew("targets", None).unwrap_err().code(), "usage");
    assert_eq!(repository.publish(&signers, Renewal::Online).unwrap_err().code(), "usage");
}

#[test]
fn the_keys_of_a_team_change_without_the_team_losing_what_it_signed() {
    let desk = Desk::new();
    let (mut repository, signers) = desk.repository();
    let all = ["root", "targets", "snapshot", "timestamp", "old"];
    let delegation = Delegation {
        role: "team".to_owned(),
        from: "targets".to_owned(),
        paths: vec!["team/*".to_owned()],
        keys: vec![desk.key("old", KeyType::Ed25519)],
        threshold: 1,
        terminating: false,
        valid_for: Some(TimeDelta::days(10)),
    };
    let with_old = desk.signers(&all);
    repository.delegate(&delegation, &with_old).unwrap();
    let target = NewTarget { path: "team/a".to_owned(), content: &mut b"by the team".as_slice() };
    repository.add_targets(vec![target], Some("team"), &with_old).unwrap();
    repository.publish(&with_old, Renewal::None).unwrap();

    // The old key is gone. Until the new one has signed, clients see what they saw.
    let new = desk.key("new", KeyType::Ed25519);
    let rotation =
        Rotation { add: vec![new], remove: vec![delegation.keys[0].id().to_string()], ..Rotation::default() };
    repository.rotate("team", &rotation, &signers).unwrap();
    let outcome = repository.publish(&signers, Renewal::None).unwrap();
    assert!(outcome.published.is_empty(), "{outcome:?}");
    let waits = |role: &str| outcome.waiting.iter().find(|w| w.role.as_str() == role).map(|w| w.why.clone()).unwrap();
    assert!(matches!(waits("team"), Missing::Signatures { valid: 0, threshold: 1, .. }));
    assert!(matches!(waits("targets"), Missing::Role(role) if role.as_str() == "team"));
    assert_eq!(found(&desk.site(), "team/a").unwrap(), b"by the team");
    // The old key's signature is not one of the role's any more.
    assert_eq!(repository.sign("team", &with_old).unwrap_err().code(), "key-missing");

    let with_new = desk.signers(&["targets", "snapshot", "timestamp", "new"]);
    repository.sign("team", &with_new).unwrap();
    let outcome = repository.publish(&with_new, Renewal::None).unwrap();
    assert!(outcome.waiting.is_empty(), "{outcome:?}");
    assert_eq!(found(&desk.site(), "team/a").unwrap(), b"by the team");
    // For as long as before.
    let status = repository.status();
    let team = status.roles.iter().find(|role| role.role == "team").unwrap();
    let expires: DateTime<Utc> = team.expires.as_deref().unwrap().parse().unwrap();
    let left = expires.signed_duration_since(now());
    assert!(left > TimeDelta::days(9) && left <= TimeDelta::days(10), "{left}");
}

#[test]
fn what_the_publisher_renews_keeps_what_others_wrote_beside() {
    let desk = Desk::new();
    let (mut repository, signers) = desk.repository();
    add(&mut repository, "notes.txt", b"x", &signers);
    drop(repository);
    // As another tool would: fields that the specification does not know, in a version of their own.
    let version_3 = |text: String| text.replace("\"version\":2", "\"version\":2,\"x-other\":{\"a\":[1,null,\"ü\"]}");
    let file = desk.site().join("metadata/2.targets.json");
    let text = version_3(fs::read_to_string(&file).unwrap());
    let mut repository = Repository::open(&desk.site(), now()).unwrap();
    repository.renew("targets", None).unwrap();
    drop(repository);
    let staged = desk.site().join("staged/metadata/targets.json");
    fs::write(&staged, text.replace("\"version\":2", "\"version\":3")).unwrap();
    let mut repository = Repository::open(&desk.site(), now()).unwrap();
    // Whoever has looked at it signs it; a change on top of it alone would not.
    repository.sign("targets", &signers).unwrap();
    add(&mut repository, "more.txt", b"y", &signers);
    let published = fs::read_to_string(desk.site().join("metadata/3.targets.json")).unwrap();
    assert!(published.contains(r#""x-other":{"a":[1,null,"ü"]}"#), "{published}");
    assert_eq!(found(&desk.site(), "notes.txt").unwrap(), b"x");
    assert_eq!(found(&desk.site(), "more.txt").unwrap(), b"y");
}
