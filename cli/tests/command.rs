//! The command as a black box, on the project's samples: arguments in; exit code, standard output and standard error out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const IMAGE: &str = "registry.example/team/app:1.4";
/// Within the life of the samples, and after their frozen mirror's.
const TIME: &str = "2030-01-01T00:00:00Z";

fn samples(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos").join(path).display().to_string()
}

/// An empty folder for one test.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("command").join(test);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    path
}

fn plimsoll(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().env("HOME", home).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

/// `plimsoll verify` of a sample archive by a sample repository, with more arguments.
fn verify(home: &Path, repository: &str, archive: &str, more: &[&str]) -> Output {
    let mut command = plimsoll(home);
    command.args(["verify", &samples(archive), "--repository", &samples(repository), "--root", &samples("root.json")]);
    command.args(more).output().unwrap()
}

fn as_json<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [more, &["--format", "json"]].concat()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().replace(&samples(""), "test-repos/")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&output.stdout)))
}

#[test]
fn a_trusted_archive() {
    let home = folder("trusted");
    let output = verify(&home, "good", "good/app.tar", &["--image", IMAGE]);
    let expected = "\
trusted: registry.example/team/app:1.4
  archive   test-repos/good/app.tar, docker-archive, 29696 bytes
  manifest  sha256:140f9ba84465db587c31d1007d6473afca0d0ce54328e853cbea6609519678e9
  config    sha256:5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b (the image ID in Docker's classic store)
  platform  linux/amd64
  layers    3, each checked against its diff id
  signed by targets > team under root version 1
  fresh     until 2056-01-01T00:00:00Z (root expires first)
  not checked: packages, files
";
    assert_eq!((text(&output.stdout), text(&output.stderr)), (expected.to_owned(), String::new()));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_refused_archive() {
    let home = folder("refused");
    let output = verify(&home, "good", "hostile/changed-layer/app.tar", &["--image", IMAGE]);
    let out = text(&output.stdout);
    assert!(out.starts_with("not trusted: registry.example/team/app:1.4\n"), "{out}");
    assert!(out.contains("/layer.tar") && out.contains("[layer-diff-id-mismatch]"), "{out}");
    assert!(out.ends_with("  do not load \"test-repos/hostile/changed-layer/app.tar\"\n"), "{out}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn json_is_one_object_whatever_happens() {
    let home = folder("json");
    let missing = samples("no/such/archive.tar");
    let cases: &[(&str, Output, i32, &str, &str)] = &[
        ("trusted", verify(&home, "good", "good/app.tar", &as_json(&["--image", IMAGE])), 0, "trusted", ""),
        ("no name given", verify(&home, "good", "good/app.tar", &as_json(&[])), 0, "trusted", ""),
        (
            "refused",
            verify(&home, "good", "hostile/extra-tag/app.tar", &as_json(&["--image", IMAGE])),
            1,
            "untrusted",
            "name-not-allowed",
        ),
        (
            "another image",
            verify(&home, "good", "good/app.tar", &as_json(&["--image", "other"])),
            1,
            "untrusted",
            "image-not-signed",
        ),
        (
            "by digest",
            verify(
                &home,
                "good",
                "good/app.tar",
                &as_json(&["--image", &format!("registry.example/team/app@sha256:{}", "0".repeat(64))]),
            ),
            1,
            "untrusted",
            "image-not-signed",
        ),
        (
            "no archive",
            verify(&home, "good", "no/such/archive.tar", &as_json(&[])),
            2,
            "undecided",
            "archive-unreadable",
        ),
        ("a folder", verify(&home, "good", "good", &as_json(&[])), 1, "untrusted", "archive-no-image"),
        (
            "no repository",
            verify(&home, "source", "good/app.tar", &as_json(&[])),
            2,
            "undecided",
            "repository-unreadable",
        ),
        ("bad name", verify(&home, "good", "good/app.tar", &as_json(&["--image", "UPPER"])), 2, "undecided", "usage"),
        ("bad time", verify(&home, "good", "good/app.tar", &as_json(&["--time", "today"])), 2, "undecided", "usage"),
        (
            "bad duration",
            verify(&home, "good", "good/app.tar", &as_json(&["--max-staleness", "7"])),
            2,
            "undecided",
            "usage",
        ),
        (
            "bad platform",
            verify(&home, "good", "good/app.tar", &as_json(&["--platform", "linux"])),
            2,
            "undecided",
            "usage",
        ),
        ("unknown option", verify(&home, "good", "good/app.tar", &as_json(&["--frobnicate"])), 2, "undecided", "usage"),
        (
            "another format first",
            verify(&home, "good", "good/app.tar", &["--format=json", "--oops"]),
            2,
            "undecided",
            "usage",
        ),
    ];
    for (name, output, exit, verdict, code) in cases {
        let json = json(output);
        assert_eq!(json["schema"], "plimsoll/verdict/v1", "{name}");
        assert_eq!((json["verdict"].as_str(), output.status.code()), (Some(*verdict), Some(*exit)), "{name}: {json:#}");
        assert_eq!(json["findings"][0]["code"].as_str().unwrap_or_default(), *code, "{name}: {json:#}");
        for key in [
            "image",
            "platform",
            "archive",
            "manifest",
            "config",
            "layers",
            "metadata",
            "repositories",
            "packages",
            "findings",
        ] {
            assert!(json.get(key).is_some(), "{name}: no {key}");
        }
    }
    assert!(!Path::new(&missing).exists());
}

#[test]
fn json_of_a_trusted_archive_says_what_was_checked() {
    let output = verify(
        &folder("json_trusted"),
        "good",
        "good/app.tar",
        &["--image", IMAGE, "--format", "json", "--time", TIME],
    );
    let json = json(&output);
    assert_eq!(json["image"], IMAGE);
    assert_eq!(json["manifest"]["digest"], "sha256:140f9ba84465db587c31d1007d6473afca0d0ce54328e853cbea6609519678e9");
    assert_eq!(json["config"]["digest"], "sha256:5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b");
    assert_eq!(json["layers"].as_array().unwrap().len(), 3);
    assert_eq!(json["archive"]["form"], "docker-archive");
    assert_eq!(json["archive"]["size"], 29696);
    assert_eq!(json["metadata"]["time"], TIME);
    assert_eq!(json["metadata"]["delegations"], serde_json::json!(["targets", "team"]));
    let roles: Vec<(&str, u64)> = json["metadata"]["roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| (role["role"].as_str().unwrap(), role["version"].as_u64().unwrap()))
        .collect();
    assert_eq!(roles, [("root", 1), ("timestamp", 2), ("snapshot", 2), ("targets", 1), ("team", 2)]);
    assert_eq!(json["packages"]["checked"], false);
}

/// `plimsoll verify` of a sample archive by one of the maps.
fn verify_by_map(home: &Path, map: &str, more: &[&str]) -> Output {
    let mut command = plimsoll(home);
    command.args(["verify", &samples("good/app.tar"), "--map", &samples(&format!("map/{map}")), "--time", TIME]);
    command.args(more).output().unwrap()
}

#[test]
fn several_repositories_that_agree() {
    let home = folder("map_trusted");
    let output = verify_by_map(&home, "map.json", &["--image", IMAGE]);
    let expected = "\
trusted: registry.example/team/app:1.4
  archive   test-repos/good/app.tar, docker-archive, 29696 bytes
  manifest  sha256:140f9ba84465db587c31d1007d6473afca0d0ce54328e853cbea6609519678e9
  config    sha256:5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b (the image ID in Docker's classic store)
  platform  linux/amd64
  layers    3, each checked against its diff id
  agreed by 2 of 2 repositories, as the map demands
  vendor    signed by targets > team under root version 1, fresh until 2056-01-01T00:00:00Z (root expires first)
  security  signed by targets under root version 1, fresh until 2056-01-01T00:00:00Z (root expires first)
  not checked: packages, files
";
    assert_eq!((text(&output.stdout), text(&output.stderr)), (expected.to_owned(), String::new()));
    assert_eq!(output.status.code(), Some(0));

    let json = json(&verify_by_map(&home, "map.json", &["--format", "json"]));
    assert_eq!(json["metadata"], Value::Null);
    let repositories = json["repositories"].as_array().unwrap();
    assert_eq!((&repositories[0]["name"], &repositories[1]["name"]), (&"vendor".into(), &"security".into()));
    for repository in repositories {
        assert_eq!(repository["metadata"]["time"], TIME);
        assert_eq!(repository["answers"][0]["answer"], "agrees");
        assert_eq!(repository["answers"][0]["target"], "registry.example/team/app/1.4/manifest.json");
    }
}

#[test]
fn several_repositories_that_do_not_agree_are_named_with_their_reasons() {
    let home = folder("map_refused");
    let cases: &[(&str, &[&str], i32, &[&str])] = &[
        (
            "replayed.json",
            &[],
            1,
            &[
                "2 of vendor, security must agree on it, but they contradict each other [map-contradiction]",
                "  vendor: signs sha256:140f9ba84465db587c31d1007d6473afca0d0ce54328e853cbea6609519678e9 of 747 bytes [repository-differs]",
                "  security: signs sha256:5750c36fd60bd3aac3ad556510848ff8d0bbb1aa12bc0584ff426991a9eb37c9 of 747 bytes [repository-differs]",
            ],
        ),
        (
            "frozen.json",
            &[],
            1,
            &[
                "must agree on it, only security can be counted [map-threshold]",
                "  vendor: timestamp: expired at 2026-11-20T00:00:00Z, the time is 2030-01-01T00:00:00Z [metadata-expired]",
            ],
        ),
        ("frozen.json", &["--max-staleness", "2000d"], 0, &["  EXPIRED   timestamp at 2026-11-20T00:00:00Z"]),
        (
            "one-signer.json",
            &[],
            1,
            &["  security: signs with a key of vendor, so the two count as one [repository-shares-key]"],
        ),
        (
            "unreachable.json",
            &[],
            2,
            &[
                "only vendor can be counted; the others could not be asked [map-unreached]",
                "  security: no repository at \"test-repos/map/../not-here\"",
            ],
        ),
        (
            "map.json",
            &["--image", "registry.example/other:1"],
            1,
            &["no mapping decides on it, so no repository is asked [map-not-mapped]"],
        ),
        (
            "map.json",
            &["--image", "registry.example/team/app:1.5"],
            1,
            &["not signed by any repository that decides on it: vendor, security [image-not-signed]"],
        ),
    ];
    for (map, more, exit, expected) in cases {
        let output = verify_by_map(&home.join(map), map, more);
        let out = text(&output.stdout);
        assert_eq!(output.status.code(), Some(*exit), "{map}: {out}");
        for expected in *expected {
            assert!(out.contains(expected), "{map}: no {expected:?} in {out}");
        }
    }
}

#[test]
fn each_repository_of_a_map_has_a_memory_of_its_own() {
    let home = folder("map_stores");
    assert_eq!(verify_by_map(&home, "map.json", &[]).status.code(), Some(0));
    let stores = |folder: PathBuf| {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(stores(home.join(".local/state/plimsoll")).len(), 2);
    // What was seen by the map counts when the repository is asked alone.
    let old = verify(&home, "hostile/rollback", "hostile/rollback/app.tar", &["--image", IMAGE]);
    assert!(text(&old.stdout).contains("[metadata-rollback]"), "{}", text(&old.stdout));
    // And whoever was replayed is known.
    let replayed = verify_by_map(&home, "replayed.json", &[]);
    assert!(
        text(&replayed.stdout).contains("  security: timestamp: version went back from 2 to 1 [metadata-rollback]")
    );

    let store = home.join("store");
    assert_eq!(verify_by_map(&home, "map.json", &["--store", &store.display().to_string()]).status.code(), Some(0));
    assert_eq!(stores(store.join("repositories")), ["security", "vendor"]);
}

#[test]
fn a_map_that_cannot_be_used_is_undecided_and_says_where() {
    let home = folder("map_usage");
    let run = |arguments: &[&str]| {
        plimsoll(&home).arg("verify").arg(samples("good/app.tar")).args(arguments).output().unwrap()
    };
    let (map, good, root) = (samples("map/map.json"), samples("good"), samples("root.json"));
    let written = |name: &str, text: &str| {
        let path = home.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let genuine = fs::read_to_string(&map).unwrap();
    let misspelt = written("misspelt.json", &genuine.replace("\"threshold\"", "\"treshold\""));
    let rootless = written("rootless.json", &genuine);
    fs::create_dir_all(home.join("same/vendor")).unwrap();
    fs::create_dir_all(home.join("same/security")).unwrap();
    fs::copy(samples("map/vendor/root.json"), home.join("same/vendor/root.json")).unwrap();
    fs::copy(samples("map/vendor/root.json"), home.join("same/security/root.json")).unwrap();
    let same = written("same/map.json", &genuine);
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("with a root", &["--map", &map, "--root", &root], "usage", "cannot be used with"),
        ("with a repository", &["--map", &map, "--repository", &good], "usage", "cannot be used with"),
        ("neither", &[], "usage", "it is not said who is trusted"),
        ("a root alone", &["--root", &root], "usage", "not where the repository is"),
        ("a repository alone", &["--repository", &good], "usage", "not who is trusted"),
        ("missing", &["--map", &samples("none.json")], "map-unreadable", "cannot read the map"),
        ("a folder", &["--map", &good], "map-unreadable", "not a regular file"),
        ("misspelt", &["--map", &misspelt], "map-malformed", "mapping[0].treshold: expected no such key, found 2"),
        ("no roots", &["--map", &rootless], "pinned-root-unreadable", "security: cannot read the pinned root"),
        ("one root twice", &["--map", &same], "map-same-root", "security and vendor have the same pinned root"),
    ];
    for (name, arguments, code, message) in cases {
        let output = run(&as_json(arguments));
        let json = json(&output);
        assert_eq!(output.status.code(), Some(2), "{name}: {json:#}");
        assert_eq!(json["findings"][0]["code"], *code, "{name}: {json:#}");
        assert!(json["findings"][0]["message"].as_str().unwrap().contains(message), "{name}: {json:#}");
    }
    // An address is a location, too. Nobody answers at this one.
    let address = genuine.replace("../security", "http://127.0.0.1:1/tuf").replace("../good", &good);
    fs::copy(samples("map/security/root.json"), home.join("same/security/root.json")).unwrap();
    let output = run(&["--map", &written("same/map.json", &address)]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("[map-unreached]"), "{}", text(&output.stdout));
}

#[test]
fn rollback_protection_is_on_by_default() {
    let home = folder("rollback");
    let old = |home: &Path| verify(home, "hostile/rollback", "hostile/rollback/app.tar", &["--image", IMAGE]);
    assert_eq!(old(&home).status.code(), Some(0), "nothing newer was seen yet");
    assert_eq!(verify(&home, "good", "good/app.tar", &["--image", IMAGE]).status.code(), Some(0));
    let output = old(&home);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("timestamp: version went back from 2 to 1 [metadata-rollback]"),
        "{}",
        text(&output.stdout)
    );
    let stores: Vec<_> = fs::read_dir(home.join(".local/state/plimsoll")).unwrap().flatten().collect();
    assert_eq!(stores.len(), 1, "one store for one pinned root");
    // Another store has another memory.
    let other = home.join("other").display().to_string();
    let output = verify(&home, "hostile/rollback", "hostile/rollback/app.tar", &["--image", IMAGE, "--store", &other]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn expired_metadata_is_refused_and_can_be_allowed_for_so_long() {
    let home = folder("expired");
    let frozen = |more: &[&str]| {
        verify(&home, "hostile/expired-timestamp", "good/app.tar", &[&["--image", IMAGE], more].concat())
    };
    let output = frozen(&["--time", "2026-11-21T00:00:00Z"]);
    assert_eq!(output.status.code(), Some(1));
    let out = text(&output.stdout);
    assert!(out.contains("timestamp: expired at 2026-11-20T00:00:00Z, the time is 2026-11-21T00:00:00Z"), "{out}");
    assert_eq!(frozen(&["--time", "2026-11-21T00:00:00Z", "--max-staleness", "24h"]).status.code(), Some(1));
    let output = frozen(&["--time", "2026-11-21T00:00:00Z", "--max-staleness", "25h"]);
    assert_eq!(output.status.code(), Some(0));
    let out = text(&output.stdout);
    assert!(out.contains("EXPIRED   timestamp at 2026-11-20T00:00:00Z, accepted as asked for"), "{out}");
}

#[test]
fn a_clock_that_went_back_is_undecided_with_a_way_out() {
    let home = folder("clock");
    let store = home.join("store");
    fs::create_dir_all(&store).unwrap();
    fs::write(store.join("clock"), "2055-01-01T00:00:00Z").unwrap();
    let store = store.display().to_string();
    let call =
        |more: &[&str]| verify(&home, "good", "good/app.tar", &[&["--image", IMAGE, "--store", &store], more].concat());
    let output = call(&[]);
    assert_eq!(output.status.code(), Some(2));
    let out = text(&output.stdout);
    assert!(out.contains("[clock-behind]") && out.contains("if that was wrong, remove"), "{out}");
    assert_eq!(call(&["--time", TIME]).status.code(), Some(0), "a time that is stated is not the clock's");
}

#[test]
fn an_archive_from_standard_input() {
    let home = folder("stdin");
    let command = || {
        let mut command = plimsoll(&home);
        command.args([
            "verify",
            "-",
            "--repository",
            &samples("good"),
            "--root",
            &samples("root.json"),
            "--image",
            IMAGE,
        ]);
        command
    };
    let file = fs::File::open(samples("good/app.tar")).unwrap();
    let output = command().stdin(file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "a file: {}", text(&output.stdout));

    let mut child = command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let bytes = fs::read(samples("good/app.tar")).unwrap();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "a pipe: {}", text(&output.stdout));

    let output = command().output().unwrap();
    assert_eq!(output.status.code(), Some(1), "nothing: {}", text(&output.stdout));
}

#[test]
fn bad_input_is_named_and_loses_nothing() {
    let home = folder("bad_input");
    let file = |name: &str, bytes: &[u8]| {
        let path = home.join(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let call = |archive: &str, root: &str| {
        let mut command = plimsoll(&home);
        command.args(["verify", archive, "--repository", &samples("good"), "--root", root, "--image", IMAGE]);
        command.output().unwrap()
    };
    let (good, root) = (samples("good/app.tar"), samples("root.json"));
    let not_a_tar = file("text.tar", b"This is no tar archive, but it is longer than nothing.\n".repeat(20).as_slice());
    let empty = file("empty.tar", b"");
    let zeros = file("zeros.tar", &[0; 10240]);
    let whole = fs::read(&good).unwrap();
    let cut = file("cut.tar", &whole[..whole.len() / 2]);
    let no_root = file("root.json", b"{}");
    let cases: &[(&str, Output, i32)] = &[
        ("not a tar", call(&not_a_tar, &root), 1),
        ("empty", call(&empty, &root), 1),
        ("zeros", call(&zeros, &root), 1),
        ("cut", call(&cut, &root), 1),
        ("no root", call(&good, &no_root), 2),
        ("root missing", call(&good, &samples("no.json")), 2),
        ("root is a folder", call(&good, &samples("good")), 2),
        ("root is another role", call(&good, &samples("good/metadata/timestamp.json")), 2),
    ];
    for (name, output, exit) in cases {
        assert_eq!(output.status.code(), Some(*exit), "{name}: {}", text(&output.stdout));
        assert!(!text(&output.stdout).contains("panicked") && !text(&output.stderr).contains("panicked"), "{name}");
    }
    assert_eq!(call(&good, &root).status.code(), Some(0));
}

#[test]
fn a_store_that_cannot_be_written_is_undecided() {
    let home = folder("unwritable");
    let file = home.join("file");
    fs::write(&file, b"not a folder").unwrap();
    let output = verify(&home, "good", "good/app.tar", &["--image", IMAGE, "--store", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("[store-unusable]"), "{}", text(&output.stdout));

    let mut command = plimsoll(&home);
    command.env_remove("HOME");
    command.args([
        "verify",
        &samples("good/app.tar"),
        "--repository",
        &samples("good"),
        "--root",
        &samples("root.json"),
    ]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("--store DIR"), "{}", text(&output.stdout));
}

#[test]
fn nothing_is_coloured_that_is_no_terminal() {
    let home = folder("colour");
    for archive in ["good/app.tar", "hostile/changed-layer/app.tar"] {
        let output = verify(&home, "good", archive, &["--image", IMAGE]);
        assert!(!output.stdout.contains(&0x1b) && output.stderr.is_empty());
    }
}

#[test]
fn help_and_version_are_no_errors() {
    let home = folder("help");
    let run = |arguments: &[&str]| plimsoll(&home).args(arguments).output().unwrap();
    let help = run(&["verify", "--help"]);
    assert_eq!(help.status.code(), Some(0));
    for option in [
        "--image",
        "--repository",
        "--root",
        "--map",
        "--store",
        "--platform",
        "--time",
        "--max-staleness",
        "--format",
        "Exit codes",
    ] {
        assert!(text(&help.stdout).contains(option), "{option}");
    }
    assert_eq!(run(&["--version"]).status.code(), Some(0));
    assert_eq!(run(&["help", "verify"]).status.code(), Some(0));
    assert_eq!(run(&[]).status.code(), Some(2));
    assert_eq!(run(&["verify"]).status.code(), Some(2));
}

#[test]
fn an_archive_that_is_called_like_an_option_is_not_trusted() {
    // `for f in *.tar; do plimsoll verify "$f" ... && docker load -i "$f"; done`, and somebody names a file `-h.tar`.
    let home = folder("option");
    let pinned = ["--repository", &samples("good"), "--root", &samples("root.json")];
    for name in ["-h.tar", "-h", "--help", "--version", "-V", "--", "--trusted"] {
        for arguments in [[&["verify", name], &pinned[..]].concat(), [&["verify"], &pinned[..], &[name]].concat()] {
            let output = plimsoll(&home).args(&arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
            // After `--` all are archives: none of them is there, and nobody is said to be trusted.
            let is_said = text(&output.stdout).lines().all(|line| !line.starts_with("trusted"));
            assert!(is_said && (name == "--" || output.stdout.is_empty()), "{arguments:?}");
        }
        if name == "--" {
            continue;
        }
        let output = plimsoll(&home).args(as_json(&["verify", name])).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}");
        assert_eq!(json(&output)["verdict"], "undecided", "{name}");
    }
    fs::copy(samples("good/app.tar"), home.join("-h.tar")).unwrap();
    let mut after = plimsoll(&home);
    after.current_dir(&home).arg("verify").args(pinned).args(["--", "-h.tar"]);
    assert_eq!(after.output().unwrap().status.code(), Some(0));
}

#[test]
fn a_limit_is_named_by_whoever_runs_into_it_and_can_be_raised() {
    let home = folder("limits");
    let with = |limit: &str| verify(&home, "good", "good/app.tar", &["--limit", limit]);
    let refused = with("layers=2");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stdout).contains("at most 2 (limit layers), found 3 [archive-limit]"),
        "{}",
        text(&refused.stdout)
    );
    assert_eq!(with("layers=3").status.code(), Some(0));
    // The last of several counts, as with other arguments.
    let twice = verify(&home, "good", "good/app.tar", &["--limit", "layers=2", "--limit", "layers=3"]);
    assert_eq!(twice.status.code(), Some(0));
    let unknown = with("lairs=3");
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        text(&unknown.stderr).contains("there is no limit \"lairs\"; there are control-file, "),
        "{}",
        text(&unknown.stderr)
    );
}

#[test]
fn names_from_outside_do_not_reach_the_terminal_raw() {
    let home = folder("escape");
    let path = home.join("a\u{1b}[31mb.tar");
    fs::write(&path, b"x").unwrap();
    let mut command = plimsoll(&home);
    command.arg("verify").arg(&path).args(["--repository", &samples("good"), "--root", &samples("root.json")]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stdout.contains(&0x1b), "{:?}", text(&output.stdout));

    // An error about arguments repeats them.
    for arguments in [["verify", "--a\u{1b}[31mb.tar"], ["--format=json", "\u{9b}31m"]] {
        let output = plimsoll(&home).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        for printed in [text(&output.stdout), text(&output.stderr)] {
            assert!(!printed.contains(['\u{1b}', '\u{9b}']), "{printed:?}");
        }
    }
}
