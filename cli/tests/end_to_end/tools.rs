//! The programs that the tests need: what is there, and how they are run.

use std::env;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// What a test needs besides the command itself.
#[derive(Clone, Copy)]
pub(crate) enum Need {
    /// A Python that has python-tuf.
    PythonTuf,
    /// The Docker daemon at `PLIMSOLL_DOCKER_HOST`, which must be empty and ours alone.
    Docker,
    Skopeo,
    Podman,
    Umoci,
    Buildah,
    /// gzip, zstd, xz and bzip2.
    Compressors,
    /// The containerd at `PLIMSOLL_CONTAINERD`, which must be ours alone.
    Containerd,
    /// debootstrap, the root rights that it wants, and a package mirror.
    Debootstrap,
    /// Root rights on Linux: to mount a small disk, and to be somebody who may not read.
    Root,
    /// strace, and a kernel that lets it kill.
    Strace,
    /// dpkg-query.
    Dpkg,
    /// rpm and rpmbuild with the root rights that installing wants, and SQLite in a Python.
    Rpm,
}

impl Need {
    fn missing(self) -> Option<&'static str> {
        static PYTHON_TUF: LazyLock<bool> = LazyLock::new(|| answers("python3", ["-c", "import tuf, cryptography"]));
        static DOCKER: LazyLock<bool> = LazyLock::new(|| docker_host().is_some() && answers("docker", ["version"]));
        static SKOPEO: LazyLock<bool> = LazyLock::new(|| answers("skopeo", ["--version"]));
        static UMOCI: LazyLock<bool> = LazyLock::new(|| answers("umoci", ["--version"]));
        static BUILDAH: LazyLock<bool> = LazyLock::new(|| answers("buildah", ["--version"]));
        static COMPRESSORS: LazyLock<bool> =
            LazyLock::new(|| ["gzip", "zstd", "xz", "bzip2"].iter().all(|program| answers(program, ["--help"])));
        static PODMAN: LazyLock<bool> = LazyLock::new(|| answers("podman", ["--version"]));
        static CONTAINERD: LazyLock<bool> =
            LazyLock::new(|| containerd().is_some_and(|socket| answers("ctr", ["--address", &socket, "version"])));
        static ROOT: LazyLock<bool> = LazyLock::new(|| {
            cfg!(target_os = "linux") && answers("unshare", ["--mount", "true"]) && text("id", ["-u"]).trim() == "0"
        });
        static STRACE: LazyLock<bool> = LazyLock::new(|| answers("strace", ["-qq", "true"]));
        static DEBOOTSTRAP: LazyLock<bool> = LazyLock::new(|| answers("/usr/sbin/debootstrap", ["--version"]) && *ROOT);
        static DPKG: LazyLock<bool> = LazyLock::new(|| answers("dpkg-query", ["--version"]));
        static RPM: LazyLock<bool> = LazyLock::new(|| {
            let programs = ["rpm", "rpmbuild"].iter().all(|program| answers(program, ["--version"]));
            programs && answers("python3", ["-c", "import sqlite3"]) && *ROOT
        });
        let (there, what) = match self {
            Self::PythonTuf => (*PYTHON_TUF, "no python3 with the packages in tests/interop/requirements.txt"),
            Self::Docker => (*DOCKER, "no Docker daemon of its own; run it under .ci/with-docker"),
            Self::Skopeo => (*SKOPEO, "no skopeo"),
            Self::Podman => (*PODMAN, "no podman"),
            Self::Umoci => (*UMOCI, "no umoci"),
            Self::Buildah => (*BUILDAH, "no buildah"),
            Self::Compressors => (*COMPRESSORS, "not all of gzip, zstd, xz and bzip2"),
            Self::Containerd => (*CONTAINERD, "no containerd of its own; run it under .ci/with-docker"),
            Self::Debootstrap => (*DEBOOTSTRAP, "no debootstrap, or no right to run it"),
            Self::Strace => (*STRACE, "no strace, or no right to use it"),
            Self::Dpkg => (*DPKG, "no dpkg-query"),
            Self::Rpm => (*RPM, "no rpm and rpmbuild with a right to install, or no python3 with sqlite3"),
            Self::Root => (*ROOT, "no right to mount a disk"),
        };
        (!there).then_some(what)
    }
}

/// True if all is there. If not, says so where the test runner does not hide it; with `PLIMSOLL_REQUIRE_TOOLS=1`, fails.
pub(crate) fn have(needs: &[Need]) -> bool {
    let Some(missing) = needs.iter().find_map(|need| need.missing()) else { return true };
    assert!(env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "{missing}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    writeln!(std::io::stderr(), "skipped: {test}: {missing}").unwrap();
    false
}

/// The address of the daemon that the tests may use. Never the user's own: only what this variable names.
fn docker_host() -> Option<String> {
    env::var("PLIMSOLL_DOCKER_HOST").ok()
}

/// The socket of the containerd that the tests may use.
pub(crate) fn containerd() -> Option<String> {
    env::var("PLIMSOLL_CONTAINERD").ok()
}

/// Held by whoever changes or looks at what images the daemon has.
pub(crate) fn daemon_alone() -> MutexGuard<'static, ()> {
    static DAEMON: Mutex<()> = Mutex::new(());
    DAEMON.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that talks to the tests' daemon, with its program still to be given arguments.
pub(crate) fn with_docker(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("DOCKER_HOST", docker_host().unwrap()).env_remove("DOCKER_CONTEXT");
    command
}

fn answers<const N: usize>(program: &str, arguments: [&str; N]) -> bool {
    let mut command = Command::new(program);
    if let Some(host) = docker_host() {
        command.env("DOCKER_HOST", host);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Runs a command to its end and returns its stdout. A failure shows what it said.
pub(crate) fn output(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs a program to its end and returns its stdout as text.
pub(crate) fn text<I: IntoIterator<Item: AsRef<OsStr>>>(program: &str, arguments: I) -> String {
    String::from_utf8(output(Command::new(program).args(arguments))).unwrap()
}

/// Runs `docker` against the tests' daemon and returns its stdout as text.
pub(crate) fn docker<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> String {
    // The classic builder needs no plugin and writes no attestations.
    String::from_utf8(output(with_docker("docker").env("DOCKER_BUILDKIT", "0").args(arguments))).unwrap()
}

/// The top of the source tree.
pub(crate) fn source_tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A new empty folder below the target directory, gone when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("end-to-end-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A name that no other folder of these has.
    pub(crate) fn name(&self) -> &OsStr {
        self.0.file_name().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind when it cannot be removed: below the target directory that does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
