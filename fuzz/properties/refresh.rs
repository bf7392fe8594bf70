//! The whole refresh: a program changes a repository and lets one client refresh from it, again and again.
//!
//! The input is the program. Its operations ([`op`]) hand out bytes of any kind under any name, and sign: eight keys, each under two ids,
//! so that what they make gets as far as a true repository and is wrong in whatever the input makes wrong. The root that is pinned does
//! not depend on the input.
//!
//! Whatever the client trusts then, [`slow`] must find signed by enough of the right keys, current, listed as it is, and no older than
//! what was trusted before. What the client refuses is not judged here.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::sync::LazyLock;

use plimsoll::client::{Client, ClientError, Session, Source, SourceError, Store};
use plimsoll::limits::MetadataLimits;
use plimsoll::trust::{Absence, Found, Trusted};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::slow::{self, Json};

/// What a program is made of: one byte says what to do, the next ones with what. A missing byte is 0; one that is too large starts again
/// at 0.
pub mod op {
    /// Bytes as a file: name, length in two bytes (the lower one first), bytes.
    pub const LITERAL: u8 = 0;
    /// The client refreshes and looks for every path: time.
    pub const REFRESH: u8 = 1;
    /// Role, version.
    pub const VERSION: u8 = 2;
    /// Who signs: role, ids in two bytes.
    pub const SIGNERS: u8 = 3;
    /// Whose keys must sign: role, ids in two bytes, threshold, delegating role.
    pub const KEYS: u8 = 4;
    /// Gives an id another key: delegating role (or root), id, key.
    pub const SWAP: u8 = 5;
    /// Role, expiry.
    pub const EXPIRES: u8 = 6;
    /// What a role lists of another and writes it: role, other role, what, value.
    pub const LIST: u8 = 7;
    /// Signs a role as it is: role.
    pub const WRITE: u8 = 8;
    /// Lists all roles as they are, and writes them.
    pub const PUBLISH: u8 = 9;
    /// Signs a role as it is and puts it under another's name: role, name.
    pub const MISNAME: u8 = 10;
    /// Flips a bit of a file: file, place in two bytes, bit.
    pub const FLIP: u8 = 11;
    /// Changes the signatures of a file: file, which, how, id.
    pub const SIGNATURE: u8 = 12;
    /// File.
    pub const REMOVE: u8 = 13;
    /// Puts what was written before under a name: number, name.
    pub const REPLAY: u8 = 14;
    /// Delegating role, delegated role, pattern, what.
    pub const DELEGATE: u8 = 15;
    /// Role, path, content.
    pub const TARGET: u8 = 16;
    /// How all is written from now on: bit 0 listing lengths and hashes, bit 1 in canonical form, bit 2 without consistent snapshots.
    pub const FORM: u8 = 17;
    /// How many there are.
    pub const ALL: u8 = 18;
}

pub const ROLES: [&str; 8] = ["root", "timestamp", "snapshot", "targets", "A", "B", "C", "D"];
pub const PATHS: [&str; 4] = ["top", "a/1", "b/2", "a/b/3"];
pub const PATTERNS: [&str; 6] = ["*", "a/*", "b/*", "*/*", "a/b/?", "t*"];
pub const TIMES: [&str; 4] =
    ["2030-01-01T00:00:00Z", "2030-06-01T00:00:00Z", "2029-01-01T00:00:00Z", "2031-01-01T00:00:00Z"];
pub const EXPIRIES: [&str; 4] =
    ["2040-01-01T00:00:00Z", "2030-01-01T00:00:00Z", "2030-03-01T00:00:00Z", "2030-01-01T00:00:01Z"];
pub const VERSIONS: [u64; 7] = [1, 2, 3, 4, u64::MAX, 0, u64::MAX - 1];
/// Beside [`VERSIONS`]: one more than it is.
pub const NEXT: u8 = 7;

