//! `--record` and `--vsa` as a black box: what is kept of a verdict, and what happens where it cannot be.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::explicit_write,
    reason = "tests state what they expect"
)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const IMAGE: &str = "registry.example/team/app:1.4";
const TIME: &str = "2030-01-01T00:00:00Z";
const MANIFEST: &str = "140f9ba84465db587c31d1007d6473afca0d0ce54328e853cbea6609519678e9";
const CONFIG: &str = "5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b";

fn samples(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos").join(path).display().to_string()
}

/// An empty folder for one test, with a loader that keeps what it is given.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("records").join(test);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(path.join("bin")).unwrap();
    fs::write(path.join("bin/docker"), "#!/bin/sh\ncat >loaded.tar; cp record.jsonl seen 2>/dev/null; echo Loaded\n")
        .unwrap();
    fs::set_permissions(path.join("bin/docker"), PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn plimsoll(folder: &Path, command: &str, archive: &str, more: &[&str]) -> Command {
    let mut plimsoll = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    plimsoll.env_clear().env("HOME", folder.join("home")).stdin(Stdio::null()).current_dir(folder);
    plimsoll.env("PATH", format!("{}:/usr/bin:/bin", folder.join("bin").display()));
    plimsoll.args([command, &samples(archive), "--repository", &samples("good"), "--root", &samples("root.json")]);
    plimsoll.args(["--time", TIME]).args(more);
    plimsoll
}

fn run(folder: &Path, command: &str, archive: &str, more: &[&str]) -> Output {
    plimsoll(folder, command, archive, more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap().replace(&samples(""), "test-repos/")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Takes away what is different each time.
fn timeless(mut line: Value) -> (Value, String) {
    let run = line["run"].as_str().unwrap().to_owned();
    let recorded = line["recorded"].as_str().unwrap();
    assert!(recorded.starts_with("20") && recorded.ends_with('Z'), "{recorded}");
    for key in ["run", "recorded"] {
        line.as_object_mut().unwrap().remove(key);
    }
    (line, run)
}

const GOOD: &str = "good/app.tar";
const BAD: &str = "hostile/changed-layer/app.tar";

#[test]
fn each_verdict_is_one_line_behind_the_others() {
    let folder = folder("lines");
    let record = folder.join("record.jsonl");
    let cases = [
        (GOOD, 0, "trusted", vec!["--image", IMAGE]),
        (BAD, 1, "untrusted", vec!["--image", IMAGE]),
        (GOOD, 1, "untrusted", vec!["--image", "other"]),
        ("no-such.tar", 2, "undecided", vec!["--image", IMAGE]),
        (GOOD, 2, "undecided", vec!["--packages", "off", "--files"]),
    ];
    for (n, (archive, exit, verdict, more)) in cases.iter().enumerate() {
        let more = [more.as_slice(), &["--record", "record.jsonl", "--format", "json"]].concat();
        let output = run(&folder, "verify", archive, &more);
        assert_eq!(output.status.code(), Some(*exit), "{}", text(&output.stdout));
        let all = lines(&record);
        assert_eq!(all.len(), n + 1);
        let (mut line, _) = timeless(all[n].clone());
        assert_eq!(line["verdict"], *verdict);
        // It is the verdict that was printed, and says what made it.
        let object = line.as_object_mut().unwrap();
        assert_eq!(object.remove("event").unwrap(), "verdict");
        assert_eq!(object.remove("plimsoll").unwrap(), env!("CARGO_PKG_VERSION"));
        assert_eq!(line, serde_json::from_slice::<Value>(&output.stdout).unwrap());
    }
    assert_eq!(fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_record_is_on_disk_before_the_loader_is_given_the_image() {
    let folder = folder("load");
    let output = run(&folder, "load", GOOD, &["--image", IMAGE, "--record", "record.jsonl"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let all = lines(&folder.join("record.jsonl"));
    let (all, runs): (Vec<Value>, Vec<String>) = all.into_iter().map(timeless).unzip();
    let word = |n: usize| (all[n]["event"].clone(), all[n]["verdict"].clone());
    assert_eq!(
        (word(0), word(1), all.len()),
        ((json!("handing-on"), json!("trusted")), (json!("verdict"), json!("trusted")), 2)
    );
    assert_eq!(runs[0], runs[1]);
    assert_eq!((&all[0]["loaded"], &all[1]["loaded"]["names"]), (&Value::Null, &json!([IMAGE])));
    // What the loader saw of it while it had the image.
    assert_eq!(lines(&folder.join("seen")).len(), 1);

    let output = run(&folder, "export", GOOD, &["--image", IMAGE, "--record", "record.jsonl", "-o", "new.tar"]);
    assert_eq!(output.status.code(), Some(0));
    let all = lines(&folder.join("record.jsonl"));
    assert_eq!((all.len(), &all[3]["exported"]["to"]), (4, &json!("new.tar")));
    assert_ne!(all[3]["run"], json!(runs[0]));
    // What is not handed on has one line.
    for (command, archive, more, exit) in [
        ("load", BAD, vec![], 1),
        ("load", GOOD, vec!["--into-command", "false"], 2),
        ("export", GOOD, vec!["-o", "new.tar"], 2),
    ] {
        let before = lines(&folder.join("record.jsonl")).len();
        let more = [more.as_slice(), &["--image", IMAGE, "--record", "record.jsonl"]].concat();
        assert_eq!(run(&folder, command, archive, &more).status.code(), Some(exit));
        let new = &lines(&folder.join("record.jsonl"))[before..];
        let events: Vec<_> = new.iter().map(|line| line["event"].as_str().unwrap()).collect();
        let expected: &[&str] = if more[0] == "--into-command" { &["handing-on", "verdict"] } else { &["verdict"] };
        assert_eq!(events, expected, "{command} {archive}");
    }
}

/// What stands at the place of the record, and why it is not written to.
#[test]
fn what_cannot_be_a_record_makes_no_verdict_and_is_left_alone() {
    let folder = folder("refused");
    fs::write(folder.join("victim"), "{\"a\":1}\n").unwrap();
    symlink("victim", folder.join("link")).unwrap();
    symlink("nothing", folder.join("dangling")).unwrap();
    fs::write(folder.join("archive.tar"), "no record").unwrap();
    fs::write(folder.join("root.json"), "{\"signatures\": []}").unwrap();
    assert!(Command::new("mkfifo").arg(folder.join("fifo")).status().unwrap().success());
    fs::create_dir(folder.join("folder")).unwrap();
    let cases = [
        ("link", "cannot write the record \"link\": it is a symbolic link; name the file itself"),
        ("dangling", "cannot write the record \"dangling\": it is a symbolic link; name the file itself"),
        ("fifo", "cannot write the record \"fifo\": not a regular file"),
        ("/dev/null", "cannot write the record \"/dev/null\": not a regular file"),
        ("folder", "cannot write the record \"folder\": Is a directory (os error 21)"),
        ("archive.tar", "cannot write the record \"archive.tar\": what is in it is no record of verdicts"),
        ("root.json", "cannot write the record \"root.json\": what is in it is no record of verdicts"),
        ("no/such/folder", "cannot write the record \"no/such/folder\": No such file or directory (os error 2)"),
        ("-", "standard output is for the verdict: name a file as the record"),
    ];
    for (record, expected) in cases {
        for command in ["verify", "load"] {
            let output = run(&folder, command, GOOD, &["--image", IMAGE, "--record", record]);
            let expected = format!(
                "undecided: test-repos/good/app.tar\n  {expected} [record-not-written]\n  nothing is known about whether it may be loaded\n"
            );
            assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(2)), "{record}");
        }
    }
    assert_eq!(fs::read_to_string(folder.join("victim")).unwrap(), "{\"a\":1}\n");
    assert_eq!(fs::read_to_string(folder.join("archive.tar")).unwrap(), "no record");
    assert_eq!(fs::read_to_string(folder.join("root.json")).unwrap(), "{\"signatures\": []}");
    assert!(!folder.join("nothing").exists() && !folder.join("-").exists() && !folder.join("loaded.tar").exists());
}

#[test]
fn a_line_that_was_cut_is_never_joined_to() {
    let folder = folder("cut");
    let record = folder.join("record.jsonl");
    fs::write(&record, "{\"recorded\":1}\n{\"recorded\":\"2030").unwrap();
    assert_eq!(run(&folder, "verify", GOOD, &["--record", "record.jsonl"]).status.code(), Some(0));
    assert_eq!(run(&folder, "verify", GOOD, &["--record", "record.jsonl"]).status.code(), Some(0));
    let all = fs::read_to_string(&record).unwrap();
    let all: Vec<&str> = all.lines().collect();
    assert_eq!((all.len(), all[1]), (4, "{\"recorded\":\"2030"));
    for line in [all[2], all[3]] {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap()["verdict"], "trusted");
    }
}

/// A limit on the size of files stands for a full disk.
#[test]
fn a_full_disk_makes_no_success_and_nothing_is_loaded() {
    let folder = folder("full");
    let record = folder.join("record.jsonl");
    // One KiB: a verdict is longer.
    let limited = |command: &str| {
        let plimsoll =
            plimsoll(&folder, command, GOOD, &["--image", IMAGE, "--record", "record.jsonl", "--store", "store"]);
        let mut shell = Command::new("sh");
        shell.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&folder);
        // Blocks of 512 bytes; with the signal ignored, a write past the limit is an error.
        shell
            .args(["-c", "trap '' XFSZ; ulimit -f \"$1\"; shift; exec \"$@\"", "sh", "44"])
            .arg(plimsoll.get_program());
        shell.args(plimsoll.get_args()).output().unwrap()
    };
    fs::write(&record, format!("{{\"recorded\":\"{}\"}}\n", "x".repeat(44 * 512 - 600))).unwrap();
    for command in ["verify", "load"] {
        let output = limited(command);
        let out = text(&output.stdout);
        assert_eq!(output.status.code(), Some(2), "{out}{}", text(&output.stderr));
        assert!(out.starts_with(&format!("undecided: {IMAGE}\n  cannot write the record \"record.jsonl\": ")), "{out}");
        assert!(out.contains("[record-not-written]\n"), "{out}");
        assert!(
            out.ends_with("  the archive was found to be trusted, but what was to be kept of that is not written\n"),
            "{out}"
        );
        assert!(!folder.join("loaded.tar").exists());
    }
    // With room again, what was cut is a line of its own, and the next is whole.
    assert_eq!(run(&folder, "verify", GOOD, &["--record", "record.jsonl"]).status.code(), Some(0));
    let all = fs::read_to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Value>(all.lines().last().unwrap()).unwrap()["verdict"], "trusted");
}

#[test]
fn a_record_that_fails_after_the_image_was_loaded_is_no_success() {
    let folder = folder("late");
    fs::write(folder.join("bin/docker"), "#!/bin/sh\ncat >loaded.tar\nrm record.jsonl\nmkdir record.jsonl\n").unwrap();
    let output = run(&folder, "load", GOOD, &["--image", IMAGE, "--record", "record.jsonl"]);
    let expected = format!(
        "undecided: {IMAGE}\n  cannot write the record \"record.jsonl\": Is a directory (os error 21) [record-not-written]\n  loaded    as {IMAGE} by docker load\n  the archive was found to be trusted, but what was to be kept of that is not written\n"
    );
    assert_eq!((text(&output.stdout), output.status.code()), (expected, Some(2)));
    // An archive that is not trusted stays that, and the record is missed as well.
    let output = run(&folder, "verify", BAD, &["--image", IMAGE, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_record_that_was_cut_in_its_first_bytes_is_gone_on_with() {
    let folder = folder("first");
    for (n, start) in ["", "{", "{\"record", "{\"recorded\":\"20"].iter().enumerate() {
        let name = format!("{n}.jsonl");
        fs::write(folder.join(&name), start).unwrap();
        assert_eq!(run(&folder, "verify", GOOD, &["--record", &name]).status.code(), Some(0), "{start}");
        let all = fs::read_to_string(folder.join(&name)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(all.lines().last().unwrap()).unwrap()["verdict"], "trusted");
    }
}

#[test]
fn an_export_does_not_take_the_place_of_the_record() {
    let folder = folder("place");
    assert_eq!(run(&folder, "verify", GOOD, &["--record", "record.jsonl"]).status.code(), Some(0));
    let more = ["--record", "record.jsonl", "--force", "-o", "./record.jsonl"];
    let output = run(&folder, "export", GOOD, &more);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("the new archive would take the place of the record [usage]"));
    assert_eq!(lines(&folder.join("record.jsonl")).len(), 2);
}

#[test]
fn many_at_once_mix_no_lines() {
    let folder = folder("many");
    let children: Vec<_> = (0..12)
        .map(|n| {
            let mut command = plimsoll(&folder, "verify", if n % 2 == 0 { GOOD } else { BAD }, &["--image", IMAGE]);
            command.args(["--record", "record.jsonl", "--store", &format!("store{n}")]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        })
        .collect();
    let exits: Vec<_> = children.into_iter().map(|mut child| child.wait().unwrap().code()).collect();
    assert_eq!(exits.iter().filter(|exit| **exit == Some(0)).count(), 6, "{exits:?}");
    let all = lines(&folder.join("record.jsonl"));
    let runs: std::collections::BTreeSet<String> = all.iter().map(|line| line["run"].to_string()).collect();
    assert_eq!((all.len(), runs.len()), (12, 12));
}

#[test]
fn a_record_that_was_moved_away_is_begun_anew() {
    let folder = folder("rotated");
    fs::write(folder.join("bin/docker"), "#!/bin/sh\ncat >/dev/null\nmv record.jsonl record.1\n").unwrap();
    assert_eq!(run(&folder, "load", GOOD, &["--image", IMAGE, "--record", "record.jsonl"]).status.code(), Some(0));
    let one = |name: &str| lines(&folder.join(name))[0]["event"].clone();
    assert_eq!((one("record.1"), one("record.jsonl")), (json!("handing-on"), json!("verdict")));
}

#[test]
fn the_summary_is_an_in_toto_statement_and_the_same_each_time() {
    let folder = folder("vsa");
    let more = ["--image", IMAGE, "--vsa-verifier", "https://verifier.example/node7", "--vsa"];
    for name in ["a.json", "b.json"] {
        let output = run(&folder, "verify", GOOD, &[&more[..], &[name]].concat());
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    }
    let summary = fs::read_to_string(folder.join("a.json")).unwrap();
    assert_eq!(summary, fs::read_to_string(folder.join("b.json")).unwrap());
    let digest = |path: &str| {
        let output = Command::new("sha256sum").arg(samples(path)).output().unwrap();
        text(&output.stdout).split(' ').next().unwrap().to_owned()
    };
    let metadata = |file: &str| json!({"name": file, "digest": {"sha256": digest(&format!("good/metadata/{file}"))}});
    let page = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/records.md#policy-root");
    let value: Value = serde_json::from_str(&summary).unwrap();
    let inputs = value["predicate"]["inputAttestations"].as_array().unwrap();
    for input in inputs {
        assert_eq!(*input, metadata(input["name"].as_str().unwrap()));
    }
    let names: Vec<&str> = inputs.iter().map(|input| input["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["1.root.json", "timestamp.json", "2.snapshot.json", "1.targets.json", "2.team.json"]);
    let expected = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": IMAGE, "digest": {"sha256": MANIFEST}, "mediaType": value["subject"][0]["mediaType"]},
            {"name": format!("{IMAGE}#config"), "digest": {"sha256": CONFIG}},
        ],
        "predicateType": "https://slsa.dev/verification_summary/v1",
        "predicate": {
            "verifier": {"id": "https://verifier.example/node7", "version": {"plimsoll": env!("CARGO_PKG_VERSION")}},
            "timeVerified": TIME,
            "resourceUri": "pkg:oci/app?repository_url=registry.example/team/app&tag=1.4",
            "policy": {"uri": page, "digest": {"sha256": digest("root.json")}},
            "inputAttestations": inputs,
            "verificationResult": "PASSED",
            "verifiedLevels": ["SLSA_BUILD_LEVEL_UNEVALUATED"],
            "slsaVersion": "1.2",
        },
    });
    assert_eq!(value, expected);
    is_a_statement(&folder.join("a.json"));
}

#[test]
fn what_failed_is_the_archive_and_what_is_undecided_has_no_summary() {
    let folder = folder("vsa-failed");
    let output = run(&folder, "verify", BAD, &["--image", IMAGE, "--vsa", "failed.json"]);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(1), ""));
    let value: Value = serde_json::from_slice(&fs::read(folder.join("failed.json")).unwrap()).unwrap();
    let sum = Command::new("sha256sum").arg(samples(BAD)).output().unwrap();
    assert_eq!(value["subject"], json!([{"name": samples(BAD), "digest": {"sha256": text(&sum.stdout)[..64]}}]));
    assert_eq!(value["predicate"]["verificationResult"], "FAILED");
    assert_eq!(value["predicate"]["verifiedLevels"], json!(["FAILED"]));
    is_a_statement(&folder.join("failed.json"));

    let unnamed = "it is not known which image the archive was to be; say so with --image";
    let undecided = "undecided is neither PASSED nor FAILED";
    let no_digest = "what was refused has no digest: of a compressed archive, a folder, or one that could not be read or changed meanwhile, none is known";
    fs::write(folder.join("empty.tar"), "").unwrap();
    fs::create_dir(folder.join("layout")).unwrap();
    let own = |name: &str| folder.join(name).display().to_string();
    for (archive, more, exit, why) in [
        ("no-such.tar".to_owned(), vec!["--image", IMAGE], 2, undecided),
        (own("empty.tar"), vec![], 1, unnamed),
        (own("layout"), vec!["--image", IMAGE], 1, no_digest),
    ] {
        let more = [&["--vsa", "none.json"], more.as_slice()].concat();
        let output = run(&folder, "verify", &archive, &more);
        let expected = format!("plimsoll: no verification summary is written: {why}\n");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(exit), expected), "{}", text(&output.stdout));
        assert!(!folder.join("none.json").exists());
    }
}

