//! `plimsoll bundle`: from the publisher's repository across the gap to the verifier's verdict.

#![cfg(all(feature = "publish", unix))]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests state what they expect")]
#![allow(clippy::arithmetic_side_effects, clippy::type_complexity, reason = "tests state what they expect")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const IMAGE: &str = "registry.example/team/app:1.4";
const NOW: &str = "2030-01-01T00:00:00Z";
/// A package list of an image without a package.
const LIST: &str = r#"{"spdxVersion":"SPDX-2.3"}"#;
/// What the command prints of it.
const FIRST: &str = "2030-01-08T00:00:00Z";

/// Both sides of a gap: a publisher's `site`, bundles, and a reader's `local` repository with the reader's `store`.
struct Gap(PathBuf);

impl Gap {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bundle").join(test);
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// `site` signs the old image as 1.4, with a package list, in the role `team`; and another image, in another role.
    fn with_old_image(test: &str, init: &[&str]) -> Self {
        let gap = Self::new(test);
        gap.repository("init", init);
        for (role, paths) in [("team", "registry.example/team/*/*/*"), ("other", "registry.example/other/*/*/*")] {
            let key = format!("keys/{role}.pem");
            gap.ok(&["key", "generate", &key]);
            gap.repository("delegate", &[role, "--paths", paths, "--role-key", &key]);
        }
        fs::write(gap.path("packages.spdx.json"), LIST).unwrap();
        gap.repository("add", &[&samples("source/app-old.tar"), "--image", IMAGE, "--list", "spdx", "--role", "team"]);
        gap.repository(
            "add-file",
            &["packages.spdx.json", "--image", "registry.example/other/app:1", "--role", "other"],
        );
        gap
    }

