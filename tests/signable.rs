//! What of an archive has to be signed: of every form that is read, what is given out makes that very archive verify, and nothing is given out of one
//! that could not.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

mod support;

use std::io::Cursor;

use plimsoll::client::{Client, Store};
use plimsoll::image::archive::Archive;
use plimsoll::image::error::{ArchiveError, Code};
use plimsoll::image::manifest::Platform;
use plimsoll::image::signable::{MANIFEST_FILE, Signable, SignableError};
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use plimsoll::verdict::Verdict;
use plimsoll::verify::Verifier;
use serde_json::{Value, json};
use support::image::*;
use support::repo::{NOW, Repo};
use support::source::MemorySource;

const NAME: &str = "registry.example/team/app:1.4";

fn name() -> ImageName {
    NAME.parse().unwrap()
}

fn signable(archive: &[u8]) -> Result<Signable, Code> {
    let limits = ArchiveLimits::default();
    let archive = Archive::from_reader(Cursor::new(archive.to_vec()), &limits).map_err(code)?;
    Signable::of(&archive, &name(), &limits, &|_, _| {}).map_err(|error| match error {
        SignableError::Archive(error) => code(error),
        SignableError::Refused(refusals) => refusals[0].code,
        other => panic!("{other}"),
    })
}

fn code(error: ArchiveError) -> Code {
    match error {
        ArchiveError::Refused(refusal) => refusal.code,
        error => panic!("{error}"),
    }
}

/// The verdict of somebody for whom just that was signed.
fn verify(signable: &Signable, archive: &[u8], platform: Option<&str>) -> Verdict {
    let mut repo = Repo::new();
    for (file, bytes) in &signable.files {
        repo.target("targets", &format!("{}{file}", name().target_folder()), bytes);
    }
    repo.write();
    let client = Client::new(repo.pinned(), MemorySource::new(&repo), Store::in_memory());
    let mut verifier = Verifier::new(client.with_time(NOW.parse().unwrap())).with_image(name());
    if let Some(platform) = platform {
        verifier = verifier.with_platform(Platform::parse(platform).unwrap());
    }
    verifier.verify_archive(archive.to_vec(), "archive.tar")
}

#[test]
fn what_is_given_out_of_each_form_makes_it_verify() {
    let layers = [layer("etc/motd", b"hello\n"), layer("bin/app", b"#!/bin/sh\n")];
    for stored in [Stored::Plain, Stored::Gzip, Stored::Zstd] {
        let image = Image::new(&layers, stored);
        let forms: [(&str, Vec<Item>, Option<Vec<u8>>); 4] = [
            ("classic", classic(&image, &[NAME]), None),
            ("hybrid", hybrid(&image, &[NAME]), Some(bytes(&image.re_encoded_manifest_json()))),
            ("registry hybrid", registry_hybrid(&image, &[NAME]), Some(image.manifest())),
            ("oci", oci_archive(&image, &[NAME]), Some(image.manifest())),
        ];
        for (form, items, exact) in forms {
            let archive = tar(&items);
            let signable = signable(&archive).unwrap();
            assert_eq!(signable.files.len(), 1, "{form}");
            assert_eq!(signable.files[0].0, MANIFEST_FILE);
            if let Some(exact) = exact {
                assert_eq!(signable.files[0].1, exact, "{form}: the very bytes");
            }
            let verdict = verify(&signable, &archive, None);
            assert!(verdict.is_trusted(), "{form}: {verdict}");
            assert_eq!(self::signable(&gzip(&archive)).unwrap(), signable, "{form}, compressed as a whole");
        }
    }
}

#[test]
fn the_manifest_of_a_classic_archive_is_that_of_its_image() {
    // However its layers are stored and whatever else is around them.
    let layers = [layer("etc/motd", b"hello\n"), layer("bin/app", b"#!/bin/sh\n")];
    let image = Image::new(&layers, Stored::Plain);
    let manifest = |items: &[Item]| signable(&tar(items)).unwrap().files[0].1.clone();
    let expected = manifest(&classic(&image, &[NAME]));
    let mut compressed = classic(&image, &[NAME]);
    for layer in &layers {
        let place = compressed
            .iter()
            .position(|item| item.name().ends_with("layer.tar") && content(&compressed, item.name()) == *layer);
        let name = compressed[place.unwrap()].name().to_owned();
        replace(&mut compressed, &name, &gzip(layer));
    }
    assert_eq!(manifest(&compressed), expected);
    assert_eq!(manifest(&classic(&image, &[])), expected, "an archive without a name");
    let json: Value = serde_json::from_slice(&expected).unwrap();
    let digests: Vec<&Value> = json["layers"].as_array().unwrap().iter().map(|layer| &layer["digest"]).collect();
    let config: Value = serde_json::from_slice(&image.config).unwrap();
    assert_eq!(json!(digests), config["rootfs"]["diff_ids"]);
}

