//! Large TUF repositories, written straight to a folder. The same call gives the same bytes, and no role file is ever built as a tree of values.
//!
//! - A **flat** one lists all targets in `targets.json`.
//! - A **hashed** one has 2^bits bins by the SHA-256 of the path: as python-tuf lists them (`path_hash_prefixes`), or succinct [TAP 15]. With at
//!   most [`ALL_WRITTEN`] targets every bin has its file. Beyond, only the bins of the [`Plan::real`] targets have: all others are listed with
//!   the length that they would have, and a hash that no file has.
//! - A chain of **roots**, each signed by the key before and its own.
//!
//! A few targets, [`Plan::real`], have a file that can be fetched; the rest have made-up lengths and hashes. Keys and times are those of
//! [`Repo`], consistent snapshots are on, and the first root is `metadata/1.root.json`. Expects the module `support` of the tests at the crate's top.
//! One role file at a time is in memory whole, for that is how `ring` signs: of a flat repository that is `targets.json`.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each bench uses its own part of this")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use plimsoll::digest::Sha256;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};

use crate::support::repo::{EXPIRES, ROOT, Repo, SNAPSHOT, Signer, TARGETS, TIMESTAMP, canonical, hex, sha256};

/// Up to so many targets, all bins are written.
pub const ALL_WRITTEN: usize = 1_000_000;
/// How many targets have a file, if there are so many.
const REAL: usize = 32;
/// Signs the bins.
const BIN: Signer = Signer(40);

/// A repository to be written.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub targets: usize,
    pub layout: Layout,
    pub form: Form,
    /// Whether the snapshot lists length and hash of each bin. Those of `targets.json` are always listed, and those of the snapshot.
    pub lists_hashes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Flat,
    Bins { bits: u32, succinct: bool },
}

/// How role files are laid out that list targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As python-tuf writes them.
    Canonical,
    /// As tough does.
    Indented,
}

/// All targets in one file, in canonical form.
pub fn flat(folder: &Path, targets: usize) {
    Plan::flat(targets).write(folder);
}

/// 2^bits bins, listed as python-tuf does, with their versions alone in the snapshot.
pub fn hashed(folder: &Path, targets: usize, bits: u32) {
    Plan::hashed(targets, bits).write(folder);
}

/// A repository with one target and so many rotations of the root key.
pub fn roots(folder: &Path, rotations: usize) {
    let mut repo = Repo::new();
    for n in 0..rotations {
        // Another key each time, so that every step of the chain is another pair of signatures.
        repo.rotate("root", &[Signer(if n % 2 == 0 { 50 } else { 51 })]);
    }
    repo.target("targets", &path_of(0), &content(0, 1)).write();
    repo.save(folder);
}

/// The path of the target with this number; there can be 10^7.
pub fn path_of(n: usize) -> String {
    format!("registry.example/team/app-{n:07}/1.4/manifest.json")
}

/// What a real target holds: an image manifest with six layers.
pub fn content(n: usize, edition: usize) -> Vec<u8> {
    let blob = |part: usize, kind: &str| {
        let digest = sha256(format!("{n} {edition} {part}").as_bytes());
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.{kind}\",\"digest\":\"sha256:{digest}\",\"size\":{}}}",
            1000 + part
        )
    };
    let layers: Vec<String> = (1..=6).map(|part| blob(part, "layer.v1.tar+gzip")).collect();
    let (config, layers) = (blob(0, "config.v1+json"), layers.join(","));
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    format!("{{\"schemaVersion\":2,\"mediaType\":\"{media_type}\",\"config\":{config},\"layers\":[{layers}]}}")
        .into_bytes()
}

/// The bin of a path: the first bits of its SHA-256.
pub fn bin_of(path: &str, bits: u32) -> usize {
    let hash = Sha256::of(path.as_bytes()).to_hex();
    usize::from_str_radix(&hash[..8], 16).unwrap() >> (32 - bits)
}

