//! The repositories and archives of `test-repos/`, made from the genuine archives in `test-repos/source/`. Byte for byte the same each
//! time: keys and times are fixed.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::published::Published;
use super::repo::{Repo, Signer};

/// The image that the samples are about.
pub const IMAGE: &str = "registry.example/team/app:1.4";
pub const FOLDER: &str = "registry.example/team/app/1.4";
/// When the samples expire: late enough for whoever tries them.
pub const EXPIRES: &str = "2056-01-01T00:00:00Z";

pub const ROOTS: [Signer; 2] = [Signer(101), Signer(102)];
pub const TIMESTAMP: Signer = Signer(103);
pub const SNAPSHOT: Signer = Signer(104);
pub const TARGETS: Signer = Signer(105);
pub const TEAM: [Signer; 2] = [Signer(106), Signer(107)];
/// One for each role of the security team's repository.
pub const SECURITY: [Signer; 4] = [Signer(111), Signer(112), Signer(113), Signer(114)];

/// What the maps in `map/` say: the locations of both repositories, and the files that they decide on.
const MAPS: [(&str, &str, &str); 5] = [
    ("map.json", "../good", "../security"),
    ("replayed.json", "../good", "../hostile/security-replayed"),
    ("frozen.json", "../hostile/expired-timestamp", "../security"),
    ("unreachable.json", "../good", "../not-here"),
    ("one-signer.json", "../good", "../hostile/security-borrowed"),
];

/// All files, by path below `test-repos/`.
///
/// The repositories are published as a publisher would; what no publisher would make is forged by hand from the same keys.
pub fn files(source: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &str| fs::read(source.join(name)).unwrap();
    let (app, old) = (read("app.tar"), read("app-old.tar"));
    let (manifest, old_manifest) = (read("app.manifest.json"), read("app-old.manifest.json"));

    let before = Published::vendor(&old_manifest);
    let mut good = before.copy();
    good.sign_image("team", &manifest);
    // A mirror that was frozen: the last timestamp that it got was good for a week.
    let mut expired = Published::of_vendor(&old_manifest, "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z");
    expired.sign_image("team", &manifest);

    let security_before = Published::security(&old_manifest);
    let mut security = security_before.copy();
    security.sign_image("targets", &manifest);
    // The team signs for the security team, too: with the same keys, under another root.
    let borrowed = Published::borrowed(&manifest);

    let mut threshold = repository(&manifest);
    threshold.bump("team").bump("snapshot").bump("timestamp");
    threshold.role("team").signers.truncate(1);
    threshold.files.retain(|name, _| name.starts_with("targets/"));
    threshold.write();

    let mut files = BTreeMap::from([
        ("map/vendor/root.json".to_owned(), good.pinned()),
        ("map/security/root.json".to_owned(), security.pinned()),
        ("root.json".to_owned(), good.pinned()),
        ("good/app.tar".to_owned(), app.clone()),
        ("hostile/changed-layer/app.tar".to_owned(), change_layer(&app)),
        ("hostile/wrong-tag/app.tar".to_owned(), retag(&app, r#"["registry.example/team/app:1.5"]"#)),
        (
            "hostile/extra-tag/app.tar".to_owned(),
            retag(&app, r#"["registry.example/team/app:1.4","registry.example/team/app:latest"]"#),
        ),
        ("hostile/rollback/app.tar".to_owned(), old),
    ]);
    for (folder, published) in [
        ("good", &good),
        ("security", &security),
        ("hostile/security-replayed", &security_before),
        ("hostile/security-borrowed", &borrowed),
        ("hostile/rollback", &before),
        ("hostile/expired-timestamp", &expired),
    ] {
        files.extend(published.files().into_iter().map(|(name, bytes)| (format!("{folder}/{name}"), bytes)));
    }
    let forged = threshold.files.iter();
    files.extend(forged.map(|(name, bytes)| (format!("hostile/threshold-not-met/{name}"), bytes.clone())));
    files.extend(MAPS.map(|(name, vendor, security)| (format!("map/{name}"), map(vendor, security))));
    files
}

/// Vendor and security team must both sign what is below `registry.example/team/`.
fn map(vendor: &str, security: &str) -> Vec<u8> {
    format!(
        r#"{{
  "repositories": {{
    "vendor": ["{vendor}"],
    "security": ["{security}"]
  }},
  "mapping": [
    {{
      "_why": "the vendor makes these images, our security team approves them",
      "paths": ["registry.example/team/*/*/*"],
      "repositories": ["vendor", "security"],
      "threshold": 2,
      "terminating": true
    }}
  ]
}}
"#
    )
    .into_bytes()
}

/// Root by two keys, a team with two keys for everything below `registry.example/team/`, one signed image.
pub fn repository(manifest: &[u8]) -> Repo {
    let mut repo = Repo::new();
    repo.files.clear();
    repo.signed("root")["keys"] = json!({});
    for (role, keys) in
        [("root", &ROOTS[..]), ("timestamp", &[TIMESTAMP]), ("snapshot", &[SNAPSHOT]), ("targets", &[TARGETS])]
    {
        let ids: Vec<String> = keys.iter().map(|key| key.id()).collect();
        for key in keys {
            repo.signed("root")["keys"][key.id()] = key.public();
        }
        repo.signed("root")["roles"][role] = json!({"keyids": ids, "threshold": keys.len()});
        repo.role(role).signers = keys.to_vec();
    }
    repo.delegate("targets", "team", &["registry.example/team/*/*/*"], &TEAM, true);
    for role in ["root", "timestamp", "snapshot", "targets", "team"] {
        repo.signed(role)["expires"] = json!(EXPIRES);
    }
    repo.target("team", &format!("{FOLDER}/manifest.json"), manifest).write();
    repo
}

/// Changes one byte in the middle of the first layer's data.
fn change_layer(archive: &[u8]) -> Vec<u8> {
    rewrite(archive, "/layer.tar", |layer| {
        let middle = layer.len() / 2;
        layer[middle] ^= 0x20;
    })
}

/// Puts other names into the archive's `manifest.json`.
pub fn retag(archive: &[u8], tags: &str) -> Vec<u8> {
    rewrite(archive, "manifest.json", |manifest| {
        let text = String::from_utf8(manifest.clone()).unwrap();
        *manifest = text.replace(&format!("[\"{IMAGE}\"]"), tags).into_bytes();
    })
}

/// Writes an archive again with the first entry whose name ends so changed.
fn rewrite(archive: &[u8], name: &str, edit: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    let mut done = false;
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut header = entry.header().clone();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        if !done && entry.path().unwrap().to_string_lossy().ends_with(name) {
            let before = bytes.clone();
            edit(&mut bytes);
            assert_ne!(bytes, before, "{name} is changed");
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            done = true;
        }
        out.append(&header, bytes.as_slice()).unwrap();
    }
    assert!(done, "there is an entry {name}");
    out.into_inner().unwrap()
}