const MOST_OPERATIONS: usize = 96;
const MOST_REFRESHES: usize = 8;
const MOST_FILES: usize = 48;
/// Low enough to be reached.
const MOST_DELEGATIONS: u32 = 3;
const MOST_ROTATIONS: u32 = 4;

/// Runs the program. What came of each refresh and each search is handed back in words, for tests that know what should.
pub fn hold(program: &[u8]) -> Vec<String> {
    let mut input = Input(program);
    let mut world = START.clone();
    let mut limits = MetadataLimits::default();
    limits.delegations = MOST_DELEGATIONS;
    limits.root_rotations = MOST_ROTATIONS;
    let mut client = Client::new(PINNED.clone(), Files::default(), Store::in_memory()).with_limits(limits);
    let mut judge = Judge::default();
    let mut log = Vec::new();
    for _ in 0..MOST_OPERATIONS {
        if input.0.is_empty() || judge.refreshes == MOST_REFRESHES {
            break;
        }
        let operation = input.byte() % op::ALL;
        if operation != op::REFRESH {
            world.change(operation, &mut input);
            continue;
        }
        let time = input.of(&TIMES);
        client = client.with_time(time.parse().expect("a time"));
        client.source().files.replace(world.files.clone());
        judge.refresh(&client, time, &mut log);
    }
    log
}

