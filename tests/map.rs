//! Several repositories by a map [TAP 4]: who agrees, who does not, and what comes of it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::client::{Client, ClientError, Store};
use plimsoll::map::{Lookup, LookupError, Map, PinnedMap, Repositories, Says};
use plimsoll::verify::Verifier;
use serde_json::{Value, json};
use support::repo::{NOW, Repo, Signer};
use support::source::MemorySource;

const PATH: &str = "registry.example/team/app/1.4/manifest.json";
const FILE: &[u8] = b"what the image is";
const OTHER: &[u8] = b"what it is not...";

/// `vendor`, `security` and `third`, each with keys of its own and with FILE signed at PATH; the first two must agree.
struct World {
    repos: BTreeMap<&'static str, Repo>,
    sources: BTreeMap<&'static str, fn(&mut MemorySource)>,
    map: Value,
}

impl World {
    fn new() -> Self {
        let repo = |keys: [u8; 4]| {
            let mut repo = Repo::of(keys.map(Signer));
            repo.target("targets", PATH, FILE).publish();
            repo
        };
        Self {
            repos: BTreeMap::from([
                ("vendor", repo([10, 11, 12, 13])),
                ("security", repo([20, 21, 22, 23])),
                ("third", repo([30, 31, 32, 33])),
            ]),
            sources: BTreeMap::new(),
            map: json!({
                "repositories": {"vendor": ["v"], "security": ["s"], "third": ["t"]},
                "mapping": [mapping(&["vendor", "security"], 2, true)],
            }),
        }
    }

    fn repo(&mut self, name: &str) -> &mut Repo {
        self.repos.get_mut(name).unwrap()
    }

    /// Publishes something else, or nothing, at PATH.
    fn signs(&mut self, name: &str, file: Option<&[u8]>) {
        let repo = self.repo(name);
        repo.signed("targets")["targets"] = json!({});
        if let Some(file) = file {
            repo.target("targets", PATH, file);
        }
        repo.publish();
    }

    /// Edits what is listed at PATH.
    fn lists(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        let repo = self.repo(name);
        edit(&mut repo.signed("targets")["targets"][PATH]);
        repo.publish();
    }

    /// Changes what clients get from a repository.
    fn serves(&mut self, name: &'static str, edit: fn(&mut MemorySource)) {
        self.sources.insert(name, edit);
    }

    fn mappings(&mut self, mappings: &[Value]) {
        self.map["mapping"] = json!(mappings);
    }

    fn repositories(&self, mut store: impl FnMut(&str) -> Store) -> Repositories<MemorySource> {
        let map = Map::parse(self.map.to_string().as_bytes()).unwrap();
        let root = |name: &plimsoll::map::RepositoryName| Ok(self.repos[name.as_str()].pinned());
        let pinned = PinnedMap::new(map, Path::new(""), root).unwrap();
        Repositories::new(&pinned, |repository| {
            let name = repository.name().as_str();
            let mut source = MemorySource::new(&self.repos[name]);
            if let Some(edit) = self.sources.get(name) {
                edit(&mut source);
            }
            Client::new(repository.root(), source, store(name)).with_time(NOW.parse().unwrap())
        })
    }

    fn lookup(&self, path: &str) -> Lookup {
        self.repositories(|_| Store::in_memory()).session().lookup(path)
    }
}

fn mapping(repositories: &[&str], threshold: u64, terminating: bool) -> Value {
    let paths = ["registry.example/team/*/*/*"];
    json!({"paths": paths, "repositories": repositories, "threshold": threshold, "terminating": terminating})
}

fn code(lookup: &Lookup) -> &'static str {
    match &lookup.result {
        Ok(bytes) if bytes == FILE => "trusted",
        Ok(_) => "something else",
        Err(LookupError::NotTrusted(error)) => error.code(),
        // Whether it is undecided is part of what is expected.
        Err(LookupError::Undecided(error)) => match error.code() {
            "map-unreached" => "undecided: map-unreached",
            "clock-behind" => "undecided: clock-behind",
            "repository-incomplete" => "undecided: repository-incomplete",
            other => other,
        },
    }
}

