//! What is in real images, against signed lists: genuine images are quiet with every list, and each way to tamper with one is named.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::archive::DockerArchive;
use crate::compose::{Item, Layer, append, image};
use crate::debian::{Debian, FULL_NAME, NAME};
use crate::disk::Disk;
use crate::plimsoll::{Verdict, Verify};
use crate::publish::{pinned, publisher, publisher_command};
use crate::repository::Repository;
use crate::tools::{Need, Scratch, daemon_alone, docker, have, output, text, with_docker};

const DEBIAN: &[Need] = &[Need::Docker, Need::Skopeo, Need::Debootstrap];
const SPDX: &str = "packages.spdx.json";
const CYCLONEDX: &str = "packages.cdx.json";
const DEB822: &str = "packages.deb822";
/// All that can be asked of packages and files.
pub(crate) const STRICT: &[&str] = &["--packages", "require", "--files"];
pub(crate) const BY_PACKAGES: &[&str] = &["--packages", "require"];

/// A publisher who signs with the command, and verifiers who pin the first root.
pub(crate) struct Desk {
    pub(crate) scratch: Scratch,
    pub(crate) site: PathBuf,
    keys: String,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let scratch = Scratch::new();
        let (site, keys) = (scratch.join("site"), scratch.join("keys").display().to_string());
        publisher(&site, "init", &["--keys", &keys]);
        pinned(&site);
        Self { scratch, site, keys }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    fn publish(&self, command: &str, arguments: &[&str]) {
        publisher(&self.site, command, &[arguments, &["--keys", &self.keys]].concat());
    }

    /// Signs an image, with what is made or given of lists.
    pub(crate) fn sign(&self, archive: &Path, name: &str, lists: &[&str]) {
        self.publish("add", &[&[archive.to_str().unwrap(), "--image", name], lists].concat());
    }

    /// Signs a file beside an image without a look at either: what whoever holds the key can do.
    pub(crate) fn sign_file(&self, file: &Path, name: &str) {
        self.publish("add-file", &[file.to_str().unwrap(), "--image", name]);
    }

    /// What the publisher's command says to a list that does not hold for the image.
    pub(crate) fn is_not_signed(&self, archive: &Path, name: &str, list: &Path) -> String {
        let arguments = ["--image", name, "--packages", list.to_str().unwrap(), "--keys", &self.keys];
        let all = [&[archive.to_str().unwrap()][..], &arguments].concat();
        let refused = publisher_command(&self.site, "add", &all).output().unwrap();
        let text = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{text}");
        text
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository { dir: self.site.clone() }
    }

    pub(crate) fn verify(&self, archive: &Path, name: &str, options: &[&str]) -> Verdict {
        Verify::new(archive, &self.repository(), self.path("store")).image(name).options(options).run()
    }

    /// The list that the command makes of an image.
    pub(crate) fn list(&self, archive: &Path, file: &str) -> PathBuf {
        let to = self.path(file);
        let format = if file == CYCLONEDX { "cyclonedx" } else { "spdx" };
        output(packages(archive).args(["--format", format, "--force", "--output"]).arg(&to));
        to
    }
}

fn packages(archive: &Path) -> Command {
    let mut plimsoll = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    plimsoll.arg("packages").arg(archive).stdin(Stdio::null());
    plimsoll
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Image and list of a table's row; what is refused there is found in it alone.
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) layers: Vec<Layer>,
    /// What is found where packages alone are compared; nothing if the image is trusted.
    pub(crate) packages: &'a [&'a str],
    /// What is found of files as well.
    pub(crate) files: &'a [&'a str],
}

