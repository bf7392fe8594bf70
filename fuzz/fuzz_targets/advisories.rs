//! Advisories, statements about them, os-release, and the order of versions: never a panic or a hang; the order is one, and statements take findings away, never add any.
//!
//! The input is a byte for the package system, then three versions and an os-release, an empty line, advisories, an empty line, statements.
#![no_main]

use std::cmp::Ordering;

use libfuzzer_sys::fuzz_target;
use plimsoll::digest::Sha256;
use plimsoll::name::ImageName;
use plimsoll::packages::assess::assess;
use plimsoll::packages::order::compare;
use plimsoll::packages::package::{Kind, Package};
use plimsoll::packages::vex::ImageProduct;
use plimsoll::packages::{os_release, osv, vex};

fuzz_target!(|text: &str| {
    let Some(first) = text.bytes().next().filter(u8::is_ascii) else { return };
    let kind = [Kind::Apk, Kind::Deb, Kind::Rpm][usize::from(first % 3)];
    let mut parts = text[1..].splitn(3, "\n\n");
    let mut part = || parts.next().unwrap_or_default();
    let (head, advisories, statements) = (part(), part(), part());
    let mut lines = head.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let versions = [line(), line(), line()];
    is_an_order(kind, versions);

    // Each reader is given all of it, too: what it is given in its turn is what a mutation has to get right.
    let distro = os_release::read(line().as_bytes());
    let _ = os_release::read(text.as_bytes());
    let (advisories, statements) = (osv::read(advisories.as_bytes()), vex::read(statements.as_bytes()));
    let (Ok(distro), Ok(advisories)) = (distro, advisories) else { return };
    let package = |name: &str, version: &str| Package::new(kind, name, version, Some("amd64")).ok();
    let sourced = |name: &str, version: &str, of: &str| package(name, version)?.with_source("openssl", of).ok();
    let [a, b, c] = versions;
    let installed: Vec<Package> = [package("openssl", a), sourced("libssl3", b, c)].into_iter().flatten().collect();
    let name = ImageName::parse("registry.example/team/app:1.4").expect("a name");
    let digests = [Sha256::of(b"")];
    let image = ImageProduct::new(&name, &digests);
    let Ok(loud) = assess(&advisories, None, &image, &distro, &installed) else { return };
    assert!(loud.silenced.is_empty());
    assert!(loud.affected.iter().all(|affected| installed.contains(&affected.package)));
    let Ok(statements) = statements else { return };
    let quiet = assess(&advisories, Some(&statements), &image, &distro, &installed).expect("as without statements");
    assert_eq!(quiet.affected.len() + quiet.silenced.len(), loud.affected.len());
    assert!(quiet.affected.iter().all(|affected| loud.affected.contains(affected)));
    for silenced in &quiet.silenced {
        assert!(!silenced.by.is_empty() && silenced.by.iter().all(|statement| statement.status().silences()));
    }
});

fn is_an_order(kind: Kind, [a, b, c]: [&str; 3]) {
    for version in [a, b, c] {
        assert_eq!(compare(kind, version, version), Ordering::Equal);
    }
    assert_eq!(compare(kind, a, b), compare(kind, b, a).reverse());
    if compare(kind, a, b).is_le() && compare(kind, b, c).is_le() {
        let expected = compare(kind, a, b).then(compare(kind, b, c));
        assert_eq!(compare(kind, a, c), expected, "{a:?} {b:?} {c:?}");
    }
}
