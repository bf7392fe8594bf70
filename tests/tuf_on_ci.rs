//! A repository in the layout of tuf-on-ci: what it publishes, who may sign what, and what a change of keys does.
//!
//! A real one is in `tests/data/sigstore`; this one can be changed. Keys are ECDSA on P-256, in PEM, as from hardware tokens and cloud
//! key services; one signer is a person with an account (`sigstore-oidc`), whose signatures do not count here. Those who have not
//! signed are listed with empty signatures. Timestamp and snapshot share the online key. A delegated role signs for the folder that
//! is called as it is, a few levels deep.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::client::{Client, DirSource, Store};
use plimsoll::trust::Absence;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use support::repo::{EXPIRES, NOW, canonical, hex, sha256};
use support::source::code;

/// The people and services of a repository, by name, each with one key for ever.
#[derive(Default)]
struct Signers(BTreeMap<&'static str, (Option<EcdsaKeyPair>, Value)>);

impl Signers {
    fn of(names: &[&'static str]) -> Self {
        let mut signers = Self::default();
        for name in names {
            let made = match *name {
                "@by-account" => (None, account()),
                name => {
                    let (pair, public) = new_key();
                    let (field, value) = if name.starts_with('@') {
                        ("x-tuf-on-ci-keyowner", name.to_owned())
                    } else {
                        ("x-tuf-on-ci-online-uri", format!("gcpkms:projects/{name}"))
                    };
                    let keyval = json!({"public": public});
                    let key =
                        json!({"keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256", "keyval": keyval, field: value});
                    (Some(pair), key)
                }
            };
            signers.0.insert(name, made);
        }
        signers
    }

    fn id(&self, name: &str) -> String {
        sha256(canonical(&self.0[name].1).as_bytes())
    }

    fn ids(&self, names: &[&str]) -> Vec<String> {
        names.iter().map(|name| self.id(name)).collect()
    }

    fn keys(&self, names: &[&str]) -> Value {
        names
            .iter()
            .map(|name| (self.id(name), self.0[name].1.clone()))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .collect()
    }

    /// A role file with an entry for everyone who may sign it, and signatures of those who have.
    fn sign(&self, signed: &Value, all: &[&str], signing: &[&str]) -> Vec<u8> {
        let message = canonical(signed);
        let entry = |name: &&str| {
            let keyid = self.id(name);
            match &self.0[name].0 {
                _ if !signing.contains(name) => json!({"keyid": keyid, "sig": ""}),
                Some(pair) => {
                    let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
                    json!({"keyid": keyid, "sig": hex(signature.as_ref())})
                }
                None => {
                    json!({"keyid": keyid, "sig": "", "bundle": {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}})
                }
            }
        };
        let signatures: Vec<Value> = all.iter().map(entry).collect();
        serde_json::to_vec_pretty(&json!({"signatures": signatures, "signed": signed})).unwrap()
    }
}

fn account() -> Value {
    let keyval = json!({"identity": "maintainer@example.org", "issuer": "https://github.com/login/oauth"});
    json!({"keytype": "sigstore-oidc", "scheme": "Fulcio", "keyval": keyval, "x-tuf-on-ci-keyowner": "@by-account"})
}

fn new_key() -> (EcdsaKeyPair, String) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).unwrap();
    // SubjectPublicKeyInfo: id-ecPublicKey, prime256v1, and the point as a bit string.
    let mut der: Vec<u8> =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00"
            .into();
    der.extend(pair.public_key().as_ref());
    (pair, pem(&der))
}

