//! Bundles of images in all the shapes that a repository can sign; what the command does with them is in `cli/tests/bundle.rs`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests state what they expect")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use plimsoll::bundle::{self, Report, Request, Terms};
use plimsoll::name::ImageName;
use serde_json::json;
use support::image::*;
use support::repo::{NOW, Repo, Signer};
use support::source::MemorySource;

const APP: &str = "registry.example/team/app:1.4";
const DB: &str = "registry.example/team/db:9";

fn name(text: &str) -> ImageName {
    text.parse().unwrap()
}

fn terms(repo: &Repo) -> Terms {
    Terms::new(repo.pinned()).with_time(NOW.parse().unwrap())
}

/// The code of the first finding; empty if all is well.
fn code(report: &Report) -> &'static str {
    report.findings().first().map_or("", |finding| finding.code())
}

fn app(architecture: &str) -> Image {
    Image::for_platform(architecture, &[layer("bin/app", architecture.as_bytes())], Stored::Gzip)
}

fn db() -> Image {
    Image::new(&[layer("bin/db", b"#!/bin/sh\nexit\n")], Stored::Gzip)
}

/// Signs `APP` as an index of three platforms, one of which it does not offer, and `DB` as a manifest.
fn signs() -> Repo {
    let mut repo = Repo::new();
    let (amd64, arm64) = (app("amd64"), app("arm64"));
    let index = index_of(&[("amd64", &amd64), ("arm64", &arm64), ("s390x", &app("s390x"))]);
    let folder = name(APP).target_folder();
    repo.target("targets", &format!("{folder}manifest.json"), &bytes(&index));
    repo.target("targets", &format!("{folder}manifest.linux-amd64.json"), &amd64.manifest());
    repo.target("targets", &format!("{folder}manifest.linux-arm64.json"), &arm64.manifest());
    repo.target("targets", &format!("{folder}seccomp.json"), b"{}");
    repo.target("targets", &format!("{}manifest.json", name(DB).target_folder()), &db().manifest());
    repo
}

/// The archives of a row, written to files.
fn archives(folder: &Path, archives: &[(&str, Vec<Item>)]) -> Vec<PathBuf> {
    let written = archives.iter().map(|(name, items)| {
        let path = folder.join(name);
        fs::write(&path, tar(items)).unwrap();
        path
    });
    written.collect()
}

#[test]
fn archives_of_every_platform_and_with_no_name_are_carried_as_what_they_are() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let mut repo = signs();
    repo.write();
    let all = archives(
        scratch.path(),
        &[
            ("amd64.tar", classic(&app("amd64"), &[APP])),
            ("arm64.tar", classic(&app("arm64"), &[APP])),
            ("nameless.tar", classic(&db(), &[])),
            ("nameless-arm64.tar", oci_archive(&app("arm64"), &[])),
            ("db.tar", hybrid(&db(), &[DB])),
        ],
    );
    let images = [name(APP), name(DB)];
    let request = Request { images: &images, archives: &all, since: None };
    let created = bundle::create(&terms(&repo), MemorySource::new(&repo), &request, &at("b"));
    assert!(created.is_trusted(), "{created}");

    let found = bundle::verify(&terms(&repo), &at("b"));
    assert!(found.is_trusted(), "{found}");
    let rows: Vec<_> =
        found.archives().iter().map(|one| (one.file.as_str(), one.images.join(" "), one.platform.clone())).collect();
    let row = |file, image: &str, platform: &str| (file, image.to_owned(), Some(format!("linux/{platform}")));
    assert_eq!(
        rows,
        [
            row("amd64.tar", APP, "amd64"),
            row("arm64.tar", APP, "arm64"),
            row("nameless.tar", DB, "amd64"),
            row("nameless-arm64.tar", APP, "arm64"),
            row("db.tar", DB, "amd64"),
        ]
    );
    // The index, two of its manifests, the profile; the other has its manifest alone.
    assert_eq!(found.images().iter().map(|image| image.files).collect::<Vec<_>>(), [4, 1]);
    assert!(bundle::import(&terms(&repo), &at("b"), &at("local")).is_trusted());
    let json: serde_json::Value = serde_json::from_str(&found.to_json()).unwrap();
    assert_eq!(json["archives"][1], json!({"file": "arm64.tar", "images": [APP], "platform": "linux/arm64"}));
}

