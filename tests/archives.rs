//! Archives, whole: for every rule a good one and the nearest bad one. Rule numbers are those of `plimsoll::image`.
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

use plimsoll::image::VerifiedImage;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::error::ArchiveError;
use plimsoll::image::inventory::{Form, Inventory};
use plimsoll::image::manifest::Platform;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use serde_json::{Value, json};
use support::image::*;

/// What the check says about an archive of which `image` is signed as [`NAME`]: nothing, or the code of the first refusal.
fn verdict(image: &Image, archive: &[u8]) -> Result<VerifiedImage, String> {
    verdict_as(NAME, &image.manifest(), archive)
}

fn verdict_as(name: &str, manifest: &[u8], archive: &[u8]) -> Result<VerifiedImage, String> {
    let name = ImageName::parse(name).unwrap();
    let limits = limits();
    let signed = SignedImage::from_manifest(&name, manifest, None, &limits).map_err(|r| r.code.to_string())?;
    judge(&signed, &[name], archive)
}

fn judge(signed: &SignedImage, allowed: &[ImageName], archive: &[u8]) -> Result<VerifiedImage, String> {
    let measured = Inventory::scan(archive, &limits()).and_then(|i| i.measure(&limits(), &|_, _| {}));
    let measured = measured.map_err(|e| match e {
        ArchiveError::Refused(refusal) => refusal.code.to_string(),
        other => panic!("not decided: {other}"),
    })?;
    check(signed, allowed, &measured).map_err(|refusals| {
        assert!(!refusals.is_empty());
        refusals[0].code.to_string()
    })
}

fn limits() -> ArchiveLimits {
    ArchiveLimits::default()
}

/// One row: a change to a good archive and the code that it must lead to; empty if it must stay trusted.
type Row = (&'static str, fn(&mut Vec<Item>), &'static str);

fn run(good: impl Fn(&Image) -> Vec<Item>, rows: &[Row]) {
    let image = Image::small();
    assert!(verdict(&image, &tar(&good(&image))).is_ok(), "the good twin");
    for (name, change, expected) in rows {
        let mut items = good(&image);
        change(&mut items);
        let got = verdict(&image, &tar(&items));
        assert_eq!(got.err().unwrap_or_default(), *expected, "{name}");
    }
}

fn classic_archive(image: &Image) -> Vec<Item> {
    classic(image, &[NAME])
}

fn hybrid_archive(image: &Image) -> Vec<Item> {
    hybrid(image, &[NAME])
}

fn registry_archive(image: &Image) -> Vec<Item> {
    registry_hybrid(image, &[NAME])
}

fn oci(image: &Image) -> Vec<Item> {
    oci_archive(image, &[NAME])
}

/// The path of the first layer in a classic archive.
fn first_layer(items: &[Item]) -> String {
    items.iter().find(|i| i.name().ends_with("/layer.tar")).unwrap().name().to_owned()
}

#[test]
fn every_form_is_trusted() {
    let plain = Image::new(&[layer("a", b"1"), layer("b", b"2")], Stored::Plain);
    let zstd = Image::new(&[layer("a", b"1"), layer("b", b"2")], Stored::Zstd);
    let repeated = Image::new(&[layer("a", b"1"), layer("b", b"2"), layer("a", b"1")], Stored::Gzip);
    let docker_types = Image { docker_types: true, ..Image::small() };
    let docker_types = Image {
        blobs: docker_types.blobs.iter().map(|(_, blob)| (DOCKER_LAYER.to_owned(), blob.clone())).collect(),
        ..docker_types
    };
    let empty = Image::new(&[], Stored::Plain);
    for (kind, image) in [
        ("gzip", Image::small()),
        ("plain", plain),
        ("zstd", zstd),
        ("a repeated layer", repeated),
        ("Docker's media types", docker_types),
        ("no layers", empty),
    ] {
        for names in [&[NAME][..], &[]] {
            for (form, items) in [
                (Form::DockerArchive, classic(&image, names)),
                (Form::Hybrid, hybrid(&image, names)),
                (Form::Hybrid, registry_hybrid(&image, names)),
                (Form::OciArchive, oci_archive(&image, names)),
            ] {
                let what = format!("{kind}, {form:?}, {names:?}");
                let verified = verdict(&image, &tar(&items)).unwrap_or_else(|code| panic!("{what}: {code}"));
                assert_eq!(verified.form(), form, "{what}");
                assert_eq!(verified.claimed_names().len(), names.len(), "{what}");
                assert_eq!(verified.layers().len(), image.layers.len(), "{what}");
                for (layer, content) in verified.layers().iter().zip(&image.layers) {
                    assert_eq!(layer.diff_id(), plimsoll::digest::Sha256::of(content), "{what}");
                    assert_eq!(layer.size(), content.len() as u64, "{what}");
                }
            }
        }
    }
}