/// The role name of a bin; that of TAP 15, for listed bins too.
pub fn bin_name(bin: usize, bits: u32) -> String {
    let width = hex_digits(bits);
    format!("bin-{bin:0width$x}")
}

impl Plan {
    pub fn flat(targets: usize) -> Self {
        Self { targets, layout: Layout::Flat, form: Form::Canonical, lists_hashes: false }
    }

    pub fn hashed(targets: usize, bits: u32) -> Self {
        Self { layout: Layout::Bins { bits, succinct: false }, ..Self::flat(targets) }
    }

    pub fn succinct(targets: usize, bits: u32) -> Self {
        Self { layout: Layout::Bins { bits, succinct: true }, ..Self::flat(targets) }
    }

    pub fn with_hashes(self) -> Self {
        Self { lists_hashes: true, ..self }
    }

    pub fn indented(self) -> Self {
        Self { form: Form::Indented, ..self }
    }

    /// The targets that have a file: spread over all, none twice.
    pub fn real(&self) -> Vec<usize> {
        let count = REAL.min(self.targets);
        (0..count).map(|k| k * self.targets / count).collect()
    }

    fn is_real(&self, n: usize) -> bool {
        let count = REAL.min(self.targets);
        // The only one that can be it.
        let k = (n * count).div_ceil(self.targets);
        k < count && k * self.targets / count == n
    }

    /// The one to look up: it stays as it is.
    pub fn looked_up(&self) -> usize {
        self.targets / 2
    }

    /// The one that every later edition changes. If there are bins, it is in another one than [`looked_up`](Self::looked_up).
    pub fn changed(&self) -> usize {
        let Layout::Bins { bits, .. } = self.layout else { return self.real()[1] };
        let home = bin_of(&path_of(self.looked_up()), bits);
        self.real().into_iter().find(|n| bin_of(&path_of(*n), bits) != home).unwrap()
    }

    /// The first edition, with the root.
    pub fn write(&self, folder: &Path) {
        put_signed(folder, "1.root", &canonical(Repo::new().signed("root")), ROOT, 1);
        for n in self.real() {
            self.put_target(folder, n, 1);
        }
        self.write_edition(folder, 1);
    }

    /// The next edition, 2 or later, beside the earlier ones: [`changed`](Self::changed) has other content, and what lists it is new.
    pub fn publish(&self, folder: &Path, edition: usize) {
        self.put_target(folder, self.changed(), edition);
        self.write_edition(folder, edition);
    }

    fn write_edition(&self, folder: &Path, edition: usize) {
        let mut repo = Repo::new();
        let (bins, top) = match self.layout {
            Layout::Flat => {
                (String::new(), self.put_targets(folder, "targets", TARGETS, edition, 0..self.targets, edition))
            }
            Layout::Bins { bits, succinct } => (self.put_bins(folder, bits, edition), put_top(folder, bits, succinct)),
        };
        repo.signed("snapshot")["version"] = json!(edition);
        repo.signed("snapshot")["meta"] = json!({});
        let meta = |text: &mut String| write!(text, "{bins}\"targets.json\":{top}").unwrap();
        let signed = fill(&canonical(repo.signed("snapshot")), "\"meta\":{", bins.len(), meta);
        let snapshot = put_signed(folder, &format!("{edition}.snapshot"), &signed, SNAPSHOT, edition);
        repo.signed("timestamp")["version"] = json!(edition);
        repo.signed("timestamp")["meta"] = json!({"snapshot.json": serde_json::from_str::<Value>(&snapshot).unwrap()});
        put_signed(folder, "timestamp", &canonical(repo.signed("timestamp")), TIMESTAMP, edition);
    }

