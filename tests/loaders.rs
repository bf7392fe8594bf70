//! The loaders themselves as the judges: whatever is trusted here, each loader that accepts it loads exactly the signed image, under the
//! verified name or none.
//!
//! Archives of every form are changed in every small way that can be thought of; those that are still trusted are given to docker,
//! podman and skopeo, each with an empty store. What is missing on a machine is skipped, and said to be. With everything there:
//!
//! ```sh
//! PLIMSOLL_REQUIRE_TOOLS=1 .ci/with-docker cargo test --release -p plimsoll --test loaders
//! ```
//!
//! That takes one in eight of them, evenly; with `PLIMSOLL_ALL_ARCHIVES=1`, all, which takes a quarter of an hour.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::arithmetic_side_effects,
    reason = "tests state what they expect"
)]

mod support;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use plimsoll::digest::Sha256;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::inventory::Inventory;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use serde_json::Value;
use support::image::*;

/// Three layers, of which the last is the first again.
fn image() -> Image {
    let (a, b) = (layer("etc/motd", b"hello\n"), layer("bin/app", b"#!/bin/sh\n"));
    Image::new(&[a.clone(), b, a], Stored::Gzip)
}

/// Whether `archive` is trusted as [`NAME`].
fn is_trusted(image: &Image, archive: &[u8]) -> bool {
    let (name, limits) = (ImageName::parse(NAME).unwrap(), ArchiveLimits::default());
    let signed = SignedImage::from_manifest(&name, &image.manifest(), None, &limits).unwrap();
    let measured = Inventory::scan(archive, &limits).and_then(|inventory| inventory.measure(&limits, &|_, _| {}));
    measured.is_ok_and(|measured| check(&signed, &[name], &measured).is_ok())
}

/// Every archive that differs from a good one in one small thing, with what was changed.
fn changed_archives(image: &Image) -> Vec<(String, Vec<u8>)> {
    let forms: [(&str, Vec<Item>); 5] = [
        ("classic", classic(image, &[NAME])),
        ("classic without a name", classic(image, &[])),
        ("hybrid", hybrid(image, &[NAME])),
        ("registry hybrid", registry_hybrid(image, &[NAME])),
        ("oci", oci_archive(image, &[NAME])),
    ];
    let mut archives = Vec::new();
    for (form, items) in &forms {
        let mut add = |what: String, items: &[Item]| archives.push((format!("{form}: {what}"), tar(items)));
        add("nothing".to_owned(), items);
        for (i, item) in items.iter().enumerate() {
            for (what, items) in changed_entries(items, i) {
                add(format!("{what} {}", item.name()), &items);
            }
        }
        for name in ["manifest.json", "index.json", "oci-layout", "repositories"] {
            let Some(place) = items.iter().position(|item| item.name() == name) else { continue };
            let value: Value = serde_json::from_slice(&items[place].content).unwrap();
            for (what, text) in changed_json(&value) {
                let mut items = items.clone();
                replace(&mut items, name, text.as_bytes());
                add(format!("{name} with {what}: {text}"), &items);
            }
        }
    }
    archives
}

