//! Role files one by one: what they show once they are believed, what is too much of them, and what an error says of them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

mod support;

use chrono::{DateTime, TimeDelta, Utc};
use plimsoll::limits::MetadataLimits;
use plimsoll::metadata::json::{At, Value, parse};
use plimsoll::metadata::key::KeyId;
use plimsoll::metadata::roles::{Root, Snapshot, Targets, Timestamp};
use plimsoll::metadata::{Role, RoleName, Signed, Unverified};
use plimsoll::trust::{Roots, Rules, TargetCheck, TrustError};
use serde_json::json;
use support::repo::{EXPIRES, NOW, ROOT, Repo, Signer, TARGETS, envelope, sha256, sha512};

const NEW: Signer = Signer(40);

fn now() -> DateTime<Utc> {
    NOW.parse().unwrap()
}

/// The file of a role, read and believed as the repository's root says.
fn believed<T: Role>(repo: &Repo, role: &str) -> Signed<T> {
    let limits = MetadataLimits::default();
    let root = Unverified::<Root>::parse(repo.sign("root"), &limits).unwrap().verify_pinned().unwrap();
    let keys = match role {
        "root" => root.root(),
        "timestamp" => root.timestamp(),
        "snapshot" => root.snapshot(),
        _ => root.targets(),
    };
    Unverified::<T>::parse(repo.sign(role), &limits).unwrap().verify(keys, root.keys()).unwrap()
}

/// Why a file is not one of this role.
fn refused<T: Role>(bytes: &[u8]) -> Option<String> {
    Unverified::<T>::parse(bytes, &MetadataLimits::default()).err().map(|error| error.to_string())
}

