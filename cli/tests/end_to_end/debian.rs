//! A real image: a Debian root file system, built and saved by Docker, and in the other forms that people carry around.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::tools::{daemon_alone, docker, output, text};

/// The image's name as people write it, as its archive says it, and as it is signed.
pub(crate) const NAME: &str = "debian-app:12";
pub(crate) const FULL_NAME: &str = "docker.io/library/debian-app:12";
pub(crate) const TARGET: &str = "docker.io/library/debian-app/12/manifest.json";

/// The image, saved. The daemon's own store is empty again.
pub(crate) struct Debian {
    dir: PathBuf,
    /// `docker save`, and the manifest that skopeo makes of it.
    pub(crate) archive: PathBuf,
    pub(crate) manifest: PathBuf,
    /// The build before, under the same name.
    pub(crate) older_archive: PathBuf,
    pub(crate) older_manifest: PathBuf,
}

impl Debian {
    /// Builds the image once for all tests.
    pub(crate) fn get() -> &'static Self {
        static BUILT: OnceLock<Debian> = OnceLock::new();
        BUILT.get_or_init(Self::build)
    }

    fn build() -> Self {
        // No destructor runs for what all tests share, so what is left from an earlier run goes first.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("debian");
        let _ = fs::remove_dir_all(&dir);
        let context = dir.join("context");
        fs::create_dir_all(context.join("app")).unwrap();

        root_file_system(&dir, &context.join("root.tar"));
        // A layer that adds a system, one that removes files and changes the package database, one that adds files.
        let _daemon = daemon_alone();
        let dockerfile =
            "FROM scratch\nADD root.tar /\nRUN dpkg --purge tzdata\nCOPY app /srv/app\nCMD [\"/bin/bash\"]\n";
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        let (older_archive, older_manifest) = save(&dir, &context, "older");
        let (archive, manifest) = save(&dir, &context, "newer");
        fs::remove_dir_all(&context).unwrap();

        let images = docker(["images", "--all", "--quiet"]);
        docker(["rmi", "--force"].into_iter().chain(images.split_whitespace()));
        assert_eq!(docker(["images", "--all", "--quiet"]), "", "the daemon still has images");
        Self { dir, archive, manifest, older_archive, older_manifest }
    }

    /// The archive that `podman save` writes of the same image.
    pub(crate) fn podman_save(&self) -> PathBuf {
        let archive = self.dir.join("podman.tar");
        let state = self.dir.join("podman");
        let podman = |arguments: &[&str]| {
            let mut command = Command::new("podman");
            command.arg("--root").arg(state.join("root")).arg("--runroot").arg(state.join("run"));
            output(command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]).args(arguments));
        };
        podman(&["load", "--quiet", "--input", self.archive.to_str().unwrap()]);
        // podman takes a short name for one of its own, unlike Docker, which wrote it.
        podman(&["tag", &format!("localhost/{NAME}"), FULL_NAME]);
        podman(&["save", "--quiet", "--format", "docker-archive", "--output", archive.to_str().unwrap(), FULL_NAME]);
        fs::remove_dir_all(&state).unwrap();
        archive
    }

    /// The image as an OCI archive, which skopeo compresses and whose config it rewrites; and the manifest in it.
    pub(crate) fn oci_archive(&self) -> (PathBuf, PathBuf) {
        let layout = self.dir.join("oci");
        let manifest = self.dir.join("oci.manifest.json");
        let archive = self.dir.join("oci.tar");
        skopeo_copy(
            &format!("docker-archive:{}", self.archive.display()),
            &format!("oci:{}:{FULL_NAME}", layout.display()),
        );
        let index: serde_json::Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        let digest = index["manifests"][0]["digest"].as_str().unwrap();
        fs::copy(layout.join("blobs").join(digest.replace(':', "/")), &manifest).unwrap();
        output(Command::new("tar").arg("-C").arg(&layout).arg("-cf").arg(&archive).args([
            "oci-layout",
            "index.json",
            "blobs",
        ]));
        fs::remove_dir_all(&layout).unwrap();
        (archive, manifest)
    }
}

/// Builds a version of the image and saves it: the archive and its manifest.
fn save(dir: &Path, context: &Path, version: &str) -> (PathBuf, PathBuf) {
    fs::write(context.join("app/version"), format!("{version}\n")).unwrap();
    docker(["build", "--quiet", "--network", "none", "--tag", NAME, context.to_str().unwrap()]);
    let archive = dir.join(format!("{version}.tar"));
    docker(["save", "--output", archive.to_str().unwrap(), NAME]);

    // The archive has no manifest. skopeo makes one over the same config and the same layers.
    let manifest = dir.join(format!("{version}.manifest.json"));
    let copy = dir.join("dir");
    skopeo_copy(&format!("docker-archive:{}", archive.display()), &format!("dir:{}", copy.display()));
    fs::rename(copy.join("manifest.json"), &manifest).unwrap();
    fs::remove_dir_all(copy).unwrap();
    (archive, manifest)
}

fn skopeo_copy(from: &str, to: &str) {
    text("skopeo", ["--insecure-policy", "copy", "--quiet", from, to]);
}

/// Makes a tar archive of a minimal Debian, of the release and from the mirror that this machine itself uses.
fn root_file_system(dir: &Path, archive: &Path) {
    let sources = text("apt-get", ["indextargets", "--format", "$(CODENAME) $(SITE)", "Created-By: Packages"]);
    let codename = text("sh", ["-c", ". /etc/os-release && echo $VERSION_CODENAME"]);
    let mirror = sources.lines().find_map(|line| line.strip_prefix(codename.trim())?.strip_prefix(' '));
    let mirror = mirror.unwrap_or_else(|| panic!("no package source for {codename}"));

    let root = dir.join("root");
    let mut debootstrap = Command::new("/usr/sbin/debootstrap");
    output(debootstrap.arg("--variant=minbase").arg(codename.trim()).arg(&root).arg(mirror));
    let mut tar = Command::new("tar");
    output(tar.arg("-C").arg(&root).args(["--numeric-owner", "--one-file-system", "-cf"]).arg(archive).arg("."));
    fs::remove_dir_all(&root).unwrap();
}