/// Signs each row's image, whose packages and files nobody looks at there, beside the genuine list, and verifies both ways.
pub(crate) fn tampered(desk: &Desk, list: &Path, rows: &[Row<'_>]) {
    for Row { name, layers, packages, files } in rows {
        let full_name = format!("registry.example/tampered:{name}");
        let archive = image(&desk.path(&format!("tampered-{name}")), &full_name, layers);
        desk.sign(&archive, &full_name, &[]);
        desk.sign_file(list, &full_name);
        let verify = |options: &[&str], expected: &[&str]| {
            let verdict = desk.verify(&archive, &full_name, options);
            if expected.is_empty() {
                verdict.assert_trusted();
            } else {
                let verdict = verdict.assert_refused();
                assert_eq!(verdict.finds(), expected, "{name}\n{verdict}");
            }
        };
        verify(BY_PACKAGES, packages);
        verify(STRICT, &[*packages, files].concat());
        // The publisher is told before it is signed.
        if let Some(first) = packages.iter().find(|finding| !finding.starts_with("package-database")) {
            let said = desk.is_not_signed(&archive, &full_name, list);
            let subject = first.split_once(' ').unwrap().1;
            assert!(said.contains(subject), "{name}: {said}");
        }
    }
}

/// How many regular files an image has when its layers are stacked: by the tar library and the rules of whiteouts alone. Layers must not replace folders.
fn regular_files(layers: &[Layer]) -> usize {
    let mut files: BTreeSet<Vec<u8>> = BTreeSet::new();
    for layer in layers {
        let mut tar = tar::Archive::new(File::open(&layer.path).unwrap());
        for entry in tar.entries().unwrap() {
            let entry = entry.unwrap();
            let name = entry.path_bytes().into_owned();
            let name = name.strip_prefix(b"./").unwrap_or(&name).to_vec();
            let at = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash.strict_add(1));
            if let Some(hidden) = name[at..].strip_prefix(b".wh.") {
                let hidden = [&name[..at], hidden].concat();
                let below = [hidden.as_slice(), b"/"].concat();
                files.retain(|file| *file != hidden && !file.starts_with(&below));
            } else if matches!(entry.header().entry_type(), tar::EntryType::Regular | tar::EntryType::Link) {
                files.insert(name);
            } else {
                files.remove(&name);
            }
        }
    }
    files.len()
}

/// The content of a file of a layer.
pub(crate) fn read(layer: &Layer, path: &str) -> Vec<u8> {
    output(Command::new("tar").arg("-xOf").arg(&layer.path).arg(path))
}

const APK: &str = "usr/lib/apk/db/installed";
const STATUS: &str = "var/lib/dpkg/status";

/// The layers of the Debian image, and the status of its package database: the third layer is the last that writes it.
fn debian_layers(desk: &Desk) -> (Vec<Layer>, String) {
    let layers = Layer::all(&Debian::get().archive, &desk.path(""));
    assert_eq!(layers.len(), 3);
    let status = String::from_utf8(read(&layers[1], STATUS)).unwrap();
    (layers, status)
}

/// What dpkg-query prints of a status.
fn dpkg_query(desk: &Desk, status: &str, format: &str) -> String {
    let folder = desk.path("admin");
    fs::create_dir_all(folder.join("info")).unwrap();
    fs::write(folder.join("status"), status).unwrap();
    fs::write(folder.join("available"), "").unwrap();
    text("dpkg-query", ["--admindir", folder.to_str().unwrap(), "--show", "--showformat", format])
}

