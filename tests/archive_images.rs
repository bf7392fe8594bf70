//! Archives with several images, and indexes within indexes: what is loaded is what is signed, each of it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests state what they expect")]

mod support;

use plimsoll::client::Store;
use plimsoll::digest::Sha256;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::inventory::Inventory;
use plimsoll::image::manifest::Platform;
use plimsoll::image::write;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use plimsoll::verdict::Verdict;
use plimsoll::verify::Verifier;
use serde_json::{Value, json};
use support::image::*;
use support::packages::{DEB822, STATUS, database, deb822};
use support::repo::{NOW, Repo};
use support::source::MemorySource;

const APP: &str = "registry.example/team/app:1.4";
const DB: &str = "registry.example/team/db:9";

fn app() -> Image {
    Image::small()
}

fn db() -> Image {
    Image::new(&[layer("etc/motd", b"hello\n"), layer("bin/db", b"#!/bin/sh\nexit\n")], Stored::Gzip)
}

/// A repository that signs these manifests under these names.
fn signs(images: &[(&str, &Image)]) -> Repo {
    let mut repo = Repo::new();
    for (name, image) in images {
        let folder = ImageName::parse(name).unwrap().target_folder();
        repo.target("targets", &format!("{folder}manifest.json"), &image.manifest());
    }
    repo.write();
    repo
}

/// One archive of several: all their files once, and what their lists list one after the other.
fn together(archives: &[Vec<Item>]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for item in archives.iter().flatten() {
        if !items.iter().any(|i| i.name() == item.name()) {
            items.push(item.clone());
        }
    }
    let lists = |name: &str| -> Vec<Value> {
        let listed = archives.iter().filter(|archive| archive.iter().any(|i| i.name() == name));
        listed.map(|archive| serde_json::from_slice(&content(archive, name)).unwrap()).collect()
    };
    let joined = |lists: Vec<Value>| lists.iter().flat_map(|l| l.as_array().unwrap().clone()).collect::<Vec<_>>();
    if items.iter().any(|i| i.name() == "manifest.json") {
        let all = joined(lists("manifest.json"));
        replace(&mut items, "manifest.json", &bytes(&all.into()));
    }
    if items.iter().any(|i| i.name() == "index.json") {
        let all = joined(lists("index.json").into_iter().map(|mut l| l["manifests"].take()).collect());
        edit(&mut items, "index.json", |index| index["manifests"] = all.into());
    }
    items
}

fn verify(repo: &Repo, image: Option<&str>, items: &[Item]) -> Verdict {
    let client = plimsoll::client::Client::new(repo.pinned(), MemorySource::new(repo), Store::in_memory());
    let mut verifier = Verifier::new(client.with_time(NOW.parse().unwrap()));
    if let Some(image) = image {
        verifier = verifier.with_image(image.parse().unwrap());
    }
    verifier.verify_archive(tar(items), "archive.tar")
}

/// The code of the first finding; empty if the verdict is "trusted".
fn code(verdict: &Verdict) -> &'static str {
    verdict.findings().first().map_or("", |finding| finding.code())
}

type Writer = fn(&Image, &[&str]) -> Vec<Item>;
const FORMS: [(&str, Writer); 4] =
    [("classic", classic), ("hybrid", hybrid), ("registry hybrid", registry_hybrid), ("oci", oci_archive)];