#[test]
fn another_image_is_never_trusted() {
    let good = Image::small();
    let layers = [layer("etc/motd", b"hello\n"), layer("bin/app", b"#!/bin/evil\n")];
    let other = Image::new(&layers, Stored::Gzip);
    // The signed config beside layers that are not its own: podman loads that and shows the signed image ID.
    let foreign_layer = Image { config: good.config.clone(), ..other.clone() };
    for (form, write) in [
        ("classic", classic_archive as fn(&Image) -> Vec<Item>),
        ("hybrid", hybrid_archive),
        ("registry hybrid", registry_archive),
        ("oci", oci),
    ] {
        assert_eq!(verdict(&good, &tar(&write(&other))).unwrap_err(), "config-digest-mismatch", "{form}");
        assert_eq!(verdict(&good, &tar(&write(&foreign_layer))).unwrap_err(), "layer-diff-id-mismatch", "{form}");
    }
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rules_2_and_3_one_name_one_entry() {
    run(
        classic_archive,
        &[
            ("another file beside", |i| i.push(file("note", b"x")), ""),
            ("the same entry again", |i| i.push(i[position(i, "manifest.json")].clone()), "archive-duplicate-entry"),
            ("again with ./", |i| i.push(file("./manifest.json", b"[]")), "archive-duplicate-entry"),
            ("again with //", |i| i.push(file(".//manifest.json", b"[]")), "archive-duplicate-entry"),
            ("again in upper case", |i| i.push(file("Manifest.json", b"[]")), "archive-duplicate-entry"),
            ("again with the long s", |i| i.push(file("manife\u{17f}t.json", b"[]")), "archive-duplicate-entry"),
            ("a layer again", |i| i.push(file(&first_layer(i), b"")), "archive-duplicate-entry"),
            ("a directory again", |i| i.push(i[0].clone()), ""),
            ("a directory again without the slash", |i| i.push(dir(i[0].name().trim_end_matches('/'))), ""),
            ("a directory in place of a file", |i| i.push(dir("manifest.json/")), "archive-duplicate-entry"),
            ("a file that is a directory elsewhere", |i| i.push(file("manifest.json/x", b"")), "archive-duplicate-entry"),
            ("the other way round", |i| i.insert(0, file("repositories/x", b"")), "archive-duplicate-entry"),
            ("two directories that differ in case", |i| { i.push(file("dir/a", b"")); i.push(file("DIR/b", b"")); }, "archive-duplicate-entry"),
            ("the same with something between", |i| { i.push(file("dir/a", b"")); i.push(file("dir0/x", b"")); i.push(file("Dir/b", b"")); }, "archive-duplicate-entry"),
            ("INDEX.JSON", |i| i.push(file("INDEX.JSON", b"{}")), "archive-duplicate-entry"),
            ("Blobs", |i| i.push(file("Blobs/sha256/x", b"{}")), "archive-duplicate-entry"),
            ("a parent directory", |i| i.push(file("../x", b"")), "archive-entry-name"),
            ("a parent directory inside", |i| i.push(file("a/../x", b"")), "archive-entry-name"),
            ("an absolute name", |i| i.push(file("/x", b"")), "archive-entry-name"),
            ("a backslash", |i| i.push(file("a\\x", b"")), "archive-entry-name"),
            ("a name that is not UTF-8", |i| i.push(patched(file("x", b""), 0, b"\xff")), "archive-entry-name"),
            ("no name", |i| i.push(file("", b"")), "archive-entry-name"),
            ("a name that goes on after NUL", |i| i.push(patched(file("x", b""), 2, b"y")), "archive-header"),
            ("a root directory", |i| i.insert(0, dir("./")), ""),
            ("a root file", |i| i.insert(0, file(".", b"")), "archive-entry-type"),
            ("a file with a slash at its end", |i| i.push(file("x/", b"")), "archive-entry-type"),
        ],
    );
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_4_only_files_directories_and_harmless_links() {
    run(
        classic_archive,
        &[
            ("a link to a layer", |i| i.push(link("x/layer.tar", &format!("../{}", first_layer(i)))), ""),
            ("a link within its directory", |i| { i.push(file("x/a", b"")); i.push(link("x/b", "a")); }, ""),
            ("a link at the top", |i| i.push(link("x", "manifest.json")), "archive-symlink"),
            ("a link below blobs", |i| i.push(link("blobs/sha256/x", "../../manifest.json")), "archive-symlink"),
            ("an absolute link", |i| i.push(link("x/a", "/etc/passwd")), "archive-symlink"),
            ("a link out of the archive", |i| i.push(link("x/a", "../../x")), "archive-symlink"),
            ("a link to nothing", |i| i.push(link("x/a", "../nothing")), "archive-symlink"),
            ("a link to a directory", |i| { i.push(dir("d/")); i.push(link("x/a", "../d")); }, "archive-symlink"),
            ("a link to a link", |i| { i.push(link("x/a", "../manifest.json")); i.push(link("x/b", "a")); }, "archive-symlink"),
            ("a link with .. inside", |i| i.push(link("x/a", "../y/../manifest.json")), "archive-symlink"),
            ("a link with ./", |i| i.push(link("x/a", "./../manifest.json")), "archive-symlink"),
            ("a link with //", |i| i.push(link("x/a", "..//manifest.json")), "archive-symlink"),
            ("a link without a target", |i| i.push(link("x/a", "")), "archive-entry-name"),
            ("a link as a directory", |i| { i.push(link("x/a", "../manifest.json")); i.push(file("x/a/b", b"")); }, "archive-duplicate-entry"),
            ("a hard link", |i| i.push(special(b'1', "x", b"")), "archive-entry-type"),
            ("a character device", |i| i.push(special(b'3', "x", b"")), "archive-entry-type"),
            ("a block device", |i| i.push(special(b'4', "x", b"")), "archive-entry-type"),
            ("a FIFO", |i| i.push(special(b'6', "x", b"")), "archive-entry-type"),
            ("a contiguous file", |i| i.push(special(b'7', "x", b"")), "archive-entry-type"),
            ("a GNU sparse file", |i| i.push(special(b'S', "x", b"")), "archive-entry-type"),
            ("an unknown type", |i| i.push(special(b'Z', "x", b"")), "archive-entry-type"),
            ("a global header", |i| i.insert(0, special(b'g', "x", pax_record("path", "y").as_bytes())), "archive-entry-type"),
            ("an old-style file", |i| { let n = position(i, "manifest.json"); i[n].header.as_mut().unwrap().kind = 0; }, ""),
            ("an old-style directory", |i| i.push(special(0, "x/", b"")), "archive-entry-type"),
        ],
    );
}

/// The config or a control file as a link: a loader that does not follow it takes another one.
#[test]
fn rule_4_configs_and_control_files_are_never_links() {
    let image = Image::small();
    let mut items = classic_archive(&image);
    let config = items[position(&items, "manifest.json") - 1].name().to_owned();
    items.push(link("x/config", &format!("../{config}")));
    edit(&mut items, "manifest.json", |m| m[0]["Config"] = "x/config".into());
    assert_eq!(verdict(&image, &tar(&items)).unwrap_err(), "archive-missing-file");
    let mut items = classic_archive(&image);
    remove(&mut items, "manifest.json");
    items.push(dir("manifest.json"));
    assert_eq!(verdict(&image, &tar(&items)).unwrap_err(), "archive-missing-file");
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_5_headers_leave_nothing_to_interpretation() {
    run(
        classic_archive,
        &[
            ("PAX times", |i| { let n = position(i, "manifest.json"); i.insert(n, pax(&[("mtime", "1.5"), ("SCHILY.xattr.user.x", "y")])); }, ""),
            ("a PAX path", |i| { i.push(pax(&[("path", "long/name")])); i.push(file("short", b"")); }, ""),
            ("a PAX path that makes a duplicate", |i| { i.push(pax(&[("path", "manifest.json")])); i.push(file("short", b"")); }, "archive-duplicate-entry"),
            ("a GNU name that makes a duplicate", |i| { i.push(gnu_long_name("manifest.json")); i.push(file("short", b"")); }, "archive-duplicate-entry"),
            ("a prefix that makes a duplicate", |i| { i.push(file("a/b", b"")); i.push(patched(file("b", b""), 345, b"a")); }, "archive-duplicate-entry"),
            ("a prefix where GNU has times", |i| i.push(patched(patched(file("b", b""), 257, b"ustar  \0"), 345, b"a")), "archive-header"),
            // Go takes the first time for a prefix, where the second is no number.
            ("a GNU time of base-256", |i| i.push(patched(patched(patched(file("b", b""), 257, b"ustar  \0"), 345, b"00000000001\0"), 357, b"\x80\0\0\0\0\0\0\0\0\0\0\x01")), ""),
            ("a GNU time that does not fit", |i| i.push(patched(patched(patched(file("b", b""), 257, b"ustar  \0"), 345, b"00000000001\0"), 357, b"\x80\x01\0\0\0\0\0\0\0\0\0\0")), "archive-header"),
            ("two PAX headers", |i| { i.push(pax(&[("path", "a")])); i.push(pax(&[("path", "b")])); i.push(file("x", b"")); }, "archive-header"),
            ("a PAX path twice", |i| { i.push(pax(&[("path", "a"), ("path", "b")])); i.push(file("x", b"")); }, "archive-header"),
            ("an empty PAX path", |i| { i.push(pax(&[("path", "")])); i.push(file("x", b"")); }, "archive-entry-name"),
            ("NUL in a PAX path", |i| { i.push(pax(&[("path", "a\0b")])); i.push(file("x", b"")); }, "archive-entry-name"),
            ("a GNU name and a PAX path", |i| { i.push(gnu_long_name("a")); i.push(pax(&[("path", "b")])); i.push(file("x", b"")); }, "archive-header"),
            ("two GNU names", |i| { i.push(gnu_long_name("a")); i.push(gnu_long_name("b")); i.push(file("x", b"")); }, "archive-header"),
            ("NUL in a GNU name", |i| { i.push(gnu_long_name("a\0b")); i.push(file("x", b"")); }, "archive-entry-name"),
            ("a PAX link target on a file", |i| { i.push(pax(&[("linkpath", "a")])); i.push(file("x", b"")); }, "archive-header"),
            ("a PAX sparse file 0.1", |i| { i.push(pax(&[("GNU.sparse.map", "0,1")])); i.push(file("x", b"a")); }, "archive-entry-type"),
            ("a PAX sparse file 1.0", |i| { i.push(pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.name", "manifest.json")])); i.push(file("x", b"a")); }, "archive-entry-type"),
            ("star's sparse size", |i| { i.push(pax(&[("SCHILY.realsize", "9")])); i.push(file("x", b"a")); }, "archive-header"),
            ("a character set for names", |i| { i.push(pax(&[("hdrcharset", "BINARY")])); i.push(file("x", b"a")); }, "archive-header"),
            ("a PAX size that is the header's", |i| { i.push(pax(&[("size", "1")])); i.push(file("x", b"a")); }, ""),
            ("a PAX size that is not", |i| { i.push(pax(&[("size", "513")])); i.push(file("x", b"a")); }, "archive-header"),
            ("a PAX size where the header has 0", |i| { i.push(pax(&[("size", "512")])); i.push(file("x", b"")); }, "archive-header"),
            ("a PAX size beyond the file", |i| { i.push(pax(&[("size", "8589934592")])); i.push(file("x", b"")); }, "archive-truncated"),
            ("a PAX size with a sign", |i| { i.push(pax(&[("size", "+1")])); i.push(file("x", b"a")); }, "archive-header"),
            ("a PAX record with a wrong length", |i| { i.push(special(b'x', "p", b"9 path=a\n")); i.push(file("x", b"")); }, ""),
            ("a PAX record cut short", |i| { i.push(special(b'x', "p", b"11 path=a\n")); i.push(file("x", b"")); }, "archive-header"),
            ("a PAX length with a zero in front", |i| { i.push(special(b'x', "p", b"011 path=a\n")); i.push(file("x", b"")); }, "archive-header"),
            ("a PAX record without a newline", |i| { i.push(special(b'x', "p", b"8 path=a")); i.push(file("x", b"")); }, "archive-header"),
            ("zeros after the PAX records", |i| { i.push(special(b'x', "p", b"9 path=a\n\0")); i.push(file("x", b"")); }, "archive-header"),
            ("a special header without an entry", |i| i.push(pax(&[("path", "a")])), "archive-header"),
            ("a wrong checksum", |i| { let mut x = file("x", b""); x.header.as_mut().unwrap().checksum = Some(*b"000000\0 "); i.push(x); }, "archive-header"),
            ("a base-256 size", |i| i.push(patched(file("x", b"a"), 124, b"\x80\0\0\0\0\0\0\0\0\0\0\x01")), ""),
            ("a negative base-256 size", |i| i.push(patched(file("x", b"a"), 124, &[0xff; 12])), "archive-header"),
            ("a base-256 size of 64 bits", |i| i.push(patched(file("x", b"a"), 124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff")), "archive-header"),
            ("a base-256 size of 72 bits", |i| i.push(patched(file("x", b"a"), 124, b"\x80\0\0\x01\0\0\0\0\0\0\0\x01")), "archive-header"),
            ("a size with spaces", |i| i.push(patched(file("x", b"a"), 124, b"         1 \0")), ""),
            ("a size with NUL inside", |i| i.push(patched(file("x", b"a"), 124, b"00000000\x0001\0")), "archive-header"),
            ("a blank size", |i| i.push(patched(file("x", b""), 124, &[0; 12])), "archive-header"),
            ("a size in decimal digits", |i| i.push(patched(file("x", b"12345678"), 124, b"00000000008\0")), "archive-header"),
            ("an owner that is no number", |i| i.push(patched(file("x", b""), 108, b"nobody\0\0")), "archive-header"),
            ("data on a directory", |i| i.push(special(b'5', "x/", b"data")), "archive-header"),
            ("data on a link", |i| { let mut l = link("x/a", "../manifest.json"); l.content = b"data".to_vec(); i.push(l); }, "archive-header"),
            ("a header of star", |i| i.push(patched(file("x", b""), 508, b"tar\0")), "archive-header"),
            ("an old-style header", |i| i.push(patched(file("x", b""), 257, &[0; 8])), ""),
            ("an old-style header with a prefix", |i| i.push(patched(patched(file("x", b""), 257, &[0; 8]), 345, b"a")), "archive-header"),
            ("a GNU header", |i| i.push(patched(file("x", b""), 257, b"ustar  \0")), ""),
            ("an unknown version", |i| i.push(patched(file("x", b""), 263, b"01")), "archive-header"),
        ],
    );
}

#[test]
fn rule_6_the_end_is_the_end() {
    let image = Image::small();
    let items = classic_archive(&image);
    let open = unfinished_tar(&items);
    let with = |tail: &[u8]| [open.as_slice(), tail].concat();
    let more = tar(&[file("manifest.json", b"[]")]);
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("two zero blocks", with(&[0; 1024]), ""),
        ("padded to 10 KiB", with(&[0; 10240]), ""),
        ("padded to an odd length", with(&[0; 1025]), ""),
        ("one zero block", with(&[0; 512]), "archive-truncated"),
        ("no zero block", with(&[]), "archive-truncated"),
        ("a cut zero block", with(&[0; 1023]), "archive-truncated"),
        ("one zero block, then entries", with(&[&[0; 512][..], &more].concat()), "archive-header"),
        ("two zero blocks, then entries", with(&[&[0; 1024][..], &more].concat()), "archive-trailing-data"),
        ("one byte after the end", with(&[&[0; 1024][..], b"x"].concat()), "archive-trailing-data"),
        ("one byte far after the end", with(&[&[0; 200_000][..], b"x"].concat()), "archive-trailing-data"),
    ];
    for (name, archive, expected) in cases {
        assert_eq!(verdict(&image, archive).err().unwrap_or_default(), *expected, "{name}");
    }
}

#[test]
fn every_shorter_archive_is_refused() {
    let image = Image::small();
    for items in [classic_archive(&image), hybrid_archive(&image), registry_archive(&image), oci(&image)] {
        let archive = tar(&items);
        for length in 0..archive.len() {
            let code = verdict(&image, &archive[..length]).expect_err("shorter");
            assert!(
                matches!(code.as_str(), "archive-empty" | "archive-not-tar" | "archive-truncated"),
                "{length} bytes: {code}"
            );
        }
    }
}

#[test]
fn rule_7_what_is_no_plain_tar_says_so() {
    let image = Image::small();
    let archive = tar(&classic_archive(&image));
    let mut bzip2_name = classic_archive(&image);
    bzip2_name.insert(0, file("BZh91AY&SY", b""));
    let mut zstd_name = classic_archive(&image);
    zstd_name.insert(0, file("P*M\x18", b""));
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("gzip", gzip(&archive), "archive-compressed"),
        ("zstd", zstd(&archive), "archive-compressed"),
        ("bzip2", b"BZh91AY&SY".to_vec(), "archive-compressed"),
        ("xz", b"\xfd7zXZ\0\0".to_vec(), "archive-compressed"),
        ("a tar that starts like bzip2", tar(&bzip2_name), "archive-compressed"),
        ("a tar that starts like a skippable zstd frame", tar(&zstd_name), "archive-compressed"),
        ("nothing", Vec::new(), "archive-empty"),
        ("text", b"hello".to_vec(), "archive-not-tar"),
        ("zip", [b"PK\x03\x04".as_slice(), &[1; 600]].concat(), "archive-not-tar"),
        ("an empty tar", tar(&[]), "archive-no-image"),
        ("a tar of other files", tar(&[file("etc/passwd", b"x")]), "archive-no-image"),
    ];
    for (name, archive, expected) in cases {
        assert_eq!(verdict(&image, archive).unwrap_err(), *expected, "{name}");
    }
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_9_no_half_is_skipped() {
    run(
        hybrid_archive,
        &[
            ("without oci-layout, podman still reads it", |i| remove(i, "oci-layout"), ""),
            ("an unknown layout version", |i| replace(i, "oci-layout", br#"{"imageLayoutVersion":"2.0.0"}"#), "layout-version"),
            ("a layout version in another case", |i| replace(i, "oci-layout", br#"{"ImageLayoutVersion":"1.0.0"}"#), "document-ambiguous"),
            ("an empty oci-layout", |i| replace(i, "oci-layout", b""), "document-malformed"),
            ("oci-layout without an index", |i| remove(i, "index.json"), "archive-missing-file"),
            ("a broken index", |i| replace(i, "index.json", b"{"), "document-malformed"),
            ("a broken manifest.json", |i| replace(i, "manifest.json", b"["), "document-malformed"),
            ("manifest.json lists nothing", |i| replace(i, "manifest.json", b"[]"), "archive-no-image"),
            (
                "a missing manifest blob",
                |i| {
                    let d = content(i, "index.json");
                    let d: Value = serde_json::from_slice(&d).unwrap();
                    let name = format!("blobs/sha256/{}", &d["manifests"][0]["digest"].as_str().unwrap()[7..]);
                    remove(i, &name);
                },
                "archive-missing-file",
            ),
        ],
    );
    run(
        oci,
        &[
            ("docker's old form beside it: repositories", |i| i.push(file("repositories", b"{}")), "archive-legacy-image"),
            ("docker's old form beside it: json", |i| i.push(file("x/json", b"{}")), "archive-legacy-image"),
            ("docker's old form beside it: layer.tar", |i| i.push(file("x/layer.tar", b"")), "archive-legacy-image"),
            ("docker's old form beside it: layer.tar as a directory", |i| i.push(file("x/layer.tar/y", b"")), "archive-legacy-image"),
            ("docker's old form in upper case", |i| i.push(file("x/JSON", b"{}")), "archive-legacy-image"),
            ("a directory with something else", |i| i.push(file("x/other", b"")), ""),
            ("without oci-layout", |i| remove(i, "oci-layout"), ""),
        ],
    );
    run(
        classic_archive,
        &[
            ("an empty index.json beside it", |i| i.push(file("index.json", br#"{"schemaVersion":2,"manifests":[]}"#)), "archive-no-image"),
            ("oci-layout beside it", |i| i.push(file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)), "archive-missing-file"),
            ("no manifest.json", |i| remove(i, "manifest.json"), "archive-legacy-image"),
        ],
    );
}

#[test]
fn rule_9_both_halves_must_be_the_signed_image() {
    let good = Image::small();
    let other = Image::new(&[layer("bin/app", b"#!/bin/evil\n")], Stored::Gzip);
    let mut expected = registry_archive(&good);
    for item in oci(&other) {
        if item.name().starts_with("blobs/sha256/") && !expected.iter().any(|i| i.name() == item.name()) {
            expected.push(item);
        }
    }
    assert!(verdict(&good, &tar(&expected)).is_ok(), "blobs that nothing names");
    let mut items = expected.clone();
    replace(&mut items, "index.json", &content(&oci(&other), "index.json"));
    assert_eq!(verdict(&good, &tar(&items)).unwrap_err(), "config-digest-mismatch", "podman would load another");
    let mut items = expected;
    replace(&mut items, "manifest.json", &content(&registry_archive(&other), "manifest.json"));
    assert_eq!(verdict(&good, &tar(&items)).unwrap_err(), "config-digest-mismatch", "docker would load another");
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_10_no_image_beside_the_signed_one() {
    run(
        hybrid_archive,
        &[
            ("manifest.json with two items", |i| { edit(i, "manifest.json", |m| { let item = m[0].clone(); m.as_array_mut().unwrap().push(item); }) }, "archive-several-images"),
            ("a parent image", |i| edit(i, "manifest.json", |m| m[0]["Parent"] = format!("sha256:{}", "1".repeat(64)).into()), "archive-several-images"),
            ("an empty parent", |i| edit(i, "manifest.json", |m| m[0]["Parent"] = "".into()), ""),
            (
                "index.json with a second descriptor",
                |i| {
                    edit(i, "index.json", |x| {
                        let mut d = x["manifests"][0].clone();
                        d["size"] = 1.into();
                        x["manifests"].as_array_mut().unwrap().push(d);
                    })
                },
                "blob-size-mismatch",
            ),
            (
                "a second one that says it is an attestation",
                |i| {
                    edit(i, "index.json", |x| {
                        let mut d = x["manifests"][0].clone();
                        d["digest"] = format!("sha256:{}", "0".repeat(64)).into();
                        d["platform"] = json!({"os":"unknown","architecture":"unknown"});
                        d["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
                        x["manifests"].as_array_mut().unwrap().push(d);
                    })
                },
                "archive-missing-file",
            ),
            ("the same descriptor twice", |i| { edit(i, "index.json", |x| { let d = x["manifests"][0].clone(); x["manifests"].as_array_mut().unwrap().push(d); }) }, ""),
            ("a descriptor that embeds content", |i| edit(i, "index.json", |x| x["manifests"][0]["data"] = "e30=".into()), "manifest-not-signed"),
        ],
    );
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_11_a_blob_is_its_bytes() {
    for (form, write) in
        [("hybrid", hybrid_archive as fn(&Image) -> Vec<Item>), ("registry", registry_archive), ("oci", oci)]
    {
        let good = Image::small();
        let blobs: Vec<String> = write(&good)
            .iter()
            .filter(|i| i.name().starts_with("blobs/sha256/") && !i.content.is_empty())
            .map(|i| i.name().to_owned())
            .collect();
        assert_eq!(blobs.len(), 4, "{form}");
        for name in blobs {
            let mut items = write(&good);
            let mut bytes = content(&items, &name);
            // A bit of a digest or of a gzip body: the document stays well-formed or not, the blob is wrong either way.
            *bytes.last_mut().unwrap() ^= 1;
            replace(&mut items, &name, &bytes);
            let code = verdict(&good, &tar(&items)).expect_err(&name);
            let expected = [
                "blob-digest-mismatch",
                "layer-diff-id-mismatch",
                "layer-corrupt",
                "config-digest-mismatch",
                "document-malformed",
            ];
            assert!(expected.contains(&code.as_str()), "{form} {name}: {code}");
            let mut items = write(&good);
            let mut bytes = content(&items, &name);
            bytes.push(b'\n');
            replace(&mut items, &name, &bytes);
            let code = verdict(&good, &tar(&items)).expect_err(&name);
            assert!(["blob-size-mismatch", "config-digest-mismatch"].contains(&code.as_str()), "{form} {name}: {code}");
        }
    }
    run(
        oci,
        &[
            (
                "an upper-case digest",
                |i| {
                    edit(i, "index.json", |x| {
                        let d =
                            x["manifests"][0]["digest"].as_str().unwrap().to_uppercase().replace("SHA256", "sha256");
                        x["manifests"][0]["digest"] = d.into();
                    })
                },
                "document-malformed",
            ),
            ("another algorithm", |i| edit(i, "index.json", |x| x["manifests"][0]["digest"] = "sha512:00".into()), "document-malformed"),
            ("a wrong size in the descriptor", |i| edit(i, "index.json", |x| x["manifests"][0]["size"] = 1.into()), "blob-size-mismatch"),
            ("a size as a string", |i| edit(i, "index.json", |x| x["manifests"][0]["size"] = "1".into()), "document-malformed"),
            ("a media type that the blob is not", |i| edit(i, "index.json", |x| x["manifests"][0]["mediaType"] = OCI_INDEX.into()), "media-type"),
        ],
    );
}

/// The hybrid archive with its OCI manifest changed, and everything that leads to it made to fit.
fn re_encoded(image: &Image, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut manifest = image.re_encoded_manifest_json();
    change(&mut manifest);
    let mut items = hybrid_archive(image);
    let manifest = bytes(&manifest);
    if !items.iter().any(|i| i.name() == blob_name(&manifest)) {
        items.push(blob_file(&manifest));
    }
    replace(&mut items, "index.json", &bytes(&index_json(OCI_MANIFEST, &manifest, &[NAME])));
    tar(&items)
}

/// One row about the OCI manifest of a hybrid: a change and the code that it must lead to.
type Edit = (&'static str, fn(&mut Value), &'static str);

#[test]
fn rule_12_an_unsigned_manifest_is_a_re_encoding_or_nothing() {
    let image = Image::small();
    let rows: &[Edit] = &[
        ("unchanged", |_| {}, ""),
        ("layers in another order", |m| m["layers"].as_array_mut().unwrap().reverse(), "layer-diff-id-mismatch"),
        ("a layer less", |m| drop(m["layers"].as_array_mut().unwrap().pop()), "layer-count-mismatch"),
        (
            "a layer twice",
            |m| {
                let l = m["layers"][1].clone();
                m["layers"].as_array_mut().unwrap().push(l);
            },
            "layer-count-mismatch",
        ),
        ("no layers", |m| m["layers"] = json!([]), "layer-count-mismatch"),
        (
            "annotations that a runtime obeys",
            |m| m["annotations"] = json!({"run.oci.handler": "krun"}),
            "manifest-not-signed",
        ),
        ("no annotations, said explicitly", |m| m["annotations"] = json!({}), ""),
        (
            "annotations of a layer",
            |m| {
                m["layers"][0]["annotations"] =
                    json!({"io.github.containers.zstd-chunked.manifest-checksum": "sha256:0"})
            },
            "manifest-not-signed",
        ),
        ("annotations of the config", |m| m["config"]["annotations"] = json!({"a": "b"}), "manifest-not-signed"),
        ("a subject", |m| m["subject"] = m["config"].clone(), "manifest-not-signed"),
        ("an artifact type", |m| m["artifactType"] = "x/y".into(), "manifest-not-signed"),
        ("embedded content", |m| m["config"]["data"] = "e30=".into(), "manifest-not-signed"),
        ("an unknown layer type", |m| m["layers"][0]["mediaType"] = "application/x".into(), "media-type"),
        (
            "an encrypted layer",
            |m| m["layers"][0]["mediaType"] = format!("{OCI_LAYER}+gzip+encrypted").into(),
            "media-type",
        ),
        ("an unknown config type", |m| m["config"]["mediaType"] = "application/x".into(), "media-type"),
        (
            "a foreign layer",
            |m| m["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip".into(),
            "foreign-content",
        ),
        (
            "a non-distributable layer",
            |m| m["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.nondistributable.v1.tar".into(),
            "foreign-content",
        ),
        ("a layer with urls", |m| m["layers"][0]["urls"] = json!(["https://evil.example/x"]), "foreign-content"),
        ("an index as well", |m| m["manifests"] = json!([]), "document-ambiguous"),
        ("schema 1 fields", |m| m["fsLayers"] = json!([]), "document-ambiguous"),
        ("schema 1", |m| m["schemaVersion"] = 1.into(), "document-schema-1"),
        ("schema 3", |m| m["schemaVersion"] = 3.into(), "document-malformed"),
        ("a wrong media type", |m| m["mediaType"] = DOCKER_MANIFEST.into(), "media-type"),
        ("no media type", |m| drop(m.as_object_mut().unwrap().remove("mediaType")), ""),
        ("a key in another case", |m| m["Layers"] = json!([]), "document-ambiguous"),
        ("a key with the long s", |m| m["layer\u{17f}"] = json!([]), "document-ambiguous"),
        ("an unknown key", |m| m["x"] = json!([]), ""),
    ];
    for (name, change, expected) in rows {
        let got = verdict(&image, &re_encoded(&image, *change));
        assert_eq!(got.err().unwrap_or_default(), *expected, "{name}");
    }
}

#[test]
fn rule_12_annotations_that_are_signed_may_be_repeated() {
    let image = Image::small();
    let mut signed = image.manifest_json();
    signed["annotations"] = json!({"a": "b"});
    let verdict = |change: fn(&mut Value)| verdict_as(NAME, &bytes(&signed), &re_encoded(&image, change)).err();
    assert_eq!(verdict(|m| m["annotations"] = json!({"a": "b"})), None);
    assert_eq!(verdict(|_| {}), None);
    assert_eq!(verdict(|m| m["annotations"] = json!({"a": "c"})).as_deref(), Some("manifest-not-signed"));
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_12_the_docker_half_to_its_end() {
    run(
        classic_archive,
        &[
            ("layers in another order", |i| edit(i, "manifest.json", |m| m[0]["Layers"].as_array_mut().unwrap().reverse()), "layer-diff-id-mismatch"),
            ("a layer less", |i| edit(i, "manifest.json", |m| drop(m[0]["Layers"].as_array_mut().unwrap().pop())), "layer-count-mismatch"),
            ("a layer more", |i| { edit(i, "manifest.json", |m| { let l = m[0]["Layers"][0].clone(); m[0]["Layers"].as_array_mut().unwrap().push(l); }) }, "layer-count-mismatch"),
            ("no layers", |i| edit(i, "manifest.json", |m| m[0]["Layers"] = Value::Null), "layer-count-mismatch"),
            ("a layer that is missing", |i| edit(i, "manifest.json", |m| m[0]["Layers"][0] = "x".into()), "archive-missing-file"),
            (
                "a layer that is a directory",
                |i| {
                    edit(i, "manifest.json", |m| {
                        let l = m[0]["Layers"][0].as_str().unwrap().rsplit_once('/').unwrap().0.to_owned();
                        m[0]["Layers"][0] = l.into();
                    })
                },
                "archive-missing-file",
            ),
            (
                "a layer path that is not clean",
                |i| {
                    edit(i, "manifest.json", |m| {
                        m[0]["Layers"][0] = format!("./{}", m[0]["Layers"][0].as_str().unwrap()).into()
                    })
                },
                "archive-missing-file",
            ),
            ("a byte of a layer", |i| { let l = first_layer(i); let mut c = content(i, &l); c[600] ^= 1; replace(i, &l, &c); }, "layer-diff-id-mismatch"),
            ("a layer with a byte more", |i| { let l = first_layer(i); let mut c = content(i, &l); c.push(0); replace(i, &l, &c); }, "layer-diff-id-mismatch"),
            ("a layer compressed with gzip", |i| { let l = first_layer(i); let c = gzip(&content(i, &l)); replace(i, &l, &c); }, ""),
            ("a layer compressed with zstd", |i| { let l = first_layer(i); let c = zstd(&content(i, &l)); replace(i, &l, &c); }, ""),
            ("a layer compressed twice", |i| { let l = first_layer(i); let c = gzip(&gzip(&content(i, &l))); replace(i, &l, &c); }, "layer-diff-id-mismatch"),
            ("no config", |i| edit(i, "manifest.json", |m| drop(m[0].as_object_mut().unwrap().remove("Config"))), "document-malformed"),
            ("another space in the config", |i| { let n = position(i, "manifest.json") - 1; i[n].content.push(b' '); }, "config-digest-mismatch"),
            ("another file for the config", |i| edit(i, "manifest.json", |m| m[0]["Config"] = "manifest.json".into()), "document-malformed"),
            (
                "layers from elsewhere",
                |i| {
                    edit(
                        i,
                        "manifest.json",
                        |m| m[0]["LayerSources"] = json!({"x": {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "digest": format!("sha256:{}", "0".repeat(64)), "size": 1, "urls": ["https://evil.example"]}}),
                    )
                },
                "foreign-content",
            ),
            (
                "layer sources as docker 25 writes them",
                |i| {
                    edit(
                        i,
                        "manifest.json",
                        |m| m[0]["LayerSources"] = json!({"x": {"mediaType": OCI_LAYER, "digest": format!("sha256:{}", "0".repeat(64)), "size": 1}}),
                    )
                },
                "",
            ),
        ],
    );
}

#[test]
fn rule_13_compressed_layers_are_read_to_their_end() {
    let image = Image::small();
    let plain = image.layers[0].clone();
    let (a, b) = plain.split_at(700);
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    let damaged = |mut bytes: Vec<u8>, from_end: usize| {
        let n = bytes.len() - from_end;
        bytes[n] ^= 1;
        bytes
    };
    let cut = |mut bytes: Vec<u8>, n: usize| {
        bytes.truncate(bytes.len() - n);
        bytes
    };
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("two gzip members", [gzip(a), gzip(b)].concat(), ""),
        ("an empty gzip member after it", [gzip(&plain), gzip(b"")].concat(), ""),
        ("two zstd frames", [zstd(a), zstd(b)].concat(), ""),
        ("a skippable frame between", [&zstd(a)[..], &skippable, &zstd(b)].concat(), ""),
        ("a skippable frame at the end", [&zstd(&plain)[..], &skippable].concat(), ""),
        ("a skippable frame first", [&skippable[..], &zstd(&plain)].concat(), "layer-compression"),
        ("a second gzip member with more", [gzip(&plain), gzip(b"x")].concat(), "layer-diff-id-mismatch"),
        ("only the first half", gzip(a), "layer-diff-id-mismatch"),
        ("a byte after gzip", [&gzip(&plain)[..], b"x"].concat(), "layer-corrupt"),
        ("a zero after gzip", [&gzip(&plain)[..], b"\0"].concat(), "layer-corrupt"),
        ("512 zeros after gzip", [&gzip(&plain)[..], &[0; 512]].concat(), "layer-corrupt"),
        ("zstd after gzip", [gzip(a), zstd(b)].concat(), "layer-corrupt"),
        ("a byte after zstd", [&zstd(&plain)[..], b"x"].concat(), "layer-corrupt"),
        ("four bytes after zstd", [&zstd(&plain)[..], b"\0\0\0\0"].concat(), "layer-corrupt"),
        ("gzip after zstd", [zstd(a), gzip(b)].concat(), "layer-corrupt"),
        ("a wrong gzip checksum", damaged(gzip(&plain), 8), "layer-corrupt"),
        ("a wrong gzip size", damaged(gzip(&plain), 4), "layer-corrupt"),
        ("a wrong zstd checksum", damaged(zstd(&plain), 1), "layer-corrupt"),
        ("gzip cut in its trailer", cut(gzip(&plain), 1), "layer-corrupt"),
        ("gzip cut in its body", cut(gzip(&plain), 20), "layer-corrupt"),
        ("zstd cut", cut(zstd(&plain), 1), "layer-corrupt"),
        ("a gzip header alone", vec![0x1f, 0x8b, 0x08], "layer-corrupt"),
        ("a zstd magic alone", vec![0x28, 0xb5, 0x2f, 0xfd], "layer-corrupt"),
        ("bzip2", b"BZh91AY&SY\0\0".to_vec(), "layer-compression"),
        ("xz", b"\xfd7zXZ\0\0\0".to_vec(), "layer-compression"),
        ("an empty file", Vec::new(), "layer-diff-id-mismatch"),
    ];
    for (name, stored, expected) in cases {
        let mut items = classic_archive(&image);
        let path = first_layer(&items);
        replace(&mut items, &path, stored);
        assert_eq!(verdict(&image, &tar(&items)).err().unwrap_or_default(), *expected, "{name}");
    }
}

#[test]
fn rule_13_decompression_is_bounded() {
    let zeros = vec![0; 1 << 20];
    let image = Image::new(&[zeros.clone(), zeros], Stored::Gzip);
    let archive = tar(&registry_archive(&image));
    let signed =
        SignedImage::from_manifest(&ImageName::parse(NAME).unwrap(), &image.manifest(), None, &limits()).unwrap();
    let with = |change: fn(&mut ArchiveLimits)| {
        let mut limits = limits();
        change(&mut limits);
        let inventory = Inventory::scan(archive.as_slice(), &limits).unwrap().measure(&limits, &|_, _| {}).unwrap();
        check(&signed, &[ImageName::parse(NAME).unwrap()], &inventory).map_err(|r| r[0].code.to_string()).err()
    };
    let refused = Some("archive-limit".to_owned());
    assert_eq!(with(|_| {}), None);
    assert_eq!(with(|l| l.layer = 1 << 20), None);
    assert_eq!(with(|l| l.layer = (1 << 20) - 1), refused);
    assert_eq!(with(|l| l.unpacked = 2 << 20), None);
    // Both layers are the same blob, which is unpacked once.
    assert_eq!(with(|l| l.unpacked = 1 << 20), None);
    assert_eq!(with(|l| l.unpacked = (1 << 20) - 1), refused);
    assert_eq!(with(|l| (l.ratio, l.ratio_free) = (10, 1 << 20)), None);
    assert_eq!(with(|l| (l.ratio, l.ratio_free) = (10, 0)), refused);
}

#[test]
fn limits_stop_before_memory_is_used() {
    let image = Image::small();
    let good = tar(&hybrid_archive(&image));
    let scan = |change: fn(&mut ArchiveLimits)| {
        let mut limits = limits();
        change(&mut limits);
        match Inventory::scan(good.as_slice(), &limits) {
            Err(ArchiveError::Refused(refusal)) => refusal.code.to_string(),
            Err(other) => panic!("{other}"),
            Ok(_) => String::new(),
        }
    };
    assert_eq!(scan(|l| l.entries = 9), "");
    assert_eq!(scan(|l| l.entries = 8), "archive-limit");
    assert_eq!(scan(|l| l.paths = 100), "archive-limit");
    assert_eq!(scan(|l| l.path = 10), "archive-entry-name");
    assert_eq!(scan(|l| l.control_file = 10), "archive-limit");
    assert_eq!(scan(|l| l.small_control_file = 10), "archive-limit");
    assert_eq!(scan(|l| l.config = 10), "archive-limit");
    assert_eq!(scan(|l| l.manifest = 10), "archive-limit");
    assert_eq!(scan(|l| l.documents = 400), "archive-limit");
    assert_eq!(scan(|l| l.layers = 1), "archive-limit");
    assert_eq!(scan(|l| l.layers = 2), "");
    assert_eq!(scan(|l| l.names = 0), "archive-limit");
    assert_eq!(scan(|l| l.index_children = 0), "archive-limit");
    // A name of 2 GiB is refused by its claim, not by trying.
    let mut items = classic_archive(&image);
    let mut huge = gnu_long_name("x");
    huge.header.as_mut().unwrap().size = Some(2 << 30);
    items.insert(0, huge);
    assert_eq!(verdict(&image, &tar(&items)).unwrap_err(), "archive-limit");
}

#[test]
fn the_size_of_plain_layers_is_bounded_before_they_are_read() {
    let image = Image::new(&[layer("a", &[1; 1000]), layer("b", &[2; 1000])], Stored::Plain);
    let archive = tar(&classic_archive(&image));
    let with = |change: fn(&mut ArchiveLimits)| {
        let mut limits = limits();
        change(&mut limits);
        let inventory = Inventory::scan(archive.as_slice(), &limits).unwrap();
        inventory.measure(&limits, &|_, _| {}).map(drop).map_err(|e| e.to_string()).err().unwrap_or_default()
    };
    // A layer of one file of 1,000 bytes: a header, two blocks, and the end of two.
    let size = 2560;
    assert_eq!(image.layers.iter().map(Vec::len).collect::<Vec<_>>(), [size, size]);
    assert_eq!(with(|l| l.layer = 2560), "");
    assert!(
        with(|l| l.layer = 2559).ends_with("at most 2559 (limit layer), found 2560"),
        "{}",
        with(|l| l.layer = 2559)
    );
    assert_eq!(with(|l| l.unpacked = 5120), "");
    assert!(with(|l| l.unpacked = 5119).ends_with("at most 5119 (limit unpacked), found 5120"));
}

#[test]
fn the_window_that_a_zstd_layer_chooses_is_bounded_and_the_limit_named() {
    let image = Image::new(&[layer("big", &vec![7; 3 << 20])], Stored::Zstd);
    let archive = tar(&registry_archive(&image));
    let with = |log: u32| {
        let mut limits = limits();
        limits.zstd_window_log = log;
        let name = ImageName::parse(NAME).unwrap();
        let signed = SignedImage::from_manifest(&name, &image.manifest(), None, &limits).unwrap();
        let inventory = Inventory::scan(archive.as_slice(), &limits).unwrap().measure(&limits, &|_, _| {}).unwrap();
        check(&signed, &[name], &inventory).map(drop).map_err(|r| r[0].to_string())
    };
    assert_eq!(with(27), Ok(()));
    let refused = with(10).unwrap_err();
    assert!(
        refused.contains("needs more memory") && refused.contains("at most 10 (limit zstd-window-log)"),
        "{refused}"
    );
}

fn two_platforms() -> (Image, Image, Value) {
    let amd64 = Image::for_platform("amd64", &[layer("a", b"amd64")], Stored::Gzip);
    let arm64 = Image::for_platform("arm64", &[layer("a", b"arm64")], Stored::Gzip);
    let index = index_of(&[("amd64", &amd64), ("arm64", &arm64)]);
    (amd64, arm64, index)
}

#[test]
fn rule_14_an_index_counts_only_if_it_is_signed() {
    let (amd64, arm64, mut index) = two_platforms();
    let mut attestation = descriptor(OCI_MANIFEST, b"attestation");
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    index["manifests"].as_array_mut().unwrap().push(attestation);
    let bytes = bytes(&index);
    let name = ImageName::parse(NAME).unwrap();
    let platform = Platform::parse("linux/amd64").unwrap();
    let signed = SignedImage::from_index(&name, &bytes, &platform, &amd64.manifest(), &limits()).unwrap();
    let judge =
        |items: &[Item]| judge(&signed, std::slice::from_ref(&name), &tar(items)).map(drop).map_err(|e| e.to_string());
    let refused = |code: &str| Err(code.to_owned());

    let both = index_hybrid(&bytes, &[&amd64, &arm64], &[NAME]);
    assert_eq!(judge(&both), Ok(()), "all platforms");
    let one = index_hybrid(&bytes, &[&amd64], &[NAME]);
    assert_eq!(judge(&one), Ok(()), "a platform that was never pulled is missing");
    let mut with_attestation = one.clone();
    with_attestation.push(blob_file(b"attestation"));
    assert_eq!(judge(&with_attestation), Ok(()));
    assert_eq!(judge(&registry_hybrid(&amd64, &[NAME])), Ok(()), "the platform's manifest alone");
    assert_eq!(judge(&classic(&amd64, &[NAME])), Ok(()), "only docker's half");
    assert_eq!(judge(&registry_hybrid(&arm64, &[NAME])), refused("config-digest-mismatch"), "another platform's image");

    let other = index_hybrid(&bytes, &[&arm64], &[NAME]);
    assert_eq!(judge(&other), refused("config-digest-mismatch"), "the wanted platform is missing");
    let mut missing = both.clone();
    remove(&mut missing, &blob_name(&amd64.blobs[0].1));
    assert_eq!(judge(&missing), refused("archive-missing-file"));
    let mut incomplete = both.clone();
    remove(&mut incomplete, &blob_name(&arm64.blobs[0].1));
    assert_eq!(judge(&incomplete), Ok(()), "another platform may be incomplete");
    let mut wrong = both.clone();
    let mut layer = arm64.blobs[0].1.clone();
    *layer.last_mut().unwrap() ^= 1;
    replace(&mut wrong, &blob_name(&arm64.blobs[0].1), &layer);
    assert_eq!(judge(&wrong), refused("blob-digest-mismatch"), "but not wrong");
    let mut wrong = both.clone();
    let manifest = String::from_utf8(arm64.manifest()).unwrap().replace("sha256", "SHA256");
    replace(&mut wrong, &blob_name(&arm64.manifest()), manifest.as_bytes());
    assert_eq!(judge(&wrong), refused("blob-digest-mismatch"));

    let mut unsigned = index.clone();
    unsigned["annotations"] = json!({"x": "y"});
    let unsigned = index_hybrid(&self::bytes(&unsigned), &[&amd64], &[NAME]);
    assert_eq!(judge(&unsigned), refused("index-not-signed"));
    let manifest_only = SignedImage::from_manifest(&name, &amd64.manifest(), None, &limits()).unwrap();
    let got = self::judge(&manifest_only, std::slice::from_ref(&name), &tar(&one)).unwrap_err();
    assert_eq!(got, "index-not-signed", "an index around the signed manifest");
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_17_no_name_but_the_allowed_ones() {
    let image = Image::small();
    let short = "docker.io/library/app:1.4";
    let rows: &[(&str, &str, &[&str], &str)] = &[
        ("its own name", NAME, &[NAME], ""),
        ("no name", NAME, &[], ""),
        ("the short form", short, &["app:1.4"], ""),
        ("a name more", NAME, &[NAME, "registry.example/team/app:1.5"], "name-not-allowed"),
        ("another tag", NAME, &["registry.example/team/app:1.5"], "name-not-allowed"),
        ("another host", NAME, &["evil.example/team/app:1.4"], "name-not-allowed"),
        ("another case of the host", NAME, &["Registry.example/team/app:1.4"], "name-not-allowed"),
        ("no tag", short, &["app"], "name-malformed"),
        ("white space", NAME, &[" registry.example/team/app:1.4"], "name-malformed"),
        ("a newline", NAME, &["registry.example/team/app:1.4\n"], "name-malformed"),
        ("an empty name", NAME, &[""], "name-malformed"),
    ];
    for (what, asked, claimed, expected) in rows {
        for archive in [classic(&image, claimed), hybrid(&image, claimed), oci_archive(&image, claimed)] {
            let got = verdict_as(asked, &image.manifest(), &tar(&archive));
            assert_eq!(got.err().unwrap_or_default(), *expected, "{what}");
        }
    }
    run(
        oci,
        &[
            ("a bare tag", |i| { edit(i, "index.json", |x| { x["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": "1.4"}) }) }, ""),
            ("another bare tag", |i| { edit(i, "index.json", |x| { x["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": "1.5"}) }) }, "name-not-allowed"),
            ("a full name in the OCI annotation", |i| { edit(i, "index.json", |x| { x["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": NAME}) }) }, ""),
            (
                "two annotations that differ",
                |i| {
                    edit(i, "index.json", |x| {
                        x["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] =
                            "registry.example/team/app:1.5".into()
                    })
                },
                "name-not-allowed",
            ),
            (
                "a digest in the annotation",
                |i| {
                    edit(i, "index.json", |x| {
                        x["manifests"][0]["annotations"] =
                            json!({"io.containerd.image.name": format!("{NAME}@sha256:{}", "0".repeat(64))})
                    })
                },
                "name-malformed",
            ),
            ("a name that is no string", |i| { edit(i, "index.json", |x| x["manifests"][0]["annotations"] = json!({"io.containerd.image.name": 1})) }, "document-malformed"),
            (
                "a second descriptor with another name",
                |i| {
                    edit(i, "index.json", |x| {
                        let mut d = x["manifests"][0].clone();
                        d["annotations"] = json!({"io.containerd.image.name": "evil.example/app:1"});
                        x["manifests"].as_array_mut().unwrap().push(d);
                    })
                },
                "name-not-allowed",
            ),
        ],
    );
}

#[test]
fn rule_17_a_digest_allows_no_name() {
    let image = Image::small();
    let digest = plimsoll::digest::Sha256::of(&image.manifest());
    let by_digest = format!("registry.example/team/app:1.4@{digest}");
    let verdict =
        |archive: Vec<Item>| verdict_as(&by_digest, &image.manifest(), &tar(&archive)).err().unwrap_or_default();
    assert_eq!(verdict(classic(&image, &[])), "");
    assert_eq!(verdict(classic(&image, &[NAME])), "name-not-allowed");
    let mut bare = oci_archive(&image, &[]);
    edit(&mut bare, "index.json", |x| {
        x["manifests"][0]["annotations"] = json!({"org.opencontainers.image.ref.name": "1.4"})
    });
    assert_eq!(verdict(bare), "name-not-allowed");
    let other = format!("registry.example/team/app@sha256:{}", "0".repeat(64));
    assert_eq!(verdict_as(&other, &image.manifest(), &[]).unwrap_err(), "signed-mismatch");
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_19_json_that_readers_differ_on() {
    run(
        hybrid_archive,
        &[
            ("a second value", |i| { let mut c = content(i, "manifest.json"); c.extend_from_slice(b"[]"); replace(i, "manifest.json", &c); }, "document-malformed"),
            ("white space", |i| { let mut c = content(i, "manifest.json"); c.extend_from_slice(b" \n"); replace(i, "manifest.json", &c); }, ""),
            ("a byte order mark", |i| { let c = [b"\xef\xbb\xbf", &content(i, "manifest.json")[..]].concat(); replace(i, "manifest.json", &c); }, "document-malformed"),
            (
                "a key twice",
                |i| {
                    let c = String::from_utf8(content(i, "manifest.json")).unwrap().replace("[{", r#"[{"Config":"x","#);
                    replace(i, "manifest.json", c.as_bytes());
                },
                "document-ambiguous",
            ),
            ("a key in another case", |i| edit(i, "manifest.json", |m| m[0]["config"] = "x".into()), "document-ambiguous"),
            ("RepoTags in another case", |i| edit(i, "manifest.json", |m| m[0]["repotags"] = json!(["evil:1"])), "document-ambiguous"),
            ("RepoTags with the long s", |i| edit(i, "manifest.json", |m| m[0]["RepoTag\u{17f}"] = json!(["evil:1"])), "document-ambiguous"),
            ("an unknown key", |i| edit(i, "manifest.json", |m| m[0]["Comment"] = json!(["x"])), ""),
            ("Layers as a string", |i| edit(i, "manifest.json", |m| m[0]["Layers"] = "x".into()), "document-malformed"),
            ("an item that is no object", |i| replace(i, "manifest.json", b"[null]"), "document-malformed"),
            ("no RepoTags", |i| edit(i, "manifest.json", |m| { m[0].as_object_mut().unwrap().remove("RepoTags"); }), "document-malformed"),
            ("no Layers", |i| edit(i, "manifest.json", |m| { m[0].as_object_mut().unwrap().remove("Layers"); }), "document-malformed"),
            ("a name that is no string", |i| edit(i, "manifest.json", |m| m[0]["RepoTags"] = json!([null])), "document-malformed"),
            ("manifests in another case", |i| edit(i, "index.json", |x| x["Manifests"] = json!([])), "document-ambiguous"),
            ("digest in another case", |i| edit(i, "index.json", |x| x["manifests"][0]["Digest"] = json!("x")), "document-ambiguous"),
            ("index.json that is also a manifest", |i| edit(i, "index.json", |x| x["layers"] = json!([])), "document-ambiguous"),
            ("index.json of schema 1", |i| edit(i, "index.json", |x| x["schemaVersion"] = 1.into()), "document-schema-1"),
            ("index.json with a manifest's type", |i| edit(i, "index.json", |x| x["mediaType"] = OCI_MANIFEST.into()), "media-type"),
            ("urls in index.json", |i| edit(i, "index.json", |x| x["manifests"][0]["urls"] = json!(["https://evil.example"])), "foreign-content"),
        ],
    );
}

#[test]
fn the_signed_documents_must_fit_together() {
    let (amd64, arm64, index) = two_platforms();
    let (index_bytes, name) = (bytes(&index), ImageName::parse(NAME).unwrap());
    let linux = |architecture: &str| Platform::parse(&format!("linux/{architecture}")).unwrap();
    let from_index = |platform: &str, manifest: &[u8]| {
        SignedImage::from_index(&name, &index_bytes, &linux(platform), manifest, &limits())
            .map(drop)
            .map_err(|r| r.code.as_str())
    };
    assert_eq!(from_index("amd64", &amd64.manifest()), Ok(()));
    assert_eq!(from_index("amd64", &arm64.manifest()), Err("signed-mismatch"));
    assert_eq!(from_index("riscv64", &arm64.manifest()), Err("platform-not-found"));
    assert_eq!(from_index("amd64", &index_bytes), Err("signed-mismatch"));
    let from_manifest = SignedImage::from_manifest(&name, &index_bytes, None, &limits()).map_err(|r| r.code.as_str());
    assert_eq!(from_manifest.map(drop), Err("signed-mismatch"));
    // A manifest for one platform, wanted for another.
    for (platform, expected) in [("amd64", ""), ("arm64", "platform-mismatch")] {
        let signed = SignedImage::from_manifest(&name, &amd64.manifest(), Some(&linux(platform)), &limits()).unwrap();
        let got = judge(&signed, std::slice::from_ref(&name), &tar(&classic(&amd64, &[NAME])));
        assert_eq!(got.err().unwrap_or_default(), expected, "{platform}");
    }
    // The index says arm64, the config says amd64.
    let lying = bytes(&index_of(&[("arm64", &amd64)]));
    let signed = SignedImage::from_index(&name, &lying, &linux("arm64"), &amd64.manifest(), &limits()).unwrap();
    assert_eq!(
        judge(&signed, std::slice::from_ref(&name), &tar(&classic(&amd64, &[NAME]))).unwrap_err(),
        "platform-mismatch"
    );
    // The signed manifest has a layer less than its own config.
    let mut short = amd64.clone();
    short.blobs.clear();
    assert_eq!(verdict(&short, &tar(&classic(&amd64, &[NAME]))).unwrap_err(), "signed-mismatch");
}

#[test]
fn all_mismatches_are_reported_up_to_a_bound() {
    let layers: Vec<Vec<u8>> = (0..100).map(|i| layer(&format!("f{i}"), b"x")).collect();
    let image = Image::new(&layers, Stored::Plain);
    let mut items = classic(&image, &["evil.example/app:1"]);
    for item in items.iter_mut().filter(|item| item.name().ends_with("/layer.tar")) {
        item.content[0] ^= 1;
    }
    let name = ImageName::parse(NAME).unwrap();
    let signed = SignedImage::from_manifest(&name, &image.manifest(), None, &limits()).unwrap();
    let archive = tar(&items);
    let inventory = Inventory::scan(archive.as_slice(), &limits()).unwrap().measure(&limits(), &|_, _| {}).unwrap();
    let refusals = check(&signed, &[name], &inventory).unwrap_err();
    assert_eq!(refusals.len(), 32);
    assert!(refusals[0].to_string().starts_with("layer 1 ("), "{}", refusals[0]);
    // What the archive calls itself is not drowned by its layers.
    assert!(refusals.iter().any(|r| r.code.as_str() == "name-not-allowed"));
}

#[test]
fn an_archive_that_shrinks_is_refused() {
    use plimsoll::image::read_at::ReadAt;
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Shrinking(Vec<u8>, AtomicUsize);

    impl ReadAt for Shrinking {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.0[..self.1.load(Ordering::Relaxed)].read_at(buf, offset)
        }

        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }
    }

    let large = layer("a", &vec![7; 3 << 20]);
    for image in [
        Image::new(std::slice::from_ref(&large), Stored::Plain),
        Image::new(std::slice::from_ref(&large), Stored::Zstd),
        Image::new(&[large, layer("b", b"")], Stored::Gzip),
    ] {
        let archive = tar(&registry_archive(&image));
        let (length, blob) = (archive.len(), image.blobs[0].1.len());
        for left in [length, 1024 + blob, 1600, 1200, 0] {
            let archive = Shrinking(archive.clone(), AtomicUsize::new(length));
            let inventory = Inventory::scan(&archive, &limits()).unwrap();
            archive.1.store(left, Ordering::Relaxed);
            let got = inventory.measure(&limits(), &|_, _| {});
            match got {
                Ok(_) => assert_eq!(left, length),
                Err(ArchiveError::Refused(refusal)) => assert_eq!(refusal.code.as_str(), "archive-changed"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// One file can be a gzip stream that unpacks to the signed layer and, hidden in the gzip header, a tar of something else. A reader
/// that goes by the media type would see the tar.
#[test]
fn rule_12_a_compressed_layer_is_not_announced_as_plain() {
    let image = Image::small();
    let body = gzip(&image.layers[0]);
    let evil = layer("etc/motd", b"evil");
    let mut polyglot = vec![0x1f, 0x8b, 0x08, 4, 0, 0, 0, 0, 0, 255];
    polyglot.extend_from_slice(&u16::try_from(evil.len()).unwrap().to_le_bytes());
    polyglot.extend_from_slice(&evil);
    polyglot.extend_from_slice(&body[10..]);
    let with = |media_type: String| {
        let mut manifest = image.re_encoded_manifest_json();
        manifest["layers"][0] = descriptor(&media_type, &polyglot);
        let manifest = bytes(&manifest);
        let mut items = hybrid_archive(&image);
        items.extend([blob_file(&manifest), blob_file(&polyglot)]);
        replace(&mut items, "index.json", &bytes(&index_json(OCI_MANIFEST, &manifest, &[NAME])));
        verdict(&image, &tar(&items)).err().unwrap_or_default()
    };
    assert_eq!(with(format!("{OCI_LAYER}+gzip")), "", "the bytes do unpack to the layer");
    assert_eq!(with(OCI_LAYER.to_owned()), "layer-compression");
}

#[test]
fn rule_5_long_names_of_every_kind() {
    let image = Image::small();
    let long = format!("{}/x", "d".repeat(200));
    let (prefix, name) = (format!("{}/{}", "p".repeat(70), "q".repeat(80)), "n".repeat(100));
    let mut items = classic_archive(&image);
    items.extend([pax(&[("path", &long), ("mtime", "1")]), file("short", b"1")]);
    items.extend([gnu_long_name(&format!("{long}2")), file("short", b"2")]);
    items.push(patched(patched(file("", b"3"), 0, name.as_bytes()), 345, prefix.as_bytes()));
    let table = plimsoll::image::tar::Table::read(tar(&items).as_slice(), &limits()).unwrap();
    for expected in [long.clone(), format!("{long}2"), format!("{prefix}/{name}")] {
        assert!(table.get(&expected).is_some(), "{expected}");
    }
    // A long link target, in both ways of writing it.
    let target = format!("../{long}");
    let mut link_target = gnu_long_name(&target);
    link_target.header.as_mut().unwrap().kind = b'K';
    items.extend([link_target, link("y/a", "cut")]);
    items.extend([pax(&[("linkpath", &target)]), link("y/b", "cut")]);
    assert!(verdict(&image, &tar(&items)).is_ok());
}
