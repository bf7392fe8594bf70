//! Repositories that `plimsoll repository` writes: read by python-tuf, gone on with from python-tuf's, killed at any instant, and as README says.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::plimsoll::Verify;
use crate::repository::Repository;
use crate::tools::{Need, Scratch, daemon_alone, docker, have, output, source_tree, with_docker};

const NAME: &str = "registry.example/team/app:1.4";
const FOLDER: &str = "registry.example/team/app/1.4";

fn sample(name: &str) -> PathBuf {
    source_tree().join("test-repos/source").join(name)
}

/// `plimsoll repository` on a repository, to its end.
pub(crate) fn publisher(repository: &Path, command: &str, arguments: &[&str]) -> Vec<u8> {
    output(&mut publisher_command(repository, command, arguments))
}

pub(crate) fn publisher_command(repository: &Path, command: &str, arguments: &[&str]) -> Command {
    let mut plimsoll = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    plimsoll.args(["repository", command]).args(arguments).arg("--repository").arg(repository);
    plimsoll
}

/// What is published under `dir`, with the first root where the tests pin it.
pub(crate) fn pinned(dir: &Path) -> Repository {
    fs::copy(dir.join("metadata/1.root.json"), dir.join("1.root.json")).unwrap();
    Repository { dir: dir.to_path_buf() }
}

#[test]
fn python_tuf_reads_what_is_published_here() {
    if !have(&[Need::PythonTuf]) {
        return;
    }
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let scratch = Scratch::new();
        let (site, keys) = (scratch.join("site"), scratch.join("keys").display().to_string());
        let key = |name: &str| format!("{keys}/{name}.pem");
        publisher(&site, "init", &["--keys", &keys, "--key-type", kind]);
        let repository = pinned(&site);
        let archive = sample("app.tar");
        publisher(&site, "add", &[&archive.display().to_string(), "--image", NAME, "--keys", &keys]);
        let verify = || {
            let store = scratch.join("store");
            Verify::new(&archive, &repository, store).image(NAME).run().assert_trusted();
            let manifest = repository.fetch(&format!("{FOLDER}/manifest.json"));
            assert!(manifest.starts_with(b"{\"schemaVersion\":2,"), "{kind}");
        };
        verify();
        // Under a delegation by which a wildcard must not cross a slash, with a role whose name is quoted where it names a file.
        output(Command::new(env!("CARGO_BIN_EXE_plimsoll")).args([
            "key",
            "generate",
            &key("team"),
            "--key-type",
            kind,
        ]));
        let paths = "registry.example/other/*/*/*";
        publisher(&site, "delegate", &["a/team", "--paths", paths, "--role-key", &key("team"), "--keys", &keys]);
        let list = sample("README.md").display().to_string();
        let add = ["--image", "registry.example/other/app:2", "--as", "notes.md", "--role", "a/team", "--keys", &keys];
        publisher(&site, "add-file", &[&[list.as_str()][..], &add].concat());
        assert_eq!(repository.fetch("registry.example/other/app/2/notes.md"), fs::read(sample("README.md")).unwrap());
        // Every key is replaced, one after the other.
        for role in ["timestamp", "snapshot", "targets", "root"] {
            let (old, new) = (key(&format!("{role}.pub")), key(&format!("{role}-2")));
            output(Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(["key", "generate", &new]));
            publisher(&site, "rotate", &[role, "--remove", &old, "--add", &new, "--keys", &keys]);
            verify();
        }
        publisher(&site, "timestamp", &["--keys", &keys]);
        verify();
    }
}

#[test]
fn what_python_tuf_wrote_is_gone_on_with_by_both() {
    if !have(&[Need::PythonTuf]) {
        return;
    }
    // The roles above the one that signs the image, whose keys are not at hand.
    let layouts: &[(&str, &[&str])] = &[
        ("flat", &[]),
        ("delegated", &["targets"]),
        ("nested", &["targets", "registry.example", "registry.example%2Fteam"]),
        ("hash-bins", &["targets"]),
        ("succinct", &["targets"]),
    ];
    for (layout, above) in layouts {
        for kind in ["ed25519", "mixed"] {
            let scratch = Scratch::new();
            let manifest = sample("app.manifest.json");
            let create = ["--layout", layout, "--keys", kind];
            let repository = Repository::create(scratch.join("repository"), &[(NAME, &manifest)], &create);
            // Keys do not belong where python-tuf's script has them.
            let keys = scratch.join("keys");
            output(Command::new("cp").arg("-r").arg(repository.dir.join("keys")).arg(&keys));
            for entry in fs::read_dir(&keys).unwrap() {
                fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o600)).unwrap();
            }
            above.iter().for_each(|role| fs::remove_file(keys.join(format!("{role}.pem"))).unwrap());
            let keys = keys.display().to_string();

            let notes = sample("README.md").display().to_string();
            let add = [notes.as_str(), "--image", NAME, "--as", "notes.md", "--keys", &keys];
            publisher(&repository.dir, "add-file", &add);
            let read = || {
                Verify::new(&sample("app.tar"), &repository, scratch.join("store")).image(NAME).run().assert_trusted();
                let found = repository.fetch(&format!("{FOLDER}/notes.md"));
                assert_eq!(found, fs::read(sample("README.md")).unwrap(), "{layout} {kind}");
                assert_eq!(repository.fetch(&format!("{FOLDER}/manifest.json")), fs::read(&manifest).unwrap());
            };
            read();
            // python-tuf goes on from what was written here, and we from that.
            repository.publish(&[(NAME, &manifest)]);
            read();
            publisher(&repository.dir, "timestamp", &["--keys", &keys]);
            read();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    output(Command::new("cp").arg("-r").arg(from).arg(to));
}