#[test]
fn several_images_are_trusted_if_each_is_signed() {
    let (app, db) = (app(), db());
    let both = signs(&[(APP, &app), (DB, &db)]);
    for (form, write) in FORMS {
        let archive = together(&[write(&app, &[APP]), write(&db, &[DB])]);
        let verdict = verify(&both, None, &archive);
        assert!(verdict.is_trusted(), "{form}: {verdict}");
        let names: Vec<_> = verdict.images().map(|image| image.name().to_string()).collect();
        assert_eq!(names, [APP, DB], "{form}");
        let configs: Vec<_> = verdict.images().map(plimsoll::image::VerifiedImage::config_digest).collect();
        assert_eq!(configs, [Sha256::of(&app.config), Sha256::of(&db.config)], "{form}");
        let json: Value = serde_json::from_str(&verdict.to_json()).unwrap();
        assert_eq!(json["image"], APP);
        assert_eq!(json["images"][0]["image"], APP);
        assert_eq!(json["images"][1]["image"], DB);
        assert_eq!(json["images"][1]["config"]["digest"], Sha256::of(&db.config).to_string());

        // The order is the archive's, and says nothing.
        let turned = together(&[write(&db, &[DB]), write(&app, &[APP])]);
        assert!(verify(&both, None, &turned).is_trusted(), "{form}");
        // An image under two names that are both signed.
        let again = signs(&[(APP, &app), (DB, &db), ("registry.example/team/app:latest", &app)]);
        let twice = together(&[write(&app, &[APP, "registry.example/team/app:latest"]), write(&db, &[DB])]);
        assert!(verify(&again, None, &twice).is_trusted(), "{form}");
        assert_eq!(code(&verify(&both, None, &twice)), "image-not-signed", "{form}");
    }
}

#[test]
fn all_images_are_written_under_all_their_verified_names() {
    const LATEST: &str = "registry.example/team/app:latest";
    let (app, db) = (app(), db());
    let repo = signs(&[(APP, &app), (DB, &db), (LATEST, &app)]);
    for (form, write_form) in FORMS {
        let archive = tar(&together(&[write_form(&app, &[LATEST, APP]), write_form(&db, &[DB])]));
        let client = plimsoll::client::Client::new(repo.pinned(), MemorySource::new(&repo), Store::in_memory());
        let verifier = Verifier::new(client.with_time(NOW.parse().unwrap()));
        let verdict = verifier.verify_archive(&archive, "archive.tar");
        let images: Vec<_> = verdict.images().cloned().collect();
        let limits = ArchiveLimits::default();
        for docker in [true, false] {
            let mut fresh = Vec::new();
            match docker {
                true => write::docker_archive(&images, &archive, &limits, &mut fresh).unwrap(),
                false => write::oci_archive(&images, &archive, &limits, &mut fresh).unwrap(),
            }
            let inventory = Inventory::scan(fresh.as_slice(), &limits).unwrap();
            let names: Vec<Vec<String>> =
                inventory.images().iter().map(|i| i.names().iter().map(ToString::to_string).collect()).collect();
            assert_eq!(names, [vec![APP.to_owned(), LATEST.to_owned()], vec![DB.to_owned()]], "{form}");
            let again = verifier.verify_archive(&fresh, "fresh.tar");
            assert!(again.is_trusted(), "{form}: {again}");
            assert_eq!(again.images().count(), 2, "{form}");
        }
    }
}

#[test]
fn one_image_that_is_not_signed_spoils_the_archive() {
    let (app, db) = (app(), db());
    let evil = Image::new(&[layer("bin/db", b"evil")], Stored::Gzip);
    let repo = signs(&[(APP, &app), (DB, &db)]);
    for (form, write) in FORMS {
        for evil_first in [true, false] {
            let pair = |other: Vec<Item>| {
                let good = write(&app, &[APP]);
                let archive = if evil_first { [other, good] } else { [good, other] };
                code(&verify(&repo, None, &together(&archive)))
            };
            assert_eq!(pair(write(&db, &[DB])), "", "{form}: the good twin");
            assert_eq!(pair(write(&evil, &[DB])), "config-digest-mismatch", "{form}");
            assert_eq!(pair(write(&db, &["registry.example/team/db:10"])), "image-not-signed", "{form}");
            assert_eq!(pair(write(&db, &[])), "image-name-missing", "{form}");
            // The last would take the name away from the first.
            assert_eq!(pair(write(&db, &[APP])), "archive-several-images", "{form}");
            assert_eq!(pair(write(&evil, &[APP])), "archive-several-images", "{form}");
        }
        // Each under the other's name.
        let crossed = together(&[write(&app, &[DB]), write(&db, &[APP])]);
        assert_eq!(code(&verify(&repo, None, &crossed)), "config-digest-mismatch", "{form}");
        // Whoever asks for one image gets it alone.
        let both = together(&[write(&app, &[APP]), write(&db, &[DB])]);
        for name in [APP, DB] {
            assert_eq!(code(&verify(&repo, Some(name), &both)), "archive-several-images", "{form}");
        }
        assert!(verify(&repo, Some(APP), &write(&app, &[APP])).is_trusted(), "{form}");
    }
}