#[test]
fn packages_of_a_genuine_debian_are_quiet_with_every_list() {
    if !have(&[DEBIAN, &[Need::Dpkg]].concat()) {
        return;
    }
    let desk = Desk::new();
    let archive = &Debian::get().archive;
    let (layers, status) = debian_layers(&desk);
    let installed = dpkg_query(&desk, &status, "${db:Status-Status}\n").lines().filter(|s| *s == "installed").count();
    assert!(installed > 50 && !status.contains("Package: tzdata\n"), "{installed}");
    let quiet = |desk: &Desk, options: &[&str]| {
        let verdict = desk.verify(archive, NAME, options).assert_trusted();
        assert_eq!(verdict.finds(), [""; 0]);
        let said = verdict.packages().clone();
        assert_eq!(said["checked"], true, "{verdict}");
        let expected = json!([{"kind": "deb", "path": STATUS.strip_suffix("/status").unwrap(), "packages": installed}]);
        assert_eq!(said["databases"], expected, "{verdict}");
        said
    };
    let files = json!({"same": regular_files(&layers), "ignored": {}});
    assert!(files["same"].as_u64().unwrap() > 4000, "{files}");

    // Made where it is signed.
    desk.sign(archive, NAME, &["--list", "spdx"]);
    assert_eq!(quiet(&desk, BY_PACKAGES)["files"], Value::Null);
    let said = quiet(&desk, STRICT);
    assert_eq!(said["files"], files);
    assert_eq!(said["lists"][0]["target"], "docker.io/library/debian-app/12/packages.spdx.json");
    let listed = [&said["lists"][0]["packages"], &said["lists"][0]["files"], &said["lists"][0]["not_compared"]];
    assert_eq!(listed, [&json!(installed), &files["same"], &json!({})]);

    // The same bytes whenever it is made, and where it is signed.
    let named = |file: &str| fs::read(desk.list(archive, file)).unwrap();
    let (spdx, cyclonedx) = (named(SPDX), named(CYCLONEDX));
    assert!(spdx == named(SPDX) && cyclonedx == named(CYCLONEDX));
    let streamed = packages(archive).args(["--image", NAME]).output().unwrap();
    assert!(streamed.stdout == spdx, "{}", stderr(&streamed));
    let said = stderr(&streamed);
    let expected = format!("listed: {installed} packages of deb in /var/lib/dpkg\nlisted: {} files\n", files["same"]);
    assert_eq!(said, expected);
    let made = fs::read_dir(desk.site.join("targets/docker.io/library/debian-app/12")).unwrap();
    assert!(made.map(|file| fs::read(file.unwrap().path()).unwrap()).any(|bytes| bytes == spdx));

    let other = Desk::new();
    other.sign(archive, NAME, &["--list", "cyclonedx"]);
    assert_eq!(quiet(&other, STRICT)["files"], files);

    // Stanzas name no files.
    let stanzas = "Package: ${Package}\nVersion: ${Version}\nArchitecture: ${Architecture}\n\n";
    let deb822 = desk.path(DEB822);
    fs::write(&deb822, dpkg_query(&desk, &status, stanzas)).unwrap();
    let other = Desk::new();
    other.sign(archive, NAME, &["--packages", deb822.to_str().unwrap()]);
    quiet(&other, BY_PACKAGES);
    let verdict = other.verify(archive, NAME, STRICT).assert_refused();
    assert_eq!(verdict.finds()[0], "file-list-missing docker.io/library/debian-app/12/packages.deb822");

    // All of them at once, and what dpkg itself has written.
    fs::write(&deb822, &status).unwrap();
    let other = Desk::new();
    let [spdx, cyclonedx] = [SPDX, CYCLONEDX].map(|file| desk.path(file).display().to_string());
    let all = ["--packages", &spdx, "--packages", &cyclonedx, "--packages", deb822.to_str().unwrap()];
    other.sign(archive, NAME, &all);
    assert_eq!(quiet(&other, BY_PACKAGES)["lists"].as_array().unwrap().len(), 3);
    let said = quiet(&other, STRICT);
    assert_eq!(said["files"], files, "two lists that say the same");
}

/// The status with a field of a package changed.
fn with_field(status: &str, package: &str, field: &str, value: &str) -> String {
    let (before, rest) = status.split_once(&format!("Package: {package}\n")).unwrap();
    let (stanza, after) = rest.split_once("\n\n").unwrap();
    let lines = stanza.lines().map(|line| match line.strip_prefix(&format!("{field}: ")) {
        Some(_) => format!("{field}: {value}"),
        None => line.to_owned(),
    });
    let stanza = lines.collect::<Vec<_>>().join("\n");
    format!("{before}Package: {package}\n{stanza}\n\n{after}")
}

