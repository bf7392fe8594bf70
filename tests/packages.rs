//! What is installed, against signed lists: for each image that is trusted the nearest one that is not.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    clippy::type_complexity,
    reason = "a test states what it expects"
)]

mod support;

use plimsoll::image::archive::Archive;
use plimsoll::limits::ArchiveLimits;
use plimsoll::packages::check::{Mode, PackageChecks};
use plimsoll::packages::format::ListFormat;
use plimsoll::packages::ignore::Glob;
use plimsoll::packages::inspect::{Inspected, Subject};
use plimsoll::packages::list::PackageList;
use support::image::*;
use support::packages::*;

const A: &str = "a 1 amd64";
const B: &str = "b 2 all";

fn auto() -> PackageChecks {
    PackageChecks::default()
}

fn files() -> PackageChecks {
    auto().with_files()
}

type Layers = Vec<Vec<Item>>;

/// One row: layers, and what comes of them where `A` and `B` are listed.
type Row = (&'static str, fn() -> Layers, &'static str);

const ROWS: &[Row] = &[
    ("as listed", || vec![vec![database(&[A, B])]], "trusted"),
    ("a later layer writes the database again", || vec![vec![database(&[A])], vec![database(&[A, B])]], "trusted"),
    (
        "a later layer downgrades",
        || vec![vec![database(&[A, B])], vec![database(&["a 0 amd64", B])]],
        "untrusted: package-version a",
    ),
    (
        "a later layer adds",
        || vec![vec![database(&[A, B])], vec![database(&[A, B, "c 1 all"])]],
        "untrusted: package-extra c",
    ),
    ("a later layer removes", || vec![vec![database(&[A, B])], vec![database(&[A])]], "untrusted: package-missing b"),
    ("another architecture", || vec![vec![database(&["a 1 i386", B])]], "untrusted: package-arch a"),
    ("one package twice", || vec![vec![database(&[A, A, B])]], "untrusted: package-duplicate a, package-extra a"),
    // The database is hidden.
    ("no database", || vec![vec![file("x", b"")]], "untrusted: package-missing a, package-missing b"),
    (
        "a whiteout of the database",
        || vec![vec![database(&[A, B])], vec![file("var/lib/dpkg/.wh.status", b"")]],
        "untrusted: package-database-hidden deb, package-missing a, package-missing b",
    ),
    (
        "a whiteout of its folder",
        || vec![vec![database(&[A, B])], vec![file("var/lib/.wh.dpkg", b"")]],
        "untrusted: package-database-hidden deb, package-missing a, package-missing b",
    ),
    (
        "its folder is opaque",
        || vec![vec![database(&[A, B])], vec![file("var/lib/dpkg/.wh..wh..opq", b"")]],
        "untrusted: package-database-hidden deb, package-missing a, package-missing b",
    ),
    (
        "a whiteout of another file",
        || vec![vec![database(&[A, B])], vec![file("var/lib/dpkg/.wh.status-old", b"")]],
        "trusted",
    ),
    (
        "a file that is only called like the opaque mark",
        || vec![vec![database(&["a 0 amd64"]), database(&[A, B])], vec![file("var/lib/dpkg/x.wh..wh..opq", b"")]],
        "trusted",
    ),
    (
        "the lower database is told, a name like the opaque mark hides nothing",
        || vec![vec![database(&["evil 1 all", A, B])], vec![file("var/lib/dpkg/x.wh..wh..opq", b"")]],
        "untrusted: package-extra evil",
    ),
    (
        "a folder in its place",
        || vec![vec![database(&[A, B])], vec![dir("var/lib/dpkg/status/")]],
        "undecided: package-database-unreadable var/lib/dpkg",
    ),
    (
        "its folder becomes a file",
        || vec![vec![database(&[A, B])], vec![file("var/lib/dpkg", b"")]],
        "untrusted: package-database-hidden deb, package-missing a, package-missing b",
    ),
    (
        "the root is opaque",
        || vec![vec![database(&["c 1 all"])], vec![file(".wh..wh..opq", b""), database(&[A, B])]],
        "untrusted: layer-ambiguous -",
    ),
    ("the root of the base is opaque", || vec![vec![file(".wh..wh..opq", b""), database(&[A, B])]], "trusted"),
    (
        "an opaque folder that is replaced by a file, and that by a folder",
        || {
            let file_and_folder = [file("lib/apk", b""), dir("lib/apk/")];
            let opaque = vec![dir("lib/apk/"), file("lib/apk/.wh..wh..opq", b"")];
            vec![
                vec![database(&[A, B]), file("lib/apk/db/installed", &apk(&["c 1 x86_64"]))],
                opaque.into_iter().chain(file_and_folder).collect(),
            ]
        },
        "untrusted: layer-ambiguous -",
    ),
    // The database is somewhere else.
    (
        "behind a link within the image",
        || vec![vec![link("var/lib/dpkg/status", "../../../opt/db"), file("opt/db", &status(&[A, B]))]],
        "trusted",
    ),
    (
        "behind an absolute link",
        || vec![vec![link("var/lib/dpkg/status", "/opt/db"), file("opt/db", &status(&[A, B]))]],
        "trusted",
    ),
    (
        "behind a link that climbs above the root",
        || vec![vec![link("var/lib/dpkg/status", "../../../../../opt/db"), file("opt/db", &status(&[A, B]))]],
        "trusted",
    ),
    (
        "behind a link, with one package more",
        || vec![vec![link("var/lib/dpkg/status", "/opt/db"), file("opt/db", &status(&[A, B, "c 1 all"]))]],
        "untrusted: package-extra c",
    ),
    (
        "behind a hard link to a file that was replaced",
        || {
            vec![vec![
                file("opt/db", &status(&[A, B])),
                hard_link("var/lib/dpkg/status", "opt/db"),
                file("opt/db", &status(&["c 1 all"])),
            ]]
        },
        "trusted",
    ),
    (
        "behind a link to such a hard link",
        || {
            vec![vec![
                file("opt/db", &status(&["c 1 all"])),
                hard_link("opt/real", "opt/db"),
                file("opt/db", &status(&[A, B])),
                link("var/lib/dpkg/status", "/opt/real"),
            ]]
        },
        "untrusted: package-missing a, package-missing b, package-extra c",
    ),
    (
        "its folder is a link",
        || vec![vec![link("var/lib/dpkg", "/opt/dpkg"), file("opt/dpkg/status", &status(&[A, B]))]],
        "trusted",
    ),
    (
        "a link that leads nowhere",
        || vec![vec![link("var/lib/dpkg/status", "/opt/db")]],
        "undecided: package-database-unreadable var/lib/dpkg",
    ),
    (
        "links in a circle",
        || vec![vec![link("var/lib/dpkg/status", "status")]],
        "undecided: package-database-unreadable var/lib/dpkg",
    ),
    (
        "a device",
        || vec![vec![device("var/lib/dpkg/status", b'4')]],
        "undecided: package-database-unreadable var/lib/dpkg",
    ),
    ("an absolute name", || vec![vec![file("/var/lib/dpkg/status", &status(&[A, B]))]], "trusted"),
    ("an odd spelling", || vec![vec![file("./var//lib/./dpkg/status", &status(&[A, B]))]], "trusted"),
    (
        "a path that climbs",
        || vec![vec![database(&[A, B]), file("var/x/../lib/dpkg/status", b"")]],
        "untrusted: layer-tar -",
    ),
    ("one name twice in a layer: the last counts", || vec![vec![database(&["c 1 all"]), database(&[A, B])]], "trusted"),
    (
        "one name twice in a layer, the other way round",
        || vec![vec![database(&[A, B]), database(&["c 1 all"])]],
        "untrusted: package-missing a, package-missing b, package-extra c",
    ),
    (
        "put through a link of a layer below",
        || {
            vec![
                vec![database(&[A, B]), link("dpkg", "var/lib/dpkg")],
                vec![file("dpkg/status", &status(&["c 1 all"]))],
            ]
        },
        "untrusted: layer-ambiguous -",
    ),
    (
        "a folder hidden and brought again",
        || vec![vec![database(&[A, B])], vec![file("var/lib/.wh.dpkg", b""), file("var/lib/dpkg/x", b"")]],
        "untrusted: layer-ambiguous -",
    ),
    // Other parts of it, and other databases.
    (
        "status.d",
        || {
            vec![vec![
                file("var/lib/dpkg/status.d/a", &deb822(&[A])),
                file("var/lib/dpkg/status.d/b", &deb822(&[B])),
                file("var/lib/dpkg/status.d/a.md5sums", b"0  x\n"),
            ]]
        },
        "trusted",
    ),
    (
        "status.d beside status",
        || vec![vec![database(&[A]), file("var/lib/dpkg/status.d/b", &deb822(&[B]))]],
        "trusted",
    ),
    (
        "status.d repeats status",
        || vec![vec![database(&[A, B]), file("var/lib/dpkg/status.d/b", &deb822(&[B]))]],
        "untrusted: package-duplicate b, package-extra b",
    ),
    (
        "status.d adds",
        || vec![vec![database(&[A, B]), file("var/lib/dpkg/status.d/c", &deb822(&["c 1 all"]))]],
        "untrusted: package-extra c",
    ),
    (
        "an update that was not merged",
        || vec![vec![database(&[A, B]), file("var/lib/dpkg/updates/0001", &status(&["c 1 all"]))]],
        "untrusted: package-extra c",
    ),
    (
        "an update that replaces",
        || vec![vec![database(&["a 0 amd64", B]), file("var/lib/dpkg/updates/0001", &status(&[A]))]],
        "trusted",
    ),
    (
        "a package that was removed",
        || {
            vec![vec![file(
                STATUS,
                &[
                    status(&[A, B]),
                    b"Package: c\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n".to_vec(),
                ]
                .concat(),
            )]]
        },
        "trusted",
    ),
    (
        "a package that is to be removed",
        || {
            vec![vec![file(
                STATUS,
                &[
                    status(&[A, B]),
                    b"Package: c\nStatus: deinstall ok installed\nVersion: 1\nArchitecture: all\n".to_vec(),
                ]
                .concat(),
            )]]
        },
        "untrusted: package-extra c",
    ),
    (
        "a package on hold",
        || {
            vec![vec![file(
                STATUS,
                &[status(&[A]), b"Package: b\nStatus: hold ok installed\nVersion: 2\nArchitecture: all".to_vec()]
                    .concat(),
            )]]
        },
        "trusted",
    ),
    (
        "a damaged database",
        || vec![vec![file(STATUS, b"Package a\n")]],
        "undecided: package-database-unreadable var/lib/dpkg",
    ),
    (
        "an apk database beside",
        || vec![vec![database(&[A, B]), file("lib/apk/db/installed", &apk(&["c 1 x86_64"]))]],
        "untrusted: package-extra c",
    ),
    ("an empty apk database beside", || vec![vec![database(&[A, B]), file("lib/apk/db/installed", b"")]], "trusted"),
    (
        "a second apk database",
        || vec![vec![database(&[A, B]), file("lib/apk/db/installed", b""), file("usr/lib/apk/db/installed", b"")]],
        "untrusted: package-database-second usr/lib/apk/db/installed",
    ),
    (
        "one apk database by two names",
        || vec![vec![database(&[A, B]), file("usr/lib/apk/db/installed", b""), link("lib", "usr/lib")]],
        "trusted",
    ),
    (
        "an apk database among the files of dpkg that dpkg does not read",
        || {
            let file = file("var/lib/dpkg/status.d/a.md5sums", &apk(&["c 1 x86_64"]));
            vec![vec![database(&[A, B]), file, link("lib/apk/db/installed", "/var/lib/dpkg/status.d/a.md5sums")]]
        },
        "untrusted: package-extra c",
    ),
    (
        "an rpm database among the files of dpkg",
        || {
            let rpm = link("var/lib/rpm/rpmdb.sqlite", "../dpkg/updates/notes");
            vec![vec![database(&[A, B]), file("var/lib/dpkg/updates/notes", b"x"), rpm]]
        },
        "undecided: package-database-unreadable var/lib/dpkg/updates/notes",
    ),
    (
        "an apk database that is the one of dpkg",
        || vec![vec![database(&[A, B]), link("lib/apk/db/installed", "/var/lib/dpkg/status")]],
        "undecided: package-database-unreadable var/lib/dpkg/status",
    ),
    (
        "a package that a later stanza removes",
        || {
            let gone = b"Package: a\nStatus: purge ok not-installed\nArchitecture: amd64\n\n".to_vec();
            vec![vec![file(STATUS, &[status(&[A, B]), gone].concat())]]
        },
        "undecided: package-database-unreadable var/lib/dpkg",
    ),
    (
        "a package of another architecture that is removed",
        || {
            let gone = b"Package: a\nStatus: purge ok not-installed\nArchitecture: i386\n\n".to_vec();
            vec![vec![file(STATUS, &[status(&[A, B]), gone].concat())]]
        },
        "trusted",
    ),
    (
        "a package that an update removes, in capitals",
        || {
            let gone = b"Package: A\nStatus: purge ok not-installed\nArchitecture: amd64\n\n";
            vec![vec![database(&[A, B]), file("var/lib/dpkg/updates/0001", gone)]]
        },
        "untrusted: package-missing a",
    ),
    (
        "packages of one file each behind a link",
        || vec![[behind_links(2), vec![file("opt/1", &deb822(&[A])), file("opt/2", &deb822(&[B]))]].concat()],
        "trusted",
    ),
    (
        "more of them than a layer is read again for",
        || {
            let files = (1..=65).map(|n| file(&format!("opt/{n}"), b"")).collect();
            vec![[behind_links(65), files].concat()]
        },
        "undecided: package-database-unreadable var/lib/dpkg",
    ),
    (
        "a damaged apk database beside",
        || vec![vec![database(&[A, B]), file("lib/apk/db/installed", b"nonsense\n")]],
        "undecided: package-database-unreadable lib/apk/db/installed",
    ),
    (
        "a damaged one, and a wrong one",
        || vec![vec![database(&[A]), file("lib/apk/db/installed", b"nonsense\n")]],
        "untrusted: package-database-unreadable lib/apk/db/installed, package-missing b",
    ),
    (
        "an rpm database that is none",
        || vec![vec![database(&[A, B]), file("var/lib/rpm/rpmdb.sqlite", b"x")]],
        "undecided: package-database-unreadable var/lib/rpm/rpmdb.sqlite",
    ),
    (
        "an old rpm database",
        || vec![vec![database(&[A, B]), file("var/lib/rpm/Packages", b"x")]],
        "undecided: package-database-unreadable var/lib/rpm/Packages",
    ),
    (
        "a database where nobody looks",
        || vec![vec![database(&[A, B]), file("opt/root/var/lib/dpkg/status", b"")]],
        "untrusted: package-database-elsewhere opt/root/var/lib/dpkg/status",
    ),
    ("a file that is only called so", || vec![vec![database(&[A, B]), file("opt/status", b"")]], "trusted"),
];