#[test]
fn a_summary_that_cannot_be_written_is_no_success_and_replaces_nothing() {
    let folder = folder("vsa-refused");
    fs::write(folder.join("there.json"), "old").unwrap();
    symlink("nothing", folder.join("link.json")).unwrap();
    let cases = [
        ("there.json", "\"there.json\" is there already [output-exists]"),
        ("link.json", "\"link.json\" is there already [output-exists]"),
        ("-", "standard output is for the verdict: name a file for the verification summary [vsa-not-written]"),
    ];
    for (name, expected) in cases {
        let output = run(&folder, "verify", GOOD, &["--image", IMAGE, "--vsa", name, "--record", "record.jsonl"]);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stdout).contains(expected), "{}", text(&output.stdout));
    }
    assert_eq!(lines(&folder.join("record.jsonl")).len(), cases.len());
    let output = run(&folder, "verify", GOOD, &["--image", IMAGE, "--vsa", "no/such/folder"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stdout).contains("[vsa-not-written]"));
    assert_eq!(fs::read_to_string(folder.join("there.json")).unwrap(), "old");
    // The record has what was taken back in the end: the loader put something in the summary's place.
    fs::write(folder.join("bin/docker"), "#!/bin/sh\ncat >/dev/null\necho x >late.json\n").unwrap();
    let more = ["--image", IMAGE, "--vsa", "late.json", "--record", "late.jsonl"];
    assert_eq!(run(&folder, "load", GOOD, &more).status.code(), Some(2));
    let words: Vec<_> = lines(&folder.join("late.jsonl")).iter().map(|line| line["verdict"].clone()).collect();
    assert_eq!(words, ["trusted", "trusted", "undecided"]);
    for (uri, exit) in [("urn:example:verifier", 0), ("node7", 2), ("https://a b", 2), ("1:x", 2)] {
        let name = format!("uri{exit}-{}.json", uri.len());
        let output = run(&folder, "verify", GOOD, &["--image", IMAGE, "--vsa", &name, "--vsa-verifier", uri]);
        assert_eq!(output.status.code(), Some(exit), "{uri}");
    }
    // Nothing half-written is left.
    let hidden =
        fs::read_dir(&folder).unwrap().filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0);
}