#[test]
fn packages_of_a_tampered_debian_are_named() {
    if !have(&[DEBIAN, &[Need::Dpkg]].concat()) {
        return;
    }
    let desk = Desk::new();
    let (layers, status) = debian_layers(&desk);
    let genuine = image(&desk.path("genuine"), "registry.example/debian:genuine", &layers);
    let list = desk.list(&genuine, SPDX);
    desk.sign(&genuine, "registry.example/debian:genuine", &["--packages", list.to_str().unwrap()]);
    desk.verify(&genuine, "registry.example/debian:genuine", STRICT).assert_trusted();

    let on_top = |name: &str, items: &[Item<'_>]| {
        let layer = Layer::write(desk.path(&format!("{name}.tar")), items);
        [layers.as_slice(), &[layer]].concat()
    };
    let with_status = |name: &str, status: &str| on_top(name, &[Item::File(STATUS, status.as_bytes())]);
    let names = text("tar", ["-tf", layers[0].path.to_str().unwrap()]);
    let library = names.lines().find(|name| name.contains("/libz.so.1.")).unwrap();
    let library = library.trim_start_matches("./");
    let modified = format!("file-modified {library}");
    let evil = "Package: evil\nStatus: install ok installed\nArchitecture: all\nVersion: 6.6\n";
    let older = String::from_utf8(read(&layers[0], STATUS)).unwrap();
    assert!(older.contains("Package: tzdata\n"), "the status before the second layer removed it");
    let changed_status: &[&str] = &["file-modified var/lib/dpkg/status"];
    tampered(
        &desk,
        &list,
        &[
            Row {
                name: "downgraded",
                layers: with_status("downgraded", &with_field(&status, "zlib1g", "Version", "1:1.2.3-1")),
                packages: &["package-version zlib1g"],
                files: changed_status,
            },
            Row {
                name: "another-architecture",
                layers: with_status("another-architecture", &with_field(&status, "zlib1g", "Architecture", "i386")),
                packages: &["package-arch zlib1g"],
                files: changed_status,
            },
            Row { name: "the-same-status", layers: with_status("the-same-status", &status), packages: &[], files: &[] },
            Row {
                name: "package-added",
                layers: with_status("package-added", &format!("{status}\n{evil}")),
                packages: &["package-extra evil"],
                files: changed_status,
            },
            Row {
                name: "package-back",
                layers: with_status("package-back", &older),
                packages: &["package-extra tzdata"],
                files: changed_status,
            },
            Row {
                name: "package-in-updates",
                layers: on_top("package-in-updates", &[Item::File("var/lib/dpkg/updates/0000", evil.as_bytes())]),
                packages: &["package-extra evil"],
                files: &[],
            },
            Row {
                name: "package-beside-status",
                layers: on_top("package-beside-status", &[Item::File("var/lib/dpkg/status.d/evil", evil.as_bytes())]),
                packages: &["package-extra evil"],
                files: &[],
            },
            Row {
                name: "another-package-manager",
                layers: on_top("another-package-manager", &[Item::File(APK, b"P:evil\nV:1-r0\nA:x86_64\n")]),
                packages: &["package-extra evil"],
                files: &[],
            },
            Row {
                name: "binary-added",
                layers: on_top("binary-added", &[Item::Mode("usr/local/bin/evil", b"\x7fELF", 0o755)]),
                packages: &[],
                files: &["file-unowned usr/local/bin/evil"],
            },
            Row {
                name: "library-replaced",
                layers: on_top("library-replaced", &[Item::File(library, b"\x7fELF evil")]),
                packages: &[],
                files: &[&modified],
            },
            Row {
                name: "library-a-link",
                layers: on_top("library-a-link", &[Item::Link(library, "/usr/local/lib/evil")]),
                packages: &[],
                files: &[&modified],
            },
            Row {
                name: "data-in-cache",
                layers: on_top("data-in-cache", &[Item::Mode("var/cache/data", b"data", 0o644)]),
                packages: &[],
                files: &[],
            },
            Row {
                name: "setuid-in-cache",
                layers: on_top("setuid-in-cache", &[Item::Mode("var/cache/data", b"data", 0o4644)]),
                packages: &[],
                files: &["file-unowned var/cache/data"],
            },
            Row {
                name: "program-in-cache",
                layers: on_top("program-in-cache", &[Item::Mode("var/cache/data", b"#!/bin/sh\n", 0o644)]),
                packages: &[],
                files: &["file-unowned var/cache/data"],
            },
        ],
    );

    // `lib` is a link, through which loaders write differently.
    let name = "registry.example/tampered:through-a-link";
    let layers = on_top("through-a-link", &[Item::File("lib/apk/db/installed", b"P:evil\nV:1-r0\nA:x86_64\n")]);
    let archive = image(&desk.path("through-a-link"), name, &layers);
    desk.sign(&archive, name, &[]);
    desk.sign_file(&list, name);
    desk.verify(&archive, name, BY_PACKAGES).assert_refused_for("layer-ambiguous").assert_names("lib/apk/db/installed");

    // The database is hidden: each package is named as missing.
    for (name, hides) in [
        ("status-hidden", vec![Item::File("var/lib/dpkg/.wh.status", b"")]),
        ("folder-hidden", vec![Item::File("var/lib/.wh.dpkg", b"")]),
        ("folder-opaque", vec![Item::Folder("var/lib/dpkg/"), Item::File("var/lib/dpkg/.wh..wh..opq", b"")]),
    ] {
        let full_name = format!("registry.example/tampered:{name}");
        let archive = image(&desk.path(name), &full_name, &on_top(name, &hides));
        desk.sign(&archive, &full_name, &[]);
        desk.sign_file(&list, &full_name);
        for options in [BY_PACKAGES, STRICT] {
            let finds = desk.verify(&archive, &full_name, options).assert_refused().finds();
            assert_eq!(finds[0], "package-database-hidden deb", "{name}: {finds:?}");
            let missing = finds.iter().filter(|finding| finding.starts_with("package-missing "));
            assert_eq!(missing.count(), status.matches("Package: ").count(), "{name}: {finds:?}");
            let file = "file-missing var/lib/dpkg/status".to_owned();
            assert_eq!(finds.contains(&file), options == STRICT, "{name}: {finds:?}");
        }
    }
}