#[test]
fn of_an_index_every_platform_that_is_there_is_given_out() {
    let amd64 = Image::for_platform("amd64", &[layer("a", b"a")], Stored::Gzip);
    let arm64 = Image::for_platform("arm64", &[layer("b", b"b")], Stored::Gzip);
    let index = bytes(&index_of(&[("amd64", &amd64), ("arm64", &arm64)]));
    // Without docker's half, which is of one platform.
    let oci = |images: &[&Image]| {
        let mut items = index_hybrid(&index, images, &[NAME]);
        remove(&mut items, "manifest.json");
        items
    };
    let files = |signable: &Signable| signable.files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();

    let both = tar(&oci(&[&amd64, &arm64]));
    let signable_both = signable(&both).unwrap();
    assert_eq!(files(&signable_both), ["manifest.json", "manifest.linux-amd64.json", "manifest.linux-arm64.json"]);
    assert_eq!(signable_both.files[0].1, index);
    for platform in ["linux/amd64", "linux/arm64"] {
        let verdict = verify(&signable_both, &both, Some(platform));
        assert!(verdict.is_trusted(), "{platform}: {verdict}");
    }
    // The other one was never pulled.
    let one = tar(&oci(&[&arm64]));
    let signable_one = signable(&one).unwrap();
    assert_eq!(files(&signable_one), ["manifest.json", "manifest.linux-arm64.json"]);
    assert!(verify(&signable_one, &one, Some("linux/arm64")).is_trusted());
    // A hybrid: to docker it is one image, and that one is given out.
    let hybrid = tar(&index_hybrid(&index, &[&amd64, &arm64], &[NAME]));
    let signable_hybrid = signable(&hybrid).unwrap();
    assert_eq!(files(&signable_hybrid), ["manifest.json", "manifest.linux-amd64.json"]);
    assert!(verify(&signable_hybrid, &hybrid, Some("linux/amd64")).is_trusted());
    assert!(!verify(&signable_hybrid, &hybrid, Some("linux/arm64")).is_trusted());
}

#[test]
fn nothing_is_given_out_of_what_would_not_verify() {
    let image = Image::small();
    let other = Image::new(&[layer("etc/motd", b"other\n")], Stored::Gzip);
    let good = || oci_archive(&image, &[NAME]);
    signable(&tar(&good())).unwrap();

    let mut wrong_layer = classic(&image, &[NAME]);
    let name = wrong_layer.iter().map(Item::name).find(|name| name.ends_with("layer.tar")).unwrap().to_owned();
    replace(&mut wrong_layer, &name, &layer("etc/motd", b"evil!\n"));
    let mut cut = good();
    remove(&mut cut, &blob_name(&image.blobs[0].1));
    let mut without_platform = index_of(&[("amd64", &image)]);
    without_platform["manifests"][0].as_object_mut().unwrap().remove("platform");
    let mut no_platform = index_hybrid(&bytes(&without_platform), &[&image], &[NAME]);
    remove(&mut no_platform, "manifest.json");
    let mut nobody = index_hybrid(&bytes(&index_of(&[("amd64", &other)])), &[&image], &[NAME]);
    remove(&mut nobody, "manifest.json");
    let several = {
        let mut items = classic(&image, &[NAME]);
        let second = classic(&other, &["registry.example/team/other:1"]);
        let lists =
            [&items, &second].map(|list| serde_json::from_slice::<Value>(&content(list, "manifest.json")).unwrap());
        let all: Vec<Value> = lists.iter().flat_map(|list| list.as_array().unwrap().clone()).collect();
        let known: Vec<String> = items.iter().map(|item| item.name().to_owned()).collect();
        items.extend(second.into_iter().filter(|item| !known.iter().any(|name| name == item.name())));
        replace(&mut items, "manifest.json", &bytes(&json!(all)));
        items
    };
    let cases: Vec<(&str, Vec<u8>, Code)> = vec![
        ("another name", tar(&classic(&image, &["registry.example/team/app:1.5"])), Code::NameNotAllowed),
        ("a name more", tar(&classic(&image, &[NAME, "registry.example/team/app:latest"])), Code::NameNotAllowed),
        ("another layer", tar(&wrong_layer), Code::LayerDiffIdMismatch),
        ("a layer missing", tar(&cut), Code::ArchiveMissingFile),
        ("an index that says no platform", tar(&no_platform), Code::PlatformNotFound),
        ("an index of somebody else's images", tar(&nobody), Code::PlatformNotFound),
        ("two images", tar(&several), Code::ArchiveSeveralImages),
    ];
    for (case, archive, expected) in cases {
        assert_eq!(signable(&archive).err(), Some(expected), "{case}");
    }
}