#[test]
#[rustfmt::skip] // A row per case.
fn both_halves_list_the_same_images() {
    let (app, db) = (app(), db());
    let repo = signs(&[(APP, &app), (DB, &db)]);
    let names: &[(&str, &Image)] = &[(APP, &app), (DB, &db)];
    let good = || together(&names.iter().map(|(name, image)| registry_hybrid(image, &[name])).collect::<Vec<_>>());
    let with = |change: fn(&mut Vec<Item>)| {
        let mut items = good();
        change(&mut items);
        code(&verify(&repo, None, &items))
    };
    assert_eq!(with(|_| {}), "");
    assert_eq!(with(|i| edit(i, "index.json", |x| drop(x["manifests"].as_array_mut().unwrap().remove(0)))), "archive-several-images");
    assert_eq!(with(|i| edit(i, "manifest.json", |x| drop(x.as_array_mut().unwrap().remove(1)))), "archive-several-images");
    assert_eq!(with(|i| edit(i, "manifest.json", |x| x.as_array_mut().unwrap().reverse())), "", "another order");
    // Twice the same image in one half, and both in the other.
    assert_eq!(
        with(|i| edit(i, "manifest.json", |x| { x[1] = x[0].clone(); x[1]["RepoTags"] = Value::Null; })),
        "archive-several-images"
    );
    // The halves agree on the images, and one of them gives one an unsigned name.
    assert_eq!(
        with(|i| edit(i, "index.json", |x| x["manifests"][1]["annotations"]["io.containerd.image.name"] = "registry.example/team/db:10".into())),
        "image-not-signed"
    );
    // A bare tag that is another image's.
    assert_eq!(
        with(|i| edit(i, "index.json", |x| x["manifests"][1]["annotations"]["org.opencontainers.image.ref.name"] = "1.4".into())),
        "name-not-allowed"
    );
}

#[test]
fn a_parent_is_another_image_of_the_archive() {
    let (app, db) = (app(), db());
    let repo = signs(&[(APP, &app), (DB, &db)]);
    let id = |image: &Image| Value::from(Sha256::of(&image.config).to_string());
    let cases = [
        ("the other image", id(&app), ""),
        ("none", Value::Null, ""),
        ("none, as docker writes it", "".into(), ""),
        ("itself", id(&db), "archive-several-images"),
        ("one that is not there", format!("sha256:{}", "0".repeat(64)).into(), "archive-several-images"),
        ("no digest", "app".into(), "document-malformed"),
        ("no text", 1.into(), "document-malformed"),
    ];
    for (name, parent, expected) in cases {
        let mut items = together(&[classic(&app, &[APP]), classic(&db, &[DB])]);
        edit(&mut items, "manifest.json", |x| x[1]["Parent"] = parent);
        assert_eq!(code(&verify(&repo, None, &items)), expected, "{name}");
    }
}

#[test]
fn the_number_of_images_is_bounded() {
    let images: Vec<(String, Image)> = (0..4)
        .map(|n| (format!("registry.example/team/app:{n}"), Image::new(&[layer("n", &[n])], Stored::Plain)))
        .collect();
    for (_, write) in FORMS {
        let archive = together(&images.iter().map(|(name, image)| write(image, &[name])).collect::<Vec<_>>());
        let mut limits = ArchiveLimits::default();
        limits.images = 4;
        assert_eq!(Inventory::scan(tar(&archive), &limits).unwrap().images().len(), 4);
        limits.images = 3;
        assert!(Inventory::scan(tar(&archive), &limits).unwrap_err().to_string().contains("too many images"));
    }
}

