//! The search for a target over delegations [TUF 5.6.7, TAP 15]: order, what is asked for, who may sign what.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

mod support;

use plimsoll::client::Store;
use plimsoll::trust::{Absence, Step};
use serde_json::json;
use support::repo::{NOW, Repo, Signer, TARGETS, envelope};
use support::source::{client, code};

const NEW: Signer = Signer(40);
const OTHER: Signer = Signer(41);

/// A delegation graph: `(from, to, paths, terminating)`.
type Edge = (&'static str, &'static str, &'static [&'static str], bool);

fn graph(edges: &[Edge]) -> Repo {
    let mut repo = Repo::new();
    for (from, to, paths, terminating) in edges {
        let number = to.bytes().last().unwrap();
        repo.delegate(from, to, paths, &[Signer(number)], *terminating);
    }
    repo
}

const ALL: &[&str] = &["*"];

#[test]
fn delegations_are_searched_in_pre_order() {
    let cases: &[(&str, &[Edge], &[&str])] = &[
        ("one", &[("targets", "A", ALL, false)], &["A"]),
        ("two", &[("targets", "A", ALL, false), ("targets", "B", ALL, false)], &["A", "B"]),
        (
            "depth first",
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("A", "C", ALL, false),
                ("A", "D", ALL, false),
            ],
            &["A", "C", "D", "B"],
        ),
        (
            "terminating ends the search below it, and before its later siblings and uncles",
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("A", "C", ALL, true),
                ("A", "D", ALL, false),
                ("C", "E", ALL, false),
            ],
            &["A", "C", "E"],
        ),
        (
            "terminating for other paths only",
            &[("targets", "A", &["*.py"], true), ("targets", "B", ALL, false)],
            &["B"],
        ),
        (
            "paths that do not match",
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("A", "C", &["*.py"], false),
                ("C", "D", ALL, false),
            ],
            &["A", "B"],
        ),
        (
            "a cycle",
            &[("targets", "A", ALL, false), ("A", "B", ALL, false), ("B", "A", ALL, false), ("B", "C", ALL, false)],
            &["A", "B", "C"],
        ),
        (
            "a diamond",
            &[
                ("targets", "A", ALL, false),
                ("targets", "B", ALL, false),
                ("A", "C", ALL, false),
                ("B", "C", ALL, false),
            ],
            &["A", "C", "B"],
        ),
        ("itself", &[("targets", "A", ALL, false), ("A", "A", ALL, false)], &["A"]),
    ];
    for (name, edges, visited) in cases {
        let mut repo = graph(edges);
        repo.write();
        let client = client(&repo, Store::in_memory());
        let mut session = client.refresh().unwrap();
        client.source().take_requests();
        assert_eq!(session.find("missing").unwrap(), Err(Absence::NotListed), "{name}");
        let expected: Vec<String> = visited.iter().map(|role| format!("1.{role}.json")).collect();
        assert_eq!(client.source().take_requests(), expected, "{name}");
        // What was loaded stays loaded.
        assert_eq!(session.find("missing").unwrap(), Err(Absence::NotListed), "{name}");
        assert!(client.source().take_requests().is_empty(), "{name}");
    }
}

#[test]
fn a_target_is_what_the_first_role_that_may_sign_it_says() {
    let mut repo =
        graph(&[("targets", "A", &["a/*"], false), ("targets", "B", &["*/*"], false), ("A", "C", &["a/x*"], false)]);
    for role in ["A", "B", "C"] {
        for path in ["a/1", "a/x2", "b/3"] {
            repo.target(role, path, format!("{role} {path}").as_bytes());
        }
    }
    repo.target("targets", "top", b"top");
    repo.write();
    let client = client(&repo, Store::in_memory());
    let mut session = client.refresh().unwrap();
    let cases: &[(&str, Option<(&str, &[&str])>)] = &[
        ("top", Some(("top", &["targets"]))),
        ("a/1", Some(("A a/1", &["targets", "A"]))),
        ("a/x2", Some(("A a/x2", &["targets", "A"]))),
        ("b/3", Some(("B b/3", &["targets", "B"]))), // A lists it too, but may not sign it.
        ("c/4", None),
        ("", None),
        ("a/1/", None),
        ("A/1", None),
    ];
    for (path, expected) in cases {
        let found = session.find(path).unwrap();
        let got = found.as_ref().ok().map(|found| {
            let roles: Vec<String> = found.delegations().iter().map(ToString::to_string).collect();
            (String::from_utf8(session.fetch(found).unwrap()).unwrap(), roles)
        });
        let expected = expected.map(|(text, roles)| (text.to_owned(), roles.iter().map(|r| (*r).to_owned()).collect()));
        assert_eq!(got, expected, "{path}");
    }
}

