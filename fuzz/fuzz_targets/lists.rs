//! Package lists, read as each format: never a panic; what is read is JSON to the strict reader of role metadata too, and is read again exactly from what is
//! written of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::digest::Sha256;
use plimsoll::metadata::json;
use plimsoll::packages::format::ListFormat;
use plimsoll::packages::list::PackageList;
use plimsoll::packages::package::{Kind, Package};
use plimsoll::packages::purl::{self, Purl};
use plimsoll::packages::write::{self, Described, ListedFile};

fuzz_target!(|bytes: &[u8]| {
    if let Some(Ok(Purl::Package(package))) = std::str::from_utf8(bytes).ok().map(Purl::parse) {
        if is_stable(&package) {
            assert_eq!(Purl::parse(&purl::of(&package, Some("debian"), Some("debian-12"))), Ok(Purl::Package(package)));
        }
    }
    for format in [ListFormat::Spdx, ListFormat::CycloneDx] {
        let Ok(list) = PackageList::read(format, bytes) else { continue };
        match json::parse(bytes) {
            // The one bound that lists do not share, for no tree is built of them.
            Ok(_) | Err(json::Error::Dense(_)) => {}
            Err(error) => panic!("{format:?}: {error}"),
        }
        written_again(&list);
    }
});

fn written_again(list: &PackageList) {
    let packages: Vec<Package> = list.packages().iter().filter(|package| is_stable(package)).cloned().collect();
    let files = || {
        list.files().filter_map(|(path, digest)| Some(ListedFile { path: path.clone(), sha256: digest?, sha1: None }))
    };
    let described = Described::new(Sha256::of(b""), "fuzz", "0").with_distribution("debian", Some("12"));
    let (mut spdx, mut cyclonedx) = (Vec::new(), Vec::new());
    write::spdx(&mut spdx, &described, &packages, files()).unwrap();
    write::cyclonedx(&mut cyclonedx, &described, &packages, files()).unwrap();
    for (format, bytes) in [(ListFormat::Spdx, spdx), (ListFormat::CycloneDx, cyclonedx)] {
        let again = PackageList::read(format, &bytes).unwrap();
        assert_eq!(again.packages(), packages);
        assert!(again.files().eq(list.files().filter(|(_, digest)| digest.is_some())));
    }
}

/// Of two epochs of nought one is dropped each time; no system has such versions.
fn is_stable(package: &Package) -> bool {
    package.kind() == Kind::Apk || !package.version().starts_with("0:")
}