#[test]
fn what_is_installed_is_what_is_listed() {
    for (name, layers, expected) in ROWS {
        let verdict = verdict(&layers(), &[(DEB822, deb822(&[A, B]))], auto());
        let got = words(&verdict);
        // Of a layer, the subject is a path and more.
        let got = match verdict.findings().first() {
            Some(finding) if finding.code().starts_with("layer-") => {
                format!("{}: {} -", verdict.word(), finding.code())
            }
            _ => got,
        };
        assert_eq!(got, *expected, "{name}\n{verdict}");
    }
}

/// Nothing is signed that would not verify, and all that would is signed.
#[test]
fn a_publisher_is_told_what_a_verifier_would_find() {
    let limits = ArchiveLimits::default();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("publisher.tar");
    let list = PackageList::read(ListFormat::Deb822, &deb822(&[A, B])).unwrap();
    for (name, layers, expected) in ROWS {
        let layers: Vec<Vec<u8>> = layers().iter().map(|items| tar(items)).collect();
        std::fs::write(&path, tar(&classic(&Image::new(&layers, Stored::Plain), &[NAME]))).unwrap();
        let archive = Archive::open(&path, &limits).unwrap();
        let inspected = Inspected::read(&archive, &Subject::default(), &limits, &|_, _| {});
        let is_fine = inspected.is_ok_and(|inspected| {
            inspected.differences(&list).is_empty() && inspected.database_faults(&[&list]).is_empty()
        });
        assert_eq!(is_fine, *expected == "trusted", "{name}");
    }
}