#[test]
fn a_delegated_role_is_trusted_for_its_own_delegation_only() {
    // A and B both delegate to C, B with a key that did not sign it.
    let mut repo =
        graph(&[("targets", "A", &["a/*"], false), ("targets", "B", &["b/*"], false), ("A", "C", &["a/*"], false)]);
    repo.delegate("B", "C", &["b/*"], &[OTHER], false);
    repo.target("C", "a/1", b"one").target("C", "b/2", b"two").write();
    let client = client(&repo, Store::in_memory());
    let mut session = client.refresh().unwrap();
    assert!(session.find("a/1").unwrap().is_ok());
    let error = session.find("b/2").unwrap_err();
    assert_eq!(code(&error), "metadata-threshold", "C is loaded, but not by B's leave");
    // The twin: with both keys C may sign for both.
    let mut good = repo.clone();
    good.role("C").signers.push(OTHER);
    good.write();
    let good = support::source::client(&good, Store::in_memory());
    let mut session = good.refresh().unwrap();
    assert!(session.find("a/1").unwrap().is_ok());
    assert!(session.find("b/2").unwrap().is_ok());
}

#[test]
fn a_second_file_of_a_role_borrows_no_trust_from_the_first() {
    // A and B both delegate to D, each with its own key. D's two files have one version; the first gives C to NEW, the second to
    // OTHER. C is signed by NEW alone. A program that brings the second file where the first is loaded must not get C by it.
    let mut repo = graph(&[("targets", "A", &["a/*"], false), ("targets", "B", &["b/*"], false)]);
    let (one, two) = (Signer(50), Signer(51));
    repo.delegate("A", "D", &["a/*"], &[one], false).delegate("B", "D", &["b/*"], &[two], false);
    let mut second = repo.role("D").clone();
    repo.delegate("D", "C", &["*/*"], &[NEW], false).target("C", "a/1", b"one").target("C", "b/2", b"two").write();
    let mut other = repo.clone();
    other.signed("D")["delegations"] = json!(null);
    other.delegate("D", "C", &["*/*"], &[OTHER], false);
    (second.signed, second.signers) = (other.signed("D").clone(), vec![two]);
    let second = envelope(&second.signed, &second.signers);

    let client = client(&repo, Store::in_memory());
    let mut session = client.refresh().unwrap();
    assert!(session.find("a/1").unwrap().is_ok());
    let mut trusted = session.trusted().clone();
    let mut search = trusted.search("b/2");
    let Step::Need(request) = search.step().unwrap() else { panic!("B is not loaded yet") };
    assert_eq!(request.role().as_str(), "B");
    search.provide(&repo.files["metadata/1.B.json"]).unwrap();
    assert_eq!(search.step().unwrap_err().code(), "metadata-threshold", "the first file of D is not signed for B");
    assert_eq!(search.provide(&second).unwrap_err().code(), "metadata-threshold");
    assert_eq!(search.step().unwrap_err().code(), "metadata-threshold", "and it stays so");
    // The twin: where no file of D is loaded, the second one is good, and C is not signed as that one asks.
    let twin = support::source::client(&repo, Store::in_memory());
    let mut fresh = twin.refresh().unwrap().trusted().clone();
    let mut search = fresh.search("b/2");
    for file in [&repo.files["metadata/1.B.json"], &second] {
        assert!(matches!(search.step().unwrap(), Step::Need(_)));
        search.provide(file).unwrap();
    }
    assert!(matches!(search.step().unwrap(), Step::Need(_)));
    assert_eq!(search.provide(&repo.files["metadata/1.C.json"]).unwrap_err().code(), "metadata-threshold");
}