/// What is left of the program.
struct Input<'p>(&'p [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn two(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn of<T: Copy>(&mut self, options: &[T]) -> T {
        options[usize::from(self.byte()) % options.len()]
    }
}

/// The keys: id `k0` and id `a0` stand for the first, and so on.
static PAIRS: LazyLock<Vec<(Ed25519KeyPair, String)>> = LazyLock::new(|| {
    let pair = |n| Ed25519KeyPair::from_seed_unchecked(&[n; 32]).expect("32 bytes are a seed");
    (1..=8).map(pair).map(|pair| (slow::hex(pair.public_key().as_ref()), pair)).map(|(hex, pair)| (pair, hex)).collect()
});

static PINNED: LazyLock<Vec<u8>> = LazyLock::new(|| START.sign("root"));

/// The repository with which every program starts: all roles in version 1, published.
static START: LazyLock<World> = LazyLock::new(|| {
    let mut world = World::new();
    world.publish();
    world
});

fn id(n: usize) -> String {
    format!("{}{}", if n < 8 { 'k' } else { 'a' }, n % 8)
}

fn ids(mask: u16) -> Vec<usize> {
    (0..16).filter(|n| mask >> n & 1 == 1).collect()
}

fn key_ids(mask: u16) -> Vec<String> {
    ids(mask).into_iter().map(id).collect()
}

fn key(n: usize) -> Value {
    json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": PAIRS[n % 8].1}})
}

fn all_keys() -> Value {
    (0..16).map(|n| (id(n), key(n))).collect::<serde_json::Map<_, _>>().into()
}

/// The repository: what the program has made of it, and what it hands out.
#[derive(Clone)]
struct World {
    roles: BTreeMap<&'static str, Draft>,
    /// `metadata/...` and `targets/...`.
    files: BTreeMap<String, Vec<u8>>,
    written: Vec<Vec<u8>>,
    form: u8,
}

#[derive(Clone)]
struct Draft {
    signed: Value,
    signers: u16,
}

impl World {
    fn new() -> Self {
        let keys = [0b111, 0b1000, 0b1_0000, 0b110_0000, 0b100_0000, 0b1000_0000, 0b100_0001, 0b1];
        let mut world = Self { roles: BTreeMap::new(), files: BTreeMap::new(), written: Vec::new(), form: 0 };
        for (role, signers) in ROLES.into_iter().zip(keys) {
            let kind = if ["root", "timestamp", "snapshot"].contains(&role) { role } else { "targets" };
            let mut signed = json!({"_type": kind, "spec_version": "1.0.34", "version": 1, "expires": EXPIRIES[0]});
            match role {
                "root" => {
                    signed["consistent_snapshot"] = json!(true);
                    signed["keys"] = all_keys();
                    let threshold = [2, 1, 1, 2];
                    for ((role, keys), threshold) in ROLES.into_iter().zip(keys).zip(threshold) {
                        signed["roles"][role] = json!({"keyids": key_ids(keys), "threshold": threshold});
                    }
                }
                "timestamp" | "snapshot" => signed["meta"] = json!({}),
                _ => signed["targets"] = json!({}),
            }
            world.roles.insert(role, Draft { signed, signers });
        }
        for (from, to, pattern) in [("targets", "A", "a/*"), ("targets", "B", "b/*"), ("A", "C", "a/*")] {
            world.delegate(from, to, pattern, false);
        }
        world.target("targets", "top", 0);
        world
    }

    fn draft(&mut self, role: &str) -> &mut Draft {
        self.roles.get_mut(role).expect("all roles are there")
    }

    fn version(&self, role: &str) -> u64 {
        self.roles[role].signed["version"].as_u64().expect("a version")
    }

    fn delegate(&mut self, from: &str, to: &str, pattern: &str, terminating: bool) {
        let mask = self.roles[to].signers;
        let delegations = &mut self.draft(from).signed["delegations"];
        if delegations.is_null() {
            *delegations = json!({"keys": all_keys(), "roles": []});
        }
        if let Some(roles) = delegations["roles"].as_array_mut() {
            roles.push(json!({
                "name": to, "keyids": key_ids(mask), "threshold": mask.count_ones().max(1), "terminating": terminating,
                "paths": [pattern],
            }));
        }
    }

    fn target(&mut self, role: &str, path: &str, content: u8) {
        let bytes = vec![content; 3];
        let (sha256, sha512) = (slow::sha256(&bytes), slow::sha512(&bytes));
        let hashes = match content % 4 {
            0 | 1 => json!({"sha256": sha256}),
            2 => json!({"sha256": sha256, "sha512": sha512}),
            _ => json!({"sha512": sha512}),
        };
        self.draft(role).signed["targets"][path] = json!({"length": 3, "hashes": hashes});
        let (folder, name) = path.rsplit_once('/').map_or((String::new(), path), |(f, n)| (format!("{f}/"), n));
        self.put(format!("targets/{folder}{sha256}.{name}"), bytes.clone());
        self.put(format!("targets/{path}"), bytes);
    }

    fn put(&mut self, name: String, bytes: Vec<u8>) {
        if self.files.contains_key(&name) || self.files.len() < MOST_FILES {
            self.files.insert(name, bytes);
        }
    }

    fn sign(&self, role: &str) -> Vec<u8> {
        let Draft { signed, signers } = &self.roles[role];
        let canonical = |value: &Value| {
            let written = serde_json::to_vec(value).expect("a document");
            slow::parse(&written).and_then(|plain| plain.canonical()).expect("strict JSON, integers alone")
        };
        let message = canonical(signed);
        let sign = |n: usize| json!({"keyid": id(n), "sig": slow::hex(PAIRS[n % 8].0.sign(&message).as_ref())});
        let signatures: Vec<Value> = ids(*signers).into_iter().map(sign).collect();
        let file = json!({"signatures": signatures, "signed": signed});
        if self.form & 2 == 0 { serde_json::to_vec_pretty(&file).expect("a document") } else { canonical(&file) }
    }

    fn name_of(&self, role: &str) -> String {
        let versioned = role == "root" || (self.form & 4 == 0 && role != "timestamp");
        let version = if versioned { format!("{}.", self.version(role)) } else { String::new() };
        format!("metadata/{version}{role}.json")
    }

    fn write(&mut self, role: &str) -> Vec<u8> {
        let (name, bytes) = (self.name_of(role), self.sign(role));
        self.written.push(bytes.clone());
        self.put(name, bytes.clone());
        bytes
    }

    fn publish(&mut self) {
        for (by, roles) in [("snapshot", &ROLES[3..]), ("timestamp", &ROLES[2..3])] {
            let mut meta = json!({});
            for role in roles {
                let bytes = self.write(role);
                let listed = &mut meta[format!("{role}.json")];
                *listed = json!({"version": self.version(role)});
                if self.form & 1 == 1 {
                    listed["length"] = json!(bytes.len());
                    listed["hashes"] = json!({"sha256": slow::sha256(&bytes)});
                }
            }
            self.draft(by).signed["meta"] = meta;
        }
        self.write("timestamp");
        if !self.files.contains_key(&self.name_of("root")) {
            self.write("root");
        }
    }

    fn file(&mut self, input: &mut Input<'_>) -> Option<&mut Vec<u8>> {
        let place = usize::from(input.byte()) % self.files.len().max(1);
        self.files.values_mut().nth(place)
    }

    fn any_name(&self, input: &mut Input<'_>) -> String {
        let (role, version) = (input.of(&ROLES), input.byte());
        match version % 8 {
            0 => format!("metadata/{role}.json"),
            n => format!("metadata/{n}.{role}.json"),
        }
    }

    fn change(&mut self, operation: u8, input: &mut Input<'_>) {
        match operation {
            op::LITERAL => {
                let name = self.any_name(input);
                let length = usize::from(input.two());
                let (bytes, rest) = input.0.split_at(length.min(input.0.len()));
                input.0 = rest;
                self.put(name, bytes.to_vec());
            }
            op::VERSION => {
                let role = input.of(&ROLES);
                let next = self.version(role).saturating_add(1);
                let version = VERSIONS.get(usize::from(input.byte() % 8)).copied().unwrap_or(next);
                self.draft(role).signed["version"] = json!(version);
            }
            op::SIGNERS => {
                let (role, signers) = (input.of(&ROLES), input.two());
                self.draft(role).signers = signers;
            }
            op::KEYS => self.keys(input),
            op::SWAP => {
                let (from, n, other) = (input.of(&ROLES), input.byte() % 16, input.byte() % 8);
                let signed = &mut self.draft(from).signed;
                let keys = if from == "root" { &mut signed["keys"] } else { &mut signed["delegations"]["keys"] };
                keys[id(usize::from(n))] = key(usize::from(other));
            }
            op::EXPIRES => {
                let (role, expires) = (input.of(&ROLES), input.of(&EXPIRIES));
                self.draft(role).signed["expires"] = json!(expires);
            }
            op::LIST => self.list(input),
            op::WRITE => drop(self.write(input.of(&ROLES))),
            op::PUBLISH => self.publish(),
            op::MISNAME => {
                let bytes = self.sign(input.of(&ROLES));
                let name = self.any_name(input);
                self.put(name, bytes);
            }
            op::FLIP => {
                let Some(file) = self.file(input).filter(|file| !file.is_empty()) else { return };
                let place = usize::from(input.two()) % file.len();
                file[place] ^= 1 << (input.byte() % 8);
            }
            op::SIGNATURE => self.signature(input),
            op::REMOVE => {
                let place = usize::from(input.byte()) % self.files.len().max(1);
                if let Some(name) = self.files.keys().nth(place).cloned() {
                    self.files.remove(&name);
                }
            }
            op::REPLAY => {
                let place = usize::from(input.byte()) % self.written.len();
                let (bytes, name) = (self.written[place].clone(), self.any_name(input));
                self.put(name, bytes);
            }
            op::DELEGATE => {
                let (from, to) = (input.of(&ROLES[3..]), input.of(&ROLES[4..]));
                let (pattern, what) = (input.of(&PATTERNS), input.byte());
                match what % 4 {
                    0 => self.delegate(from, to, pattern, false),
                    1 => self.delegate(from, to, pattern, true),
                    2 => drop(self.draft(from).signed.as_object_mut().expect("an object").remove("delegations")),
                    _ => {
                        let bins = json!({"keyids": ["k6"], "threshold": 1, "bit_length": 1, "name_prefix": to});
                        self.draft(from).signed["delegations"] = json!({"keys": all_keys(), "succinct_roles": bins});
                    }
                }
            }
            op::TARGET => {
                let (role, path) = (input.of(&ROLES[3..]), input.of(&PATHS));
                self.target(role, path, input.byte());
            }
            op::FORM => {
                self.form = input.byte();
                let consistent = self.form & 4 == 0;
                self.draft("root").signed["consistent_snapshot"] = json!(consistent);
            }
            _ => {}
        }
    }

    fn keys(&mut self, input: &mut Input<'_>) {
        let (role, mask, threshold, from) = (input.of(&ROLES), input.two(), input.byte() % 4, input.of(&ROLES[3..]));
        let (keyids, threshold) = (json!(key_ids(mask)), json!(threshold));
        let entry = if ROLES[..4].contains(&role) {
            Some(&mut self.draft("root").signed["roles"][role])
        } else {
            let roles = self.draft(from).signed.get_mut("delegations").and_then(|all| all.get_mut("roles"));
            roles.and_then(Value::as_array_mut).and_then(|roles| roles.iter_mut().find(|one| one["name"] == role))
        };
        if let Some(entry) = entry {
            entry["keyids"] = keyids;
            entry["threshold"] = threshold;
        }
    }

    fn list(&mut self, input: &mut Input<'_>) {
        let (by, role, what) = (input.of(&ROLES[1..3]), input.of(&ROLES[2..]), input.byte());
        let value = input.of(&VERSIONS);
        let meta = &mut self.draft(by).signed["meta"];
        let entry = format!("{role}.json");
        match what % 5 {
            0 => meta[entry]["version"] = json!(value),
            1 => meta[entry]["length"] = json!(value),
            2 => meta[entry]["hashes"] = json!({"sha256": slow::sha256(&[what])}),
            3 => meta[entry]["hashes"] = json!({"md5": "00"}),
            _ => drop(meta.as_object_mut().expect("an object").remove(&entry)),
        }
        self.write(by);
        if by == "snapshot" {
            self.write("timestamp");
        }
    }

    fn signature(&mut self, input: &mut Input<'_>) {
        let Some(file) = self.file(input) else { return };
        let (which, how, other) = (usize::from(input.byte()), input.byte(), input.byte());
        let Ok(mut document) = serde_json::from_slice::<Value>(file) else { return };
        let Some(signatures) = document.get_mut("signatures").and_then(Value::as_array_mut) else { return };
        if signatures.is_empty() {
            return;
        }
        let which = which % signatures.len();
        match how % 4 {
            0 => drop(signatures.remove(which)),
            1 => signatures.push(signatures[which].clone()),
            2 => signatures[which]["keyid"] = json!(id(usize::from(other % 16))),
            _ => {
                // The same signature, as another signer's.
                let mut twin = signatures[which].clone();
                twin["keyid"] = json!(id(usize::from(other % 16)));
                signatures.push(twin);
            }
        }
        *file = serde_json::to_vec(&document).expect("a document");
    }
}

/// What the world hands out at one refresh, and every root that it ever handed out.
#[derive(Default)]
struct Files {
    files: RefCell<BTreeMap<String, Vec<u8>>>,
    roots: RefCell<BTreeMap<String, BTreeSet<Vec<u8>>>>,
}

impl Files {
    fn open(&self, name: String) -> Option<Box<dyn Read>> {
        let bytes = self.files.borrow().get(&name)?.clone();
        if name.ends_with(".root.json") {
            self.roots.borrow_mut().entry(name).or_default().insert(bytes.clone());
        }
        Some(Box::new(Cursor::new(bytes)))
    }
}

impl Source for Files {
    fn metadata(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        Ok(self.open(format!("metadata/{name}")))
    }

    fn target(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        Ok(self.open(format!("targets/{name}")))
    }
}

/// Looks on, and objects.
#[derive(Default)]
struct Judge {
    refreshes: usize,
    last: Option<State>,
}

/// What one refresh ended with.
struct State {
    root: Json,
    timestamp: Json,
    snapshot: Json,
    targets: Json,
}

impl State {
    fn of(trusted: &Trusted) -> Self {
        let read = |bytes: &[u8]| slow::parse(bytes).expect("a trusted file is strict JSON");
        Self {
            root: read(trusted.root().bytes()),
            timestamp: read(trusted.timestamp().bytes()),
            snapshot: read(trusted.snapshot().bytes()),
            targets: read(trusted.targets().bytes()),
        }
    }

    /// Whether enough keys of the top-level `role` signed `file`, by what this state's root says.
    fn signs(&self, role: &str, file: &Json) -> bool {
        is_signed_for(&self.root, role, file)
    }
}

fn is_signed_for(root: &Json, role: &str, file: &Json) -> bool {
    let (entry, keys) = (signed(root, "roles").get(role), signed(root, "keys"));
    entry.is_some_and(|entry| slow::is_signed(file, entry, keys))
}

fn signed<'f>(file: &'f Json, field: &str) -> &'f Json {
    const NOTHING: &Json = &Json::Null;
    file.get("signed").and_then(|signed| signed.get(field)).unwrap_or(NOTHING)
}

