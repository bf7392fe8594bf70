//! A verified image, written out: every form from every form, the same bytes each time, and nothing that a loader takes if the archive
//! changed after the check.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test states what it expects"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use plimsoll::digest::Sha256;
use plimsoll::image::VerifiedImage;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::inventory::{Form, Inventory};
use plimsoll::image::manifest::Platform;
use plimsoll::image::read_at::ReadAt;
use plimsoll::image::write::{self, WriteError};
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use serde_json::{Value, json};
use support::image::{file as file_item, *};

fn limits() -> ArchiveLimits {
    ArchiveLimits::default()
}

fn verified_as(name: &str, image: &Image, archive: &[u8]) -> VerifiedImage {
    let signed = SignedImage::from_manifest(&name.parse().unwrap(), &image.manifest(), None, &limits()).unwrap();
    judge(&signed, &[name.parse().unwrap()], archive)
}

fn verified(image: &Image, archive: &[u8]) -> VerifiedImage {
    verified_as(NAME, image, archive)
}

fn judge(signed: &SignedImage, allowed: &[ImageName], archive: &[u8]) -> VerifiedImage {
    let measured = Inventory::scan(archive, &limits()).unwrap().measure(&limits(), &|_, _| {}).unwrap();
    check(signed, allowed, &measured).unwrap_or_else(|refusals| panic!("{}", refusals[0]))
}

/// The two forms of a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum As {
    Docker,
    Oci,
}

const BOTH: [As; 2] = [As::Docker, As::Oci];

fn write_to<R: ReadAt + Sync + ?Sized>(
    form: As,
    images: &[VerifiedImage],
    archive: &R,
    to: impl Write,
) -> Result<(), WriteError> {
    match form {
        As::Docker => write::docker_archive(images, archive, &limits(), to),
        As::Oci => write::oci_archive(images, archive, &limits(), to),
    }
}

fn written(form: As, image: &VerifiedImage, archive: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_to(form, std::slice::from_ref(image), archive, &mut out).unwrap();
    out
}

/// The files of a tar in their order, as other code than plimsoll's sees them; what is cut is an error.
fn files(archive: &[u8]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in ::tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let header = entry.header();
        assert_eq!((header.mode()?, header.uid()?, header.gid()?, header.mtime()?), (0o644, 0, 0, 0));
        assert!(header.entry_type().is_file());
        let name = entry.path()?.to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        files.push((name, content));
    }
    Ok(files)
}

fn file<'a>(files: &'a [(String, Vec<u8>)], name: &str) -> &'a [u8] {
    &files.iter().find(|(file, _)| file == name).unwrap_or_else(|| panic!("no {name}")).1
}

fn parsed(files: &[(String, Vec<u8>)], name: &str) -> Value {
    serde_json::from_slice(file(files, name)).unwrap()
}

fn hex(content: &[u8]) -> String {
    Sha256::of(content).to_hex()
}