/// What a publication changes the disk with.
const CALLS: [&str; 9] = ["openat", "write", "fsync", "rename", "renameat2", "linkat", "mkdir", "unlink", "unlinkat"];

/// Runs a command until its `n`th call of this kind, and kills it there. False if there are not as many.
fn killed_at(call: &str, n: u32, mut command: Command) -> bool {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:signal=KILL:when={n}")]);
    strace.arg(command.get_program()).args(command.get_args());
    let status = strace.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).status().unwrap();
    command.stdin(Stdio::null());
    assert!(status.success() || status.signal() == Some(9), "{call} {n}: {status}");
    !status.success()
}

#[test]
fn killed_at_any_call_a_publication_leaves_the_old_state_or_the_new() {
    if !have(&[Need::Strace]) {
        return;
    }
    let scratch = Scratch::new();
    let (site, keys) = (scratch.join("before"), scratch.join("keys").display().to_string());
    let archive = sample("app.tar");
    publisher(&site, "init", &["--keys", &keys]);
    publisher(&site, "add", &[&archive.display().to_string(), "--image", NAME, "--keys", &keys]);
    pinned(&site);
    let new = format!("{keys}/timestamp-2.pem");
    output(Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(["key", "generate", &new]));
    let old = format!("{keys}/timestamp.pub.pem");
    let notes = sample("README.md").display().to_string();

    // A file more; and a new root that takes the old timestamp's key away, so that neither goes with the other's half.
    let add = [notes.as_str(), "--path", "notes.md", "--keys", &keys];
    let rotate = ["timestamp", "--remove", old.as_str(), "--add", &new, "--keys", &keys];
    for (command, arguments) in [("add-file", &add[..]), ("rotate", &rotate[..])] {
        let mut kills = 0;
        for call in CALLS {
            for n in 1.. {
                let now = scratch.join("now");
                copy(&site, &now);
                if !killed_at(call, n, publisher_command(&now, command, arguments)) {
                    break;
                }
                kills += 1;
                let repository = Repository { dir: now.clone() };
                let verify = |store: &str| {
                    let _ = fs::remove_dir_all(scratch.join(store));
                    Verify::new(&archive, &repository, scratch.join(store)).image(NAME).run()
                };
                let verdict = verify("store");
                assert_eq!(verdict.exit, Some(0), "{command}, {call} {n}\n{verdict}");
                // The publisher repeats the command, or finds that it is done already.
                let again = publisher_command(&now, command, arguments).output().unwrap();
                let text = String::from_utf8_lossy(&again.stderr).into_owned();
                let is_done = command == "rotate" && text.contains("is one of the role timestamp already")
                    || text.contains("the role timestamp has no key");
                assert!(again.status.success() || is_done, "{command}, {call} {n}: {text}");
                publisher(&now, "publish", &["--keys", &keys]);
                verify("store").assert_trusted();
                let leftovers = fs::read_dir(&now).unwrap().chain(fs::read_dir(now.join("metadata")).unwrap());
                let leftovers: Vec<_> = leftovers
                    .map(|entry| entry.unwrap().file_name())
                    .filter(|name| name.to_string_lossy().starts_with(".new"))
                    .collect();
                assert!(leftovers.is_empty(), "{command}, {call} {n}: {leftovers:?}");
            }
        }
        assert!(kills > 50, "{command}: only {kills} instants were tried");
    }
}

/// The commands of a section of README, each line one.
fn readme_commands(heading: &str) -> String {
    let readme = fs::read_to_string(source_tree().join("README.md")).unwrap();
    let section = readme.split_once(heading).unwrap_or_else(|| panic!("README has {heading:?}")).1;
    let block = section.split_once("```sh\n").unwrap().1;
    block.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_publishers_page_works_as_written() {
    if !have(&[Need::Docker]) {
        return;
    }
    let (publisher, operator) =
        (readme_commands("On the publisher's machine"), readme_commands("On the other machine"));
    let count = publisher.lines().chain(operator.lines()).filter(|line| !line.is_empty()).count();
    assert!(count < 10, "{count} commands");

    let _alone = daemon_alone();
    let scratch = Scratch::new();
    let (here, there) = (scratch.join("publisher"), scratch.join("operator"));
    [&here, &there].iter().for_each(|folder| fs::create_dir(folder).unwrap());
    docker(["load", "--input", &sample("app.tar").display().to_string()]);
    let run = |script: &str, folder: &Path| {
        let program = Path::new(env!("CARGO_BIN_EXE_plimsoll")).parent().unwrap().display().to_string();
        let path = format!("{program}:{}", std::env::var("PATH").unwrap());
        let mut shell = with_docker("bash");
        shell.args(["-euxc", script]).current_dir(folder).env("PATH", path).env("HOME", folder);
        String::from_utf8(output(&mut shell)).unwrap()
    };
    let said = run(&publisher, &here);
    assert!(said.contains("published: targets version 2"), "{said}");
    docker(["image", "rm", NAME]);

    // What the page says is to be carried: the stick, and, by another way, the root.
    for carried in ["stick", "root.json"] {
        output(Command::new("cp").arg("-r").arg(here.join(carried)).arg(there.join(carried)));
    }
    let said = run(&operator, &there);
    assert!(said.starts_with("trusted: registry.example/team/app:1.4\n"), "{said}");
    let id = docker(["image", "inspect", "--format", "{{.Id}}", NAME]);
    assert_eq!(id.trim(), "sha256:5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b");
    docker(["image", "rm", NAME]);
}
