//! Disks that are full, read-only or closed to the user: a verdict that says so, and nothing lost.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::plimsoll::{Verdict, Verify};
use crate::repository::Repository;
use crate::tools::{Need, Scratch, have, output, source_tree};

const NAME: &str = "registry.example/team/app:1.4";
const NOBODY: u32 = 65534;

fn sample(path: &str) -> PathBuf {
    source_tree().join("test-repos").join(path)
}

/// A file system in memory, unmounted when dropped.
pub(crate) struct Disk(pub(crate) PathBuf);

impl Disk {
    pub(crate) fn mount(path: PathBuf, size: &str) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        output(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&path));
        Self(path)
    }

    pub(crate) fn remount(&self, option: &str) {
        output(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_store_on_a_full_or_read_only_disk_is_undecided_and_loses_nothing() {
    if !have(&[Need::Root]) {
        return;
    }
    let scratch = Scratch::new();
    let disk = Disk::mount(scratch.join("disk"), "12k");
    let repository = Repository { dir: sample("good") };
    let archive = sample("good/app.tar");
    let verify =
        || Verify::new(&archive, &repository, disk.0.join("store")).root(sample("root.json")).image(NAME).run();

    verify().assert_undecided("store-unusable").assert_names("No space left on device");
    verify().assert_undecided("store-unusable");
    disk.remount("size=1m");
    verify().assert_trusted();
    disk.remount("ro");
    verify().assert_undecided("store-unusable").assert_names("Read-only file system");
    disk.remount("rw");
    // What was seen before the disk was full, or read-only, still counts.
    let old = Repository { dir: sample("hostile/rollback") };
    let archive = sample("hostile/rollback/app.tar");
    let verdict = Verify::new(&archive, &old, disk.0.join("store")).root(sample("root.json")).image(NAME).run();
    verdict.assert_refused_for("metadata-rollback");
}

#[test]
fn a_disk_too_full_for_the_copy_of_an_archive_is_undecided() {
    if !have(&[Need::Root, Need::Compressors]) {
        return;
    }
    let scratch = Scratch::new();
    let disk = Disk::mount(scratch.join("disk"), "12k");
    let repository = Repository { dir: sample("good") };
    let (plain, compressed) = (sample("good/app.tar"), scratch.join("app.tar.gz"));
    std::fs::write(&compressed, output(Command::new("gzip").arg("-c").arg(&plain))).unwrap();
    let verify = |archive: &Path, stdin: Stdio| {
        let verify = Verify::new(archive, &repository, scratch.join("store")).root(sample("root.json")).image(NAME);
        verify.stdin(stdin).tmpdir(disk.0.clone()).run()
    };
    let piped = || {
        let mut cat = Command::new("cat").arg(&plain).stdout(Stdio::piped()).spawn().unwrap();
        let verdict = verify(Path::new("-"), cat.stdout.take().unwrap().into());
        cat.wait().unwrap();
        verdict
    };
    let full = |verdict: Verdict| {
        let place = disk.0.to_str().unwrap();
        verdict.assert_undecided("archive-unreadable").assert_names("No space left on device").assert_names(place);
    };
    full(verify(&compressed, Stdio::null()));
    full(piped());
    // What is read in its place needs no room.
    verify(&plain, Stdio::null()).assert_trusted();
    disk.remount("size=1m");
    verify(&compressed, Stdio::null()).assert_trusted();
    piped().assert_trusted();
    assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn a_publication_on_a_full_or_read_only_disk_changes_nothing_that_clients_see() {
    if !have(&[Need::Root]) {
        return;
    }
    let scratch = Scratch::new();
    let disk = Disk::mount(scratch.join("disk"), "1m");
    let (site, keys) = (disk.0.join("site"), scratch.join("keys").display().to_string());
    let publisher = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.arg("repository").args(arguments).arg("--repository").arg(&site).args(["--keys", &keys]);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let archive = sample("good/app.tar");
    let add = ["add", archive.to_str().unwrap(), "--image", NAME];
    assert!(publisher(&["init"]).status.success());
    assert!(publisher(&add).status.success());
    let repository = Repository { dir: site.clone() };
    let verify = || {
        let root = site.join("metadata/1.root.json");
        Verify::new(&archive, &repository, scratch.join("store")).root(root).image(NAME).run().assert_trusted();
    };
    verify();

    let fails = |arguments: &[&str], why: &str| {
        let failed = publisher(arguments);
        let text = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(2), "{text}");
        assert!(text.contains(why), "{text}");
        verify();
    };
    // From no room at all to just too little, whatever is being written then.
    let used = || output(Command::new("du").args(["--block-size=1", "--summarize"]).arg(&disk.0));
    let used: u64 = String::from_utf8(used()).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    for pages in 0..3 {
        disk.remount(&format!("size={}", used + pages * 4096));
        fails(&add, "No space left on device");
    }
    disk.remount("size=1m,ro");
    fails(&add, "Read-only file system");
    fails(&["timestamp"], "Read-only file system");
    disk.remount("rw");
    assert!(publisher(&add).status.success());
    verify();
}

#[test]
fn an_export_to_a_full_disk_is_undecided_and_leaves_nothing_behind() {
    if !have(&[Need::Root]) {
        return;
    }
    let scratch = Scratch::new();
    let disk = Disk::mount(scratch.join("disk"), "12k");
    let export = |to: &Path, form: &str, stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.arg("export").arg(sample("good/app.tar")).arg("--repository").arg(sample("good"));
        command.arg("--root").arg(sample("root.json")).arg("--store").arg(scratch.join("store"));
        let output = command.arg("-o").arg(to).args(["--as", form]).stdout(stdout).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    for (name, form) in [("app.tar", "docker-archive"), ("app.tar", "oci-archive"), ("layout", "oci-dir")] {
        let place = disk.0.join(name);
        let (exit, printed) = export(&place, form, Stdio::piped());
        assert_eq!(exit, Some(2), "{form}: {printed}");
        assert!(printed.contains("No space left on device") && printed.contains("[output-unwritable]"), "{printed}");
        assert_eq!(std::fs::read_dir(&disk.0).unwrap().count(), 0, "{form}");
        disk.remount("size=1m");
        assert_eq!(export(&place, form, Stdio::piped()).0, Some(0), "{form}: the twin");
        output(Command::new("rm").arg("-r").arg(&place));
        disk.remount("size=12k");
    }
    let full = std::fs::File::create("/dev/full").unwrap();
    let (exit, printed) = export(Path::new("-"), "docker-archive", full.into());
    assert!(exit == Some(2) && printed.contains("[output-unwritable]"), "{printed}");
}

/// Root may read everything, so the command runs as somebody else.
fn as_nobody(program: &Path, arguments: &[&Path]) -> (Option<i32>, Value) {
    let mut command = Command::new(program);
    let [archive, repository, root, store] = arguments else { panic!("four arguments") };
    command.arg("verify").arg(archive).arg("--repository").arg(repository).arg("--root").arg(root);
    command.arg("--store").arg(store).args(["--format", "json", "--image", NAME]);
    let output = command.uid(NOBODY).gid(NOBODY).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn a_folder_that_may_not_be_read_is_undecided() {
    if !have(&[Need::Root]) {
        return;
    }
    let folder = std::env::temp_dir().join(format!("plimsoll-folder-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("layout/blobs/sha256")).unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    let (program, layout) = (folder.join("plimsoll"), folder.join("layout"));
    std::fs::copy(env!("CARGO_BIN_EXE_plimsoll"), &program).unwrap();
    std::fs::write(layout.join("index.json"), "{}").unwrap();
    output(Command::new("cp").arg("-r").arg(sample("good")).arg(sample("root.json")).arg(&folder));
    output(Command::new("chmod").args(["-R", "a+rX"]).arg(&folder));
    let (repository, root, store) = (folder.join("good"), folder.join("root.json"), folder.join("store"));
    let run = || as_nobody(&program, &[&layout, &repository, &root, &store]);

    let (exit, verdict) = run();
    assert_eq!((exit, verdict["findings"][0]["code"].as_str()), (Some(1), Some("document-malformed")), "the twin");
    for closed in [&layout.join("index.json"), &layout.join("blobs/sha256"), &layout] {
        let open = std::fs::metadata(closed).unwrap().permissions();
        mode(closed, 0);
        let (exit, verdict) = run();
        std::fs::set_permissions(closed, open).unwrap();
        let code = verdict["findings"][0]["code"].as_str();
        assert_eq!((exit, code), (Some(2), Some("archive-unreadable")), "{closed:?}: {verdict:#}");
        assert!(verdict["findings"][0]["message"].as_str().unwrap().contains("Permission denied"), "{verdict:#}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    if !have(&[Need::Root]) {
        return;
    }
    // Where anybody can get at it, unlike the source tree.
    let folder = std::env::temp_dir().join(format!("plimsoll-closed-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(&folder, 0o777);
    let program = folder.join("plimsoll");
    std::fs::copy(env!("CARGO_BIN_EXE_plimsoll"), &program).unwrap();
    output(Command::new("cp").arg("-r").arg(sample("good")).arg(sample("root.json")).arg(&folder));
    output(Command::new("chmod").args(["-R", "a+rX"]).arg(&folder));
    let (repository, root, archive) = (folder.join("good"), folder.join("root.json"), folder.join("good/app.tar"));
    let store = folder.join("store");
    let run = || as_nobody(&program, &[&archive, &repository, &root, &store]);

    assert_eq!(run().0, Some(0), "the twin: all is open");
    for (closed, code) in [
        (&archive, "archive-unreadable"),
        (&root, "pinned-root-unreadable"),
        (&repository, "repository-unreadable"),
        (&repository.join("metadata"), "repository-unreadable"),
        (&repository.join("metadata/timestamp.json"), "repository-unreadable"),
        (&store, "store-unusable"),
    ] {
        let open = std::fs::metadata(closed).unwrap().permissions();
        mode(closed, 0);
        // The archive lies below the repository, so closing that closes both; what is looked for first is named.
        let (exit, verdict) = run();
        std::fs::set_permissions(closed, open).unwrap();
        assert_eq!((exit, verdict["findings"][0]["code"].as_str()), (Some(2), Some(code)), "{closed:?}: {verdict:#}");
        assert!(verdict["findings"][0]["message"].as_str().unwrap().contains("Permission denied"), "{verdict:#}");
    }
    assert_eq!(run().0, Some(0));
    std::fs::remove_dir_all(&folder).unwrap();
}