fn changed_entries(items: &[Item], i: usize) -> Vec<(&'static str, Vec<Item>)> {
    let item = &items[i];
    let name = item.name().to_owned();
    let with = |change: &dyn Fn(&mut Vec<Item>)| {
        let mut items = items.to_vec();
        change(&mut items);
        items
    };
    let content = |content: Vec<u8>| with(&|items| items[i].content.clone_from(&content));
    let renamed = |to: &str| with(&|items| items[i].header.as_mut().unwrap().name = to.to_owned());
    let mut changed = vec![
        ("without", with(&|items| drop(items.remove(i)))),
        ("twice", with(&|items| items.push(item.clone()))),
        ("twice, first empty,", with(&|items| items.insert(0, Item { content: Vec::new(), ..item.clone() }))),
        ("twice, last empty,", with(&|items| items.push(Item { content: Vec::new(), ..item.clone() }))),
        ("at the front", with(&|items| items[..=i].rotate_right(1))),
        ("at the end", with(&|items| items[i..].rotate_left(1))),
        ("./ before", renamed(&format!("./{name}"))),
        ("/ before", renamed(&format!("/{name}"))),
        ("/ doubled in", renamed(&name.replace('/', "//"))),
        ("upper case in", renamed(&name.to_uppercase())),
        ("PAX times for", with(&|items| items.insert(i, pax(&[("mtime", "1.5")])))),
        ("a PAX path for", with(&|items| items.insert(i, pax(&[("path", &name)])))),
        ("another PAX path for", with(&|items| items.insert(i, pax(&[("path", "other")])))),
        ("a GNU name for", with(&|items| items.insert(i, gnu_long_name(&name)))),
        ("another GNU name for", with(&|items| items.insert(i, gnu_long_name("other")))),
        (
            "an old-style header for",
            with(&|items| {
                let kind = &mut items[i].header.as_mut().unwrap().kind;
                *kind = if *kind == b'0' { 0 } else { *kind };
            }),
        ),
        ("a file before", with(&|items| items.insert(i, file("note", b"x")))),
        ("a directory before", with(&|items| items.insert(i, dir("notes/")))),
        ("a link beside", with(&|items| items.push(link("links/one", &format!("../{name}"))))),
        (
            "a hard link to",
            with(&|items| {
                let mut hard = special(b'1', "hard", b"");
                hard.header.as_mut().unwrap().link.clone_from(&name);
                items.push(hard);
            }),
        ),
    ];
    if !item.content.is_empty() {
        let bytes = &item.content;
        let flipped = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            bytes
        };
        changed.extend([
            ("a flipped first bit in", content(flipped(0))),
            ("a flipped middle bit in", content(flipped(bytes.len() / 2))),
            ("a flipped last bit in", content(flipped(bytes.len() - 1))),
            ("a newline after", content([bytes.as_slice(), b"\n"].concat())),
            ("a space before", content([b" ", bytes.as_slice()].concat())),
            ("a byte less in", content(bytes[..bytes.len() - 1].to_vec())),
            ("512 zeros after", content([bytes.as_slice(), &[0; 512]].concat())),
            ("gzip of", content(gzip(bytes))),
            ("zstd of", content(zstd(bytes))),
            ("gzip twice of", content(gzip(&gzip(bytes)))),
            ("two gzip members of", content([gzip(&bytes[..1]), gzip(&bytes[1..])].concat())),
            ("gzip and a byte of", content([gzip(bytes).as_slice(), b"x"].concat())),
            ("nothing in", content(Vec::new())),
        ]);
    }
    changed
}

/// Documents that differ from a good one in one value, key or token.
fn changed_json(value: &Value) -> Vec<(&'static str, String)> {
    let text = value.to_string();
    let mut changed = vec![
        ("white space", serde_json::to_string_pretty(value).unwrap()),
        ("a newline", format!("{text}\n")),
        ("a second value", format!("{text}{text}")),
        ("NUL after it", format!("{text}\0")),
        ("a byte order mark", format!("\u{feff}{text}")),
    ];
    changed.extend(changed_values(value).into_iter().map(|(what, value)| (what, value.to_string())));
    // What a tree of values cannot hold: keys twice, and in another case.
    for key in ["Config", "RepoTags", "Layers", "manifests", "digest", "mediaType", "size", "annotations"] {
        let quoted = format!("\"{key}\":");
        for (what, twin) in [
            ("a key twice", format!("\"{key}\":null,{quoted}")),
            ("a key in lower case", format!("\"{}\":null,{quoted}", key.to_lowercase())),
            ("a key in upper case", format!("\"{}\":[],{quoted}", key.to_uppercase())),
            ("a key in upper case alone", format!("\"{}\":", key.to_uppercase())),
            ("an escaped key", format!("\"\\u{:04x}{}\":", u32::from(key.as_bytes()[0]), &key[1..])),
        ] {
            if text.contains(&quoted) {
                changed.push((what, text.replacen(&quoted, &twin, 1)));
            }
        }
    }
    changed
}

