//! Archives compressed by the tools that people use, and OCI layouts in folders by the programs that write them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::plimsoll::Verify;
use crate::repository::Repository;
use crate::tools::{Need, Scratch, have, output, source_tree};

const NAME: &str = "registry.example/team/app:1.4";

fn sample(path: &str) -> PathBuf {
    source_tree().join("test-repos").join(path)
}

#[test]
fn the_sample_is_trusted_however_it_is_compressed() {
    if !have(&[Need::Compressors]) {
        return;
    }
    let scratch = Scratch::new();
    let repository = Repository { dir: sample("good") };
    let verify = |archive: &Path| {
        let archive = archive.to_owned();
        let store = scratch.join("store");
        move |stdin: Stdio, repository: &Repository| {
            Verify::new(&archive, repository, store).root(sample("root.json")).image(NAME).stdin(stdin).run()
        }
    };
    for (command, kind) in [
        (&["gzip", "-9"][..], "gzip"),
        (&["zstd", "-19"], "zstd"),
        // Without a checksum, and with as large a window as is accepted.
        (&["zstd", "--no-check", "--long=27"], "zstd"),
        (&["xz", "-9"], "xz"),
        (&["xz", "--check=sha256", "--block-size=4096"], "xz"),
        (&["xz", "--check=none", "--x86", "--lzma2"], "xz"),
        (&["bzip2", "-1"], "bzip2"),
    ] {
        let [program, options @ ..] = command else { panic!("a program") };
        let mut compress = Command::new(program);
        let compressed = output(compress.args(options).arg("-c").arg(sample("good/app.tar")));
        let path = scratch.join("app.compressed");
        fs::write(&path, &compressed).unwrap();
        let verdict = verify(&path)(Stdio::null(), &repository).assert_trusted();
        assert_eq!(verdict.archive()["compression"], kind);
        assert_eq!(verdict.archive()["size"], compressed.len());
        assert_eq!(verdict.archive()["form"], "docker-archive");

        // The same as a file that is the standard input, and from a pipe.
        let dash = Path::new("-");
        verify(dash)(fs::File::open(&path).unwrap().into(), &repository).assert_trusted();
        let mut cat = Command::new("cat").arg(&path).stdout(Stdio::piped()).spawn().unwrap();
        verify(dash)(cat.stdout.take().unwrap().into(), &repository).assert_trusted();
        assert!(cat.wait().unwrap().success());

        fs::write(&path, &compressed[..compressed.len() / 2]).unwrap();
        verify(&path)(Stdio::null(), &repository).assert_refused_for("archive-corrupt");
    }
    let verdict = verify(&sample("good/app.tar"))(Stdio::null(), &repository).assert_trusted();
    assert_eq!(verdict.archive()["compression"], Value::Null);
}

/// The file of the manifest that a layout's `index.json` names.
fn manifest(layout: &Path) -> PathBuf {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    layout.join("blobs").join(digest.replace(':', "/"))
}

/// Signs what is in the layout, which must then be trusted, and refused with one bit of its largest file flipped.
fn sign_and_verify(layout: &Path, scratch: &Scratch) {
    let manifest = manifest(layout);
    let image: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    assert!(!image["layers"].as_array().unwrap().is_empty(), "{image:#}");
    let dir = scratch.join("repository");
    let _ = fs::remove_dir_all(&dir);
    let repository = Repository::create(dir, &[(NAME, &manifest)], &[]);
    let store = scratch.join("store");
    let verify = || {
        let _ = fs::remove_dir_all(&store);
        Verify::new(layout, &repository, store.clone()).image(NAME).run()
    };
    let verdict = verify().assert_trusted();
    assert_eq!(verdict.archive()["form"], "OCI image layout");

    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap().map(|entry| entry.unwrap().path());
    let largest = blobs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let good = fs::read(&largest).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    fs::write(&largest, bad).unwrap();
    verify().assert_refused();
    fs::write(&largest, good).unwrap();
    verify().assert_trusted();
}

fn skopeo_layout(scratch: &Scratch) -> PathBuf {
    let layout = scratch.join("skopeo");
    let from = format!("docker-archive:{}", sample("good/app.tar").display());
    let to = format!("oci:{}:1.4", layout.display());
    output(Command::new("skopeo").args(["--insecure-policy", "copy", "--quiet", &from, &to]));
    layout
}

