//! The sample as each program writes it that can be had here: `docs/archives.md` says what must come of it, and this shows that it is true.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::plimsoll::Verify;
use crate::repository::Repository;
use crate::tools::{Need, Scratch, containerd, daemon_alone, docker, have, output, source_tree};

const NAME: &str = "registry.example/team/app:1.4";

fn sample(path: &str) -> PathBuf {
    source_tree().join("test-repos").join(path)
}

/// What the page says of each way to write an archive: `trusted`, or the code of the refusal.
fn documented() -> BTreeMap<String, String> {
    let page = fs::read_to_string(source_tree().join("docs/archives.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let split = |row: &str| -> Vec<String> { row.trim_matches('|').split(" | ").map(cell).collect() };
    rows.map(split).filter(|cells| cells.len() == 4).map(|cells| (cells[0].clone(), cells[3].clone())).collect()
}

/// Verifies what a command line of the page wrote.
#[track_caller]
fn as_documented(scratch: &Scratch, command: &str, archive: &Path) {
    let expected = documented().remove(command).unwrap_or_else(|| panic!("the page has no row for {command}"));
    let repository = Repository { dir: sample("good") };
    let verify = Verify::new(archive, &repository, scratch.join("store")).root(sample("root.json")).image(NAME);
    let verdict = verify.run();
    if expected == "trusted" {
        verdict.assert_trusted();
    } else {
        verdict.assert_refused_for(&expected);
    }
}

fn skopeo(more: &[&str], from: &str, to: &str) {
    output(Command::new("skopeo").args(["--insecure-policy", "copy", "--quiet"]).args(more).args([from, to]));
}

#[test]
fn what_docker_writes() {
    if !have(&[Need::Docker]) {
        return;
    }
    let _alone = daemon_alone();
    let scratch = Scratch::new();
    let archive = scratch.join("app.tar");
    docker(["load", "--quiet", "--input", sample("good/app.tar").to_str().unwrap()]);
    docker(["save", "--output", archive.to_str().unwrap(), NAME]);
    docker(["rmi", "--force", NAME]);
    as_documented(&scratch, "docker save", &archive);
}

#[test]
fn what_podman_writes() {
    if !have(&[Need::Podman]) {
        return;
    }
    let scratch = Scratch::new();
    // podman takes no long path here.
    let run = std::env::temp_dir().join(scratch.name());
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(scratch.join("podman")).arg("--runroot").arg(&run);
        output(command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]).args(arguments));
    };
    podman(&["load", "--quiet", "--input", sample("good/app.tar").to_str().unwrap()]);
    for form in ["docker-archive", "oci-archive", "oci-dir", "docker-dir"] {
        let archive = scratch.join(form);
        podman(&["save", "--quiet", "--format", form, "--output", archive.to_str().unwrap(), NAME]);
        as_documented(&scratch, &format!("podman save --format {form}"), &archive);
    }
    let _ = fs::remove_dir_all(&run);
}

#[test]
fn what_skopeo_writes() {
    if !have(&[Need::Skopeo]) {
        return;
    }
    let scratch = Scratch::new();
    let from = format!("docker-archive:{}", sample("good/app.tar").display());
    for (more, form, name) in [
        (&[][..], "docker-archive", NAME),
        (&[], "oci-archive", NAME),
        (&["--format", "v2s2"], "oci-archive", NAME),
        (&[], "oci", "1.4"),
        (&["--format", "v2s2"], "oci", "1.4"),
        (&[], "dir", ""),
    ] {
        let archive = scratch.join(&format!("{form}{}", more.len()));
        let to = format!("{form}:{}{}{name}", archive.display(), if name.is_empty() { "" } else { ":" });
        skopeo(more, &from, &to);
        let last = format!("docker-archive:... {form}:...");
        let words = [&["skopeo copy"][..], more, &[&last]].concat();
        as_documented(&scratch, &words.join(" "), &archive);
    }
}

#[test]
fn what_buildah_writes() {
    if !have(&[Need::Buildah]) {
        return;
    }
    let scratch = Scratch::new();
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(scratch.join("root")).arg("--runroot").arg(scratch.join("run"));
        String::from_utf8(output(command.args(["--storage-driver", "vfs"]).args(arguments))).unwrap()
    };
    let pulled = buildah(&["pull", "--quiet", &format!("docker-archive:{}", sample("good/app.tar").display())]);
    for (more, form) in
        [(&[][..], "docker-archive"), (&[], "oci-archive"), (&["--format", "v2s2"], "oci-archive"), (&[], "oci")]
    {
        let archive = scratch.join(&format!("{form}{}", more.len()));
        let to = format!("{form}:{}:{NAME}", archive.display());
        buildah(&[&["push", "--quiet"][..], more, &[pulled.trim(), &to]].concat());
        let last = format!("{form}:...");
        let words = [&["buildah push"][..], more, &[&last]].concat();
        as_documented(&scratch, &words.join(" "), &archive);
    }
}

#[test]
fn what_containerd_exports() {
    if !have(&[Need::Containerd]) {
        return;
    }
    let scratch = Scratch::new();
    let ctr = |arguments: &[&str]| {
        let mut command = Command::new("ctr");
        command.env("CONTAINERD_ADDRESS", containerd().unwrap()).env("CONTAINERD_NAMESPACE", "writers");
        output(command.args(arguments));
    };
    let archive = scratch.join("app.tar");
    ctr(&["images", "import", sample("good/app.tar").to_str().unwrap()]);
    ctr(&["images", "export", archive.to_str().unwrap(), NAME]);
    ctr(&["images", "rm", NAME]);
    as_documented(&scratch, "ctr images export", &archive);
}

/// Config and layers are what survives; what is around them may be written anew as often as one likes.
#[test]
fn an_image_that_went_through_many_tools_is_still_the_signed_one() {
    if !have(&[Need::Skopeo, Need::Umoci, Need::Podman]) {
        return;
    }
    let scratch = Scratch::new();
    let place = |name: &str| scratch.join(name).display().to_string();
    let verify = |archive: &str| {
        let repository = Repository { dir: sample("good") };
        let verify = Verify::new(Path::new(archive), &repository, scratch.join("store")).root(sample("root.json"));
        verify.image(NAME).run()
    };
    // From Docker's form to a layout, retagged twice by umoci, and back by skopeo.
    let layout = place("layout");
    let from = format!("docker-archive:{}", sample("good/app.tar").display());
    skopeo(&["--format", "v2s2"], &from, &format!("oci:{layout}:1.4"));
    verify(&layout).assert_trusted();
    output(Command::new("umoci").args(["tag", "--image", &format!("{layout}:1.4"), "latest"]));
    verify(&layout).assert_refused_for("name-not-allowed");
    output(Command::new("umoci").args(["rm", "--image", &format!("{layout}:latest")]));
    verify(&layout).assert_trusted();
    let (packed, back) = (place("packed.tar"), place("back.tar"));
    output(Command::new("tar").args(["-cf", &packed, "-C", &layout, "."]));
    verify(&packed).assert_trusted();
    skopeo(&[], &format!("oci-archive:{packed}"), &format!("docker-archive:{back}:{NAME}"));
    assert_eq!(
        verify(&back).assert_trusted().config(),
        verify(sample("good/app.tar").to_str().unwrap()).assert_trusted().config()
    );
    // Where a tool rewrites the config, it is another image, and the refusal says who did it.
    let rewritten = place("rewritten.tar");
    skopeo(&[], &format!("docker-archive:{back}"), &format!("oci-archive:{rewritten}:{NAME}"));
    verify(&rewritten).assert_refused_for("config-digest-mismatch").assert_names("use docker-archive");
}
