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

    /// The root that this machine pins, outside the repository, and a policy.
    fn policy(&self, scopes: &str) {
        fs::copy(self.0.join("site/metadata/1.root.json"), self.0.join("root.json")).unwrap();
        self.write("policy.toml", &format!("version = 1\n{scopes}"));
        self.let_owner_write_alone(&["root.json", "policy.toml"]);
    }

    fn let_owner_write_alone(&self, names: &[&str]) {
        for name in names {
            fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(0o644)).unwrap();
        }
    }

    /// The exit code, and the object, of a fetch by the policy. What was written is taken away, or was not there.
    fn by_policy(&self, image: &str, more: &[&str]) -> (Option<i32>, Value) {
        let fixed = ["profile", "fetch", image, "--output", "out", "--time", NOW, "--format", "json", "--policy"];
        let output = self.plimsoll(&[&fixed[..], &["policy.toml"], more].concat());
        let json: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}{}", text(&output.stdout), text(&output.stderr)));
        let was_written = fs::remove_dir_all(self.0.join("out")).is_ok();
        assert_eq!(was_written, output.status.code() == Some(0), "{json:#}");
        (output.status.code(), json)
    }

    /// What comes of a fetch by the policy: the options, or the exit code and the code of the first finding.
    fn governed(&self, image: &str, more: &[&str]) -> Result<String, (i32, String)> {
        match self.by_policy(image, more) {
            (Some(0), json) => {
                let words: Vec<&str> =
                    json["options"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
                Ok(words.join(" "))
            }
            (exit, json) => Err((exit.unwrap(), json["findings"][0]["code"].as_str().unwrap().to_owned())),
        }
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

/// A scope of a policy that trusts the repository, with these further lines.
fn scope(name: &str, lines: &str) -> String {
    format!("[scope.\"{name}\"]\nrepository = \"site\"\nroot = \"root.json\"\n{lines}\n")
}

fn refusal(exit: i32, code: &str) -> Result<String, (i32, String)> {
    Err((exit, code.to_owned()))
}

/// What is looked at, a scope's terms, and what comes of it.
type PolicyCase<'c> = (&'c str, &'c str, Result<&'c str, Result<String, (i32, String)>>);

#[test]
fn a_policy_says_what_profiles_may_ask_for_and_each_refusal_has_its_accepted_twin() {
    let desk = Desk::with_repository("policy");
    desk.write("seccomp.json", LOOSE);
    let files = ["seccomp.json", "run.json"];
    assert_eq!(desk.push(IMAGE, &files, &["--beyond-default"]).status.code(), Some(0));
    desk.write("loose.json", LOOSE);
    desk.write("tight.json", SECCOMP);
    desk.write("none.json", "{");
    desk.write("long.json", &" ".repeat(1024 * 1024 + 1));
    desk.write("exposed.json", LOOSE);
    desk.let_owner_write_alone(&["loose.json", "tight.json", "none.json", "long.json"]);
    fs::set_permissions(desk.0.join("exposed.json"), fs::Permissions::from_mode(0o666)).unwrap();

    let loosens = || refusal(1, "profile-loosens");
    let cases: &[PolicyCase] = &[
        ("as much memory", "run.memory = \"64MiB\"", Ok("--memory 67108864")),
        ("less memory", "run.memory = \"63MiB\"", Err(loosens())),
        ("as many processes", "run.pids = 50", Ok("--pids-limit 50")),
        ("fewer processes", "run.pids = 49", Err(loosens())),
        ("what it does not ask for is given", "run.cpus = 0.5", Ok("--cpus 0.5")),
        ("nothing writable", "run.writable = false", Ok("--read-only")),
        ("no capabilities", "run.capabilities = []", Ok("--cap-drop ALL")),
        ("the same seccomp profile", "run.seccomp = \"loose.json\"", Ok("--security-opt seccomp=")),
        ("a tighter seccomp profile", "run.seccomp = \"tight.json\"", Err(loosens())),
        ("unconfined beside a tighter one", "run = { seccomp = \"tight.json\", unconfined = true }", Ok("--user 7:7")),
        ("a seccomp profile that is none", "run.seccomp = \"none.json\"", Err(refusal(2, "baseline-unreadable"))),
        ("one that is too long", "run.seccomp = \"long.json\"", Err(refusal(2, "policy-unreadable"))),
        ("one that is not there", "run.seccomp = \"away.json\"", Err(refusal(2, "policy-unreadable"))),
        ("a folder", "run.seccomp = \"keys\"", Err(refusal(2, "policy-unreadable"))),
        ("one that others may write", "run.seccomp = \"exposed.json\"", Err(refusal(2, "policy-exposed"))),
    ];
    for (name, lines, expected) in cases {
        let seccomp = if lines.contains("seccomp") { "" } else { "\nrun.seccomp = \"loose.json\"" };
        desk.policy(&scope("registry.example/team", &format!("{lines}{seccomp}")));
        match (desk.governed(IMAGE, &[]), expected) {
            (Ok(options), Ok(option)) => assert!(options.contains(option), "{name}: {options}"),
            (found, expected) => assert_eq!(Some(&found), expected.as_ref().err(), "{name}"),
        }
    }
    // Docker's default where nothing is said.
    desk.policy(&scope("registry.example/team", ""));
    assert_eq!(desk.governed(IMAGE, &[]), loosens());
}

#[test]
fn only_the_scope_that_governs_the_name_counts() {
    let desk = Desk::with_repository("scopes");
    desk.pushed(IMAGE, &["seccomp.json", "run.json"]);
    let (team, tag) = ("registry.example/team", "registry.example/team/app:1.4");
    let (less, enough) = ("run.memory = \"1MiB\"", "run.memory = \"1GiB\"");
    let refused = |name: &str| format!("[scope.\"{name}\"]\nrefuse = \"moved\"\n");
    let loosens = Err("profile-loosens");
    for (name, scopes, expected) in [
        ("its own scope", scope(team, enough), Ok(())),
        ("its own scope, with less", scope(team, less), loosens),
        ("a scope around it is stricter", scope(team, less) + &scope(tag, enough), Ok(())),
        ("a scope around it allows more", scope(team, enough) + &scope(tag, less), loosens),
        ("all images may have more", scope("*", enough) + &scope(team, less), loosens),
        ("another name is stricter", scope(team, "") + &scope("registry.example/teammates", less), Ok(())),
        ("another name may have more", scope("registry.example/teammates", enough), Err("policy-no-scope")),
        ("no scope", String::new(), Err("policy-no-scope")),
        ("refused", refused(team), Err("policy-refused")),
        ("refused within", scope(team, "") + &refused(tag), Err("policy-refused")),
        ("another tag is refused", scope(team, "") + &refused("registry.example/team/app:1.3"), Ok(())),
        (
            "signed elsewhere",
            scope(team, "target-path = \"x/{host}/{repository}/{tag}/{file}\""),
            Err("image-not-signed"),
        ),
    ] {
        desk.policy(&scopes);
        let found = desk.governed(IMAGE, &[]).map(drop).map_err(|(exit, code)| {
            assert_eq!(exit, 1, "{name}: {code}");
            code
        });
        assert_eq!(found, expected.map_err(str::to_owned), "{name}");
    }
    // The repository of another scope is not asked in its place.
    desk.policy(&(scope(team, "").replace("\"site\"", "\"away\"") + &scope("*", "")));
    assert_eq!(desk.governed(IMAGE, &[]), refusal(2, "repository-unreadable"));
}

#[test]
fn nothing_on_the_command_line_is_said_in_the_place_of_a_policy() {
    let desk = Desk::with_repository("said");
    desk.pushed(IMAGE, &["run.json"]);
    desk.policy(&scope("registry.example/team", "run.memory = \"64MiB\""));
    desk.write("mine.json", LOOSE);
    for more in [
        &["--max-memory", "1GiB"][..],
        &["--max-memory", "1MiB"],
        &["--max-pids", "1"],
        &["--max-cpus", "1"],
        &["--max-capability", "KILL"],
        &["--baseline-seccomp", "mine.json"],
        &["--allow-root"],
        &["--require-read-only"],
        &["--allow-unconfined"],
        &["--store", "elsewhere"],
        &["--target-path", "{host}/{repository}/{tag}/{file}"],
        &["--max-staleness", "7d"],
    ] {
        assert_eq!(desk.governed(IMAGE, more), refusal(2, "usage"), "{more:?}");
    }
    assert!(desk.governed(IMAGE, &[]).is_ok());
    // Beside a repository there is no policy to be read.
    let output = desk.fetch(IMAGE, &["--policy", "policy.toml"]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""));

    // Where nobody is named, the user's policy counts, and no option is said in its place either.
    let by_default = |more: &[&str]| {
        let fixed = ["profile", "fetch", IMAGE, "--output", "out", "--time", NOW, "--format", "json"];
        let output = desk.plimsoll(&[&fixed, more].concat());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), json["findings"][0]["code"].as_str().unwrap_or("none").to_owned())
    };
    assert_eq!(by_default(&[]), (Some(2), "usage".to_owned()));
    fs::create_dir_all(desk.0.join(".config/plimsoll")).unwrap();
    let text = desk.read("policy.toml").replace("\"site\"", "\"../../site\"").replace("\"root", "\"../../root");
    desk.write(".config/plimsoll/policy.toml", &text);
    desk.let_owner_write_alone(&[".config/plimsoll/policy.toml"]);
    assert_eq!(by_default(&[]), (Some(0), "none".to_owned()));
    assert_eq!(by_default(&["--allow-root"]), (Some(2), "usage".to_owned()));
}

