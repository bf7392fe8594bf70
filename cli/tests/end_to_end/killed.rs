//! Killed at any instant of a refresh: the next one works, and never trusts less or older.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::plimsoll::Verify;
use crate::repository::Repository;
use crate::tools::{Need, Scratch, have, output, source_tree};

const NAME: &str = "registry.example/team/app:1.4";
/// What a refresh changes the disk with.
const CALLS: [&str; 5] = ["openat", "write", "fsync", "rename", "unlink"];

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    output(Command::new("cp").arg("-r").arg(from).arg(to));
}

/// Refreshes until the `n`th call of this kind, and is killed there. False if there are not as many.
fn killed_at(call: &str, n: u32, archive: &Path, repository: &Repository, store: &Path) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={n}");
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
    command.arg(env!("CARGO_BIN_EXE_plimsoll")).arg("verify").arg(archive).args(["--image", NAME]);
    command.arg("--repository").arg(&repository.dir).arg("--root").arg(repository.pinned_root());
    let status = command.arg("--store").arg(store).stdout(Stdio::null()).stdin(Stdio::null()).status().unwrap();
    // strace ends as the program did that it watched.
    assert!(status.success() || status.signal() == Some(9), "{call} {n}: {status}");
    !status.success()
}

#[test]
fn killed_at_any_call_that_changes_the_disk_a_refresh_can_be_repeated() {
    if !have(&[Need::PythonTuf, Need::Strace]) {
        return;
    }
    let scratch = Scratch::new();
    let sample = |name: &str| source_tree().join("test-repos/source").join(name);
    let (archive, manifest) = (sample("app.tar"), sample("app.manifest.json"));
    let repository = Repository::create(scratch.join("repository"), &[(NAME, &manifest)], &["--layout", "nested"]);
    let old = repository.mirror(scratch.join("old"));
    // New versions of everything, and a root that takes the timestamp's key away, so that what it had signed is forgotten.
    repository.publish(&[(NAME, &manifest)]);
    repository.rotate();

    let (before, store) = (scratch.join("before"), scratch.join("store"));
    let verify = |repository: &Repository, store: &Path| {
        Verify::new(&archive, repository, store.to_path_buf()).root(old.pinned_root()).image(NAME).run()
    };
    verify(&old, &before).assert_trusted();

    let mut kills = 0;
    for call in CALLS {
        for n in 1.. {
            copy(&before, &store);
            if !killed_at(call, n, &archive, &repository, &store) {
                break;
            }
            kills += 1;
            // Whatever the disk holds now: what was there before is still remembered, and the update goes through.
            let now = scratch.join("now");
            copy(&store, &now);
            let verdict = verify(&old, &now);
            assert!(matches!(verdict.exit, Some(0 | 1)), "{call} {n}: the old mirror\n{verdict}");
            verify(&repository, &store).assert_trusted();
            verify(&old, &store).assert_refused();
        }
    }
    assert!(kills > 50, "only {kills} instants were tried");
}
