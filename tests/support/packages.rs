//! Images with package databases, and package lists, from a few words.

use plimsoll::client::Store;
use plimsoll::digest::Sha256;
use plimsoll::limits::ArchiveLimits;
use plimsoll::packages::check::PackageChecks;
use plimsoll::verdict::Verdict;
use plimsoll::verify::Verifier;
use serde_json::json;

use super::image::{Image, Item, NAME, Stored, classic, file, tar};
use super::repo::Repo;
use super::source::client;

/// The folder of the signed files of [`NAME`].
pub const FOLDER: &str = "registry.example/team/app/1.4/";
pub const STATUS: &str = "var/lib/dpkg/status";
pub const SPDX: &str = "packages.spdx.json";
pub const DEB822: &str = "packages.deb822";

/// A dpkg status of packages in words: `name version architecture`.
pub fn status(packages: &[&str]) -> Vec<u8> {
    stanzas(packages, "Status: install ok installed\n")
}

/// The same as a list.
pub fn deb822(packages: &[&str]) -> Vec<u8> {
    stanzas(packages, "")
}

fn stanzas(packages: &[&str], more: &str) -> Vec<u8> {
    let stanza = |words: &&str| {
        let words: Vec<&str> = words.split(' ').collect();
        format!("Package: {}\n{more}Version: {}\nArchitecture: {}\n\n", words[0], words[1], words[2])
    };
    packages.iter().map(stanza).collect::<String>().into_bytes()
}

/// An apk database of such packages.
pub fn apk(packages: &[&str]) -> Vec<u8> {
    let record = |words: &&str| {
        let words: Vec<&str> = words.split(' ').collect();
        format!("P:{}\nV:{}\nA:{}\n\n", words[0], words[1], words[2])
    };
    packages.iter().map(record).collect::<String>().into_bytes()
}

/// An SPDX list of Debian packages in words, and of files.
pub fn spdx(packages: &[&str], files: &[(&str, &[u8])]) -> Vec<u8> {
    let package = |(i, words): (usize, &&str)| {
        let words: Vec<&str> = words.split(' ').collect();
        let purl = format!("pkg:deb/debian/{}@{}?arch={}", words[0], words[1], words[2]);
        json!({
            "SPDXID": format!("SPDXRef-Package-{i}"), "name": words[0], "versionInfo": words[1], "downloadLocation": "NOASSERTION",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
        })
    };
    let file = |(i, (path, content)): (usize, &(&str, &[u8]))| {
        let digest = Sha256::of(content).to_hex();
        json!({
            "SPDXID": format!("SPDXRef-File-{i}"), "fileName": path,
            "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
        })
    };
    let document = json!({
        "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "app",
        "documentNamespace": "https://example.org/app",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: hand"]},
        "packages": packages.iter().enumerate().map(package).collect::<Vec<_>>(),
        "files": files.iter().enumerate().map(file).collect::<Vec<_>>(),
    });
    serde_json::to_vec(&document).unwrap()
}

/// The status file of a layer.
pub fn database(packages: &[&str]) -> Item {
    file(STATUS, &status(packages))
}

/// The verdict on an image of these layers, beside which these files are signed.
pub fn verdict(layers: &[Vec<Item>], signed: &[(&str, Vec<u8>)], checks: PackageChecks) -> Verdict {
    verdict_within(layers, signed, checks, ArchiveLimits::default())
}

pub fn verdict_within(
    layers: &[Vec<Item>],
    signed: &[(&str, Vec<u8>)],
    checks: PackageChecks,
    limits: ArchiveLimits,
) -> Verdict {
    let layers: Vec<Vec<u8>> = layers.iter().map(|items| tar(items)).collect();
    verdict_of(&Image::new(&layers, Stored::Gzip), signed, checks, limits)
}

/// The same of an image that is at hand, as a classic archive.
pub fn verdict_of(image: &Image, signed: &[(&str, Vec<u8>)], checks: PackageChecks, limits: ArchiveLimits) -> Verdict {
    let mut repo = Repo::new();
    repo.target("targets", &format!("{FOLDER}manifest.json"), &image.manifest());
    for (name, content) in signed {
        repo.target("targets", &format!("{FOLDER}{name}"), content);
    }
    repo.publish();
    let verifier = Verifier::new(client(&repo, Store::in_memory())).with_packages(checks).with_limits(limits);
    verifier.verify_archive(tar(&classic(image, &[NAME])), "app.tar")
}

/// A verdict in words: `trusted`, or the word and each finding's code and subject.
pub fn words(verdict: &Verdict) -> String {
    let findings = verdict.findings().iter().map(|f| format!("{} {}", f.code(), f.subject().unwrap_or("-")));
    let findings = findings.collect::<Vec<_>>().join(", ");
    if findings.is_empty() { verdict.word().to_owned() } else { format!("{}: {findings}", verdict.word()) }
}