/// An apk database and files as apk-tools leaves them.
fn alpine(desk: &Desk) -> (Vec<Layer>, String) {
    let record = |name: &str, version: &str, files: &str| {
        format!(
            "C:Q1pSfT8CVJ7OhnvJ5nkSyFGnyi1Wc=\nP:{name}\nV:{version}\nA:x86_64\nS:1\nI:1\nT:text\nU:https://example.org\nL:MIT\no:{name}\nm:A <a@example.org>\nt:1700000000\nc:0123456789abcdef\n{files}\n"
        )
    };
    let busybox = "F:bin\nR:busybox\na:0:0:755\nZ:Q12c5BCXRmVJ4yqZQ1pSfT8CVJ7Oh=\nR:sh\na:0:0:777\nZ:Q1pcfTfDNEbNKQc2s1tia7da05M8Q=\nF:etc\nR:securetty\nZ:Q1mB95Hq2NUTZ599RDiSsj9w5FrOU=\n";
    let database = [
        record("alpine-baselayout", "3.6.5-r0", "F:etc\nR:passwd\nZ:Q1TchuuLUfur0izvfZQZxgN/LJhB8=\n"),
        record("busybox", "1.36.1-r29", busybox),
        record("musl", "1.2.5-r0", "F:lib\nR:ld-musl-x86_64.so.1\na:0:0:755\n"),
    ]
    .concat();
    let layer = Layer::write(
        desk.path("alpine.tar"),
        &[
            Item::Folder("bin/"),
            Item::Mode("bin/busybox", b"\x7fELF busybox", 0o755),
            Item::Link("bin/sh", "/bin/busybox"),
            Item::File("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n"),
            Item::File("etc/securetty", b"console\n"),
            Item::File("etc/os-release", b"ID=alpine\nVERSION_ID=3.20.3\n"),
            Item::Mode("lib/ld-musl-x86_64.so.1", b"\x7fELF musl", 0o755),
            Item::File("lib/apk/db/installed", database.as_bytes()),
            Item::File("lib/apk/db/triggers", b""),
            Item::File("etc/apk/world", b"alpine-baselayout\nbusybox\n"),
        ],
    );
    (vec![layer], database)
}

#[test]
fn packages_of_an_alpine_are_quiet_and_tampered_named() {
    let desk = Desk::new();
    let (layers, database) = alpine(&desk);
    let name = "registry.example/alpine:genuine";
    let genuine = image(&desk.path("genuine"), name, &layers);
    let list = desk.list(&genuine, SPDX);
    desk.sign(&genuine, name, &["--packages", list.to_str().unwrap(), "--list", "cyclonedx"]);
    let verdict = desk.verify(&genuine, name, STRICT).assert_trusted();
    assert_eq!(
        verdict.packages()["databases"],
        json!([{"kind": "apk", "path": "lib/apk/db/installed", "packages": 3}])
    );
    assert_eq!(verdict.packages()["files"], json!({"same": 8, "ignored": {}}));

    let on_top = |name: &str, path: &str, content: &str| {
        let items = [Item::File(path, content.as_bytes())];
        [layers.as_slice(), &[Layer::write(desk.path(&format!("{name}.tar")), &items)]].concat()
    };
    let installed = "lib/apk/db/installed";
    let changed: &[&str] = &["file-modified lib/apk/db/installed"];
    let evil = format!("{database}P:evil\nV:1-r0\nA:x86_64\n");
    let older = database.replace("1.36.1-r29", "1.36.1-r5");
    tampered(
        &desk,
        &list,
        &[
            Row {
                name: "downgraded",
                layers: on_top("downgraded", installed, &older),
                packages: &["package-version busybox"],
                files: changed,
            },
            Row {
                name: "package-added",
                layers: on_top("package-added", installed, &evil),
                packages: &["package-extra evil"],
                files: changed,
            },
            Row {
                name: "second-place",
                layers: on_top("second-place", "usr/lib/apk/db/installed", &database),
                packages: &["package-database-second usr/lib/apk/db/installed"],
                files: &[],
            },
            Row {
                name: "checksums-changed-too",
                layers: on_top("checksums-changed-too", "bin/busybox", "\u{7f}ELF evil"),
                packages: &[],
                files: &["file-modified bin/busybox"],
            },
        ],
    );
}