/// What one loader takes for two names, another takes for one.
#[test]
fn names_of_several_images_are_different_to_every_loader() {
    let (app, db) = (app(), db());
    let (team, other) = ("registry.example/team/app:1.4", "registry.example/team/db:1.4");
    let repo = signs(&[
        ("demo:1.0", &app),
        ("localhost/demo:1.0", &db),
        ("user/demo:1.0", &app),
        ("localhost/user/demo:1.0", &db),
        (team, &app),
        (other, &db),
    ]);
    for (form, write) in FORMS {
        let pair = |one: &str, two: &str| {
            let both = together(&[write(&app, &[one]), write(&db, &[two])]);
            let turned = together(&[write(&db, &[two]), write(&app, &[one])]);
            let codes = (code(&verify(&repo, None, &both)), code(&verify(&repo, None, &turned)));
            assert_eq!(codes.0, codes.1, "{form}");
            codes.0
        };
        // podman makes `localhost/demo` of `demo`.
        assert_eq!(pair("demo:1.0", "localhost/demo:1.0"), "archive-several-images", "{form}");
        assert_eq!(pair("user/demo:1.0", "localhost/user/demo:1.0"), "archive-several-images", "{form}");
        assert_eq!(pair("demo:1.0", "localhost/user/demo:1.0"), "", "{form}");
        assert_eq!(pair(team, other), "", "{form}");
    }
    // A tag alone: containerd makes a name of it, podman another. With the full name beside it nobody does.
    for write in [hybrid, oci_archive] {
        let mut archive = together(&[write(&app, &[team]), write(&db, &[other])]);
        assert_eq!(code(&verify(&repo, None, &archive)), "");
        edit(&mut archive, "index.json", |index| {
            index["manifests"][1]["annotations"] = json!({"org.opencontainers.image.ref.name": "1.4"});
        });
        assert_eq!(code(&verify(&repo, None, &archive)), "archive-several-images");
        // The one image of an archive may have it.
        let mut alone = write(&app, &[team]);
        edit(&mut alone, "index.json", |index| {
            index["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": "1.4"});
        });
        assert_eq!(code(&verify(&repo, Some(team), &alone)), "");
    }
}

/// Two names of one image whose signed manifests differ in what they say besides config and layers.
#[test]
fn a_name_is_written_with_its_own_signed_manifest() {
    const LATEST: &str = "registry.example/team/app:latest";
    let app = app();
    let mut annotated = app.manifest_json();
    annotated["annotations"] = json!({"run.oci.hooks.stage": "prestart"});
    let mut repo = Repo::new();
    for (name, manifest) in [(APP, bytes(&annotated)), (LATEST, app.manifest())] {
        let folder = ImageName::parse(name).unwrap().target_folder();
        repo.target("targets", &format!("{folder}manifest.json"), &manifest);
    }
    repo.write();
    let archive = tar(&registry_hybrid(&app, &[APP, LATEST]));
    let client = plimsoll::client::Client::new(repo.pinned(), MemorySource::new(&repo), Store::in_memory());
    let verifier = Verifier::new(client.with_time(NOW.parse().unwrap()));
    let verdict = verifier.verify_archive(&archive, "archive.tar");
    assert!(verdict.is_trusted(), "{verdict}");
    let images: Vec<_> = verdict.images().cloned().collect();
    let named: Vec<_> = images.iter().map(|i| (i.loaded_names(), i.manifest().digest)).collect();
    assert_eq!(
        named,
        [
            (vec![APP.to_owned()], Sha256::of(&bytes(&annotated))),
            (vec![LATEST.to_owned()], Sha256::of(&app.manifest()))
        ]
    );
    let limits = ArchiveLimits::default();
    let mut fresh = Vec::new();
    write::oci_archive(&images, &archive, &limits, &mut fresh).unwrap();
    let inventory = Inventory::scan(fresh.as_slice(), &limits).unwrap();
    assert_eq!(inventory.images().len(), 2, "each name leads to its own manifest");
    let again = verifier.verify_archive(&fresh, "fresh.tar");
    assert!(again.is_trusted(), "{again}");
    let mut fresh = Vec::new();
    write::docker_archive(&images, &archive, &limits, &mut fresh).unwrap();
    let again = verifier.verify_archive(&fresh, "fresh.tar");
    assert!(again.is_trusted(), "{again}");
}

