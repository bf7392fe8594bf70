//! Every single bit of an archive of each form, flipped: never a panic, and trusted only if a second, lenient reader still finds
//! exactly the signed image under the same names.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test states what it expects"
)]

#[path = "../fuzz/properties/mod.rs"]
mod properties;
mod support;

use properties::archive::{Of, Seen, trusted};
use support::image::*;

fn flip_every_bit(image: &Image, items: &[Item]) {
    let good = tar(items);
    assert!(good.len() <= 20 * 1024, "{} bytes", good.len());
    flip_every_bit_of(NAME, &image.manifest(), &good);
}

fn flip_every_bit_of(name: &str, manifest: &[u8], good: &[u8]) {
    let trusted = |archive: &[u8]| trusted(name, manifest, archive);
    let expected = Seen::in_archive(good, Of::Last).unwrap();
    assert!(trusted(good).is_some());
    let mut archive = good.to_vec();
    let mut still_trusted = 0;
    for bit in 0..good.len() * 8 {
        archive[bit / 8] ^= 1 << (bit % 8);
        if trusted(&archive).is_some() {
            still_trusted += 1;
            let seen = Seen::in_archive(&archive, Of::Last).expect("what is trusted can be read");
            assert_eq!(seen, expected, "trusted with bit {} of byte {} flipped", bit % 8, bit / 8);
            assert!(seen.names().is_subset(&expected.names()), "trusted with other names: {:?}", seen.names());
        }
        archive[bit / 8] = good[bit / 8];
    }
    // Padding, and files that nobody loads. If nothing were ever trusted, the comparison above would prove nothing.
    assert!(still_trusted > 0 && still_trusted < good.len() * 8 / 2, "{still_trusted}");
}

fn image(stored: Stored) -> Image {
    Image::new(&[layer("a", b"1"), layer("b", b"2"), layer("a", b"1")], stored)
}

#[test]
fn classic_with_a_repeated_layer() {
    let image = image(Stored::Gzip);
    flip_every_bit(&image, &classic(&image, &[NAME]));
}

#[test]
fn the_sample_that_docker_saved() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos/source");
    let read = |name: &str| std::fs::read(source.join(name)).unwrap();
    flip_every_bit_of("registry.example/team/app:1.4", &read("app.manifest.json"), &read("app.tar"));
}

#[test]
fn hybrid_with_uncompressed_layers() {
    let image = image(Stored::Gzip);
    flip_every_bit(&image, &hybrid(&image, &[NAME]));
}

#[test]
fn hybrid_with_gzip_layers() {
    let image = image(Stored::Gzip);
    flip_every_bit(&image, &registry_hybrid(&image, &[NAME]));
}

#[test]
fn oci_archive_with_zstd_layers() {
    let image = image(Stored::Zstd);
    flip_every_bit(&image, &oci_archive(&image, &[NAME]));
}

#[test]
fn classic_with_pax_and_gnu_headers() {
    let image = image(Stored::Plain);
    let mut items = classic(&image, &[NAME]);
    let manifest = position(&items, "manifest.json");
    items.insert(
        manifest,
        pax(&[("mtime", "1.5"), ("path", "manifest.json"), ("size", &items[manifest].content.len().to_string())]),
    );
    let repositories = position(&items, "repositories");
    items.insert(repositories, gnu_long_name("repositories"));
    flip_every_bit(&image, &items);
}
