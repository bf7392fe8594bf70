//! The programs that are measured: where they are, or how they are built, and which versions they have.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// Either where it is or why it is not there.
pub(crate) type Found = Result<PathBuf, String>;

pub(crate) fn source_tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The target directory that this bench was built in.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap()
}

/// The command as it is shipped.
pub(crate) fn plimsoll() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        cargo(&["-p", "plimsoll-cli"], target()).unwrap();
        target().join("release/plimsoll")
    });
    &BUILT
}

/// The TUF client of the examples: refresh, look up and fetch over HTTP, and nothing else.
pub(crate) fn tuf_client() -> &'static Path {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        cargo(&["-p", "plimsoll", "--features", "http", "--example", "tuf_client"], target()).unwrap();
        target().join("release/examples/tuf_client")
    });
    &BUILT
}

/// A client made of tough.
pub(crate) fn tough() -> Found {
    static BUILT: LazyLock<Found> = LazyLock::new(|| {
        // Where the tests build their writer.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tough");
        let manifest = source_tree().join("tests/interop/tough/Cargo.toml");
        let options = ["--manifest-path", manifest.to_str().unwrap(), "--features", "client", "--bin", "client"];
        cargo(&options, &folder).map_err(|_| "tests/interop/tough does not build")?;
        Ok(folder.join("release/client"))
    });
    required(BUILT.clone())
}

/// A Python that has python-tuf: that in the path, or the one that `.ci/install` makes.
pub(crate) fn python() -> Found {
    static FOUND: LazyLock<Found> = LazyLock::new(|| {
        let own = source_tree().join("target/ci/python/bin/python3");
        let has_tuf = |python: &PathBuf| said(python, &["-c", "import tuf.ngclient"]).is_some();
        let why = "no python3 with the packages in tests/interop/requirements.txt";
        [PathBuf::from("python3"), own].into_iter().find(has_tuf).ok_or_else(|| why.to_owned())
    });
    required(FOUND.clone())
}

/// A program in the path.
pub(crate) fn program(name: &str) -> Found {
    let option = if name == "openssl" { "version" } else { "--version" };
    required(said(Path::new(name), &[option]).map(|_| PathBuf::from(name)).ok_or_else(|| format!("no {name}")))
}

/// With `PLIMSOLL_REQUIRE_TOOLS=1`, what is missing is a failure.
fn required(found: Found) -> Found {
    if let Err(why) = &found {
        assert!(env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "{why}");
    }
    found
}

fn cargo(options: &[&str], target: &Path) -> Result<(), String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(source_tree()).args(["build", "--quiet", "--release", "--locked"]);
    cargo.args(options).arg("--target-dir").arg(target).stdin(Stdio::null());
    // What cargo tells this bench of its own package: build scripts that look at it would run again, here and for whoever builds next.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    let is_built = cargo.status().is_ok_and(|status| status.success());
    if is_built { Ok(()) } else { Err(format!("{cargo:?} failed")) }
}

/// What a program prints, if it succeeds.
fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A line for each program: what it says of its version.
pub(crate) fn versions() -> Vec<String> {
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    let commit = Command::new("git").current_dir(source_tree()).args(["describe", "--always", "--dirty"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let bytes = std::fs::metadata(plimsoll()).unwrap().len();
    let size = crate::table::size(bytes);
    lines.push(format!(
        "{}, commit {commit}, {size} as built with `--release`",
        said(plimsoll(), &["--version"]).unwrap()
    ));
    for (name, option) in
        [("openssl", "version"), ("sha256sum", "--version"), ("skopeo", "--version"), ("podman", "--version")]
    {
        lines.push(said(Path::new(name), &[option]).map_or(format!("{name}: not there"), first_line));
    }
    const PYTHON: &str = "import platform, importlib.metadata as m; print('Python', platform.python_version() + ',', \
                          ', '.join(p + ' ' + m.version(p) for p in ('tuf', 'securesystemslib', 'cryptography', 'urllib3')))";
    lines.push(
        python().ok().and_then(|python| said(&python, &["-c", PYTHON])).unwrap_or("python-tuf: not there".into()),
    );
    let lock = std::fs::read_to_string(source_tree().join("tests/interop/tough/Cargo.lock")).unwrap();
    let tough = lock.split("name = \"tough\"\nversion = \"").nth(1).and_then(|rest| rest.split('"').next());
    lines.push(format!("tough {}", tough.unwrap()));
    lines
}

/// The machine, in a few words.
pub(crate) fn machine() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let flags = field(&cpu, "flags");
    let sha = if flags.split(' ').any(|flag| flag == "sha_ni") { "with" } else { "without" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kib: u64 = field(&memory, "MemTotal").trim_end_matches(" kB").parse().unwrap_or_default();
    vec![
        format!("{}, {cores} cores, {sha} SHA extensions (sha_ni)", field(&cpu, "model name")),
        format!("{} of memory, Linux {}", crate::table::size(kib * 1024), read("/proc/sys/kernel/osrelease").trim()),
    ]
}
