use serde_json::{Value, json};

use super::*;

const DEBIAN: (&str, &str) = ("debian", "12");

fn distro((id, version): (&str, &str)) -> Distro {
    Distro { id: id.to_owned(), version_id: Some(version.to_owned()) }
}

fn package(kind: Kind, name: &str, version: &str) -> Package {
    Package::new(kind, name, version, None).unwrap()
}

fn deb(name: &str, version: &str, source: &str, source_version: &str) -> Package {
    package(Kind::Deb, name, version).with_source(source, source_version).unwrap()
}

fn parsed(document: &Value) -> Advisories {
    read(document.to_string().as_bytes()).unwrap()
}

fn found(document: &Value, image: (&str, &str), installed: &[Package]) -> Findings {
    parsed(document).affecting(&distro(image), installed).unwrap()
}

/// `ID NAME severity fixed`, one for each finding, and how many entries were not evaluated.
fn shown(findings: &Findings) -> (Vec<String>, usize) {
    let line = |a: &Affected| {
        format!("{} {} {} {}", a.advisory.id(), a.package.name(), a.severity, a.fixed.as_deref().unwrap_or("-"))
    };
    (findings.affected.iter().map(line).collect(), findings.not_evaluated)
}

/// A record for the source package `openssl` of Debian 12 with these events.
fn openssl(events: &Value) -> Value {
    json!({"id": "X-1", "affected": [{
        "package": {"ecosystem": "Debian:12", "name": "openssl"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }]})
}

#[test]
fn events_make_ranges_in_whatever_order_they_come() {
    for (events, affected, not) in [
        (
            json!([{"introduced": "0"}, {"fixed": "3.0.11-1"}]),
            &["0~", "3.0.10-9", "3.0.11-1~deb12u2"][..],
            &["3.0.11-1", "1:0"][..],
        ),
        (json!([{"fixed": "3.0.11-1"}, {"introduced": "0"}]), &["3.0.10-9"], &["3.0.11-1"]),
        (json!([{"introduced": "0"}]), &["0", "1:9"], &[]),
        (json!([{"introduced": "2"}, {"last_affected": "3"}]), &["2", "2.5", "3", "3-0"], &["1", "2~", "3-0.1", "3.1"]),
        (json!([{"introduced": "3"}, {"last_affected": "3"}]), &["3"], &["2", "3.1"]),
        (json!([{"introduced": "0"}, {"fixed": "1:1.0-1"}]), &["9.9-1", "1:0.9-1"], &["1:1.0-1"]),
        // Two branches, and the same version as an end and as a beginning.
        (
            json!([{"introduced": "1"}, {"fixed": "1.5"}, {"introduced": "2"}, {"fixed": "2.5"}]),
            &["1", "2.4"],
            &["0", "1.5", "1.9", "2.5"],
        ),
        (
            json!([{"introduced": "1"}, {"introduced": "2"}, {"fixed": "2.5"}, {"fixed": "1.5"}]),
            &["1", "2.4"],
            &["0", "1.5", "1.9", "2.5"],
        ),
        (json!([{"introduced": "1"}, {"fixed": "2"}, {"introduced": "2"}, {"fixed": "3"}]), &["1", "2", "2.9"], &["3"]),
        (json!([{"introduced": "2"}, {"introduced": "2"}]), &["2", "9"], &["1"]),
        (json!([{"introduced": "0"}, {"introduced": "2"}, {"fixed": "3"}]), &["0", "1", "2"], &["3"]),
        // "0" is before every version; a fix at 0 is not.
        (json!([{"introduced": "0"}, {"fixed": "0"}]), &["0~"], &["0", "1"]),
        (json!([{"introduced": "0"}, {"limit": "2"}]), &["1"], &["2", "3"]),
        (json!([{"introduced": "0"}, {"limit": "2"}, {"limit": "3"}]), &["2"], &["3"]),
        (json!([{"introduced": "0"}, {"limit": "2"}, {"limit": "*"}]), &["9"], &[]),
        (json!([{"introduced": "1.0-1"}, {"fixed": "1.0-0"}]), &["1.0-1"], &["1.0", "1.0-0"]),
    ] {
        for (versions, expected) in [(affected, 1), (not, 0)] {
            for version in versions {
                let findings = found(&openssl(&events), DEBIAN, &[deb("libssl3", "9", "openssl", version)]);
                assert_eq!((findings.affected.len(), findings.not_evaluated), (expected, 0), "{version} in {events}");
            }
        }
    }
}

#[test]
fn what_cannot_be_evaluated_is_counted_and_not_dropped() {
    let installed = [deb("libssl3", "3.0.9-1", "openssl", "3.0.9-1")];
    let entry = |ecosystem: &str, name: &str, rest: Value| {
        let mut entry = json!({"package": {"ecosystem": ecosystem, "name": name}});
        entry.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        entry
    };
    let ever = || json!({"ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]});
    let git = json!([{"type": "GIT", "repo": "https://example", "events": [{"introduced": "0"}]}]);
    for (entry, affected, not_evaluated) in [
        (entry("Debian:12", "openssl", ever()), 1, 0),
        (entry("Debian", "openssl", ever()), 1, 0),
        // Another release, another package, the name of a binary package, another package system.
        (entry("Debian:11", "openssl", ever()), 0, 0),
        (entry("Debian:12", "openssh", ever()), 0, 0),
        (entry("Debian:12", "libssl3", ever()), 0, 0),
        (entry("Rocky Linux:9", "openssl", ever()), 0, 0),
        (entry("PyPI", "openssl", ever()), 0, 0),
        // It cannot be told.
        (entry("Debian:sid", "openssl", ever()), 0, 1),
        (entry("Ubuntu:22.04:LTS", "openssl", ever()), 0, 1),
        (entry("Nobody knows", "openssl", ever()), 0, 1),
        (entry("Debian:sid", "openssh", ever()), 0, 0),
        (entry("Debian:12", "openssl", json!({"ranges": git})), 0, 1),
        (entry("Debian:12", "openssl", json!({"ranges": git, "versions": ["3.0.9-1"]})), 1, 0),
        (entry("Debian:12", "openssl", json!({"ranges": git, "versions": ["3.0.8-1"]})), 0, 0),
        (entry("Debian:12", "openssl", json!({"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}]})), 0, 1),
        (
            entry(
                "Debian:12",
                "openssl",
                json!({"ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}]}], "versions": ["9"]}),
            ),
            0,
            1,
        ),
        (
            entry(
                "Debian:12",
                "openssl",
                json!({"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}], "versions": ["9"]}),
            ),
            0,
            0,
        ),
        (entry("Debian:12", "openssl", json!({"ranges": []})), 0, 1),
        (entry("Debian:12", "openssl", json!({})), 0, 1),
        (entry("Debian:12", "openssl", json!({"ranges": [{"type": "ECOSYSTEM", "events": []}]})), 0, 1),
        (entry("Debian:12", "openssl", json!({"ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "4"}]}]})), 0, 1),
        (json!({"ranges": git}), 0, 1),
        // Listed versions are compared as text, but for an epoch of 0.
        (entry("Debian:12", "openssl", json!({"versions": ["0:3.0.9-1"]})), 1, 0),
        (entry("Debian:12", "openssl", json!({"versions": ["3.0.9-01"]})), 0, 0),
        (entry("Debian:12", "openssl", json!({"versions": null, "ranges": null})), 0, 1),
    ] {
        let document = json!({"schema_version": "1.7.4", "id": "X-1", "affected": [entry]});
        let findings = found(&document, DEBIAN, &installed);
        assert_eq!((findings.affected.len(), findings.not_evaluated), (affected, not_evaluated), "{document}");
    }
    let language = json!({"id": "X-1", "affected": [entry("PyPI", "openssl", ever())]});
    assert_eq!(found(&language, DEBIAN, &installed).of_languages, 1);
    assert_eq!(found(&json!({"id": "X-1"}), DEBIAN, &installed).not_evaluated, 1);
    let nowhere = Distro { id: "linux".to_owned(), version_id: None };
    let findings = parsed(&openssl(&json!([{"introduced": "0"}]))).affecting(&nowhere, &installed).unwrap();
    assert_eq!((findings.affected.len(), findings.not_evaluated), (0, 1));
}

/// Records as the distributions publish them, shortened.
#[test]
fn records_of_distributions_are_evaluated() {
    let range = |events: Value| json!([{"type": "ECOSYSTEM", "events": events}]);
    let debian = json!({
        "schema_version": "1.9.0", "id": "DEBIAN-CVE-2024-58382", "upstream": ["CVE-2024-58382"],
        "details": "…", "references": [{"type": "ADVISORY", "url": "https://security-tracker.debian.org/tracker/CVE-2024-58382"}],
        "affected": [
            {"package": {"name": "php-league-commonmark", "ecosystem": "Debian:12", "purl": "pkg:deb/debian/php-league-commonmark?arch=source&distro=bookworm"},
             "ranges": range(json!([{"introduced": "0"}])), "versions": ["2.3.9-1", "2.3.9-1+deb12u1"],
             "ecosystem_specific": {"urgency": "not yet assigned"}, "database_specific": {"source": "https://example"}},
            {"package": {"name": "php-league-commonmark", "ecosystem": "Debian:13"}, "ranges": range(json!([{"introduced": "0"}, {"fixed": "2.6.0-1"}]))},
        ],
        "severity": [{"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N"}],
    });
    let commonmark = package(Kind::Deb, "php-league-commonmark", "2.3.9-1+deb12u1");
    assert_eq!(
        shown(&found(&debian, DEBIAN, std::slice::from_ref(&commonmark))).0,
        ["DEBIAN-CVE-2024-58382 php-league-commonmark high -"]
    );
    assert_eq!(
        shown(&found(&debian, ("debian", "13"), &[commonmark])).0,
        ["DEBIAN-CVE-2024-58382 php-league-commonmark high 2.6.0-1"]
    );
    let dsa = json!({"schema_version": "1.7.3", "id": "DSA-5532-1", "upstream": ["CVE-2023-5363"], "summary": "openssl - security update",
        "published": "2023-10-24T00:00:00Z", "modified": "2025-05-26T07:31:28Z",
        "affected": [{"package": {"ecosystem": "Debian:12", "name": "openssl"}, "ranges": range(json!([{"introduced": "0"}, {"fixed": "3.0.11-1~deb12u2"}]))}]});
    // The source's version is in brackets where a binary package was built again.
    let rebuilt = |source: &str| deb("libssl3", "3.0.11-1~deb12u2+b1", "openssl", source);
    assert_eq!(
        shown(&found(&dsa, DEBIAN, &[rebuilt("3.0.11-1~deb12u1")])).0,
        ["DSA-5532-1 libssl3 unknown 3.0.11-1~deb12u2"]
    );
    assert!(found(&dsa, DEBIAN, &[rebuilt("3.0.11-1~deb12u2")]).affected.is_empty());

    let alpine = json!({"schema_version": "1.9.0", "id": "ALPINE-CVE-2026-80255", "upstream": ["CVE-2026-80255"],
        "affected": [{"package": {"name": "curl", "ecosystem": "Alpine:v3.23", "purl": "pkg:apk/alpine/curl?arch=source"},
                      "ranges": range(json!([{"introduced": "8.13.0"}, {"fixed": "8.22.0-r0"}]))}]});
    let libcurl = |version: &str| package(Kind::Apk, "libcurl", version).with_source("curl", version).unwrap();
    let image = ("alpine", "3.23.1");
    for (version, affected) in [("8.12.1-r2", 0), ("8.13.0-r0", 1), ("8.21.0-r10", 1), ("8.22.0-r0", 0)] {
        assert_eq!(found(&alpine, image, &[libcurl(version)]).affected.len(), affected, "{version}");
    }
    assert!(found(&alpine, ("alpine", "3.22.2"), &[libcurl("8.13.0-r0")]).affected.is_empty());

    let rocky = json!({"schema_version": "1.9.0", "id": "RLSA-2026:66203", "summary": "Important: python3.12-lxml security update",
        "upstream": ["CVE-2026-49825"], "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:H/I:L/A:N"}],
        "affected": [{"package": {"ecosystem": "Rocky Linux:9", "name": "python3.12-lxml", "purl": "pkg:rpm/rocky-linux/python3.12-lxml?distro=rocky-linux-9&epoch=0"},
                      "ranges": range(json!([{"introduced": "0"}, {"fixed": "0:4.9.3-2.el9_8.1"}]))}]});
    let lxml = |version: &str| package(Kind::Rpm, "python3.12-lxml", version);
    assert_eq!(
        shown(&found(&rocky, ("rocky", "9.8"), &[lxml("0:4.9.3-2.el9")])).0,
        ["RLSA-2026:66203 python3.12-lxml high 0:4.9.3-2.el9_8.1"]
    );
    assert!(found(&rocky, ("rocky", "9.8"), &[lxml("4.9.3-2.el9_8.1")]).affected.is_empty());

    // No severity but in the summary.
    let alma = json!({"schema_version": "1.9.0", "id": "ALSA-2026:66392", "summary": "Moderate: apr-util security update", "related": ["CVE-2026-34501"],
        "affected": [{"package": {"ecosystem": "AlmaLinux:10", "name": "apr-util"}, "ranges": range(json!([{"introduced": "0"}, {"fixed": "1.6.3-23.el10_2.1"}]))},
                     {"package": {"ecosystem": "AlmaLinux:10", "name": "apr-util-devel"}, "ranges": range(json!([{"introduced": "0"}, {"fixed": "1.6.3-23.el10_2.1"}]))}]});
    assert_eq!(
        shown(&found(&alma, ("almalinux", "10.1"), &[package(Kind::Rpm, "apr-util-devel", "1.6.3-23.el10")])).0,
        ["ALSA-2026:66392 apr-util-devel medium 1.6.3-23.el10_2.1"]
    );

    let redhat = json!({"id": "RHSA-2026:76750", "upstream": ["CVE-2026-19534", "CVE-2026-9496"], "summary": "Important: nodejs:22 security update",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
        "affected": [
            {"package": {"ecosystem": "Red Hat:enterprise_linux:9::appstream", "name": "nodejs", "purl": "pkg:rpm/redhat/nodejs"},
             "ranges": range(json!([{"introduced": "0"}, {"fixed": "1:22.23.2-2.module+el9.8.0+24958+80b2ac6e"}]))},
            {"package": {"ecosystem": "Red Hat:rhel_eus:9.2::appstream", "name": "nodejs"}, "ranges": range(json!([{"introduced": "0"}, {"fixed": "1:22.0.0-1"}]))},
            {"package": {"ecosystem": "Red Hat:openshift:4.12::el9", "name": "nodejs"}, "ranges": range(json!([{"introduced": "0"}]))}]});
    assert_eq!(
        shown(&found(&redhat, ("rhel", "9.8"), &[package(Kind::Rpm, "nodejs", "1:22.9.0-1.el9")])),
        (vec!["RHSA-2026:76750 nodejs high 1:22.23.2-2.module+el9.8.0+24958+80b2ac6e".to_owned()], 1)
    );
}

#[test]
fn what_ubuntu_fixed_for_subscribers_judges_their_builds_alone() {
    let range = |events: Value| json!([{"type": "ECOSYSTEM", "events": events}]);
    let ubuntu = json!({"schema_version": "1.9.0", "id": "UBUNTU-CVE-2025-29769", "upstream": ["CVE-2025-29769"],
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:L/PR:N/UI:R/S:U/C:N/I:N/A:H", "source": "NVD"}, {"type": "Ubuntu", "score": "medium"}],
        "affected": [
            {"package": {"name": "vips", "ecosystem": "Ubuntu:22.04:LTS"}, "ranges": range(json!([{"introduced": "0"}])), "versions": ["8.12.1-1"]},
            {"package": {"name": "vips", "ecosystem": "Ubuntu:Pro:22.04:LTS"}, "ranges": range(json!([{"introduced": "0"}, {"fixed": "8.12.1-1ubuntu0.1~esm1"}]))},
            {"package": {"name": "vips", "ecosystem": "Ubuntu:25.10"}, "ranges": range(json!([{"introduced": "0"}])), "versions": ["8.16.1-1"]}]});
    for (version, affected) in [
        ("8.12.1-1", &["UBUNTU-CVE-2025-29769 libvips42 medium 8.12.1-1ubuntu0.1~esm1"][..]),
        ("8.12.1-1ubuntu0.1~esm1", &[]),
        // Not built for subscribers: unfixed in the free archive, whatever its version.
        ("8.12.1-1ubuntu0.2", &["UBUNTU-CVE-2025-29769 libvips42 medium -"]),
        ("8.12.1-1ubuntu0.1~esm0", &["UBUNTU-CVE-2025-29769 libvips42 medium 8.12.1-1ubuntu0.1~esm1"]),
    ] {
        let installed = [deb("libvips42", version, "vips", version)];
        assert_eq!(shown(&found(&ubuntu, ("ubuntu", "22.04"), &installed)).0, affected, "{version}");
    }
}

#[test]
fn an_rpm_is_judged_by_its_own_name_before_its_sources() {
    let entry = |name: &str, fixed: &str| json!({"package": {"ecosystem": "Rocky Linux:9", "name": name}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}]});
    let constant = package(Kind::Rpm, "perl-constant", "1.33-480.el9").with_source("perl", "5.32.1-480.el9").unwrap();
    let libs = package(Kind::Rpm, "perl-libs", "4:5.32.1-481.el9").with_source("perl", "5.32.1-481.el9").unwrap();
    let both =
        json!({"id": "X-1", "affected": [entry("perl", "4:5.32.1-481.el9"), entry("perl-constant", "0:1.33-480.el9")]});
    assert!(found(&both, ("rocky", "9.4"), std::slice::from_ref(&constant)).affected.is_empty());
    // With the source's name alone, the epoch is that of the package.
    let source = json!({"id": "X-1", "affected": [entry("perl", "4:5.32.1-481.el9")]});
    assert!(found(&source, ("rocky", "9.4"), &[libs]).affected.is_empty());
    assert_eq!(found(&source, ("rocky", "9.4"), &[constant]).affected.len(), 1);
}

#[test]
fn the_highest_severity_that_is_stated_counts() {
    let low = json!({"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:L/I:N/A:N"});
    let critical = json!({"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"});
    for (record, entry, expected) in [
        (json!({}), json!({}), Severity::Unknown),
        (json!({"severity": [low]}), json!({}), Severity::Low),
        (json!({"severity": [low, critical]}), json!({}), Severity::Critical),
        (json!({"severity": [low]}), json!({"severity": [critical]}), Severity::Critical),
        (json!({}), json!({"ecosystem_specific": {"urgency": "high"}}), Severity::High),
        (json!({}), json!({"ecosystem_specific": {"urgency": "not yet assigned"}}), Severity::Unknown),
        (json!({}), json!({"ecosystem_specific": {"urgency": "unimportant"}}), Severity::Low),
        (json!({"database_specific": {"severity": "MODERATE", "x": [1]}}), json!({}), Severity::Medium),
        (
            json!({"database_specific": {"severity": [{"a": 1.5}]}}),
            json!({"database_specific": {"severity": null}}),
            Severity::Unknown,
        ),
        (json!({"severity": [{"type": "Ubuntu", "score": "negligible"}]}), json!({}), Severity::Low),
        (json!({"severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}]}), json!({}), Severity::Unknown),
        (json!({"severity": [{"type": "CVSS_V3", "score": "high"}]}), json!({}), Severity::Unknown),
        (json!({"summary": "Critical: a vulnerability"}), json!({}), Severity::Unknown),
        (json!({"id": "RHSA-1", "summary": "Critical: a vulnerability"}), json!({}), Severity::Critical),
    ] {
        let mut document = openssl(&json!([{"introduced": "0"}]));
        document["affected"][0].as_object_mut().unwrap().extend(entry.as_object().unwrap().clone());
        document.as_object_mut().unwrap().extend(record.as_object().unwrap().clone());
        let findings = found(&document, DEBIAN, &[package(Kind::Deb, "openssl", "1")]);
        assert_eq!(findings.affected[0].severity, expected, "{document}");
    }
}

#[test]
fn a_document_is_a_record_or_a_list_of_records_and_nothing_else() {
    let record = r#"{"id":"X-1","affected":[{"package":{"ecosystem":"Debian:12","name":"a"},"versions":["1"]}]}"#;
    let with = |member: &str| record.replacen('{', &format!("{{{member},"), 1);
    let event = |event: &str| {
        format!(
            r#"{{"id":"X-1","affected":[{{"package":{{"ecosystem":"Debian:12","name":"a"}},"ranges":[{{"type":"ECOSYSTEM","events":[{event}]}}]}}]}}"#
        )
    };
    for (document, records) in [
        (record.to_owned(), Some(1)),
        (format!("[{record},{record}]"), Some(2)),
        (format!(r#"{{"vulns":[{record}]}}"#), Some(1)),
        (format!(r#"{{"vulns":[{record}],"next_page_token":""}}"#), Some(1)),
        ("{}".to_owned(), Some(0)),
        ("[]".to_owned(), Some(0)),
        (r#"{"vulns":[]}"#.to_owned(), Some(0)),
        (with(r#""schema_version":"1.7.4""#), Some(1)),
        (with(r#""withdrawn":"2026-01-02T03:04:05Z""#), Some(0)),
        (with(r#""withdrawn":"0001-01-01T00:00:00Z""#), Some(1)),
        (with(r#""withdrawn":null"#), Some(1)),
        (event(r#"{"introduced":"0"}"#), Some(1)),
        // Not all of it, or not this.
        (format!(r#"{{"vulns":[{record}],"next_page_token":"x"}}"#), None),
        (format!(r#"{{"vuln":[{record}]}}"#), None),
        (format!(r#"{{"vulns":{record}}}"#), None),
        (r#"{"vulns":[],"id":"X-1"}"#.to_owned(), None),
        (format!(r#"{{"results":[{{"vulns":[{record}]}}]}}"#), None),
        (format!("[[{record}]]"), None),
        (format!("{record}{record}"), None),
        (record.replacen("X-1", "", 1), None),
        (record.replacen(r#""id":"X-1","#, "", 1), None),
        (with(r#""id":"X-2""#), None),
        (with(r#""x":{"a":1,"a":1}"#), None),
        (with(r#""schema_version":"2.0.0""#), None),
        (with(r#""schema_version":"""#), None),
        (with(r#""withdrawn":"yesterday""#), None),
        (event(r#"{"introduced":"0","fixed":"1"}"#), None),
        (event(r#"{"appeared":"0"}"#), None),
        (event("{}"), None),
        (event(r#"{"introduced":0}"#), None),
        (r#""text""#.to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(read(document.as_bytes()).ok().map(|all| all.len()), records, "{document}");
    }
    let nested = format!(r#"{{"id":"X-1","database_specific":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    assert!(read(nested.as_bytes()).unwrap_err().to_string().contains("nested deeper"));
    let hostile = read(b"{\"id\":\"\\u001b[2J\",\"schema_version\":\"2\"}").unwrap_err().to_string();
    assert!(!hostile.contains('\u{1b}'), "{hostile}");
}

#[test]
fn more_findings_than_any_image_has_are_refused() {
    let record = openssl(&json!([{"introduced": "0"}]));
    let advisories = parsed(&Value::Array(vec![record; 500]));
    let installed =
        |count: usize| -> Vec<Package> { (0..count).map(|at| deb(&format!("p{at}"), "1", "openssl", "1")).collect() };
    assert_eq!(advisories.affecting(&distro(DEBIAN), &installed(400)).unwrap().affected.len(), FINDINGS_MAX);
    assert!(advisories.affecting(&distro(DEBIAN), &installed(401)).is_err());
}
