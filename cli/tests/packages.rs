//! `plimsoll packages`, and what `plimsoll verify` says of packages and files, as a black box: arguments in; exit code and all that is printed out.

#![cfg(feature = "publish")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "tests state what they expect"
)]

#[allow(dead_code, missing_docs, unreachable_pub, reason = "shared with the library's tests")]
#[path = "../../tests/support/image.rs"]
mod image;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::{Image, Item, NAME, Stored, classic, file, tar};
use plimsoll::digest::Sha256;
use serde_json::{Value, json};

const NOW: &str = "2030-01-01T00:00:00Z";
const STATUS: &str = "\
Package: app
Status: install ok installed
Architecture: amd64
Version: 1.0-1

Package: zlib1g
Status: install ok installed
Architecture: amd64
Source: zlib
Version: 1:1.2.13-1
";

/// The layers of the image that is signed: one of a system, one of an application.
fn layers() -> Vec<Vec<Item>> {
    vec![
        vec![
            file("etc/os-release", b"ID=debian\nVERSION_ID=12\n"),
            file("usr/lib/libz.so.1", b"\x7fELF"),
            file("var/lib/dpkg/status", STATUS.as_bytes()),
        ],
        vec![file("srv/app/data", b"data\n")],
    ]
}

/// A folder with archives, a repository and its keys.
struct Desk(PathBuf);

impl Desk {
    fn new(test: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages").join(test);
        if path.exists() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir_all(&path).unwrap();
        let desk = Self(path);
        desk.archive("app.tar", &layers());
        desk
    }

    /// One whose repository signs `app.tar` with a list of this format.
    fn signed(test: &str, list: &[&str]) -> Self {
        let desk = Self::new(test);
        desk.ok(&["repository", "init", "--repository", "site", "--keys", "keys", "--time", NOW]);
        desk.sign("app.tar", list);
        desk
    }

    fn archive(&self, name: &str, layers: &[Vec<Item>]) {
        let layers: Vec<Vec<u8>> = layers.iter().map(|items| tar(items)).collect();
        fs::write(self.path(name), tar(&classic(&Image::new(&layers, Stored::Plain), &[NAME]))).unwrap();
    }

    fn sign(&self, archive: &str, list: &[&str]) {
        let add = ["repository", "add", archive, "--image", NAME];
        self.ok(&[&add, list, &["--repository", "site", "--keys", "keys", "--time", NOW]].concat());
    }

    fn sign_file(&self, name: &str, content: &Value) {
        fs::write(self.path(name), content.to_string()).unwrap();
        let add = ["repository", "add-file", name, "--image", NAME];
        self.ok(&[&add[..], &["--repository", "site", "--keys", "keys", "--time", NOW]].concat());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
        command.env_clear().env("HOME", &self.0).current_dir(&self.0).stdin(Stdio::null());
        command.args(arguments).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        output
    }

    fn verify(&self, archive: &str, more: &[&str]) -> Output {
        let base = ["verify", archive, "--image", NAME, "--repository", "site", "--root", "site/metadata/1.root.json"];
        self.run(&[&base[..], &["--time", NOW], more].concat())
    }