/// Images of every kind, each with a word for it.
fn images() -> Vec<(&'static str, Image)> {
    let layers = [layer("a", b"1"), layer("b", b"2"), layer("a", b"1")];
    let docker_types = Image { docker_types: true, ..Image::small() };
    let docker_types = Image {
        blobs: docker_types.blobs.iter().map(|(_, blob)| (DOCKER_LAYER.to_owned(), blob.clone())).collect(),
        ..docker_types
    };
    // Larger than the pieces that are read at once, and no multiple of anything.
    let large: Vec<u8> = (0..700_001u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    vec![
        ("gzip", Image::small()),
        ("plain, a repeated layer", Image::new(&layers, Stored::Plain)),
        ("zstd, a repeated layer", Image::new(&layers, Stored::Zstd)),
        ("Docker's media types", docker_types),
        ("no layers", Image::new(&[], Stored::Plain)),
        ("an empty layer", Image::new(&[Vec::new(), layer("b", b"2")], Stored::Gzip)),
        ("a large layer, plain", Image::new(&[layer("big", &large)], Stored::Plain)),
        ("a large layer, gzip", Image::new(&[layer("big", &large), layer("b", b"2")], Stored::Gzip)),
        ("a large layer, zstd", Image::new(&[layer("big", &large)], Stored::Zstd)),
    ]
}

/// The image in every form in which it can come.
fn forms(image: &Image, names: &[&str]) -> Vec<(&'static str, Vec<u8>)> {
    // docker-archives may hold compressed layers as well.
    let mut compressed = classic(image, names);
    let layers = compressed.iter_mut().filter(|item| item.name().ends_with("/layer.tar") && !item.content.is_empty());
    for layer in layers.step_by(2) {
        layer.content = zstd(&layer.content);
    }
    vec![
        ("classic", tar(&classic(image, names))),
        ("classic, compressed layers", tar(&compressed)),
        ("hybrid", tar(&hybrid(image, names))),
        ("registry hybrid", tar(&registry_hybrid(image, names))),
        ("oci", tar(&oci_archive(image, names))),
    ]
}

#[test]
fn every_form_from_every_form_is_trusted_again() {
    for (kind, image) in images() {
        for names in [&[NAME][..], &[]] {
            for (from, archive) in forms(&image, names) {
                let before = verified(&image, &archive);
                for form in BOTH {
                    let what = format!("{kind}, {from}, {names:?}, {form:?}");
                    let fresh = written(form, &before, &archive);
                    let after = verified(&image, &fresh);
                    let expected = if form == As::Docker { Form::DockerArchive } else { Form::OciArchive };
                    assert_eq!(after.form(), expected, "{what}");
                    assert_eq!(after.config_digest(), before.config_digest(), "{what}");
                    assert_eq!(after.claimed_names(), [NAME.parse().unwrap()], "{what}: the verified name");
                    let diff_ids = |image: &VerifiedImage| -> Vec<Sha256> {
                        image.layers().iter().map(|layer| layer.diff_id()).collect()
                    };
                    assert_eq!(diff_ids(&after), diff_ids(&before), "{what}");
                    // And from there the same again.
                    assert!(written(form, &after, &fresh) == fresh, "{what}");
                }
            }
        }
    }
}

#[test]
fn one_image_is_one_docker_archive() {
    for (kind, image) in images() {
        let all: Vec<Vec<u8>> =
            forms(&image, &[NAME]).iter().map(|(_, a)| written(As::Docker, &verified(&image, a), a)).collect();
        assert!(all.iter().all(|archive| *archive == all[0]), "{kind}");

        let files = files(&all[0]).unwrap();
        let mut expected = Vec::new();
        for layer in &image.layers {
            let name = format!("{}.tar", hex(layer));
            if !expected.contains(&name) {
                expected.push(name);
            }
        }
        let config = format!("{}.json", hex(&image.config));
        expected.extend([config.clone(), "manifest.json".to_owned()]);
        assert_eq!(files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected, "{kind}");

        assert_eq!(file(&files, &config), image.config, "{kind}");
        let layers: Vec<String> = image.layers.iter().map(|layer| format!("{}.tar", hex(layer))).collect();
        for (name, layer) in layers.iter().zip(&image.layers) {
            assert_eq!(file(&files, name), layer, "{kind}");
        }
        let manifest = json!([{"Config": config, "RepoTags": [NAME], "Layers": layers}]);
        assert_eq!(parsed(&files, "manifest.json"), manifest, "{kind}");
    }
}

#[test]
fn a_short_name_is_written_in_full() {
    let image = Image::small();
    let archive = tar(&classic(&image, &["app:1"]));
    let verified = verified_as("app:1", &image, &archive);
    let full = "docker.io/library/app:1";
    let files = |form| files(&written(form, &verified, &archive)).unwrap();
    assert_eq!(parsed(&files(As::Docker), "manifest.json")[0]["RepoTags"], json!([full]));
    let names = json!({"io.containerd.image.name": full, "org.opencontainers.image.ref.name": full});
    assert_eq!(parsed(&files(As::Oci), "index.json")["manifests"][0]["annotations"], names);
}

#[test]
fn a_reference_by_digest_gives_no_name() {
    let image = Image::small();
    let digest = Sha256::of(&image.manifest());
    for name in [format!("registry.example/team/app@{digest}"), format!("{NAME}@{digest}")] {
        let archive = tar(&classic(&image, &[]));
        let verified = verified_as(&name, &image, &archive);
        let files = |form| files(&written(form, &verified, &archive)).unwrap();
        assert_eq!(parsed(&files(As::Docker), "manifest.json")[0]["RepoTags"], Value::Null);
        assert_eq!(parsed(&files(As::Oci), "index.json")["manifests"][0].get("annotations"), None);
        for form in BOTH {
            let fresh = written(form, &verified, &archive);
            assert!(verified_as(&name, &image, &fresh).claimed_names().is_empty());
        }
    }
}

#[test]
fn the_signed_manifest_survives_where_its_blobs_are_there() {
    let mut as_signed_or_not = [0, 0];
    for (kind, image) in images() {
        for (from, archive) in forms(&image, &[NAME]) {
            let verified = verified(&image, &archive);
            // What is not there cannot be handed on, and what was compressed by somebody else cannot be compressed to the same bytes.
            let is_there = |blob: &[u8]| {
                blob.is_empty() || (0..archive.len()).step_by(512).any(|at| archive[at..].starts_with(blob))
            };
            let as_signed =
                image.blobs.iter().zip(&image.layers).all(|((_, blob), layer)| blob == layer || is_there(blob));
            assert_eq!(verified.has_signed_blobs(), as_signed, "{kind}, {from}");
            as_signed_or_not[usize::from(as_signed)] += 1;

            let files = files(&written(As::Oci, &verified, &archive)).unwrap();
            assert_eq!(files[0], ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()));
            assert_eq!(files.last().unwrap().0, "index.json");
            let index = parsed(&files, "index.json");
            assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
            let digest = index["manifests"][0]["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
            let manifest = file(&files, &digest);
            if as_signed {
                assert_eq!(manifest, image.manifest(), "{kind}, {from}");
            } else {
                assert_eq!(
                    serde_json::from_slice::<Value>(manifest).unwrap(),
                    image.re_encoded_manifest_json(),
                    "{kind}, {from}"
                );
            }
            // Every blob is what its name says.
            let blobs = files.iter().filter_map(|(name, content)| Some((name.strip_prefix("blobs/sha256/")?, content)));
            assert!(blobs.clone().all(|(name, content)| name == hex(content)), "{kind}, {from}");
            let distinct: BTreeMap<_, _> = blobs.collect();
            assert_eq!(distinct.len() + 2, files.len(), "{kind}, {from}: each once");
        }
    }
    assert!(as_signed_or_not.iter().all(|n| *n > 10), "{as_signed_or_not:?}");
}

#[test]
fn of_an_index_the_verified_platform_alone_is_written() {
    let amd64 = Image::for_platform("amd64", &[layer("a", b"x86")], Stored::Gzip);
    let arm64 = Image::for_platform("arm64", &[layer("a", b"arm")], Stored::Gzip);
    let index = bytes(&index_of(&[("amd64", &amd64), ("arm64", &arm64)]));
    // Docker's half names one platform, so the archive is an oci-archive.
    let mut items = index_hybrid(&index, &[&amd64, &arm64], &[NAME]);
    remove(&mut items, "manifest.json");
    let archive = tar(&items);
    let platform = Platform::parse("linux/arm64").unwrap();
    let name: ImageName = NAME.parse().unwrap();
    let signed = SignedImage::from_index(&name, &index, &platform, &arm64.manifest(), &limits()).unwrap();
    let verified = judge(&signed, std::slice::from_ref(&name), &archive);
    for form in BOTH {
        let fresh = written(form, &verified, &archive);
        let signed_alone = SignedImage::from_manifest(&name, &arm64.manifest(), Some(&platform), &limits()).unwrap();
        assert_eq!(judge(&signed_alone, std::slice::from_ref(&name), &fresh).config_digest(), verified.config_digest());
        let files = files(&fresh).unwrap();
        assert!(!files.iter().any(|(_, content)| *content == index || *content == amd64.config));
    }
    let fresh = written(As::Docker, &verified, &archive);
    assert!(judge(&signed, &[name], &fresh).index().is_some(), "it is still the image of the signed index");
}

/// A docker-archive with the files of both images, whose `manifest.json`, at its end, lists the first.
fn archive_of_both(listed: &Image, images: [&Image; 2]) -> Vec<u8> {
    let mut items: Vec<Item> = Vec::new();
    for image in images {
        for layer in &image.layers {
            let name = format!("{}.tar", hex(layer));
            if !items.iter().any(|item| item.name() == name) {
                items.push(file_item(&name, layer));
            }
        }
        items.push(file_item(&format!("{}.json", hex(&image.config)), &image.config));
    }
    let layers: Vec<String> = listed.layers.iter().map(|layer| format!("{}.tar", hex(layer))).collect();
    let config = format!("{}.json", hex(&listed.config));
    items.push(file_item("manifest.json", &manifest_json(&config, &[], &layers)));
    tar(&items)
}

#[test]
fn several_images_are_one_archive() {
    let one = Image::small();
    let other = Image::new(&[layer("etc/motd", b"hello\n"), layer("bin/app", b"#!/bin/bash\n")], Stored::Gzip);
    let archive = archive_of_both(&one, [&one, &other]);
    let images = [
        verified(&one, &archive),
        verified_as("app:1", &one, &archive),
        verified(&one, &archive),
        verified_as("app:2", &other, &archive_of_both(&other, [&one, &other])),
    ];
    let write = |form| {
        let mut out = Vec::new();
        write_to(form, &images, archive.as_slice(), &mut out).unwrap();
        files(&out).unwrap()
    };
    let docker = write(As::Docker);
    let items = parsed(&docker, "manifest.json");
    assert_eq!(items.as_array().unwrap().len(), 2);
    assert_eq!(items[0]["RepoTags"], json!([NAME, "docker.io/library/app:1"]));
    assert_eq!(items[1]["RepoTags"], json!(["docker.io/library/app:2"]));
    assert_eq!(items[0]["Layers"][0], items[1]["Layers"][0], "the base is shared");
    assert_eq!(docker.len(), 3 + 2 + 1, "three layers, two configs, one manifest.json");

    let index = parsed(&write(As::Oci), "index.json");
    let digest = |i: usize| index["manifests"][i]["digest"].as_str().unwrap();
    let name = |i: usize| index["manifests"][i]["annotations"]["io.containerd.image.name"].as_str().unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 3);
    assert!(digest(0) == digest(1) && digest(1) != digest(2));
    assert_eq!((name(0), name(1), name(2)), (NAME, "docker.io/library/app:1", "docker.io/library/app:2"));
}