fn behind_links(count: usize) -> Vec<Item> {
    (1..=count).map(|n| link(&format!("var/lib/dpkg/status.d/{n}"), &format!("/opt/{n}"))).collect()
}

fn hard_link(name: &str, target: &str) -> Item {
    relinked(link(name, target), b'1')
}

fn device(name: &str, kind: u8) -> Item {
    // Major 1, minor 3: the null device, if it is one of characters.
    let item = relinked(file(name, b""), kind);
    patched(patched(item, 329, b"0000001\0"), 337, b"0000003\0")
}

fn relinked(item: Item, kind: u8) -> Item {
    patched(item, 156, &[kind])
}

#[test]
fn a_list_is_looked_for_as_the_mode_says() {
    let (good, bad) = (vec![vec![database(&[A])]], vec![vec![database(&[B])]]);
    let list = || vec![(DEB822, deb822(&[A]))];
    let off = || auto().with_mode(Mode::Off);
    let require = || auto().with_mode(Mode::Require);
    for (name, layers, signed, checks, expected) in [
        ("auto, a list that holds", &good, list(), auto(), "trusted"),
        ("auto, a list that does not", &bad, list(), auto(), "untrusted: package-missing a, package-extra b"),
        ("auto, no list", &bad, vec![], auto(), "trusted"),
        ("require, a list that holds", &good, list(), require(), "trusted"),
        ("require, a list that does not", &bad, list(), require(), "untrusted: package-missing a, package-extra b"),
        ("require, no list", &good, vec![], require(), "untrusted: package-list-missing -"),
        ("off, a list that does not hold", &bad, list(), off(), "trusted"),
        ("files, no list", &good, vec![], files(), "untrusted: package-list-missing -"),
        (
            "a list that cannot be read",
            &good,
            vec![(DEB822, b"nonsense".to_vec())],
            auto(),
            "undecided: package-list-unreadable registry.example/team/app/1.4/packages.deb822",
        ),
        (
            "a list that is not text for its name",
            &good,
            vec![(SPDX, deb822(&[A]))],
            auto(),
            "undecided: package-list-unreadable registry.example/team/app/1.4/packages.spdx.json",
        ),
        (
            "a list of a platform, beside no index",
            &bad,
            vec![("packages.linux-amd64.deb822", deb822(&[A]))],
            auto(),
            "trusted",
        ),
        ("two lists that hold", &good, vec![(DEB822, deb822(&[A])), (SPDX, spdx(&[A], &[]))], auto(), "trusted"),
        (
            "two lists, of which one does not",
            &good,
            vec![(DEB822, deb822(&[A])), (SPDX, spdx(&[B], &[]))],
            auto(),
            "untrusted: package-extra a, package-missing b",
        ),
        (
            "an empty list, and no database",
            &vec![vec![file("x", b"")]],
            vec![(DEB822, Vec::new())],
            require(),
            "trusted",
        ),
        ("an empty list, and a database", &good, vec![(DEB822, Vec::new())], auto(), "untrusted: package-extra a"),
    ] {
        let verdict = verdict(layers, &signed, checks);
        assert_eq!(words(&verdict), expected, "{name}\n{verdict}");
    }
}

