//! Role files of each kind. The first byte says of which kind the rest is to be read.
//!
//! A parsed file shows nothing before its signatures are checked. So what parses is signed here, with a key that a fixed root gives every
//! role, and read again: then what it shows must be what [`slow`] reads in it.

use std::sync::LazyLock;

use plimsoll::limits::MetadataLimits;
use plimsoll::metadata::roles::{Hashes, MetaFile, Root, Snapshot, Targets, Timestamp};
use plimsoll::metadata::{Role, RoleKeys, Signed, Unverified};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::slow::{self, Json};

/// Paths that every delegation is asked for, beside those that the file itself lists.
const PATHS: [&str; 6] = ["", "a", "a/b", "team/app/1.4/manifest.json", "/", "é/*"];

pub fn hold(bytes: &[u8]) {
    let Some((kind, file)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => read::<Root>(file, root),
        1 => read::<Timestamp>(file, |timestamp, plain| {
            meta_file(timestamp.snapshot(), plain.get("meta").and_then(|meta| meta.get("snapshot.json")));
        }),
        2 => read::<Snapshot>(file, snapshot),
        _ => read::<Targets>(file, targets),
    }
}

/// The key that signs here, and a root that gives it to every role.
static KEY: LazyLock<(Ed25519KeyPair, Signed<Root>)> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed");
    let public = slow::hex(pair.public_key().as_ref());
    let role = json!({"keyids": ["key"], "threshold": 1});
    let signed = json!({
        "_type": "root", "spec_version": "1.0.34", "version": 1, "expires": "2040-01-01T00:00:00Z",
        "keys": {"key": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}},
        "roles": {"root": role, "timestamp": role, "snapshot": role, "targets": role},
    });
    let file = envelope(&pair, serde_json::to_vec(&signed).expect("a document").as_slice());
    let root = Unverified::<Root>::parse(&file, &MetadataLimits::default()).expect("a root");
    (pair, root.verify_pinned().expect("signed"))
});