fn pem(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in der.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap();
            text.push(if place <= three.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// A signing event: who is in which role, and who has signed.
#[derive(Clone)]
struct Event {
    root: u64,
    /// Of all other roles.
    version: u64,
    root_keys: Vec<&'static str>,
    /// Of the root before, who sign the new one, too.
    outgoing: Vec<&'static str>,
    root_signed: Vec<&'static str>,
    online: &'static str,
    targets_keys: Vec<&'static str>,
    targets_signed: Vec<&'static str>,
    team_keys: Vec<&'static str>,
    team_signed: Vec<&'static str>,
    /// How many folders below its own a delegated role may use.
    depth: usize,
}

const EVERYONE: &[&str] =
    &["@ada", "@bob", "@cleo", "@dan", "@eve", "@by-account", "online-1", "online-2", "@team-1", "@team-2"];
const APP: &str = "registry.example/team/app/1.4/manifest.json";

impl Event {
    fn first() -> Self {
        Self {
            root: 1,
            version: 1,
            root_keys: vec!["@ada", "@bob", "@by-account"],
            outgoing: vec![],
            root_signed: vec!["@ada", "@bob"],
            online: "online-1",
            targets_keys: vec!["@ada", "@bob", "@by-account"],
            targets_signed: vec!["@ada", "@bob"],
            team_keys: vec!["@team-1", "@by-account"],
            team_signed: vec!["@team-1"],
            depth: 4,
        }
    }

    /// New keys for every role, accepted by both who leave and who come.
    fn second() -> Self {
        Self {
            root: 2,
            version: 2,
            root_keys: vec!["@cleo", "@dan", "@eve"],
            outgoing: vec!["@ada", "@bob"],
            root_signed: vec!["@ada", "@bob", "@cleo", "@eve"],
            online: "online-2",
            targets_keys: vec!["@cleo", "@dan", "@eve"],
            targets_signed: vec!["@dan", "@eve"],
            team_keys: vec!["@team-2"],
            team_signed: vec!["@team-2"],
            ..Self::first()
        }
    }

    /// Publishes into `folder` as tuf-on-ci does: files of older versions stay.
    fn publish(&self, signers: &Signers, folder: &Path) {
        let common = |kind: &str, version: u64| json!({"_type": kind, "spec_version": "1.0.31", "version": version, "expires": EXPIRES});
        let with = |mut base: Value, more: Value| {
            base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            base
        };
        let periods = |days: u64| json!({"x-tuf-on-ci-expiry-period": days, "x-tuf-on-ci-signing-period": days / 6});
        let write = |name: String, bytes: &[u8]| {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        };

        let offline = |names: &[&str]| json!({"keyids": signers.ids(names), "threshold": 2});
        let online = with(json!({"keyids": [signers.id(self.online)], "threshold": 1}), periods(7));
        let mut names: Vec<&str> = [&self.root_keys[..], &self.targets_keys, &[self.online]].concat();
        names.sort_unstable();
        names.dedup();
        let root = json!({
            "consistent_snapshot": true, "keys": signers.keys(&names),
            "roles": {"root": offline(&self.root_keys), "targets": offline(&self.targets_keys), "snapshot": online, "timestamp": online},
        });
        let root = with(with(common("root", self.root), root), periods(365));
        let may_sign = [&self.root_keys[..], &self.outgoing].concat();
        write(format!("metadata/{}.root.json", self.root), &signers.sign(&root, &may_sign, &self.root_signed));

        let file = |bytes: &[u8]| json!({"length": bytes.len(), "hashes": {"sha256": sha256(bytes)}});
        let app = format!("manifest {}", self.version).into_bytes();
        let (tool, deep) = (b"for everyone", b"far below");
        let below = "below/".repeat(4);
        write(format!("targets/{}.tool", sha256(tool)), tool);
        write(format!("targets/signer/ada/{}.note", sha256(tool)), tool);
        write(format!("targets/registry.example/team/app/1.4/{}.manifest.json", sha256(&app)), &app);
        write(format!("targets/registry.example/{below}{}.file", sha256(deep)), deep);

        let roles = ["registry.example", "signer/ada"].map(|role| {
            let paths: Vec<String> = (0..self.depth).map(|depth| format!("{role}/{}*", "*/".repeat(depth))).collect();
            json!({"name": role, "keyids": signers.ids(&self.team_keys), "threshold": 1, "terminating": true, "paths": paths})
        });
        let targets = json!({
            "targets": {"tool": file(tool)},
            "delegations": {"keys": signers.keys(&self.team_keys), "roles": roles},
        });
        let targets = with(with(common("targets", self.version), targets), periods(365));
        let bytes = signers.sign(&targets, &self.targets_keys, &self.targets_signed);
        write(format!("metadata/{}.targets.json", self.version), &bytes);

        let mut meta = json!({"targets.json": {"version": self.version}});
        for (role, name, listed) in [
            (
                "registry.example",
                "registry.example",
                json!({APP: file(&app), format!("registry.example/{below}file"): file(deep)}),
            ),
            ("signer/ada", "signer%2Fada", json!({"signer/ada/note": file(tool)})),
        ] {
            let signed = with(with(common("targets", self.version), json!({"targets": listed})), periods(90));
            let bytes = signers.sign(&signed, &self.team_keys, &self.team_signed);
            write(format!("metadata/{}.{name}.json", self.version), &bytes);
            meta[format!("{role}.json")] = json!({"version": self.version});
        }
        let snapshot = with(common("snapshot", self.version), json!({"meta": meta}));
        let bytes = signers.sign(&snapshot, &[self.online], &[self.online]);
        write(format!("metadata/{}.snapshot.json", self.version), &bytes);
        let timestamp = json!({"meta": {"snapshot.json": {"version": self.version}}});
        let timestamp = with(common("timestamp", self.version), timestamp);
        write("metadata/timestamp.json".to_owned(), &signers.sign(&timestamp, &[self.online], &[self.online]));
    }
}

/// An empty folder for a repository and one for a store.
fn folders(test: &str) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tuf_on_ci").join(test);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    let (repository, store) = (folder.join("repository"), folder.join("store"));
    fs::create_dir_all(&repository).unwrap();
    fs::create_dir_all(&store).unwrap();
    (repository, store)
}

fn client(repository: &Path, store: &Path, root: u64) -> Client<DirSource> {
    let root = fs::read(repository.join(format!("metadata/{root}.root.json"))).unwrap();
    let source = DirSource::repository(repository).unwrap();
    Client::new(root, source, Store::folder(store)).with_time(NOW.parse().unwrap())
}

/// What comes of a refresh and of looking for the image's manifest: root and targets versions, and its bytes.
fn app(repository: &Path, store: &Path) -> Result<(u64, u64, String), &'static str> {
    let client = client(repository, store, 1);
    let mut session = client.refresh().map_err(|error| code(&error))?;
    let found = session.find(APP).map_err(|error| code(&error))?.map_err(|_| "absent")?;
    let bytes = session.fetch(&found).map_err(|error| code(&error))?;
    let t = session.trusted();
    Ok((t.root().version(), t.targets().version(), String::from_utf8(bytes).unwrap()))
}