    /// The exit code, and all that is printed but for what every verdict says of the archive and of the metadata.
    #[track_caller]
    fn says(&self, archive: &str, more: &[&str], exit: i32, expected: &str) {
        let output = self.verify(archive, more);
        let lines = text(&output.stdout);
        let of_every_verdict =
            ["  archive ", "  manifest ", "  config ", "  platform ", "  layers ", "  signed by ", "  fresh "];
        let lines = lines.lines().filter(|line| !of_every_verdict.iter().any(|start| line.starts_with(start)));
        let said: String = lines.map(|line| format!("{line}\n")).collect();
        assert_eq!(said, expected, "{archive} {more:?}");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(exit), String::new()), "{archive} {more:?}");
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_list_goes_to_standard_output_or_into_a_new_file() {
    let desk = Desk::new("list");
    let summary = "listed: 2 packages of deb in /var/lib/dpkg\nlisted: 4 files\n";
    let printed = desk.ok(&["packages", "app.tar"]);
    assert_eq!(text(&printed.stderr), summary);
    let json: Value = serde_json::from_slice(&printed.stdout).unwrap();
    assert_eq!((&json["spdxVersion"], &json["name"]), (&json!("SPDX-2.3"), &json!(NAME)));

    let written = desk.ok(&["packages", "app.tar", "--output", "list.json"]);
    assert_eq!((text(&written.stdout), text(&written.stderr)), (String::new(), summary.to_owned()));
    assert_eq!(fs::read(desk.path("list.json")).unwrap(), printed.stdout);
    let cyclonedx = desk.ok(&["packages", "app.tar", "--format", "cyclonedx"]);
    let json: Value = serde_json::from_slice(&cyclonedx.stdout).unwrap();
    assert_eq!((&json["bomFormat"], &json["specVersion"]), (&json!("CycloneDX"), &json!("1.6")));

    let again = desk.run(&["packages", "app.tar", "--format", "cyclonedx", "--output", "list.json"]);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(text(&again.stderr), "plimsoll: \"list.json\" is there already; --force replaces it\n");
    assert_eq!(fs::read(desk.path("list.json")).unwrap(), printed.stdout);
    desk.ok(&["packages", "app.tar", "--format", "cyclonedx", "--output", "list.json", "--force"]);
    assert_eq!(fs::read(desk.path("list.json")).unwrap(), cyclonedx.stdout);

    desk.archive("empty.tar", &[vec![file("a", b"a")]]);
    let empty = desk.ok(&["packages", "empty.tar"]);
    assert_eq!(text(&empty.stderr), "listed: no packages, for there is no package database\nlisted: 1 files\n");
    desk.archive("stray.tar", &[vec![file("opt/x/var/lib/dpkg/status", STATUS.as_bytes())]]);
    let stray = desk.ok(&["packages", "stray.tar"]);
    let note = "note: /opt/x/var/lib/dpkg/status is called as a package database is; it is listed as a file only\n";
    assert!(text(&stray.stderr).ends_with(note), "{}", text(&stray.stderr));
}

#[test]
fn what_is_not_listed_is_said_with_its_exit_code() {
    let desk = Desk::new("not_listed");
    desk.archive("broken.tar", &[vec![file("var/lib/dpkg/status", b"no stanza\n")]]);
    desk.archive("climbs.tar", &[vec![file("../x", b"x")]]);
    fs::write(desk.path("no.tar"), "no tar").unwrap();
    let cases: &[(&[&str], i32, &str)] = &[
        (
            &["none.tar"],
            2,
            "plimsoll: \"none.tar\": cannot read \"none.tar\": No such file or directory (os error 2)\n",
        ),
        (
            &["no.tar"],
            1,
            "not listed: \"no.tar\"\n  the archive: it does not start with a tar header [archive-not-tar]\n",
        ),
        (&["climbs.tar"], 1, "not listed: \"climbs.tar\"\n  "),
        (&["broken.tar"], 2, "plimsoll: cannot write the list to standard output: /var/lib/dpkg"),
        (&["broken.tar", "-o", "list.json"], 2, "plimsoll: cannot write the list to \"list.json\": /var/lib/dpkg"),
        (&["app.tar", "-o", "none/list.json"], 2, "plimsoll: cannot write the list to \"none/list.json\": "),
        (&["app.tar", "--image", "other:1"], 1, "not listed: \"app.tar\"\n"),
        (&["app.tar", "--format", "deb822"], 2, "error: invalid value 'deb822' for '--format <FORMAT>'\n"),
        (&["app.tar", "--force"], 2, "error: the following required arguments were not provided:\n  --output <FILE>\n"),
        (&["app.tar", "--files"], 2, "error: unexpected argument '--files' found\n"),
        (&[], 2, "error: the following required arguments were not provided:\n  <ARCHIVE>\n"),
    ];
    for (arguments, exit, expected) in cases {
        let output = desk.run(&[&["packages"], *arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*exit), "{arguments:?}: {said}");
        assert!(said.starts_with(expected), "{arguments:?}: {said}");
        assert!(
            arguments.first() != Some(&"climbs.tar") || said.ends_with("out of its directory [layer-tar]\n"),
            "{said}"
        );
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
        assert!(!desk.path("list.json").exists(), "{arguments:?}");
    }
}