/// `vendor agrees, security metadata-expired`.
fn answers(lookup: &Lookup) -> String {
    let word = |says: &Says| match says {
        Says::Agrees(_) => "agrees".to_owned(),
        Says::Signs(_) => "signs".to_owned(),
        Says::Differs(_) => "differs".to_owned(),
        Says::SharesKey { with, .. } => format!("is {with}"),
        Says::NotSigned(_) => "silent".to_owned(),
        Says::Failed(error) => match &**error {
            ClientError::NotTrusted(error) => error.code().to_owned(),
            ClientError::Undecided(error) => error.code().to_owned(),
        },
        _ => unreachable!("all answers are here"),
    };
    let answers = lookup.answers.iter().map(|answer| format!("{} {}", answer.repository, word(&answer.says)));
    answers.collect::<Vec<_>>().join(", ")
}

type Row = (&'static str, fn(&mut World), &'static str, &'static str);

fn check(rows: &[Row]) {
    for (name, edit, expected, said) in rows {
        let mut world = World::new();
        edit(&mut world);
        let lookup = world.lookup(PATH);
        assert_eq!((code(&lookup), answers(&lookup).as_str()), (*expected, *said), "{name}");
    }
}

fn expire(world: &mut World, name: &str) {
    world.repo(name).signed("timestamp")["expires"] = json!("2029-12-31T23:59:59Z");
    world.repo(name).write();
}

fn cut_off(source: &mut MemorySource) {
    source.broken.insert("metadata/2.root.json".to_owned());
}

fn no_files(source: &mut MemorySource) {
    source.forget("targets/");
}

fn wrong_files(source: &mut MemorySource) {
    source.damage("targets/");
}

/// One of `vendor`, `security`, `third`.
fn one_of(threshold: u64) -> Value {
    mapping(&["vendor", "security", "third"], threshold, true)
}

#[test]
fn as_many_as_the_map_demands_must_sign_the_same() {
    check(&[
        ("both sign the same", |_| {}, "trusted", "vendor agrees, security agrees"),
        (
            "one signs something else",
            |w| w.signs("security", Some(OTHER)),
            "map-contradiction",
            "vendor signs, security signs",
        ),
        ("one does not sign", |w| w.signs("security", None), "map-threshold", "vendor signs, security silent"),
        ("the other does not", |w| w.signs("vendor", None), "map-threshold", "vendor silent, security signs"),
        (
            "none signs",
            |w| ["vendor", "security"].iter().for_each(|name| w.signs(name, None)),
            "image-not-signed",
            "vendor silent, security silent",
        ),
        (
            "another length",
            |w| w.lists("security", |file| file["length"] = json!(FILE.len() + 1)),
            "map-contradiction",
            "vendor signs, security signs",
        ),
        (
            "what is custom is each one's own",
            |w| w.lists("security", |file| file["custom"] = json!({"approved": true})),
            "trusted",
            "vendor agrees, security agrees",
        ),
        (
            "no algorithm in common",
            |w| w.lists("security", |file| file["hashes"] = json!({"sha512": support::repo::sha512(FILE)})),
            "map-threshold",
            "vendor signs, security signs",
        ),
        (
            "one algorithm in common",
            |w| w.lists("security", |file| file["hashes"]["sha512"] = json!(support::repo::sha512(FILE))),
            "trusted",
            "vendor agrees, security agrees",
        ),
        (
            "one algorithm in common, and the other hash is of something else",
            |w| w.lists("security", |file| file["hashes"]["sha512"] = json!(support::repo::sha512(OTHER))),
            "signed-hash-mismatch",
            "vendor agrees, security agrees",
        ),
        (
            "unknown algorithms only",
            |w| w.lists("security", |file| file["hashes"] = json!({"md5": "00"})),
            "map-threshold",
            "vendor signs, security signed-hash-unknown",
        ),
        (
            "two of three, and one says something else",
            |w| {
                w.signs("vendor", Some(OTHER));
                w.mappings(&[one_of(2)]);
            },
            "trusted",
            "vendor differs, security agrees, third agrees",
        ),
        (
            "three of three, and one says something else",
            |w| {
                w.signs("vendor", Some(OTHER));
                w.mappings(&[one_of(3)]);
            },
            "map-contradiction",
            "vendor signs, security signs, third signs",
        ),
        (
            "one of three, and one says something else: order does not decide",
            |w| {
                w.signs("third", Some(OTHER));
                w.mappings(&[one_of(1)]);
            },
            "map-contradiction",
            "vendor signs, security signs, third signs",
        ),
    ]);
}

#[test]
fn whoever_fails_or_cannot_be_asked_does_not_count() {
    check(&[
        ("one is expired", |w| expire(w, "security"), "map-threshold", "vendor signs, security metadata-expired"),
        (
            "one is expired, one is enough",
            |w| {
                expire(w, "security");
                w.mappings(&[mapping(&["vendor", "security"], 1, true)]);
            },
            "trusted",
            "vendor agrees, security metadata-expired",
        ),
        (
            "one is cut off",
            |w| w.serves("security", cut_off),
            "undecided: map-unreached",
            "vendor signs, security repository-unreadable",
        ),
        (
            "one is cut off, two of the others are enough",
            |w| {
                w.serves("security", cut_off);
                w.mappings(&[one_of(2)]);
            },
            "trusted",
            "vendor agrees, security repository-unreadable, third agrees",
        ),
        (
            "one is cut off, and the others contradict each other",
            |w| {
                w.serves("security", cut_off);
                w.signs("third", Some(OTHER));
                w.mappings(&[one_of(2)]);
            },
            "map-contradiction",
            "vendor signs, security repository-unreadable, third signs",
        ),
        (
            "one is cut off, and one fails",
            |w| {
                w.serves("security", cut_off);
                expire(w, "third");
                w.mappings(&[one_of(2)]);
            },
            "map-threshold",
            "vendor signs, security repository-unreadable, third metadata-expired",
        ),
        (
            "one is cut off, and one does not sign: the missing one would be enough",
            |w| {
                w.serves("security", cut_off);
                w.signs("third", None);
                w.mappings(&[one_of(2)]);
            },
            "undecided: map-unreached",
            "vendor signs, security repository-unreadable, third silent",
        ),
        (
            "one is cut off, and one does not sign: the missing one would not be enough",
            |w| {
                w.serves("security", cut_off);
                w.signs("third", None);
                w.mappings(&[one_of(3)]);
            },
            "map-threshold",
            "vendor signs, security repository-unreadable, third silent",
        ),
        (
            "all are cut off",
            |w| ["vendor", "security"].iter().for_each(|name| w.serves(name, cut_off)),
            "undecided: map-unreached",
            "vendor repository-unreadable, security repository-unreadable",
        ),
    ]);
}

#[test]
fn the_file_comes_from_any_that_agrees_and_is_checked_against_all() {
    check(&[
        ("the first has no files", |w| w.serves("vendor", no_files), "trusted", "vendor agrees, security agrees"),
        (
            "the first has a wrong file",
            |w| w.serves("vendor", wrong_files),
            "trusted",
            "vendor agrees, security agrees",
        ),
        (
            "none has files",
            |w| ["vendor", "security"].iter().for_each(|name| w.serves(name, no_files)),
            "undecided: repository-incomplete",
            "vendor agrees, security agrees",
        ),
        (
            "one has no files, the other a wrong one",
            |w| {
                w.serves("vendor", no_files);
                w.serves("security", wrong_files);
            },
            "signed-hash-mismatch",
            "vendor agrees, security agrees",
        ),
    ]);
}

/// Puts a public key beside the key of a top-level role; its own key still does.
fn borrow(world: &mut World, role: &str, key: Signer) {
    let repo = world.repo("security");
    repo.signed("root")["keys"][key.id()] = key.public();
    repo.signed("root")["roles"][role]["keyids"].as_array_mut().unwrap().push(json!(key.id()));
    repo.bump("root").write();
}

#[test]
fn one_key_counts_once_in_whatever_repository() {
    check(&[
        (
            "the key of the vendor's targets role is one of the security team's",
            |w| borrow(w, "targets", Signer(13)),
            "map-threshold",
            "vendor signs, security is vendor",
        ),
        (
            "as one of its root keys",
            |w| borrow(w, "root", Signer(13)),
            "map-threshold",
            "vendor signs, security is vendor",
        ),
        (
            "one server makes the timestamps of both: it cannot change what they say",
            |w| borrow(w, "timestamp", Signer(11)),
            "trusted",
            "vendor agrees, security agrees",
        ),
        (
            "a delegation to the vendor's key",
            |w| {
                w.signs("security", None);
                let repo = w.repo("security");
                repo.delegate("targets", "team", &["registry.example/team/*/*/*"], &[Signer(13)], true);
                repo.target("team", PATH, FILE).publish();
            },
            "map-threshold",
            "vendor signs, security is vendor",
        ),
        (
            "a delegation to a key of its own",
            |w| {
                w.signs("security", None);
                let repo = w.repo("security");
                repo.delegate("targets", "team", &["registry.example/team/*/*/*"], &[Signer(25)], true);
                repo.target("team", PATH, FILE).publish();
            },
            "trusted",
            "vendor agrees, security agrees",
        ),
        (
            "a delegation to the vendor's key for something else",
            |w| {
                let repo = w.repo("security");
                repo.delegate("targets", "team", &["registry.example/other/*/*/*"], &[Signer(13)], true);
                repo.publish();
            },
            "trusted",
            "vendor agrees, security agrees",
        ),
        (
            "whoever borrows the keys of others shuts out itself only",
            |w| {
                borrow(w, "targets", Signer(13));
                borrow(w, "targets", Signer(33));
                w.mappings(&[mapping(&["security", "vendor", "third"], 2, true)]);
            },
            "trusted",
            "security is vendor, vendor agrees, third agrees",
        ),
        (
            "one is enough",
            |w| {
                borrow(w, "targets", Signer(13));
                w.mappings(&[mapping(&["vendor", "security"], 1, true)]);
            },
            "trusted",
            "vendor agrees, security is vendor",
        ),
    ]);
}

#[test]
fn the_same_pinned_root_under_two_names_is_refused() {
    let world = World::new();
    let pin = |security: &str| {
        let map = Map::parse(world.map.to_string().as_bytes()).unwrap();
        let root = |name: &plimsoll::map::RepositoryName| match name.as_str() {
            "security" => Ok(world.repos[security].pinned()),
            name => Ok(world.repos[name].pinned()),
        };
        PinnedMap::new(map, Path::new(""), root).map(drop).map_err(|error| error.code())
    };
    assert_eq!(pin("security"), Ok(()));
    assert_eq!(pin("vendor"), Err("map-same-root"));

    // One space more makes other bytes of it, but no other signer.
    let mut world = World::new();
    let mut copy = world.repos["vendor"].clone();
    let root = copy.files.get_mut("metadata/1.root.json").unwrap();
    root.push(b' ');
    world.repos.insert("security", copy);
    let lookup = world.lookup(PATH);
    assert_eq!((code(&lookup), answers(&lookup).as_str()), ("map-threshold", "vendor signs, security is vendor"));
}

#[test]
fn the_next_mapping_is_tried_only_if_all_were_asked_and_none_signs() {
    fn strict_then_lax(world: &mut World, terminating: bool) {
        world.mappings(&[mapping(&["vendor", "security"], 2, terminating), mapping(&["third"], 1, true)]);
    }
    fn silent(world: &mut World) {
        ["vendor", "security"].iter().for_each(|name| world.signs(name, None));
    }
    check(&[
        ("the first decides", |w| strict_then_lax(w, false), "trusted", "vendor agrees, security agrees"),
        (
            "none of the first signs",
            |w| {
                strict_then_lax(w, false);
                silent(w);
            },
            "trusted",
            "vendor silent, security silent, third agrees",
        ),
        (
            "none of the first signs, and it ends there",
            |w| {
                strict_then_lax(w, true);
                silent(w);
            },
            "image-not-signed",
            "vendor silent, security silent",
        ),
        (
            "one of the first signs",
            |w| {
                strict_then_lax(w, false);
                w.signs("security", None);
            },
            "map-threshold",
            "vendor signs, security silent",
        ),
        (
            "the first contradict each other",
            |w| {
                strict_then_lax(w, false);
                w.signs("security", Some(OTHER));
            },
            "map-contradiction",
            "vendor signs, security signs",
        ),
        (
            "one of the first is cut off, and the other does not sign",
            |w| {
                strict_then_lax(w, false);
                silent(w);
                w.serves("security", cut_off);
            },
            "map-threshold",
            "vendor silent, security repository-unreadable",
        ),
        (
            "one of the first is expired, and the other does not sign",
            |w| {
                strict_then_lax(w, false);
                silent(w);
                expire(w, "security");
            },
            "map-threshold",
            "vendor silent, security metadata-expired",
        ),
        (
            "one of the first has a role that may sign and is not in its snapshot",
            |w| {
                strict_then_lax(w, false);
                silent(w);
                let repo = w.repo("security");
                repo.delegate("targets", "team", &["registry.example/team/*/*/*"], &[Signer(25)], true);
                repo.roles.remove("team");
                repo.publish();
            },
            "map-threshold",
            "vendor silent, security silent",
        ),
        (
            "the first is about other files",
            |w| {
                strict_then_lax(w, false);
                w.map["mapping"][0]["paths"] = json!(["registry.example/team/*/*/*/*"]);
            },
            "trusted",
            "third agrees",
        ),
        (
            "none is about this file",
            |w| w.map["mapping"][0]["paths"] = json!(["registry.example/other/*/*/*"]),
            "map-not-mapped",
            "",
        ),
    ]);
}

fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("map").join(test);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn rollback_is_judged_per_repository_and_remembered() {
    let stores = folder("rollback");
    let ask = |world: &World| {
        let lookup = world.repositories(|name| Store::folder(stores.join(name))).session().lookup(PATH);
        (code(&lookup), answers(&lookup))
    };
    let both = || "vendor agrees, security agrees".to_owned();
    let old = World::new();
    assert_eq!(ask(&old), ("trusted", both()));
    let mut new = World::new();
    for name in ["vendor", "security"] {
        new.signs(name, Some(FILE));
    }
    assert_eq!(ask(&new), ("trusted", both()));
    // One is replayed. What it signs is the same still, but nobody knows for how long.
    let mut replayed = World::new();
    replayed.repos.insert("vendor", new.repos["vendor"].clone());
    assert_eq!(ask(&replayed), ("map-threshold", "vendor signs, security metadata-rollback".to_owned()));
    // What the others have shown does not count against one.
    let mut ahead = World::new();
    ahead.repos.insert("security", new.repos["security"].clone());
    ahead.repos.insert("vendor", new.repos["vendor"].clone());
    ahead.signs("vendor", Some(FILE));
    assert_eq!(ask(&ahead), ("trusted", both()));
}

#[test]
fn a_wrong_clock_that_one_store_knows_of_stops_all() {
    let stores = folder("clock");
    let store = |name: &str| Store::folder(stores.join(name));
    let mut world = World::new();
    world.mappings(&[mapping(&["vendor", "security"], 1, true)]);
    let map = Map::parse(world.map.to_string().as_bytes()).unwrap();
    let pinned = PinnedMap::new(map, Path::new(""), |name| Ok(world.repos[name.as_str()].pinned())).unwrap();
    let repositories = || {
        Repositories::new(&pinned, |repository| {
            let name = repository.name().as_str();
            Client::new(repository.root(), MemorySource::new(&world.repos[name]), store(name)).with_time_memory()
        })
    };
    assert_eq!(code(&repositories().session().lookup(PATH)), "trusted");
    fs::write(stores.join("security/clock"), "2039-01-01T00:00:00Z").unwrap();
    let lookup = repositories().session().lookup(PATH);
    assert_eq!(code(&lookup), "undecided: clock-behind");
}

#[test]
fn each_file_of_an_image_is_looked_up_by_the_map() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos");
    let manifest = fs::read(samples.join("source/app.manifest.json")).unwrap();
    let old = fs::read(samples.join("source/app-old.manifest.json")).unwrap();
    let index = |manifest: &[u8]| {
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
            "manifests": [{
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "digest": format!("sha256:{}", support::repo::sha256(manifest)),
                "size": manifest.len(),
                "platform": {"os": "linux", "architecture": "amd64"},
            }],
        })
        .to_string()
    };
    let platform = PATH.replace("manifest.json", "manifest.linux-amd64.json");
    let verify = |platform_of_security: &[u8]| {
        let mut world = World::new();
        for (name, platform_manifest) in [("vendor", manifest.as_slice()), ("security", platform_of_security)] {
            let repo = world.repo(name);
            repo.target("targets", PATH, index(&manifest).as_bytes());
            repo.target("targets", &platform, platform_manifest).publish();
        }
        let verdict = Verifier::by_map(world.repositories(|_| Store::in_memory()))
            .with_platform(plimsoll::image::manifest::Platform::parse("linux/amd64").unwrap())
            .verify(&samples.join("good/app.tar"));
        let code = verdict.findings().first().map_or(verdict.word(), |finding| finding.code()).to_owned();
        (code, serde_json::from_str::<Value>(&verdict.to_json()).unwrap())
    };
    let (code, json) = verify(&manifest);
    assert_eq!(code, "trusted", "{json:#}");
    let targets: Vec<_> = json["repositories"][1]["answers"].as_array().unwrap().iter().collect();
    assert_eq!((&targets[0]["target"], &targets[1]["target"]), (&json!(PATH), &json!(platform)));
    let (code, json) = verify(&old);
    assert_eq!(code, "map-contradiction");
    assert_eq!(json["findings"][0]["subject"], platform);
    assert_eq!(json["findings"][1]["repository"], "vendor");
}