/// Asserts that what was written is shorter than it should have been and cut inside a file, so that no loader takes it.
#[track_caller]
fn assert_cut(out: &[u8], good: &[u8], what: &str) {
    assert!(out.len() < good.len() - 1024 && out[..512] == good[..512], "{what}: {} bytes", out.len());
    for name in ["manifest.json", "index.json"] {
        assert!(!out.windows(name.len()).any(|window| window == name.as_bytes()), "{what}: {name} is there");
    }
    let refusal = Inventory::scan(out, &limits()).unwrap_err().to_string();
    // An empty file that is no longer empty can only be cut behind it.
    let cut = if what.contains("an empty layer") { "the file ends" } else { "the file ends inside this entry" };
    assert!(refusal.contains(cut), "{what}: {refusal}");
}

#[test]
fn a_byte_that_changed_after_the_check_is_never_handed_on() {
    for (kind, image) in images().into_iter().filter(|(kind, _)| !kind.contains("large")) {
        for (from, archive) in forms(&image, &[NAME]) {
            let verified = verified(&image, &archive);
            let entries = verified.layers().iter().map(|layer| layer.entry()).chain([verified.config_entry()]);
            for form in BOTH {
                let good = written(form, &verified, &archive);
                let (mut refused, mut same) = (0, 0);
                for entry in entries.clone() {
                    for at in entry.offset..entry.offset + entry.size {
                        let mut changed = archive.clone();
                        changed[at as usize] ^= 0x10;
                        let mut out = Vec::new();
                        let what = format!("{kind}, {from}, {form:?}, byte {at}");
                        match write_to(form, std::slice::from_ref(&verified), changed.as_slice(), &mut out) {
                            Err(error @ WriteError::Changed { .. }) => {
                                assert_eq!(error.code(), "archive-changed");
                                assert_cut(&out, &good, &what);
                                refused += 1;
                            }
                            // The time in a gzip header, for instance: what it unpacks to is what was verified.
                            Ok(()) => {
                                assert!(out == good, "{what}");
                                same += 1;
                            }
                            Err(other) => panic!("{what}: {other}"),
                        }
                    }
                }
                let copied =
                    form == As::Oci && verified.layers().iter().all(|layer| layer.stored_digest() == layer.diff_id());
                assert!(
                    refused > 0 && same * 4 < refused && (!copied || same == 0),
                    "{kind}, {from}, {form:?}: {same}"
                );
            }
        }
    }
}

