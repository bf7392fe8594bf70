//! Where the command finds a repository: a folder, an address, or one for the metadata and one for the targets.

#![cfg(feature = "http")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests state what they expect")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

const IMAGE: &str = "registry.example/team/app:1.4";

fn samples(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos").join(path).display().to_string()
}

/// `plimsoll verify` of the good sample, with the arguments that say where the repository is.
fn verify(test: &str, repository: &[&str]) -> Output {
    let home: PathBuf = Path::new(env!("CARGO_TARGET_TMPDIR")).join("repository").join(test);
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    fs::create_dir_all(&home).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().env("HOME", &home).stdin(Stdio::null());
    command.args(["verify", &samples("good/app.tar"), "--image", IMAGE, "--root", &samples("root.json")]);
    command.args(repository).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Serves `test-repos/`, and an error for all below `/broken/`. Writes down what it was asked for.
fn serve() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = String::new();
            let mut reader = BufReader::new(&stream);
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (status, body) = match fs::read(samples(path.trim_start_matches('/'))) {
                _ if path.starts_with("/broken/") => ("500 Internal Server Error", Vec::new()),
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            log.lock().unwrap().push(path);
            let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
            let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    (address, requests)
}

#[test]
fn a_repository_is_a_folder_or_an_address_or_one_of_each() {
    let (address, requests) = serve();
    let url = |path: &str| format!("http://{address}/{path}");
    let cases: &[(&str, Vec<String>, bool, bool)] = &[
        ("folder", vec!["--repository".to_owned(), samples("good")], false, false),
        ("address", vec!["--repository".to_owned(), url("good")], true, true),
        ("address with a slash", vec!["--repository".to_owned(), url("good/")], true, true),
        (
            "two addresses",
            vec!["--metadata".to_owned(), url("good/metadata"), "--targets".to_owned(), url("good/targets")],
            true,
            true,
        ),
        (
            "two folders",
            vec!["--metadata".to_owned(), samples("good/metadata"), "--targets".to_owned(), samples("good/targets")],
            false,
            false,
        ),
        (
            "metadata from afar",
            vec!["--metadata".to_owned(), url("good/metadata"), "--targets".to_owned(), samples("good/targets")],
            true,
            false,
        ),
        (
            "targets from afar",
            vec!["--metadata".to_owned(), samples("good/metadata"), "--targets".to_owned(), url("good/targets")],
            false,
            true,
        ),
    ];
    let expected = verify("expected", &["--repository", &samples("good")]);
    for (name, arguments, metadata, targets) in cases {
        let output = verify("places", &arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(text(&output.stdout), text(&expected.stdout), "{name}");
        assert_eq!(output.status.code(), Some(0), "{name}");
        let requests = std::mem::take(&mut *requests.lock().unwrap());
        assert_eq!(requests.iter().any(|path| path.contains("/metadata/")), *metadata, "{name}: {requests:?}");
        assert_eq!(requests.iter().any(|path| path.contains("/targets/")), *targets, "{name}: {requests:?}");
    }
}

#[test]
fn what_cannot_be_reached_is_undecided_and_named_without_its_password() {
    let (address, _) = serve();
    let cases = [
        (format!("http://user:secret@{address}/broken"), "metadata/2.root.json\": the server answered 500"),
        (format!("http://user:secret@{address}/nowhere"), "the repository has no file \"timestamp.json\""),
        ("http://user:secret@127.0.0.1:1/".to_owned(), "cannot read \"http://127.0.0.1:1/metadata/2.root.json\""),
        (
            "ftp://user:secret@127.0.0.1/".to_owned(),
            "\"ftp://127.0.0.1/\" cannot be used: only http and https are supported",
        ),
        ("https://user:secret@127.0.0.1/?a".to_owned(), "cannot be used: it has a query or a fragment"),
    ];
    for (url, expected) in cases {
        let output = verify("unreachable", &["--repository", &url]);
        let shown = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(shown.contains(expected), "{url}: {shown}");
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!(output.status.code(), Some(2), "{shown}");
    }
    let output = verify("unreachable", &["--metadata", &samples("nowhere"), "--targets", &samples("good/targets")]);
    assert!(text(&output.stdout).contains("there is no such folder"), "{}", text(&output.stdout));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn one_place_or_two_and_not_both() {
    let place = samples("good");
    let cases: &[(&[&str], &str)] = &[
        (&[], "--repository DIR_OR_URL"),
        (&["--metadata", &place], "--targets <DIR_OR_URL>"),
        (&["--targets", &place], "--metadata <DIR_OR_URL>"),
        (&["--repository", &place, "--metadata", &place, "--targets", &place], "cannot be used with"),
        (&["--repository", &place, "--targets", &place], "cannot be used with"),
    ];
    for (arguments, expected) in cases {
        let output = verify("usage", arguments);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

/// Nothing that is older than what a verdict rests on may be trusted later, also if the machine stops the moment after.
#[test]
fn what_guards_against_rollback_is_on_disk_before_the_verdict() {
    let required = std::env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    let answers = Command::new("strace").args(["-qq", "true"]).stderr(Stdio::null()).status();
    if !answers.is_ok_and(|status| status.success()) {
        assert!(!required, "no strace, or no right to use it");
        eprintln!("skipped: no strace, or no right to use it");
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("repository-on-disk");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    let run = || {
        let calls = folder.join("calls");
        let mut command = Command::new("strace");
        command
            .args(["-f", "-y", "-qq", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2,write", "-o"])
            .arg(&calls);
        command.arg(env!("CARGO_BIN_EXE_plimsoll")).args(["verify", &samples("good/app.tar")]);
        command.args(["--image", "registry.example/team/app:1.4", "--repository", &samples("good")]);
        command.args(["--root", &samples("root.json"), "--store"]).arg(folder.join("store"));
        assert!(command.stdin(Stdio::null()).stdout(Stdio::null()).status().unwrap().success());
        fs::read_to_string(calls).unwrap()
    };
    let calls = run();
    let calls: Vec<&str> = calls.lines().collect();
    let first = |what: &[&str]| calls.iter().position(|call| what.iter().all(|part| call.contains(part)));
    let verdict = first(&["write(1<", "trusted"]).unwrap();
    let mut renamed = 0;
    for guard in ["timestamp.json", "snapshot.json", "clock"] {
        let synced = first(&["sync(", &format!("/.new-{guard}>")]).unwrap_or_else(|| panic!("{guard} is not synced"));
        let in_place = first(&["rename", &format!("/store/{guard}\"")]).unwrap();
        assert!(synced < in_place, "{guard}: {calls:#?}");
        renamed = renamed.max(in_place);
    }
    let settled = calls.iter().rposition(|call| call.contains("sync(") && call.contains("/store>")).unwrap();
    assert!(renamed < settled && settled < verdict, "{calls:#?}");
    // With nothing new, nothing is written and no disk is waited for.
    let calls = run();
    assert!(!calls.contains("sync(") && !calls.contains("rename"), "{calls}");
}

/// A root that takes the timestamp's key away makes what that key signed worthless [TUF 5.3.11]. That there is this root is on disk before anything is forgotten:
/// else a machine that stops in between would have neither the floor nor the root.
#[test]
fn what_old_keys_signed_is_forgotten_only_when_the_new_root_is_on_disk() {
    let required = std::env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    let answers = Command::new("strace").args(["-qq", "true"]).stderr(Stdio::null()).status();
    if !answers.is_ok_and(|status| status.success()) {
        assert!(!required, "no strace, or no right to use it");
        eprintln!("skipped: no strace, or no right to use it");
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("repository-forgets");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    let plimsoll = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        let output = command.args(line.split(' ')).current_dir(&folder).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    };
    let calls = || {
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-y",
            "-qq",
            "-e",
            "trace=fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat",
            "-o",
            "calls",
        ]);
        command.arg(env!("CARGO_BIN_EXE_plimsoll")).args([
            "verify",
            &samples("good/app.tar"),
            "--image",
            "registry.example/team/app:1.4",
        ]);
        command.args(["--repository", "r", "--root", "r/metadata/1.root.json", "--store", "s"]);
        let output = command.current_dir(&folder).stdin(Stdio::null()).output().unwrap();
        // Nobody signed that image here: the refresh is what counts.
        assert!(text(&output.stdout).contains("[image-not-signed]"), "{}", text(&output.stdout));
        fs::read_to_string(folder.join("calls")).unwrap()
    };
    plimsoll("repository init --repository r --keys k");
    calls();
    plimsoll("key generate k/timestamp-2.pem");
    plimsoll(
        "repository rotate timestamp --remove k/timestamp.pub.pem --add k/timestamp-2.pem --repository r --keys k",
    );
    let calls = calls();
    let calls: Vec<&str> = calls.lines().collect();
    let first = |what: &[&str]| {
        let place = calls.iter().position(|call| what.iter().all(|part| call.contains(part)));
        place.unwrap_or_else(|| panic!("{what:?} is not among {calls:#?}"))
    };
    let synced = first(&["sync(", "/.new-root.json>"]);
    let in_place = first(&["rename", "/root.json\""]);
    let forgotten = first(&["unlink", "/timestamp.json\""]);
    assert!(synced < in_place && in_place < forgotten, "{calls:#?}");
    let settled = calls
        .iter()
        .skip(in_place)
        .take(forgotten - in_place)
        .any(|call| call.contains("sync(") && call.contains("/s>"));
    assert!(settled, "{calls:#?}");
}