fn version(file: &Json) -> u64 {
    signed(file, "version").number().expect("a version")
}

impl Judge {
    fn refresh(&mut self, client: &Client<Files>, time: &str, log: &mut Vec<String>) {
        self.refreshes += 1;
        let mut session = match client.refresh() {
            Ok(session) => session,
            Err(error) => return log.push(code(&error).to_owned()),
        };
        let state = State::of(session.trusted());
        let State { root, timestamp, snapshot, targets } = &state;
        let source = client.source();

        for (file, kind) in [(root, "root"), (timestamp, "timestamp"), (snapshot, "snapshot"), (targets, "targets")] {
            assert!(state.signs(kind, file), "{kind}: not signed");
            is_current(file, kind, time);
        }
        assert!(
            is_of_the_chain(root, session.trusted().root().bytes(), &source.roots.borrow()),
            "a root out of nowhere"
        );
        let newer = version(root).checked_add(1).map(|next| format!("metadata/{next}.root.json"));
        assert!(!newer.is_some_and(|name| source.files.borrow().contains_key(&name)), "there is a newer root");
        is_listed(timestamp, "snapshot", snapshot, session.trusted().snapshot().bytes());
        is_listed(snapshot, "targets", targets, session.trusted().targets().bytes());
        if let Some(last) = &self.last {
            is_not_older(last, &state, session.trusted(), &source.roots.borrow());
        }
        let versions = [root, timestamp, snapshot, targets].map(|file| version(file).to_string());
        log.push(versions.join("."));
        for path in PATHS {
            log.push(format!("{path}: {}", search(&mut session, &state, path, time)));
        }
        self.last = Some(state);
    }
}