    /// Writes a role that lists these targets, as they are in an edition. Returns what the snapshot says of it.
    fn put_targets(
        &self,
        folder: &Path,
        role: &str,
        signer: Signer,
        version: usize,
        numbers: impl ExactSizeIterator<Item = usize> + Clone,
        edition: usize,
    ) -> String {
        let members = |form| {
            let numbers = numbers.clone();
            move |text: &mut String| {
                for (i, n) in numbers.enumerate() {
                    self.entry(n, edition, form, i == 0, text);
                }
            }
        };
        let (name, signed) = (format!("{version}.{role}"), targets_role(version));
        let message = fill(&canonical(&signed), "\"targets\":{", 180 * numbers.len(), members(Form::Canonical));
        if self.form == Form::Canonical {
            return put_signed(folder, &name, &message, signer, version);
        }
        let signatures = json!([{"keyid": signer.id(), "sig": signer.sign(message.as_bytes())}]);
        drop(message);
        let template = serde_json::to_string_pretty(&json!({"signatures": signatures, "signed": signed})).unwrap();
        let file = fill(&template, "\"targets\": {", 240 * numbers.len(), |text| {
            members(Form::Indented)(text);
            text.push_str("\n    ");
        });
        put_role(folder, &name, version, &[&file])
    }

    /// The member of `targets` for one target.
    fn entry(&self, n: usize, edition: usize, form: Form, is_first: bool, text: &mut String) {
        let (length, hash) = if self.is_real(n) {
            let bytes = content(n, if n == self.changed() { edition } else { 1 });
            (bytes.len(), sha256(&bytes))
        } else {
            (1000 + n % 1000, Sha256::of(&n.to_be_bytes()).to_hex())
        };
        let (path, comma) = (path_of(n), if is_first { "" } else { "," });
        match form {
            Form::Canonical => {
                write!(text, "{comma}\"{path}\":{{\"hashes\":{{\"sha256\":\"{hash}\"}},\"length\":{length}}}").unwrap();
            }
            Form::Indented => {
                write!(text, "{comma}\n      \"{path}\": {{\n        \"hashes\": {{\n          \"sha256\": \"{hash}\"")
                    .unwrap();
                write!(text, "\n        }},\n        \"length\": {length}\n      }}").unwrap();
            }
        }
    }

    /// Writes the bins that an edition changes and that are to have a file. Returns the part of the snapshot that lists them all.
    fn put_bins(&self, folder: &Path, bits: u32, edition: usize) -> String {
        let home = |n: usize| bin_of(&path_of(n), bits);
        let changed = home(self.changed());
        let real: Vec<usize> = self.real().into_iter().map(home).collect();
        let all = self.targets <= ALL_WRITTEN;
        // The targets of each bin that is written, in order; of the others only how many there are.
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); 1 << bits];
        let mut counts = vec![0_usize; 1 << bits];
        for n in 0..self.targets {
            let bin = home(n);
            counts[bin] += 1;
            if all || real.contains(&bin) {
                members[bin].push(n);
            }
        }
        let empty = canonical(&targets_role(1));
        let empty = opening(&empty, BIN).len() + empty.len() + 1;
        let each = {
            let mut text = String::new();
            self.entry(self.targets, 1, Form::Canonical, false, &mut text);
            text.len()
        };
        let mut meta = String::new();
        for (bin, numbers) in members.iter().enumerate() {
            let name = bin_name(bin, bits);
            let version = if bin == changed { edition } else { 1 };
            // What did not change is there already, and is made again only where its hash is wanted.
            let is_wanted = version == edition || self.lists_hashes;
            let full = if (all || real.contains(&bin)) && is_wanted {
                self.put_targets(folder, &name, BIN, version, numbers.iter().copied(), edition)
            } else {
                listed(version, empty + (counts[bin] * each).saturating_sub(1), &sha256(name.as_bytes()))
            };
            let line = if self.lists_hashes { full } else { format!("{{\"version\":{version}}}") };
            write!(meta, "\"{name}.json\":{line},").unwrap();
        }
        meta
    }

    fn put_target(&self, folder: &Path, n: usize, edition: usize) {
        let (path, bytes) = (path_of(n), content(n, edition));
        let hash = sha256(&bytes);
        let (parent, name) = path.rsplit_once('/').unwrap();
        put(folder, &format!("targets/{parent}/{hash}.{name}"), &[&bytes]);
        // Where tough looks for it.
        put(folder, &format!("targets/{hash}.{path}"), &[&bytes]);
    }
}

