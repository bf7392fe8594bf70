//! `plimsoll verify` by a policy, and of several archives, as a black box.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn samples(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos").join(path).display().to_string()
}

/// An empty home for one test, with a policy file in the user's configuration.
fn home(test: &str, policy: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("by-policy").join(test);
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    let folder = home.join(".config/plimsoll");
    fs::create_dir_all(&folder).unwrap();
    for (name, bytes) in [("root.json", fs::read(samples("root.json")).unwrap()), ("policy.toml", policy.into())] {
        fs::write(folder.join(name), bytes).unwrap();
        fs::set_permissions(folder.join(name), PermissionsExt::from_mode(0o644)).unwrap();
    }
    home
}

fn policy(terms: &str) -> String {
    let good = samples("good");
    format!("version = 1\n\n[scope.\"registry.example/team\"]\nrepository = \"{good}\"\nroot = \"root.json\"\n{terms}")
}

/// The base is governed by a scope of its own.
fn with_base() -> String {
    let base = policy("").replace("version = 1\n", "").replace("registry.example/team", "registry.example/base");
    policy("base = \"registry.example/base/debian:12\"\n") + &base
}

fn plimsoll(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command.args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap().replace(&samples(""), "test-repos/")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn with_a_policy_an_archive_needs_no_other_argument() {
    let home = home("alone", &policy(""));
    let output = plimsoll(&home, &["verify", &samples("good/app.tar")]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let said = text(&output).replace(&home.display().to_string(), "HOME");
    let line = "  policy    scope \"registry.example/team\" at line 3 of HOME/.config/plimsoll/policy.toml\n";
    assert!(said.contains(line), "{said}");
    let output = plimsoll(&home, &["verify", &samples("hostile/changed-layer/app.tar")]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    // The store is that of the root, as without a policy.
    assert!(home.join(".local/state/plimsoll").is_dir());
    let output = plimsoll(&home, &["explain", "registry.example/team/app:1.4"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains("policy"), "{}", text(&output));
}

#[test]
fn what_a_policy_says_is_demanded() {
    let good = samples("good/app.tar");
    let cases: &[(&str, String, &[&str], i32, &str)] = &[
        ("nothing more", policy(""), &[], 0, ""),
        ("a list", policy("packages = \"require\"\n"), &[], 1, "package-list-missing"),
        ("files", policy("files = true\n"), &[], 1, "package-list-missing"),
        ("advisories", policy("fail-on = \"high\"\n"), &[], 1, "advisories-missing"),
        ("no root, which this image is not", policy("non-root = true\n"), &[], 0, ""),
        ("a base that is not signed", with_base(), &[], 1, "image-not-signed"),
        (
            "a refusal",
            "version = 1\n[scope.\"registry.example/team\"]\nrefuse = \"moved\"\n".to_owned(),
            &[],
            1,
            "policy-refused",
        ),
        (
            "a refusal within",
            policy("\n[scope.\"registry.example/team/app\"]\nrefuse = \"moved\"\n"),
            &[],
            1,
            "policy-refused",
        ),
        ("no scope", "version = 1\n".to_owned(), &[], 1, "policy-no-scope"),
        (
            "another scope",
            policy("").replace("registry.example/team", "registry.example/teammates"),
            &[],
            1,
            "policy-no-scope",
        ),
        (
            "another template",
            policy("target-path = \"x/{host}/{repository}/{tag}/{file}\"\n"),
            &[],
            1,
            "image-not-signed",
        ),
        ("a root that is not there", policy("").replace("root.json", "none.json"), &[], 2, "pinned-root-unreadable"),
        ("a repository that is not there", policy("").replace("good", "none"), &[], 2, "repository-unreadable"),
        ("a mistake", policy("pakages = \"require\"\n"), &[], 2, "policy-malformed"),
        ("nobody's image", policy(""), &["--image", "alpine"], 1, "policy-no-scope"),
    ];
    for (name, policy, arguments, code, finding) in cases {
        let home = home("demands", policy);
        let output = plimsoll(&home, &[&["verify", &good, "--format", "json"], *arguments].concat());
        let json = json(&output);
        assert_eq!(output.status.code(), Some(*code), "{name}: {json:#}");
        assert_eq!(json["findings"][0]["code"].as_str().unwrap_or_default(), *finding, "{name}: {json:#}");
    }
}

#[test]
fn nothing_on_the_command_line_loosens_a_policy() {
    let home = home("loosen", &policy("packages = \"require\"\n"));
    let (good, policy) = (samples("good/app.tar"), home.join(".config/plimsoll/policy.toml").display().to_string());
    for arguments in [
        &["--packages", "off"][..],
        &["--packages", "auto"],
        &["--fail-on", "none"],
        &["--max-staleness", "7d"],
        &["--target-path", "{host}/{repository}/{tag}/{file}"],
        &["--store", "elsewhere"],
    ] {
        let output = plimsoll(&home, &[&["verify", &good, "--format", "json"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
        assert_eq!(json(&output)["findings"][0]["code"], "usage", "{arguments:?}");
    }
    for arguments in [&["--root", "root.json"][..], &["--map", "map.json"], &["--repository", "good"]] {
        let output = plimsoll(&home, &[&["verify", &good, "--policy", &policy], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output));
    }
    // A policy that others may write says nothing.
    fs::set_permissions(&policy, PermissionsExt::from_mode(0o666)).unwrap();
    let output = plimsoll(&home, &["verify", &good, "--format", "json"]);
    assert_eq!(
        (output.status.code(), json(&output)["findings"][0]["code"].as_str()),
        (Some(2), Some("policy-exposed"))
    );
}

#[test]
fn several_archives_are_told_in_a_line_each_and_the_worst_is_the_exit_code() {
    let home = home("several", &policy(""));
    let (good, bad, none) = (samples("good/app.tar"), samples("hostile/changed-layer/app.tar"), samples("none.tar"));
    let output = plimsoll(&home, &["verify", &good, &bad, &none, &good]);
    let said = text(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "trusted: test-repos/good/app.tar: registry.example/team/app:1.4");
    assert!(lines[1].starts_with("not trusted: test-repos/hostile/changed-layer/app.tar: layer "), "{said}");
    assert!(lines[1].ends_with("[layer-diff-id-mismatch]"), "{said}");
    assert!(
        lines[2].starts_with("undecided: test-repos/none.tar: ") && lines[2].ends_with("[archive-unreadable]"),
        "{said}"
    );
    assert_eq!(lines[3], lines[0]);
    assert_eq!(&lines[4..], ["4 archives: 2 trusted, 1 not trusted, 1 undecided"]);
    assert_eq!(output.status.code(), Some(1));
    for (archives, code) in [([&good, &good], 0), ([&good, &none], 2), ([&bad, &none], 1), ([&none, &bad], 1)] {
        let output = plimsoll(&home, &["verify", archives[0], archives[1]]);
        assert_eq!(output.status.code(), Some(code), "{archives:?}: {}", text(&output));
    }
}

#[test]
fn several_verdicts_are_lines_of_json_and_each_is_kept_on_record() {
    let home = home("lines", &policy(""));
    let (good, bad) = (samples("good/app.tar"), samples("hostile/changed-layer/app.tar"));
    let record = home.join("record.jsonl").display().to_string();
    let output = plimsoll(&home, &["verify", &good, &bad, "--format", "json", "--record", &record]);
    let words = |text: &str| -> Vec<String> {
        let value = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        text.lines().map(|line| value(line)["verdict"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(words(&text(&output)), ["trusted", "untrusted"]);
    assert_eq!(words(&fs::read_to_string(&record).unwrap()), ["trusted", "untrusted"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "2 archives: 1 trusted, 1 not trusted, 0 undecided\n");
    // What cannot be kept is not trusted, whichever of several it is of.
    let output = plimsoll(&home, &["verify", &good, &good, "--record", "/nowhere/record.jsonl"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert_eq!(text(&output).matches("[record-not-written]").count(), 2, "{}", text(&output));
    for (arguments, why) in [
        (&["verify", &good, &good, "--vsa", "summary.json"][..], "--vsa among several archives"),
        (&["verify", &good, "-"], "standard input is verified by itself"),
    ] {
        let output = plimsoll(&home, arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output).contains(why), "{arguments:?}: {}", text(&output));
    }
}

#[test]
fn a_repository_that_is_away_is_told_for_each_archive() {
    let home = home("away", &policy("").replace(&samples("good"), "http://127.0.0.1:1/tuf"));
    let good = samples("good/app.tar");
    let output = plimsoll(&home, &["verify", &good, &good, &good]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output);
    assert_eq!(said.matches("undecided: test-repos/good/app.tar").count(), 3, "{said}");
}

#[test]
fn no_archive_is_trusted_for_what_it_is_called() {
    // `plimsoll verify *.tar` in a folder of somebody else: options come from the names of files, unless they end with `--`.
    let home = home("names", &policy(""));
    fs::copy(samples("hostile/changed-layer/app.tar"), home.join("app.tar")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().env("HOME", &home).current_dir(&home).stdin(Stdio::null());
    let output = command.args(["verify", "--", "--help", "--policy=evil.tar", "app.tar"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(text(&output).matches("undecided: ").count(), 2, "{}", text(&output));
}

#[test]
fn a_summary_says_by_which_policy_was_decided() {
    let home = home("summary", &policy(""));
    let summary = home.join("summary.json").display().to_string();
    let output = plimsoll(&home, &["verify", &samples("good/app.tar"), "--vsa", &summary]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let statement: Value = serde_json::from_slice(&fs::read(&summary).unwrap()).unwrap();
    let used = &statement["predicate"]["policy"];
    let digest = plimsoll::digest::Sha256::of(&fs::read(home.join(".config/plimsoll/policy.toml")).unwrap()).to_hex();
    assert_eq!(used["digest"]["sha256"], digest, "{used}");
    assert!(used["uri"].as_str().unwrap().ends_with("docs/records.md#policy-file"), "{used}");
}
