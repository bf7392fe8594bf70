//! A TUF repository in memory. Keys and times are fixed, so the same lines give the same bytes each time.
//!
//! It knows nothing of plimsoll: what it writes is made from the specification's formats with `serde_json` and `ring`, and python-tuf
//! reads it too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

/// When the metadata of a new repository expires.
pub const EXPIRES: &str = "2040-01-01T00:00:00Z";
/// A time at which it has not.
pub const NOW: &str = "2030-01-01T00:00:00Z";

/// A key pair made from a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signer(pub u8);

impl Signer {
    fn pair(self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[self.0; 32]).unwrap()
    }

    /// The key as an entry of a `keys` object.
    pub fn public(self) -> Value {
        json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex(self.pair().public_key().as_ref())}})
    }

    /// The SHA-256 of the canonical form of the key, as other TUF tools have it.
    pub fn id(self) -> String {
        sha256(canonical(&self.public()).as_bytes())
    }

    pub fn sign(self, message: &[u8]) -> String {
        hex(self.pair().sign(message).as_ref())
    }
}

/// A role's file before it is signed.
#[derive(Debug, Clone)]
pub struct RoleFile {
    pub signed: Value,
    pub signers: Vec<Signer>,
}

/// A repository. Change what you like, then [`write`](Self::write) or [`publish`](Self::publish).
#[derive(Debug, Clone)]
pub struct Repo {
    pub roles: BTreeMap<String, RoleFile>,
    /// What clients see: `metadata/...` and `targets/...`.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Whether the snapshot lists lengths and hashes, too.
    pub lists_hashes: bool,
}

pub const ROOT: Signer = Signer(1);
pub const TIMESTAMP: Signer = Signer(2);
pub const SNAPSHOT: Signer = Signer(3);
pub const TARGETS: Signer = Signer(4);

impl Default for Repo {
    fn default() -> Self {
        Self::new()
    }
}

impl Repo {
    /// All roles in version 1 with one key each, consistent snapshots, written.
    pub fn new() -> Self {
        Self::of([ROOT, TIMESTAMP, SNAPSHOT, TARGETS])
    }

    /// The same with these keys, in the order of the workflow.
    pub fn of(keys: [Signer; 4]) -> Self {
        let [root, timestamp, snapshot, targets] = keys;
        let top = [("root", root), ("timestamp", timestamp), ("snapshot", snapshot), ("targets", targets)];
        let keys: BTreeMap<String, Value> = top.iter().map(|(_, key)| (key.id(), key.public())).collect();
        let roles: BTreeMap<&str, Value> =
            top.iter().map(|(role, key)| (*role, json!({"keyids": [key.id()], "threshold": 1}))).collect();
        let mut repo = Self { roles: BTreeMap::new(), files: BTreeMap::new(), lists_hashes: false };
        repo.insert("root", json!({"consistent_snapshot": true, "keys": keys, "roles": roles}), &[root]);
        repo.insert("targets", json!({"targets": {}}), &[targets]);
        repo.insert("snapshot", json!({"meta": {}}), &[snapshot]);
        repo.insert("timestamp", json!({"meta": {}}), &[timestamp]);
        repo.write();
        repo
    }

    fn insert(&mut self, role: &str, mut signed: Value, signers: &[Signer]) {
        let kind = if ["root", "timestamp", "snapshot"].contains(&role) { role } else { "targets" };
        signed["_type"] = json!(kind);
        signed["spec_version"] = json!("1.0.31");
        signed["version"] = json!(1);
        signed["expires"] = json!(EXPIRES);
        self.roles.insert(role.to_owned(), RoleFile { signed, signers: signers.to_vec() });
    }

    /// The `signed` object of a role, to be changed.
    pub fn signed(&mut self, role: &str) -> &mut Value {
        &mut self.role(role).signed
    }

    pub fn role(&mut self, role: &str) -> &mut RoleFile {
        self.roles.get_mut(role).unwrap()
    }

    pub fn version(&self, role: &str) -> u64 {
        self.roles[role].signed["version"].as_u64().unwrap()
    }

    pub fn bump(&mut self, role: &str) -> &mut Self {
        let next = self.version(role) + 1;
        self.signed(role)["version"] = json!(next);
        self
    }

    pub fn consistent(&self) -> bool {
        self.roles["root"].signed["consistent_snapshot"] == json!(true)
    }

    /// Adds a file to a targets role.
    pub fn target(&mut self, role: &str, path: &str, bytes: &[u8]) -> &mut Self {
        let hash = sha256(bytes);
        self.signed(role)["targets"][path] = json!({"length": bytes.len(), "hashes": {"sha256": hash}});
        let (folder, name) = path.rsplit_once('/').map_or((String::new(), path), |(f, n)| (format!("{f}/"), n));
        let file = if self.consistent() { format!("{folder}{hash}.{name}") } else { path.to_owned() };
        self.files.insert(format!("targets/{file}"), bytes.to_vec());
        self
    }