#[test]
fn a_map_on_disk_lies_apart_from_the_repositories() {
    let folder = folder("disk");
    let world = World::new();
    let place = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    place("repos/vendor/metadata/1.root.json", &world.repos["vendor"].pinned());
    place("map/vendor/root.json", &world.repos["vendor"].pinned());
    let read = |location: &str| {
        let mapping = mapping(&["vendor"], 1, true);
        let map = json!({"repositories": {"vendor": [location]}, "mapping": [mapping]});
        place("map/map.json", map.to_string().as_bytes());
        PinnedMap::read(&folder.join("map/map.json")).map(drop).map_err(|error| error.code())
    };
    for (location, expected) in [
        ("../repos/vendor", Ok(())),
        ("../not-here", Ok(())),
        ("https://registry.example/tuf", Ok(())),
        ("repos", Ok(())),
        ("vendor", Err("map-in-repository")),
        (".", Err("map-in-repository")),
        ("..", Err("map-in-repository")),
        ("../repos/../map", Err("map-in-repository")),
        ("/", Err("map-in-repository")),
    ] {
        assert_eq!(read(location), expected, "{location}");
    }
    fs::remove_file(folder.join("map/vendor/root.json")).unwrap();
    assert_eq!(read("../repos/vendor"), Err("pinned-root-unreadable"));
    place("map/map.json", b"{}");
    let code = |name: &str| PinnedMap::read(&folder.join(name)).map(drop).map_err(|error| error.code());
    assert_eq!(code("map/map.json"), Err("map-malformed"));
    assert_eq!(code("map/none.json"), Err("map-unreadable"));
    assert_eq!(code("map"), Err("map-unreadable"));
}