#[test]
fn an_archive_of_something_else_is_carried_for_nobody() {
    let scratch = tempfile::tempdir().unwrap();
    let mut repo = signs();
    repo.write();
    let cases: &[(&str, Vec<Item>, &[&str], &str)] = &[
        ("good", classic(&db(), &[DB]), &[DB], ""),
        (
            "a platform that is listed, and not offered",
            classic(&app("s390x"), &[APP]),
            &[APP],
            "config-digest-mismatch",
        ),
        ("a platform that is not listed", classic(&app("riscv64"), &[APP]), &[APP], "config-digest-mismatch"),
        ("another image of no name", classic(&app("riscv64"), &[]), &[APP, DB], "image-name-missing"),
        ("signed, and none of the bundle's", classic(&db(), &[DB]), &[APP], "repository-incomplete"),
        (
            "signed under one of its names",
            classic(&db(), &[DB, "registry.example/team/db:10"]),
            &[DB],
            "image-not-signed",
        ),
    ];
    for (case, items, images, expected) in cases {
        let folder = tempfile::tempdir_in(scratch.path()).unwrap();
        let all = archives(folder.path(), &[("a.tar", items.clone())]);
        let images: Vec<ImageName> = images.iter().map(|text| name(text)).collect();
        let request = Request { images: &images, archives: &all, since: None };
        let output = folder.path().join("b");
        let created = bundle::create(&terms(&repo), MemorySource::new(&repo), &request, &output);
        assert_eq!(code(&created), *expected, "{case}: {created}");
        assert_eq!(output.exists(), expected.is_empty(), "{case}");
    }
}

#[test]
fn an_archive_of_an_image_that_the_bundle_does_not_name_is_a_finding() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let mut repo = signs();
    repo.write();
    let all = archives(scratch.path(), &[("db.tar", classic(&db(), &[DB]))]);
    let images = [name(APP), name(DB)];
    let request = Request { images: &images, archives: &all, since: None };
    assert!(bundle::create(&terms(&repo), MemorySource::new(&repo), &request, &at("b")).is_trusted());
    let contents = fs::read_to_string(at("b/bundle.json")).unwrap();
    let without = contents.replacen(&format!(",\n    \"{DB}\""), "", 1);
    assert_ne!(contents, without);
    fs::write(at("b/bundle.json"), without).unwrap();
    let found = bundle::verify(&terms(&repo), &at("b"));
    let codes: Vec<_> = found.findings().iter().map(|finding| finding.code()).collect();
    assert_eq!(codes, ["bundle-archive-not-listed", "bundle-extra-file"], "{found}");
}

#[test]
fn without_consistent_snapshots_a_bundle_is_read_as_it_is_and_not_imported() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let mut repo = Repo::new();
    repo.signed("root")["consistent_snapshot"] = json!(false);
    repo.files.clear();
    repo.target("targets", &format!("{}manifest.json", name(DB).target_folder()), &db().manifest());
    repo.write();
    let all = archives(scratch.path(), &[("db.tar", classic(&db(), &[DB]))]);
    let images = [name(DB)];
    let request = Request { images: &images, archives: &all, since: None };
    let created = bundle::create(&terms(&repo), MemorySource::new(&repo), &request, &at("b"));
    assert!(created.is_trusted(), "{created}");
    assert!(
        at("b/metadata/snapshot.json").exists() && at("b/targets/registry.example/team/db/9/manifest.json").exists()
    );
    assert!(bundle::verify(&terms(&repo), &at("b")).is_trusted());
    let imported = bundle::import(&terms(&repo), &at("b"), &at("local"));
    assert_eq!((code(&imported), imported.exit_code()), ("bundle-not-consistent", 2), "{imported}");
    assert!(!at("local/metadata").exists());
}

