//! `plimsoll profile`, as a black box: arguments in; exit code and all that is printed and written out.

#![cfg(feature = "publish")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const NOW: &str = "2030-01-01T00:00:00Z";
const IMAGE: &str = "registry.example/team/app:1.4";
/// The config digest of the sample.
const ID: &str = "sha256:5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b";
const SECCOMP: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","write","exit_group"],"action":"SCMP_ACT_ALLOW"}]}"#;
const LOOSE: &str = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["mount"],"action":"SCMP_ACT_ALLOW"}]}"#;
const APPARMOR: &str = "profile plimsoll-test-app {\n  file,\n  network,\n  deny mount,\n}\n";
const SELINUX: &str = "(block app (blockinherit container))\n";
const RUN: &str = r#"{"schema":"plimsoll/run/v1","memory":"64MiB","pids":50,"read-only":true,"no-new-privileges":true,"cap-drop":["ALL"],"user":"7:7"}"#;

/// A folder with a repository in which the sample is signed, the keys beside it, and profiles to sign.
struct Desk(PathBuf);

impl Desk {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("profile").join(test);
        let _there_is_none = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let desk = Self(path);
        for (name, text) in
            [("seccomp.json", SECCOMP), ("apparmor.profile", APPARMOR), ("selinux.cil", SELINUX), ("run.json", RUN)]
        {
            desk.write(name, text);
        }
        desk
    }

    fn with_repository(test: &str) -> Self {
        let desk = Self::new(test);
        desk.ok(&["repository", "init", "--repository", "site", "--keys", "keys", "--time", NOW]);
        desk.sign("good/app.tar", IMAGE);
        desk
    }

    /// Signs the manifest of the release before as that of this image.
    fn sign_old(&self, image: &str) {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos/source/app-old.manifest.json");
        let (manifest, of) = (manifest.display().to_string(), ["--image", image, "--as", "manifest.json"]);
        let place = ["--repository", "site", "--keys", "keys", "--time", NOW];
        self.ok(&[&["repository", "add-file", &manifest], &of[..], &place].concat());
    }

    fn sign(&self, archive: &str, image: &str) {
        let archive = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos").join(archive).display().to_string();
        self.ok(&[
            "repository",
            "add",
            &archive,
            "--image",
            image,
            "--repository",
            "site",
            "--keys",
            "keys",
            "--time",
            NOW,
        ]);
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn plimsoll(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        // Of the machine only what every one has: no apparmor_parser but that of the system, no engine but the test's own.
        command.env_clear().env("HOME", &self.0).env("PATH", self.0.join("bin")).current_dir(&self.0);
        command.args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.plimsoll(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    fn push(&self, image: &str, files: &[&str], more: &[&str]) -> Output {
        let place = ["--repository", "site", "--keys", "keys", "--time", NOW];
        self.plimsoll(&[&["profile", "push", image], files, &place, more].concat())
    }

    #[track_caller]
    fn pushed(&self, image: &str, files: &[&str]) {
        let output = self.push(image, files, &[]);
        assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    }

    fn fetch(&self, image: &str, more: &[&str]) -> Output {
        let place = ["--repository", "site", "--root", "site/metadata/1.root.json", "--store", "store", "--time", NOW];
        self.plimsoll(&[&["profile", "fetch", image, "--output", "out"], &place[..], more].concat())
    }

    /// The exit code, and the object.
    fn json(&self, image: &str, more: &[&str]) -> (Option<i32>, Value) {
        let output = self.fetch(image, &[more, &["--format", "json"]].concat());
        let json = serde_json::from_slice(&output.stdout);
        (output.status.code(), json.unwrap_or_else(|e| panic!("{e}: {}{}", text(&output.stdout), text(&output.stderr))))
    }

    #[track_caller]
    fn refused(&self, image: &str, more: &[&str], exit: i32, code: &str) {
        let (found, json) = self.json(image, more);
        let verdict = if exit == 1 { "untrusted" } else { "undecided" };
        assert_eq!(
            (found, &json["verdict"], &json["findings"][0]["code"]),
            (Some(exit), &json!(verdict), &json!(code)),
            "{json:#}"
        );
        assert!(!self.0.join("out").exists(), "nothing is written");
    }

    /// An engine that says this of any image.
    fn engine(&self, answer: &Value) {
        fs::create_dir_all(self.0.join("bin")).unwrap();
        let program = self.0.join("bin/docker");
        fs::write(&program, format!("#!/bin/sh\necho '{answer}'\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_is_pushed_is_fetched_and_the_options_are_printed() {
    let desk = Desk::with_repository("fetched");
    desk.refused(IMAGE, &[], 1, "profile-missing");
    desk.pushed(IMAGE, &["seccomp.json", "selinux.cil", "run.json"]);

    let output = desk.fetch(IMAGE, &["--lsm", "both"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let out = fs::canonicalize(desk.0.join("out")).unwrap().display().to_string();
    let expected = format!(
        "--security-opt seccomp={out}/seccomp.json --security-opt label=type:app.process --security-opt no-new-privileges --cap-drop ALL \
         --memory 67108864 --pids-limit 50 --user 7:7 --read-only\n"
    );
    assert_eq!(text(&output.stdout), expected);
    assert_eq!(desk.read("out/seccomp.json"), SECCOMP);
    assert!(text(&output.stderr).contains("semodule -i"), "{}", text(&output.stderr));
    let bound: Value = serde_json::from_str(&desk.read("out/run.json")).unwrap();
    assert_eq!(bound["pids"], 50);
    assert!(bound["manifest"].as_str().unwrap().starts_with("sha256:"));

    // Once more: what is there is the same. As JSON; for podman; without what this kernel may not have.
    let (exit, json) = desk.json(IMAGE, &["--engine", "podman", "--lsm", "none"]);
    assert_eq!((exit, &json["verdict"], &json["schema"]), (Some(0), &json!("trusted"), &json!("plimsoll/profile/v1")));
    assert_eq!(json["options"].as_array().unwrap().last().unwrap(), "--read-only-tmpfs=false");
    assert_eq!(json["left_out"], json!(["SELinux"]));
    assert_eq!(json["image"], IMAGE);

    // Something else that is there is not written over.
    desk.write("out/seccomp.json", "{}");
    let (exit, json) = desk.json(IMAGE, &[]);
    assert_eq!((exit, &json["findings"][0]["code"]), (Some(2), &json!("profile-unwritable")));
    assert_eq!(desk.json(IMAGE, &["--force"]).0, Some(0));
    assert_eq!(desk.read("out/seccomp.json"), SECCOMP);
}

#[test]
fn a_profile_of_another_image_is_refused() {
    let desk = Desk::with_repository("bound");
    desk.pushed(IMAGE, &["seccomp.json", "run.json"]);
    // By hand: without run.json, with the one of another image, with another profile beside it.
    let next = "registry.example/team/app:1.5";
    desk.sign_old(next);
    let add = |image: &str, file: &str| {
        desk.ok(&[
            "repository",
            "add-file",
            file,
            "--image",
            image,
            "--repository",
            "site",
            "--keys",
            "keys",
            "--time",
            NOW,
        ]);
    };
    add(next, "seccomp.json");
    desk.refused(next, &[], 1, "profile-unbound");
    add(next, "run.json");
    desk.refused(next, &[], 1, "profile-unbound");
    assert_eq!(desk.fetch(IMAGE, &[]).status.code(), Some(0));
    fs::rename(desk.0.join("out"), desk.0.join("bound")).unwrap();
    add(next, "bound/run.json");
    desk.refused(next, &[], 1, "profile-of-another-image");
    desk.write("seccomp.json", r#"{"defaultAction":"SCMP_ACT_KILL"}"#);
    add(IMAGE, "seccomp.json");
    desk.refused(IMAGE, &[], 1, "profile-of-another-image");
    // The tag moves to another image: what was signed for the one before is in force no more.
    desk.pushed(IMAGE, &["seccomp.json", "run.json"]);
    assert_eq!(desk.fetch(IMAGE, &[]).status.code(), Some(0));
    fs::remove_dir_all(desk.0.join("out")).unwrap();
    desk.sign_old(IMAGE);
    desk.refused(IMAGE, &[], 1, "profile-of-another-image");
}

#[test]
fn a_profile_loosens_nothing_here_whoever_signed_it() {
    let desk = Desk::with_repository("loosens");
    desk.write("seccomp.json", LOOSE);
    let refused = desk.push(IMAGE, &["seccomp.json"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("mount on amd64"), "{}", text(&refused.stderr));
    assert_eq!(desk.push(IMAGE, &["seccomp.json", "run.json"], &["--beyond-default"]).status.code(), Some(0));
    desk.refused(IMAGE, &[], 1, "profile-loosens");
    desk.write("mine.json", LOOSE);
    assert_eq!(desk.json(IMAGE, &["--baseline-seccomp", "mine.json"]).0, Some(0));
    fs::remove_dir_all(desk.0.join("out")).unwrap();
    assert_eq!(desk.json(IMAGE, &["--allow-unconfined"]).0, Some(0));
    fs::remove_dir_all(desk.0.join("out")).unwrap();
    for more in [&["--max-memory", "32MiB"], &["--max-pids", "49"]] {
        desk.refused(IMAGE, &[more, &["--allow-unconfined"][..]].concat(), 1, "profile-loosens");
    }
    desk.write("run.json", r#"{"schema":"plimsoll/run/v1","privileged":true}"#);
    assert_eq!(desk.push(IMAGE, &["seccomp.json", "run.json"], &["--beyond-default"]).status.code(), Some(2));
}

#[test]
fn the_names_that_an_engine_has_for_an_id_count_only_if_that_image_is_signed_under_them() {
    let desk = Desk::with_repository("id");
    desk.pushed(IMAGE, &["run.json"]);
    let answer = |id: &str, tags: Value| json!({"Id": id, "RepoTags": tags, "RepoDigests": []});
    desk.refused(ID, &[], 2, "engine-failed");
    desk.engine(&answer(ID, json!(["other.example/x:1"])));
    desk.refused(ID, &[], 1, "image-not-signed");
    desk.engine(&answer(ID, json!([])));
    desk.refused(ID, &[], 1, "image-not-signed");
    // Another image got the name of the signed one.
    let other = format!("sha256:{}", "0".repeat(64));
    desk.engine(&answer(&other, json!([IMAGE])));
    desk.refused(&other, &[], 1, "image-not-signed");
    desk.refused(ID, &[], 2, "engine-failed");
    desk.engine(&answer(ID, json!(["other.example/x:1", IMAGE])));
    let (exit, json) = desk.json(ID, &[]);
    assert_eq!((exit, &json["image"]), (Some(0), &json!(IMAGE)), "{json:#}");
    assert_eq!(desk.json(ID.strip_prefix("sha256:").unwrap(), &[]).0, Some(0));
}

#[test]
fn each_kind_is_checked_without_a_repository() {
    let desk = Desk::new("check");
    let check = |arguments: &[&str]| {
        let output = desk.plimsoll(&[&["profile", "check", "--format", "json"], arguments].concat());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), json["findings"][0]["code"].as_str().unwrap_or("none").to_owned())
    };
    let fine = (Some(0), "none".to_owned());
    let is = |exit, code: &str| (Some(exit), code.to_owned());
    for file in ["seccomp.json", "apparmor.profile", "selinux.cil", "run.json"] {
        assert_eq!(check(&[file]), fine, "{file}");
    }
    assert_eq!(check(&["seccomp.json", "apparmor.profile", "selinux.cil", "run.json"]), fine);
    desk.write("other", SECCOMP);
    assert_eq!(check(&["other"]), is(2, "usage"));
    assert_eq!(check(&["other", "--kind", "seccomp"]), fine);
    assert_eq!(check(&["other", "--kind", "run"]), is(1, "profile-unknown-word"));
    assert_eq!(check(&["missing", "--kind", "run"]), is(2, "profile-unreadable"));
    for (text, kind, code) in [
        (LOOSE, "seccomp", "profile-loosens"),
        ("{", "seccomp", "profile-malformed"),
        (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "seccomp", "profile-hands-over"),
        ("profile docker-default { file, }\n", "apparmor", "profile-name-taken"),
        ("profile app flags=(complain) { file, }\n", "apparmor", "profile-unconfined"),
        ("profile app { include </etc/shadow>\n }\n", "apparmor", "profile-malformed"),
        ("profile app {\ninclude </etc/shadow>\n}\n", "apparmor", "profile-include"),
        ("(typepermissive container.process)", "selinux", "profile-widens-host"),
        (r#"{"schema":"plimsoll/run/v1","security-opt":["seccomp=unconfined"]}"#, "run", "profile-unconfined"),
        (r#"{"schema":"plimsoll/run/v1","user":"0"}"#, "run", "profile-loosens"),
        (r#"{"schema":"plimsoll/run/v1","cap-add":["SYS_ADMIN"]}"#, "run", "profile-loosens"),
        (r#"{"schema":"plimsoll/run/v1","cap-add":["KILL"],"cap-drop":["KILL"]}"#, "run", "profile-contradictory"),
    ] {
        desk.write("other", text);
        assert_eq!(check(&["other", "--kind", kind]), is(1, code), "{text}");
    }
    let twice = desk.plimsoll(&["profile", "check", "seccomp.json", "./seccomp.json"]);
    assert_eq!(twice.status.code(), Some(2));
}

/// What passes our own check and not that of the tool; the tool loads nothing.
#[test]
fn apparmor_parser_has_the_last_word_where_it_is_installed() {
    if !Path::new("/usr/sbin/apparmor_parser").exists() && !Path::new("/sbin/apparmor_parser").exists() {
        return;
    }
    let desk = Desk::new("parser");
    let check = || desk.plimsoll(&["profile", "check", "apparmor.profile", "--format", "json"]);
    let json: Value = serde_json::from_slice(&check().stdout).unwrap();
    assert_eq!(json["apparmor_parser"], true, "{json}");
    desk.write("apparmor.profile", "profile app {\n  capability fly,\n}\n");
    let output = check();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &json["findings"][0]["code"]),
        (Some(1), &json!("profile-refused-by-parser")),
        "{json}"
    );
}
