//! What Sigstore really published, through the trust core and the client; `tests/data/sigstore/README.md` says where it is from.
//!
//! Old forms that no repository made today would have, signed by keys that no test has.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use plimsoll::client::{Client, ClientError, DirSource, Store};
use plimsoll::metadata::RoleName;
use plimsoll::metadata::key::Key;
use plimsoll::trust::{Absence, Found, Roots, Rotation, Rules, TrustError};

/// Unbroken parts of the root chain.
const RUNS: [RangeInclusive<u64>; 2] = [1..=10, 12..=16];
/// A time at which the repository in `2021-12` was current.
const DECEMBER_2021: &str = "2021-12-25T00:00:00Z";
/// A time at which the repository in `2024-11` was current.
const NOVEMBER_2024: &str = "2024-11-25T00:00:00Z";

fn published(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sigstore").join(path)).unwrap()
}

fn root(version: u64) -> Vec<u8> {
    published(&format!("roots/{version}.root.json"))
}

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

/// The chain of one root. The time does not matter before its end.
fn pin(version: u64) -> Roots {
    Roots::pin(&root(version), Rules::at(DateTime::<Utc>::MIN_UTC)).unwrap()
}

fn code<T>(result: Result<T, TrustError>) -> Result<(), &'static str> {
    result.map(drop).map_err(|error| error.code())
}

#[test]
fn the_root_chain_is_followed() {
    use Rotation::{Forget, Kept};
    let rows: &[(u64, &str, Rotation)] = &[
        (1, "2021-12-18T19:28:12.990080Z", Kept),
        // Timestamp and snapshot get keys of their own.
        (2, "2022-05-11T19:09:02.663975009Z", Forget),
        (3, "2022-11-10T21:58:09.733402317Z", Kept),
        (4, "2023-01-12T18:22:02Z", Kept),
        // From keys in hex to keys in PEM; those of timestamp and snapshot are new, too.
        (5, "2023-04-18T18:13:43Z", Forget),
        (6, "2023-08-28T07:54:10Z", Kept),
        (7, "2023-10-04T13:08:11Z", Kept),
        (8, "2024-03-26T04:38:55Z", Kept),
        // All key ids and key types are new, the keys are not.
        (9, "2024-09-12T06:53:10Z", Kept),
        // One key for both; what was the snapshot's is gone.
        (10, "2025-02-19T08:04:32Z", Forget),
        (12, "2025-08-19T14:33:09Z", Kept),
        (13, "2026-01-22T13:05:59Z", Kept),
        (14, "2026-06-22T13:27:01Z", Kept),
        (15, "2026-11-20T13:58:18Z", Kept),
        (16, "2027-04-22T19:27:31Z", Kept),
    ];
    let mut rows = rows.iter();
    for run in RUNS {
        let mut chain = pin(*run.start());
        for version in run.clone() {
            let (row, expires, rotation) = rows.next().unwrap();
            assert_eq!(*row, version);
            if version > *run.start() {
                assert_eq!(chain.rotate(&root(version)).as_ref(), Ok(rotation), "{version}");
            }
            assert_eq!(chain.root().version(), version);
            assert_eq!(chain.root().expires(), at(expires), "{version}");
            let useless = chain.root().keys().iter().filter(|(_, key)| Key::usable(key).is_none()).count();
            assert_eq!(useless, 0, "{version}");
        }
    }
    assert_eq!(rows.next(), None);
}

#[test]
fn each_root_may_be_the_pinned_one_and_expires_to_the_nanosecond() {
    for version in RUNS.into_iter().flatten() {
        let expires = pin(version).root().expires();
        let finish = |time| code(Roots::pin(&root(version), Rules::at(time)).unwrap().finish());
        assert_eq!(finish(expires - TimeDelta::nanoseconds(1)), Ok(()), "{version}");
        assert_eq!(finish(expires), Err("metadata-expired"), "{version}");
    }
}