fn changed_values(value: &Value) -> Vec<(&'static str, Value)> {
    let mut changed = vec![("null", Value::Null), ("a number", 7.into()), ("an empty text", "".into())];
    match value {
        Value::Object(object) => {
            for (key, inner) in object {
                let mut without = object.clone();
                without.remove(key);
                changed.push(("a key less", without.into()));
                for (what, inner) in changed_values(inner) {
                    let mut object = object.clone();
                    object.insert(key.clone(), inner);
                    changed.push((what, object.into()));
                }
            }
            for key in ["x", "Parent", "urls", "data", "platform", "subject", "artifactType"] {
                let mut more = object.clone();
                more.insert(key.to_owned(), "x".into());
                changed.push(("a key more", more.into()));
            }
        }
        Value::Array(items) => {
            changed.push(("an empty list", Value::Array(Vec::new())));
            changed.push(("a list turned round", items.iter().rev().cloned().collect()));
            for (i, item) in items.iter().enumerate() {
                let with = |change: &dyn Fn(&mut Vec<Value>)| {
                    let mut items = items.clone();
                    change(&mut items);
                    Value::Array(items)
                };
                changed.push(("an item less", with(&|items| drop(items.remove(i)))));
                changed.push(("an item twice", with(&|items| items.insert(i, item.clone()))));
                for (what, inner) in changed_values(item) {
                    changed.push((what, with(&|items| items[i] = inner.clone())));
                }
            }
        }
        Value::String(text) => {
            for (what, text) in [
                ("a text with a space", format!("{text} ")),
                ("a text with ./", format!("./{text}")),
                ("a text in upper case", text.to_uppercase()),
                ("a text and more", format!("{text}0")),
                ("the short name", "team/app:1.4".to_owned()),
                ("another tag", text.replace("1.4", "1.5")),
            ] {
                changed.push((what, text.into()));
            }
        }
        Value::Number(_) => changed.push(("one more", (value.as_u64().unwrap() + 1).into())),
        Value::Null | Value::Bool(_) => {}
    }
    changed
}

/// What podman makes of an OCI layout that names its image by the bare tag alone, as the OCI convention has it and umoci and skopeo write it:
/// rule 17 accepts that, for the image is the right one. `plimsoll load` gives it the verified name.
const BARE_TAG: (&str, &str) = ("podman", "localhost/1.4:latest");

/// Image IDs with names.
type Loaded = BTreeSet<(String, String)>;

/// A loader, and what it has loaded from one archive into an empty store. `None`: it refused, and loaded nothing.
struct Loader {
    name: &'static str,
    is_there: fn() -> bool,
    load: fn(archive: &Path, scratch: &Path) -> Option<Loaded>,
}

const LOADERS: &[Loader] = &[
    Loader { name: "docker", is_there: docker_is_there, load: docker },
    Loader { name: "podman", is_there: || answers("podman", &["--version"]), load: podman },
    Loader {
        name: "skopeo docker-archive",
        is_there: || answers("skopeo", &["--version"]),
        load: |a, s| skopeo("docker-archive", a, s),
    },
    Loader {
        name: "skopeo oci-archive",
        is_there: || answers("skopeo", &["--version"]),
        load: |a, s| skopeo("oci-archive", a, s),
    },
];

fn answers(program: &str, arguments: &[&str]) -> bool {
    run(Command::new(program).args(arguments)).is_some_and(|output| output.status.success())
}

fn run(command: &mut Command) -> Option<Output> {
    command.stdin(Stdio::null()).output().ok()
}

