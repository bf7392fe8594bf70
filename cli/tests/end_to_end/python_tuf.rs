//! Every shape of repository that python-tuf writes, around the small image in `test-repos/source`. Needs no daemon.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::archive::{DockerArchive, Flippable, entries, size, truncated, with_manifest};
use crate::plimsoll::Verify;
use crate::repository::Repository;
use crate::tools::{Need, Scratch, have, source_tree};

const NAME: &str = "registry.example/team/app:1.4";
const TARGET: &str = "registry.example/team/app/1.4/manifest.json";
const NEEDS: &[Need] = &[Need::PythonTuf];

fn source(file: &str) -> PathBuf {
    source_tree().join("test-repos/source").join(file)
}

/// Verifies an archive of the small image; each call starts with nothing trusted but the pinned root.
fn verify<'a>(archive: &'a Path, repository: &'a Repository, scratch: &Scratch) -> Verify<'a> {
    let store = scratch.join("store");
    let _ = fs::remove_dir_all(&store);
    Verify::new(archive, repository, store).image(NAME)
}

fn signed(scratch: &Scratch) -> Repository {
    Repository::create(scratch.join("repository"), &[(NAME, &source("app.manifest.json"))], &[])
}

#[test]
fn every_shape_of_repository_leads_to_the_image_it_signs() {
    if !have(NEEDS) {
        return;
    }
    let shapes: &[&[&str]] = &[
        &["--keys", "ed25519"],
        &["--keys", "ecdsa"],
        &["--keys", "rsa"],
        &["--keys", "mixed", "--no-consistent-snapshot"],
        &["--layout", "delegated"],
        &["--layout", "delegated", "--no-consistent-snapshot"],
        &["--layout", "nested", "--keys", "mixed"],
        &["--layout", "nested", "--no-consistent-snapshot"],
        &["--layout", "hash-bins", "--bins", "16"],
        &["--layout", "hash-bins", "--bins", "64", "--no-consistent-snapshot"],
        &["--layout", "succinct", "--bins", "16"],
        &["--layout", "succinct", "--bins", "32", "--no-consistent-snapshot"],
    ];
    let (app, old) = (source("app.tar"), source("app-old.tar"));
    for shape in shapes {
        let scratch = Scratch::new();
        let manifests = [source("app-old.manifest.json"), source("app.manifest.json")];
        let repository = Repository::create(scratch.join("repository"), &[(NAME, &manifests[0])], shape);
        verify(&old, &repository, &scratch).run().assert_trusted();
        repository.publish(&[(NAME, &manifests[1])]);
        assert_eq!(repository.fetch(TARGET), fs::read(&manifests[1]).unwrap(), "python-tuf disagrees about {shape:?}");
        verify(&app, &repository, &scratch).run().assert_trusted();
        verify(&old, &repository, &scratch).run().assert_refused_for("config-digest-mismatch");
    }
}

#[test]
fn an_image_by_another_name_is_not_signed() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let repository = signed(&scratch);
    let archive = source("app.tar");
    let named = |name| verify(&archive, &repository, &scratch).image(name).run();
    named(NAME).assert_trusted();
    for name in ["registry.example/team/app:1.5", "registry.example/team/other:1.4", "team/app:1.4"] {
        named(name).assert_refused_for("image-not-signed");
    }
}

#[test]
fn without_a_wanted_name_each_name_in_the_archive_must_be_signed() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let repository = signed(&scratch);
    let (archive, store) = (source("app.tar"), scratch.join("store"));
    Verify::new(&archive, &repository, store.clone()).run().assert_trusted();

    let other = scratch.join("other.tar");
    let unsigned = "registry.example/team/app:1.5";
    let cases = [
        (json!([unsigned]), "image-not-signed"),
        (json!([NAME, unsigned]), "image-not-signed"),
        (json!([]), "image-name-missing"),
        (json!(null), "image-name-missing"),
    ];
    for (tags, code) in cases {
        with_manifest(&archive, &other, |manifest| manifest[0]["RepoTags"] = tags);
        Verify::new(&other, &repository, store.clone()).run().assert_refused_for(code);
    }
}

#[test]
fn one_flipped_bit_in_any_byte_of_the_image_is_refused() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let repository = signed(&scratch);
    let archive = source("app.tar");
    let parts = DockerArchive::read(&archive);
    let copy = Flippable::copy(&archive, scratch.join("flipped.tar"));
    // A store that has seen this repository saves the work of trusting it anew each time.
    let store = scratch.join("store");
    let verify = |archive: &Path| Verify::new(archive, &repository, store.clone()).image(NAME).run();
    verify(&archive).assert_trusted();

    let bits = (0..8).cycle();
    // Of the control files each byte, of the layers, which are larger, every seventh.
    for part in [&parts.manifest, &parts.config] {
        for (index, bit) in (0..part.size).zip(bits.clone()) {
            copy.flipped(part.byte(index), bit, verify).assert_refused();
        }
    }
    for layer in &parts.layers {
        for (index, bit) in (0..layer.size).step_by(7).zip(bits.clone()) {
            copy.flipped(layer.byte(index), bit, verify).assert_refused();
        }
    }
    verify(&copy.path).assert_trusted();
}