/// An index of amd64 and an index within it of arm64, as some registries serve them.
struct Nested {
    amd64: Image,
    arm64: Image,
    inner: Value,
}

impl Nested {
    fn new() -> Self {
        let amd64 = Image::for_platform("amd64", &[layer("a", b"amd64")], Stored::Gzip);
        let arm64 = Image::for_platform("arm64", &[layer("a", b"arm64")], Stored::Gzip);
        let inner = index_of(&[("arm64", &arm64)]);
        Self { amd64, arm64, inner }
    }

    fn outer(&self) -> Vec<u8> {
        let mut outer = index_of(&[("amd64", &self.amd64)]);
        outer["manifests"].as_array_mut().unwrap().push(descriptor(OCI_INDEX, &bytes(&self.inner)));
        bytes(&outer)
    }

    fn archive(&self) -> Vec<Item> {
        let mut items = index_hybrid(&self.outer(), &[&self.amd64, &self.arm64], &[APP]);
        items.push(blob_file(&bytes(&self.inner)));
        // Docker's half is for one platform alone.
        remove(&mut items, "manifest.json");
        items
    }

    /// What is said of an archive as the image of `platform`.
    fn judge(&self, platform: &str, items: &[Item]) -> Result<(), String> {
        let (name, limits) = (ImageName::parse(APP).unwrap(), ArchiveLimits::default());
        let image = if platform.ends_with("amd64") { &self.amd64 } else { &self.arm64 };
        let platform = Platform::parse(platform).unwrap();
        let signed = SignedImage::from_index(&name, &self.outer(), &platform, &image.manifest(), &limits);
        let signed = signed.map_err(|r| r.code.to_string())?;
        let inventory = Inventory::scan(tar(items), &limits).and_then(|i| i.measure(&limits, &|_, _| {}));
        let inventory = inventory.map_err(|e| e.to_string())?;
        let verified = check(&signed, &[name], &inventory).map_err(|r| r[0].code.to_string())?;
        assert_eq!(verified.config_digest(), Sha256::of(&image.config));
        Ok(())
    }
}

#[test]
fn an_index_within_the_signed_index_is_signed_with_it() {
    let nested = Nested::new();
    let good = nested.archive();
    let refused = |code: &str| Err(code.to_owned());
    for platform in ["linux/amd64", "linux/arm64"] {
        assert_eq!(nested.judge(platform, &good), Ok(()), "{platform}");
    }
    // Nobody signs an image for this one.
    assert_eq!(nested.judge("linux/riscv64", &good), refused("platform-mismatch"));

    let mut without = good.clone();
    remove(&mut without, &blob_name(&bytes(&nested.inner)));
    assert_eq!(nested.judge("linux/amd64", &without), Ok(()), "an index that was not pulled");
    assert_eq!(nested.judge("linux/arm64", &without), refused("archive-missing-file"), "and was needed");

    let mut changed = good.clone();
    let mut other = nested.inner.clone();
    other["annotations"] = json!({"x": "y"});
    replace(&mut changed, &blob_name(&bytes(&nested.inner)), &bytes(&other));
    let error = nested.judge("linux/amd64", &changed).unwrap_err();
    assert!(error.contains("the size is not what the descriptor says"), "{error}");

    // Only docker's half: the archive does not hold what the signed index says of the platform.
    assert_eq!(nested.judge("linux/amd64", &classic(&nested.amd64, &[APP])), Ok(()));
    assert_eq!(nested.judge("linux/arm64", &classic(&nested.arm64, &[APP])), refused("platform-not-found"));
    assert_eq!(nested.judge("linux/arm64", &oci_archive(&nested.arm64, &[APP])), refused("platform-not-found"));
}