fn code(error: &ClientError) -> &'static str {
    match error {
        ClientError::NotTrusted(error) => error.code(),
        ClientError::Undecided(error) => error.code(),
    }
}

fn is_current(file: &Json, kind: &str, time: &str) {
    assert_eq!(signed(file, "_type").text(), Some(kind));
    // All times that a signed file can have here are of one form.
    assert!(signed(file, "expires").text().is_some_and(|expires| expires > time), "{kind}: expired");
}

fn is_listed(by: &Json, role: &str, file: &Json, bytes: &[u8]) {
    let entry = signed(by, "meta").get(&format!("{role}.json")).expect("it is listed");
    assert_eq!(entry.get("version").and_then(Json::number), Some(version(file)), "{role}");
    if let Some(length) = entry.get("length").and_then(Json::number) {
        assert_eq!(usize::try_from(length), Ok(bytes.len()), "{role}");
    }
    if let Some(hashes) = entry.get("hashes") {
        has_hashes(hashes, bytes);
    }
}

fn has_hashes(hashes: &Json, bytes: &[u8]) {
    let listed = |algorithm| hashes.get(algorithm).and_then(Json::text);
    assert!(listed("sha256").or(listed("sha512")).is_some(), "no known hash");
    assert!(listed("sha256").is_none_or(|hash| hash == slow::sha256(bytes)));
    assert!(listed("sha512").is_none_or(|hash| hash == slow::sha512(bytes)));
}

