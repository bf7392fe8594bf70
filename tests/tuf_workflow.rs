//! The client workflow against repositories built in memory, clause by clause [TUF 5.1 to 5.7].
//!
//! Each row changes one thing in a good repository. A row that must fail has a row beside it that must not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

mod support;

use std::path::{Path, PathBuf};

use plimsoll::client::{Client, ClientError, Store};
use plimsoll::limits::MetadataLimits;
use plimsoll::trust::{Roots, Rules, TrustError};
use serde_json::json;
use support::repo::{EXPIRES, NOW, ROOT, Repo, RoleFile, Signer, TIMESTAMP, envelope};
use support::source::{MemorySource, client, code, trust_code};

const NEW: Signer = Signer(40);
const OTHER: Signer = Signer(41);

/// A folder for a store, empty at the start of the test.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tuf_workflow").join(test);
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    path
}

/// Refreshes from the repository as it is now, and says which versions are trusted then.
fn refresh(repo: &Repo, store: &Path) -> Result<[u64; 4], &'static str> {
    let client = client(repo, Store::folder(store));
    let session = client.refresh().map_err(|e| code(&e))?;
    let t = session.trusted();
    Ok([t.root().version(), t.timestamp().version(), t.snapshot().version(), t.targets().version()])
}

/// Refreshes into a new store.
fn first_refresh(repo: &Repo) -> Result<[u64; 4], &'static str> {
    let client = client(repo, Store::in_memory());
    let session = client.refresh().map_err(|e| code(&e))?;
    let t = session.trusted();
    Ok([t.root().version(), t.timestamp().version(), t.snapshot().version(), t.targets().version()])
}

#[test]
fn parsing_and_signatures_of_every_role() {
    type Edit = fn(&mut RoleFile);
    let cases: &[(&str, Edit, Result<(), &str>)] = &[
        ("as it is", |_| {}, Ok(())),
        ("an unknown field", |f| f.signed["x-custom"] = json!({"a": [1, "b", null]}), Ok(())),
        ("spec_version 1.0", |f| f.signed["spec_version"] = json!("1.0"), Ok(())),
        ("spec_version 2.0.0", |f| f.signed["spec_version"] = json!("2.0.0"), Err("metadata-malformed")),
        (
            "no spec_version",
            |f| {
                f.signed.as_object_mut().unwrap().remove("spec_version");
            },
            Err("metadata-malformed"),
        ),
        ("_type of another role", |f| f.signed["_type"] = json!("mirrors"), Err("metadata-malformed")),
        (
            "no _type",
            |f| {
                f.signed.as_object_mut().unwrap().remove("_type");
            },
            Err("metadata-malformed"),
        ),
        ("version 0", |f| f.signed["version"] = json!(0), Err("metadata-malformed")),
        ("version -1", |f| f.signed["version"] = json!(-1), Err("metadata-malformed")),
        ("version 1.0", |f| f.signed["version"] = json!(1.0), Err("metadata-malformed")),
        ("version as text", |f| f.signed["version"] = json!("1"), Err("metadata-malformed")),
        (
            "expires with an offset and fractions",
            |f| f.signed["expires"] = json!("2040-01-01T00:00:00.5+02:00"),
            Ok(()),
        ),
        ("expires without a time", |f| f.signed["expires"] = json!("2040-01-01"), Err("metadata-malformed")),
        ("a number in a custom field that is no integer", |f| f.signed["x"] = json!(1.5), Err("metadata-malformed")),
        ("no signature", |f| f.signers.clear(), Err("metadata-threshold")),
        ("the wrong key", |f| f.signers = vec![NEW], Err("metadata-threshold")),
        ("one more signature of a stranger", |f| f.signers.push(NEW), Ok(())),
        ("the right signature twice", |f| f.signers.push(f.signers[0]), Err("metadata-malformed")),
        ("a stranger's signature twice", |f| f.signers.extend([NEW, NEW]), Err("metadata-malformed")),
    ];
    for role in ["timestamp", "snapshot", "targets", "team"] {
        for (name, edit, expected) in cases {
            let mut repo = Repo::new();
            repo.delegate("targets", "team", &["a/*"], &[NEW], false).target("team", "a/b", b"x");
            repo.write();
            // Written under the name that is asked for, whatever version is in it.
            let name_of_file = repo.file_name(role);
            edit(repo.role(role));
            let bytes = repo.sign(role);
            repo.files.insert(name_of_file, bytes);
            let client = client(&repo, Store::in_memory());
            let got = client.refresh().and_then(|mut session| session.find("a/b").map(drop)).map_err(|e| code(&e));
            // For the delegated role the key that is a stranger elsewhere is the right one.
            let expected = if role == "team" && (name.contains("stranger") || *name == "the wrong key") {
                if *name == "the wrong key" { Ok(()) } else { Err("metadata-malformed") }
            } else {
                *expected
            };
            assert_eq!(got, expected, "{role}: {name}");
        }
    }
}