#[test]
fn an_index_within_that_lists_another_manifest_is_a_contradiction() {
    let other = Image::for_platform("arm64", &[layer("a", b"another")], Stored::Gzip);
    let archive = |nested: &Nested| {
        let mut items = nested.archive();
        for item in registry_hybrid(&other, &[APP]).into_iter().filter(|i| i.name().starts_with("blobs/sha256/")) {
            if !items.iter().any(|i| i.name() == item.name()) {
                items.push(item);
            }
        }
        items
    };
    let good = Nested::new();
    assert_eq!(good.judge("linux/arm64", &archive(&good)), Ok(()), "the good twin, with blobs that nobody uses");
    // The target for arm64 is one manifest; the index within lists another, or both.
    let another = Nested { inner: index_of(&[("arm64", &other)]), ..Nested::new() };
    assert_eq!(another.judge("linux/arm64", &archive(&another)), Err("archive-missing-file".to_owned()));
    let both = Nested { inner: index_of(&[("arm64", &good.arm64), ("arm64", &other)]), ..Nested::new() };
    assert_eq!(both.judge("linux/arm64", &archive(&both)), Err("platform-not-found".to_owned()));
}

#[test]
fn indexes_nest_once() {
    let mut nested = Nested::new();
    let innermost = nested.inner.clone();
    let mut middle = index_of(&[]);
    middle["manifests"].as_array_mut().unwrap().push(descriptor(OCI_INDEX, &bytes(&innermost)));
    nested.inner = middle;
    let mut items = nested.archive();
    assert_eq!(nested.judge("linux/amd64", &items), Ok(()), "listed, but not there");
    items.push(blob_file(&bytes(&innermost)));
    let error = nested.judge("linux/amd64", &items).unwrap_err();
    assert!(error.contains("an index within an index within an index"), "{error}");
}

#[test]
fn what_is_wrong_in_the_packages_of_each_image_is_told() {
    let image = |items: &[Item]| Image::new(&[tar(items)], Stored::Gzip);
    let good = |name: &str| image(&[file("opt/app", name.as_bytes()), database(&["a 1 amd64"])]);
    let more = image(&[database(&["a 1 amd64", "b 1 all"])]);
    let damaged = image(&[file(STATUS, b"nonsense\n")]);
    let ambiguous = image(&[file("a", b""), file("a/b", b""), database(&["a 1 amd64"])]);
    for (app, db, expected) in [
        (&good("app"), &good("db"), "trusted"),
        (&more, &good("db"), "untrusted: package-extra"),
        (&good("app"), &more, "untrusted: package-extra"),
        (&damaged, &good("db"), "undecided: package-database-unreadable"),
        (&damaged, &more, "untrusted: package-database-unreadable package-extra"),
        (&damaged, &ambiguous, "untrusted: package-database-unreadable layer-ambiguous"),
        (&ambiguous, &more, "untrusted: layer-ambiguous package-extra"),
    ] {
        let mut repo = signs(&[(APP, app), (DB, db)]);
        for name in [APP, DB] {
            let folder = ImageName::parse(name).unwrap().target_folder();
            repo.target("targets", &format!("{folder}{DEB822}"), &deb822(&["a 1 amd64"]));
        }
        repo.publish();
        let verdict = verify(&repo, None, &together(&[classic(app, &[APP]), classic(db, &[DB])]));
        let codes: Vec<&str> = verdict.findings().iter().map(|finding| finding.code()).collect();
        let got = format!("{}: {}", verdict.word(), codes.join(" "));
        assert_eq!(got.trim_end_matches(": "), expected, "{verdict}");
    }
}
