//! Archives that are no plain tar file: compressed as a whole, from a pipe, and OCI layouts in folders. Rule numbers are those of
//! `plimsoll::image`.
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

use std::io::{Cursor, Read, Write};

use plimsoll::digest::Sha256;
use plimsoll::image::VerifiedImage;
use plimsoll::image::archive::Archive;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::error::ArchiveError;
use plimsoll::image::inventory::{Form, Inventory};
use plimsoll::image::read_at::ReadAt;
use plimsoll::image::write;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use support::image::*;

/// What the check says about an opened archive of which `image` is signed as [`NAME`]: nothing, or the code of the first refusal.
fn judge(image: &Image, archive: &Archive, limits: &ArchiveLimits) -> Result<VerifiedImage, String> {
    let name = ImageName::parse(NAME).unwrap();
    let signed = SignedImage::from_manifest(&name, &image.manifest(), None, limits).unwrap();
    let measured = Inventory::scan_opened(archive, limits).and_then(|i| i.measure(limits, &|_, _| {})).map_err(code)?;
    check(&signed, &[name], &measured).map_err(|refusals| refusals[0].code.to_string())
}

fn code(error: ArchiveError) -> String {
    match error {
        ArchiveError::Refused(refusal) => refusal.code.to_string(),
        other => format!("undecided: {other}"),
    }
}

/// The verdict on bytes: from a pipe, and from a file; both must say the same.
fn verdict(image: &Image, archive: &[u8], limits: &ArchiveLimits) -> Result<VerifiedImage, String> {
    let piped = Archive::from_reader(archive, limits).map_err(code).and_then(|a| judge(image, &a, limits));
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(archive).unwrap();
    let filed = Archive::from_file(file, limits).map_err(code).and_then(|a| judge(image, &a, limits));
    assert_eq!(piped, filed, "a pipe and a file");
    piped
}

fn limits() -> ArchiveLimits {
    ArchiveLimits::default()
}

/// Bytes that do not compress.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..size.div_ceil(8)).flat_map(|_| next()).take(size).collect()
}

fn whole(archive: &Archive) -> Vec<u8> {
    let mut bytes = vec![0; archive.size().unwrap() as usize];
    let n = archive.read_at(&mut bytes, 0).unwrap();
    assert_eq!(n, bytes.len());
    bytes
}

type Compress = fn(&[u8]) -> Vec<u8>;

const KINDS: [(&str, Compress); 4] = [("gzip", gzip), ("zstd", zstd), ("xz", xz), ("bzip2", bzip2)];

// ---- compressed as a whole ----

#[test]
fn rule_7_every_form_is_trusted_in_every_compression() {
    // The large one is unpacked by several threads.
    let large = Image::new(&[layer("a", &noise(1 << 20)), layer("b", b"2")], Stored::Gzip);
    for image in [Image::small(), large] {
        for (form, items) in [
            (Form::DockerArchive, classic(&image, &[NAME])),
            (Form::Hybrid, hybrid(&image, &[NAME])),
            (Form::OciArchive, oci_archive(&image, &[NAME])),
        ] {
            let plain = tar(&items);
            let expected = verdict(&image, &plain, &limits()).unwrap();
            for (kind, compress) in KINDS {
                let stored = compress(&plain);
                assert_eq!(verdict(&image, &stored, &limits()).as_ref(), Ok(&expected), "{kind}, {form:?}");
                let archive = Archive::from_reader(stored.as_slice(), &limits()).unwrap();
                assert_eq!(archive.compression(), Some(kind));
                assert_eq!(archive.stored_size(), stored.len() as u64);
                assert!(whole(&archive) == plain, "{kind}, {form:?}");
                assert_eq!(judge(&image, &archive, &limits()).unwrap().form(), form);
            }
        }
    }
}

/// What follows may read the layers from what was verified.
#[test]
fn what_was_verified_can_be_read_from_the_opened_archive() {
    let image = Image::small();
    let folder = tempfile::tempdir().unwrap();
    unpack(&oci_archive(&image, &[NAME]), folder.path());
    let plain = tar(&oci_archive(&image, &[NAME]));
    for archive in [
        Archive::from_reader(plain.as_slice(), &limits()).unwrap(),
        Archive::from_reader(xz(&plain).as_slice(), &limits()).unwrap(),
        Archive::open(folder.path(), &limits()).unwrap(),
    ] {
        let verified = judge(&image, &archive, &limits()).unwrap();
        for (layer, (_, blob)) in verified.layers().iter().zip(&image.blobs) {
            let mut bytes = vec![0; layer.entry().size as usize];
            archive.read_at(&mut bytes, layer.entry().offset).unwrap();
            assert_eq!(Sha256::of(&bytes), layer.stored_digest());
            assert!(bytes == *blob, "{archive:?}");
        }
    }
}