#[test]
fn parsing_and_signatures_of_the_root() {
    type Edit = fn(&mut RoleFile);
    let cases: &[(&str, Edit, Result<(), &str>)] = &[
        ("5.3.4 as it is", |_| {}, Ok(())),
        ("5.3.4 an unknown field", |f| f.signed["x"] = json!(1), Ok(())),
        ("5.3.4 signed by the wrong key", |f| f.signers = vec![NEW], Err("metadata-threshold")),
        ("5.3.4 not signed", |f| f.signers.clear(), Err("metadata-threshold")),
        ("5.3.5 version + 2", |f| f.signed["version"] = json!(3), Err("metadata-version")),
        ("5.3.5 the same version", |f| f.signed["version"] = json!(1), Err("metadata-version")),
        (
            "4.3 a role is missing",
            |f| {
                f.signed["roles"].as_object_mut().unwrap().remove("snapshot");
            },
            Err("metadata-malformed"),
        ),
        ("4.3 threshold 0", |f| f.signed["roles"]["root"]["threshold"] = json!(0), Err("metadata-malformed")),
        (
            "4.3 threshold 2 with one key",
            |f| f.signed["roles"]["root"]["threshold"] = json!(2),
            Err("metadata-threshold"),
        ),
        (
            "4.3 a key id twice in a role",
            |f| f.signed["roles"]["targets"]["keyids"] = json!(["a", "a"]),
            Err("metadata-malformed"),
        ),
        (
            "4.3 a key id that no key has",
            |f| f.signed["roles"]["root"]["keyids"].as_array_mut().unwrap().push(json!("a")),
            Ok(()),
        ),
        (
            "4.2 a key of an unknown type",
            |f| f.signed["keys"]["a"] = json!({"keytype": "x", "scheme": "y", "keyval": {}}),
            Ok(()),
        ),
        (
            "4.2 a key without a type",
            |f| f.signed["keys"]["a"] = json!({"scheme": "y", "keyval": {}}),
            Err("metadata-malformed"),
        ),
        (
            "4.3 keys missing",
            |f| {
                f.signed.as_object_mut().unwrap().remove("keys");
            },
            Err("metadata-malformed"),
        ),
        (
            "4.3 consistent_snapshot as text",
            |f| f.signed["consistent_snapshot"] = json!("yes"),
            Err("metadata-malformed"),
        ),
        ("5.3.10 expired", |f| f.signed["expires"] = json!(NOW), Err("metadata-expired")),
    ];
    for (name, edit, expected) in cases {
        let mut repo = Repo::new();
        repo.bump("root");
        let mut file = repo.role("root").clone();
        edit(&mut file);
        repo.files.insert("metadata/2.root.json".to_owned(), envelope(&file.signed, &file.signers));
        assert_eq!(first_refresh(&repo).map(drop), *expected, "{name}");
    }
}

#[test]
fn a_duplicate_key_anywhere_makes_two_documents_of_one() {
    for (role, twice) in [
        ("timestamp", "\"version\":"),
        ("timestamp", "\"snapshot.json\":"),
        ("snapshot", "\"targets.json\":"),
        ("targets", "\"targets\":"),
        ("timestamp", "\"signatures\":"),
        ("timestamp", "\"keyid\":"),
    ] {
        let mut repo = Repo::new();
        let name = repo.file_name(role);
        let text = String::from_utf8(repo.files[&name].clone()).unwrap();
        // The same key and value again, so nothing but the repetition is wrong.
        let at = text.find(twice).unwrap();
        let member = &text[at..];
        let mut reader = serde_json::Deserializer::from_str(&member[twice.len()..]).into_iter::<serde_json::Value>();
        let value = reader.next().unwrap().unwrap();
        let again = format!("{}{twice}{value},{}", &text[..at], &text[at..]);
        repo.files.insert(name, again.into_bytes());
        assert_eq!(first_refresh(&repo), Err("metadata-malformed"), "{role}: {twice}");
    }
}