#[test]
fn large_layers_that_changed_are_cut_where_they_changed() {
    for (kind, image) in images().into_iter().filter(|(kind, _)| kind.contains("large")) {
        for (from, archive) in forms(&image, &[NAME]) {
            let verified = verified(&image, &archive);
            let entry = verified.layers()[0].entry();
            for at in [0, 300_000, entry.size / 2, entry.size - 1].map(|at| at.min(entry.size - 1)) {
                for form in BOTH {
                    let good = written(form, &verified, &archive);
                    let mut changed = archive.clone();
                    // Within gzip's header, the first byte that matters is the second.
                    changed[(entry.offset + at) as usize] ^= 0x11;
                    let mut out = Vec::new();
                    let error = write_to(form, std::slice::from_ref(&verified), changed.as_slice(), &mut out);
                    let what = format!("{kind}, {from}, {form:?}, byte {at}");
                    let Err(WriteError::Changed { entry, expected, found }) = error else {
                        panic!("{what}: {error:?}")
                    };
                    assert!(entry.contains(&hex(&image.layers[0])) || entry.starts_with("blobs/sha256/"), "{what}");
                    assert_ne!(expected, found, "{what}");
                    // The pieces before the change went out already; they need not be those of the good archive after it.
                    assert!(out.len() < good.len() - 1024, "{what}");
                    let refusal = Inventory::scan(out.as_slice(), &limits()).unwrap_err().to_string();
                    assert!(refusal.contains("the file ends inside this entry"), "{what}: {refusal}");
                }
            }
        }
    }
}

