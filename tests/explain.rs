//! "Who am I trusting?", over repositories in memory: thresholds, delegations, bins, shared keys, expiry, and what is hostile.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    reason = "tests state what they expect"
)]

mod support;

use chrono::TimeDelta;
use plimsoll::client::{Client, Store};
use plimsoll::explain::{
    Answer, Explainer, Explanation, Matched, PowerKind, RepositoryAnswer, RepositoryExplanation, WarningCode,
};
use serde_json::{Value, json};
use support::repo::{NOW, ROOT, Repo, SNAPSHOT, Signer, TARGETS, TIMESTAMP, sha256};
use support::source::{MemorySource, client};

const NAME: &str = "registry.example/team/app:1.4";
const PATH: &str = "registry.example/team/app/1.4/manifest.json";
const TEAM: Signer = Signer(10);
const OTHER: Signer = Signer(11);

/// Changes a good case in one thing.
type Edit = fn(&mut Repo);
type EditSource = fn(&mut MemorySource);

fn explain(repo: &Repo) -> Explanation {
    Explainer::new(NAME.parse().unwrap()).by_client(&client(repo, Store::in_memory()))
}

fn one(explanation: &Explanation) -> &RepositoryExplanation {
    assert_eq!(explanation.repositories.len(), 1);
    &explanation.repositories[0]
}

/// Signs the image in a role, and publishes.
fn signed_by(role: &str, edit: impl FnOnce(&mut Repo)) -> Repo {
    let mut repo = Repo::new();
    edit(&mut repo);
    repo.target(role, PATH, b"a manifest").publish();
    repo
}

/// In a line: with how many more keys of which role, what.
fn thefts(repository: &RepositoryExplanation) -> Vec<String> {
    let mut lines = Vec::new();
    for theft in &repository.thefts {
        let roles: Vec<&str> = theft.roles.iter().map(|role| role.role.as_str()).collect();
        let front = format!("{} of {}", theft.keys.len(), roles.join("+"));
        let kinds = |powers: &[plimsoll::explain::Power]| -> String {
            let words = powers.iter().map(|power| {
                let kind = serde_json::to_value(power.kind).unwrap();
                let role = power.role.as_ref().map_or_else(String::new, |role| format!("({role})"));
                let late = if power.needs_publication { "?" } else { "" };
                format!("{}{role}{late}", kind.as_str().unwrap())
            });
            words.collect::<Vec<_>>().join(" ")
        };
        lines.push(format!("{front}: {}", kinds(&theft.alone)));
        lines.extend(
            theft.with_more.iter().map(|with| format!("{front} +{} {}: {}", with.more, with.role, kinds(&with.powers))),
        );
    }
    lines
}

fn warnings(repository: &RepositoryExplanation) -> Vec<WarningCode> {
    repository.warnings.iter().map(|warning| warning.code).collect()
}