#[rustfmt::skip] // A table has a row per case.
#[test]
fn rule_7_all_of_the_stream_is_read_and_nothing_follows_it() {
    let image = Image::small();
    let plain = tar(&classic(&image, &[NAME]));
    let (a, b) = plain.split_at(3000);
    let skippable: &[u8] = &[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    let damaged = |mut bytes: Vec<u8>, from_end: usize| {
        let n = bytes.len() - from_end;
        bytes[n] ^= 1;
        bytes
    };
    for (kind, compress) in KINDS {
        let c = compress;
        let is = |kinds: &[&str], code: &'static str, otherwise: &'static str| if kinds.contains(&kind) { code } else { otherwise };
        let cases: &[(&str, Vec<u8>, &str)] = &[
            ("whole", c(&plain), ""),
            ("in two parts", [c(a), c(b)].concat(), ""),
            ("in two parts that do not fit", [c(a), c(a)].concat(), "archive-header"),
            ("the first part alone", c(a), "archive-truncated"),
            ("an empty part after it", [c(&plain), c(b"")].concat(), ""),
            ("an empty part before it", [c(b""), c(&plain)].concat(), ""),
            ("another archive after it", [c(&plain), c(&plain)].concat(), "archive-trailing-data"),
            ("zeros after it, compressed", [c(&plain), c(&[0; 4096])].concat(), ""),
            ("a byte after it", [c(&plain), b"x".to_vec()].concat(), "archive-corrupt"),
            ("a zero after it", [c(&plain), vec![0]].concat(), "archive-corrupt"),
            // Of xz, four zeros are stream padding, which belongs to the format.
            ("512 zeros after it", [c(&plain), vec![0; 512]].concat(), is(&["xz"], "", "archive-corrupt")),
            ("the magic number after it", [c(&plain), c(b"")[..4].to_vec()].concat(), "archive-corrupt"),
            ("a skippable frame at the end", [&c(&plain), skippable].concat(), is(&["zstd"], "", "archive-corrupt")),
            ("a skippable frame between", [&c(a), skippable, &c(b)].concat(), is(&["zstd"], "", "archive-corrupt")),
            ("a skippable frame first", [skippable, &c(&plain)].concat(), "archive-compressed"),
            ("another compression after it", [c(a), if kind == "gzip" { xz(b) } else { gzip(b) }].concat(), "archive-corrupt"),
            // In the last byte of bzip2, some bits are padding.
            ("a wrong byte at the end", damaged(c(&plain), if kind == "bzip2" { 2 } else { 1 }), "archive-corrupt"),
            // The checksum; of gzip, the last four bytes are the size.
            ("a wrong byte before", damaged(c(&plain), if kind == "gzip" { 6 } else { 3 }), "archive-corrupt"),
            ("twice", c(&c(&plain)), "archive-compressed"),
            ("twice, once with gzip", c(&gzip(&plain)), "archive-compressed"),
            ("twice, once with zstd", gzip(&c(&plain)), "archive-compressed"),
            ("of nothing", c(b""), "archive-empty"),
            ("of text", c(b"hello"), "archive-not-tar"),
            ("of much text", c(&noise(1 << 20)), "archive-not-tar"),
            ("of an empty tar", c(&tar(&[])), "archive-no-image"),
            ("its magic number alone", c(b"")[..4].to_vec(), is(&["xz"], "archive-not-tar", "archive-corrupt")),
        ];
        for (name, archive, expected) in cases {
            let got = verdict(&image, archive, &limits());
            assert_eq!(got.err().unwrap_or_default(), *expected, "{kind}: {name}");
        }
    }
}

#[test]
fn rule_7_every_shorter_stream_is_refused() {
    let image = Image::small();
    let plain = tar(&classic(&image, &[NAME]));
    let large = Image::new(&[layer("a", &noise(600_000))], Stored::Plain);
    let large_plain = tar(&classic(&large, &[NAME]));
    for (kind, compress) in KINDS {
        let stored = compress(&plain);
        assert!(verdict(&image, &stored, &limits()).is_ok(), "the good twin");
        for length in 0..stored.len() {
            let code = verdict(&image, &stored[..length], &limits()).expect_err("shorter");
            let early = length < 6 && matches!(code.as_str(), "archive-empty" | "archive-not-tar");
            assert!(early || code == "archive-corrupt", "{kind}, {length} bytes: {code}");
        }
        // The same where several threads are at work.
        let stored = compress(&large_plain);
        assert!(verdict(&large, &stored, &limits()).is_ok(), "the good twin");
        let last = stored.len() - 1;
        for length in [100_000, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 512 * 1024, last - 20, last] {
            let code = verdict(&large, &stored[..length], &limits()).expect_err("shorter");
            assert_eq!(code, "archive-corrupt", "{kind}, {length} bytes");
        }
        for more in [&[0u8] as &[u8], b"BZ", &[0; 300_000]] {
            let code = verdict(&large, &[&stored, more].concat(), &limits()).err();
            let padding = kind == "xz" && more.len() % 4 == 0;
            assert_eq!(code.as_deref(), (!padding).then_some("archive-corrupt"), "{kind}, {} more", more.len());
        }
    }
}

#[test]
fn rule_7_no_flipped_bit_leads_to_another_archive() {
    let image = Image::small();
    let plain = tar(&classic(&image, &[NAME]));
    let mut trusted = Vec::new();
    for (kind, compress) in KINDS {
        let mut stored = compress(&plain);
        let mut still_trusted = 0;
        for bit in 0..stored.len() * 8 {
            stored[bit / 8] ^= 1 << (bit % 8);
            if let Ok(archive) = Archive::from_reader(stored.as_slice(), &limits())
                && judge(&image, &archive, &limits()).is_ok()
            {
                still_trusted += 1;
                assert!(whole(&archive) == plain, "{kind}: bit {} of byte {} flipped", bit % 8, bit / 8);
            }
            stored[bit / 8] ^= 1 << (bit % 8);
        }
        trusted.push((kind, still_trusted));
    }
    // Time, system and hints in gzip's header; in zstd's, how much memory it takes; padding in bzip2; and copies of zeros from another place.
    println!("{trusted:?}");
    assert!(trusted[0].1 >= 48 && trusted.iter().all(|(_, n)| *n < 1000), "{trusted:?}");
}

#[test]
fn rule_7_what_comes_out_is_bounded() {
    let image = Image::new(&[layer("a", &vec![0; 4 << 20])], Stored::Plain);
    let plain = tar(&classic(&image, &[NAME]));
    let size = plain.len() as u64;
    let all = [("plain", (|b: &[u8]| b.to_vec()) as Compress)].into_iter().chain(KINDS);
    for (kind, compress) in all {
        let stored = compress(&plain);
        let piped = |change: &dyn Fn(&mut ArchiveLimits)| {
            let mut limits = limits();
            change(&mut limits);
            Archive::from_reader(stored.as_slice(), &limits).map(drop).map_err(code)
        };
        let refused = Err("archive-limit".to_owned());
        assert_eq!(piped(&|_| {}), Ok(()), "{kind}");
        assert_eq!(piped(&|l| l.archive = size), Ok(()), "{kind}");
        assert_eq!(piped(&|l| l.archive = size - 1), refused, "{kind}");
        if kind != "plain" {
            assert!(stored.len() < plain.len() / 20, "{kind}: a bomb");
            assert_eq!(piped(&|l| l.ratio_free = size), Ok(()), "{kind}");
            assert_eq!(piped(&|l| (l.ratio_free, l.ratio) = (0, 10)), refused, "{kind}");
            assert_eq!(piped(&|l| (l.ratio_free, l.ratio) = (0, 200_000)), Ok(()), "{kind}");
            let verdict = |change: fn(&mut ArchiveLimits)| {
                let mut limits = limits();
                change(&mut limits);
                verdict(&image, &stored, &limits).err().unwrap_or_default()
            };
            assert_eq!(verdict(|_| {}), "", "{kind}");
            assert_eq!(verdict(|l| (l.ratio_free, l.ratio) = (0, 10)), "archive-limit", "{kind}");
        }
    }
}

/// A pipe that never ends is refused by its first bytes, or at the limit; not when the disk is full.
#[test]
fn a_pipe_that_never_ends_is_refused() {
    let endless = |start: &[u8]| {
        let mut small = limits();
        small.archive = 16 << 20;
        Archive::from_reader(Cursor::new(start.to_vec()).chain(std::io::repeat(b'x')), &small).map(drop).map_err(code)
    };
    let tar = tar(&classic(&Image::small(), &[NAME]));
    assert_eq!(endless(b""), Err("archive-not-tar".to_owned()));
    assert_eq!(endless(&tar), Err("archive-limit".to_owned()));
    assert_eq!(endless(&gzip(&tar)), Err("archive-corrupt".to_owned()));
}

#[test]
fn rule_7_the_archive_does_not_choose_how_much_memory_is_used() {
    let image = Image::small();
    let plain = tar(&classic(&image, &[NAME]));
    // The byte that says how large the dictionary is, and the checksum of the block header that it stands in [xz file format, 3.1, 5.3.1].
    let with_dictionary = |size: u8| {
        let mut stored = xz(&plain);
        assert_eq!(stored[12..16], [2, 0, 0x21, 1]);
        stored[16] = size;
        let mut crc = flate2::Crc::new();
        crc.update(&stored[12..20]);
        stored[20..24].copy_from_slice(&crc.sum().to_le_bytes());
        verdict(&image, &stored, &limits()).err().unwrap_or_default()
    };
    assert_eq!(with_dictionary(28), "", "64 MiB, as of xz -9");
    assert_eq!(with_dictionary(29), "archive-limit", "96 MiB");
    assert_eq!(with_dictionary(40), "archive-limit", "4 GiB");
    assert_eq!(with_dictionary(41), "archive-corrupt", "not a size");
    // The byte of the window, as a power of two above 10 [RFC 8878, 3.1.1.1.2].
    let with_window = |log: u8| {
        let mut stored = zstd(&plain);
        assert_eq!(stored[4] & 0x20, 0, "a window, not a single segment");
        stored[5] = (log - 10) << 3;
        verdict(&image, &stored, &limits()).err().unwrap_or_default()
    };
    assert_eq!(with_window(27), "");
    assert_eq!(with_window(28), "archive-limit");
    assert_eq!(with_window(31), "archive-limit");
}

/// `ctr` up to 1.6 undoes no compression. What is a tar as well would show it another archive, hidden in gzip's header.
#[test]
fn rule_7_a_compressed_archive_is_no_tar_as_well() {
    let image = Image::small();
    let evil = Image::new(&[layer("bin/app", b"#!/bin/evil\n")], Stored::Plain);
    let body = gzip(&tar(&oci_archive(&image, &[NAME])));
    let polyglot = |honest: bool| {
        let mut hidden =
            unfinished_tar(&[file("", b"")].into_iter().chain(oci_archive(&evil, &[NAME])).collect::<Vec<_>>());
        // An extra field from byte 12 on holds the tar; its first entry's name is gzip's own header.
        hidden[..10].copy_from_slice(&[0x1f, 0x8b, 0x08, 4, 0, 0, 0, 0, 0, 255]);
        let length = u16::try_from(hidden.len() - 12).unwrap();
        hidden[10..12].copy_from_slice(&length.to_le_bytes());
        let mut block: [u8; 512] = hidden[..512].try_into().unwrap();
        seal(&mut block);
        block[150] ^= u8::from(honest);
        hidden[..512].copy_from_slice(&block);
        [hidden, body[10..].to_vec()].concat()
    };
    // Another reader does see both.
    let both = polyglot(false);
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(both.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert!(unpacked == tar(&oci_archive(&image, &[NAME])));
    let mut names = ::tar::Archive::new(both.as_slice());
    let names: Vec<_> =
        names.entries().unwrap().map_while(Result::ok).map(|e| e.path().unwrap().into_owned()).collect();
    assert!(names.iter().any(|name| name.as_os_str() == "index.json"), "{names:?}");

    assert_eq!(verdict(&image, &both, &limits()).unwrap_err(), "archive-compressed");
    assert_eq!(verdict(&image, &polyglot(true), &limits()).err(), None, "no tar header: the checksum is wrong");
}

#[test]
fn a_verdict_says_how_the_archive_was_compressed_and_whose_fault_it_is() {
    use plimsoll::client::{Client, DirSource, Store};
    use plimsoll::verify::Verifier;

    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos");
    let root = std::fs::read(samples.join("root.json")).unwrap();
    let source = DirSource::repository(&samples.join("good")).unwrap();
    let verifier = Verifier::new(Client::new(root, source, Store::in_memory())).with_image(NAME.parse().unwrap());
    let plain = std::fs::read(samples.join("good/app.tar")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    for (kind, compress) in KINDS {
        let (path, bytes) = (scratch.path().join(kind), compress(&plain));
        std::fs::write(&path, &bytes).unwrap();
        let verdict = verifier.verify(&path);
        assert!(verdict.is_trusted(), "{verdict}");
        let line = format!("{}, docker-archive, {kind}, {} bytes\n", path.display(), bytes.len());
        assert!(verdict.to_string().contains(&line), "{verdict}");
        let json: serde_json::Value = serde_json::from_str(&verdict.to_json()).unwrap();
        assert_eq!(json["archive"]["compression"], kind);

        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        let verdict = verifier.verify(&path);
        assert_eq!((verdict.word(), verdict.findings()[0].code()), ("untrusted", "archive-corrupt"));
        assert!(verdict.to_string().contains(NAME), "{verdict}");
    }
    let verdict = verifier.verify(&scratch.path().join("nothing"));
    assert_eq!((verdict.word(), verdict.findings()[0].code()), ("undecided", "archive-unreadable"));
}

// ---- folders ----

#[cfg(unix)]
mod folders {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::{FileExt, symlink};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;

    fn oci(image: &Image) -> Vec<Item> {
        oci_archive(image, &[NAME])
    }

    fn open(image: &Image, folder: &Path) -> Result<VerifiedImage, String> {
        Archive::open(folder, &limits()).map_err(code).and_then(|archive| judge(image, &archive, &limits()))
    }

    /// The blobs of [`Image::small`] in a layout.
    fn layer_blob(folder: &Path) -> PathBuf {
        folder.join(blob_name(&Image::small().blobs[0].1))
    }

    fn config_blob(folder: &Path) -> PathBuf {
        folder.join(blob_name(&Image::small().config))
    }

    fn manifest_blob(folder: &Path) -> PathBuf {
        folder.join(blob_name(&Image::small().manifest()))
    }

    /// Moves a file out of the folder and leaves a link to it.
    fn replace_by_link(path: &Path) {
        let outside =
            path.ancestors().find(|p| p.join("index.json").exists() || p.join("oci-layout").exists()).unwrap();
        let outside = outside.parent().unwrap().join("outside");
        fs::rename(path, &outside).unwrap();
        symlink(&outside, path).unwrap();
    }

    fn replace_by(path: &Path, make: &str, arguments: &[&str]) {
        fs::remove_file(path).unwrap();
        assert!(Command::new(make).arg(path).args(arguments).status().unwrap().success());
    }

    /// One row: a change to a good folder and the code that it must lead to; empty if it must stay trusted.
    type Row = (&'static str, fn(&Path), &'static str);

    fn run(good: fn(&Image) -> Vec<Item>, rows: &[Row]) {
        let image = Image::small();
        for (name, change, expected) in rows {
            let scratch = tempfile::tempdir().unwrap();
            let folder = scratch.path().join("layout");
            unpack(&good(&image), &folder);
            assert_eq!(open(&image, &folder).map(|v| v.form()), Ok(Form::OciLayout), "the good twin");
            change(&folder);
            assert_eq!(open(&image, &folder).err().unwrap_or_default(), *expected, "{name}");
        }
    }

    #[rustfmt::skip] // A table has a row per case.
    #[test]
    fn rule_8_a_layout_is_files_and_folders_and_nothing_else() {
        run(
            oci,
            &[
                ("unchanged", |_| {}, ""),
                ("an empty file and an empty folder", |f| { fs::write(f.join("0"), b"").unwrap(); fs::create_dir(f.join("d")).unwrap(); }, ""),
                ("an unknown file", |f| fs::write(f.join("note"), b"x").unwrap(), ""),
                ("an unknown file in a folder", |f| { fs::create_dir(f.join("d")).unwrap(); fs::write(f.join("d/note"), b"x").unwrap(); }, ""),
                ("a blob that nothing names", |f| fs::write(f.join("blobs/sha256/x"), b"x").unwrap(), ""),
                ("without oci-layout", |f| fs::remove_file(f.join("oci-layout")).unwrap(), ""),
                ("a hard link", |f| fs::hard_link(f.join("index.json"), f.join("second")).unwrap(), ""),
                ("a layer as a link", |f| replace_by_link(&layer_blob(f)), "archive-symlink"),
                ("the config as a link", |f| replace_by_link(&config_blob(f)), "archive-symlink"),
                ("index.json as a link", |f| replace_by_link(&f.join("index.json")), "archive-symlink"),
                ("oci-layout as a link", |f| replace_by_link(&f.join("oci-layout")), "archive-symlink"),
                ("blobs as a link", |f| replace_by_link(&f.join("blobs")), "archive-symlink"),
                ("blobs/sha256 as a link", |f| replace_by_link(&f.join("blobs/sha256")), "archive-symlink"),
                ("a link that nothing names", |f| symlink("/etc/passwd", f.join("note")).unwrap(), "archive-symlink"),
                ("a link in a loop", |f| symlink(".", f.join("loop")).unwrap(), "archive-symlink"),
                ("a FIFO as a layer", |f| replace_by(&layer_blob(f), "mkfifo", &[]), "archive-entry-type"),
                ("a FIFO as index.json", |f| replace_by(&f.join("index.json"), "mkfifo", &[]), "archive-entry-type"),
                ("a FIFO that nothing names", |f| { assert!(Command::new("mkfifo").arg(f.join("x")).status().unwrap().success()); }, "archive-entry-type"),
                ("a socket", |f| drop(std::os::unix::net::UnixListener::bind(f.join("x")).unwrap()), "archive-entry-type"),
                ("index.json as a folder", |f| { fs::remove_file(f.join("index.json")).unwrap(); fs::create_dir(f.join("index.json")).unwrap(); }, "archive-missing-file"),
                ("a layer as a folder", |f| { fs::remove_file(layer_blob(f)).unwrap(); fs::create_dir(layer_blob(f)).unwrap(); }, "archive-missing-file"),
                ("another case of index.json", |f| fs::write(f.join("Index.json"), b"{}").unwrap(), "archive-duplicate-entry"),
                ("another case of blobs", |f| fs::create_dir(f.join("BLOBS")).unwrap(), "archive-duplicate-entry"),
                ("two names that differ in case", |f| { fs::write(f.join("a"), b"").unwrap(); fs::write(f.join("A"), b"").unwrap(); }, "archive-duplicate-entry"),
                ("a backslash", |f| fs::write(f.join("a\\b"), b"").unwrap(), "archive-entry-name"),
                ("docker's old form: repositories", |f| fs::write(f.join("repositories"), b"{}").unwrap(), "archive-legacy-image"),
                ("no index.json", |f| fs::remove_file(f.join("index.json")).unwrap(), "archive-no-image"),
                ("no layer", |f| fs::remove_file(layer_blob(f)).unwrap(), "archive-missing-file"),
                ("no config", |f| fs::remove_file(config_blob(f)).unwrap(), "archive-missing-file"),
                ("no manifest", |f| fs::remove_file(manifest_blob(f)).unwrap(), "archive-missing-file"),
                ("a longer layer", |f| OpenOptions::new().append(true).open(layer_blob(f)).unwrap().write_all(b"x").unwrap(), "blob-size-mismatch"),
                ("a shorter layer", |f| OpenOptions::new().write(true).open(layer_blob(f)).unwrap().set_len(9).unwrap(), "blob-size-mismatch"),
                ("a huge sparse layer", |f| OpenOptions::new().write(true).open(layer_blob(f)).unwrap().set_len(1 << 40).unwrap(), "archive-limit"),
                ("a huge sparse config", |f| OpenOptions::new().write(true).open(config_blob(f)).unwrap().set_len(1 << 30).unwrap(), "blob-size-mismatch"),
                ("a changed layer", |f| OpenOptions::new().write(true).open(layer_blob(f)).unwrap().write_all_at(b"x", 40).unwrap(), "layer-corrupt"),
                ("a changed config", |f| OpenOptions::new().write(true).open(config_blob(f)).unwrap().write_all_at(b"x", 40).unwrap(), "blob-digest-mismatch"),
                ("a broken index.json", |f| fs::write(f.join("index.json"), b"{").unwrap(), "document-malformed"),
            ],
        );
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let scratch = tempfile::tempdir().unwrap();
        unpack(&oci(&Image::small()), scratch.path());
        // Some file systems refuse it themselves.
        if fs::write(scratch.path().join(std::ffi::OsStr::from_bytes(b"a\xff")), b"").is_ok() {
            assert_eq!(open(&Image::small(), scratch.path()).unwrap_err(), "archive-entry-name");
        }
    }

    /// Adds the blobs of another image, and writes its documents to a folder of their own.
    fn add_evil(folder: &Path) -> PathBuf {
        let evil = hybrid(&Image::new(&[layer("bin/app", b"#!/bin/evil\n")], Stored::Gzip), &[NAME]);
        let blobs: Vec<Item> = evil.iter().filter(|i| i.name().starts_with("blobs/sha256/")).cloned().collect();
        unpack(&blobs, folder);
        unpack(&evil, &folder.join("evil"));
        folder.join("evil")
    }

    #[test]
    fn rule_9_both_halves_of_a_folder_are_judged() {
        fn both(image: &Image) -> Vec<Item> {
            hybrid(image, &[NAME])
        }
        run(
            both,
            &[
                ("unchanged", |_| {}, ""),
                (
                    "a manifest.json that is broken",
                    |f| fs::write(f.join("manifest.json"), b"[").unwrap(),
                    "document-malformed",
                ),
                ("without manifest.json", |f| fs::remove_file(f.join("manifest.json")).unwrap(), ""),
                (
                    "a manifest.json as dir: has it",
                    |f| fs::write(f.join("manifest.json"), Image::small().manifest()).unwrap(),
                    "document-malformed",
                ),
                ("without index.json", |f| fs::remove_file(f.join("index.json")).unwrap(), "archive-no-image"),
            ],
        );
        for half in ["index.json", "manifest.json"] {
            let scratch = tempfile::tempdir().unwrap();
            unpack(&both(&Image::small()), scratch.path());
            let evil = add_evil(scratch.path());
            assert_eq!(open(&Image::small(), scratch.path()).err(), None, "blobs that nothing names");
            fs::copy(evil.join(half), scratch.path().join(half)).unwrap();
            assert_eq!(open(&Image::small(), scratch.path()).unwrap_err(), "config-digest-mismatch", "{half}");
        }
    }

    #[test]
    fn a_folder_that_no_loader_takes_says_what_to_do() {
        let image = Image::small();
        let refusal = |items: &[Item]| {
            let scratch = tempfile::tempdir().unwrap();
            unpack(items, scratch.path());
            let archive = Archive::open(scratch.path(), &limits()).unwrap();
            match Inventory::scan_opened(&archive, &limits()) {
                Err(ArchiveError::Refused(refusal)) => refusal,
                other => panic!("{other:?}"),
            }
        };
        let dir_transport = [
            file("manifest.json", &image.manifest()),
            file("version", b"Directory Transport Version: 1.1\n"),
            file(&Sha256::of(&image.config).to_hex(), &image.config),
        ];
        for (items, says) in [
            (dir_transport.as_slice(), "skopeo copy dir:FOLDER oci-archive:FILE"),
            (&classic(&image, &[NAME]), "pack it with tar"),
            (&[file("x", b"")], "no image found"),
            (&[], "no image found"),
        ] {
            let refusal = refusal(items);
            assert_eq!(refusal.code.as_str(), "archive-no-image");
            assert!(refusal.to_string().contains(says), "{refusal}");
        }
    }

    /// The steps of the library, with somebody at work between them.
    #[test]
    fn rule_8_what_changes_during_the_check_is_noticed_or_does_not_matter() {
        let large = layer("a", &noise(3 << 20));
        let image = Image::new(&[large, layer("b", b"2")], Stored::Gzip);
        let blob = |f: &Path, i: usize| f.join(blob_name(&image.blobs[i].1));
        let write_new = |path: &Path, content: &[u8]| {
            let new = path.with_extension("new");
            fs::write(&new, content).unwrap();
            fs::rename(new, path).unwrap();
        };
        let evil = |path: &Path| {
            let mut bytes = fs::read(path).unwrap();
            let n = bytes.len() / 2;
            bytes[n] ^= 1;
            bytes
        };
        type Change<'c> = (&'c str, &'c dyn Fn(&Path), &'c str);
        let after_scan: &[Change<'_>] = &[
            ("nothing", &|_| {}, ""),
            ("another file in a layer's place", &|f| write_new(&blob(f, 0), &evil(&blob(f, 0))), "archive-changed"),
            (
                "the same bytes in another file",
                &|f| {
                    let b = blob(f, 1);
                    write_new(&b, &fs::read(&b).unwrap());
                },
                "archive-changed",
            ),
            (
                "a link in a layer's place",
                &|f| {
                    let b = blob(f, 0);
                    fs::remove_file(&b).unwrap();
                    symlink("/etc/passwd", b).unwrap();
                },
                "archive-changed",
            ),
            ("a FIFO in a layer's place", &|f| replace_by(&blob(f, 0), "mkfifo", &[]), "archive-changed"),
            (
                "a folder in a layer's place",
                &|f| {
                    let b = blob(f, 0);
                    fs::remove_file(&b).unwrap();
                    fs::create_dir(b).unwrap();
                },
                "archive-changed",
            ),
            ("a layer removed", &|f| fs::remove_file(blob(f, 0)).unwrap(), "archive-changed"),
            (
                "a layer cut",
                &|f| OpenOptions::new().write(true).open(blob(f, 0)).unwrap().set_len(5).unwrap(),
                "archive-changed",
            ),
            (
                "a layer grown",
                &|f| OpenOptions::new().append(true).open(blob(f, 0)).unwrap().write_all(b"x").unwrap(),
                "archive-changed",
            ),
            (
                "a layer written over",
                &|f| {
                    let (b, e) = (blob(f, 0), evil(&blob(f, 0)));
                    OpenOptions::new().write(true).open(b).unwrap().write_all(&e).unwrap();
                },
                "layer-",
            ),
            (
                "blobs replaced by a link",
                &|f| {
                    fs::rename(f.join("blobs"), f.join("b")).unwrap();
                    symlink("b", f.join("blobs")).unwrap();
                },
                "archive-changed",
            ),
            ("the whole folder moved", &|f| fs::rename(f, f.with_extension("moved")).unwrap(), ""),
            // It was read already, once, and what was read was hashed.
            ("index.json replaced", &|f| write_new(&f.join("index.json"), b"{}"), ""),
            ("the manifest replaced", &|f| write_new(&f.join(blob_name(&image.manifest())), b"{}"), ""),
            ("a file more", &|f| fs::write(f.join("manifest.json"), b"[]").unwrap(), ""),
        ];
        for (name, change, expected) in after_scan {
            let scratch = tempfile::tempdir().unwrap();
            let folder = scratch.path().join("layout");
            unpack(&oci(&image), &folder);
            let archive = Archive::open(&folder, &limits()).unwrap();
            let inventory = Inventory::scan_opened(&archive, &limits()).unwrap();
            change(&folder);
            let allowed = [ImageName::parse(NAME).unwrap()];
            let signed = SignedImage::from_manifest(&allowed[0], &image.manifest(), None, &limits()).unwrap();
            let got = inventory.measure(&limits(), &|_, _| {}).map_err(code);
            let got = got.and_then(|m| check(&signed, &allowed, &m).map_err(|r| r[0].code.to_string()));
            let got = got.err().unwrap_or_default();
            assert!(
                got == *expected || !expected.is_empty() && expected.ends_with('-') && got.starts_with(expected),
                "{name}: {got}"
            );
        }
        // Between opening and scanning, when only names and sizes are known.
        let after_open: &[Change<'_>] = &[
            ("nothing", &|_| {}, ""),
            (
                "index.json replaced",
                &|f| {
                    let i = f.join("index.json");
                    write_new(&i, &fs::read(&i).unwrap());
                },
                "archive-changed",
            ),
            ("index.json removed", &|f| fs::remove_file(f.join("index.json")).unwrap(), "archive-changed"),
            (
                "a link in the manifest's place",
                &|f| replace_by_link(&f.join(blob_name(&image.manifest()))),
                "archive-changed",
            ),
            ("a FIFO in index.json's place", &|f| replace_by(&f.join("index.json"), "mkfifo", &[]), "archive-changed"),
        ];
        for (name, change, expected) in after_open {
            let scratch = tempfile::tempdir().unwrap();
            let folder = scratch.path().join("layout");
            unpack(&oci(&image), &folder);
            let archive = Archive::open(&folder, &limits()).unwrap();
            change(&folder);
            assert_eq!(judge(&image, &archive, &limits()).err().unwrap_or_default(), *expected, "{name}");
        }
    }

    /// Between the check and the writing of a new archive: what is handed on is read again from the folder, and hashed again.
    #[test]
    fn what_changes_in_a_folder_after_the_check_is_never_handed_on() {
        let image = Image::new(&[layer("a", &noise(3 << 20)), layer("b", b"2")], Stored::Gzip);
        let blob = |f: &Path, i: usize| f.join(blob_name(&image.blobs[i].1));
        let flip = |path: &Path, n: usize| {
            let mut bytes = fs::read(path).unwrap();
            bytes[n] ^= 1;
            fs::write(path, bytes).unwrap();
        };
        type Change<'c> = (&'c str, &'c dyn Fn(&Path), &'c str);
        let changes: &[Change<'_>] = &[
            ("nothing", &|_| {}, ""),
            ("index.json removed", &|f| fs::remove_file(f.join("index.json")).unwrap(), ""),
            ("a layer's first byte", &|f| flip(&blob(f, 0), 0), "archive-changed"),
            ("a layer's middle", &|f| flip(&blob(f, 0), 1 << 20), "archive-changed"),
            ("the last layer", &|f| flip(&blob(f, 1), 20), "archive-changed"),
            ("the config", &|f| flip(&f.join(blob_name(&image.config)), 3), "archive-changed"),
            // It is still open, so what was verified is read.
            ("a layer removed", &|f| fs::remove_file(blob(f, 1)).unwrap(), ""),
            (
                "a layer cut",
                &|f| OpenOptions::new().write(true).open(blob(f, 1)).unwrap().set_len(5).unwrap(),
                "archive-changed",
            ),
            ("a link in a layer's place", &|f| replace_by_link(&blob(f, 1)), ""),
        ];
        for (name, change, expected) in changes {
            let scratch = tempfile::tempdir().unwrap();
            let folder = scratch.path().join("layout");
            unpack(&oci(&image), &folder);
            let archive = Archive::open(&folder, &limits()).unwrap();
            let verified = [judge(&image, &archive, &limits()).unwrap()];
            change(&folder);
            for docker in [true, false] {
                let mut out = Vec::new();
                let written = match docker {
                    true => write::docker_archive(&verified, &archive, &limits(), &mut out),
                    false => write::oci_archive(&verified, &archive, &limits(), &mut out),
                };
                let got = written.err().map_or("", |e| e.code());
                assert_eq!(got, *expected, "{name}");
                let is_whole =
                    Archive::from_reader(out.as_slice(), &limits()).is_ok_and(|a| judge(&image, &a, &limits()).is_ok());
                assert_eq!(is_whole, expected.is_empty(), "{name}");
            }
        }
    }

    #[test]
    fn a_file_that_shrinks_while_it_is_read_is_refused() {
        let image = Image::new(&[layer("a", &noise(3 << 20))], Stored::Gzip);
        let scratch = tempfile::tempdir().unwrap();
        unpack(&oci(&image), scratch.path());
        let blob = OpenOptions::new().write(true).open(scratch.path().join(blob_name(&image.blobs[0].1))).unwrap();
        let archive = Archive::open(scratch.path(), &limits()).unwrap();
        let inventory = Inventory::scan_opened(&archive, &limits()).unwrap();
        // Cut as soon as some of it was read, so that it is open.
        let got = inventory.measure(&limits(), &|_, _| blob.set_len(1 << 20).unwrap());
        assert_eq!(got.map(drop).map_err(code), Err("archive-changed".to_owned()));
    }

    #[test]
    fn thousands_of_files_need_few_file_descriptors() {
        let layers: Vec<Vec<u8>> = (0..400).map(|i| layer(&format!("f{i}"), b"x")).collect();
        let image = Image::new(&layers, Stored::Plain);
        let scratch = tempfile::tempdir().unwrap();
        unpack(&oci(&image), scratch.path());
        for i in 0..3000 {
            fs::write(scratch.path().join(format!("blobs/sha256/more-{i}")), b"x").unwrap();
        }
        let mut deep = scratch.path().to_path_buf();
        for _ in 0..200 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("x"), b"x").unwrap();
        let archive = Archive::open(scratch.path(), &limits()).unwrap();
        assert_eq!(judge(&image, &archive, &limits()).err(), None);
        if let Ok(handles) = fs::read_dir("/proc/self/fd") {
            // The other tests of this file run at the same time.
            assert!(handles.count() < 300);
        }
        let few = |change: fn(&mut ArchiveLimits)| {
            let mut limits = limits();
            change(&mut limits);
            Archive::open(scratch.path(), &limits).map(drop).map_err(code)
        };
        assert_eq!(few(|_| {}), Ok(()));
        assert_eq!(few(|l| l.entries = 1000), Err("archive-limit".to_owned()));
        assert_eq!(few(|l| l.paths = 1000), Err("archive-limit".to_owned()));
        assert_eq!(few(|l| l.path = 100), Err("archive-entry-name".to_owned()));
        assert_eq!(few(|l| l.archive = 1000), Err("archive-limit".to_owned()));
    }

    #[test]
    fn what_cannot_be_opened_is_undecided() {
        let scratch = tempfile::tempdir().unwrap();
        let fifo = scratch.path().join("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for path in [fifo.as_path(), Path::new("/dev/null"), &scratch.path().join("nothing")] {
            let got = Archive::open(path, &limits()).map(drop).map_err(code).unwrap_err();
            assert!(got.starts_with("undecided: cannot read"), "{got}");
        }
    }

    #[test]
    fn a_link_to_the_folder_itself_is_the_users_own() {
        let scratch = tempfile::tempdir().unwrap();
        unpack(&oci(&Image::small()), &scratch.path().join("layout"));
        symlink("layout", scratch.path().join("link")).unwrap();
        assert_eq!(open(&Image::small(), &scratch.path().join("link")).err(), None);
    }
}