#[test]
fn another_archive_is_not_the_one_that_was_verified() {
    let (image, other) = (Image::small(), Image::new(&[layer("x", b"y"), layer("z", b"z")], Stored::Gzip));
    let archive = tar(&classic(&image, &[NAME]));
    let verified = verified(&image, &archive);
    let others = [
        ("another image", tar(&classic(&other, &[NAME]))),
        ("another form", tar(&oci_archive(&image, &[NAME]))),
        ("nothing", Vec::new()),
    ];
    for (what, other) in others {
        for form in BOTH {
            let mut out = Vec::new();
            let error = write_to(form, std::slice::from_ref(&verified), other.as_slice(), &mut out).unwrap_err();
            assert_eq!(error.code(), "archive-changed", "{what}: {error}");
        }
    }
}

#[test]
fn an_archive_that_became_shorter_is_never_handed_on() {
    for (kind, image) in images() {
        let archive = tar(&classic(&image, &[NAME]));
        let verified = verified(&image, &archive);
        let end = verified.config_entry().offset + verified.config_entry().size;
        for form in BOTH {
            let good = written(form, &verified, &archive);
            let entries = verified.layers().iter().map(|layer| layer.entry()).chain([verified.config_entry()]);
            for entry in entries.filter(|entry| entry.size > 0) {
                for cut in [entry.offset, entry.offset + 1, entry.offset + entry.size - 1] {
                    let mut out = Vec::new();
                    let result = write_to(form, std::slice::from_ref(&verified), &archive[..cut as usize], &mut out);
                    let what = format!("{kind}, {form:?}, cut at {cut}");
                    let error = result.unwrap_err();
                    assert_eq!(error.code(), "archive-changed", "{what}: {error}");
                    assert!(error.to_string().contains("became shorter"), "{what}: {error}");
                    assert_cut(&out, &good, &what);
                }
            }
            // What comes after the files that are handed on is not needed any more.
            let mut out = Vec::new();
            write_to(form, std::slice::from_ref(&verified), &archive[..end as usize], &mut out).unwrap();
            assert!(out == good, "{kind}, {form:?}");
        }
    }
}

/// Reads a few bytes at a time, and is interrupted before each time.
struct Slow<'a>(&'a [u8], AtomicBool);

impl ReadAt for Slow<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.1.fetch_not(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = buf.len().min(1000);
        self.0.read_at(&mut buf[..n], offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

/// Fails to read anything from some offset on.
struct Bad<'a>(&'a [u8], u64);

impl ReadAt for Bad<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if offset + buf.len() as u64 > self.1 {
            return Err(io::Error::other("bad sector"));
        }
        self.0.read_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

#[test]
fn short_reads_are_completed_and_failing_ones_reported() {
    for (kind, image) in images() {
        for (from, archive) in forms(&image, &[NAME]) {
            let verified = verified(&image, &archive);
            for form in BOTH {
                let good = written(form, &verified, &archive);
                let mut out = Vec::new();
                write_to(form, std::slice::from_ref(&verified), &Slow(&archive, true.into()), &mut out).unwrap();
                assert!(out == good, "{kind}, {from}, {form:?}");

                let entry = verified.config_entry();
                let mut out = Vec::new();
                let bad = Bad(&archive, entry.offset + entry.size - 1);
                let error = write_to(form, std::slice::from_ref(&verified), &bad, &mut out).unwrap_err();
                assert_eq!(error.code(), "archive-unreadable", "{kind}, {from}, {form:?}: {error}");
                assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "bad sector");
                assert_cut(&out, &good, kind);
                for layer in verified.layers().iter().filter(|layer| layer.entry().size > 0) {
                    let bad = Bad(&archive, layer.entry().offset + layer.entry().size - 1);
                    let error = write_to(form, std::slice::from_ref(&verified), &bad, io::sink()).unwrap_err();
                    assert_eq!(error.code(), "archive-unreadable", "{kind}, {from}, {form:?}: {error}");
                }
            }
        }
    }
}

