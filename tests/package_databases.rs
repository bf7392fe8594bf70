//! Databases of installed packages as the programs write that own them: SQLite, rpm and dpkg are asked what is in them, and say the same.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::type_complexity,
    reason = "tests state what they expect"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use plimsoll::packages::dpkg;
use plimsoll::packages::error::Unreadable;
use plimsoll::packages::package::Package;
use plimsoll::packages::rpm::{self, Database};

/// True if the program answers. If not, says so where the test runner does not hide it; with `PLIMSOLL_REQUIRE_TOOLS=1`, fails.
fn have(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        return true;
    }
    assert!(env::var_os("PLIMSOLL_REQUIRE_TOOLS").is_none_or(|value| value != "1"), "no {program}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let arguments = arguments.join(" ");
    say(&format!("skipped: {test}: no {program} {arguments}"));
    false
}

/// Where the test runner does not hide it.
fn say(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A new empty folder below the target directory.
fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::remove_dir_all(&folder).ok();
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn lines(packages: &[Package]) -> Vec<String> {
    packages.iter().map(ToString::to_string).collect()
}

/// What is read of the files of a database.
fn read(db: &[u8], wal: Option<&[u8]>, journal: Option<&[u8]>) -> Result<Vec<Package>, Unreadable> {
    rpm::packages(&Database::Sqlite { db, wal, journal })
}

#[test]
fn each_row_that_sqlite_reads_is_read() {
    if !have("python3", &["-c", "import sqlite3"]) {
        return;
    }
    let folder = scratch("sqlite");
    let seed = env::var("PLIMSOLL_SEED").unwrap_or_else(|_| "1".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/rpm_databases.py");
    run("python3", &[script, folder.to_str().unwrap(), &seed]);
    let (mut read_both, mut refused_changed, mut only_here) = (0, 0, 0);
    for entry in fs::read_dir(&folder).unwrap() {
        let here = entry.unwrap().path();
        let name = here.file_name().unwrap().to_str().unwrap().to_owned();
        let Ok(expected) = fs::read_to_string(here.join("rows")) else { continue };
        let (db, wal, journal) =
            (fs::read(here.join("db")), fs::read(here.join("wal")), fs::read(here.join("journal")));
        let found = read(&db.unwrap_or_default(), wal.as_deref().ok(), journal.as_deref().ok());
        let expected_lines: Vec<_> = expected.lines().map(str::to_owned).collect();
        match (name.starts_with("changed-"), &*expected, found) {
            (false, "refuse", found) => assert!(found.is_err(), "{name}"),
            (false, _, found) => {
                assert_eq!(lines(&found.unwrap_or_else(|e| panic!("{name}: {e}"))), expected_lines, "{name}")
            }
            // Whatever was changed, it is refused or means to both the same.
            (true, _, Err(_)) => refused_changed += 1,
            (true, "unreadable", Ok(found)) => {
                say(&format!("{name}: {} packages that SQLite cannot read", found.len()));
                only_here += 1;
            }
            (true, _, Ok(found)) => {
                assert_eq!(lines(&found), expected_lines, "{name}");
                read_both += 1;
            }
        }
    }
    assert!(read_both > 20 && refused_changed > 20, "{read_both} {refused_changed} {only_here}");
    say(&format!("changed: {read_both} read by both, {refused_changed} refused, {only_here} read here alone"));
    fs::remove_dir_all(folder).unwrap();
}

const SPEC: &str = "Name: NAME
Version: VERSION
Release: 1.el9
EPOCH
Summary: s
License: MIT
BuildArch: noarch
%description
d
%install
mkdir -p %{buildroot}/usr/share/NAME
echo x > %{buildroot}/usr/share/NAME/x
%files
/usr/share/NAME
";

#[test]
fn what_rpm_lists_is_read() {
    if !have("rpm", &["--version"]) || !have("rpmbuild", &["--version"]) || !have("id", &["-u"]) {
        return;
    }
    let folder = scratch("rpm");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let root = path("root");
    let rpm = |arguments: &[&str]| {
        run(
            "rpm",
            &[&["--root", &root, "--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite"], arguments].concat(),
        )
    };
    rpm(&["--initdb"]);
    let built: Vec<String> =
        [("a", "1.2~rc1", ""), ("b", "3", "Epoch: 0"), ("c", "4", "Epoch: 2"), ("gpg-pubkey", "5", "")]
            .iter()
            .map(|(name, version, epoch)| {
                let spec = path(&format!("{name}.spec"));
                fs::write(&spec, SPEC.replace("NAME", name).replace("VERSION", version).replace("EPOCH", epoch))
                    .unwrap();
                run("rpmbuild", &["-bb", "--define", &format!("_topdir {}", path("build")), &spec]);
                path(&format!("build/RPMS/noarch/{name}-{version}-1.el9.noarch.rpm"))
            })
            .collect();
    let files = |what: &str| {
        let db = folder.join("root/var/lib/rpm");
        let file = |suffix: &str| fs::read(db.join(format!("rpmdb.sqlite{suffix}"))).ok();
        let (db, wal, journal) = (file("").unwrap(), file("-wal"), file("-journal"));
        let mut found = lines(&read(&db, wal.as_deref(), journal.as_deref()).unwrap_or_else(|e| panic!("{what}: {e}")));
        found.sort();
        found
    };
    let listed = || {
        let format = "%{NAME} %|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE} %{ARCH}\n";
        let text = rpm(&["-qa", "--qf", format]);
        // An epoch of 0 is none; and keys, which have no architecture, are no packages.
        let lines = text.lines().filter(|line| !line.ends_with(" (none)"));
        let mut lines: Vec<_> = lines.map(|line| line.replace(" 0:", " ")).collect();
        lines.sort();
        lines
    };
    assert!(files("empty").is_empty());
    for rpm_file in &built {
        rpm(&["-i", "--justdb", "--nodeps", "--noscripts", rpm_file]);
    }
    assert_eq!(
        listed(),
        ["a 1.2~rc1-1.el9 noarch", "b 3-1.el9 noarch", "c 2:4-1.el9 noarch", "gpg-pubkey 5-1.el9 noarch"]
    );
    assert_eq!(files("installed"), listed());
    if have("gpg", &["--version"]) {
        let home = path("gnupg");
        fs::create_dir(&home).unwrap();
        let arguments = ["--homedir", &home, "--batch", "--quiet", "--passphrase", ""];
        run("gpg", &[&arguments[..], &["--quick-generate-key", "k@example", "rsa2048", "sign", "never"]].concat());
        fs::write(path("key"), run("gpg", &[&arguments[..], &["--armor", "--export"]].concat())).unwrap();
        rpm(&["--import", &path("key")]);
        assert_eq!(rpm(&["-q", "gpg-pubkey"]).lines().count(), 2);
        assert_eq!(files("with a key"), listed());
        run("gpgconf", &["--homedir", &home, "--kill", "all"]);
    }
    rpm(&["-e", "--justdb", "b"]);
    assert_eq!(listed(), ["a 1.2~rc1-1.el9 noarch", "c 2:4-1.el9 noarch", "gpg-pubkey 5-1.el9 noarch"]);
    assert_eq!(files("erased"), listed());
    fs::remove_dir_all(folder).unwrap();
}

/// A header of a package of this name, with so many bytes more.
fn header(name: &str, more: usize) -> Vec<u8> {
    let (mut index, mut data) = (Vec::new(), Vec::new());
    let more = vec![0xa5; more];
    for (tag, kind, count, value) in [
        (1000, 6, 1, [name.as_bytes(), b"\0"].concat()),
        (1001, 6, 1, b"1\0".to_vec()),
        (1002, 6, 1, b"2\0".to_vec()),
        (1022, 6, 1, b"noarch\0".to_vec()),
        (5000, 7, u32::try_from(more.len()).unwrap(), more),
    ] {
        if !value.is_empty() {
            index.push([tag, kind, u32::try_from(data.len()).unwrap(), count]);
            data.extend(value);
        }
    }
    let counts = [u32::try_from(index.len()).unwrap(), u32::try_from(data.len()).unwrap()];
    let words: Vec<u8> = counts.into_iter().chain(index.concat()).flat_map(u32::to_be_bytes).collect();
    [words, data].concat()
}

#[test]
fn what_rpm_lists_of_a_berkeley_db_is_read() {
    if !have("db_load", &["-V"]) || !have("rpm", &["--version"]) {
        return;
    }
    let folder = scratch("bdb");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for (order, page_size, count) in
        [(1234, 4096, 0), (1234, 4096, 400), (4321, 4096, 400), (1234, 512, 3000), (4321, 65_536, 100)]
    {
        let word = |number: u32| if order == 1234 { number.to_le_bytes() } else { number.to_be_bytes() };
        let mut dump =
            format!("VERSION=3\nformat=bytevalue\ntype=hash\ndb_lorder={order}\ndb_pagesize={page_size}\nHEADER=END\n");
        dump += &format!(" {}\n {}\n", hex(&word(0)), hex(&word(count)));
        for number in 1..=count {
            // Some on the page, some on one page of their own, some on several.
            let more =
                [0, 100, 700, 5000, 70_000][usize::try_from(number).unwrap() % if number % 50 == 0 { 5 } else { 4 }];
            dump += &format!(" {}\n {}\n", hex(&word(number)), hex(&header(&format!("p{number}"), more)));
        }
        dump += "DATA=END\n";
        fs::write(path("dump"), dump).unwrap();
        let root = folder.join(format!("root-{order}-{page_size}-{count}"));
        fs::create_dir_all(root.join("var/lib/rpm")).unwrap();
        let file = root.join("var/lib/rpm/Packages");
        run("db_load", &["-f", &path("dump"), file.to_str().unwrap()]);
        let mut found = lines(&rpm::packages(&Database::Bdb(&fs::read(&file).unwrap())).unwrap());
        let arguments =
            ["--root", root.to_str().unwrap(), "--dbpath", "/var/lib/rpm", "--define", "_db_backend bdb_ro"];
        let format = "%{NAME} %{VERSION}-%{RELEASE} %{ARCH}\n";
        let text = run("rpm", &[&arguments[..], &["-qa", "--qf", format]].concat());
        let mut listed: Vec<_> = text.lines().map(str::to_owned).collect();
        found.sort();
        listed.sort();
        assert_eq!(found.len(), usize::try_from(count).unwrap());
        assert_eq!(found, listed, "{order} {page_size} {count}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn stanzas_are_read_as_dpkg_reads_them_or_refused() {
    if !have("dpkg-query", &["--version"]) {
        return;
    }
    let folder = scratch("dpkg");
    fs::create_dir_all(folder.join("info")).unwrap();
    let a =
        "Package: a\nStatus: install ok installed\nMaintainer: x\nArchitecture: amd64\nVersion: 1\nDescription: d\n";
    let b = a.replace("Package: a", "Package: b");
    let same = |arch: &str, version: &str| {
        a.replace("amd64", arch).replace("Version: 1", &format!("Version: {version}\nMulti-Arch: same"))
    };
    let two = format!("{}\n{}", same("amd64", "1"), same("i386", "1"));
    let removed = a.replace("install ok installed", "purge ok not-installed");
    // Text of status, records on top of it, and whether both read it. What dpkg reads and this does not, this refuses.
    let cases: &[(&str, &[(&str, &str)], bool)] = &[
        (a, &[], true),
        (&format!("\n\n{a}\n\n{b}\n"), &[], true),
        (&a.replace("Version", "vErSiOn"), &[], true),
        (&format!("{a} Package: c\n .\n\tVersion: 2\n"), &[], true),
        (&a.replace("Version: 1", "Version: 1:1.0~rc1-1+b2"), &[], true),
        (&a.replace("installed", "config-files").replace("install ", "deinstall "), &[], true),
        (&a.replace("Maintainer: x", "Maintainer: \u{fc}"), &[], true),
        (&format!("{a}# c\n"), &[], false),
        (&format!("#c: x\n{a}"), &[], false),
        (&format!("{a} \nPackage: b\n"), &[], false),
        (&format!("{a}\n \n{b}"), &[], false),
        (&format!("{a}X-A : q\n"), &[], false),
        (&format!("{a}version: 2\n"), &[], false),
        (&format!("{a}X-A: 1\u{1a}X-B: 2\n"), &[], false),
        (&format!("{a}Revision: 2\n"), &[], false),
        (&a.replace("Status: install ok installed\n", ""), &[], false),
        (&a.replace("ok installed", "ok installedx"), &[], false),
        (&a.replace("Version: 1\n", ""), &[], false),
        (a, &[("0000", &a.replace("Version: 1", "Version: 2"))], true),
        (a, &[("0000", &a.replace("Version: 1", "Version: 2")), ("0001", &removed)], true),
        (a, &[("0000", &removed), ("0001", &a.replace("Version: 1", "Version: 2"))], true),
        (a, &[("tmp.i", "#padding\n"), ("0000", &b)], true),
        (a, &[("0000", "")], true),
        (a, &[("0000", &a.replace("amd64", "i386"))], true),
        (&two, &[("0000", &same("i386", "3"))], true),
        (&two, &[("0000", &a.replace("amd64", "i386"))], false),
        (a, &[("0000", &b), ("1", &b)], false),
    ];
    for (status, updates, fine) in cases {
        fs::remove_dir_all(folder.join("updates")).ok();
        fs::create_dir(folder.join("updates")).unwrap();
        fs::write(folder.join("status"), status).unwrap();
        for (name, text) in *updates {
            fs::write(folder.join("updates").join(name), text).unwrap();
        }
        let updates: Vec<_> = updates.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        let found = dpkg::merged(Some(status.as_bytes()), &updates);
        assert_eq!(found.is_ok(), *fine, "{status}{updates:?}: {found:?}");
        let Ok(found) = found else { continue };
        let format = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n";
        let text = run("dpkg-query", &["--admindir", folder.to_str().unwrap(), "--show", "-f", format, "*"]);
        let gone = |line: &&str| !line.starts_with("not-installed ") && !line.starts_with("config-files ");
        let listed: Vec<_> =
            text.lines().filter(gone).filter_map(|line| line.split_once(' ')).map(|pair| pair.1).collect();
        assert_eq!(lines(&found), listed, "{status}{updates:?}");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_dpkg_lists_of_this_machine_is_read() {
    let status = "/var/lib/dpkg/status";
    if !have("dpkg-query", &["-W"]) {
        return;
    }
    let format = "${db:Status-Status} ${Package} ${Version} ${Architecture} <${source:Package} ${source:Version}>\n";
    let text = run("dpkg-query", &["-W", "-f", format]);
    let listed: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(state, _)| !matches!(*state, "not-installed" | "config-files"))
        .map(|(_, line)| line.to_owned())
        .collect();
    let show = |package: &Package| {
        let source = package.source().unwrap();
        format!("{package} <{} {}>", source.name, source.version)
    };
    let mut found: Vec<_> = dpkg::status(&fs::read(status).unwrap()).unwrap().iter().map(show).collect();
    let mut listed = listed;
    found.sort();
    listed.sort();
    assert!(listed.len() > 10);
    assert_eq!(found, listed);
}
