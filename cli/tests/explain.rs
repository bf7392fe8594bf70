//! `plimsoll explain` as a black box, on the project's samples.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const IMAGE: &str = "registry.example/team/app:1.4";
const TIME: &str = "2030-01-01T00:00:00Z";

fn samples(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos").join(path).display().to_string()
}

fn home(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explain").join(test);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

fn run(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command.args(arguments).output().unwrap()
}

/// `plimsoll explain` by one of the samples.
fn explain(home: &Path, name: &str, repository: &str, more: &[&str]) -> Output {
    let (repository, root) = (samples(repository), samples("root.json"));
    run(home, &[&["explain", name, "--repository", &repository, "--root", &root, "--time", TIME], more].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().replace(&samples(""), "test-repos/")
}

/// The block of text in the page that shows it.
fn page() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/explain.md")).unwrap();
    page.split("```text\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

#[test]
fn the_page_shows_what_the_command_prints() {
    let output = explain(&home("page"), IMAGE, "good", &[]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (page(), String::new()));
    assert_eq!(output.status.code(), Some(0));
    assert!(page().lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn json_is_one_object_whatever_happens() {
    let home = home("json");
    let map = |file: &str| {
        let (store, map) = (home.join(file).display().to_string(), samples(&format!("map/{file}")));
        run(&home, &["explain", IMAGE, "--map", &map, "--store", &store, "--time", TIME, "--format", "json"])
    };
    let one = |name: &str, repository: &str, more: &[&str]| {
        let store = home.join(repository).join("store").display().to_string();
        explain(&home, name, repository, &[&["--format", "json", "--store", &store], more].concat())
    };
    let cases: &[(&str, Output, i32, &str, &str)] = &[
        ("signed", one(IMAGE, "good", &[]), 0, "signed", ""),
        ("another name", one("other", "good", &[]), 1, "not-signed", "image-not-signed"),
        ("expired", one(IMAGE, "hostile/expired-timestamp", &[]), 1, "not-trusted", "metadata-expired"),
        ("expired, accepted", one(IMAGE, "hostile/expired-timestamp", &["--max-staleness", "2000d"]), 0, "signed", ""),
        ("below the threshold", one(IMAGE, "hostile/threshold-not-met", &[]), 1, "not-trusted", "metadata-threshold"),
        ("no repository", one(IMAGE, "source", &[]), 2, "undecided", "repository-unreadable"),
        ("no such template", one(IMAGE, "good", &["--target-path", "{host}"]), 2, "undecided", "usage"),
        ("a bad name", one("UPPER\u{1b}[2J", "good", &[]), 2, "undecided", "usage"),
        (
            "another template",
            one(IMAGE, "good", &["--target-path", "x/{host}/{repository}/{tag}/{file}"]),
            1,
            "not-signed",
            "image-not-signed",
        ),
        ("a map", map("map.json"), 0, "signed", ""),
        ("a replayed one", map("replayed.json"), 1, "not-signed", "map-contradiction"),
        ("a frozen one", map("frozen.json"), 1, "not-signed", "map-threshold"),
        ("one signer", map("one-signer.json"), 1, "not-signed", "map-threshold"),
        ("one out of reach", map("unreachable.json"), 2, "undecided", "map-unreached"),
        ("no map", map("no-such.json"), 2, "undecided", "map-unreadable"),
    ];
    for (name, output, exit, answer, code) in cases {
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(json["schema"], "plimsoll/explanation/v1", "{name}");
        assert_eq!((output.status.code(), json["answer"].as_str()), (Some(*exit), Some(*answer)), "{name}: {json:#}");
        assert_eq!(json["findings"][0]["code"].as_str().unwrap_or_default(), *code, "{name}: {json:#}");
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert!(printed.chars().all(|c| c == '\n' || !c.is_control()), "{name}: {printed:?}");
    }
}

#[test]
fn by_a_map_each_repository_is_told_apart() {
    let home = home("map");
    let told = |file: &str| {
        let (store, map) = (home.join(file).display().to_string(), samples(&format!("map/{file}")));
        let output =
            run(&home, &["explain", IMAGE, "--map", &map, "--store", &store, "--time", TIME, "--format", "json"]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let repositories = json["repositories"].as_array().unwrap().iter();
        let answers: Vec<Value> = repositories
            .map(|one| json!([one["name"], one["answer"], one["roles"].as_array().unwrap().len()]))
            .collect();
        (json["rules"][0]["agree"].clone(), Value::Array(answers))
    };
    assert_eq!(
        told("map.json"),
        (json!(["vendor", "security"]), json!([["vendor", "signs", 5], ["security", "signs", 4]]))
    );
    assert_eq!(told("frozen.json"), (json!([]), json!([["vendor", "not-trusted", 0], ["security", "signs", 4]])));
    assert_eq!(told("unreachable.json"), (json!([]), json!([["vendor", "signs", 5], ["security", "unreached", 0]])));

    let (store, map) = (home.join("text").display().to_string(), samples("map/frozen.json"));
    let output = run(&home, &["explain", IMAGE, "--map", &map, "--store", &store, "--time", TIME]);
    let out = text(&output.stdout);
    let start = "\
not signed: registry.example/team/app:1.4
  registry.example/team/app:1.4: 2 of vendor, security must agree on it, only security can be
    counted [map-threshold]
  vendor: timestamp: expired at 2026-11-20T00:00:00Z, the time is 2030-01-01T00:00:00Z
    [metadata-expired]
  target      registry.example/team/app/1.4/manifest.json
  rule        number 0 of the map: 2 of vendor, security must agree; none does

vendor is not trusted: timestamp: expired at 2026-11-20T00:00:00Z, the time is 2030-01-01T00:00:00Z

security signs it
  signed by   targets
";
    assert!(out.starts_with(start), "{out}");
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");
}

#[test]
fn what_is_seen_is_remembered_as_a_verification_does() {
    let home = home("memory");
    assert_eq!(explain(&home, IMAGE, "good", &[]).status.code(), Some(0));
    let output = explain(&home, IMAGE, "hostile/rollback", &[]);
    let expected = "\
not trusted: registry.example/team/app:1.4
  timestamp: version went back from 2 to 1 [metadata-rollback]
  target      registry.example/team/app/1.4/manifest.json
";
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), (expected, Some(1)));
}

#[test]
fn who_was_asked_is_told_of_a_name_that_is_not_signed() {
    let output = explain(&home("not-signed"), "registry.example/team/other:1", "good", &[]);
    let out = text(&output.stdout);
    let start = "\
not signed: registry.example/team/other:1
  registry.example/team/other:1: not signed: no role that may sign it lists it [image-not-signed]
  target      registry.example/team/other/1/manifest.json
  root        version 1, the pinned one
";
    assert!(out.starts_with(start), "{out}");
    let asked = "
Asked, and does not list it
  targets
  team: told by targets, by the pattern registry.example/team/*/*/*; nobody after it is asked
";
    assert!(out.contains(asked), "{out}");
    assert_eq!(output.status.code(), Some(1));
}
