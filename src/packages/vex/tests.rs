use serde_json::{Value, json};

use super::*;

const CVE: &str = "CVE-2023-5363";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn document(statements: &Value) -> Value {
    json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://openvex.dev/docs/example/vex-9fb3463de1b57", "author": "Somebody",
        "timestamp": "2026-01-08T18:02:03.647787998-06:00", "version": 1, "statements": statements,
    })
}

fn statement(product: &Value, status: &str) -> Value {
    json!({"vulnerability": {"name": CVE}, "products": [product], "status": status, "justification": "component_not_present"})
}

fn libssl() -> Package {
    let package = Package::new(Kind::Deb, "libssl3", "3.0.9-1", Some("amd64")).unwrap();
    package.with_source("openssl", "3.0.9-1").unwrap()
}

fn silenced_by(statements: &Value, ids: &[&str], package: &Package) -> Option<Status> {
    let vex = read(document(statements).to_string().as_bytes()).unwrap();
    let name = ImageName::parse("registry.example/team/app:1.4").unwrap();
    let digests = [Sha256::from_oci(DIGEST).unwrap()];
    vex.silences(ids, package, &ImageProduct::new(&name, &digests)).map(Statement::status)
}

#[test]
fn a_product_is_the_package_or_the_image_around_it() {
    let image = format!("pkg:oci/app@{}", DIGEST.replace(':', "%3A"));
    let inside = |id: &str, subcomponents: Value| json!({"@id": id, "subcomponents": subcomponents});
    for (product, silenced) in [
        (json!({"@id": "pkg:deb/debian/libssl3@3.0.9-1?arch=amd64"}), true),
        (json!({"@id": "pkg:deb/debian/libssl3@3.0.9-1"}), true),
        (json!({"@id": "pkg:deb/debian/libssl3"}), true),
        (json!("pkg:deb/debian/libssl3@3.0.9-1?arch=amd64&distro=debian-12"), true),
        (json!({"@id": "pkg:deb/debian/libssl3@0%3A3.0.9-1"}), true),
        (json!({"@id": "pkg:deb/debian/openssl@3.0.9-1?arch=source"}), true),
        (
            json!({"@id": "#1", "identifiers": {"purl": "pkg:deb/debian/libssl3@3.0.9-1", "cpe23": "cpe:2.3:a:openssl"}}),
            true,
        ),
        // Another version, architecture, name, type.
        (json!({"@id": "pkg:deb/debian/libssl3@3.0.9-2"}), false),
        (json!({"@id": "pkg:deb/debian/libssl3@3.0.9-1?arch=arm64"}), false),
        (json!({"@id": "pkg:deb/debian/libssl3-dev@3.0.9-1"}), false),
        (json!({"@id": "pkg:deb/debian/openssl@3.0.9-1"}), false),
        (json!({"@id": "pkg:deb/debian/openssl@3.0.9-2?arch=source"}), false),
        (json!({"@id": "pkg:rpm/debian/libssl3@3.0.9-1"}), false),
        // Not understood, or two things at once.
        (json!({"@id": "pkg:deb/debian/libssl3?vcs_url=x"}), false),
        (json!({"@id": "pkg:deb/debian/libssl3?arch=amd64&arch=arm64"}), false),
        (json!({"@id": "pkg:deb/debian/libssl3#part"}), false),
        (json!({"@id": "pkg:deb/debian/%zz"}), false),
        (json!({"@id": "libssl3"}), false),
        (json!({"identifiers": {"cpe23": "cpe:2.3:a:openssl"}}), false),
        (json!({}), false),
        (json!({"@id": "pkg:deb/debian/libssl3", "identifiers": {"purl": "pkg:deb/debian/other"}}), false),
        // A package's own parts are not the package.
        (inside("pkg:deb/debian/libssl3", json!(["pkg:deb/debian/libssl3"])), false),
        // The image, whole and in part.
        (json!({"@id": image}), true),
        (json!({"@id": image, "subcomponents": []}), true),
        (inside(&image, json!([{"@id": "pkg:deb/debian/libssl3@3.0.9-1"}])), true),
        (inside(&image, json!([{"@id": "pkg:deb/debian/bash"}, {"@id": "pkg:deb/debian/libssl3"}])), true),
        (inside(&image, json!([{"@id": "pkg:deb/debian/bash"}])), false),
        (inside(&image, json!([{"@id": "openssl"}])), false),
        (inside(&image, json!([{}])), false),
        (json!("registry.example/team/app:1.4"), true),
        (json!("registry.example/team/app:1.5"), false),
        (json!("registry.example/team/app"), false),
        (json!("pkg:oci/app?repository_url=registry.example/team/app&tag=1.4"), true),
        (json!(format!("{image}?repository_url=registry.example%2Fteam%2Fapp&arch=amd64")), true),
        (json!("pkg:oci/app?repository_url=registry.example/team/app&tag=1.5"), false),
        (json!("pkg:oci/app?repository_url=registry.example/team/app"), false),
        (json!("pkg:oci/app?tag=1.4"), false),
        (json!("pkg:oci/app"), false),
        (json!(format!("{image}?repository_url=registry.example/other/app")), false),
        (json!(image.replace("oci/app", "oci/other")), false),
        (json!(image.replace("oci/app", "oci/team/app")), false),
        (json!(image.replace("e3b0", "e3b1")), false),
        (json!("pkg:oci/app@1.4"), false),
    ] {
        for status in ["not_affected", "fixed"] {
            let got = silenced_by(&json!([statement(&product, status)]), &[CVE], &libssl());
            assert_eq!(got.is_some(), silenced, "{product} {status}");
        }
    }
}