#[test]
fn the_way_to_the_signer_is_told_step_by_step() {
    let all = &["registry.example/*/*/*/*"];
    let hash = sha256(PATH.as_bytes());
    let pattern = |pattern: &str| Matched::Pattern(pattern.to_owned());
    let mut repo = Repo::new();
    repo.delegations("targets", &[OTHER])["roles"].as_array_mut().unwrap().push(json!({
        "name": "bins", "keyids": [OTHER.id()], "threshold": 1, "terminating": true,
        "path_hash_prefixes": ["zz", &hash[..2], &hash[..3]],
    }));
    let steps = |repo: &Repo| -> Vec<(String, String, Matched, bool)> {
        let explanation = explain(repo);
        assert_eq!(explanation.answer, Answer::Signed, "{explanation}");
        let steps = one(&explanation).delegations.iter();
        steps.map(|step| (step.from.clone(), step.to.clone(), step.matched.clone(), step.terminating)).collect()
    };
    let step = |from: &str, to: &str, matched: Matched, terminating: bool| {
        (from.to_owned(), to.to_owned(), matched, terminating)
    };
    assert_eq!(steps(&signed_by("targets", |_| {})), []);
    let two = signed_by("app", |repo| {
        repo.delegate("targets", "team", &["other/*", all[0]], &[TEAM], false);
        repo.delegate("team", "app", &[PATH], &[OTHER], true);
    });
    assert_eq!(
        steps(&two),
        [step("targets", "team", pattern(all[0]), false), step("team", "app", pattern(PATH), true)]
    );
    let prefix = signed_by("bin", |repo| {
        repo.delegate("targets", "bin", &["x"], &[TEAM], true);
        let role = &mut repo.signed("targets")["delegations"]["roles"][0];
        role.as_object_mut().unwrap().remove("paths");
        role["path_hash_prefixes"] = json!(["zz", &hash[..2], &hash[..3]]);
    });
    assert_eq!(steps(&prefix), [step("targets", "bin", Matched::HashPrefix(hash[..2].to_owned()), true)]);
    let bin = format!("bin-{}", &hash[..1]);
    let succinct = signed_by(&bin, |repo| {
        repo.delegate("targets", &bin, &["x"], &[TEAM], true);
        let delegations = &mut repo.signed("targets")["delegations"];
        delegations.as_object_mut().unwrap().remove("roles");
        delegations["succinct_roles"] =
            json!({"keyids": [TEAM.id()], "threshold": 1, "bit_length": 4, "name_prefix": "bin"});
    });
    assert_eq!(steps(&succinct), [step("targets", &bin, Matched::Bin(16), true)]);
}