#[test]
fn every_file_is_what_is_listed_or_a_finding() {
    let app: (&str, &[u8]) = ("usr/bin/app", b"app");
    let listed = || vec![app, ("etc/passwd", &b"root"[..])];
    let layer = || vec![file("usr/bin/app", b"app"), file("etc/passwd", b"root")];
    let with = |items: Vec<Item>| [layer(), items].concat();
    for (name, layers, expected) in [
        ("as listed", vec![layer()], "trusted"),
        ("a file more", vec![with(vec![file("usr/bin/evil", b"x")])], "untrusted: file-unowned usr/bin/evil"),
        (
            "a file more by a later layer",
            vec![layer(), vec![file("usr/bin/evil", b"x")]],
            "untrusted: file-unowned usr/bin/evil",
        ),
        (
            "a file replaced by a later layer",
            vec![layer(), vec![file("usr/bin/app", b"ap2")]],
            "untrusted: file-modified usr/bin/app",
        ),
        (
            "a file hidden by a later layer",
            vec![layer(), vec![file("usr/bin/.wh.app", b"")]],
            "untrusted: file-missing usr/bin/app",
        ),
        (
            "a link in its place, to the same content",
            vec![layer(), vec![file("opt/app", b"app"), link("usr/bin/app", "/opt/app")]],
            "untrusted: file-modified usr/bin/app, file-unowned opt/app",
        ),
        ("a folder in its place", vec![layer(), vec![dir("usr/bin/app/")]], "untrusted: file-modified usr/bin/app"),
        (
            "its folder is a link",
            vec![vec![file("opt/app", b"app"), link("usr/bin", "../opt"), file("etc/passwd", b"root")]],
            "trusted",
        ),
        (
            "a hard link to it",
            vec![with(vec![hard_link("usr/bin/other", "usr/bin/app")])],
            "untrusted: file-unowned usr/bin/other",
        ),
        ("links and folders", vec![with(vec![link("usr/bin/sh", "app"), dir("srv/")])], "trusted"),
        ("a device in /dev", vec![with(vec![device("dev/null", b'3')])], "trusted"),
        ("a device elsewhere", vec![with(vec![device("usr/null", b'3')])], "untrusted: file-unowned usr/null"),
        ("what the system writes", vec![with(vec![file("etc/resolv.conf", b"x"), file("var/log/x", b"")])], "trusted"),
        (
            "a program where the system writes",
            vec![with(vec![mode(file("var/log/x", b""), 0o755)])],
            "untrusted: file-unowned var/log/x",
        ),
        (
            "a script where the system writes",
            vec![with(vec![file("var/cache/x", b"#!/bin/sh")])],
            "untrusted: file-unowned var/cache/x",
        ),
        (
            "an ELF file where the system writes",
            vec![with(vec![file("var/cache/x", b"\x7fELF")])],
            "untrusted: file-unowned var/cache/x",
        ),
        (
            "a file where the system writes, linked to from elsewhere",
            vec![with(vec![file("var/cache/x.py", b"x"), link("usr/lib/python3/x.py", "/var/cache/x.py")])],
            "untrusted: file-unowned var/cache/x.py",
        ),
        (
            "linked to from where the system writes too",
            vec![with(vec![file("var/cache/x.py", b"x"), link("var/log/x.py", "/var/cache/x.py")])],
            "trusted",
        ),
        (
            "its folder is linked to",
            vec![with(vec![file("var/cache/x/y.py", b"x"), link("usr/lib/python3/x", "../../../var/cache/x")])],
            "untrusted: file-unowned var/cache/x/y.py",
        ),
        (
            "a folder above is linked to",
            vec![with(vec![file("var/cache/x/y.py", b"x"), link("usr/lib/python3/x", "/var")])],
            "untrusted: file-unowned var/cache/x/y.py",
        ),
        (
            "another folder is linked to",
            vec![with(vec![
                file("var/cache/x/y.py", b"x"),
                link("usr/lib/python3/x", "/var/cache/z"),
                dir("var/cache/z/"),
            ])],
            "trusted",
        ),
        (
            "a link to a link",
            vec![with(vec![
                file("etc/hosts", b"x"),
                link("opt/x", "/etc/hosts"),
                link("etc/profile.d/x.sh", "/opt/x"),
            ])],
            "untrusted: file-unowned etc/hosts",
        ),
        (
            "both places of rpm, one a link to the other, and merged libraries",
            vec![with(vec![
                file("usr/lib/sysimage/rpm/x", b"x"),
                link("var/lib/rpm", "../../usr/lib/sysimage/rpm"),
                link("lib", "usr/lib"),
            ])],
            "trusted",
        ),
        (
            "a hard link that makes it executable",
            vec![with(vec![file("var/log/x", b"x"), mode(hard_link("var/log/y", "var/log/x"), 0o755)])],
            "untrusted: file-unowned var/log/x, file-unowned var/log/y",
        ),
        ("a hard link", vec![with(vec![file("var/log/x", b"x"), hard_link("var/log/y", "var/log/x")])], "trusted"),
        (
            "a maintainer script",
            vec![with(vec![mode(file("var/lib/dpkg/info/a.postinst", b"#!/bin/sh"), 0o755)])],
            "trusted",
        ),
        (
            "a setuid file",
            vec![with(vec![mode(file("var/lib/dpkg/info/a.postinst", b"#!/bin/sh"), 0o4755)])],
            "untrusted: file-unowned var/lib/dpkg/info/a.postinst",
        ),
        (
            "compiled Python",
            vec![with(vec![file("usr/lib/python3/x.pyc", b"x")])],
            "untrusted: file-unowned usr/lib/python3/x.pyc",
        ),
    ] {
        let verdict = verdict(&layers, &[(SPDX, spdx(&[], &listed()))], files());
        assert_eq!(words(&verdict), expected, "{name}\n{verdict}");
    }
}

