//! `plimsoll policy check` and `plimsoll doctor` as a black box. containerd is played by scripts that call the verifiers as its plugin does: all in its
//! folder, by name, with its three arguments and a descriptor.

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

/// An empty folder for one test.
fn folder(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("policy").join(test);
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    fs::create_dir_all(&path).unwrap();
    fs::copy(samples("root.json"), path.join("root.json")).unwrap();
    fs::set_permissions(path.join("root.json"), PermissionsExt::from_mode(0o644)).unwrap();
    path
}

fn write_policy(folder: &Path) -> PathBuf {
    let file = folder.join("policy.toml");
    let text = format!(
        "version = 1\n\n[scope.\"registry.example/team\"]\nrepository = \"{}\"\nroot = \"root.json\"\nnon-root = true\n\n\
         [scope.\"registry.example\"]\nrepository = \"nowhere\"\nroot = \"root.json\"\n\n\
         [scope.\"registry.example/team/old\"]\nrefuse = \"moved\"\n",
        samples("good")
    );
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    file
}

fn run(home: &Path, path: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().env("HOME", home).env("PATH", path).stdin(Stdio::null());
    command.args(arguments).output().unwrap()
}

fn check(home: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(home, "/usr/bin:/bin", &[&["policy", "check"], arguments].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), text.replace(&samples(""), "test-repos/").replace(&home.display().to_string(), "HOME"))
}

#[test]
fn a_check_says_which_scope_governs_and_what_else_is_about_the_image() {
    let home = folder("check");
    let file = write_policy(&home).display().to_string();
    let (code, text) = check(&home, &["registry.example/team/app:1.4", "--policy", &file]);
    let root = fs::read(home.join("root.json")).unwrap();
    let sha256 = plimsoll::digest::Sha256::of(&root).to_hex();
    let expected = format!(
        "governed: registry.example/team/app:1.4 by \"HOME/policy.toml\"\n  \
         scope registry.example/team (line 3)\n    \
         repository: \"test-repos/good\"\n    \
         root: \"HOME/root.json\", sha256:{sha256}\n    \
         signed at: \"registry.example/team/app/1.4/manifest.json\"\n    \
         demands of the contents: non-root\n    \
         on a node: within 8 s; while the repository is away: refused; contents: refuse\n  \
         also about it, and less specific: registry.example (line 8)\n"
    );
    assert_eq!((code, text), (Some(0), expected));
    let (code, text) = check(&home, &["registry.example/team/old:1", "--policy", &file]);
    let expected = "refused: registry.example/team/old:1 by \"HOME/policy.toml\"\n  scope registry.example/team/old (line 12)\n    refused: moved\n  \
         also about it, and less specific: registry.example/team (line 3)\n  also about it, and less specific: registry.example (line 8)\n";
    assert_eq!((code, text.as_str()), (Some(1), expected));
    let (code, text) = check(&home, &["alpine", "--policy", &file]);
    let expected = "refused: docker.io/library/alpine:latest by \"HOME/policy.toml\"\n  no scope is about it\n";
    assert_eq!((code, text.as_str()), (Some(1), expected));
    let (code, text) = check(&home, &["registry.example/x:1", "--policy", &file]);
    assert!(code == Some(0) && text.contains("which cannot be used: no repository at \"HOME/nowhere\""), "{text}");
    let (code, text) = check(&home, &["--policy", &file]);
    assert!(code == Some(0) && text.starts_with("valid: \"HOME/policy.toml\", 3 scopes\n"), "{text}");

    let (code, text) = check(&home, &["registry.example/team/app:1.4", "--policy", &file, "--format", "json"]);
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &report["result"], &report["scopes"][0]["line"]), (Some(0), &"governed".into(), &3.into()));
    assert_eq!(report["passed_over"][0]["scope"], "registry.example");
}

#[test]
fn the_policy_is_the_named_one_or_the_users() {
    let home = folder("places");
    let config = home.join(".config/plimsoll");
    assert_eq!(
        check(&home, &["alpine"]),
        (Some(2), "unusable: there is no policy; name one with --policy FILE [policy-unreadable]\n".into())
    );
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("policy.toml"), "version = 1\n[scope.\"*\"]\nrefuse = \"for now\"\n").unwrap();
    fs::set_permissions(config.join("policy.toml"), PermissionsExt::from_mode(0o644)).unwrap();
    let (code, text) = check(&home, &["alpine"]);
    assert!(code == Some(1) && text.contains("refused: for now"), "{text}");
    let other = home.join("other.toml").display().to_string();
    fs::write(&other, "version = 1\nscopes = 1").unwrap();
    fs::set_permissions(&other, PermissionsExt::from_mode(0o644)).unwrap();
    let expected = "unusable: HOME/other.toml:2:1: scopes: unknown key; expected \"scope\" [policy-malformed]\n";
    assert_eq!(check(&home, &["alpine", "--policy", &other]), (Some(2), expected.into()));
}

/// Programs in place of containerd's, and what a node has.
struct Node {
    home: PathBuf,
    policy: String,
}