#[test]
fn one_key_counts_once() {
    // Threshold 2 with the same public key under two ids; both ids sign.
    let sign_twice = |repo: &mut Repo, second: Signer, alias: &str| {
        let ids = [TIMESTAMP.id(), alias.to_owned()];
        repo.signed("root")["keys"][alias] = second.public();
        repo.signed("root")["roles"]["timestamp"] = json!({"keyids": ids, "threshold": 2});
        repo.bump("root").write_role("root");
        repo.role("timestamp").signers = vec![TIMESTAMP];
        let mut envelope: serde_json::Value = serde_json::from_slice(&repo.sign("timestamp")).unwrap();
        let message = support::repo::canonical(&repo.signed("timestamp").clone());
        let signature = json!({"keyid": alias, "sig": second.sign(message.as_bytes())});
        envelope["signatures"].as_array_mut().unwrap().push(signature);
        repo.files.insert("metadata/timestamp.json".to_owned(), serde_json::to_vec(&envelope).unwrap());
    };
    let mut twin = Repo::new();
    sign_twice(&mut twin, TIMESTAMP, "alias");
    assert_eq!(first_refresh(&twin), Err("metadata-threshold"));

    let mut two = Repo::new();
    sign_twice(&mut two, NEW, "any text is an id");
    assert_eq!(first_refresh(&two), Ok([2, 1, 1, 1]));
}

#[test]
fn a_bad_signature_beside_enough_good_ones_does_no_harm() {
    for (sig, expected) in [("", Ok(())), ("zz", Ok(())), ("00", Ok(()))] {
        let mut repo = Repo::new();
        repo.rotate("timestamp", &[TIMESTAMP, NEW]);
        repo.signed("root")["roles"]["timestamp"]["threshold"] = json!(1);
        repo.bump("root").write_role("root");
        let mut envelope: serde_json::Value = serde_json::from_slice(&repo.sign("timestamp")).unwrap();
        envelope["signatures"][1]["sig"] = json!(sig);
        repo.files.insert("metadata/timestamp.json".to_owned(), serde_json::to_vec(&envelope).unwrap());
        assert_eq!(first_refresh(&repo).map(drop), expected, "{sig:?}");
        // Without the good one nothing is left to count.
        envelope["signatures"].as_array_mut().unwrap().remove(0);
        repo.files.insert("metadata/timestamp.json".to_owned(), serde_json::to_vec(&envelope).unwrap());
        assert_eq!(first_refresh(&repo), Err("metadata-threshold"), "{sig:?}");
    }
}

#[test]
fn the_root_chain_is_followed_to_its_end() {
    // 5.3.3 to 5.3.9: every root is signed by the one before and by itself; those in between may be expired.
    let mut repo = Repo::new();
    repo.signed("root")["expires"] = json!("2020-01-01T00:00:00Z");
    repo.rotate("root", &[NEW]).rotate("root", &[OTHER]);
    repo.signed("root")["expires"] = json!(EXPIRES);
    repo.bump("root").write_role("root");
    assert_eq!(first_refresh(&repo), Ok([4, 1, 1, 1]));

    let mut skipped = repo.clone();
    skipped.files.remove("metadata/3.root.json");
    assert_eq!(
        first_refresh(&skipped),
        Err("metadata-expired"),
        "a missing root ends the chain, and that one is expired"
    );

    let mut unsigned_by_old = Repo::new();
    unsigned_by_old.rotate("root", &[NEW]);
    unsigned_by_old.role("root").signers = vec![NEW];
    unsigned_by_old.write_role("root");
    assert_eq!(first_refresh(&unsigned_by_old), Err("metadata-threshold"));

    let mut unsigned_by_new = Repo::new();
    unsigned_by_new.rotate("root", &[NEW]);
    unsigned_by_new.role("root").signers = vec![ROOT];
    unsigned_by_new.write_role("root");
    assert_eq!(first_refresh(&unsigned_by_new), Err("metadata-threshold"));
}

#[test]
fn a_root_that_cannot_be_had_is_not_a_root_that_is_not_there() {
    let repo = Repo::new();
    let refresh_with = |edit: fn(&mut MemorySource)| {
        let mut source = MemorySource::new(&repo);
        edit(&mut source);
        let client = Client::new(repo.pinned(), source, Store::in_memory()).with_time(NOW.parse().unwrap());
        client.refresh().map(drop).map_err(|e| code(&e))
    };
    assert_eq!(refresh_with(|_| {}), Ok(()));
    assert_eq!(
        refresh_with(|s| {
            s.broken.insert("metadata/2.root.json".to_owned());
        }),
        Err("repository-unreadable")
    );
    assert_eq!(
        refresh_with(|s| {
            s.endless.insert("metadata/2.root.json".to_owned());
        }),
        Err("metadata-too-large")
    );
    assert_eq!(
        refresh_with(|s| {
            s.endless.insert("metadata/timestamp.json".to_owned());
        }),
        Err("metadata-too-large")
    );
    assert_eq!(
        refresh_with(|s| {
            s.broken.insert("metadata/timestamp.json".to_owned());
        }),
        Err("repository-unreadable")
    );
}