#[test]
fn an_image_by_digest_is_carried_under_its_digest() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    let manifest = db().manifest();
    let digest = plimsoll::digest::Sha256::of(&manifest);
    let by_digest = format!("registry.example/team/db@{digest}");
    let mut repo = Repo::new();
    repo.target("targets", &format!("{}manifest.json", name(&by_digest).target_folder()), &manifest);
    repo.write();
    let all = archives(scratch.path(), &[("db.tar", classic(&db(), &[]))]);
    let images = [name(&by_digest)];
    let request = Request { images: &images, archives: &all, since: None };
    let created = bundle::create(&terms(&repo), MemorySource::new(&repo), &request, &at("b"));
    assert!(created.is_trusted(), "{created}");
    let imported = bundle::import(&terms(&repo), &at("b"), &at("local"));
    assert!(imported.is_trusted(), "{imported}");
    assert_eq!(imported.archives()[0].images, [by_digest]);
}

#[test]
fn profiles_and_the_config_are_carried_whoever_signs_them() {
    let scratch = tempfile::tempdir().unwrap();
    let at = |file: &str| scratch.path().join(file);
    let mut repo = signs();
    let folder = name(APP).target_folder();
    // All but one by a role that does not sign the manifest.
    let pattern = |file: &str| format!("{folder}{file}");
    let beside = ["run.json", "apparmor.profile", "selinux.cil", "config.json", "config.linux-arm64.json"];
    repo.delegate("targets", "security", &[&pattern("*")], &[Signer(70)], false);
    for file in beside {
        repo.target("security", &pattern(file), file.as_bytes());
    }
    repo.target("security", &pattern("notes.txt"), b"nobody looks for them");
    repo.write();
    let images = [name(APP)];
    let create = |repo: &Repo, since: Option<&Path>, output: &str| {
        let request = Request { images: &images, archives: &[], since };
        let created = bundle::create(&terms(repo), MemorySource::new(repo), &request, &at(output));
        assert!(created.is_trusted(), "{created}");
        created
    };
    let names = |bundle: &str| {
        let files = fs::read_dir(at(bundle).join("targets").join(folder.trim_end_matches('/'))).unwrap();
        let names = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        // Without the hash in front.
        let mut names: Vec<String> = names.map(|name| name.split_once('.').unwrap().1.to_owned()).collect();
        names.sort();
        names
    };
    create(&repo, None, "b");
    let manifests = ["manifest.json", "manifest.linux-amd64.json", "manifest.linux-arm64.json"];
    let mut all = [&beside[..], &["seccomp.json"], &manifests].concat();
    all.sort_unstable();
    assert_eq!(names("b"), all);
    let found = bundle::verify(&terms(&repo), &at("b"));
    assert!(found.is_trusted(), "{found}");
    assert_eq!(found.images()[0].files, all.len());
    assert!(bundle::import(&terms(&repo), &at("b"), &at("local")).is_trusted());

    // Each has its place: one that is not there, or is another, is a finding.
    let run = fs::read_dir(at("b").join("targets").join(folder.trim_end_matches('/'))).unwrap();
    let run =
        run.map(|entry| entry.unwrap().path()).find(|path| path.display().to_string().ends_with(".run.json")).unwrap();
    fs::write(&run, b"run.jsom").unwrap();
    assert_eq!(code(&bundle::verify(&terms(&repo), &at("b"))), "signed-hash-mismatch");
    fs::remove_file(&run).unwrap();
    assert_eq!(code(&bundle::verify(&terms(&repo), &at("b"))), "bundle-file-missing");
    fs::write(&run, b"run.json").unwrap();
    assert_eq!(code(&bundle::verify(&terms(&repo), &at("b"))), "");

    // What has not changed since is left out, manifests never.
    repo.target("security", &pattern("run.json"), b"another").bump("security");
    repo.publish();
    let next = create(&repo, Some(&at("b")), "next");
    let mut new = [&["run.json"], &manifests[..]].concat();
    new.sort_unstable();
    assert_eq!(names("next"), new, "{next}");
    assert!(bundle::import(&terms(&repo), &at("next"), &at("local")).is_trusted());
}