#[test]
fn delegated_roles_follow_the_same_rules() {
    type Edit = fn(&mut Repo);
    let cases: &[(&str, Edit, Result<Result<(), Absence>, &str>)] = &[
        ("as it is", |_| {}, Ok(Ok(()))),
        (
            "5.6.3 the wrong key",
            |r| {
                r.role("A").signers = vec![NEW];
                r.write_role("A");
            },
            Err("metadata-threshold"),
        ),
        (
            "5.6.3 the key of the top-level role",
            |r| {
                r.role("A").signers = vec![TARGETS];
                r.write_role("A");
            },
            Err("metadata-threshold"),
        ),
        (
            "5.6.4 another version",
            |r| {
                r.signed("A")["version"] = json!(2);
                let b = r.sign("A");
                r.files.insert("metadata/1.A.json".into(), b);
            },
            Err("metadata-version"),
        ),
        (
            "5.6.5 expired",
            |r| {
                r.signed("A")["expires"] = json!(NOW);
                r.write_role("A");
            },
            Err("metadata-expired"),
        ),
        (
            "5.6.1 missing",
            |r| {
                r.files.remove("metadata/1.A.json");
            },
            Err("repository-incomplete"),
        ),
        (
            "5.6.2 not in the snapshot",
            |r| {
                r.signed("snapshot")["meta"] = json!({"targets.json": {"version": 1}});
                r.write_role("snapshot");
            },
            Ok(Err(Absence::RoleNotInSnapshot(plimsoll::metadata::RoleName::Delegated("A".to_owned())))),
        ),
        (
            "a snapshot in its place",
            |r| {
                let b = r.sign("snapshot");
                r.files.insert("metadata/1.A.json".into(), b);
            },
            Err("metadata-malformed"),
        ),
        (
            "the top-level targets in its place",
            |r| {
                let b = r.sign("targets");
                r.files.insert("metadata/1.A.json".into(), b);
            },
            Err("metadata-threshold"),
        ),
    ];
    for (name, edit, expected) in cases {
        let mut repo = graph(&[("targets", "A", ALL, false), ("targets", "B", ALL, false)]);
        repo.target("A", "file", b"x").target("B", "file", b"y").write();
        edit(&mut repo);
        let client = client(&repo, Store::in_memory());
        let mut session = client.refresh().unwrap();
        let got = session.find("file").map(|found| found.map(drop)).map_err(|e| code(&e));
        assert_eq!(got, *expected, "{name}");
    }
}

#[test]
fn a_search_visits_no_more_roles_than_it_may() {
    // A chain of 40, and the limit just below and at its length.
    let mut repo = Repo::new();
    let mut above = "targets".to_owned();
    for n in 1..=40 {
        let name = format!("level{n}");
        repo.delegate(&above, &name, ALL, &[Signer(n)], false);
        above = name;
    }
    repo.target("level40", "deep", b"x").write();
    let find = |limit: u32| {
        let mut limits = plimsoll::limits::MetadataLimits::default();
        limits.delegations = limit;
        let client = client(&repo, Store::in_memory()).with_limits(limits);
        client.refresh().unwrap().find("deep").unwrap().map(|found| found.delegations().len())
    };
    assert_eq!(find(40), Ok(41));
    assert_eq!(find(39), Err(Absence::TooManyRoles(39)));
}

#[test]
fn succinct_bins_and_hash_bins_cost_one_role() {
    let mut succinct = Repo::new();
    let bins = json!({"keyids": [NEW.id()], "threshold": 1, "bit_length": 14, "name_prefix": "bin"});
    succinct.signed("targets")["delegations"] = json!({"keys": {NEW.id(): NEW.public()}, "succinct_roles": bins});
    let bin = u16::from_str_radix(&support::repo::sha256(b"some/file")[..4], 16).unwrap() >> 2;
    let name = format!("bin-{bin:04x}");
    let mut spare = Repo::new();
    spare.delegate("targets", &name, ALL, &[NEW], false);
    succinct.roles.insert(name.clone(), spare.roles[&name].clone());
    succinct.target(&name, "some/file", b"x").write();

    let mut hashed = Repo::new();
    for first in 0..16 {
        let bin = format!("{first:x}");
        hashed.delegate("targets", &bin, &[], &[NEW], true);
        let role = hashed.signed("targets")["delegations"]["roles"].as_array_mut().unwrap().last_mut().unwrap();
        role.as_object_mut().unwrap().remove("paths");
        role["path_hash_prefixes"] = json!([bin]);
    }
    let home = support::repo::sha256(b"some/file")[..1].to_owned();
    hashed.target(&home, "some/file", b"x").write();

    for (repo, role) in [(succinct, name), (hashed, home)] {
        let client = client(&repo, Store::in_memory());
        let mut session = client.refresh().unwrap();
        client.source().take_requests();
        let found = session.find("some/file").unwrap().unwrap();
        assert_eq!(session.fetch(&found).unwrap(), b"x");
        let requests = client.source().take_requests();
        assert_eq!(requests[0], format!("1.{role}.json"));
        assert_eq!(requests.len(), 2, "one role and the target: {requests:?}");
    }
}