#[test]
fn a_repository_is_refreshed_and_its_targets_are_found_before_and_after_a_change_of_all_keys() {
    let signers = Signers::of(EVERYONE);
    let (repository, store) = folders("change");
    Event::first().publish(&signers, &repository);
    assert_eq!(app(&repository, &store), Ok((1, 1, "manifest 1".to_owned())));
    Event::second().publish(&signers, &repository);
    assert_eq!(app(&repository, &store), Ok((2, 2, "manifest 2".to_owned())), "with what was trusted before");
    assert_eq!(
        app(&repository, &folders("change-anew").1),
        Ok((2, 2, "manifest 2".to_owned())),
        "from the first root on"
    );
}

#[test]
fn who_may_sign_and_has_signed_is_counted_and_nobody_else() {
    // Each row changes one thing of the second event.
    let cases: &[(&str, fn(&mut Event), Result<u64, &str>)] = &[
        ("as it is", |_| {}, Ok(2)),
        ("one more than needed", |e| e.root_signed.push("@dan"), Ok(2)),
        ("one of the new root keys", |e| e.root_signed = vec!["@ada", "@bob", "@cleo"], Err("metadata-threshold")),
        ("one of the old root keys", |e| e.root_signed = vec!["@ada", "@cleo", "@eve"], Err("metadata-threshold")),
        (
            "one of the old root keys, and the account, whose signatures do not count",
            |e| {
                e.outgoing.push("@by-account");
                e.root_signed = vec!["@ada", "@by-account", "@cleo", "@eve"];
            },
            Err("metadata-threshold"),
        ),
        (
            "the account beside enough others",
            |e| {
                e.outgoing.push("@by-account");
                e.root_signed.push("@by-account");
            },
            Ok(2),
        ),
        ("the account in a role of the new root", |e| e.targets_keys.push("@by-account"), Ok(2)),
        ("one of the targets keys", |e| e.targets_signed = vec!["@dan"], Err("metadata-threshold")),
        (
            "one of the targets keys and the account",
            |e| {
                e.targets_keys.push("@by-account");
                e.targets_signed = vec!["@dan", "@by-account"];
            },
            Err("metadata-threshold"),
        ),
        ("nobody of the team", |e| e.team_signed.clear(), Err("metadata-threshold")),
        (
            "the account alone for the team",
            |e| {
                e.team_keys = vec!["@by-account"];
                e.team_signed = vec!["@by-account"];
            },
            Err("metadata-threshold"),
        ),
        (
            "the team before",
            |e| {
                e.team_keys = vec!["@team-1"];
                e.team_signed = vec!["@team-1"];
            },
            Ok(2),
        ),
    ];
    let signers = Signers::of(EVERYONE);
    for (name, change, expected) in cases {
        let (repository, store) = folders("counted");
        Event::first().publish(&signers, &repository);
        assert_eq!(app(&repository, &store), Ok((1, 1, "manifest 1".to_owned())), "{name}");
        let mut event = Event::second();
        change(&mut event);
        event.publish(&signers, &repository);
        assert_eq!(app(&repository, &store).map(|(_, targets, _)| targets), *expected, "{name}");
    }
}

