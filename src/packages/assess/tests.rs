use serde_json::{Value, json};

use super::super::package::Kind;
use super::super::{osv, vex};
use super::*;
use crate::name::ImageName;

fn assessed(record: &Value, silenced: &[&str]) -> Assessment {
    let mut document = json!({"id": "X-1", "affected": [{"package": {"ecosystem": "Debian:12", "name": "openssl"}, "versions": ["1"]},
        {"package": {"ecosystem": "Debian:sid", "name": "openssl"}, "versions": ["1"]}]});
    document.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
    let statements: Vec<Value> = silenced
        .iter()
        .map(|id| {
            let (id, status) = id.strip_prefix('!').map_or((*id, "fixed"), |id| (id, "affected"));
            json!({"vulnerability": {"name": id}, "products": ["pkg:deb/debian/openssl@1"], "status": status})
        })
        .collect();
    let vex = json!({"@context": "https://openvex.dev/ns/v0.2.0", "timestamp": "2026-01-01T00:00:00Z", "statements": statements});
    let advisories = osv::read(document.to_string().as_bytes()).unwrap();
    let vex = vex::read(vex.to_string().as_bytes()).unwrap();
    let name = ImageName::parse("registry.example/team/app:1.4").unwrap();
    let distro = Distro { id: "debian".to_owned(), version_id: Some("12".to_owned()) };
    let installed = [Package::new(Kind::Deb, "openssl", "1", None).unwrap()];
    assess(&advisories, Some(&vex), &ImageProduct::new(&name, &[]), &distro, &installed).unwrap()
}

#[test]
fn an_advisory_is_silenced_as_a_whole_or_in_all_its_parts() {
    let two = json!({"id": "DSA-1", "upstream": ["CVE-1", "CVE-2"]});
    let old = json!({"id": "DSA-1", "aliases": ["CVE-1", "CVE-2"]});
    for (record, silenced, by) in [
        (json!({}), &["X-1"][..], 1),
        (json!({}), &["X-2"], 0),
        (json!({}), &[], 0),
        (json!({"aliases": ["GHSA-1"]}), &["GHSA-1"], 1),
        (json!({"id": "DEBIAN-CVE-1", "upstream": ["CVE-1"]}), &["CVE-1"], 1),
        (json!({"id": "USN-1", "upstream": ["CVE-1", "UBUNTU-CVE-1"]}), &["CVE-1"], 1),
        (two.clone(), &["CVE-1"], 0),
        (two.clone(), &["CVE-1", "CVE-2"], 2),
        (two.clone(), &["DSA-1"], 1),
        (two.clone(), &["CVE-1", "CVE-2", "!DSA-1"], 0),
        (two.clone(), &["CVE-1", "CVE-2", "!DSA-2"], 2),
        (two, &["CVE-1", "!CVE-2", "DSA-1"], 1),
        (old.clone(), &["CVE-1"], 0),
        (old.clone(), &["CVE-2"], 0),
        (old, &["CVE-1", "CVE-2"], 2),
        (json!({"related": ["CVE-1"]}), &["CVE-1"], 0),
    ] {
        let assessment = assessed(&record, silenced);
        let found = assessment.silenced.first().map_or(0, |silenced| silenced.by.len());
        assert_eq!(found, by, "{record} {silenced:?}");
        assert_eq!((assessment.affected.len(), assessment.silenced.len()), if by == 0 { (1, 0) } else { (0, 1) });
        assert_eq!(assessment.not_evaluated, 1);
    }
}

#[test]
fn what_is_found_is_shown_safe_to_print() {
    let assessment = assessed(&json!({"id": "X\u{1b}1"}), &[]);
    assert_eq!(assessment.affected[0].to_string(), "openssl 1: X\\u{1b}1 (unknown)");
}
