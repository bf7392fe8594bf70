//! Images that a real Docker daemon built on each other, verified by a policy that demands a base and a user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::publish::publisher;
use crate::tools::{Need, Scratch, daemon_alone, docker, have, output};

const BASE: &str = "registry.example/base/small:1";
const APP: &str = "registry.example/team/app:1";

/// An image of one file system, as `docker import` makes it.
fn import(scratch: &Scratch, name: &str, files: &[(&str, &str)]) {
    let root = scratch.join(&name.replace(['/', ':'], "-"));
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let tar = root.with_extension("tar");
    output(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."));
    docker(["import", &tar.display().to_string(), name]);
}

/// An image on top of another, as a Dockerfile would build it.
fn build(scratch: &Scratch, name: &str, from: &str, user: &str) {
    let folder = scratch.join("context");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("app"), format!("{name} on {from} as {user}")).unwrap();
    let user = if user.is_empty() { String::new() } else { format!("USER {user}\n") };
    fs::write(folder.join("Dockerfile"), format!("FROM {from}\nCOPY app /bin/app\n{user}CMD [\"/bin/app\"]\n"))
        .unwrap();
    docker(["build", "--quiet", "--tag", name, &folder.display().to_string()]);
}

/// Saves the image that has the name now, signs it, and returns its archive.
fn sign(scratch: &Scratch, name: &str) -> PathBuf {
    let archive = scratch.join("image.tar");
    docker(["save", "--output", &archive.display().to_string(), name]);
    let keys = scratch.join("keys").display().to_string();
    publisher(&scratch.join("site"), "add", &[&archive.display().to_string(), "--image", name, "--keys", &keys]);
    archive
}

/// The exit code, and the codes of what was found.
fn verify(policy: &Path, archive: &Path) -> (Option<i32>, Vec<String>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.arg("verify").arg(archive).arg("--policy").arg(policy).args(["--format", "json"]);
    let output = command.env("XDG_STATE_HOME", policy.parent().unwrap().join("state")).output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let code = |finding: &Value| finding["code"].as_str().unwrap().to_owned();
    (output.status.code(), json["findings"].as_array().unwrap().iter().map(code).collect())
}

#[test]
fn an_image_that_docker_built_on_the_base_is_told_from_one_that_it_did_not() {
    if !have(&[Need::Docker]) {
        return;
    }
    let _alone = daemon_alone();
    let scratch = Scratch::new();
    let (site, keys) = (scratch.join("site"), scratch.join("keys").display().to_string());
    publisher(&site, "init", &["--keys", &keys]);
    fs::copy(site.join("metadata/1.root.json"), scratch.join("root.json")).unwrap();
    let policy = scratch.join("policy.toml");
    let trust = format!("repository = \"{}\"\nroot = \"root.json\"\n", site.display());
    let text = format!(
        "version = 1\n[scope.\"registry.example/base\"]\n{trust}\n[scope.\"registry.example/team\"]\n{trust}base = \"{BASE}\"\nnon-root = true\n"
    );
    fs::write(&policy, text).unwrap();
    for file in [&policy, &scratch.join("root.json")] {
        fs::set_permissions(file, PermissionsExt::from_mode(0o644)).unwrap();
    }

    const USERS: &str = "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n";
    import(&scratch, BASE, &[("etc/passwd", USERS), ("etc/motd", "the base")]);
    import(&scratch, "registry.example/other:1", &[("etc/passwd", USERS), ("etc/motd", "another base")]);
    assert_eq!(verify(&policy, &sign(&scratch, BASE)), (Some(0), Vec::new()), "the base");

    let found = |codes: &[&str]| (Some(1), codes.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>());
    for (from, user, expected) in [
        (BASE, "app", (Some(0), Vec::new())),
        (BASE, "1000:1000", (Some(0), Vec::new())),
        (BASE, "", found(&["image-runs-as-root"])),
        (BASE, "root", found(&["image-runs-as-root"])),
        (BASE, "4294967296", found(&["image-user-unknown"])),
        ("registry.example/other:1", "app", found(&["base-mismatch"])),
        ("registry.example/other:1", "", found(&["base-mismatch", "image-runs-as-root"])),
    ] {
        build(&scratch, APP, from, user);
        assert_eq!(verify(&policy, &sign(&scratch, APP)), expected, "on {from} as {user:?}");
    }
    // A newer base: what was built on the older one is not built on it.
    build(&scratch, APP, BASE, "app");
    let archive = sign(&scratch, APP);
    import(&scratch, BASE, &[("etc/passwd", USERS), ("etc/motd", "the base, mended")]);
    sign(&scratch, BASE);
    docker(["save", "--output", &archive.display().to_string(), APP]);
    assert_eq!(verify(&policy, &archive), found(&["base-mismatch"]), "on the older base");
    docker(["image", "rm", "--force", APP, BASE, "registry.example/other:1"]);
}