/// Whether roots that were handed out lead from the pinned one to this one, each signed by enough keys of the one before and of itself.
fn is_of_the_chain(root: &Json, bytes: &[u8], roots: &BTreeMap<String, BTreeSet<Vec<u8>>>) -> bool {
    chain(roots, version(root)).iter().any(|(reached, _)| reached == bytes)
}

/// The roots of this version that can be reached, each with one that leads to it.
fn chain(roots: &BTreeMap<String, BTreeSet<Vec<u8>>>, to: u64) -> Vec<(Vec<u8>, Option<Json>)> {
    let mut reached = vec![(PINNED.clone(), None)];
    for next in 2..=to {
        let before: Vec<Json> = reached.iter().filter_map(|(bytes, _)| slow::parse(bytes)).collect();
        let named = roots.get(&format!("metadata/{next}.root.json"));
        let files = named.into_iter().flatten().filter_map(|bytes| Some((bytes, slow::parse(bytes)?)));
        let files = files.filter(|(_, file)| {
            signed(file, "_type").text() == Some("root")
                && signed(file, "version").number() == Some(next)
                && is_signed_for(file, "root", file)
        });
        let pairs = files.flat_map(|(bytes, file)| {
            let led: Vec<_> = before.iter().filter(|before| is_signed_for(before, "root", &file)).collect();
            led.into_iter().map(|before| (bytes.clone(), Some(before.clone()))).collect::<Vec<_>>()
        });
        reached = pairs.collect();
        if reached.is_empty() {
            break;
        }
    }
    reached
}

