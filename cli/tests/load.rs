//! `plimsoll load` and `plimsoll export` as a black box, with loaders that behave and loaders that do not.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "tests state what they expect"
)]

#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared with the library's tests")]
#[path = "../../tests/support/image.rs"]
mod image;
#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared with the library's tests")]
#[path = "../../tests/support/repo.rs"]
mod repo;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use image::{Image, NAME, Stored, classic, oci_archive, tar};
use repo::Repo;
use serde_json::{Value, json};

const SIGNED: &str = "registry.example/team/app/1.4/manifest.json";

/// A folder for one test: a repository that signs one image, its archive, and whatever the test adds.
struct Place {
    folder: PathBuf,
}

impl Place {
    /// An image of a few kilobytes, all of which fits into a pipe.
    fn small(test: &str) -> Self {
        let image = Image::small();
        Self::of(test, &image, &tar(&classic(&image, &[NAME])))
    }

    /// An image of eight megabytes, which does not fit into a pipe and what is read ahead of it.
    fn large(test: &str) -> Self {
        let content: Vec<u8> = (0..8u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let image = Image::new(&[image::layer("etc/motd", b"hello\n"), image::layer("big", &content)], Stored::Plain);
        Self::of(test, &image, &tar(&classic(&image, &[NAME])))
    }

    fn of(test: &str, image: &Image, archive: &[u8]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("load").join(test);
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        let place = Self { folder };
        let mut repo = Repo::new();
        repo.target("targets", SIGNED, &image.manifest()).publish();
        for (name, bytes) in &repo.files {
            place.write(&format!("repository/{name}"), bytes);
        }
        place.write("root.json", &repo.pinned());
        place.write("app.tar", archive);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A program of that name, of which only this test knows.
    fn script(&self, name: &str, text: &str) -> PathBuf {
        self.write(&format!("bin/{name}"), format!("#!/bin/sh\n{text}\n").as_bytes());
        let path = self.path(&format!("bin/{name}"));
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    /// `plimsoll COMMAND app.tar`, with the repository and its root.
    fn command(&self, command: &str) -> Command {
        self.command_of(command, "app.tar")
    }

    fn command_of(&self, command: &str, archive: &str) -> Command {
        let mut plimsoll = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        plimsoll.env_clear().env("HOME", self.path("home")).stdin(Stdio::null()).current_dir(&self.folder);
        plimsoll.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        plimsoll.args([command, archive, "--repository", "repository", "--root", "root.json"]);
        plimsoll
    }

    /// `plimsoll load` with more arguments and the verdict as JSON.
    fn load(&self, more: &[&str]) -> (Option<i32>, Value, String) {
        as_json(self.command("load").args(more))
    }

    fn export(&self, more: &[&str]) -> (Option<i32>, Value, String) {
        as_json(self.command("export").args(more))
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The names of the files in an archive below the folder, in their order.
    fn entries(&self, archive: &str) -> Vec<String> {
        let mut archive = ::tar::Archive::new(fs::File::open(self.path(archive)).unwrap());
        let entries = archive.entries().unwrap();
        entries.map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned()).collect()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn as_json(command: &mut Command) -> (Option<i32>, Value, String) {
    let Output { status, stdout, stderr } = command.args(["--format", "json"]).output().unwrap();
    let json = serde_json::from_slice(&stdout).unwrap_or_else(|e| panic!("{e}: {}{}", text(&stdout), text(&stderr)));
    (status.code(), json, text(&stderr))
}

/// Asserts the exit code, the verdict that belongs to it, and the code of the first finding.
#[track_caller]
fn assert_verdict((exit, json, stderr): &(Option<i32>, Value, String), expected: i32, code: &str) {
    let verdict = ["trusted", "untrusted", "undecided"][usize::try_from(expected).unwrap()];
    assert_eq!((*exit, json["verdict"].as_str()), (Some(expected), Some(verdict)), "{json:#}\n{stderr}");
    assert_eq!(json["findings"][0]["code"].as_str().unwrap_or_default(), code, "{json:#}");
    assert_eq!(json["loaded"].is_null() && json["exported"].is_null(), expected != 0, "{json:#}");
}

/// Keeps what it is given and says so.
const KEEPS: &str = "cat >loaded.tar; echo \"Loaded image: it\"; echo one warning >&2";

#[test]
fn the_loader_is_given_a_new_archive_of_the_image_alone() {
    let place = Place::small("trusted");
    place.script("docker", &format!("echo \"$@\" >arguments; {KEEPS}"));
    let output = place.command("load").output().unwrap();
    let out = text(&output.stdout);
    assert!(out.starts_with(&format!("trusted: {NAME}\n")), "{out}");
    assert!(out.ends_with(&format!("  loaded    as {NAME} by docker load\n")), "{out}");
    assert_eq!(output.status.code(), Some(0));
    let mut printed: Vec<_> = std::str::from_utf8(&output.stderr).unwrap().lines().collect();
    printed.sort_unstable();
    assert_eq!(printed, ["Loaded image: it", "one warning"]);
    assert_eq!(fs::read_to_string(place.path("arguments")).unwrap(), "load\n");
    let entries = place.entries("loaded.tar");
    assert_eq!((entries.len(), entries.last().map(String::as_str)), (4, Some("manifest.json")));

    let loaded = place.load(&[]);
    assert_verdict(&loaded, 0, "");
    let expected =
        json!({"into": "docker load", "form": "docker-archive", "names": [NAME], "output": "Loaded image: it"});
    assert_eq!(loaded.1["loaded"], expected);
    // `verify` and `export` load nothing.
    let verified = as_json(&mut place.command("verify"));
    assert_eq!((&verified.1["loaded"], &verified.1["exported"]), (&Value::Null, &Value::Null));
}

#[test]
fn the_sample_is_loaded_as_the_page_shows() {
    let place = Place::small("page");
    place.script("docker", "cat >loaded.tar; echo Loaded image: registry.example/team/app:1.4");
    std::os::unix::fs::symlink(Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos"), place.path("test-repos"))
        .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().env("HOME", place.path("home")).current_dir(&place.folder).stdin(Stdio::null());
    command.env("PATH", format!("{}:/usr/bin:/bin", place.path("bin").display()));
    command.args(["load", "test-repos/good/app.tar", "--image", NAME]);
    let output = command.args(["--repository", "test-repos/good", "--root", "test-repos/root.json"]).output().unwrap();
    let expected = "\
Loaded image: registry.example/team/app:1.4
trusted: registry.example/team/app:1.4
  archive   test-repos/good/app.tar, docker-archive, 29696 bytes
  manifest  sha256:140f9ba84465db587c31d1007d6473afca0d0ce54328e853cbea6609519678e9
  config    sha256:5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b (the image ID in Docker's classic store)
  platform  linux/amd64
  layers    3, each checked against its diff id
  signed by targets > team under root version 1
  fresh     until 2056-01-01T00:00:00Z (root expires first)
  not checked: packages, files
  loaded    as registry.example/team/app:1.4 by docker load
";
    assert_eq!(text(&output.stderr) + &text(&output.stdout), expected);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn each_loader_is_called_in_its_own_way() {
    let place = Place::small("loaders");
    for program in ["docker", "podman", "nerdctl", "ctr", "other"] {
        place.script(program, "echo \"$(basename $0)\"; for a in \"$@\"; do echo \"<$a>\"; done; cat >loaded.tar");
    }
    let cases: &[(&[&str], &str)] = &[
        (&[], "docker\n<load>"),
        (&["--into", "docker"], "docker\n<load>"),
        (&["--into", "podman"], "podman\n<load>"),
        (&["--into", "nerdctl"], "nerdctl\n<load>"),
        (&["--into", "ctr"], "ctr\n<images>\n<import>\n<->"),
        (&["--into", "ctr", "--into-arg", "--no-unpack"], "ctr\n<images>\n<import>\n<--no-unpack>\n<->"),
        (&["--into-arg", "--quiet"], "docker\n<load>\n<--quiet>"),
        (&["--into-command", "other"], "other"),
        // No shell: what it would split, replace or run stays as it is.
        (
            &["--into-command", "other", "--into-arg", "a b", "--into-arg=-x", "--into-arg", "$(id);*"],
            "other\n<a b>\n<-x>\n<$(id);*>",
        ),
    ];
    for (arguments, expected) in cases {
        let loaded = place.load(arguments);
        assert_verdict(&loaded, 0, "");
        assert_eq!(loaded.1["loaded"]["output"], *expected, "{arguments:?}");
    }
    let oci = place.load(&["--as", "oci-archive"]);
    assert_eq!(oci.1["loaded"]["form"], "oci-archive");
    assert_eq!(place.entries("loaded.tar").last().unwrap(), "index.json");

    for arguments in [
        &["--into", "docker", "--into-command", "other"][..],
        &["--into", "other"],
        &["--into-command"],
        &["--as", "oci-dir"],
        &["--output", "x"],
    ] {
        assert_verdict(&place.load(arguments), 2, "usage");
    }
}

#[test]
fn nothing_is_started_for_an_archive_that_is_not_trusted() {
    let place = Place::small("refused");
    place.script("docker", "echo started >started; cat >/dev/null");
    let good = fs::read(place.path("app.tar")).unwrap();
    let mut changed = good.clone();
    let at = changed.windows(5).position(|window| window == b"hello").unwrap();
    changed[at] ^= 1;
    let renamed = tar(&classic(&Image::small(), &["registry.example/team/app:1.5"]));
    type Case<'a> = (&'a str, &'a [u8], &'a [&'a str], i32, &'a str);
    let cases: &[Case<'_>] = &[
        ("a changed layer", &changed, &[], 1, "layer-diff-id-mismatch"),
        ("another name", &renamed, &["--image", NAME], 1, "name-not-allowed"),
        ("not signed", &renamed, &[], 1, "image-not-signed"),
        ("cut", &good[..good.len() / 2], &[], 1, "archive-truncated"),
        ("no repository", &good, &["--repository", "nowhere"], 2, "usage"),
    ];
    for (what, archive, more, exit, code) in cases {
        place.write("app.tar", archive);
        for result in [place.load(more), place.export(&[more, &["-o", "out.tar"][..]].concat())] {
            assert_verdict(&result, *exit, code);
            assert!(!place.path("started").exists() && !place.path("out.tar").exists(), "{what}");
        }
    }
    place.write("app.tar", &good);
    assert_verdict(&place.load(&[]), 0, "");
    assert!(place.path("started").exists(), "the good twin");
}

#[test]
fn a_loader_that_fails_is_undecided_in_its_own_words() {
    for (size, place) in [("small", Place::small("fails_small")), ("large", Place::large("fails_large"))] {
        let cases: &[(&str, &str, &[&str])] = &[
            (
                "cat >/dev/null; echo no space left >&2; exit 3",
                "loader-failed",
                &["exit status: 3", "said: no space left"],
            ),
            ("echo 'cannot connect to the daemon' >&2; exit 1", "loader-failed", &["exit status: 1", "cannot connect"]),
            ("echo on standard output; exit 1", "loader-failed", &["said: on standard output"]),
            ("exit 7", "loader-failed", &["exit status: 7"]),
            ("kill -9 $$", "loader-failed", &["signal: 9"]),
            ("head -c 1000 >/dev/null; exit 1", "loader-failed", &["exit status: 1"]),
            ("printf 'a\\033[31mb\\n' >&2; exit 1", "loader-failed", &["a\\u{1b}[31mb"]),
        ];
        for (script, code, words) in cases {
            place.script("docker", script);
            let result = place.load(&[]);
            assert_verdict(&result, 2, code);
            let message = result.1["findings"][0]["message"].as_str().unwrap();
            assert!(message.starts_with("docker load: "), "{size}: {message}");
            assert!(words.iter().all(|word| message.contains(word)), "{size}, {script}: {message}");
            assert!(!result.2.contains('\u{1b}'), "{size}: {:?}", result.2);
        }
        let result = place.load(&["--into-command", "no-such-loader"]);
        assert_verdict(&result, 2, "loader-missing");
        let output = place.command("load").args(["--into", "podman"]).env("PATH", "/nowhere").output().unwrap();
        let out = text(&output.stdout);
        assert!(out.starts_with(&format!("undecided: {NAME}\n  podman load: cannot be started: ")), "{out}");
        assert!(
            out.ends_with("  the image was verified, but it is not certain that it was handed on whole\n"),
            "{out}"
        );
    }
}

#[test]
fn a_loader_that_reads_only_a_part_has_not_loaded() {
    let place = Place::large("early");
    for script in ["exit 0", "exec <&-; sleep 0.2; echo Loaded; exit 0", "head -c 100000 >/dev/null; exit 0"] {
        place.script("docker", script);
        let result = place.load(&[]);
        assert_verdict(&result, 2, "loader-failed");
        let message = result.1["findings"][0]["message"].as_str().unwrap();
        assert!(message.contains("it ended before it had read the archive (exit status: 0)"), "{message}");
    }
}

#[test]
fn whoever_keeps_the_pipes_open_holds_nothing_up() {
    let place = Place::large("hangs");
    // The process that stays has all three pipes. It would be there for a minute.
    for (script, exit, code) in [
        ("sleep 60 & exit 0", 2, "loader-failed"),
        ("sleep 60 & exit 1", 2, "loader-failed"),
        ("cat >/dev/null; sleep 60 & echo done; exit 0", 0, ""),
    ] {
        place.script("docker", &format!("{script}\n").replace("sleep 60 &", "sleep 60 <&0 & echo $! >>pids;"));
        let start = Instant::now();
        assert_verdict(&place.load(&[]), exit, code);
        assert!(start.elapsed() < Duration::from_secs(40), "{script}: {:?}", start.elapsed());
    }
    for pid in fs::read_to_string(place.path("pids")).unwrap().lines() {
        let _gone_already = Command::new("kill").arg(pid).status();
    }
}

#[test]
fn a_loader_may_print_as_much_as_it_likes() {
    let place = Place::large("megabytes");
    // More than fits into the pipes, before it has read anything.
    let chatter = "i=0; while [ $i -lt 20000 ]; do echo \"out $i ..................................................\"; \
                   echo \"err $i ..................................................\" >&2; i=$((i + 1)); done";
    place.script("docker", &format!("{chatter}; cat >/dev/null; echo the end"));
    let result = place.load(&[]);
    assert_verdict(&result, 0, "");
    let output = result.1["loaded"]["output"].as_str().unwrap();
    assert!(output.ends_with("the end") && output.len() <= 4096, "{}", output.len());
    assert!(result.2.contains("out 19999 ") && result.2.contains("err 19999 "));

    // No line at all.
    place.script(
        "docker",
        "head -c 3000000 /dev/zero | tr '\\0' x; cat >/dev/null; head -c 3000000 /dev/zero >&2; exit 1",
    );
    let result = place.load(&[]);
    assert_verdict(&result, 2, "loader-failed");
    assert!(result.1.to_string().len() < 10_000);
}

#[test]
fn an_archive_that_changes_after_the_check_is_refused_and_not_loaded() {
    let place = Place::large("changed");
    let good = fs::read(place.path("app.tar")).unwrap();
    // The last piece of the large layer, of which nothing was read ahead yet when the loader starts.
    let offset = good.len() - 100_000;
    for (what, change) in [
        ("changed", format!("printf X | dd of=app.tar bs=1 seek={offset} conv=notrunc 2>/dev/null")),
        ("cut", format!("truncate -s {offset} app.tar")),
    ] {
        for form in ["docker-archive", "oci-archive"] {
            place.write("app.tar", &good);
            let _ = fs::remove_file(place.path("got.tar"));
            let _ = fs::remove_file(place.path("whole"));
            place.script("docker", &format!("{change}\ncat >got.tar\necho whole >whole"));
            let result = place.load(&["--as", form]);
            assert_verdict(&result, 1, "archive-changed");
            // It was killed before it could take what it had for all that there is.
            assert!(!place.path("whole").exists(), "{what}, {form}");
            let got = fs::read(place.path("got.tar")).unwrap();
            assert!(got.len() < good.len() && got.len() > 1_000_000, "{what}, {form}: {}", got.len());
            assert!(!got.windows(13).any(|w| w == b"manifest.json") && !got.windows(10).any(|w| w == b"index.json"));
        }
    }
    place.write("app.tar", &good);
    place.script("docker", "cat >got.tar");
    assert_verdict(&place.load(&[]), 0, "");
    assert_eq!(place.entries("got.tar").last().unwrap(), "manifest.json");
    // What takes the archive's place under its name is another file: what was opened is loaded.
    place.script("docker", "mv app.tar moved.tar; echo nothing >app.tar; cat >got.tar");
    assert_verdict(&place.load(&[]), 0, "");
}

#[test]
fn an_archive_from_standard_input_is_loaded_as_well() {
    let place = Place::small("stdin");
    place.script("docker", KEEPS);
    let file = || fs::File::open(place.path("app.tar")).unwrap();
    let load = |stdin: Stdio| as_json(place.command_of("load", "-").stdin(stdin));
    assert_verdict(&load(file().into()), 0, "");
    assert_eq!(place.entries("loaded.tar").last().unwrap(), "manifest.json");
    fs::remove_file(place.path("loaded.tar")).unwrap();

    let mut cat = Command::new("cat").stdin(file()).stdout(Stdio::piped()).spawn().unwrap();
    assert_verdict(&load(cat.stdout.take().unwrap().into()), 0, "");
    assert!(cat.wait().unwrap().success());
    assert_eq!(place.entries("loaded.tar").last().unwrap(), "manifest.json");
    assert_verdict(&load(Stdio::null()), 1, "archive-empty");
}

#[test]
fn what_is_exported_is_trusted_again_in_each_form() {
    let image = Image::small();
    let place = Place::of("export", &image, &tar(&oci_archive(&image, &[NAME])));
    for (form, last) in [("docker-archive", "manifest.json"), ("oci-archive", "index.json")] {
        let exported = place.export(&["-o", "new.tar", "--as", form, "--force"]);
        assert_verdict(&exported, 0, "");
        assert_eq!(exported.1["exported"], json!({"to": "new.tar", "form": form, "names": [NAME]}));
        assert_eq!(exported.1["loaded"], Value::Null);
        assert_eq!(place.entries("new.tar").last().unwrap(), last);
        let mode = fs::metadata(place.path("new.tar")).unwrap().permissions().mode();
        assert_eq!(mode & 0o600, 0o600);

        let (exit, verdict, _) = as_json(&mut place.command_of("verify", "new.tar"));
        assert_eq!((exit, verdict["verdict"].as_str()), (Some(0), Some("trusted")), "{form}");
    }
    let output = place.command("export").args(["-o", "layout", "--as", "oci-dir"]).output().unwrap();
    assert!(text(&output.stdout).ends_with(&format!("  exported  as {NAME} to layout, oci-dir\n")));
    let mut names: Vec<_> = fs::read_dir(place.path("layout")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
    // The signed manifest is in it, as it was signed.
    let index: Value = serde_json::from_slice(&fs::read(place.path("layout/index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().replace(':', "/");
    assert_eq!(fs::read(place.path("layout/blobs").join(digest)).unwrap(), image.manifest());
    assert_eq!(place.files(), ["app.tar", "home", "layout", "new.tar", "repository", "root.json"]);
}

#[test]
fn an_export_to_standard_output_has_its_verdict_on_standard_error() {
    let place = Place::small("stdout");
    assert_verdict(&place.export(&["-o", "new.tar"]), 0, "");
    let expected = fs::read(place.path("new.tar")).unwrap();
    let output = place.command("export").args(["--output", "-"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == expected);
    assert!(text(&output.stderr).ends_with(&format!("  exported  as {NAME} to -, docker-archive\n")));

    // Nothing but an archive ever goes there.
    for (more, code) in [
        (&["--image", "registry.example/team/app:1.5"][..], "image-not-signed"),
        (&["--as", "oci-dir"], "usage"),
        (&["--as", "zip"], "usage"),
        (&["--frobnicate"], "usage"),
    ] {
        let output = place.command("export").args(["-o", "-", "--format", "json"]).args(more).output().unwrap();
        assert!(output.stdout.is_empty(), "{more:?}");
        let json = text(&output.stderr);
        let json: Value = serde_json::from_str(&json[json.find("{\n").unwrap()..]).unwrap();
        assert_eq!(json["findings"][0]["code"], code, "{more:?}");
    }
    // Whoever reads it goes away.
    let place = Place::large("stdout_closed");
    let mut child =
        place.command("export").args(["-o", "-"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("[output-unwritable]"), "{}", text(&output.stderr));
}

#[test]
fn nothing_is_overwritten_unless_asked_for_and_nothing_but_a_file() {
    let place = Place::small("exists");
    fs::create_dir_all(place.path("folder/inside")).unwrap();
    std::os::unix::fs::symlink("file", place.path("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path("fifo")).status().unwrap().success());
    let good = fs::read(place.path("app.tar")).unwrap();
    let cases: &[(&str, &str, bool, &str)] = &[
        ("file", "docker-archive", false, "output-exists"),
        ("file", "docker-archive", true, ""),
        ("file", "oci-archive", true, ""),
        ("file", "oci-dir", true, "output-exists"),
        ("folder", "docker-archive", true, "output-exists"),
        ("folder", "oci-dir", false, "output-exists"),
        ("folder", "oci-dir", true, "output-exists"),
        ("link", "docker-archive", false, "output-exists"),
        ("link", "docker-archive", true, "output-exists"),
        ("dangling", "docker-archive", false, "output-exists"),
        ("fifo", "docker-archive", true, "output-exists"),
        ("/dev/null", "docker-archive", true, "output-exists"),
        ("no/such/folder/file", "docker-archive", false, "output-unwritable"),
        ("no/such/folder/file", "oci-dir", false, "output-unwritable"),
        ("new", "docker-archive", false, ""),
        // The archive itself: what was opened is read, whatever has its name then.
        ("app.tar", "docker-archive", false, "output-exists"),
        ("app.tar", "docker-archive", true, ""),
    ];
    for (to, form, force, code) in cases {
        place.write("file", b"precious");
        place.write("app.tar", &good);
        let before = place.files();
        let mut arguments = vec!["-o", to, "--as", form];
        arguments.extend(force.then_some("--force"));
        let result = place.export(&arguments);
        assert_verdict(&result, if code.is_empty() { 0 } else { 2 }, code);
        if code.is_empty() {
            assert!(place.entries(to).len() > 3, "{to}");
        } else {
            assert_eq!(fs::read(place.path("file")).unwrap(), b"precious", "{to}, {form}");
            assert_eq!(place.files(), before, "{to}, {form}: nothing is left behind");
        }
    }
    assert!(place.path("folder/inside").is_dir() && !place.path("nowhere").exists());
}

#[test]
fn help_tells_how() {
    let place = Place::small("help");
    for (command, words) in [
        ("load", &["--into", "--into-command", "--into-arg", "--as", "--repository", "Exit codes"][..]),
        ("export", &["--output", "--as", "--force", "--repository", "Exit codes"]),
    ] {
        let help = Command::new(env!("CARGO_BIN_EXE_plimsoll")).args([command, "--help"]).output().unwrap();
        assert_eq!(help.status.code(), Some(0));
        for word in words {
            assert!(text(&help.stdout).contains(word), "{command}: {word}");
        }
        // Exit code 0 must not come from an archive that is called like an option.
        let output = place.command(command).arg("-h").output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command}");
    }
}