/// What a command prints; `None` if it fails.
fn printed(command: &mut Command) -> Option<String> {
    let output = run(command)?;
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

/// The tests' own daemon, never the user's.
fn docker_command(arguments: &[&str]) -> Command {
    let mut command = Command::new("docker");
    command.env("DOCKER_HOST", env::var_os("PLIMSOLL_DOCKER_HOST").unwrap_or_default()).env_remove("DOCKER_CONTEXT");
    command.args(arguments);
    command
}

fn docker_is_there() -> bool {
    env::var_os("PLIMSOLL_DOCKER_HOST").is_some()
        && run(&mut docker_command(&["version"])).is_some_and(|o| o.status.success())
}

fn docker(archive: &Path, _: &Path) -> Option<Loaded> {
    let list = || {
        printed(&mut docker_command(&["images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"]))
            .unwrap()
    };
    assert_eq!(list(), "", "the daemon's store has to be empty");
    let loaded = printed(docker_command(&["load", "--quiet", "--input"]).arg(archive)).is_some();
    let images = pairs(&list());
    for (id, _) in &images {
        printed(&mut docker_command(&["rmi", "--force", id])).unwrap();
    }
    // It may have stored one image before it failed at the next.
    (loaded || !images.is_empty()).then_some(images)
}

fn podman(archive: &Path, scratch: &Path) -> Option<Loaded> {
    let podman = |arguments: &[&str]| {
        let mut command = Command::new("podman");
        command.arg("--root").arg(scratch.join("root")).arg("--runroot").arg(scratch.join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments);
        command
    };
    let loaded = printed(podman(&["load", "--quiet", "--input"]).arg(archive)).is_some();
    let format = ["images", "--all", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"];
    let images = pairs(&printed(&mut podman(&format)).unwrap());
    (loaded || !images.is_empty()).then_some(images)
}

fn skopeo(form: &str, archive: &Path, scratch: &Path) -> Option<Loaded> {
    let out = scratch.join("dir");
    let mut command = Command::new("skopeo");
    command.args(["--insecure-policy", "copy", "--quiet"]).arg(format!("{form}:{}", archive.display()));
    printed(command.arg(format!("dir:{}", out.display())))?;
    let manifest: Value = serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    // It names nothing: where to was said by the caller.
    Some(BTreeSet::from([(manifest["config"]["digest"].as_str().unwrap().to_owned(), "<none>:<none>".to_owned())]))
}

fn pairs(lines: &str) -> Loaded {
    lines.lines().map(|line| line.split_once(' ').unwrap()).map(|(id, name)| (id.to_owned(), name.to_owned())).collect()
}

/// A folder of its own, gone when dropped. Its path has no `:`, which `skopeo` and `podman` take for a separator.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("loaders-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind when it cannot be removed: below the target directory that does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_trusted_every_loader_loads_as_the_signed_image_or_not_at_all() {
    let required = env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    let (there, missing): (Vec<_>, Vec<_>) = LOADERS.iter().partition(|loader| (loader.is_there)());
    for loader in &missing {
        assert!(!required, "{} is missing", loader.name);
        eprintln!("skipped: {}: not there", loader.name);
    }

    let image = image();
    let all = changed_archives(&image);
    let trusted: Vec<_> = all.iter().filter(|(_, archive)| is_trusted(&image, archive)).collect();
    // Else this test would be about nothing, or about everything.
    assert!(trusted.len() > 100 && trusted.len() * 2 < all.len(), "{} of {} are trusted", trusted.len(), all.len());

    let id = Sha256::of(&image.config).to_string();
    let (mut seen, mut loads, mut wrong) = (BTreeSet::new(), vec![0_usize; there.len()], Vec::new());
    let step = if env::var_os("PLIMSOLL_ALL_ARCHIVES").is_some() { 1 } else { 8 };
    for (what, archive) in trusted.iter().step_by(step) {
        if !seen.insert(Sha256::of(archive)) {
            continue;
        }
        for (loader, count) in there.iter().zip(&mut loads) {
            let scratch = Scratch::new();
            let file = scratch.0.join("archive.tar");
            fs::write(&file, archive).unwrap();
            let Some(images) = (loader.load)(&file, &scratch.0) else { continue };
            *count += 1;
            let right = |(found, name): &(String, String)| {
                let named =
                    [NAME, "<none>:<none>"].contains(&name.as_str()) || (loader.name, name.as_str()) == BARE_TAG;
                *found == id && named
            };
            if !images.iter().all(right) {
                wrong.push(format!("{}: {what}: {images:?}", loader.name));
            }
        }
    }
    for (loader, count) in there.iter().zip(&loads) {
        eprintln!(
            "{}: loaded {count} of {} trusted archives, of {} that were made",
            loader.name,
            seen.len(),
            all.len()
        );
    }
    assert!(wrong.is_empty(), "expected {id} as {NAME}:\n{}", wrong.join("\n"));
    assert!(loads.iter().all(|count| *count > 20), "a loader loads next to nothing");
}