#[test]
fn packages_decide_what_is_loaded_and_exported() {
    if !have(DEBIAN) {
        return;
    }
    let debian = Debian::get();
    let desk = Desk::new();
    desk.sign(&debian.archive, NAME, &["--list", "spdx"]);
    let (mut layers, _) = debian_layers(&desk);
    layers.push(Layer::write(desk.path("evil.tar"), &[Item::Mode("usr/bin/evil", b"\x7fELF", 0o755)]));
    let evil_name = "registry.example/debian:evil";
    let evil = image(&desk.path("evil"), evil_name, &layers);
    desk.sign(&evil, evil_name, &[]);
    desk.sign_file(&desk.list(&debian.archive, SPDX), evil_name);
    let run = |command: &str, archive: &Path, name: &str, more: &[&str]| {
        let mut plimsoll = with_docker(env!("CARGO_BIN_EXE_plimsoll"));
        plimsoll.arg(command).arg(archive).args(["--image", name]).args(STRICT).args(["--format", "json"]).args(more);
        plimsoll.arg("--repository").arg(&desk.site).arg("--store").arg(desk.path("store"));
        let output = plimsoll.arg("--root").arg(desk.repository().pinned_root()).output().unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(&output)));
        (output.status.code(), json)
    };
    let refused = |(exit, json): (Option<i32>, Value)| {
        assert_eq!((exit, &json["verdict"]), (Some(1), &json!("untrusted")), "{json:#}");
        let found = [&json["findings"][0]["code"], &json["findings"][0]["subject"], &json["loaded"], &json["exported"]];
        assert_eq!(found, [&json!("file-unowned"), &json!("usr/bin/evil"), &Value::Null, &Value::Null], "{json:#}");
    };
    let _daemon = daemon_alone();
    assert_eq!(docker(["images", "--all", "--quiet"]), "");
    refused(run("load", &evil, evil_name, &[]));
    assert_eq!(docker(["images", "--all", "--quiet"]), "");
    let (exit, json) = run("load", &debian.archive, NAME, &[]);
    assert_eq!(exit, Some(0), "{json:#}");
    assert_eq!(json["loaded"]["names"], json!([FULL_NAME]));
    assert_eq!(json["packages"]["checked"], true);
    let id = docker(["inspect", "--format", "{{.Id}}", NAME]);
    assert_eq!(id.trim(), json["config"]["digest"]);
    docker(["rmi", "--force", NAME]);
    assert_eq!(docker(["images", "--all", "--quiet"]), "");

    let place = desk.path("exported.tar");
    let to = place.to_str().unwrap();
    refused(run("export", &evil, evil_name, &["-o", to]));
    assert!(!place.exists());
    assert_eq!(run("export", &debian.archive, NAME, &["-o", to]).0, Some(0));
    assert_eq!(DockerArchive::read(&place).layers.len(), 3);
    // What was exported is the same to the list.
    desk.verify(&place, NAME, STRICT).assert_trusted();
}

#[test]
fn packages_are_carried_across_the_gap_whoever_signs_them() {
    let desk = Desk::new();
    let (layers, _) = alpine(&desk);
    let name = "registry.example/team/alpine:1";
    let archive = image(&desk.path("alpine"), name, &layers);
    // One role for the image, another for its list.
    for (role, paths) in [("builder", "manifest.json"), ("scanner", "packages.*")] {
        let (key, paths) = (desk.path(&format!("keys/{role}.pem")), format!("registry.example/team/*/*/{paths}"));
        let key = key.to_str().unwrap();
        output(Command::new(env!("CARGO_BIN_EXE_plimsoll")).args(["key", "generate", key]));
        desk.publish("delegate", &[role, "--paths", &paths, "--role-key", key]);
    }
    desk.sign(&archive, name, &["--role", "builder"]);
    let list = desk.list(&archive, SPDX);
    desk.publish("add-file", &[list.to_str().unwrap(), "--image", name, "--role", "scanner"]);
    desk.verify(&archive, name, STRICT).assert_trusted();

    let root = desk.repository().pinned_root();
    let (stick, local) = (desk.path("stick"), desk.path("local"));
    let tar = desk.path("alpine-image.tar");
    output(Command::new("tar").arg("-C").arg(&archive).arg("-cf").arg(&tar).args([
        "oci-layout",
        "index.json",
        "blobs",
    ]));
    let bundle = |arguments: &[&Path], more: &[&str]| {
        let mut plimsoll = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        plimsoll.arg("bundle").args(arguments).args(more).arg("--root").arg(&root);
        output(plimsoll.arg("--store").arg(desk.path("other-store")));
    };
    let create = [Path::new("create"), Path::new("--repository"), &desk.site, Path::new("-o"), &stick];
    bundle(&create, &["--image", name, "--archive", tar.to_str().unwrap()]);
    bundle(&[Path::new("verify"), &stick], &[]);
    bundle(&[Path::new("import"), &stick, Path::new("--into"), &local], &[]);
    for place in [&stick, &local] {
        let repository = Repository { dir: place.clone() };
        let verify = |options: &[&str]| {
            let verify = Verify::new(&tar, &repository, desk.path("third-store")).root(root.clone());
            verify.image(name).options(options).run()
        };
        let verdict = verify(STRICT).assert_trusted();
        assert_eq!(verdict.packages()["files"]["same"], 8, "{}", place.display());
        let list = output(Command::new("find").arg(place.join("targets")).args(["-name", "*packages.spdx.json"]));
        fs::remove_file(String::from_utf8(list).unwrap().trim()).unwrap();
        verify(BY_PACKAGES).assert_undecided("repository-incomplete");
    }
}