/// `signed`, the text of a document, as a file that `pair` signed.
fn envelope(pair: &Ed25519KeyPair, signed: &[u8]) -> Vec<u8> {
    let message = slow::parse(signed).and_then(|signed| signed.canonical()).expect("it parsed");
    let signature = slow::hex(pair.sign(&message).as_ref());
    let head = format!(r#"{{"signatures":[{{"keyid":"key","sig":"{signature}"}}],"signed":"#);
    [head.as_bytes(), signed, b"}"].concat()
}

fn read<T: Role>(file: &[u8], hold: fn(&T, &Json)) {
    let limits = MetadataLimits::default();
    let Ok(parsed) = Unverified::<T>::parse(file, &limits) else { return };
    let (pair, root) = &*KEY;
    // Nobody but this target has the key, and a signature over one file is none over another.
    assert!(parsed.verify(root.root(), root.keys()).is_err());

    // Escaped otherwise than it was, and with other white space; or as it would be signed.
    let document: serde_json::Value = serde_json::from_slice(file).expect("JSON");
    let plain = slow::parse(file).expect("strict JSON");
    let signed = plain.get("signed").expect("it parsed");
    let pretty = serde_json::to_vec_pretty(&document["signed"]).expect("a document");
    let canonical = signed.canonical().expect("integers");
    for text in [Some(pretty), slow::parse(&canonical).is_some().then_some(canonical)].into_iter().flatten() {
        let file = envelope(pair, &text);
        let parsed = Unverified::<T>::parse(&file, &limits).expect("the same document");
        let file_of = parsed.verify(root.root(), root.keys()).expect("it is signed");
        assert_eq!(file_of.bytes(), file);
        assert!(file_of.version() > 0);
        assert_eq!(Some(file_of.version()), signed.get("version").and_then(Json::number));
        hold(&file_of, signed);

        // The signature stays, the text changes by a bit in its middle.
        let middle = text.len() / 2;
        let mut changed = text;
        changed[middle] ^= 1;
        let same = slow::parse(&changed).as_ref() == Some(signed);
        let file = [&file[..file.len() - changed.len() - 1], &changed, b"}"].concat();
        let verified =
            Unverified::<T>::parse(&file, &limits).map(|parsed| parsed.verify(root.root(), root.keys()).is_ok());
        assert!(same || verified != Ok(true), "signed was something else");
    }
}

fn role(keys: &RoleKeys, plain: Option<&Json>) {
    let plain = plain.expect("the role");
    assert!(keys.threshold() > 0);
    assert_eq!(Some(keys.threshold()), plain.get("threshold").and_then(Json::number));
    let ids: Vec<&str> = keys.keyids().iter().map(|id| id.as_str()).collect();
    assert!(ids.iter().enumerate().all(|(n, id)| !ids[..n].contains(id)), "{ids:?}");
    let listed: Vec<&str> = plain.get("keyids").expect("key ids").items().iter().filter_map(Json::text).collect();
    assert_eq!(ids, listed);
}

fn root(root: &Root, plain: &Json) {
    let roles = plain.get("roles").expect("roles");
    role(root.root(), roles.get("root"));
    role(root.timestamp(), roles.get("timestamp"));
    role(root.snapshot(), roles.get("snapshot"));
    role(root.targets(), roles.get("targets"));
    let ids = root.keys().keys().map(|id| id.as_str());
    assert!(ids.eq(plain.get("keys").expect("keys").members().iter().map(|(id, _)| id.as_str())));
    assert_eq!(root.consistent_snapshot(), plain.get("consistent_snapshot") == Some(&Json::Bool(true)));
}

fn meta_file(file: &MetaFile, plain: Option<&Json>) {
    let plain = plain.expect("the entry");
    assert!(file.version() > 0);
    assert_eq!(Some(file.version()), plain.get("version").and_then(Json::number));
    assert_eq!(file.length(), plain.get("length").and_then(Json::number));
    assert_eq!(file.hashes().is_some(), plain.get("hashes").is_some());
    if let Some(found) = file.hashes() {
        hashes(found, plain);
    }
}

fn hashes(hashes: &Hashes, plain: &Json) {
    let listed = |algorithm| plain.get("hashes")?.get(algorithm)?.text().map(str::to_lowercase);
    assert_eq!(hashes.sha256().map(|hash| hash.to_hex()), listed("sha256"));
    assert_eq!(hashes.sha512().map(|hash| hash.to_hex()), listed("sha512"));
}

fn snapshot(snapshot: &Snapshot, plain: &Json) {
    let meta = plain.get("meta").expect("meta");
    meta_file(snapshot.targets(), meta.get("targets.json"));
    assert_eq!(snapshot.files().count(), meta.members().len());
    for (name, entry) in meta.members() {
        meta_file(&snapshot.file(name).unwrap(), Some(entry));
        if let Some(role) = name.strip_suffix(".json") {
            assert_eq!(snapshot.role(role), snapshot.file(name));
        }
    }
}

fn targets(targets: &Targets, plain: &Json) {
    let listed = plain.get("targets").expect("targets").members();
    assert_eq!(targets.targets().count(), listed.len());
    for (path, entry) in listed {
        let file = targets.target(path).expect("it is listed");
        assert_eq!(Some(file.length()), entry.get("length").and_then(Json::number));
        hashes(file.hashes(), entry);
    }
    assert_eq!(targets.delegations().is_some(), plain.get("delegations").is_some());
    let (Some(delegations), Some(plain)) = (targets.delegations(), plain.get("delegations")) else { return };
    let ids = delegations.keys().keys().map(|id| id.as_str());
    assert!(ids.eq(plain.get("keys").expect("keys").members().iter().map(|(id, _)| id.as_str())));
    let patterns = plain.get("roles").map_or(&[][..], Json::items).iter().flat_map(|role| role.get("paths"));
    // A pattern is a path, too, if an odd one. Trying everything takes for ever on a long one.
    let patterns: Vec<&str> = patterns.flat_map(Json::items).filter_map(Json::text).collect();
    if patterns.iter().any(|pattern| pattern.len() > 40 || pattern.matches('*').count() > 4) {
        return;
    }
    let paths = listed.iter().map(|(path, _)| path.as_str()).filter(|path| path.len() < 60);
    for path in PATHS.into_iter().chain(paths).chain(patterns.iter().copied()) {
        let expected = slow::delegated(plain, path);
        let found = delegations.roles_for(path);
        assert_eq!(found.len(), expected.len(), "{path}");
        for (found, (name, entry)) in found.iter().zip(expected) {
            assert_eq!(found.name(), name, "{path}");
            assert!(!["", "root", "timestamp", "snapshot", "targets"].contains(&found.name()));
            role(found.keys(), Some(entry));
            let bin = plain.get("succinct_roles").is_some();
            let terminating = bin || entry.get("terminating") == Some(&Json::Bool(true));
            assert_eq!(found.terminating(), terminating);
        }
    }
}