#[test]
fn versions_of_rpms_have_their_epoch_in_a_qualifier() {
    let tiny = Package::new(Kind::Rpm, "tiny", "1:1.2-3.el9", Some("noarch")).unwrap();
    let plain = Package::new(Kind::Rpm, "tiny", "1.2-3.el9", Some("noarch")).unwrap();
    for (purl, with_epoch, without) in [
        ("pkg:rpm/fedora/tiny@1.2-3.el9?arch=noarch&epoch=1", true, false),
        ("pkg:rpm/fedora/tiny@1:1.2-3.el9?epoch=1", true, false),
        ("pkg:rpm/fedora/tiny@1.2-3.el9?epoch=0", false, true),
        ("pkg:rpm/fedora/tiny@1.2-3.el9", false, true),
        ("pkg:rpm/fedora/tiny", true, true),
        ("pkg:rpm/fedora/tiny@1.2-3.el9?epoch=2", false, false),
    ] {
        let statements = json!([statement(&json!(purl), "fixed")]);
        assert_eq!(silenced_by(&statements, &[CVE], &tiny).is_some(), with_epoch, "{purl}");
        assert_eq!(silenced_by(&statements, &[CVE], &plain).is_some(), without, "{purl}");
    }
}

#[test]
fn the_newest_statement_counts_and_two_that_disagree_do_not() {
    let at = |day: u8, status: &str| {
        let mut statement = statement(&json!("pkg:deb/debian/libssl3"), status);
        statement["timestamp"] = json!(format!("2026-02-{day:02}T00:00:00Z"));
        statement
    };
    let other = |statement: Value, field: &str, value: Value| {
        let mut statement = statement;
        statement[field] = value;
        statement
    };
    for (statements, expected) in [
        (json!([at(1, "not_affected")]), Some(Status::NotAffected)),
        (json!([at(1, "fixed")]), Some(Status::Fixed)),
        (json!([at(1, "affected")]), None),
        (json!([at(1, "under_investigation")]), None),
        (json!([at(1, "affected"), at(2, "fixed")]), Some(Status::Fixed)),
        (json!([at(2, "fixed"), at(1, "affected")]), Some(Status::Fixed)),
        (json!([at(1, "fixed"), at(2, "affected")]), None),
        (json!([at(1, "fixed"), at(2, "under_investigation")]), None),
        (json!([at(1, "fixed"), at(1, "affected")]), None),
        (json!([at(1, "affected"), at(1, "fixed")]), None),
        (json!([at(1, "fixed"), at(1, "not_affected")]), Some(Status::Fixed)),
        // The same instant, written otherwise.
        (json!([at(1, "fixed"), other(at(1, "affected"), "timestamp", json!("2026-02-01T01:00:00+01:00"))]), None),
        // The document's time is older.
        (json!([at(1, "fixed"), statement(&json!("pkg:deb/debian/libssl3"), "affected")]), Some(Status::Fixed)),
        // A newer one about another vulnerability or another package.
        (json!([at(1, "fixed"), other(at(2, "affected"), "vulnerability", json!("CVE-2023-1"))]), Some(Status::Fixed)),
        (
            json!([at(1, "fixed"), other(at(2, "affected"), "products", json!(["pkg:deb/debian/bash"]))]),
            Some(Status::Fixed),
        ),
        (json!([other(at(1, "fixed"), "vulnerability", json!("CVE-2023-1"))]), None),
        (json!([other(at(1, "fixed"), "vulnerability", json!("CVE-2023-53630"))]), None),
        (
            json!([other(at(1, "fixed"), "vulnerability", json!({"name": "DSA-5532-1", "aliases": [CVE]}))]),
            Some(Status::Fixed),
        ),
        (json!([other(at(1, "fixed"), "vulnerability", json!({"@id": CVE}))]), Some(Status::Fixed)),
        (json!([other(at(1, "fixed"), "vulnerability", json!({"@id": CVE, "name": "CVE-2023-1"}))]), None),
        (json!([]), None),
    ] {
        assert_eq!(silenced_by(&statements, &["GHSA-x", CVE], &libssl()), expected, "{statements}");
    }
}