#[test]
fn a_root_left_out_is_refused() {
    // In each row the next root, too, is signed by enough keys of the first one, or not.
    let rows = [
        (1, 3, "metadata-version"),
        (2, 4, "metadata-version"),
        (3, 5, "metadata-version"),
        (4, 6, "metadata-threshold"),
        (5, 7, "metadata-version"),
        (6, 8, "metadata-version"),
        (7, 9, "metadata-version"),
        (8, 10, "metadata-threshold"),
        (10, 12, "metadata-version"),
        (12, 14, "metadata-version"),
        (13, 15, "metadata-version"),
        (14, 16, "metadata-version"),
    ];
    for (trusted, next, expected) in rows {
        assert_eq!(code(pin(trusted).rotate(&root(next))), Err(expected), "{trusted}, then {next}");
    }
    // Nor is the chain followed backwards or on the spot.
    assert_eq!(code(pin(6).rotate(&root(5))), Err("metadata-version"));
    assert_eq!(code(pin(6).rotate(&root(6))), Err("metadata-version"));
}

/// The lowest bit of a byte, other than it is.
fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// Flips the lowest bit of the first number under this name: a version 6 becomes 7, a threshold 3 becomes 2.
fn flip_number(bytes: &[u8], name: &str) -> Vec<u8> {
    let text = std::str::from_utf8(bytes).unwrap();
    let after = text.find(&format!("\"{name}\":")).unwrap();
    flip(bytes, after + text[after..].find(|c: char| c.is_ascii_digit()).unwrap())
}

#[test]
fn a_root_with_one_bit_flipped_is_refused() {
    for run in RUNS {
        let mut chain = pin(*run.start());
        for version in run.skip(1) {
            let good = root(version);
            let weaker = flip_number(&good, "threshold");
            assert_eq!(code(chain.rotate(&weaker)), Err("metadata-threshold"), "{version}");

            // A signature more or less may do no harm, so here only what they cover.
            let text = String::from_utf8(good.clone()).unwrap();
            let (signed, signatures) = (text.find("\"signed\"").unwrap(), text.find("\"signatures\"").unwrap());
            let covered = if signed < signatures { signed..signatures } else { signed..good.trim_ascii_end().len() };
            for at in covered.step_by(61) {
                let refused = code(chain.rotate(&flip(&good, at)));
                assert!(
                    matches!(refused, Err("metadata-malformed" | "metadata-threshold")),
                    "{version}, byte {at}: {refused:?}"
                );
            }
            // What was refused has changed nothing.
            assert_eq!(code(chain.rotate(&good)), Ok(()), "{version}");
        }
    }
}

/// The repository of December 2021 in a folder of its own, with these roots.
fn repository(test: &str, roots: impl IntoIterator<Item = u64>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sigstore").join(test);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    for (below, names) in [
        ("metadata", &["timestamp.json", "snapshot.json", "targets.json", "rekor.json", "staging.json"][..]),
        ("targets", &["artifact.pub", "ctfe.pub", "fulcio.crt.pem", "fulcio_v1.crt.pem", "rekor.0.pub", "rekor.pub"]),
    ] {
        fs::create_dir_all(folder.join(below)).unwrap();
        for name in names {
            fs::write(folder.join(below).join(name), published(&format!("2021-12/{below}/{name}"))).unwrap();
        }
    }
    for version in roots {
        fs::write(folder.join(format!("metadata/{version}.root.json")), root(version)).unwrap();
    }
    folder
}

/// A client that has pinned root 1.
fn client(folder: &Path, time: &str) -> Client<DirSource> {
    Client::new(root(1), DirSource::repository(folder).unwrap(), Store::in_memory()).with_time(at(time))
}

/// The versions of root, timestamp, snapshot and targets after a refresh.
fn refresh(folder: &Path, time: &str) -> Result<[u64; 4], &'static str> {
    let client = client(folder, time);
    let session = client.refresh().map_err(|error| client_code(&error))?;
    let t = session.trusted();
    Ok([t.root().version(), t.timestamp().version(), t.snapshot().version(), t.targets().version()])
}