#[test]
fn the_number_of_new_roots_is_bounded_and_the_next_refresh_goes_on() {
    let mut repo = Repo::new();
    for _ in 0..4 {
        repo.bump("root").write_role("root");
    }
    let path = folder("bounded_roots");
    let refresh_at_most = |rotations: u32| {
        let mut limits = MetadataLimits::default();
        limits.root_rotations = rotations;
        let client = client(&repo, Store::folder(&path)).with_limits(limits);
        client.refresh().map(|session| session.trusted().root().version()).map_err(|e| code(&e))
    };
    assert_eq!(refresh_at_most(3), Err("too-many-roots"));
    assert_eq!(refresh_at_most(1), Ok(5));
}

#[test]
fn pinned_root_must_be_a_root_that_signs_itself() {
    let mut repo = Repo::new();
    repo.role("root").signers = vec![NEW];
    let cases: &[(&str, Vec<u8>)] = &[
        ("not signed by its own key", repo.sign("root")),
        ("not JSON", b"root".to_vec()),
        ("empty", Vec::new()),
        ("a timestamp", Repo::new().sign("timestamp")),
    ];
    for (name, pinned) in cases {
        let client = Client::new(pinned.clone(), MemorySource::new(&repo), Store::in_memory());
        assert_eq!(client.refresh().map(drop).map_err(|e| code(&e)), Err("pinned-root-invalid"), "{name}");
    }
    let mut stranger = Repo::new();
    stranger.rotate("root", &[NEW]).rotate("timestamp", &[NEW]);
    let client = Client::new(stranger.sign("root"), MemorySource::new(&Repo::new()), Store::in_memory());
    assert_eq!(
        client.refresh().map(drop).map_err(|e| code(&e)),
        Err("metadata-threshold"),
        "the root of another repository"
    );
}

#[test]
fn each_role_expires_at_the_start_time_and_not_one_second_before() {
    for role in ["root", "timestamp", "snapshot", "targets"] {
        for (expires, staleness, expected) in [
            ("2030-01-01T00:00:01Z", 0, Ok(())),
            (NOW, 0, Err("metadata-expired")),
            ("2029-12-31T23:00:00Z", 0, Err("metadata-expired")),
            ("2029-12-31T23:00:00Z", 3600, Err("metadata-expired")),
            ("2029-12-31T23:00:00Z", 3601, Ok(())),
        ] {
            let mut repo = Repo::new();
            repo.signed(role)["expires"] = json!(expires);
            if role == "root" {
                repo.bump("root").write_role("root");
            }
            repo.write();
            let client = client(&repo, Store::in_memory()).with_max_staleness(chrono::TimeDelta::seconds(staleness));
            let got = client.refresh().map(drop).map_err(|e| code(&e));
            assert_eq!(got, expected, "{role} expires {expires}, staleness {staleness} s");
        }
    }
}

/// One step of a history: how the repository changes, and what a client that has seen the step before must say.
type Step = (&'static str, fn(&mut Repo), Result<[u64; 4], &'static str>);

fn follow(test: &str, steps: &[Step]) {
    let store = folder(test);
    let mut repo = Repo::new();
    for (name, edit, expected) in steps {
        edit(&mut repo);
        assert_eq!(refresh(&repo, &store), *expected, "{test}: {name}");
    }
}