#[test]
fn a_layout_that_skopeo_wrote() {
    if !have(&[Need::PythonTuf, Need::Skopeo]) {
        return;
    }
    let scratch = Scratch::new();
    sign_and_verify(&skopeo_layout(&scratch), &scratch);
}

#[test]
fn a_dir_that_skopeo_wrote_is_refused_with_a_way_out_that_works() {
    if !have(&[Need::PythonTuf, Need::Skopeo]) {
        return;
    }
    let scratch = Scratch::new();
    let skopeo = |from: &str, to: &str| {
        output(Command::new("skopeo").args(["--insecure-policy", "copy", "--quiet", from, to]));
    };
    let (dir, archive) = (scratch.join("dir"), scratch.join("image.tar"));
    let layout = skopeo_layout(&scratch);
    let signed = manifest(&layout);
    let repository = Repository::create(scratch.join("repository"), &[(NAME, &signed)], &[]);
    skopeo(&format!("oci:{}:1.4", layout.display()), &format!("dir:{}", dir.display()));
    let verify = |archive: &Path| Verify::new(archive, &repository, scratch.join("store")).image(NAME).run();
    verify(&dir).assert_refused_for("archive-no-image").assert_names("skopeo copy dir:FOLDER oci-archive:FILE");

    skopeo(&format!("dir:{}", dir.display()), &format!("oci-archive:{}", archive.display()));
    verify(&archive).assert_trusted();
}

#[test]
fn a_layout_that_umoci_wrote() {
    if !have(&[Need::PythonTuf, Need::Umoci]) {
        return;
    }
    let scratch = Scratch::new();
    let layout = scratch.join("umoci");
    let image = format!("{}:1.4", layout.display());
    let layer = scratch.join("layer.tar");
    output(Command::new("tar").arg("-cf").arg(&layer).arg("-C").arg(sample("good")).arg("app.tar"));
    let umoci = |arguments: &[&str]| output(Command::new("umoci").args(arguments));
    umoci(&["init", "--layout", layout.to_str().unwrap()]);
    umoci(&["new", "--image", &image]);
    umoci(&["raw", "add-layer", "--image", &image, layer.to_str().unwrap()]);
    sign_and_verify(&layout, &scratch);
}

#[test]
fn a_layout_that_buildah_wrote() {
    if !have(&[Need::PythonTuf, Need::Skopeo, Need::Buildah]) {
        return;
    }
    let scratch = Scratch::new();
    let (layout, state) = (scratch.join("buildah"), scratch.join("state"));
    let buildah = |arguments: &[&str]| {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(state.join("root")).arg("--runroot").arg(state.join("run"));
        String::from_utf8(output(command.args(["--storage-driver", "vfs"]).args(arguments))).unwrap()
    };
    let pulled = buildah(&["pull", "--quiet", &format!("oci:{}:1.4", skopeo_layout(&scratch).display())]);
    buildah(&["push", "--quiet", pulled.trim(), &format!("oci:{}:1.4", layout.display())]);
    sign_and_verify(&layout, &scratch);
}

#[test]
fn a_layout_that_podman_saved_and_loads() {
    if !have(&[Need::PythonTuf, Need::Podman]) {
        return;
    }
    let scratch = Scratch::new();
    let layout = scratch.join("podman");
    // podman takes no long path here.
    let state = std::env::temp_dir().join(format!("podman-{}", std::process::id()));
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(state.join("root")).arg("--runroot").arg(state.join("run"));
        command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
        String::from_utf8(output(command.args(arguments))).unwrap()
    };
    podman(&["load", "--quiet", "--input", sample("good/app.tar").to_str().unwrap()]);
    podman(&["save", "--quiet", "--format", "oci-dir", "--output", layout.to_str().unwrap(), NAME]);
    sign_and_verify(&layout, &scratch);

    // What is verified is what podman loads from the folder: its id is the digest of the config.
    podman(&["rmi", "--all", "--force"]);
    podman(&["load", "--quiet", "--input", layout.to_str().unwrap()]);
    let id = podman(&["images", "--all", "--no-trunc", "--quiet"]);
    let repository = Repository { dir: scratch.join("repository") };
    let verdict = Verify::new(&layout, &repository, scratch.join("store")).image(NAME).run().assert_trusted();
    assert_eq!(id.trim(), verdict.config());
    fs::remove_dir_all(&state).unwrap();
}