fn client_code(error: &ClientError) -> &'static str {
    match error {
        ClientError::NotTrusted(error) => error.code(),
        ClientError::Undecided(error) => error.code(),
    }
}

#[test]
fn the_repository_of_december_2021_is_refreshed_and_its_targets_are_fetched() {
    let folder = repository("targets", 1..=2);
    let client = client(&folder, DECEMBER_2021);
    let mut session = client.refresh().unwrap();
    let rekor = RoleName::Delegated("rekor".to_owned());
    let by_targets = [RoleName::Targets];
    let by_rekor = [RoleName::Targets, rekor];
    let rows: &[(&str, &[RoleName])] = &[
        ("artifact.pub", &by_targets),
        ("ctfe.pub", &by_targets),
        ("fulcio.crt.pem", &by_targets),
        ("fulcio_v1.crt.pem", &by_targets),
        ("rekor.pub", &by_targets),
        ("rekor.0.pub", &by_rekor),
    ];
    for (path, by) in rows {
        let found = session.find(path).unwrap().unwrap();
        assert_eq!(found.delegations(), *by, "{path}");
        assert_eq!(session.fetch(&found).unwrap(), published(&format!("2021-12/targets/{path}")), "{path}");
    }
}

#[test]
fn only_the_roles_that_may_sign_a_target_are_asked() {
    let folder = repository("roles", 1..=2);
    let client = client(&folder, DECEMBER_2021);
    let mut session = client.refresh().unwrap();
    // `rekor` may sign this name and is terminating, so `staging`, which may sign all, is not asked.
    assert_eq!(session.find("rekor.9.pub").unwrap().map(drop), Err(Absence::NotListed));
    assert!(session.trusted().delegated("targets", "rekor").is_some());
    assert!(session.trusted().delegated("targets", "staging").is_none());
    assert_eq!(session.find("nothing").unwrap().map(drop), Err(Absence::NotListed));
    assert!(session.trusted().delegated("targets", "staging").is_some());
}

#[test]
fn what_differs_from_the_repository_of_december_2021_in_one_thing() {
    fn edit(folder: &Path, file: &str, change: fn(&[u8]) -> Vec<u8>) {
        let path = folder.join(file);
        fs::write(&path, change(&fs::read(&path).unwrap())).unwrap();
    }
    let rows: &[(&str, RangeInclusive<u64>, fn(&Path), &str, Result<[u64; 4], &str>)] = &[
        ("as-it-is", 1..=2, |_| {}, DECEMBER_2021, Ok([2, 6, 6, 2])),
        ("one-second-left", 1..=2, |_| {}, "2022-01-05T00:40:05Z", Ok([2, 6, 6, 2])),
        ("the-snapshot-expires", 1..=2, |_| {}, "2022-01-05T00:40:06Z", Err("metadata-expired")),
        ("the-timestamp-expires", 1..=2, |_| {}, "2022-01-05T00:40:07Z", Err("metadata-expired")),
        // Root 1 may be expired, as long as another follows.
        ("root-2-left-out", 1..=1, |_| {}, DECEMBER_2021, Err("metadata-expired")),
        ("root-2-left-out-in-time", 1..=1, |_| {}, "2021-12-18T19:28:12.99Z", Err("metadata-threshold")),
        (
            "root-2-with-a-threshold-of-2",
            1..=2,
            |f| edit(f, "metadata/2.root.json", |b| flip_number(b, "threshold")),
            DECEMBER_2021,
            Err("metadata-threshold"),
        ),
        ("roots-of-2022-with-the-same-online-keys", 1..=4, |_| {}, DECEMBER_2021, Ok([4, 6, 6, 2])),
        ("root-5-took-the-online-keys-away", 1..=5, |_| {}, DECEMBER_2021, Err("metadata-threshold")),
        ("the-newest-root-of-this-run", 1..=10, |_| {}, DECEMBER_2021, Err("metadata-threshold")),
        (
            "a-bit-of-the-timestamp",
            1..=2,
            |f| edit(f, "metadata/timestamp.json", |b| flip_number(b, "version")),
            DECEMBER_2021,
            Err("metadata-threshold"),
        ),
        (
            "a-bit-of-the-snapshot",
            1..=2,
            |f| edit(f, "metadata/snapshot.json", |b| flip_number(b, "version")),
            DECEMBER_2021,
            Err("signed-hash-mismatch"),
        ),
        (
            "a-bit-of-the-targets",
            1..=2,
            |f| edit(f, "metadata/targets.json", |b| flip_number(b, "version")),
            DECEMBER_2021,
            Err("signed-hash-mismatch"),
        ),
    ];
    for (name, roots, change, time, expected) in rows {
        let folder = repository(name, roots.clone());
        change(&folder);
        assert_eq!(refresh(&folder, time), *expected, "{name}");
    }
}