#[test]
fn a_trusted_image_says_which_packages_and_files_were_compared() {
    let desk = Desk::signed("trusted", &["--list", "spdx"]);
    let output = desk.verify("app.tar", &["--files"]);
    let manifest = text(&output.stdout).lines().find_map(|line| line.strip_prefix("  manifest  ").map(str::to_owned));
    let config = text(&output.stdout).lines().find_map(|line| line.strip_prefix("  config    ").map(str::to_owned));
    let (manifest, config) = (manifest.unwrap(), config.unwrap());
    let size = fs::metadata(desk.path("app.tar")).unwrap().len();
    let expected = format!(
        "\
trusted: registry.example/team/app:1.4
  archive   app.tar, docker-archive, {size} bytes
  manifest  {manifest}
  config    {config}
  platform  linux/amd64
  layers    2, each checked against its diff id
  signed by targets under root version 1
  fresh     until 2030-01-08T00:00:00Z (timestamp expires first)
  packages  2 of deb in /var/lib/dpkg, as listed in registry.example/team/app/1.4/packages.spdx.json
  files     4 as listed, 0 ignored
"
    );
    assert_eq!((text(&output.stdout), text(&output.stderr)), (expected, String::new()));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn each_question_has_its_lines_in_the_verdict() {
    let desk = Desk::signed("lines", &["--list", "spdx"]);
    let trusted = "trusted: registry.example/team/app:1.4\n";
    let packages =
        "  packages  2 of deb in /var/lib/dpkg, as listed in registry.example/team/app/1.4/packages.spdx.json\n";
    desk.says("app.tar", &[], 0, &format!("{trusted}{packages}  not checked: files\n"));
    desk.says("app.tar", &["--packages", "off"], 0, &format!("{trusted}  not checked: packages, files\n"));

    // The list of the first image beside one that has more: some of it may be there, and some is asked for.
    let mut more = layers();
    more.push(vec![file("var/cache/x", b"x"), file("srv/app/extra", b"x"), file("srv/app/more", b"x")]);
    desk.archive("more.tar", &more);
    desk.sign("more.tar", &[]);
    let refused = "not trusted: registry.example/team/app:1.4\n";
    desk.says(
        "more.tar",
        &["--files"],
        1,
        &format!(
            "\
{refused}  /srv/app/extra: nothing lists it [file-unowned]
  /srv/app/more: nothing lists it [file-unowned]
  do not load \"more.tar\"
"
        ),
    );
    desk.says(
        "more.tar",
        &["--files", "--ignore", "srv/*/extra", "--ignore", "**/more"],
        0,
        &format!(
            "\
{trusted}{packages}  files     4 as listed, 3 ignored
  ignored   1 in **/more
  ignored   1 in srv/*/extra
  ignored   1 in var/cache/
"
        ),
    );

    let older = STATUS.replace("1.2.13", "1.2.12");
    let mut changed = layers();
    changed.push(vec![file("var/lib/dpkg/status", older.as_bytes()), file("usr/lib/libz.so.1", b"\x7fELF evil")]);
    desk.archive("changed.tar", &changed);
    desk.sign("changed.tar", &[]);
    let version = "  zlib1g: another version is installed, expected 1:1.2.13-1, found 1:1.2.12-1, which is older \
                   (/var/lib/dpkg against registry.example/team/app/1.4/packages.spdx.json) [package-version]\n";
    desk.says("changed.tar", &[], 1, &format!("{refused}{version}  do not load \"changed.tar\"\n"));
    let modified = |path: &str, listed: &[u8], found: &[u8]| {
        let (listed, found) = (Sha256::of(listed), Sha256::of(found));
        format!("  /{path}: not the listed content, expected {listed}, found {found} [file-modified]\n")
    };
    let status = modified("var/lib/dpkg/status", STATUS.as_bytes(), older.as_bytes());
    let library = modified("usr/lib/libz.so.1", b"\x7fELF", b"\x7fELF evil");
    let expected = format!("{refused}{version}{library}{status}  do not load \"changed.tar\"\n");
    desk.says("changed.tar", &["--files"], 1, &expected);
}

#[test]
fn a_list_of_the_image_before_is_warned_of() {
    let desk = Desk::signed("before", &["--list", "spdx"]);
    let add = |archive: &str, list: &[&str]| {
        let add = ["repository", "add", archive, "--image", NAME];
        let output = desk.ok(&[&add, list, &["--repository", "site", "--keys", "keys", "--time", NOW]].concat());
        text(&output.stderr)
    };
    let mut more = layers();
    more.push(vec![file("srv/app/more", b"x")]);
    desk.archive("more.tar", &more);
    let warning = "warning: registry.example/team/app/1.4/packages.spdx.json stays signed, ";
    assert_eq!(add("app.tar", &[]), "", "the same image");
    assert!(add("more.tar", &["--list", "cyclonedx"]).starts_with(warning));
    assert!(add("app.tar", &["--list", "cyclonedx"]).starts_with(warning));
    assert_eq!(add("more.tar", &["--list", "spdx"]).matches("warning: ").count(), 1, "the other format stays");
}

#[test]
fn advisories_are_told_and_refused_on_demand() {
    let desk = Desk::signed("advisories", &["--list", "spdx"]);
    let advisory = |id: &str, package: &str| {
        json!({
            "schema_version": "1.6.0", "id": id, "modified": "2026-01-01T00:00:00Z",
            "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
            "affected": [{
                "package": {"ecosystem": "Debian:12", "name": package},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "1:1.2.14-1"}]}],
            }],
        })
    };
    desk.sign_file("advisories.osv.json", &json!([advisory("DSA-1-1", "zlib"), advisory("DSA-2-1", "app")]));
    desk.sign_file(
        "advisories.openvex.json",
        &json!({
            "@context": "https://openvex.dev/ns/v0.2.0", "@id": "https://example.org/vex/1", "author": "team",
            "timestamp": "2026-01-02T00:00:00Z", "version": 1,
            "statements": [{
                "vulnerability": {"name": "DSA-2-1"}, "products": [{"@id": "pkg:deb/debian/app"}],
                "status": "not_affected", "justification": "vulnerable_code_not_present",
            }],
        }),
    );
    let affected = "zlib1g 1:1.2.13-1 amd64: DSA-1-1 (critical), fixed in 1:1.2.14-1";
    desk.says(
        "app.tar",
        &[],
        0,
        &format!(
            "\
trusted: registry.example/team/app:1.4
  packages  2 of deb in /var/lib/dpkg, as listed in registry.example/team/app/1.4/packages.spdx.json
  advisories 1 for what is installed, 1 silenced, by registry.example/team/app/1.4/advisories.osv.json
  AFFECTED  {affected}
  silenced  app 1.0-1 amd64: DSA-2-1 (critical), fixed in 1:1.2.14-1: vulnerable_code_not_present
  not checked: files
"
        ),
    );
    desk.says(
        "app.tar",
        &["--fail-on", "high"],
        1,
        &format!(
            "\
not trusted: registry.example/team/app:1.4
  {affected} (registry.example/team/app/1.4/advisories.osv.json) [package-affected]
  do not load \"app.tar\"
"
        ),
    );
}

#[test]
fn an_image_without_a_list_is_refused_where_one_is_asked_for() {
    let desk = Desk::signed("without", &[]);
    desk.says("app.tar", &[], 0, "trusted: registry.example/team/app:1.4\n  not checked: packages, files\n");
    let refused = |why: &str| {
        let image = "registry.example/team/app:1.4";
        format!("not trusted: {image}\n  {image}: {why}\n  do not load \"app.tar\"\n")
    };
    let no_list = "no package list is signed beside it; looked for packages.spdx.json, packages.cdx.json, \
                   packages.deb822 [package-list-missing]";
    for more in [&["--packages", "require"][..], &["--files"]] {
        desk.says("app.tar", more, 1, &refused(no_list));
    }
    let no_advisories = "no advisories are signed beside it; looked for advisories.osv.json [advisories-missing]";
    desk.says("app.tar", &["--fail-on", "low"], 1, &refused(no_advisories));
}

#[test]
fn usage_errors_are_undecided_and_say_what_is_wrong() {
    let desk = Desk::signed("usage", &["--list", "spdx"]);
    let cases: &[(&[&str], &str)] = &[
        (&["--files", "--packages", "off"], "--files compares with package lists, so not with --packages off"),
        (&["--ignore", "a"], "the following required arguments were not provided:"),
        (&["--files", "--ignore", "a//b"], "invalid value 'a//b' for '--ignore <GLOB>': an empty part in the pattern"),
        (&["--files", "--ignore", ""], "for '--ignore <GLOB>'"),
        (&["--files", "--ignore", "a/../b"], "invalid value 'a/../b' for '--ignore <GLOB>'"),
        (&["--packages", "maybe"], "invalid value 'maybe' for '--packages <WHETHER>'"),
        (&["--fail-on", "huge"], "invalid value 'huge' for '--fail-on <SEVERITY>'"),
    ];
    for (more, expected) in cases {
        let output = desk.verify("app.tar", &[*more, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            (&json["verdict"], &json["findings"][0]["code"]),
            (&json!("undecided"), &json!("usage")),
            "{json:#}"
        );
        let message = json["findings"][0]["message"].as_str().unwrap();
        assert!(message.contains(expected), "{more:?}: {message}");
        assert_ne!(desk.verify("app.tar", more).status.code(), Some(0));
    }
}