#[test]
fn rollback_is_refused_and_the_floor_stays() {
    follow(
        "timestamp",
        &[
            (
                "first",
                |r| {
                    r.publish();
                },
                Ok([1, 2, 2, 2]),
            ),
            (
                "5.4.3.1 next version",
                |r| {
                    r.bump("timestamp").write();
                },
                Ok([1, 3, 2, 2]),
            ),
            (
                "5.4.3.1 lower version",
                |r| {
                    r.signed("timestamp")["version"] = json!(2);
                    r.write();
                },
                Err("metadata-rollback"),
            ),
            (
                "5.4.3.1 the same version",
                |r| {
                    r.signed("timestamp")["version"] = json!(3);
                    r.write();
                },
                Ok([1, 3, 2, 2]),
            ),
            (
                "5.4.3.1 the same version with other content keeps the trusted one",
                |r| {
                    r.signed("timestamp")["meta"]["snapshot.json"]["version"] = json!(9);
                    r.write_role("timestamp");
                },
                Ok([1, 3, 2, 2]),
            ),
            (
                "5.4.3.2 lower snapshot version",
                |r| {
                    r.signed("snapshot")["version"] = json!(1);
                    r.bump("timestamp").write();
                },
                Err("metadata-rollback"),
            ),
            (
                "the floor did not move",
                |r| {
                    r.signed("snapshot")["version"] = json!(2);
                    r.write();
                },
                Ok([1, 4, 2, 2]),
            ),
        ],
    );
    follow(
        "snapshot",
        &[
            (
                "first",
                |r| {
                    r.delegate("targets", "team", &["a/*"], &[NEW], false).publish();
                },
                Ok([1, 2, 2, 2]),
            ),
            (
                "5.5.5 lower targets version",
                |r| {
                    r.signed("targets")["version"] = json!(1);
                    r.bump("snapshot").bump("timestamp").write();
                },
                Err("metadata-rollback"),
            ),
            (
                "5.5.5 the same targets version",
                |r| {
                    r.signed("targets")["version"] = json!(2);
                    r.write();
                },
                Ok([1, 3, 3, 2]),
            ),
            (
                "5.5.5 a role removed",
                |r| {
                    r.roles.remove("team");
                    r.bump("snapshot").bump("timestamp").write();
                },
                Err("metadata-role-removed"),
            ),
        ],
    );
}

#[test]
fn an_expired_local_timestamp_still_counts_against_rollback() {
    let store = folder("expired_local");
    let mut repo = Repo::new();
    repo.signed("timestamp")["expires"] = json!("2030-01-02T00:00:00Z");
    repo.signed("timestamp")["version"] = json!(5);
    repo.write();
    assert_eq!(refresh(&repo, &store), Ok([1, 5, 1, 1]));
    let later = |repo: &Repo| {
        let client = client(repo, Store::folder(&store)).with_time("2030-02-01T00:00:00Z".parse().unwrap());
        client.refresh().map(|s| s.trusted().timestamp().version()).map_err(|e| code(&e))
    };
    assert_eq!(later(&repo), Err("metadata-expired"), "never as the current one");
    repo.signed("timestamp")["expires"] = json!(EXPIRES);
    repo.signed("timestamp")["version"] = json!(4);
    assert_eq!(later(repo.write()), Err("metadata-rollback"));
    repo.signed("timestamp")["version"] = json!(6);
    assert_eq!(later(repo.write()), Ok(6));
}

#[test]
fn keys_that_were_taken_away_take_their_floor_with_them() {
    // 5.3.11, the fast-forward attack: the thief of a key pushed the version out of reach.
    follow(
        "fast_forward_timestamp",
        &[
            (
                "the attack",
                |r| {
                    r.signed("timestamp")["version"] = json!(u64::MAX);
                    r.write();
                },
                Ok([1, u64::MAX, 1, 1]),
            ),
            (
                "no recovery without new keys",
                |r| {
                    r.signed("timestamp")["version"] = json!(2);
                    r.write();
                },
                Err("metadata-rollback"),
            ),
            (
                "a key added is no recovery",
                |r| {
                    r.rotate("timestamp", &[TIMESTAMP, NEW]);
                    r.signed("root")["roles"]["timestamp"]["threshold"] = json!(1);
                    r.bump("root").write_role("root");
                },
                Err("metadata-rollback"),
            ),
            (
                "recovery",
                |r| {
                    r.rotate("timestamp", &[NEW]);
                },
                Ok([4, 2, 1, 1]),
            ),
            (
                "and a new floor",
                |r| {
                    r.signed("timestamp")["version"] = json!(1);
                    r.write();
                },
                Err("metadata-rollback"),
            ),
        ],
    );
    follow(
        "fast_forward_snapshot",
        &[
            (
                "the attack",
                |r| {
                    r.signed("snapshot")["version"] = json!(99999);
                    r.write();
                },
                Ok([1, 1, 99999, 1]),
            ),
            (
                "recovery with a new snapshot key alone",
                |r| {
                    r.signed("snapshot")["version"] = json!(2);
                    r.signed("timestamp")["version"] = json!(2);
                    r.rotate("snapshot", &[NEW]);
                },
                Ok([2, 2, 2, 1]),
            ),
        ],
    );
    follow(
        "fast_forward_targets",
        &[
            (
                "the attack",
                |r| {
                    r.signed("targets")["version"] = json!(100);
                    r.bump("snapshot").bump("timestamp").write();
                },
                Ok([1, 2, 2, 100]),
            ),
            (
                "recovery",
                |r| {
                    r.signed("targets")["version"] = json!(2);
                    r.bump("snapshot").bump("timestamp").rotate("snapshot", &[NEW]);
                },
                Ok([2, 3, 3, 2]),
            ),
        ],
    );
    follow(
        "renamed_key",
        &[
            (
                "first",
                |r| {
                    r.bump("timestamp").write();
                },
                Ok([1, 2, 1, 1]),
            ),
            (
                "the same key under another id is not taken away",
                |r| {
                    let id = TIMESTAMP.id();
                    let key = r.signed("root")["keys"][&id].clone();
                    r.signed("root")["keys"]["renamed"] = key;
                    r.signed("root")["roles"]["timestamp"]["keyids"] = json!([id, "renamed"]);
                    r.bump("root").write_role("root");
                    r.signed("timestamp")["version"] = json!(1);
                    r.write();
                },
                Err("metadata-rollback"),
            ),
        ],
    );
}