/// Takes so many bytes, a few at a time, and then no more.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(self.0).min(7);
        self.0 -= n;
        if n == 0 && !buf.is_empty() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(n) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_that_takes_no_more_is_reported() {
    let image = Image::small();
    for (from, archive) in forms(&image, &[NAME]) {
        let verified = verified(&image, &archive);
        for form in BOTH {
            let length = written(form, &verified, &archive).len();
            for room in [0, 1, 511, 512, 513, length / 2, length - 1024, length - 1] {
                let error = write_to(form, std::slice::from_ref(&verified), &archive, Full(room)).unwrap_err();
                assert_eq!(error.code(), "output-unwritable", "{from}, {form:?}, {room}: {error}");
            }
            write_to(form, std::slice::from_ref(&verified), &archive, Full(length)).unwrap();
        }
    }
}

#[test]
fn the_window_of_a_zstd_layer_is_bounded_as_in_the_check() {
    let image = Image::new(&[layer("big", &vec![7; 3 << 20])], Stored::Zstd);
    let archive = tar(&oci_archive(&image, &[NAME]));
    let verified = verified(&image, &archive);
    let mut small = limits();
    small.zstd_window_log = 10;
    let error = write::docker_archive(std::slice::from_ref(&verified), &archive, &small, io::sink()).unwrap_err();
    assert_eq!(error.code(), "archive-changed", "{error}");
    write::docker_archive(&[verified], &archive, &limits(), io::sink()).unwrap();
}

/// A folder that is not there yet, in an empty one.
fn new_folder(test: &str) -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR")).join("write").join(test);
    if parent.exists() {
        std::fs::remove_dir_all(&parent).unwrap();
    }
    std::fs::create_dir_all(&parent).unwrap();
    parent.join("layout")
}

fn files_below(folder: &Path, into: &mut BTreeMap<String, Vec<u8>>, name: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{name}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files_below(&entry.path(), into, &format!("{name}/"));
        } else {
            into.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
fn a_folder_has_the_files_of_the_oci_archive() {
    for (i, (kind, image)) in images().into_iter().enumerate() {
        for (j, (from, archive)) in forms(&image, &[NAME]).into_iter().enumerate() {
            let verified = verified(&image, &archive);
            let folder = new_folder(&format!("same-{i}-{j}"));
            write::oci_folder(std::slice::from_ref(&verified), &archive, &limits(), &folder).unwrap();
            let mut found = BTreeMap::new();
            files_below(&folder, &mut found, "");
            let expected: BTreeMap<_, _> = files(&written(As::Oci, &verified, &archive)).unwrap().into_iter().collect();
            assert!(found == expected, "{kind}, {from}");
        }
    }
}

#[test]
fn a_folder_is_new_and_is_no_layout_until_it_is_whole() {
    let image = Image::small();
    let archive = tar(&oci_archive(&image, &[NAME]));
    let verified = verified(&image, &archive);
    let write = |archive: &Vec<u8>, folder: &Path| {
        write::oci_folder(std::slice::from_ref(&verified), archive, &limits(), folder)
    };
    let folder = new_folder("changed");
    let mut changed = archive.clone();
    changed[verified.layers()[1].entry().offset as usize] ^= 1;
    assert_eq!(write(&changed, &folder).unwrap_err().code(), "archive-changed");
    assert!(folder.join("oci-layout").exists() && !folder.join("index.json").exists());
    // Whatever is there already, a folder or a file, it stays as it is.
    for existing in [&folder, &folder.join("oci-layout")] {
        let error = write(&archive, existing).unwrap_err();
        assert_eq!(error.code(), "output-unwritable");
        assert!(error.to_string().contains(existing.file_name().unwrap().to_str().unwrap()), "{error}");
    }
    assert!(!folder.join("index.json").exists());
    assert_eq!(write(&archive, &folder.join("a/b")).unwrap_err().code(), "output-unwritable");
}