    /// The new image takes the tag.
    fn publish_new_image(&self) {
        self.repository("add", &[&samples("good/app.tar"), "--image", IMAGE, "--role", "team"]);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.env_clear().env("HOME", &self.0).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    fn repository(&self, command: &str, more: &[&str]) -> String {
        let all = ["repository", command, "--repository", "site", "--time", NOW, "--keys", "keys"];
        self.ok(&[&all, more].concat())
    }

    /// `plimsoll bundle` with the root of `site` pinned, at `NOW` unless the arguments say another time.
    fn bundle(&self, arguments: &[&str]) -> Bundle {
        let mut all = vec!["bundle"];
        all.extend(arguments);
        for (name, value) in [("--time", NOW), ("--root", "site/metadata/1.root.json"), ("--format", "json")] {
            if !arguments.contains(&name) {
                all.extend([name, value]);
            }
        }
        let output = self.run(&all);
        let json = serde_json::from_slice(&output.stdout);
        let json = json.unwrap_or_else(|e| panic!("{arguments:?}: {e}: {}", text(&output.stderr)));
        Bundle { json, exit: output.status.code() }
    }

    /// With the publisher's own store.
    fn create(&self, output: &str, more: &[&str]) -> Bundle {
        let base = ["create", "--repository", "site", "--image", IMAGE, "-o", output, "--store", "publisher"];
        self.bundle(&[&base, more].concat())
    }

    fn check(&self, bundle: &str, store: &str, more: &[&str]) -> Bundle {
        self.bundle(&[&["verify", bundle, "--store", store], more].concat())
    }

    fn import(&self, bundle: &str, into: &str, store: &str, more: &[&str]) -> Bundle {
        self.bundle(&[&["import", bundle, "--into", into, "--store", store], more].concat())
    }

    /// The exit code of `plimsoll verify`.
    fn verify(&self, archive: &str, repository: &str, store: &str) -> Option<i32> {
        let base = ["verify", archive, "--repository", repository, "--store", store, "--time", NOW];
        self.run(&[&base[..], &["--root", "site/metadata/1.root.json"]].concat()).status.code()
    }

    fn copy(&self, from: &str, to: &str) {
        let _there_is_none = fs::remove_dir_all(self.path(to));
        assert!(Command::new("cp").args(["-r", from, to]).current_dir(&self.0).status().unwrap().success());
    }

    /// All files below a folder but for those in which an import works, with their contents.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let top = self.path(folder);
        let mut found = BTreeMap::new();
        let mut folders = vec![top.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.extend((!path.ends_with(".import")).then_some(path));
                } else {
                    let name = path.strip_prefix(&top).unwrap().display().to_string();
                    found.insert(name, fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    /// The one file of a bundle whose name ends so.
    fn file(&self, bundle: &str, end: &str) -> PathBuf {
        let files = self.files(bundle);
        let mut names = files.keys().filter(|name| name.ends_with(end));
        let name = names.next().unwrap_or_else(|| panic!("no {end} in {:?}", files.keys()));
        assert_eq!(names.next(), None);
        self.path(bundle).join(name)
    }
}

#[derive(Debug)]
struct Bundle {
    json: Value,
    exit: Option<i32>,
}

impl Bundle {
    #[track_caller]
    fn trusted(self) -> Value {
        assert_eq!((self.exit, &self.json["verdict"]), (Some(0), &json!("trusted")), "{:#}", self.json);
        assert_eq!(self.json["schema"], "plimsoll/bundle/v1");
        self.json
    }

    #[track_caller]
    fn refused(self, exit: i32, code: &str) -> Value {
        assert_eq!((self.exit, &self.json["findings"][0]["code"]), (Some(exit), &json!(code)), "{:#}", self.json);
        assert_eq!(self.json["verdict"], if exit == 1 { "untrusted" } else { "undecided" });
        self.json
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn samples(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../test-repos").join(path).display().to_string()
}

#[test]
fn a_bundle_carries_an_image_from_the_publisher_to_the_verdict_on_the_other_side() {
    let gap = Gap::with_old_image("whole", &[]);
    gap.publish_new_image();
    let created = gap.create("stick", &["--archive", &samples("good/app.tar")]).trusted();
    assert_eq!(created["written"], "stick");
    assert_eq!(created["images"][0]["image"], IMAGE);
    assert_eq!(created["images"][0]["signed_by"], json!(["targets", "team"]));
    assert_eq!(created["images"][0]["files"], 2);
    assert_eq!(created["images"][0]["first_to_expire"], json!({"role": "timestamp", "expires": FIRST}));
    assert_eq!(created["first_to_expire"], json!({"role": "timestamp", "expires": FIRST}));
    assert_eq!(created["archives"], json!([{"file": "app.tar", "images": [IMAGE], "platform": "linux/amd64"}]));

    // Just what is needed, byte for byte: the other role and the other image are not in it, nor what the tag meant before.
    let (site, bundle) = (gap.files("site"), gap.files("stick"));
    let names: Vec<&str> = bundle.keys().map(String::as_str).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("targets/registry.example/team/app/1.4/")).count(), 2);
    let others: Vec<&str> = names.into_iter().filter(|name| !name.starts_with("targets/")).collect();
    let metadata = |role: &str| {
        let version = created["roles"].as_array().unwrap().iter().find(|row| row["role"] == role).unwrap();
        format!("metadata/{}.{role}.json", version["version"])
    };
    let mut expected = vec!["archives/app.tar".to_owned(), "bundle.json".to_owned()];
    expected.extend(["root", "snapshot", "targets", "team"].map(metadata));
    expected.push("metadata/timestamp.json".to_owned());
    expected.sort();
    assert_eq!(others, expected);
    for (name, bytes) in bundle.iter().filter(|(name, _)| name.starts_with("metadata/") || name.starts_with("targets/"))
    {
        assert!(site[name] == *bytes, "{name}");
    }

    gap.check("stick", "store", &[]).trusted();
    assert!(!gap.path("store").exists(), "looking at a bundle changes nothing");
    // It is a repository itself, on read-only media too.
    let folders = ["stick", "stick/metadata", "stick/targets", "stick/archives"];
    let modes = |mode| {
        for folder in folders {
            fs::set_permissions(gap.path(folder), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    modes(0o555);
    assert_eq!(gap.verify("stick/archives/app.tar", "stick", "another-store"), Some(0));
    gap.check("stick", "store", &[]).trusted();
    let imported = gap.import("stick", "local", "store", &[]).trusted();
    modes(0o755);
    assert_eq!(imported["written"], "local");
    assert!(gap.path("store/timestamp.json").exists());
    let mut expected = bundle.clone();
    expected.remove("bundle.json");
    assert_eq!(gap.files("local"), expected);
    assert_eq!(gap.verify("local/archives/app.tar", "local", "store"), Some(0));
    assert_eq!(gap.verify(&samples("hostile/changed-layer/app.tar"), "local", "store"), Some(1));
    // Once more is no harm.
    gap.import("stick", "local", "store", &[]).trusted();
    assert_eq!(gap.files("local"), expected);

    let said = gap.ok(&["bundle", "verify", "stick", "--root", "site/metadata/1.root.json", "--time", NOW]);
    assert!(said.starts_with("trusted: bundle stick\n"), "{said}");
    assert!(said.contains(&format!("  expires   timestamp first, at {FIRST}\n")), "{said}");
}

#[test]
fn an_incremental_bundle_leaves_out_what_the_earlier_one_has_brought() {
    let gap = Gap::with_old_image("incremental", &[]);
    let old = samples("source/app-old.tar");
    gap.create("first", &["--archive", &old]).trusted();
    // Nothing but the online roles is new.
    gap.repository("timestamp", &[]);
    let second = gap.create("second", &["--archive", &old, "--since", "first"]).trusted();
    let list = gap.file("first", ".packages.spdx.json");
    let list = list.strip_prefix(gap.path("first")).unwrap().display().to_string();
    assert_eq!(second["left_out"], json!([list, "archives/app-old.tar"]));
    // A third one, against one that has left them out itself: the archive cannot be compared, so it goes with it.
    gap.repository("timestamp", &[]);
    let third = gap.create("third", &["--archive", &old, "--since", "second"]).trusted();
    assert_eq!(third["left_out"], json!([list]));
    // A file that only looks like the earlier one is not left out.
    gap.copy("first", "damaged");
    fs::write(gap.path("damaged").join(&list), "[]").unwrap();
    let fourth = gap.create("fourth", &["--archive", &old, "--since", "damaged"]).trusted();
    assert_eq!(fourth["left_out"], json!(["archives/app-old.tar"]));

    assert_eq!(gap.check("second", "store", &[]).trusted()["left_out"], second["left_out"]);
    let missing = gap.import("second", "local", "store", &[]).refused(2, "bundle-base-missing");
    assert_eq!(missing["findings"][0]["subject"], list.as_str());
    assert_eq!(gap.files("local"), BTreeMap::new());
    gap.import("first", "local", "store", &[]).trusted();
    gap.import("second", "local", "store", &[]).trusted();
    assert_eq!(gap.verify("local/archives/app-old.tar", "local", "store"), Some(0));
    gap.import("third", "local", "store", &[]).trusted();
    // What is there must still be what was signed.
    fs::write(gap.path("local").join(&list), "[]").unwrap();
    gap.import("fourth", "elsewhere", "store-2", &[]).refused(2, "bundle-base-missing");
    gap.import("third", "local", "store", &[]).refused(2, "bundle-base-missing");
}

/// Changes a bundle in the way of a row.
type Edit = fn(&Gap, &Path);

/// Copies a file over another.
fn put(from: impl AsRef<Path>, to: PathBuf) {
    fs::copy(from, to).unwrap();
}

fn overwrite(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn replace(path: &Path, from: &str, to: &str) {
    let before = fs::read_to_string(path).unwrap();
    assert!(before.contains(from), "{before}");
    fs::write(path, before.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_bundle_in_which_anything_was_changed_is_refused_and_nothing_of_it_imported() {
    let rows: &[(&str, Edit, i32, &str)] = &[
        (
            "timestamp is no JSON",
            |_, b| fs::write(b.join("metadata/timestamp.json"), "{").unwrap(),
            1,
            "metadata-malformed",
        ),
        (
            "timestamp says another version",
            |_, b| replace(&b.join("metadata/timestamp.json"), "\"_type\"", "\"x\":1,\"_type\""),
            1,
            "metadata-threshold",
        ),
        ("snapshot", |gap, _| overwrite(&gap.file("b", ".snapshot.json"), 100), 1, "signed-hash-mismatch"),
        ("targets", |gap, _| overwrite(&gap.file("b", ".targets.json"), 100), 1, "signed-hash-mismatch"),
        ("a delegated role", |gap, _| overwrite(&gap.file("b", ".team.json"), 100), 1, "signed-hash-mismatch"),
        (
            "the pinned root",
            |_, b| replace(&b.join("metadata/1.root.json"), "\"_type\"", "\"x\":1,\"_type\""),
            1,
            "metadata-threshold",
        ),
        (
            "another root of its version",
            |gap, b| put(gap.path("foreign/metadata/1.root.json"), b.join("metadata/1.root.json")),
            1,
            "bundle-extra-file",
        ),
        (
            "a root that is not signed by the one before",
            |_, b| put(b.join("metadata/1.root.json"), b.join("metadata/2.root.json")),
            1,
            "metadata-version",
        ),
        ("a manifest", |gap, _| overwrite(&gap.file("b", ".manifest.json"), 100), 1, "signed-hash-mismatch"),
        ("a package list", |gap, _| overwrite(&gap.file("b", ".spdx.json"), 0), 1, "signed-hash-mismatch"),
        (
            "a longer package list",
            |gap, _| fs::write(gap.file("b", ".spdx.json"), "{} ").unwrap(),
            1,
            "signed-length-mismatch",
        ),
        (
            "a layer of the archive",
            |_, b| {
                put(samples("hostile/changed-layer/app.tar"), b.join("archives/app.tar"));
            },
            1,
            "layer-diff-id-mismatch",
        ),
        ("no archive at all", |_, b| fs::write(b.join("archives/app.tar"), "no tar").unwrap(), 1, "archive-not-tar"),
        (
            "the archive of what the tag meant before",
            |_, b| put(samples("source/app-old.tar"), b.join("archives/app.tar")),
            1,
            "config-digest-mismatch",
        ),
        ("an extra file at the top", |_, b| fs::write(b.join("x"), "").unwrap(), 1, "bundle-extra-file"),
        ("an extra role", |_, b| fs::write(b.join("metadata/1.x.json"), "").unwrap(), 1, "bundle-extra-file"),
        ("an unversioned root", |_, b| fs::write(b.join("metadata/root.json"), "").unwrap(), 1, "bundle-extra-file"),
        ("an extra target", |_, b| fs::write(b.join("targets/x"), "").unwrap(), 1, "bundle-extra-file"),
        ("an extra archive", |_, b| fs::write(b.join("archives/x.tar"), "").unwrap(), 1, "bundle-extra-file"),
        (
            "a root after a gap",
            |_, b| put(b.join("metadata/1.root.json"), b.join("metadata/3.root.json")),
            1,
            "bundle-extra-file",
        ),
        (
            "a link in the place of a target",
            |gap, _| {
                let list = gap.file("b", ".spdx.json");
                fs::remove_file(&list).unwrap();
                std::os::unix::fs::symlink(gap.path("packages.spdx.json"), list).unwrap();
            },
            1,
            "bundle-file-missing",
        ),
        ("no package list", |gap, _| fs::remove_file(gap.file("b", ".spdx.json")).unwrap(), 1, "bundle-file-missing"),
        ("no archive", |_, b| fs::remove_file(b.join("archives/app.tar")).unwrap(), 1, "bundle-file-missing"),
        ("no manifest", |gap, _| fs::remove_file(gap.file("b", ".manifest.json")).unwrap(), 2, "repository-incomplete"),
        ("no snapshot", |gap, _| fs::remove_file(gap.file("b", ".snapshot.json")).unwrap(), 2, "repository-incomplete"),
        ("no team", |gap, _| fs::remove_file(gap.file("b", ".team.json")).unwrap(), 2, "repository-incomplete"),
        (
            "no timestamp",
            |_, b| fs::remove_file(b.join("metadata/timestamp.json")).unwrap(),
            2,
            "repository-incomplete",
        ),
        ("no contents", |_, b| fs::remove_file(b.join("bundle.json")).unwrap(), 2, "bundle-unreadable"),
        (
            "contents that are none",
            |_, b| fs::write(b.join("bundle.json"), "{}").unwrap(),
            1,
            "bundle-contents-malformed",
        ),
        (
            "an image that is not signed",
            |_, b| replace(&b.join("bundle.json"), "app:1.4\"", "app:1.5\""),
            1,
            "image-not-signed",
        ),
        (
            "an image that is hidden",
            |_, b| replace(&b.join("bundle.json"), "\"registry.example/team/app:1.4\"", ""),
            1,
            "bundle-contents-malformed",
        ),
        (
            "an archive that is hidden",
            |_, b| replace(&b.join("bundle.json"), "{\n      \"file\": \"app.tar\"\n    }", ""),
            1,
            "bundle-extra-file",
        ),
        (
            "a manifest that is said to be left out",
            |gap, b| {
                let manifest = gap.file("b", ".manifest.json");
                let name = manifest.strip_prefix(b).unwrap().display().to_string();
                replace(&b.join("bundle.json"), "\"left_out\": []", &format!("\"left_out\": [\"{name}\"]"));
                fs::remove_file(manifest).unwrap();
            },
            2,
            "repository-incomplete",
        ),
    ];
    let gap = Gap::with_old_image("changed", &[]);
    gap.publish_new_image();
    let foreign = ["repository", "init", "--repository", "foreign", "--keys", "foreign-keys", "--time", NOW];
    gap.ok(&foreign);
    gap.create("stick", &["--archive", &samples("good/app.tar")]).trusted();
    for (name, edit, exit, code) in rows {
        println!("{name}");
        gap.copy("stick", "b");
        gap.check("b", "store", &[]).trusted();
        edit(&gap, &gap.path("b"));
        gap.check("b", "store", &[]).refused(*exit, code);
        let imported = gap.import("b", "local", "store", &[]);
        assert_eq!((imported.exit == Some(0), &imported.json["written"]), (false, &Value::Null), "{name}");
        assert_eq!(gap.files("local"), BTreeMap::new(), "{name}");
        assert!(!gap.path("store").exists(), "{name}: the store has learnt of it");
    }
    gap.import("stick", "local", "store", &[]).trusted();
}

#[test]
fn an_import_for_one_image_leaves_no_other_behind() {
    let gap = Gap::with_old_image("others", &[]);
    let other = "registry.example/other/app:1";
    let manifest = samples("source/app.manifest.json");
    let sign_manifest = |image: &str, role: &str| {
        gap.repository("add-file", &[&manifest, "--image", image, "--as", "manifest.json", "--role", role]);
    };
    sign_manifest(other, "other");
    gap.create("both", &["--image", other]).trusted();
    gap.import("both", "local", "store", &[]).trusted();

    // A new version of the other's file: a bundle without it would leave the other without a role, and without its file.
    fs::write(gap.path("packages.spdx.json"), format!("{LIST} ")).unwrap();
    gap.repository("add-file", &["packages.spdx.json", "--image", other, "--role", "other"]);
    let before = gap.files("local");
    gap.create("one", &[]).trusted();
    gap.import("one", "local", "store", &[]).refused(2, "bundle-leaves-behind");
    assert_eq!(gap.files("local"), before);
    // Where there is nothing of the other, nothing of it is missed.
    gap.import("one", "fresh", "fresh-store", &[]).trusted();
    gap.create("both-again", &["--image", other]).trusted();
    gap.import("both-again", "local", "store", &[]).trusted();

    // The same where the top-level role signs the file itself, so that the role is there and its file is not.
    gap.repository("remove", &["--image", other]);
    gap.repository("add-file", &["packages.spdx.json", "--image", "registry.example/top/app:1", "--role", "targets"]);
    sign_manifest("registry.example/top/app:1", "targets");
    let top = ["--image", "registry.example/top/app:1"];
    gap.create("top", &top).trusted();
    // Nobody can say of the other's role any more what it was for, but the operator can.
    gap.import("top", "local", "store", &[]).refused(2, "bundle-leaves-behind");
    gap.import("top", "local", "store", &["--leave-behind"]).trusted();
    fs::remove_dir_all(gap.path("local")).unwrap();
    gap.import("top", "local", "store", &[]).trusted();
    fs::write(gap.path("packages.spdx.json"), format!("{LIST}  ")).unwrap();
    gap.repository("add-file", &["packages.spdx.json", "--image", "registry.example/top/app:1", "--role", "targets"]);
    gap.create("not-top", &[]).trusted();
    gap.import("not-top", "local", "store", &[]).refused(2, "bundle-leaves-behind");
    gap.create("top-again", &top).trusted();
    gap.import("top-again", "local", "store", &[]).trusted();
}

#[test]
fn one_flipped_bit_anywhere_in_a_signed_part_of_a_bundle_is_refused() {
    let gap = Gap::with_old_image("flipped", &[]);
    gap.create("b", &[]).trusted();
    let mut tried = 0;
    for (name, bytes) in gap.files("b").iter().filter(|(name, _)| *name != "bundle.json") {
        for at in (0..bytes.len()).step_by(43) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(gap.path("b").join(name), &changed).unwrap();
            let found = gap.check("b", "store", &[]);
            assert_eq!(found.exit, Some(1), "{name} at {at}: {:#}", found.json);
            tried += 1;
        }
        fs::write(gap.path("b").join(name), bytes).unwrap();
    }
    assert!(tried > 100, "{tried}");
    gap.check("b", "store", &[]).trusted();
}

#[test]
fn an_older_bundle_after_a_newer_one_is_refused() {
    let gap = Gap::with_old_image("back", &[]);
    gap.create("old", &[]).trusted();
    gap.publish_new_image();
    gap.create("new", &[]).trusted();

    // Looking at the newer one is not yet having it.
    gap.check("new", "store", &[]).trusted();
    gap.check("old", "store", &[]).trusted();
    gap.import("old", "local", "store", &[]).trusted();
    gap.import("new", "local", "store", &[]).trusted();
    let now = gap.files("local");
    gap.check("old", "store", &[]).refused(1, "metadata-rollback");
    gap.import("old", "local", "store", &[]).refused(1, "metadata-rollback");
    gap.import("old", "elsewhere", "store", &[]).refused(1, "metadata-rollback");
    // Without a memory, what the repository holds is what counts; where there is none, the bundle is as good as any.
    gap.import("old", "local", "no-store", &[]).refused(1, "metadata-rollback");
    assert!(!gap.path("no-store").exists());
    // Also when all that it holds has expired, which is when bundles are most wanted.
    let late = ["--time", "2030-01-09T00:00:00Z", "--max-staleness", "7d"];
    gap.import("old", "local", "no-store", &late).refused(1, "metadata-rollback");
    assert_eq!(gap.files("local"), now);
    gap.import("new", "local", "no-store", &late).trusted();
    gap.import("old", "nowhere", "fresh-store", &[]).trusted();

    // The publisher's own memory counts too: a bundle is not made of a repository that went back.
    gap.copy("old", "mirror");
    let base = ["create", "--repository", "mirror", "--image", IMAGE, "-o", "again"];
    gap.bundle(&[&base[..], &["--store", "publisher"]].concat()).refused(1, "metadata-rollback");
    assert!(!gap.path("again").exists());
    gap.bundle(&[&base[..], &["--store", "another"]].concat()).trusted();
}

#[test]
fn the_role_that_has_expired_is_named() {
    let rows = [
        ("timestamp=1d", "snapshot=3d", "2030-01-02T00:00:00Z", "timestamp"),
        ("timestamp=3d", "snapshot=1d", "2030-01-02T00:00:00Z", "snapshot"),
    ];
    for (timestamp, snapshot, late, role) in rows {
        let gap = Gap::with_old_image(&format!("expired-{role}"), &["--valid", timestamp, "--valid", snapshot]);
        let created = gap.create("b", &[]).trusted();
        assert_eq!(created["first_to_expire"], json!({"role": role, "expires": late}));
        gap.check("b", "store", &["--time", "2030-01-01T23:59:59Z"]).trusted();
        for found in [
            gap.check("b", "store", &["--time", late]),
            gap.import("b", "local", "store", &["--time", late]),
            gap.create("c", &["--time", late]),
        ] {
            assert_eq!(found.refused(1, "metadata-expired")["findings"][0]["subject"], role);
        }
        assert!(gap.files("local").is_empty() && !gap.path("c").exists());
        let stale = gap.check("b", "store", &["--time", late, "--max-staleness", "1h"]).trusted();
        let expired: Vec<&Value> = stale["roles"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|row| row["expired"] == true)
            .map(|row| &row["role"])
            .collect();
        assert_eq!(expired, [role]);
    }
}

#[test]
fn a_bundle_is_not_made_of_what_does_not_verify_nor_where_something_is() {
    let gap = Gap::with_old_image("not-made", &[]);
    gap.publish_new_image();
    let good = samples("good/app.tar");
    fs::create_dir(gap.path("folder")).unwrap();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--archive", &samples("source/app-old.tar")], 1, "config-digest-mismatch"),
        (&["--archive", &samples("hostile/changed-layer/app.tar")], 1, "layer-diff-id-mismatch"),
        (&["--archive", &samples("hostile/wrong-tag/app.tar")], 1, "image-not-signed"),
        (&["--archive", "packages.spdx.json"], 1, "archive-not-tar"),
        (&["--archive", "folder"], 2, "usage"),
        (&["--archive", &good, "--archive", &good], 2, "usage"),
        (&["--image", "registry.example/team/app:1.5"], 1, "image-not-signed"),
        (&["--root", "packages.spdx.json"], 2, "pinned-root-invalid"),
        (&["--root", "missing.json"], 2, "pinned-root-unreadable"),
        (&["--since", "folder"], 2, "bundle-unreadable"),
        (&["--target-path", "{host}~{repository}~{tag}~{file}"], 1, "image-not-signed"),
    ];
    let before = fs::read_dir(&gap.0).unwrap().count();
    for (more, exit, code) in rows {
        gap.create("b", more).refused(*exit, code);
        assert!(!gap.path("b").exists(), "{more:?}");
    }
    // The publisher's store is all that was made.
    assert_eq!(fs::read_dir(&gap.0).unwrap().count(), before + 1);
    gap.create("folder", &[]).refused(2, "output-exists");
    gap.create("packages.spdx.json", &[]).refused(2, "output-exists");
    gap.create("b", &["--archive", &good]).trusted();
    gap.create("b", &[]).refused(2, "output-exists");
    gap.check("b", "store", &[]).trusted();
}

#[test]
fn new_keys_are_carried_across_and_another_repository_is_not_overwritten() {
    let gap = Gap::with_old_image("keys", &[]);
    gap.create("old", &[]).trusted();
    gap.import("old", "local", "store", &[]).trusted();
    gap.ok(&["key", "generate", "keys/timestamp-2.pem"]);
    let rotation = ["timestamp", "--remove", "keys/timestamp.pub.pem", "--add", "keys/timestamp-2.pem"];
    gap.repository("rotate", &rotation);
    let new = gap.create("new", &[]).trusted();
    assert_eq!((&new["roles"][0]["role"], &new["roles"][0]["version"]), (&json!("root"), &json!(2)));
    assert!(gap.path("new/metadata/1.root.json").exists() && gap.path("new/metadata/2.root.json").exists());

    // Where the second root is pinned already, the first still is a part of the chain; and a bundle from the second on fits too.
    let pinned = ["--root", "new/metadata/2.root.json"];
    gap.check("new", "second-store", &pinned).trusted();
    gap.create("from-second", &pinned).trusted();
    assert!(!gap.path("from-second/metadata/1.root.json").exists());
    gap.import("from-second", "local", "store", &[]).trusted();
    gap.import("new", "local", "store", &[]).trusted();
    gap.import("old", "local", "no-store", &[]).refused(1, "metadata-rollback");
    assert_eq!(gap.verify(&samples("source/app-old.tar"), "local", "store"), Some(0));

    // A repository of other keys: not by those who pin this root, and not into this one by those who pin the other.
    gap.ok(&["repository", "init", "--repository", "site-2", "--keys", "keys-2", "--time", NOW]);
    let add = ["repository", "add", &samples("good/app.tar"), "--image", IMAGE, "--repository", "site-2"];
    gap.ok(&[&add[..], &["--keys", "keys-2", "--time", NOW]].concat());
    let other = ["--root", "site-2/metadata/1.root.json", "--store", "store-2"];
    let create = ["create", "--repository", "site-2", "--image", IMAGE, "-o", "foreign"];
    gap.bundle(&[&create[..], &other].concat()).trusted();
    gap.check("foreign", "store", &[]).refused(1, "metadata-threshold");
    let now = gap.files("local");
    gap.bundle(&[&["import", "foreign", "--into", "local"][..], &other].concat())
        .refused(2, "repository-of-another-root");
    assert_eq!(gap.files("local"), now);
    // Nor one that cannot be compared. An empty folder is none.
    gap.copy("local", "rootless");
    fs::create_dir_all(gap.path("local-2/metadata")).unwrap();
    for version in ["1", "2"] {
        fs::remove_file(gap.path("rootless/metadata").join(format!("{version}.root.json"))).unwrap();
    }
    gap.import("new", "rootless", "no-store", &[]).refused(2, "repository-of-another-root");
    gap.bundle(&[&["import", "foreign", "--into", "local-2"][..], &other].concat()).trusted();
}

#[test]
fn a_bundle_of_a_flat_repository_is_made_and_read_by_its_template() {
    let template = "role/{host}~{repository}~{tag}~{file}";
    let gap = Gap::new("flat");
    gap.repository("init", &["--target-path", template]);
    gap.repository("add", &[&samples("good/app.tar"), "--image", IMAGE]);
    let flat = ["--target-path", template];
    gap.create("b", &[&flat[..], &["--archive", &samples("good/app.tar")]].concat()).trusted();
    gap.check("b", "store", &flat).trusted();
    gap.check("b", "store", &[]).refused(1, "image-not-signed");
    gap.import("b", "local", "store", &flat).trusted();
    let verify = ["verify", "local/archives/app.tar", "--repository", "local", "--root", "site/metadata/1.root.json"];
    gap.ok(&[&verify[..], &flat, &["--time", NOW]].concat());
}

#[test]
fn the_page_about_bundles_shows_what_the_command_prints() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/bundle.md")).unwrap();
    let commands: Vec<Vec<&str>> = page
        .lines()
        .filter_map(|line| line.strip_prefix("cargo run --release -- "))
        .map(|line| line.split(' ').collect())
        .collect();
    let gap = Gap::new("page");
    std::os::unix::fs::symlink(samples("."), gap.path("test-repos")).unwrap();
    let printed: Vec<String> =
        commands.iter().map(|command| gap.ok(&[command, &["--time", NOW][..]].concat())).collect();
    let shown = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!((printed.len(), printed[1].as_str()), (2, shown));
}

/// Imports until the `n`th call of this kind, and is killed there. False if there are not as many.
fn killed_at(gap: &Gap, call: &str, n: u32) -> bool {
    let mut command = Command::new("strace");
    let inject = format!("inject={call}:signal=KILL:when={n}");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject]);
    command.arg(env!("CARGO_BIN_EXE_plimsoll")).args(["bundle", "import", "new", "--into", "local"]);
    command.args(["--root", "site/metadata/1.root.json", "--store", "store", "--time", NOW]);
    let status = command.current_dir(&gap.0).stdout(Stdio::null()).stdin(Stdio::null()).status().unwrap();
    // strace ends as the program did that it watched.
    assert!(status.success() || status.signal() == Some(9), "{call} {n}: {status}");
    !status.success()
}

#[test]
fn killed_at_any_call_that_changes_the_disk_readers_see_the_old_state_or_the_new() {
    let answers = Command::new("strace").args(["-qq", "true"]).stderr(Stdio::null()).status();
    if !answers.is_ok_and(|status| status.success()) {
        let required = std::env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "no strace, or no right to use it");
        eprintln!("skipped: no strace, or no right to use it");
        return;
    }
    let gap = Gap::with_old_image("killed", &[]);
    gap.create("old", &["--archive", &samples("source/app-old.tar")]).trusted();
    gap.import("old", "before", "store-before", &[]).trusted();
    // A new image, and a root that takes the key of the timestamp away: found by readers as soon as it is there.
    gap.publish_new_image();
    gap.ok(&["key", "generate", "keys/timestamp-2.pem"]);
    let rotation = ["timestamp", "--remove", "keys/timestamp.pub.pem", "--add", "keys/timestamp-2.pem"];
    gap.repository("rotate", &rotation);
    gap.create("new", &["--archive", &samples("good/app.tar")]).trusted();

    let (old, new) = (samples("source/app-old.tar"), samples("good/app.tar"));
    let (mut kills, mut states) = (0, [0, 0]);
    for call in ["mkdir", "rename", "renameat2", "linkat", "link", "unlinkat", "fsync"] {
        // Between two syncs of files that nobody finds yet nothing is seen to change, so every third will do.
        for n in (1..).step_by(if call == "fsync" { 3 } else { 1 }) {
            gap.copy("before", "local");
            gap.copy("store-before", "store");
            if !killed_at(&gap, call, n) {
                break;
            }
            kills += 1;
            // A reader with a memory of its own, and the one whose memory the import uses.
            for store in ["store-before", "store"] {
                gap.copy(store, "reader");
                let found = [&old, &new].map(|archive| gap.verify(archive, "local", "reader"));
                match found {
                    [Some(0), Some(1)] => states[0] += 1,
                    [Some(1), Some(0)] => states[1] += 1,
                    other => panic!("{call} {n}, {store}: neither the old state nor the new: {other:?}"),
                }
            }
            gap.import("new", "local", "store", &[]).trusted();
            assert_eq!(gap.verify(&new, "local", "store"), Some(0), "{call} {n}");
        }
    }
    println!("{kills} instants: {} in the old state, {} in the new", states[0], states[1]);
    assert!(kills > 20 && states[0] > 0 && states[1] > 0, "{kills} {states:?}");
}