#[test]
fn mix_and_match_is_refused() {
    type Edit = fn(&mut Repo);
    let cases: &[(&str, Edit, Result<(), &str>)] = &[
        ("as it is", |_| {}, Ok(())),
        (
            "5.5.4 a snapshot of another version",
            |r| {
                r.signed("snapshot")["version"] = json!(3);
                let bytes = r.sign("snapshot");
                r.files.insert("metadata/2.snapshot.json".into(), bytes);
            },
            Err("metadata-version"),
        ),
        (
            "5.6.4 targets of another version",
            |r| {
                r.signed("targets")["version"] = json!(3);
                let bytes = r.sign("targets");
                r.files.insert("metadata/2.targets.json".into(), bytes);
            },
            Err("metadata-version"),
        ),
        (
            "5.5.1 the snapshot is missing",
            |r| {
                r.files.remove("metadata/2.snapshot.json");
            },
            Err("repository-incomplete"),
        ),
        (
            "5.6.1 targets are missing",
            |r| {
                r.files.remove("metadata/2.targets.json");
            },
            Err("repository-incomplete"),
        ),
        (
            "5.4.1 the timestamp is missing",
            |r| {
                r.files.remove("metadata/timestamp.json");
            },
            Err("repository-incomplete"),
        ),
        (
            "4.6 the timestamp lists no snapshot",
            |r| {
                r.signed("timestamp")["meta"] = json!({});
                r.write_role("timestamp");
            },
            Err("metadata-malformed"),
        ),
        (
            "4.4 the snapshot lists no targets",
            |r| {
                r.signed("snapshot")["meta"] = json!({});
                r.write_role("snapshot");
            },
            Err("metadata-malformed"),
        ),
    ];
    for (name, edit, expected) in cases {
        let mut repo = Repo::new();
        repo.publish();
        edit(&mut repo);
        assert_eq!(first_refresh(&repo).map(drop), *expected, "{name}");
    }
}

#[test]
fn listed_lengths_and_hashes_bind() {
    type Edit = fn(&mut serde_json::Value);
    let cases: &[(&str, Edit, Result<(), &str>)] = &[
        ("as listed", |_| {}, Ok(())),
        (
            "no length",
            |m| {
                m.as_object_mut().unwrap().remove("length");
            },
            Ok(()),
        ),
        (
            "no hashes",
            |m| {
                m.as_object_mut().unwrap().remove("hashes");
            },
            Ok(()),
        ),
        (
            "one byte more is listed",
            |m| m["length"] = json!(m["length"].as_u64().unwrap() + 1),
            Err("signed-length-mismatch"),
        ),
        (
            "one byte less is listed",
            |m| m["length"] = json!(m["length"].as_u64().unwrap() - 1),
            Err("metadata-too-large"),
        ),
        ("another sha256", |m| m["hashes"]["sha256"] = json!("00".repeat(32)), Err("signed-hash-mismatch")),
        (
            "a wrong sha512 beside the right sha256",
            |m| m["hashes"]["sha512"] = json!("00".repeat(64)),
            Err("signed-hash-mismatch"),
        ),
        ("an unknown algorithm beside sha256", |m| m["hashes"]["blake3"] = json!("00"), Ok(())),
        ("only an unknown algorithm", |m| m["hashes"] = json!({"md5": "00"}), Err("signed-hash-unknown")),
        ("no hash in hashes", |m| m["hashes"] = json!({}), Err("metadata-malformed")),
        ("a sha256 that is none", |m| m["hashes"]["sha256"] = json!("00"), Err("metadata-malformed")),
        ("version 0", |m| m["version"] = json!(0), Err("metadata-malformed")),
    ];
    for (role, by, entry) in [("snapshot", "timestamp", "snapshot.json"), ("targets", "snapshot", "targets.json")] {
        for (name, edit, expected) in cases {
            let mut repo = Repo::new();
            repo.lists_hashes = true;
            repo.write();
            edit(&mut repo.signed(by)["meta"][entry]);
            let bytes = repo.write_role(by);
            if by == "snapshot" {
                let meta =
                    json!({"version": 1, "length": bytes.len(), "hashes": {"sha256": support::repo::sha256(&bytes)}});
                repo.signed("timestamp")["meta"]["snapshot.json"] = meta;
                repo.write_role("timestamp");
            }
            assert_eq!(first_refresh(&repo).map(drop), *expected, "{role}: {name}");
        }
    }
}