#[test]
fn a_target_with_one_bit_flipped_is_refused() {
    let folder = repository("target", 1..=2);
    let client = client(&folder, DECEMBER_2021);
    let mut session = client.refresh().unwrap();
    let found: Found = session.find("rekor.0.pub").unwrap().unwrap();
    assert!(session.fetch(&found).is_ok());
    let path = folder.join("targets/rekor.0.pub");
    let good = fs::read(&path).unwrap();
    fs::write(&path, flip(&good, 60)).unwrap();
    assert_eq!(session.fetch(&found).map_err(|e| client_code(&e)), Err("signed-hash-mismatch"));
    fs::write(&path, &good[1..]).unwrap();
    assert_eq!(session.fetch(&found).map_err(|e| client_code(&e)), Err("signed-length-mismatch"));
}

#[test]
fn a_key_id_is_a_name_that_the_root_gives() {
    let timestamp = published("2025-07/timestamp.json");
    let rows = [
        // The same key signs, but root 10 calls it otherwise.
        (10, "2025-02-01T00:00:00Z", Err("metadata-threshold")),
        (12, "2025-07-14T13:28:12Z", Ok(())),
        (12, "2025-07-14T13:28:13Z", Err("metadata-expired")),
        (16, "2025-07-14T13:28:12Z", Ok(())),
    ];
    for (version, time, expected) in rows {
        let root = Roots::pin(&root(version), Rules::at(at(time))).unwrap().finish().unwrap();
        assert_eq!(code(root.timestamp(&timestamp)), expected, "root {version} at {time}");
    }
}

/// The repository of November 2024, as tuf-on-ci published it, in a folder of its own, with these roots.
fn tuf_on_ci(test: &str, roots: impl IntoIterator<Item = u64>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sigstore-2024").join(test);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    for file in [
        "metadata/timestamp.json",
        "metadata/156.snapshot.json",
        "metadata/10.targets.json",
        "metadata/4.registry.npmjs.org.json",
        TRUSTED_ROOT,
        NPM_KEYS,
    ] {
        let file_there = folder.join(file);
        fs::create_dir_all(file_there.parent().unwrap()).unwrap();
        fs::write(file_there, published(&format!("2024-11/{file}"))).unwrap();
    }
    for version in roots {
        fs::write(folder.join(format!("metadata/{version}.root.json")), root(version)).unwrap();
    }
    folder
}

const TRUSTED_ROOT: &str = "targets/4364d7724c04cc912ce2a6c45ed2610e8d8d1c4dc857fb500292738d4d9c8d2c.trusted_root.json";
const NPM_KEYS: &str =
    "targets/registry.npmjs.org/7a8ec9678ad824cdccaa7a6dc0961caf8f8df61bc7274189122c123446248426.keys.json";