#[test]
fn an_incomplete_statement_makes_the_document_unreadable() {
    let good = || document(&json!([statement(&json!("pkg:deb/debian/libssl3"), "not_affected")]));
    let with = |pointer: &str, value: Value| {
        let mut document = good();
        *document.pointer_mut(pointer).unwrap() = value;
        document
    };
    let without = |pointer: &str, key: &str| {
        let mut document = good();
        document.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(key).unwrap();
        document
    };
    for (document, fine) in [
        (good(), true),
        (with("/@context", json!("https://openvex.dev/ns")), true),
        (with("/@context", json!("https://openvex.dev/ns/v0.0.1")), true),
        (with("/@context", json!("https://openvex.dev/ns/v1.0.0")), false),
        (with("/@context", json!("https://openvex.dev/nsx")), false),
        (without("", "@context"), false),
        (without("", "statements"), false),
        (without("", "timestamp"), false),
        (with("/timestamp", json!("2026-01-08")), false),
        (without("/statements/0", "vulnerability"), false),
        (with("/statements/0/vulnerability", json!("")), false),
        (with("/statements/0/vulnerability", json!({"aliases": [CVE]})), false),
        (without("/statements/0", "products"), false),
        (with("/statements/0/products", json!([])), false),
        (without("/statements/0", "status"), false),
        (with("/statements/0/status", json!("harmless")), false),
        (without("/statements/0", "justification"), false),
        (with("/statements/0/justification", json!("because")), false),
        (with("/statements/0/justification", json!("")), false),
        (with("/statements/0/justification", json!("inline_mitigations_already_exist")), true),
    ] {
        assert_eq!(read(document.to_string().as_bytes()).is_ok(), fine, "{document}");
    }
    let mut words = without("/statements/0", "justification");
    words["statements"][0]["impact_statement"] = json!("The code was removed with a patch.");
    assert!(read(words.to_string().as_bytes()).is_ok());
    words["statements"][0]["impact_statement"] = json!(" ");
    let error = read(words.to_string().as_bytes()).unwrap_err().to_string();
    assert_eq!(error, "advisories.openvex.json: statements[0]: CVE-2023-5363: not_affected, and not why");
    let twice = good().to_string().replacen("\"status\"", "\"status\":\"affected\",\"status\"", 1);
    assert!(read(twice.as_bytes()).is_err());
}

#[test]
fn in_drafts_subcomponents_stand_at_the_statement() {
    let draft = |subcomponents: Value| {
        let mut statement = statement(&json!("registry.example/team/app:1.4"), "not_affected");
        statement["vulnerability"] = json!(CVE);
        statement["subcomponents"] = subcomponents;
        json!([statement])
    };
    for (subcomponents, silenced) in
        [(json!(["pkg:deb/debian/libssl3"]), true), (json!(["pkg:deb/debian/bash"]), false), (json!([]), true)]
    {
        assert_eq!(silenced_by(&draft(subcomponents), &[CVE], &libssl()).is_some(), silenced);
    }
}