fn mode(item: Item, mode: u32) -> Item {
    patched(item, 100, format!("{mode:07o}\0").as_bytes())
}

#[test]
fn a_listed_digest_is_stronger_than_any_ignoring() {
    let layers = vec![vec![file("var/log/x", b"new"), file("opt/y", b"z"), file("opt/var/lib/dpkg/status", b"")]];
    let glob = |text| Glob::parse(text).unwrap();
    let list = |files: &[(&str, &[u8])]| vec![(SPDX, spdx(&[], files))];
    let ignoring = || files().with_ignored(glob("opt/**")).with_ignored(glob("var/**"));
    for (name, signed, checks, expected) in [
        ("ignored", list(&[("opt/var/lib/dpkg/status", b"")]), ignoring(), "trusted"),
        (
            "listed with other content",
            list(&[("var/log/x", b"old"), ("opt/var/lib/dpkg/status", b"")]),
            ignoring(),
            "untrusted: file-modified var/log/x",
        ),
        (
            "an ignored database is still one",
            list(&[("var/log/x", b"new")]),
            ignoring(),
            "untrusted: package-database-elsewhere opt/var/lib/dpkg/status",
        ),
        ("and is no finding where its content is listed", list(&[("opt/var/lib/dpkg/status", b"")]), auto(), "trusted"),
        (
            "but is where other content is",
            list(&[("opt/var/lib/dpkg/status", b"x")]),
            auto(),
            "untrusted: package-database-elsewhere opt/var/lib/dpkg/status",
        ),
        (
            "a list without files",
            list(&[]),
            ignoring(),
            "untrusted: package-database-elsewhere opt/var/lib/dpkg/status, file-list-missing registry.example/team/app/1.4/packages.spdx.json",
        ),
    ] {
        let verdict = verdict(&layers, &signed, checks);
        assert_eq!(words(&verdict), expected, "{name}\n{verdict}");
    }
}