#[test]
fn the_repository_that_tuf_on_ci_published_is_refreshed_from_the_first_root_on() {
    let folder = tuf_on_ci("targets", 1..=10);
    let client = client(&folder, NOVEMBER_2024);
    let mut session = client.refresh().unwrap();
    let npm = RoleName::Delegated("registry.npmjs.org".to_owned());
    let by_targets = [RoleName::Targets];
    let by_npm = [RoleName::Targets, npm];
    // The folder of a delegated role's targets is that role's name.
    let rows: &[(&str, &[RoleName], &str)] =
        &[("trusted_root.json", &by_targets, TRUSTED_ROOT), ("registry.npmjs.org/keys.json", &by_npm, NPM_KEYS)];
    for (path, by, file) in rows {
        let found = session.find(path).unwrap().unwrap();
        assert_eq!(found.delegations(), *by, "{path}");
        assert_eq!(session.fetch(&found).unwrap(), published(&format!("2024-11/{file}")), "{path}");
    }
}

#[test]
fn a_role_of_tuf_on_ci_signs_for_its_own_folder_alone() {
    let folder = tuf_on_ci("roles", 1..=10);
    let client = client(&folder, NOVEMBER_2024);
    let mut session = client.refresh().unwrap();
    for (path, asked) in [
        ("keys.json", false),
        ("registry.npmjs.org", false),
        ("registry.npmjs.org/below/keys.json", false),
        ("Registry.npmjs.org/keys.json", false),
        ("registry.npmjs.org/keys", true),
    ] {
        assert_eq!(session.find(path).unwrap().map(drop), Err(Absence::NotListed), "{path}");
        let there = session.trusted().delegated("targets", "registry.npmjs.org").is_some();
        assert_eq!(there, asked, "{path}");
    }
    // The snapshot still lists roles of 2022 that nobody delegates to any more, with lengths and hashes; they are gone from the server.
    assert_eq!(session.find("rekor.0.pub").unwrap().map(drop), Err(Absence::NotListed));
}

#[test]
fn what_differs_from_the_repository_of_november_2024_in_one_thing() {
    let rows: &[(&str, RangeInclusive<u64>, &str, Result<[u64; 4], &str>)] = &[
        ("as-it-is", 1..=10, NOVEMBER_2024, Ok([10, 243, 156, 10])),
        ("one-second-left", 1..=10, "2024-11-30T07:24:42Z", Ok([10, 243, 156, 10])),
        ("the-timestamp-expires", 1..=10, "2024-11-30T07:24:43Z", Err("metadata-expired")),
        // The timestamp's key is that of the root before, too, but under another id.
        ("root-10-left-out", 1..=9, "2024-09-12T06:53:09Z", Err("metadata-threshold")),
        ("root-10-left-out-late", 1..=9, NOVEMBER_2024, Err("metadata-expired")),
    ];
    for (name, roots, time, expected) in rows {
        let folder = tuf_on_ci(name, roots.clone());
        assert_eq!(refresh(&folder, time), *expected, "{name}");
    }
}

#[test]
fn signatures_that_nobody_has_given_yet_do_not_count() {
    // Three of five have signed the targets; the other two are there with empty signatures, as tuf-on-ci leaves them.
    let verified = |targets: &[u8]| {
        let root = Roots::pin(&root(10), Rules::at(at(NOVEMBER_2024))).unwrap().finish().unwrap();
        let timestamp = root.timestamp(&published("2024-11/metadata/timestamp.json")).unwrap();
        let snapshot = timestamp.snapshot(&published("2024-11/metadata/156.snapshot.json")).unwrap();
        code(snapshot.targets(targets))
    };
    let good = published("2024-11/metadata/10.targets.json");
    assert_eq!(verified(&good), Ok(()));
    let text = String::from_utf8(good).unwrap();
    let signatures: Vec<&str> = text.split("\"sig\": \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(signatures.iter().filter(|signature| signature.is_empty()).count(), 2);
    for signature in signatures.iter().filter(|signature| !signature.is_empty()) {
        assert_eq!(verified(text.replacen(signature, "", 1).as_bytes()), Err("metadata-threshold"), "{signature}");
    }
}