#[test]
fn each_name_of_an_id_is_asked_for_under_its_own_scope() {
    let desk = Desk::with_repository("id-policy");
    let lab = "registry.example/lab/app:1";
    // The archive claims the other name; its manifest does not.
    let signed = fs::read_dir(desk.0.join("site/targets/registry.example/team/app/1.4")).unwrap();
    let manifest = signed.map(|entry| entry.unwrap().path().display().to_string()).next().unwrap();
    assert!(manifest.ends_with(".manifest.json"));
    let place = ["--repository", "site", "--keys", "keys", "--time", NOW];
    desk.ok(&[&["repository", "add-file", &manifest, "--image", lab, "--as", "manifest.json"], &place[..]].concat());
    for image in [IMAGE, lab] {
        desk.pushed(image, &["run.json"]);
    }
    let team_scope = |lines: &str| scope("registry.example/team", lines);
    let lab_scope = |lines: &str| scope("registry.example/lab", lines);
    let refused = "[scope.\"registry.example/lab\"]\nrefuse = \"moved\"\n";
    let unknown = lab_scope("").replace("root.json", "away.json");
    let (both, team, other): (&[&str], &[&str], &[&str]) = (&[IMAGE, lab], &[IMAGE], &["other.example/x:1"]);
    let one_has_no_scope = ["other.example/x:1", IMAGE];
    let lab_first = [lab, IMAGE];
    let is = |code: &str| refusal(1, code).map(drop);
    for (name, tags, scopes, expected) in [
        ("both alike", both, team_scope("") + &lab_scope(""), Ok(())),
        ("one has no scope", &one_has_no_scope, team_scope(""), Ok(())),
        ("one is refused", both, team_scope("") + refused, Ok(())),
        ("one is refused, and comes first", &lab_first, team_scope("") + refused, Ok(())),
        ("the only one has no scope", other, team_scope(""), is("policy-no-scope")),
        ("the only one is refused", &[lab], team_scope("") + refused, is("policy-refused")),
        (
            "one is refused, the other not signed",
            &[lab, "registry.example/team/x:1"],
            team_scope("") + refused,
            is("image-not-signed"),
        ),
        ("of one it is not known", both, team_scope("") + &unknown, refusal(2, "pinned-root-unreadable").map(drop)),
        (
            "the same, and it comes first",
            &lab_first,
            team_scope("") + &unknown,
            refusal(2, "pinned-root-unreadable").map(drop),
        ),
        ("it is not asked for", team, team_scope("") + &unknown, Ok(())),
        ("one scope allows too little", both, team_scope("") + &lab_scope("run.pids = 9"), is("profile-loosens")),
        (
            "the same, and it comes first",
            &lab_first,
            team_scope("") + &lab_scope("run.pids = 9"),
            is("profile-loosens"),
        ),
        ("that name is not one of the image", team, team_scope("") + &lab_scope("run.pids = 9"), Ok(())),
        ("one scope gives less", both, team_scope("") + &lab_scope("run.cpus = 1"), is("profile-ambiguous")),
        ("both give less", both, team_scope("run.cpus = 1") + &lab_scope("run.cpus = 1"), Ok(())),
    ] {
        desk.policy(&scopes);
        desk.engine(&json!({"Id": ID, "RepoTags": tags, "RepoDigests": []}));
        assert_eq!(desk.governed(ID, &[]).map(drop), expected, "{name}");
    }
    desk.policy(&(team_scope("") + refused));
    desk.engine(&json!({"Id": ID, "RepoTags": both, "RepoDigests": []}));
    let json = desk.by_policy(ID, &[]).1;
    assert_eq!(json["image"], IMAGE);
    let why = json["passed_over"][0].as_str().unwrap();
    assert!(why.starts_with("registry.example/lab/app:1: refused by scope") && why.ends_with("moved"), "{why}");
    // A finding says of which name it is.
    desk.policy(&(team_scope("") + &lab_scope("run.pids = 9")));
    let json = desk.by_policy(ID, &[]).1;
    let why = json["findings"][0]["message"].as_str().unwrap();
    assert!(why.starts_with("registry.example/lab/app:1: run.json: pids: "), "{why}");
}