impl Node {
    fn new(test: &str) -> Self {
        let home = folder(test);
        fs::create_dir_all(home.join("verifiers")).unwrap();
        fs::create_dir_all(home.join("bin")).unwrap();
        let file = home.join("policy.toml");
        let scope = format!(
            "version = 1\n[scope.\"registry.example\"]\nrepository = \"{}\"\nroot = \"root.json\"\n",
            samples("good")
        );
        fs::write(&file, scope).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        let node = Self { policy: file.display().to_string(), home };
        node.containerd("v2.1.4", "10s");
        // As the plugin does it: all in the folder, by name; the first that refuses ends the pull.
        node.program(
            "bin/ctr",
            &format!(
                "for last; do :; done\nif [ \"$4\" = rm ]; then exit 0; fi\n\
                 digest=sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\
                 for v in {}/*; do [ -e \"$v\" ] || continue\n\
                 reason=$(echo '{{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"'$digest'\",\"size\":7}}' | \"$v\" -name \"$last\" -digest $digest -stdin-media-type application/vnd.oci.descriptor.v1+json)\n\
                 code=$?\n[ $code = 0 ] || {{ echo \"ctr: image verifier blocked pull of $last: verifier $v rejected image (exit code $code): $reason\" >&2; exit 1; }}\ndone",
                node.home.join("verifiers").display()
            ),
        );
        node
    }

    fn containerd(&self, version: &str, timeout: &str) {
        let dump = format!(
            "[plugins.\"io.containerd.image-verifier.v1.bindir\"]\nbin_dir = \"{}\"\nmax_verifiers = 10\nper_verifier_timeout = \"{timeout}\"",
            self.home.join("verifiers").display()
        );
        self.program(
            "bin/containerd",
            &format!("if [ \"$1\" = config ]; then cat <<'X'\n{dump}\nX\nelse echo 'containerd github.com/containerd/containerd/v2 {version} 75cb2b7'; fi"),
        );
    }

    fn program(&self, path: &str, script: &str) {
        let path = self.home.join(path);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    /// What the real verifier says of doctor's name: the hash is made by the script, from the name that it was called with.
    fn verifier(&self, path: &str) {
        self.program(
            path,
            "proof=$(printf 'plimsoll-verifier was called for %s' \"$2\" | sha256sum | cut -d' ' -f1)\ncat >/dev/null\necho \"refused: proof $proof\"\nexit 1",
        );
    }

    fn doctor(&self) -> (Option<i32>, Value) {
        let path = format!("{}:/usr/bin:/bin", self.home.join("bin").display());
        let state = self.home.join("state").display().to_string();
        let arguments = ["doctor", "--policy", &self.policy, "--state", &state, "--format", "json"];
        let output = run(&self.home, &path, &arguments);
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    /// What doctor says of one thing.
    #[track_caller]
    fn says(&self, code: i32, is_proven: bool, check: &str, status: &str, message: &str) {
        let (found, report) = self.doctor();
        assert_eq!((found, &report["proven"]), (Some(code), &is_proven.into()), "{report:#}");
        let checks = report["checks"].as_array().unwrap();
        let fits = |c: &&Value| {
            c["check"] == check && c["status"] == status && c["message"].as_str().unwrap().contains(message)
        };
        assert!(checks.iter().any(|c| fits(&c)), "{check} {status} {message}: {report:#}");
    }
}

#[test]
fn doctor_proves_that_the_verifier_is_asked_or_says_why_not() {
    let node = Node::new("doctor");
    let verifiers = node.home.join("verifiers");
    node.says(1, false, "verifiers", "wrong", "is empty: containerd admits every image");
    node.says(1, false, "proof", "wrong", "without asking plimsoll-verifier: every image is admitted");
    node.verifier("verifiers/plimsoll-verifier");
    node.says(0, true, "proof", "ok", "and containerd did not pull it");
    node.says(0, true, "verifiers", "ok", "runs, in this order: plimsoll-verifier");
    node.says(0, true, "repository", "ok", "answers");

    // Another one before it that refuses everything: nothing is proven.
    node.program("verifiers/a", "echo no; exit 1");
    node.says(2, false, "proof", "unknown", "and not because of plimsoll-verifier");
    // A verifier that says something, and admits.
    node.program("verifiers/a", "echo plimsoll-verifier was called; exit 0");
    node.says(0, true, "verifiers", "ok", "runs, in this order: a, plimsoll-verifier");
    fs::remove_file(verifiers.join("plimsoll-verifier")).unwrap();
    node.says(1, false, "verifiers", "wrong", "plimsoll-verifier is not in the folder");
    node.says(1, false, "proof", "wrong", "every image is admitted");
    node.verifier("verifiers/plimsoll-verifier");
    fs::remove_file(verifiers.join("a")).unwrap();

    node.containerd("v2.1.4", "8s");
    node.says(1, true, "time", "wrong", "node.timeout is 8 s, and containerd stops the verifier after 8 s");
    node.containerd("v1.7.27", "10s");
    node.says(1, true, "containerd", "wrong", "image verifiers need containerd 2.0 or later");
    node.containerd("v2.1.4", "10s");
    fs::set_permissions(verifiers.join("plimsoll-verifier"), PermissionsExt::from_mode(0o777)).unwrap();
    node.says(1, true, "verifiers", "wrong", "others than its owner may write it");
    fs::set_permissions(verifiers.join("plimsoll-verifier"), PermissionsExt::from_mode(0o755)).unwrap();
    fs::set_permissions(&node.policy, PermissionsExt::from_mode(0o666)).unwrap();
    node.says(1, true, "policy", "wrong", "[policy-exposed]");
    fs::set_permissions(&node.policy, PermissionsExt::from_mode(0o644)).unwrap();
    fs::remove_dir_all(&verifiers).unwrap();
    node.says(1, false, "verifiers", "wrong", "there is no folder");
    for program in ["containerd", "ctr"] {
        fs::remove_file(node.home.join("bin").join(program)).unwrap();
    }
}