#[test]
fn an_unchanged_repository_costs_two_requests() {
    let store = folder("requests");
    let mut repo = Repo::new();
    let requests = |repo: &Repo| {
        let source = MemorySource::new(repo);
        let client = Client::new(repo.pinned(), source, Store::folder(&store)).with_time(NOW.parse().unwrap());
        drop(client.refresh().unwrap());
        client.source().take_requests()
    };
    assert_eq!(requests(&repo), ["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"]);
    assert_eq!(requests(&repo), ["2.root.json", "timestamp.json"]);
    repo.bump("snapshot").bump("timestamp").write();
    assert_eq!(requests(&repo), ["2.root.json", "timestamp.json", "2.snapshot.json"]);
    repo.rotate("root", &[NEW]);
    assert_eq!(requests(&repo), ["2.root.json", "3.root.json", "timestamp.json"]);
    assert_eq!(requests(&repo), ["3.root.json", "timestamp.json"]);
}

#[test]
fn plain_file_names_without_consistent_snapshots() {
    let mut repo = Repo::new();
    repo.files.clear();
    repo.signed("root")["consistent_snapshot"] = json!(false);
    repo.target("targets", "a/b", b"content").write();
    let client = client(&repo, Store::in_memory());
    let mut session = client.refresh().unwrap();
    let found = session.find("a/b").unwrap().unwrap();
    assert_eq!(session.fetch(&found).unwrap(), b"content");
    drop(session);
    let requests = ["2.root.json", "timestamp.json", "snapshot.json", "targets.json", "targets/a/b"];
    assert_eq!(client.source().take_requests(), requests);
}

#[test]
fn a_target_is_exactly_what_was_signed() {
    type Edit = fn(&mut Repo, &str);
    let cases: &[(&str, Edit, Result<(), &str>)] = &[
        ("as it is", |_, _| {}, Ok(())),
        ("one byte changed", |r, f| r.files.get_mut(f).unwrap()[0] ^= 1, Err("signed-hash-mismatch")),
        (
            "one byte less",
            |r, f| {
                r.files.get_mut(f).unwrap().pop();
            },
            Err("signed-length-mismatch"),
        ),
        ("one byte more", |r, f| r.files.get_mut(f).unwrap().push(0), Err("signed-length-mismatch")),
        (
            "missing",
            |r, f| {
                r.files.remove(f);
            },
            Err("repository-incomplete"),
        ),
        (
            "sha512 alone",
            |r, f| {
                let sha512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
                r.signed("targets")["targets"]["a/b"]["hashes"] = json!({"sha512": sha512});
                let bytes = r.files.remove(f).unwrap();
                r.files.insert(format!("targets/a/{sha512}.b"), bytes);
                r.write();
            },
            Ok(()),
        ),
        (
            "sha512 wrong beside the right sha256",
            |r, _| {
                r.signed("targets")["targets"]["a/b"]["hashes"]["sha512"] = json!("00".repeat(64));
                r.write();
            },
            Err("signed-hash-mismatch"),
        ),
        (
            "an unknown algorithm alone",
            |r, _| {
                r.signed("targets")["targets"]["a/b"]["hashes"] = json!({"md5": "00"});
                r.write();
            },
            Err("signed-hash-unknown"),
        ),
        (
            "longer than fits into memory",
            |r, _| {
                r.signed("targets")["targets"]["a/b"]["length"] = json!(u64::MAX);
                r.write();
            },
            Err("metadata-too-large"),
        ),
    ];
    for (name, edit, expected) in cases {
        let mut repo = Repo::new();
        repo.target("targets", "a/b", b"abc").write();
        let file = repo.files.keys().find(|name| name.starts_with("targets/")).unwrap().clone();
        edit(&mut repo, &file);
        let client = client(&repo, Store::in_memory());
        let mut session = client.refresh().unwrap();
        let found = session.find("a/b").unwrap().unwrap();
        let got = session.fetch(&found).map(|bytes| assert_eq!(bytes, b"abc")).map_err(|e| code(&e));
        assert_eq!(got, *expected, "{name}");
    }
}