#[test]
fn by_a_map_profiles_are_what_the_repositories_agree_on() {
    let desk = Desk::with_repository("map");
    desk.pushed(IMAGE, &["seccomp.json", "run.json"]);
    let second = ["--repository", "second", "--keys", "other-keys", "--time", NOW];
    let at_second = |arguments: &[&str]| desk.ok(&[arguments, &second].concat());
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos/good/app.tar").display().to_string();
    at_second(&["repository", "init"]);
    at_second(&["repository", "add", &sample, "--image", IMAGE]);
    for (name, site) in [("vendor", "site"), ("security", "second")] {
        fs::create_dir_all(desk.0.join("map").join(name)).unwrap();
        fs::copy(desk.0.join(site).join("metadata/1.root.json"), desk.0.join("map").join(name).join("root.json"))
            .unwrap();
    }
    let map = |threshold: u32| {
        let names = ["vendor", "security"];
        let rule = json!({"paths": ["registry.example/*/*/*/*"], "repositories": names, "terminating": true, "threshold": threshold});
        json!({"repositories": {"vendor": ["../site"], "security": ["../second"]}, "mapping": [rule]}).to_string()
    };
    let fetched = |more: &[&str]| {
        let fixed = ["profile", "fetch", IMAGE, "--output", "out", "--time", NOW, "--format", "json"];
        let output = desk.plimsoll(&[&fixed[..], &["--map", "map/map.json", "--store", "stores"], more].concat());
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let was_written = fs::remove_dir_all(desk.0.join("out")).is_ok();
        assert_eq!(was_written, output.status.code() == Some(0), "{json:#}");
        (output.status.code(), json["findings"][0]["code"].as_str().unwrap_or("none").to_owned())
    };
    let is = |exit, code: &str| (Some(exit), code.to_owned());
    // One of two signs profiles: that is neither a profile nor that there is none.
    desk.write("map/map.json", &map(2));
    assert_eq!(fetched(&[]), is(1, "map-threshold"));
    at_second(&["profile", "push", IMAGE, "seccomp.json"]);
    assert_eq!(fetched(&[]), is(1, "map-contradiction"));
    at_second(&["profile", "push", IMAGE, "seccomp.json", "run.json"]);
    assert_eq!(fetched(&[]), is(0, "none"));
    // What this machine allows is said on the command line, as for one repository.
    assert_eq!(fetched(&["--max-pids", "50"]), is(0, "none"));
    assert_eq!(fetched(&["--max-pids", "49"]), is(1, "profile-loosens"));
    // By a policy it is the scope's.
    desk.let_owner_write_alone(&["map/map.json", "map/vendor/root.json", "map/security/root.json"]);
    desk.policy("[scope.\"registry.example/team\"]\nmap = \"map/map.json\"\nrun.pids = 50\n");
    assert!(desk.governed(IMAGE, &[]).is_ok());
    desk.policy("[scope.\"registry.example/team\"]\nmap = \"map/map.json\"\nrun.pids = 49\n");
    assert_eq!(desk.governed(IMAGE, &[]), refusal(1, "profile-loosens"));
    // One of them is away: whoever could keep the other from being asked would choose.
    fs::rename(desk.0.join("second/targets"), desk.0.join("targets")).unwrap();
    assert_eq!(fetched(&[]), is(0, "none"), "the files are the same everywhere");
    fs::rename(desk.0.join("second"), desk.0.join("away")).unwrap();
    assert_eq!(fetched(&[]), is(2, "map-unreached"));
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