/// A role that lists nothing.
fn targets_role(version: usize) -> Value {
    json!({"_type": "targets", "expires": EXPIRES, "spec_version": "1.0.31", "targets": {}, "version": version})
}

/// Writes the `targets.json` of a hashed repository: nothing but delegations. Returns what the snapshot says of it.
fn put_top(folder: &Path, bits: u32, succinct: bool) -> String {
    let mut signed = targets_role(1);
    let keys = json!({BIN.id(): BIN.public()});
    let signed = if succinct {
        let roles = json!({"bit_length": bits, "keyids": [BIN.id()], "name_prefix": "bin", "threshold": 1});
        signed["delegations"] = json!({"keys": keys, "succinct_roles": roles});
        canonical(&signed)
    } else {
        signed["delegations"] = json!({"keys": keys, "roles": []});
        fill(&canonical(&signed), "\"roles\":[", 200 << bits, |text| list_roles(bits, text))
    };
    put_signed(folder, "1.targets", &signed, TARGETS, 1)
}

/// Bins by the prefixes of hashes, of as few hex digits as tell them apart.
fn list_roles(bits: u32, text: &mut String) {
    let (digits, id) = (hex_digits(bits), BIN.id());
    let each = 1_usize << (4 * hex_digits(bits) - bits as usize);
    for bin in 0..1_usize << bits {
        let comma = if bin == 0 { "" } else { "," };
        let prefixes: Vec<String> = (0..each).map(|low| format!("\"{:0digits$x}\"", bin * each + low)).collect();
        let (name, prefixes) = (bin_name(bin, bits), prefixes.join(","));
        write!(text, "{comma}{{\"keyids\":[\"{id}\"],\"name\":\"{name}\",\"path_hash_prefixes\":[{prefixes}],")
            .unwrap();
        text.push_str("\"terminating\":false,\"threshold\":1}");
    }
}

fn hex_digits(bits: u32) -> usize {
    bits.div_ceil(4) as usize
}

/// `template` with members put in behind `open`, which occurs in it once.
fn fill(template: &str, open: &str, room: usize, members: impl FnOnce(&mut String)) -> String {
    let (before, after) = template.split_once(open).unwrap();
    let mut text = String::with_capacity(template.len() + room);
    text.push_str(before);
    text.push_str(open);
    members(&mut text);
    text.push_str(after);
    text
}

fn opening(signed: &str, signer: Signer) -> String {
    let signatures = json!([{"keyid": signer.id(), "sig": signer.sign(signed.as_bytes())}]);
    format!("{{\"signatures\":{signatures},\"signed\":")
}

/// Writes a role file. Returns what a snapshot or timestamp says of it.
fn put_signed(folder: &Path, name: &str, signed: &str, signer: Signer, version: usize) -> String {
    put_role(folder, name, version, &[&opening(signed, signer), signed, "}"])
}

fn put_role(folder: &Path, name: &str, version: usize, parts: &[&str]) -> String {
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    put(folder, &format!("metadata/{name}.json"), &parts);
    let mut hash = Context::new(&SHA256);
    parts.iter().for_each(|part| hash.update(part));
    listed(version, parts.iter().map(|part| part.len()).sum(), &hex(hash.finish().as_ref()))
}

fn listed(version: usize, length: usize, sha256: &str) -> String {
    format!("{{\"hashes\":{{\"sha256\":\"{sha256}\"}},\"length\":{length},\"version\":{version}}}")
}

fn put(folder: &Path, name: &str, parts: &[&[u8]]) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = File::create(path).unwrap();
    for part in parts {
        file.write_all(part).unwrap();
    }
}