#[test]
fn a_program_and_its_md5_changed_together_are_found_by_the_signed_digest_alone() {
    let info = |md5: &str| file("var/lib/dpkg/info/a.md5sums", format!("{md5}  usr/bin/app\n").as_bytes());
    let good = || vec![database(&[A]), file("usr/bin/app", b"app"), info("d2a57dc1d883fd21fb9951699df71cc7")];
    let evil = || vec![file("usr/bin/app", b"evil"), info("4034a346ccee15292d823416f7510a2f")];
    let listed = || vec![(SPDX, spdx(&[A], &[("usr/bin/app", b"app")]))];
    assert_eq!(words(&verdict(&[good()], &listed(), files())), "trusted");
    assert_eq!(
        words(&verdict(&[good(), evil()], &listed(), auto())),
        "trusted",
        "names and versions say nothing of it"
    );
    let found = verdict(&[good(), evil()], &listed(), files());
    assert_eq!(words(&found), "untrusted: file-modified usr/bin/app");
}

#[test]
fn layers_that_loaders_read_differently_are_refused_only_where_packages_are_checked() {
    let list = || vec![(DEB822, deb822(&[A]))];
    let good = || vec![database(&[A])];
    let with = |items: Vec<Item>| vec![[items, good()].concat()];
    let pax = |key: &str| vec![pax(&[(key, "y")]), file("x", b"")];
    for (name, layers, fine) in [
        ("nothing odd", with(vec![]), true),
        ("a FIFO", with(vec![relinked(file("x", b""), b'6')]), true),
        ("a device", with(vec![device("dev/null", b'3')]), true),
        ("overlayfs's own whiteout", with(vec![relinked(file("var/lib/dpkg", b""), b'3')]), false),
        ("an opaque folder by attribute", with(pax("SCHILY.xattr.trusted.overlay.opaque")), false),
        ("the same for users", with(pax("SCHILY.xattr.user.overlay.opaque")), false),
        ("another attribute", with(pax("SCHILY.xattr.user.x")), true),
        ("a label of SELinux", with(pax("RHT.security.selinux")), true),
        ("an unknown record", with(pax("VENDOR.x")), false),
        ("the same for fuse-overlayfs", with(pax("SCHILY.xattr.user.fuseoverlayfs.opaque")), false),
        ("another mode, as container storage keeps it", with(pax("SCHILY.xattr.user.containers.override_stat")), false),
        ("a name that only starts so", with(pax("SCHILY.xattr.user.containersx")), true),
        // Loaders read no more of a global header than its name: as that of a whiteout, or of a file to replace.
        ("a comment for all", with(vec![global("x")]), false),
        ("a whiteout that is a comment for all", with(vec![global("etc/.wh.passwd")]), false),
        (
            "a comment for all between a path and its file",
            with(vec![pax_path("etc/passwd"), global("x"), file("x", b"")]),
            false,
        ),
        ("a path and its file", with(vec![pax_path("etc/passwd"), file("x", b"")]), true),
        ("a path for all", with(vec![special(b'g', "x", pax_record("path", "y").as_bytes())]), false),
        ("a sparse file", with(vec![relinked(file("x", b""), b'S')]), false),
        ("a contiguous file", with(vec![relinked(file("x", b""), b'7')]), false),
        ("an unknown type", with(vec![relinked(file("x", b""), b'Z')]), false),
        ("a link with data", with(vec![relinked(file("x", b"data"), b'2')]), false),
        ("a hard link to nothing", with(vec![hard_link("x", "y")]), false),
        ("a name that is not UTF-8", with(vec![patched(file("xy", b""), 0, b"\xff")]), true),
    ] {
        let auto = verdict(&layers, &list(), auto());
        let code = auto.findings().first().map(|finding| finding.code());
        assert_eq!(auto.is_trusted(), fine, "{name}: {auto}");
        assert!(fine || code.unwrap().starts_with("layer-"), "{name}: {auto}");
        let off = verdict(&layers, &list(), self::auto().with_mode(Mode::Off));
        assert!(off.is_trusted(), "{name}: {off}");
    }
}