#[test]
fn the_core_alone_works_in_the_same_way() {
    // What an async program does: bring bytes in order, ask for what is needed.
    let mut repo = Repo::new();
    repo.delegate("targets", "A", &["*"], &[NEW], false).target("A", "file", b"x").rotate("root", &[OTHER]);
    let file = |name: &str| repo.files[&format!("metadata/{name}")].clone();
    let mut roots = Roots::pin(&file("1.root.json"), Rules::at(NOW.parse().unwrap())).unwrap();
    assert_eq!(roots.next_version().unwrap(), 2);
    let _kept = roots.rotate(&file("2.root.json")).unwrap();
    let root = roots.finish().unwrap();
    // A failed check changes nothing: the stage can be asked again.
    assert_eq!(trust_code(root.timestamp(&file("1.snapshot.json"))), Err("metadata-malformed"));
    let timestamp = root.timestamp(&file("timestamp.json")).unwrap();
    assert_eq!((timestamp.snapshot_request().version(), timestamp.snapshot_request().limit()), (1, 16 << 20));
    let snapshot = timestamp.snapshot(&file("1.snapshot.json")).unwrap();
    let mut trusted = snapshot.targets(file("1.targets.json")).unwrap();
    let mut search = trusted.search("file");
    let plimsoll::trust::Step::Need(request) = search.step().unwrap() else { panic!("A is not loaded yet") };
    assert_eq!(request.role().as_str(), "A");
    assert_eq!(trust_code(search.provide(file("1.targets.json"))), Err("metadata-threshold"));
    assert!(matches!(search.step().unwrap(), plimsoll::trust::Step::Need(_)), "still needed");
    search.provide(file("1.A.json")).unwrap();
    assert!(matches!(search.step().unwrap(), plimsoll::trust::Step::Found(_)));
    assert!(matches!(search.step().unwrap(), plimsoll::trust::Step::Found(_)), "and stays so");
}

#[test]
fn errors_say_role_expected_and_found() {
    let mut repo = Repo::new();
    repo.publish();
    let store = folder("messages");
    refresh(&repo, &store).unwrap();
    repo.signed("timestamp")["version"] = json!(1);
    repo.write();
    let client = client(&repo, Store::folder(&store));
    let ClientError::NotTrusted(error) = client.refresh().unwrap_err() else { panic!("a rollback is not trusted") };
    assert_eq!(error.to_string(), "timestamp: version went back from 2 to 1");
    assert_eq!(
        (error.expected().unwrap(), error.found().unwrap()),
        ("version 2 or later".to_owned(), "version 1".to_owned())
    );
    assert!(matches!(error, TrustError::Rollback { trusted: 2, found: 1, .. }));
}

/// What the snapshot and the timestamp say of a file's length is signed: a file that is too long by it is refused without being brought.
#[test]
fn a_role_that_is_listed_as_too_long_is_not_asked_for() {
    let mut repo = Repo::new();
    repo.lists_hashes = true;
    repo.target("targets", "a/b", b"abc").target("targets", "a/c", b"abcd").target("targets", "a/d", b"abcde").write();
    let length = |file: &str| u64::try_from(repo.files[file].len()).unwrap();
    let (snapshot, targets) = (length("metadata/1.snapshot.json"), length("metadata/1.targets.json"));
    assert!(snapshot < targets);
    for (listed, expected, asked) in [
        (targets, Ok(()), &["2.root.json", "timestamp.json", "1.snapshot.json", "1.targets.json"][..]),
        (targets - 1, Err("metadata-too-large"), &["2.root.json", "timestamp.json", "1.snapshot.json"]),
        (snapshot - 1, Err("metadata-too-large"), &["2.root.json", "timestamp.json"]),
    ] {
        let mut limits = MetadataLimits::default();
        limits.listed = listed;
        let client = client(&repo, Store::in_memory()).with_limits(limits);
        assert_eq!(client.refresh().map(drop).map_err(|e| code(&e)), expected, "{listed}");
        assert_eq!(client.source().take_requests(), asked, "{listed}");
    }
    // Where no length is listed, only what comes counts.
    repo.lists_hashes = false;
    repo.write();
    let mut limits = MetadataLimits::default();
    limits.listed = targets;
    client(&repo, Store::in_memory()).with_limits(limits).refresh().unwrap();
}