/// Against the in-toto project's own Python package, where there is one.
fn is_a_statement(path: &Path) {
    let script = "import sys
from google.protobuf import json_format
from in_toto_attestation.v1 import statement_pb2, statement
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
pb = json_format.Parse(open(sys.argv[1]).read(), statement_pb2.Statement())
statement.Statement.copy_from_pb(pb).validate()
fields = json_format.MessageToDict(pb.predicate)
# This package still takes the levels for one string; since SLSA 1.0 they are a list.
assert fields.pop('verifiedLevels') in (['SLSA_BUILD_LEVEL_UNEVALUATED'], ['FAILED'])
predicate = json_format.ParseDict(fields, vsa_pb2.VerificationSummary(), ignore_unknown_fields=True)
assert predicate.verifier.id and predicate.resource_uri and predicate.verification_result in ('PASSED', 'FAILED'), predicate
print('checked')
";
    let python = "python3";
    let there = Command::new(python).args(["-c", "import in_toto_attestation"]).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "no in-toto-attestation");
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        writeln!(std::io::stderr(), "skipped: {test}: no python3 with in-toto-attestation").unwrap();
        return;
    }
    let output = Command::new(python).args(["-c", script]).arg(path).output().unwrap();
    assert_eq!(
        (text(&output.stdout).as_str(), output.status.code()),
        ("checked\n", Some(0)),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn a_record_that_is_kept_locked_is_waited_for() {
    let folder = folder("locked");
    let record = File::create(folder.join("record.jsonl")).unwrap();
    record.lock().unwrap();
    let mut child = plimsoll(&folder, "verify", GOOD, &["--image", IMAGE, "--record", "record.jsonl"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(child.try_wait().unwrap(), None);
    drop(record);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(lines(&folder.join("record.jsonl")).len(), 1);
}