/// 5.3.5, 5.4.3, 5.5.5, and 5.3.11: what sets no floor any more.
fn is_not_older(last: &State, now: &State, trusted: &Trusted, roots: &BTreeMap<String, BTreeSet<Vec<u8>>>) {
    let (before, after) = (version(&last.root), version(&now.root));
    assert!(after >= before, "the root went back");
    let lost = |old: &Json, new: &Json| {
        let keys = |root: &Json, role: &str| {
            signed(root, "roles")
                .get(role)
                .map(|entry| slow::role_keys(entry, signed(root, "keys")))
                .unwrap_or_default()
        };
        ["timestamp", "snapshot"].iter().any(|role| !keys(new, role).is_superset(&keys(old, role)))
    };
    let rotated = (before..after).any(|version| {
        chain(roots, version + 1).iter().any(|(bytes, before)| {
            before.as_ref().zip(slow::parse(bytes)).is_some_and(|(before, after)| lost(before, &after))
        })
    });
    if rotated {
        return;
    }
    // A new root may ask for more signatures than what was remembered has. Then that is no floor either.
    if now.signs("timestamp", &last.timestamp) {
        assert!(version(&now.timestamp) >= version(&last.timestamp), "the timestamp went back");
        let listed = |file: &Json| {
            let entry = signed(file, "meta").get("snapshot.json").and_then(|entry| entry.get("version"));
            entry.and_then(Json::number).expect("a version")
        };
        assert!(listed(&now.timestamp) >= listed(&last.timestamp), "the snapshot went back");
        if version(&now.timestamp) == version(&last.timestamp) {
            assert_eq!(slow::parse(trusted.timestamp().bytes()).as_ref(), Some(&last.timestamp), "another timestamp");
        }
    }
    if now.signs("snapshot", &last.snapshot) {
        for (name, was) in signed(&last.snapshot, "meta").members() {
            let is = signed(&now.snapshot, "meta").get(name).expect("it is still listed");
            let version = |entry: &Json| entry.get("version").and_then(Json::number).expect("a version");
            assert!(version(is) >= version(was), "{name} went back");
        }
    }
}

