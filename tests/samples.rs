//! The samples in `test-repos/`: still what the program makes, and each row of its README true.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests state what they expect")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::client::{Client, DirSource, Mirrors, Store};
use plimsoll::map::{Location, PinnedMap, Repositories};
use plimsoll::verdict::Verdict;
use plimsoll::verify::Verifier;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos")
}

fn read_all(folder: &Path, below: &Path, into: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, below, into);
        } else {
            into.insert(path.strip_prefix(below).unwrap().display().to_string(), fs::read(&path).unwrap());
        }
    }
}

#[test]
fn they_are_what_the_program_makes_byte_for_byte() {
    let made = support::samples::files(&samples().join("source"));
    let mut there = BTreeMap::new();
    read_all(&samples(), &samples(), &mut there);
    there.retain(|name, _| !name.starts_with("source/") && !name.ends_with("README.md"));
    let (made_names, there_names): (Vec<_>, Vec<_>) = (made.keys().collect(), there.keys().collect());
    assert_eq!(made_names, there_names);
    for (name, bytes) in &made {
        assert!(&there[name] == bytes, "{name} differs");
    }
}

fn verify(store: Store, repository: &str, archive: &str, image: Option<&str>) -> Verdict {
    let root = fs::read(samples().join("root.json")).unwrap();
    let source = DirSource::repository(&samples().join(repository)).unwrap();
    let client = Client::new(root, source, store).with_time("2030-01-01T00:00:00Z".parse().unwrap());
    let mut verifier = Verifier::new(client);
    if let Some(image) = image {
        verifier = verifier.with_image(plimsoll::name::ImageName::parse(image).unwrap());
    }
    verifier.verify(&samples().join(archive))
}

fn code(verdict: &Verdict) -> &'static str {
    verdict.findings().first().map_or(verdict.word(), |finding| finding.code())
}

#[test]
fn each_row_of_the_readme_is_true() {
    let asked = Some(support::samples::IMAGE);
    let rows: &[(&str, &str, Option<&str>, &str)] = &[
        ("good", "good/app.tar", asked, "trusted"),
        ("good", "good/app.tar", None, "trusted"),
        ("good", "hostile/changed-layer/app.tar", asked, "layer-diff-id-mismatch"),
        ("good", "hostile/wrong-tag/app.tar", asked, "name-not-allowed"),
        ("good", "hostile/wrong-tag/app.tar", None, "image-not-signed"),
        ("good", "hostile/extra-tag/app.tar", asked, "name-not-allowed"),
        ("good", "hostile/extra-tag/app.tar", None, "image-not-signed"),
        ("good", "hostile/rollback/app.tar", asked, "config-digest-mismatch"),
        ("hostile/expired-timestamp", "good/app.tar", asked, "metadata-expired"),
        ("hostile/threshold-not-met", "good/app.tar", asked, "metadata-threshold"),
    ];
    for (repository, archive, image, expected) in rows {
        let verdict = verify(Store::in_memory(), repository, archive, *image);
        assert_eq!(code(&verdict), *expected, "{repository}, {archive}, {image:?}: {verdict}");
        assert_eq!(verdict.is_trusted(), *expected == "trusted");
        assert!(!verdict.is_undecided());
    }
}

#[test]
fn an_old_image_is_refused_by_whoever_has_seen_the_new_one() {
    let store = || Store::folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join("samples/rollback"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("samples/rollback");
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    let asked = Some(support::samples::IMAGE);
    // It was rightly signed once: without a memory nothing is wrong with it.
    assert_eq!(code(&verify(store(), "hostile/rollback", "hostile/rollback/app.tar", asked)), "trusted");
    assert_eq!(code(&verify(store(), "good", "good/app.tar", asked)), "trusted");
    assert_eq!(code(&verify(store(), "hostile/rollback", "hostile/rollback/app.tar", asked)), "metadata-rollback");
    assert_eq!(code(&verify(store(), "good", "good/app.tar", asked)), "trusted");
}

#[test]
fn each_row_of_the_readme_about_maps_is_true() {
    let verify = |map: &str, archive: &str| {
        let pinned = PinnedMap::read(&samples().join("map").join(map)).unwrap();
        let repositories = Repositories::new(&pinned, |repository| {
            let open = |location: Location| match location {
                Location::Folder(folder) => DirSource::repository(&folder),
                Location::Address(_) => unreachable!("the samples are in folders"),
            };
            let mirrors = Mirrors::new(repository.locations().iter().cloned().map(|one| move || open(one.clone())));
            let client = Client::new(repository.root(), mirrors, Store::in_memory());
            client.with_time("2030-01-01T00:00:00Z".parse().unwrap())
        });
        Verifier::by_map(repositories).verify(&samples().join(archive))
    };
    let rows: &[(&str, &str, &str)] = &[
        ("map.json", "good/app.tar", "trusted"),
        ("map.json", "hostile/changed-layer/app.tar", "layer-diff-id-mismatch"),
        ("map.json", "hostile/rollback/app.tar", "config-digest-mismatch"),
        ("replayed.json", "good/app.tar", "map-contradiction"),
        ("replayed.json", "hostile/rollback/app.tar", "map-contradiction"),
        ("frozen.json", "good/app.tar", "map-threshold"),
        ("one-signer.json", "good/app.tar", "map-threshold"),
        ("unreachable.json", "good/app.tar", "map-unreached"),
    ];
    for (map, archive, expected) in rows {
        let verdict = verify(map, archive);
        assert_eq!(code(&verdict), *expected, "{map}, {archive}: {verdict}");
        assert_eq!(verdict.is_undecided(), *expected == "map-unreached", "{map}");
    }
    assert_eq!(verify("one-signer.json", "good/app.tar").findings()[1].code(), "repository-shares-key");
    assert_eq!(verify("frozen.json", "good/app.tar").findings()[1].repository(), Some("vendor"));
}

#[test]
fn every_name_must_be_signed_for_this_very_image() {
    let source = |name: &str| fs::read(samples().join("source").join(name)).unwrap();
    let (manifest, other) = (source("app.manifest.json"), source("app-old.manifest.json"));
    // What `1.3` and `1.5` are signed to be, beside `1.4`: one name comes before it and one after.
    let cases: &[(&str, &str, Option<&[u8]>, &str)] = &[
        ("the same image", "1.3", Some(&manifest), "trusted"),
        ("the same image", "1.5", Some(&manifest), "trusted"),
        ("another image", "1.3", Some(&other), "config-digest-mismatch"),
        ("another image", "1.5", Some(&other), "config-digest-mismatch"),
        ("nothing", "1.3", None, "image-not-signed"),
        ("nothing", "1.5", None, "image-not-signed"),
    ];
    for (what, tag, signed, expected) in cases {
        let mut repo = support::samples::repository(&manifest);
        if let Some(signed) = signed {
            repo.target("team", &format!("registry.example/team/app/{tag}/manifest.json"), signed).write();
        }
        let tags = format!(r#"["{}","registry.example/team/app:{tag}"]"#, support::samples::IMAGE);
        let archive = support::samples::retag(&source("app.tar"), &tags);
        let verifier = Verifier::new(support::source::client(&repo, Store::in_memory()));
        let verdict = verifier.verify_archive(archive, "app.tar");
        assert_eq!(code(&verdict), *expected, "{tag} is signed to be {what}: {verdict}");
    }
}
