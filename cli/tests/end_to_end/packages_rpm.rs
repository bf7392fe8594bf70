//! A root that rpm itself has installed into, as an image: quiet with its list, and each way to tamper with its database named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::compose::{Layer, image};
use crate::packages::{Desk, Row, STRICT, tampered};
use crate::tools::{Need, have, output};

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
mkdir -p %{buildroot}/etc %{buildroot}/usr/share/NAME
echo NAME > %{buildroot}/usr/share/NAME/name
echo VERSION > %{buildroot}/etc/NAME.conf
%files
/usr/share/NAME
%config(noreplace) /etc/NAME.conf
";

/// Keeps a reader on the database while rpm installs, so that what rpm writes stays in the log; and copies both.
const UNFINISHED: &str = "
import shutil, sqlite3, subprocess, sys
db, to = sys.argv[1:3]
reader = sqlite3.connect(db, isolation_level=None)
reader.execute('BEGIN')
reader.execute('SELECT count(*) FROM Packages').fetchone()
subprocess.run(sys.argv[3:], check=True)
for end in ['', '-wal']:
    shutil.copyfile(db + end, to + end)
";

struct Root {
    dir: PathBuf,
}

impl Root {
    fn rpm(&self) -> Command {
        let mut rpm = Command::new("rpm");
        rpm.arg("--root").arg(&self.dir).args(["--dbpath", "/var/lib/rpm", "--define", "_db_backend sqlite"]);
        rpm
    }

    fn install(&self, file: &Path) {
        output(self.rpm().args(["--upgrade", "--oldpackage", "--nodeps", "--noscripts"]).arg(file));
    }

    fn db(&self) -> PathBuf {
        self.dir.join("var/lib/rpm/rpmdb.sqlite")
    }
}

/// Builds a package of this name and version, with an epoch if there is one.
fn build(desk: &Desk, name: &str, version: &str, epoch: &str) -> PathBuf {
    let spec = desk.path(&format!("{name}-{version}.spec"));
    fs::write(&spec, SPEC.replace("NAME", name).replace("VERSION", version).replace("EPOCH", epoch)).unwrap();
    let top = desk.path("build");
    let define = format!("_topdir {}", top.display());
    output(Command::new("rpmbuild").args(["-bb", "--quiet", "--define", &define]).arg(&spec));
    top.join(format!("RPMS/noarch/{name}-{version}-1.el9.noarch.rpm"))
}

/// What is at some paths below a folder, as a layer.
fn layer(desk: &Desk, name: &str, folder: &Path, paths: &[&str]) -> Layer {
    let path = desk.path(&format!("{name}.tar"));
    output(Command::new("tar").arg("-C").arg(folder).args(["--numeric-owner", "-cf"]).arg(&path).args(paths));
    Layer::of(path)
}

#[test]
fn packages_that_rpm_installed_are_quiet_and_tampered_named() {
    if !have(&[Need::Rpm]) {
        return;
    }
    let desk = Desk::new();
    let root = Root { dir: desk.path("root") };
    fs::create_dir_all(&root.dir).unwrap();
    output(root.rpm().arg("--initdb"));
    root.install(&build(&desk, "tiny", "1.2~rc1", "Epoch: 1"));
    root.install(&build(&desk, "large", "3^git1", ""));
    let genuine = layer(&desk, "genuine", &root.dir, &["."]);
    let name = "registry.example/rpm:genuine";
    let archive = image(&desk.path("genuine"), name, std::slice::from_ref(&genuine));
    let list = desk.list(&archive, "packages.spdx.json");
    desk.sign(&archive, name, &["--packages", list.to_str().unwrap(), "--list", "cyclonedx"]);
    let verdict = desk.verify(&archive, name, STRICT).assert_trusted();
    let db = "var/lib/rpm/rpmdb.sqlite";
    assert_eq!(verdict.packages()["databases"], json!([{"kind": "rpm", "path": db, "packages": 2}]));
    let files = String::from_utf8(output(Command::new("find").arg(&root.dir).args(["-type", "f"]))).unwrap();
    assert_eq!(verdict.packages()["files"], json!({"same": files.lines().count(), "ignored": {}}));

    let changed = format!("file-modified {db}");
    let changed_log = format!("{changed}-wal");
    let on_top = |top: Layer| vec![genuine.clone(), top];
    let at = |name: &str, path: &str| {
        let folder = desk.path(&format!("{name}-top"));
        let to = folder.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root.db(), to).unwrap();
        on_top(layer(&desk, name, &folder, &[path]))
    };
    let second = at("second-place", "usr/lib/sysimage/rpm/rpmdb.sqlite");

    // Another package is in the log alone: the database's own file is the listed one.
    let unfinished = desk.path("unfinished-top");
    fs::create_dir_all(unfinished.join("var/lib/rpm")).unwrap();
    let evil = build(&desk, "evil", "6.6", "");
    let mut python = Command::new("python3");
    python.args(["-c", UNFINISHED]).arg(root.db()).arg(unfinished.join(db)).arg(root.rpm().get_program());
    python.args(root.rpm().get_args()).args(["--install", "--justdb", "--nodeps", "--noscripts"]).arg(&evil);
    let listed = fs::read(root.db()).unwrap();
    output(&mut python);
    let log = format!("{db}-wal");
    assert!(fs::metadata(unfinished.join(&log)).unwrap().len() > 4096);
    let is_in_log_alone = fs::read(unfinished.join(db)).unwrap() == listed;
    assert!(is_in_log_alone, "rpm has written the database's own file");
    let unfinished = on_top(layer(&desk, "unfinished", &unfinished, &[db, &log]));
    output(root.rpm().args(["--erase", "--justdb", "evil"]));

    root.install(&build(&desk, "tiny", "1.2~beta", "Epoch: 1"));
    let downgraded = at("downgraded", db);
    output(root.rpm().args(["--erase", "--justdb", "large"]));
    let both = at("erased-too", db);
    tampered(
        &desk,
        &list,
        &[
            Row {
                name: "second-place",
                layers: second,
                packages: &["package-database-second usr/lib/sysimage/rpm/rpmdb.sqlite"],
                files: &[],
            },
            Row { name: "unfinished", layers: unfinished, packages: &["package-extra evil"], files: &[&changed_log] },
            Row { name: "downgraded", layers: downgraded, packages: &["package-version tiny"], files: &[&changed] },
            Row {
                name: "erased-too",
                layers: both,
                packages: &["package-missing large", "package-version tiny"],
                files: &[&changed],
            },
        ],
    );
}