    /// Adds a delegated role, or one more delegation to a role that is there.
    pub fn delegate(
        &mut self,
        from: &str,
        to: &str,
        paths: &[&str],
        signers: &[Signer],
        terminating: bool,
    ) -> &mut Self {
        let keyids: Vec<String> = signers.iter().map(|key| key.id()).collect();
        let role = json!({"name": to, "keyids": keyids, "threshold": signers.len().max(1), "terminating": terminating, "paths": paths});
        self.delegations(from, signers)["roles"].as_array_mut().unwrap().push(role);
        if !self.roles.contains_key(to) {
            self.insert(to, json!({"targets": {}}), signers);
        }
        self
    }

    /// The `delegations` object of a role, made if need be, with the keys of `signers` in it.
    pub fn delegations(&mut self, from: &str, signers: &[Signer]) -> &mut Value {
        let delegations = &mut self.signed(from)["delegations"];
        if delegations.is_null() {
            *delegations = json!({"keys": {}, "roles": []});
        }
        for key in signers {
            delegations["keys"][key.id()] = key.public();
        }
        delegations
    }

    /// Gives a top-level role other keys, in the next version of the root. The root stays signed by its old keys, too.
    pub fn rotate(&mut self, role: &str, signers: &[Signer]) -> &mut Self {
        let keyids: Vec<String> = signers.iter().map(|key| key.id()).collect();
        for key in signers {
            self.signed("root")["keys"][key.id()] = key.public();
        }
        self.signed("root")["roles"][role] = json!({"keyids": keyids, "threshold": signers.len().max(1)});
        if role == "root" {
            let old = self.role("root").signers.clone();
            self.role("root").signers =
                signers.iter().copied().chain(old.into_iter().filter(|k| !signers.contains(k))).collect();
        } else {
            self.role(role).signers = signers.to_vec();
        }
        self.bump("root").write_role("root");
        if role == "root" {
            self.role("root").signers = signers.to_vec();
        }
        self.write()
    }

    /// Writes all files with the versions that they have. The root is not written again if its file is there.
    pub fn write(&mut self) -> &mut Self {
        let names: Vec<String> = self.roles.keys().cloned().collect();
        let delegated = names.iter().filter(|name| !["root", "snapshot", "timestamp"].contains(&name.as_str()));
        let mut meta = json!({});
        for name in delegated {
            let bytes = self.write_role(name);
            meta[format!("{name}.json")] = self.listed(name, &bytes);
        }
        self.signed("snapshot")["meta"] = meta;
        let bytes = self.write_role("snapshot");
        self.signed("timestamp")["meta"] = json!({"snapshot.json": self.listed("snapshot", &bytes)});
        self.write_role("timestamp");
        if !self.files.contains_key(&format!("metadata/{}.root.json", self.version("root"))) {
            self.write_role("root");
        }
        self
    }

    /// The next version of targets, snapshot and timestamp.
    pub fn publish(&mut self) -> &mut Self {
        self.bump("targets").bump("snapshot").bump("timestamp").write()
    }

    fn listed(&self, role: &str, bytes: &[u8]) -> Value {
        let version = self.version(role);
        if !self.lists_hashes {
            return json!({"version": version});
        }
        json!({"version": version, "length": bytes.len(), "hashes": {"sha256": sha256(bytes)}})
    }

    /// Signs a role's file as it is and puts it where clients look for it.
    pub fn write_role(&mut self, role: &str) -> Vec<u8> {
        let bytes = self.sign(role);
        self.files.insert(self.file_name(role), bytes.clone());
        bytes
    }

    /// `metadata/1.snapshot.json` and the like.
    pub fn file_name(&self, role: &str) -> String {
        let name: String = role.bytes().map(quote).collect();
        let versioned = role == "root" || (self.consistent() && role != "timestamp");
        if versioned { format!("metadata/{}.{name}.json", self.version(role)) } else { format!("metadata/{name}.json") }
    }

    pub fn sign(&self, role: &str) -> Vec<u8> {
        let RoleFile { signed, signers } = &self.roles[role];
        envelope(signed, signers)
    }

    /// The first root, to be pinned.
    pub fn pinned(&self) -> Vec<u8> {
        self.files["metadata/1.root.json"].clone()
    }

    /// Writes all files below `folder`.
    pub fn save(&self, folder: &Path) {
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

/// A signed role file.
pub fn envelope(signed: &Value, signers: &[Signer]) -> Vec<u8> {
    let message = canonical(signed);
    let signatures: Vec<Value> =
        signers.iter().map(|key| json!({"keyid": key.id(), "sig": key.sign(message.as_bytes())})).collect();
    let mut bytes = serde_json::to_vec_pretty(&json!({"signatures": signatures, "signed": signed})).unwrap();
    bytes.push(b'\n');
    bytes
}

/// The OLPC canonical form. `serde_json` keeps objects sorted, and its shortest form differs in what it escapes only.
pub fn canonical(value: &Value) -> String {
    let string = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match value {
        Value::String(text) => string(text),
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(object) => {
            let members = object.iter().map(|(key, value)| format!("{}:{}", string(key), canonical(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub fn sha512(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA512, bytes).as_ref())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quote(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