#[test]
fn what_the_old_online_key_signs_is_refused_once_there_is_a_new_one() {
    let signers = Signers::of(EVERYONE);
    let (repository, store) = folders("online");
    Event::first().publish(&signers, &repository);
    Event::second().publish(&signers, &repository);
    assert_eq!(app(&repository, &store).map(|(root, ..)| root), Ok(2));
    let timestamp = repository.join("metadata/timestamp.json");
    let good = fs::read(&timestamp).unwrap();
    let text = String::from_utf8(good.clone()).unwrap();
    let signed: Value = serde_json::from_str::<Value>(&text).unwrap()["signed"].clone();
    fs::write(&timestamp, signers.sign(&signed, &["online-1"], &["online-1"])).unwrap();
    assert_eq!(app(&repository, &store), Err("metadata-threshold"));
    fs::write(&timestamp, good).unwrap();
    assert_eq!(app(&repository, &store).map(|(root, ..)| root), Ok(2));
}

#[test]
fn a_role_signs_for_the_folder_that_is_called_as_it_is_and_so_deep_as_it_may() {
    let deep = format!("registry.example/{}file", "below/".repeat(4));
    let signers = Signers::of(EVERYONE);
    for (depth, path, found) in [
        (4, "tool", true),
        (4, APP, true),
        (4, "signer/ada/note", true),
        // Its role lists it, but may not.
        (4, deep.as_str(), false),
        (5, deep.as_str(), true),
        // The limit of the first versions: files of one folder, which image names with folders do not fit into.
        (1, "tool", true),
        (1, APP, false),
        (1, "signer/ada/note", true),
    ] {
        let (repository, store) = folders("depth");
        Event { depth, ..Event::first() }.publish(&signers, &repository);
        let client = client(&repository, &store, 1);
        let mut session = client.refresh().unwrap();
        let got = session.find(path).unwrap();
        let fetched = got.as_ref().map(|target| session.fetch(target).is_ok()).map_err(Absence::clone);
        assert_eq!(fetched, if found { Ok(true) } else { Err(Absence::NotListed) }, "{depth}, {path}");
    }
}