#[test]
fn a_believed_file_shows_what_it_says() {
    let mut repo = Repo::new();
    repo.lists_hashes = true;
    repo.target("targets", "a/b", b"x").target("targets", "c", b"y");
    repo.signed("targets")["targets"]["c"]["custom"] = json!({"note": ["kept", 1]});
    repo.signed("targets")["targets"]["c"]["hashes"] = json!({"sha512": sha512(b"y")});
    repo.delegate("targets", "team", &["t/*"], &[NEW], true).publish();
    repo.signed("root")["roles"]["timestamp"] = json!({"keyids": ["one", "two", "three"], "threshold": 3});

    let root = believed::<Root>(&repo, "root");
    assert_eq!((root.version(), root.expires().to_rfc3339()), (1, EXPIRES.replace('Z', "+00:00")));
    assert!(root.consistent_snapshot());
    assert_eq!(root.keys().len(), 4);
    assert_eq!((root.root().threshold(), root.root().keyids()), (1, &[KeyId::new(ROOT.id())][..]));
    let ids: Vec<&str> = root.timestamp().keyids().iter().map(KeyId::as_str).collect();
    assert_eq!((root.timestamp().threshold(), ids), (3, vec!["one", "two", "three"]), "in the order of the file");
    assert_eq!(root.targets().keyids(), [KeyId::new(TARGETS.id())]);

    repo.signed("root")["roles"]["timestamp"] = json!({"keyids": [Signer(2).id()], "threshold": 1});
    let bytes = repo.sign("snapshot");
    let timestamp = believed::<Timestamp>(&repo, "timestamp");
    let listed = timestamp.snapshot();
    assert_eq!((listed.version(), listed.length()), (2, Some(u64::try_from(bytes.len()).unwrap())));
    assert_eq!(listed.hashes().unwrap().sha256().unwrap().to_hex(), sha256(&bytes));
    assert_eq!(listed.hashes().unwrap().sha512(), None);

    let snapshot = believed::<Snapshot>(&repo, "snapshot");
    assert_eq!((snapshot.targets().version(), snapshot.role("team").unwrap().version()), (2, 1));
    assert_eq!(snapshot.role("nobody"), None);
    assert_eq!(snapshot.files().map(|(name, _)| name).collect::<Vec<_>>(), ["targets.json", "team.json"]);

    let targets = believed::<Targets>(&repo, "targets");
    let listed: Vec<(String, u64)> = targets.targets().map(|(path, file)| (path.into_owned(), file.length())).collect();
    assert_eq!(listed, [("a/b".to_owned(), 1), ("c".to_owned(), 1)]);
    assert_eq!(targets.count(), 2);
    let (plain, custom) = (targets.target("a/b").unwrap(), targets.target("c").unwrap());
    assert_eq!(plain.hashes().sha256().unwrap().to_hex(), sha256(b"x"));
    assert_eq!((plain.custom(), plain.hashes().sha512()), (None, None));
    assert_eq!(custom.custom(), Some(&parse(br#"{"note":["kept",1]}"#).unwrap()));
    assert_eq!((custom.hashes().sha256(), custom.hashes().sha512().unwrap().to_hex()), (None, sha512(b"y")));
    assert!(targets.target("d").is_none());
    let delegations = targets.delegations().unwrap();
    assert_eq!(delegations.keys().keys().collect::<Vec<_>>(), [&KeyId::new(NEW.id())]);
    let roles = delegations.roles_for("t/x");
    assert_eq!((roles[0].name(), roles[0].terminating(), roles[0].keys().threshold()), ("team", true, 1));
    assert!(delegations.roles_for("t").is_empty());
}

#[test]
fn what_there_may_be_many_of_is_counted() {
    // At the limit, and one more.
    let signatures = |count: usize| {
        let mut file: serde_json::Value = serde_json::from_slice(&Repo::new().sign("timestamp")).unwrap();
        file["signatures"] = (0..count).map(|n| json!({"keyid": n.to_string(), "sig": ""})).collect();
        refused::<Timestamp>(&serde_json::to_vec(&file).unwrap())
    };
    assert_eq!(signatures(1024), None);
    assert_eq!(signatures(1025).unwrap(), "1025 signatures, at most 1024 are accepted");
    assert_eq!(signatures(1026).unwrap(), "1026 signatures, at most 1024 are accepted");
    let key_ids = |count: usize| {
        let mut repo = Repo::new();
        let ids: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        repo.signed("root")["roles"]["targets"]["keyids"] = json!(ids);
        refused::<Root>(&repo.sign("root"))
    };
    assert_eq!(key_ids(1024), None);
    assert_eq!(key_ids(1025).unwrap(), "1025 key ids in one role, at most 1024 are accepted");
    assert_eq!(key_ids(1026).unwrap(), "1026 key ids in one role, at most 1024 are accepted");
}

#[test]
fn an_error_says_where_in_the_file_and_what_is_there() {
    type Edit = fn(&mut serde_json::Value);
    let rows: &[(Edit, Option<&str>)] = &[
        (|_| {}, None),
        (|f| f["signed"]["_type"] = json!("snap\nshot"), Some("_type is \"snap\\nshot\", expected \"targets\"")),
        (|f| f["signed"]["spec_version"] = json!("2.0.0"), Some("spec_version is \"2.0.0\", expected 1.0.x")),
        (|f| f["signed"]["version"] = json!(0), Some("signed.version: expected an integer above 0, found 0")),
        (|f| f["signed"]["version"] = json!(-7), Some("signed.version: expected an integer above 0, found -7")),
        (
            |f| f["signed"]["version"] = json!(1.5),
            Some("signed.version: expected an integer above 0, found the number 1.5"),
        ),
        (|f| f["signed"]["version"] = json!(true), Some("signed.version: expected an integer above 0, found true")),
        (|f| f["signed"]["version"] = json!([]), Some("signed.version: expected an integer above 0, found an array")),
        (|f| f["signed"]["version"] = json!("x"), Some("signed.version: expected an integer above 0, found \"x\"")),
        (
            |f| f["signed"]["expires"] = json!("soon"),
            Some("signed.expires: expected a date and time such as 2030-01-31T00:00:00Z, found \"soon\""),
        ),
        (|f| f["signed"]["targets"] = json!(null), Some("signed.targets: expected an object, found null")),
        (
            |f| f["signed"]["targets"]["a b"] = json!({"hashes": {"sha256": "00"}}),
            Some("signed.targets.\"a b\".length: expected a value, found nothing"),
        ),
        (
            |f| f["signed"]["targets"]["x"]["length"] = json!(-1),
            Some("signed.targets.x.length: expected an integer that is not negative, found -1"),
        ),
        (
            |f| f["signed"]["targets"]["x"]["hashes"]["sha256"] = json!("00"),
            Some("signed.targets.x.hashes.sha256: expected 64 hex digits, found \"00\""),
        ),
        (
            |f| f["signed"]["targets"]["x"]["hashes"]["sha512"] = json!("00"),
            Some("signed.targets.x.hashes.sha512: expected 128 hex digits, found \"00\""),
        ),
        (
            |f| f["signed"]["targets"]["x"]["hashes"]["other"] = json!(1),
            Some("signed.targets.x.hashes.other: expected a string, found 1"),
        ),
        (
            |f| f["signed"]["targets"]["x"]["hashes"] = json!({}),
            Some("signed.targets.x.hashes: expected at least one hash, found an object"),
        ),
        (
            |f| f["signed"]["delegations"] = json!({"keys": {}}),
            Some("signed.delegations: expected either roles or succinct_roles, found an object"),
        ),
        (|f| f["signatures"][0]["sig"] = json!(null), Some("signatures[0].sig: expected a string, found null")),
        (
            |f| {
                let twice = json!({"keyid": "one\nid", "sig": ""});
                f["signatures"] = json!([twice, twice]);
            },
            Some("the key id one\\nid occurs twice in signatures"),
        ),
    ];
    for (n, (edit, expected)) in rows.iter().enumerate() {
        let mut repo = Repo::new();
        repo.target("targets", "x", b"x");
        let mut file: serde_json::Value = serde_json::from_slice(&repo.sign("targets")).unwrap();
        edit(&mut file);
        assert_eq!(refused::<Targets>(&serde_json::to_vec(&file).unwrap()).as_deref(), *expected, "row {n}");
    }
    let mut repo = Repo::new();
    repo.signed("root")["roles"]["snapshot"]["keyids"] = json!(["k", "l", "k"]);
    assert_eq!(refused::<Root>(&repo.sign("root")).unwrap(), "the key id k occurs twice in keyids");
}

#[test]
fn a_key_in_a_path_is_quoted_unless_it_is_short_and_plain() {
    let long = |length: usize| "k".repeat(length);
    let rows = [
        ("plain", "plain".to_owned()),
        ("1.root.json", "\"1.root.json\"".to_owned()),
        ("a/b_c-d9", "a/b_c-d9".to_owned()),
        ("two words", "\"two words\"".to_owned()),
        ("", String::new()),
        (&long(64), long(64)),
        (&long(65), format!("\"{}\"", long(65))),
        (&format!("{} ", long(10)), format!("\"{} \"", long(10))),
    ];
    for (key, shown) in rows {
        let text = format!("{{\"top\":{{{key:?}:1}}}}");
        let value = parse(text.as_bytes()).unwrap();
        let document = At::document(&value);
        let top = document.field("top").unwrap();
        let error = top.field(key).unwrap().string().unwrap_err().to_string();
        assert_eq!(error, format!("top.{shown}: expected a string, found 1"), "{key:?}");
        // The same where it is missing, and at the top, where no dot is before it.
        assert_eq!(
            document.field(key).unwrap_err().to_string(),
            format!("{shown}: expected a value, found nothing"),
            "{key:?}"
        );
    }
    let value = Value::Array(vec![Value::Array(vec![Value::Null])]);
    let document = At::document(&value);
    let inner = document.items().unwrap().next().unwrap();
    assert_eq!(
        inner.items().unwrap().next().unwrap().boolean().unwrap_err().to_string(),
        "[0][0]: expected true or false, found null"
    );
}

#[test]
fn a_target_may_arrive_in_pieces_and_ends_where_it_must() {
    // The pieces, and which of them is refused, or the end after the last one.
    let rows: &[(&[&str], Result<(), (usize, &str)>)] = &[
        (&["abc"], Ok(())),
        (&["a", "b", "c"], Ok(())),
        (&["", "ab", "", "c", ""], Ok(())),
        (&["a", "b"], Err((2, "signed-length-mismatch"))),
        (&[], Err((0, "signed-length-mismatch"))),
        // Refused at once: what comes after might never end.
        (&["abcd"], Err((0, "signed-length-mismatch"))),
        (&["abc", "d"], Err((1, "signed-length-mismatch"))),
        (&["a", "b", "d"], Err((3, "signed-hash-mismatch"))),
    ];
    let mut repo = Repo::new();
    repo.target("targets", "sha256", b"abc").target("targets", "sha512", b"abc").target("targets", "both", b"abc");
    repo.signed("targets")["targets"]["sha512"]["hashes"] = json!({"sha512": sha512(b"abc")});
    repo.signed("targets")["targets"]["both"]["hashes"]["sha512"] = json!(sha512(b"abc"));
    let targets = believed::<Targets>(&repo, "targets");
    for path in ["sha256", "sha512", "both"] {
        for (pieces, expected) in rows {
            let file = targets.target(path).unwrap();
            let mut check = TargetCheck::new(path, &file).unwrap();
            let refused =
                pieces.iter().enumerate().find_map(|(n, piece)| Some((n, check.update(piece.as_bytes()).err()?)));
            let refused = refused.or_else(|| Some((pieces.len(), check.finish().err()?)));
            let got = refused.map_or(Ok(()), |(n, error)| Err((n, error.code())));
            assert_eq!(got, *expected, "{path}: {pieces:?}");
        }
    }
}

#[test]
fn the_rules_of_an_update_are_those_that_were_given() {
    let mut limits = MetadataLimits::default();
    limits.signatures = 0;
    let rules = Rules::at(now()).with_limits(limits.clone());
    assert_eq!((rules.start(), rules.limits()), (now(), &limits));
    assert!(matches!(Roots::pin(&Repo::new().sign("root"), rules), Err(TrustError::Malformed { .. })));

    // Less than nothing is nothing: it makes no file expire early.
    let mut repo = Repo::new();
    repo.signed("root")["expires"] = json!("2030-01-01T00:00:01Z");
    let rules = Rules::at(now()).with_max_staleness(TimeDelta::seconds(-60));
    let root = Roots::pin(&repo.sign("root"), rules).unwrap().finish().unwrap();
    let timestamp = root.timestamp(&repo.sign("timestamp")).unwrap();
    assert_eq!(timestamp.root().version(), 1);
    let snapshot = timestamp.snapshot(&repo.sign("snapshot")).unwrap();
    let trusted = snapshot.targets(repo.sign("targets")).unwrap();
    assert_eq!((trusted.rules().start(), trusted.rules().limits()), (now(), &MetadataLimits::default()));
}

#[test]
fn the_last_version_of_a_root_has_no_successor() {
    let chain = |version: u64| {
        let mut repo = Repo::new();
        repo.signed("root")["version"] = json!(version);
        Roots::pin(&repo.sign("root"), Rules::at(now())).unwrap()
    };
    assert_eq!(chain(u64::MAX - 1).next_version(), Ok(u64::MAX));
    assert_eq!(chain(u64::MAX).next_version(), Err(TrustError::LastRoot));
    let again = envelope(&Repo::new().roles["root"].signed, &[ROOT]);
    assert_eq!(chain(u64::MAX).rotate(&again).unwrap_err(), TrustError::LastRoot);
}

#[test]
fn roles_are_called_as_in_metadata() {
    for (role, name) in [
        (RoleName::Root, "root"),
        (RoleName::Timestamp, "timestamp"),
        (RoleName::Snapshot, "snapshot"),
        (RoleName::Targets, "targets"),
        (RoleName::Delegated("a team".to_owned()), "a team"),
    ] {
        assert_eq!((role.as_str(), role.to_string().as_str()), (name, name));
    }
    assert_eq!(RoleName::Delegated("two\nlines".to_owned()).to_string(), "two\\nlines");
}

/// What stands beside `signed` is signed by nobody, and changes nothing: however the file is written, `signed` alone is verified.
#[test]
fn members_beside_signed_and_signatures_do_no_harm() {
    let mut repo = Repo::new();
    repo.target("targets", "a/b", b"x");
    let limits = MetadataLimits::default();
    let root = Unverified::<Root>::parse(repo.sign("root"), &limits).unwrap().verify_pinned().unwrap();
    let file: serde_json::Value = serde_json::from_slice(&repo.sign("targets")).unwrap();
    for beside in [&[][..], &["aaa"], &["sigs"], &["zzz"], &["aaa", "zzz"]] {
        let mut file = file.clone();
        for key in beside {
            file[*key] = json!({"a": [1]});
        }
        // `serde_json` keeps objects sorted: the first of these is canonical.
        for written in [serde_json::to_vec(&file).unwrap(), serde_json::to_vec_pretty(&file).unwrap()] {
            let verified = Unverified::<Targets>::parse(written.as_slice(), &limits).unwrap();
            let verified = verified.verify(root.targets(), root.keys());
            assert_eq!(verified.unwrap().target("a/b").unwrap().length(), 1, "{beside:?}");
            // The nearest one that is not what was signed.
            let text = String::from_utf8(written).unwrap();
            let changed = if text.contains("\"length\": 1") { "\"length\": 1" } else { "\"length\":1" };
            let changed = text.replace(changed, &changed.replace('1', "2"));
            assert_ne!(changed, text);
            let changed = Unverified::<Targets>::parse(changed.as_bytes(), &limits).unwrap();
            assert!(changed.verify(root.targets(), root.keys()).is_err(), "{beside:?}");
        }
    }
}