#[test]
fn an_archive_cut_off_anywhere_before_its_end_is_refused() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let repository = signed(&scratch);
    let archive = source("app.tar");
    let last = entries(&archive).into_iter().max_by_key(|entry| entry.offset).unwrap();
    let manifest = DockerArchive::read(&archive).manifest;
    let store = scratch.join("store");
    let cut = scratch.join("cut.tar");
    for length in (0..size(&archive)).step_by(256) {
        truncated(&archive, length, &cut);
        let verdict = Verify::new(&cut, &repository, store.clone()).image(NAME).run();
        // Between entries, and after the last, a reader may take the end for the end. Whether the image is whole then still
        // depends on what is missing, which is never left undecided.
        let between = length.is_multiple_of(512) && length > manifest.last();
        if between && verdict.is_trusted() {
            assert!(length > last.last() || length < last.offset, "cut at {length} of {}\n{verdict}", last.name);
        } else {
            verdict.assert_refused();
        }
    }
}

#[test]
fn a_new_root_is_followed_and_the_old_keys_are_not() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let repository = signed(&scratch);
    let before = repository.mirror(scratch.join("before"));
    repository.rotate();
    let (archive, store) = (source("app.tar"), scratch.join("store"));
    let verify = |from| Verify::new(&archive, from, store.clone()).image(NAME).run();
    verify(&before).assert_trusted();
    let verdict = verify(&repository).assert_trusted();
    assert_eq!((verdict.version("root"), verdict.version("timestamp")), (2, 2));

    // The old timestamp, signed by the key that the new root took away.
    let stolen = repository.mirror(scratch.join("stolen"));
    fs::copy(before.dir.join("metadata/timestamp.json"), stolen.dir.join("metadata/timestamp.json")).unwrap();
    verify(&stolen).assert_refused_for("metadata-threshold").assert_names("timestamp");
    verify(&before).assert_refused_for("metadata-threshold");
}

#[test]
fn a_repository_of_other_keys_is_refused() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let repository = signed(&scratch);
    let other = Repository::create(scratch.join("other"), &[(NAME, &source("app.manifest.json"))], &[]);
    let archive = source("app.tar");
    let verdict = verify(&archive, &repository, &scratch).root(other.pinned_root()).run();
    verdict.assert_refused_for("metadata-threshold");
    verify(&archive, &repository, &scratch).run().assert_trusted();
}

#[test]
fn a_repository_that_is_out_of_date_is_refused() {
    if !have(NEEDS) {
        return;
    }
    let archive = source("app.tar");
    for role in ["timestamp", "snapshot", "targets", "root"] {
        let scratch = Scratch::new();
        let option = format!("--{role}-expires");
        let options = [&option, "2026-01-01T00:00:00Z"];
        let signed = [(NAME, &*source("app.manifest.json"))];
        let repository = Repository::create(scratch.join("repository"), &signed, &options);
        verify(&archive, &repository, &scratch).run().assert_refused_for("metadata-expired").assert_names(role);
    }
}

#[test]
fn one_flipped_bit_in_the_repository_is_refused() {
    if !have(NEEDS) {
        return;
    }
    let scratch = Scratch::new();
    let signed = [(NAME, &*source("app.manifest.json"))];
    let repository = Repository::create(scratch.join("repository"), &signed, &["--layout", "nested"]);
    let archive = source("app.tar");
    let mut files: Vec<PathBuf> =
        fs::read_dir(repository.dir.join("metadata")).unwrap().map(|file| file.unwrap().path()).collect();
    let targets = repository.dir.join("targets/registry.example/team/app/1.4");
    files.extend(fs::read_dir(targets).unwrap().map(|file| file.unwrap().path()));
    // The root with the version that is pinned is not asked for.
    files.retain(|file| !file.ends_with("1.root.json"));
    assert_eq!(files.len(), 7, "timestamp, snapshot, targets, three delegated roles, the manifest: {files:?}");
    for file in files {
        let mut bytes = fs::read(&file).unwrap();
        // In the signed part, which in python-tuf's files comes last; the manifest is signed as a whole.
        let at = bytes.len().strict_mul(3).strict_div(4);
        bytes[at] ^= 4;
        fs::write(&file, &bytes).unwrap();
        verify(&archive, &repository, &scratch).run().assert_refused();
        bytes[at] ^= 4;
        fs::write(&file, &bytes).unwrap();
    }
    verify(&archive, &repository, &scratch).run().assert_trusted();
}