#[test]
fn whoever_was_asked_before_is_named_in_the_order_of_the_search() {
    let all = &["registry.example/*/*/*/*"];
    let asked = |repo: &Repo| -> (Answer, Vec<String>) {
        let explanation = explain(repo);
        let rows = one(&explanation).asked.iter();
        (explanation.answer, rows.map(|row| format!("{} by {}", row.role, row.delegated_by)).collect())
    };
    let delegations = |last_terminates: bool| {
        move |repo: &mut Repo| {
            repo.delegate("targets", "first", all, &[TEAM], false);
            repo.delegate("first", "deep", all, &[TEAM], false);
            repo.delegate("targets", "elsewhere", &["other/*"], &[TEAM], false);
            repo.delegate("targets", "second", all, &[OTHER], last_terminates);
            repo.delegate("targets", "third", all, &[OTHER], false);
        }
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let before = words(&["first by targets", "deep by first"]);
    assert_eq!(asked(&signed_by("second", delegations(false))), (Answer::Signed, before));
    assert_eq!(
        asked(&signed_by("third", delegations(false))),
        (Answer::Signed, words(&["first by targets", "deep by first", "second by targets"]))
    );
    // After a terminating one nobody is asked, so the signature of the third is never seen.
    assert_eq!(
        asked(&signed_by("third", delegations(true))),
        (Answer::NotSigned, words(&["first by targets", "deep by first", "second by targets"]))
    );
    assert_eq!(asked(&signed_by("elsewhere", delegations(false))).0, Answer::NotSigned);
    assert_eq!(asked(&signed_by("targets", delegations(false))), (Answer::Signed, Vec::new()));
    // Nobody at all.
    let mut none = Repo::new();
    let explanation = explain(none.publish());
    assert_eq!((explanation.answer, explanation.exit_code()), (Answer::NotSigned, 1));
    assert_eq!(explanation.findings[0].code(), "image-not-signed");
    assert_eq!(one(&explanation).answer, RepositoryAnswer::DoesNotSign);
    assert!(explanation.to_string().contains("targets: does not list it, and delegates its path to nobody"));
}

#[test]
fn what_a_thief_could_do_adds_up_over_the_roles_of_a_key() {
    let all = &["registry.example/*/*/*/*"];
    let cases: &[(&str, Edit, &str, &[&str])] = &[
        (
            "each role a key of its own",
            |_| {},
            "targets",
            &[
                "1 of root: replace-everything",
                "1 of timestamp: withhold",
                "1 of snapshot: ",
                "1 of targets: sign-anything?",
            ],
        ),
        (
            "two of three for the root",
            |repo| {
                repo.rotate("root", &[ROOT, Signer(21), Signer(22)]).signed("root")["roles"]["root"]["threshold"] =
                    json!(2);
            },
            "targets",
            &[
                "3 of root: ",
                "3 of root +1 root: replace-everything",
                "1 of timestamp: withhold",
                "1 of snapshot: ",
                "1 of targets: sign-anything?",
            ],
        ),
        (
            "timestamp and snapshot share a key",
            |repo| {
                repo.rotate("snapshot", &[TIMESTAMP]);
            },
            "targets",
            &[
                "1 of root: replace-everything",
                "1 of timestamp+snapshot: mix-and-match",
                "1 of targets: sign-anything?",
            ],
        ),
        (
            "one key for all but the root",
            |repo| {
                repo.rotate("snapshot", &[TIMESTAMP]).rotate("targets", &[TIMESTAMP]);
            },
            "targets",
            &["1 of root: replace-everything", "1 of timestamp+snapshot+targets: sign-anything mix-and-match"],
        ),
        (
            "the root's key signs targets as well",
            |repo| {
                repo.rotate("targets", &[ROOT]);
            },
            "targets",
            &["1 of root+targets: replace-everything", "1 of timestamp: withhold", "1 of snapshot: "],
        ),
        (
            "two of two for targets, one of which is the timestamp's",
            |repo| {
                repo.rotate("targets", &[TARGETS, TIMESTAMP]);
            },
            "targets",
            &[
                "1 of root: replace-everything",
                "1 of timestamp+targets: withhold",
                "1 of timestamp+targets +1 targets: sign-anything? withhold",
                "1 of snapshot: ",
                "1 of targets: ",
                "1 of targets +1 targets: sign-anything?",
            ],
        ),
    ];
    for (name, edit, role, expected) in cases {
        let mut repo = signed_by(role, *edit);
        // A root that was edited after it was rotated is signed again.
        repo.write_role("root");
        let explanation = explain(&repo);
        assert_eq!(thefts(one(&explanation)), *expected, "{name}: {explanation}");
    }
    let delegated = signed_by("team", |repo| {
        repo.delegate("targets", "team", all, &[TEAM, OTHER], true);
    });
    let explanation = explain(&delegated);
    let repository = one(&explanation);
    let expected = ["2 of team: ", "2 of team +1 team: sign-delegated(team)?"];
    assert_eq!(thefts(repository)[4..], expected);
    let scope = &repository.thefts[4].with_more[0].powers[0].scope;
    assert_eq!(scope, all);
    let together: Vec<Vec<PowerKind>> =
        repository.together.iter().map(|one| one.powers.iter().map(|power| power.kind).collect()).collect();
    assert_eq!(
        together,
        [
            vec![PowerKind::MixAndMatch],
            vec![PowerKind::SignAnything, PowerKind::MixAndMatch],
            vec![PowerKind::SignDelegated, PowerKind::MixAndMatch]
        ]
    );
    assert!(repository.together.iter().flat_map(|one| &one.powers).all(|power| !power.needs_publication));
}

#[test]
fn withholding_ends_when_the_first_role_expires_that_the_thief_cannot_sign() {
    let until = |expiries: &[(&str, &str)], role: usize| {
        let repo = signed_by("targets", |repo| {
            for (role, expires) in expiries {
                repo.signed(role)["expires"] = json!(expires);
            }
        });
        let explanation = explain(&repo);
        one(&explanation).thefts[role].alone[0].until.clone()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(until(&[("timestamp", "2031-01-01T00:00:00Z")], 1), some("2040-01-01T00:00:00Z"));
    assert_eq!(until(&[("snapshot", "2031-01-01T00:00:00Z")], 1), some("2031-01-01T00:00:00Z"));
    assert_eq!(
        until(&[("snapshot", "2032-01-01T00:00:00Z"), ("targets", "2031-01-01T00:00:00Z")], 1),
        some("2031-01-01T00:00:00Z")
    );
    // Of the root nothing bounds it.
    assert_eq!(until(&[], 0), None);
}

#[test]
fn what_should_be_looked_after_is_warned_of() {
    use WarningCode::{Expired, ExpiresSoon, NoSpareKey, RootThresholdOne, SharedKey, UnusableKeys};
    let cases: &[(&str, Edit, &[WarningCode])] = &[
        ("a root of one key", |_| {}, &[RootThresholdOne]),
        (
            "two of three",
            |repo| {
                repo.rotate("root", &[ROOT, Signer(21), Signer(22)]).signed("root")["roles"]["root"]["threshold"] =
                    json!(2);
            },
            &[],
        ),
        (
            "two of two",
            |repo| {
                repo.rotate("root", &[ROOT, Signer(21)]);
            },
            &[NoSpareKey],
        ),
        (
            "a shared key",
            |repo| {
                repo.rotate("snapshot", &[TIMESTAMP]);
            },
            &[RootThresholdOne, SharedKey],
        ),
        (
            "seven days left",
            |repo| repo.signed("targets")["expires"] = json!("2030-01-08T00:00:00Z"),
            &[RootThresholdOne, ExpiresSoon],
        ),
        (
            "a second more",
            |repo| repo.signed("targets")["expires"] = json!("2030-01-08T00:00:01Z"),
            &[RootThresholdOne],
        ),
        (
            "the timestamp lives a day by design",
            |repo| repo.signed("timestamp")["expires"] = json!("2030-01-02T00:00:00Z"),
            &[RootThresholdOne],
        ),
        (
            "expired, but accepted",
            |repo| repo.signed("targets")["expires"] = json!("2029-12-31T00:00:00Z"),
            &[RootThresholdOne, Expired],
        ),
        (
            "a key of an unknown kind",
            |repo| {
                repo.signed("root")["keys"]["new"] = json!({"keytype": "dilithium", "scheme": "x", "keyval": {}});
                let ids = &mut repo.signed("root")["roles"]["targets"]["keyids"];
                ids.as_array_mut().unwrap().extend([json!("new"), json!("nowhere")]);
            },
            &[RootThresholdOne, UnusableKeys],
        ),
    ];
    for (name, edit, expected) in cases {
        let mut repo = signed_by("targets", *edit);
        repo.write_role("root");
        let client = client(&repo, Store::in_memory()).with_max_staleness(TimeDelta::days(2));
        let explanation = Explainer::new(NAME.parse().unwrap()).by_client(&client);
        assert_eq!(explanation.answer, Answer::Signed, "{name}: {explanation}");
        assert_eq!(warnings(one(&explanation)), *expected, "{name}: {explanation}");
    }
}

#[test]
fn the_root_is_told_with_the_one_that_was_pinned() {
    let mut repo = signed_by("targets", |_| {});
    let pinned = repo.pinned();
    let explanation = explain(&repo);
    let root = one(&explanation).root.clone().unwrap();
    assert_eq!((root.version, root.pinned_version), (1, 1));
    assert_eq!((&root.sha256, &root.pinned_sha256), (&sha256(&pinned), &sha256(&pinned)));
    repo.rotate("root", &[Signer(21)]).rotate("timestamp", &[Signer(22)]);
    let explanation = explain(&repo);
    let root = one(&explanation).root.clone().unwrap();
    assert_eq!((root.version, root.pinned_version), (3, 1));
    assert_eq!((root.sha256, root.pinned_sha256), (sha256(&repo.files["metadata/3.root.json"]), sha256(&pinned)));
}

#[test]
fn what_cannot_be_found_out_is_not_told_as_an_answer() {
    let repo = signed_by("team", |repo| {
        repo.delegate("targets", "team", &["registry.example/*/*/*/*"], &[TEAM], true);
    });
    let cases: &[(&str, EditSource, Answer, u8, &str)] = &[
        ("all there", |_| {}, Answer::Signed, 0, ""),
        ("no timestamp", |s| s.forget("metadata/timestamp"), Answer::Undecided, 2, "repository-incomplete"),
        ("no delegated role", |s| s.forget("metadata/1.team"), Answer::Undecided, 2, "repository-incomplete"),
        ("a broken one", |s| s.damage("metadata/1.team"), Answer::NotTrusted, 1, "metadata-malformed"),
        // The manifest itself is not looked at.
        ("no targets", |s| s.forget("targets/"), Answer::Signed, 0, ""),
    ];
    for (name, edit, answer, exit, code) in cases {
        let mut source = MemorySource::new(&repo);
        edit(&mut source);
        let client = Client::new(repo.pinned(), source, Store::in_memory()).with_time(NOW.parse().unwrap());
        let explanation = Explainer::new(NAME.parse().unwrap()).by_client(&client);
        let found = explanation.findings.first().map_or("", |finding| finding.code());
        assert_eq!((explanation.answer, explanation.exit_code(), found), (*answer, *exit, *code), "{name}");
        assert_eq!(one(&explanation).roles.is_empty(), *exit != 0, "{name}");
    }
}

#[test]
fn nothing_that_metadata_says_reaches_a_terminal_or_fills_it() {
    let evil = "te\u{1b}[2J\u{202e}am\nsigned: everything";
    let keys: Vec<Signer> = (30..230).map(Signer).collect();
    let repo = signed_by(evil, |repo| {
        for n in 0..100 {
            let name = format!("empty{n}");
            repo.delegate("targets", &name, &["registry.example/*/*/*/*"], &[TEAM], false);
        }
        repo.delegate("targets", evil, &["registry.example/*/*/*/*", &"x/".repeat(5000)], &keys, true);
        let delegations = &mut repo.signed("targets")["delegations"];
        for key in delegations["keys"].as_object_mut().unwrap().values_mut() {
            key["x-tuf-on-ci-keyowner"] = json!(format!("@alice\u{1b}]0;x\u{7} {}", "root ".repeat(10_000)));
        }
        // An id is any text, and the name of a key is signed by whoever lists it.
        let key = delegations["keys"][keys[0].id()].clone();
        delegations["keys"]["\u{1b}[31mid\u{9b}"] = key;
        let roles = delegations["roles"].as_array_mut().unwrap();
        let ids = roles.last_mut().unwrap()["keyids"].as_array_mut().unwrap();
        ids.insert(0, json!("\u{1b}[31mid\u{9b}"));
    });
    let explanation = explain(&repo);
    assert_eq!(explanation.answer, Answer::Signed);
    let text = explanation.to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'), "{text:?}");
    assert!(text.lines().count() < 200 && !text.contains("\nsigned: everything"), "{text}");
    assert!(text.contains("and 193 keys more; --format json has all"), "{text}");
    assert!(text.contains("and 92 roles more; --format json has all"), "{text}");
    let json = explanation.to_json();
    assert!(json.chars().all(|c| c == '\n' || !c.is_control() && c != '\u{202e}'));
    let value: Value = serde_json::from_str(&json).unwrap();
    let roles = &value["repositories"][0]["roles"];
    assert_eq!((&roles[4]["role"], roles[4]["keys"].as_array().unwrap().len()), (&json!(evil), 201));
    // One key under two ids is one.
    assert_eq!(roles[4]["usable_keys"], 200);
}

#[test]
fn a_metadata_field_that_is_no_name_is_no_owner() {
    for (field, value, expected) in [
        ("x-tuf-on-ci-keyowner", json!("@alice"), Some("@alice")),
        ("name", json!("Alice"), Some("Alice")),
        ("name", json!(["Alice"]), None),
        ("x-tuf-on-ci-keyowner", json!(7), None),
        ("owner", json!("Alice"), None),
    ] {
        let mut repo = signed_by("targets", |repo| repo.signed("root")["keys"][TARGETS.id()][field] = value.clone());
        repo.write_role("root");
        let explanation = explain(&repo);
        assert_eq!(one(&explanation).roles[3].keys[0].owner.as_deref(), expected, "{field} {value}");
    }
    assert_ne!(SNAPSHOT, TARGETS);
}