/// Looks for a target and compares with a walk over what the client has loaded by then.
fn search(session: &mut Session<'_, Files>, state: &State, path: &str, time: &str) -> String {
    let result = match session.find(path) {
        Ok(result) => result,
        Err(error) => return code(&error).to_owned(),
    };
    let mut walk = Walk { trusted: session.trusted(), state, path, time, visited: BTreeSet::new() };
    let end = walk.visit(&state.targets, "targets", &["targets"]);
    match (&result, &end) {
        (Ok(found), End::Found(chain, entry)) => {
            let names: Vec<&str> = found.delegations().iter().map(|role| role.as_str()).collect();
            assert_eq!(names, *chain, "{path}");
            let fetched = is_the_target(session, found, entry);
            format!("{}: {fetched}", names.join("/"))
        }
        (Err(Absence::NotListed), End::Absent | End::Nothing) => "absent".to_owned(),
        (Err(Absence::RoleNotInSnapshot(role)), End::NotInSnapshot(name)) if role.as_str() == name => {
            "not in the snapshot".to_owned()
        }
        (Err(Absence::TooManyRoles(MOST_DELEGATIONS)), End::TooMany) => "too many roles".to_owned(),
        _ => panic!("{path}: {result:?}, but slowly {end:?}"),
    }
}

fn is_the_target(session: &Session<'_, Files>, found: &Found, entry: &Json) -> &'static str {
    assert_eq!(Some(found.file().length()), entry.get("length").and_then(Json::number));
    let bytes = match session.fetch(found) {
        Ok(bytes) => bytes,
        Err(error) => return code(&error),
    };
    assert_eq!(u64::try_from(bytes.len()), Ok(found.file().length()));
    has_hashes(entry.get("hashes").expect("hashes"), &bytes);
    "fetched"
}

/// A search as the specification has it, by recursion [TUF 5.6.7].
struct Walk<'s> {
    trusted: &'s Trusted,
    state: &'s State,
    path: &'s str,
    time: &'s str,
    visited: BTreeSet<String>,
}

#[derive(Debug)]
enum End {
    Found(Vec<String>, Json),
    /// Below a terminating delegation.
    Absent,
    NotInSnapshot(String),
    TooMany,
    /// Not here; the search goes on.
    Nothing,
}

impl Walk<'_> {
    fn visit(&mut self, file: &Json, name: &str, above: &[&str]) -> End {
        if let Some(entry) = signed(file, "targets").get(self.path) {
            return End::Found(above.iter().map(|name| (*name).to_owned()).collect(), entry.clone());
        }
        let delegations = signed(file, "delegations");
        for (child, entry) in slow::delegated(delegations, self.path) {
            if !self.visited.contains(&child) {
                if self.visited.len() >= usize::try_from(MOST_DELEGATIONS).expect("a small number") {
                    return End::TooMany;
                }
                if signed(&self.state.snapshot, "meta").get(&format!("{child}.json")).is_none() {
                    return End::NotInSnapshot(child);
                }
                let loaded = self.trusted.delegated(name, &child).expect("it was visited");
                let next = slow::parse(loaded.bytes()).expect("a trusted file is strict JSON");
                let keys = delegations.get("keys").expect("keys");
                assert!(slow::is_signed(&next, entry, keys), "{child}: not signed for {name}");
                is_current(&next, "targets", self.time);
                is_listed(&self.state.snapshot, &child, &next, loaded.bytes());
                self.visited.insert(child.clone());
                match self.visit(&next, &child, &[above, &[child.as_str()]].concat()) {
                    End::Nothing => {}
                    end => return end,
                }
            }
            let succinct = delegations.get("succinct_roles").is_some();
            if succinct || entry.get("terminating") == Some(&Json::Bool(true)) {
                return End::Absent;
            }
        }
        End::Nothing
    }
}