fn global(name: &str) -> Item {
    special(b'g', name, pax_record("comment", "y").as_bytes())
}

fn pax_path(path: &str) -> Item {
    pax(&[("path", path)])
}

/// A GNU header. Go takes what stands where POSIX has the front of the name for that, if one of the times is no number.
#[test]
fn a_gnu_header_whose_times_are_numbers_of_any_size_gives_one_name() {
    let gnu = |change: &[u8]| {
        let item = patched(database(&[A]), 257, b"ustar  \0");
        let item = patched(item, 265, &[0; 247]);
        vec![vec![patched(patched(item, 345, b"00000000001\0"), 357, change)]]
    };
    for (name, change, fine) in [
        ("octal digits", &b"00000000001\0"[..], true),
        ("none", &[0; 12], true),
        ("base-256", b"\x80\0\0\0\0\0\0\0\0\0\0\x01", true),
        ("the largest", b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", true),
        ("one too large", b"\x80\0\0\0\x80\0\0\0\0\0\0\0", false),
        ("much too large", b"\x80\x01\0\0\0\0\0\0\0\0\0\0", false),
        ("below zero", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", true),
        ("too far below zero", b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", false),
    ] {
        let verdict = verdict(&gnu(change), &[(DEB822, deb822(&[A]))], auto());
        assert_eq!(verdict.is_trusted(), fine, "{name}: {verdict}");
        assert!(fine || words(&verdict).contains("layer-tar"), "{name}: {verdict}");
    }
}

#[test]
fn an_image_that_hides_which_distribution_it_is_is_not_judged_by_another() {
    let release = || file("usr/lib/os-release", b"ID=debian\nVERSION_ID=12\n");
    let undecided = "undecided: advisories-undecided registry.example/team/app/1.4/advisories.osv.json";
    for (name, items, expected) in [
        ("a link to the second place", vec![release(), link("etc/os-release", "../usr/lib/os-release")], "trusted"),
        ("the second place alone", vec![release()], "trusted"),
        ("neither", vec![file("x", b"")], "trusted"),
        ("a link that leads nowhere", vec![release(), link("etc/os-release", "/nowhere")], undecided),
        ("a folder", vec![release(), dir("etc/os-release/")], undecided),
        ("no os-release", vec![release(), file("etc/os-release", b"ID=a b\n")], undecided),
    ] {
        let verdict = verdict(&[items], &[("advisories.osv.json", b"[]".to_vec())], auto());
        assert_eq!(words(&verdict), expected, "{name}\n{verdict}");
    }
}

#[test]
fn a_layer_that_is_no_whole_tar_is_refused() {
    let whole = tar(&[database(&[A])]);
    let signed = [(DEB822, deb822(&[A]))];
    let end = whole.len();
    for (name, layer, fine) in [
        ("whole", whole.clone(), true),
        ("without its end marker", whole[..end - 1024].to_vec(), true),
        ("with half of it", whole[..end - 512].to_vec(), true),
        ("with more zeros", [whole.clone(), vec![0; 4096]].concat(), true),
        ("a byte after it", [whole.clone(), vec![1]].concat(), false),
        ("another archive after it", [whole.clone(), tar(&[database(&["c 1 all"])])].concat(), false),
        ("cut in its data", whole[..600].to_vec(), false),
        ("cut in its header", whole[..300].to_vec(), false),
        ("no tar", b"nonsense".to_vec(), false),
    ] {
        let verdict = verdict_of(&Image::new(&[layer], Stored::Gzip), &signed, auto(), ArchiveLimits::default());
        assert_eq!(verdict.is_trusted(), fine, "{name}: {verdict}");
        assert!(fine || words(&verdict).contains("layer-tar"), "{name}: {verdict}");
    }
}

#[test]
fn every_limit_on_what_is_listed_is_kept_to() {
    let layers = vec![vec![database(&[A]), file("a/b", b""), link("c", "d")]];
    let size = status(&[A]).len() as u64;
    // Five entries with the folders that the archive writer makes none of: three; paths of 19, 3 and 1 bytes, and a target of 1.
    for (limit, enough) in [("files", 3), ("file-paths", 24), ("database", size), ("databases", size)] {
        for (value, fine) in [(enough, true), (enough - 1, false)] {
            let mut limits = ArchiveLimits::default();
            limits.set(limit, value).unwrap();
            let verdict = verdict_within(&layers, &[(DEB822, deb822(&[A]))], auto(), limits);
            assert_eq!(verdict.is_trusted(), fine, "{limit}={value}: {verdict}");
            assert!(fine || verdict.to_string().contains(&format!("(limit {limit})")), "{limit}: {verdict}");
        }
    }
}

#[test]
fn each_form_of_archive_is_listed_alike() {
    let layers = [tar(&[database(&[A])]), tar(&[file("usr/bin/app", b"app")])];
    let list = [(SPDX, spdx(&[A], &[("usr/bin/app", b"app"), (STATUS, &status(&[A]))]))];
    let wrong = [(SPDX, spdx(&[B], &[("usr/bin/app", b"ap2")]))];
    for stored in [Stored::Plain, Stored::Gzip, Stored::Zstd] {
        let image = Image::new(&layers, stored);
        let good = verdict_of(&image, &list, files(), ArchiveLimits::default());
        assert_eq!(words(&good), "trusted", "{stored:?}: {good}");
        let bad = verdict_of(&image, &wrong, files(), ArchiveLimits::default());
        assert_eq!(
            words(&bad),
            "untrusted: package-extra a, package-missing b, file-modified usr/bin/app",
            "{stored:?}"
        );
    }
}