#[test]
fn packages_with_advisories_are_told_and_refused_on_demand() {
    if !have(&[DEBIAN, &[Need::Dpkg]].concat()) {
        return;
    }
    let desk = Desk::new();
    let archive = &Debian::get().archive;
    let (_, status) = debian_layers(&desk);
    let installed = dpkg_query(&desk, &status, "${Package} ${Version}\n");
    let installed = installed.lines().find_map(|line| line.strip_prefix("zlib1g ")).unwrap();
    let release = text("sh", ["-c", ". /etc/os-release && echo $VERSION_ID"]);
    desk.sign(archive, NAME, &["--list", "spdx"]);
    desk.verify(archive, NAME, &["--fail-on", "high"]).assert_refused_for("advisories-missing");

    // By the name of the source; one that is fixed in what is installed, one that is not, and one of another release.
    let advisory = |id: &str, release: &str, fixed: &str| {
        json!({
            "schema_version": "1.6.0", "id": id, "modified": "2026-01-01T00:00:00Z", "upstream": ["CVE-2026-0001"],
            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
            "affected": [{
                "package": {"ecosystem": format!("Debian:{release}"), "name": "zlib"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": fixed}]}],
            }],
        })
    };
    let osv = json!({"vulns": [
        advisory("DSA-1-1", release.trim(), installed),
        advisory("DSA-2-1", release.trim(), &format!("{installed}+really")),
        advisory("DSA-3-1", "1", "9:9"),
    ]});
    let file = desk.path("advisories.osv.json");
    fs::write(&file, osv.to_string()).unwrap();
    desk.sign_file(&file, NAME);
    let verdict = desk.verify(archive, NAME, STRICT).assert_trusted();
    let affected = &verdict.packages()["advisories"]["affected"];
    let expected = json!([{
        "advisory": "DSA-2-1", "package": "zlib1g", "version": installed, "severity": "critical",
        "fixed": format!("{installed}+really"),
    }]);
    assert_eq!(affected, &expected, "{verdict}");
    let verdict = desk.verify(archive, NAME, &["--fail-on", "high"]).assert_refused();
    assert_eq!(verdict.finds(), ["package-affected zlib1g"]);

    let vex = json!({
        "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex/1", "author": "team",
        "timestamp": "2026-01-02T00:00:00Z", "version": 1,
        "statements": [{
            "vulnerability": {"name": "CVE-2026-0001"}, "products": [{"@id": "pkg:deb/debian/zlib1g"}],
            "status": "not_affected", "justification": "vulnerable_code_not_in_execute_path",
        }],
    });
    let file = desk.path("advisories.openvex.json");
    fs::write(&file, vex.to_string()).unwrap();
    desk.sign_file(&file, NAME);
    let verdict = desk.verify(archive, NAME, &["--fail-on", "high"]).assert_trusted();
    let advisories = &verdict.packages()["advisories"];
    assert_eq!(advisories["affected"], json!([]));
    assert_eq!(advisories["silenced"][0]["advisory"], "DSA-2-1");
    assert_eq!(advisories["silenced"][0]["by"][0]["justification"], "vulnerable_code_not_in_execute_path");
}

/// A layer that ends in the middle of a file is one in which loaders could see different things.
#[test]
fn packages_of_a_layer_that_is_cut_are_not_listed() {
    let desk = Desk::new();
    let path = desk.path("cut.tar");
    let layer = Layer::write(path.clone(), &[Item::File("a", &[7; 4096])]);
    let name = "registry.example/cut:1";
    let whole = image(&desk.path("whole"), name, &[layer]);
    output(packages(&whole).arg("--output").arg(desk.path("whole.spdx.json")));
    // The folder of the whole one holds a link to the file, so the cut one is another file.
    let bytes = fs::read(&path).unwrap();
    fs::write(desk.path("shorter.tar"), &bytes[..2048]).unwrap();
    let cut = image(&desk.path("cut"), name, &[Layer::of(desk.path("shorter.tar"))]);
    let to = desk.path("cut.spdx.json");
    let refused = packages(&cut).arg("--output").arg(&to).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "{}", stderr(&refused));
    assert!(stderr(&refused).contains("[layer-tar]") && !to.exists(), "{}", stderr(&refused));
    desk.sign(&cut, name, &[]);
    desk.sign_file(&desk.list(&whole, SPDX), name);
    desk.verify(&cut, name, BY_PACKAGES).assert_refused_for("layer-tar");
    desk.verify(&cut, name, &["--packages", "off"]).assert_trusted();
}

#[test]
fn packages_of_an_image_of_many_files_are_quiet() {
    let desk = Desk::new();
    let path = desk.path("many.tar");
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    for number in 0..100_000 {
        let name = format!("srv/{}/{number}", number % 100);
        append(&mut tar, name.as_bytes(), tar::EntryType::Regular, name.as_bytes(), 0o644, None);
    }
    tar.finish().unwrap();
    drop(tar);
    let name = "registry.example/many:1";
    let archive = image(&desk.path("many"), name, &[Layer::of(path)]);
    desk.sign(&archive, name, &["--list", "spdx"]);
    let verdict = desk.verify(&archive, name, STRICT).assert_trusted();
    assert_eq!(verdict.packages()["files"], json!({"same": 100_000, "ignored": {}}));
}

#[test]
fn packages_cannot_list_a_name_that_is_no_text_and_say_so() {
    let desk = Desk::new();
    let path = desk.path("name.tar");
    let mut tar = tar::Builder::new(File::create(&path).unwrap());
    append(&mut tar, b"srv/caf\xe9", tar::EntryType::Regular, b"x", 0o644, None);
    append(&mut tar, b"srv/tea", tar::EntryType::Regular, b"x", 0o644, None);
    tar.finish().unwrap();
    drop(tar);
    let name = "registry.example/name:1";
    let archive = image(&desk.path("name"), name, &[Layer::of(path)]);
    let listed = packages(&archive).output().unwrap();
    assert_eq!(listed.status.code(), Some(0));
    let warning =
        "warning: /srv/caf\u{fffd}: its name is not UTF-8, so no list can name it, and --files will refuse the image\n";
    let said = stderr(&listed);
    assert_eq!(said, format!("listed: no packages, for there is no package database\nlisted: 1 files\n{warning}"));
    desk.sign(&archive, name, &["--list", "spdx"]);
    desk.verify(&archive, name, BY_PACKAGES).assert_trusted();
    let verdict = desk.verify(&archive, name, STRICT).assert_refused();
    assert_eq!(verdict.finds(), ["file-unowned srv/caf\u{fffd}"]);
    desk.verify(&archive, name, &[STRICT, &["--ignore", "srv/caf?"]].concat()).assert_trusted();
}

#[test]
fn packages_on_a_full_or_read_only_disk_leave_nothing_behind() {
    if !have(&[Need::Root]) {
        return;
    }
    let desk = Desk::new();
    let (layers, _) = alpine(&desk);
    let archive = image(&desk.path("alpine"), "registry.example/alpine:1", &layers);
    let disk = Disk::mount(desk.path("disk"), "4k");
    let place = disk.0.join(SPDX);
    let run = || {
        let output = packages(&archive).arg("--output").arg(&place).output().unwrap();
        (output.status.code(), stderr(&output))
    };
    let fails = |why: &str| {
        let (exit, said) = run();
        assert!(exit == Some(2) && said.contains(why) && said.contains(SPDX), "{exit:?} {said}");
        assert_eq!(fs::read_dir(&disk.0).unwrap().count(), 0);
    };
    fails("No space left on device");
    disk.remount("size=1m,ro");
    fails("Read-only file system");
    disk.remount("rw");
    assert_eq!(run().0, Some(0));
    let full = packages(&archive).stdout(File::create("/dev/full").unwrap()).output().unwrap();
    assert!(full.status.code() == Some(2) && stderr(&full).contains("standard output"), "{}", stderr(&full));
}
