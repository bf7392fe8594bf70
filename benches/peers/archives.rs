//! Archives: `plimsoll verify` beside what hashes a file, what copies an image and what loads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::fixtures::{self, emptied};
use crate::goals::Goal;
use crate::process::Measured;
use crate::race::{Contender, Scenario};
use crate::support::image::NAME;
use crate::tools::{plimsoll, program};
use crate::{Planned, Setting};

const MIB: u64 = 1 << 20;

/// What a reader of the table must know.
pub(crate) const NOTE: &str = "openssl and sha256sum read the file and know nothing of images; skopeo checks the digests of compressed layers without \
unpacking them, so not what they unpack to; podman unpacks and writes them.";

pub(crate) fn scenarios(setting: &Setting) -> Vec<Planned> {
    let peak = || Goal::Peak { most: 32 * MIB, why: String::new() };
    let of = |peer, most| Goal::Wall { peer, most };
    let hundred = vec![10; if setting.quick { 10 } else { 100 }];
    let all: [(&str, &str, &[u64], Vec<Goal>); 7] = [
        ("classic, 4 layers", "classic", &[446, 341, 315, 262], vec![of("openssl", 0.45), peak()]),
        ("classic, 1 layer", "classic", &[1074], vec![of("openssl", 0.80), peak()]),
        ("classic, 100 layers", "classic", &hundred, vec![]),
        ("oci-archive, 4 gzip layers", "gzip", &[340, 260, 240, 200], vec![of("skopeo", 1.0)]),
        ("oci-archive, 4 zstd layers", "zstd", &[340, 260, 240, 200], vec![of("skopeo", 1.0)]),
        ("oci-archive, 1 gzip layer", "gzip", &[1074], vec![]),
        ("oci-archive, 1 zstd layer", "zstd", &[1074], vec![]),
    ];
    let mut planned: Vec<Planned> = Vec::new();
    for (name, form, sizes, goals) in all {
        let sizes: Vec<u64> =
            if setting.quick { sizes.iter().map(|size| size.div_ceil(100)).collect() } else { sizes.to_vec() };
        planned.push(plan(setting, name.to_owned(), form, &sizes, goals));
    }
    for form in ["classic", "gzip"].into_iter().filter(|_| setting.sweep) {
        for size in [1, 4, 16, 64, 256] {
            let name = format!("sweep: {form}, 1 layer of {size} MB");
            planned.push(plan(setting, name, form, &[size], Vec::new()));
        }
    }
    planned
}

fn plan(setting: &Setting, name: String, form: &'static str, sizes: &[u64], goals: Vec<Goal>) -> Planned {
    let (many, words) = (sizes.len() > 10, sizes.iter().map(u64::to_string).collect::<Vec<_>>());
    // It names a folder, so a hundred sizes may not be in it.
    let layers = if many { format!("{}x{}", sizes.len(), sizes[0]) } else { words.join(",") };
    let what = format!("archive {form} {layers}");
    let (fixtures, scratch) = (setting.fixtures.clone(), setting.scratch.clone());
    let make = move |name: &str| {
        let archive = Archive::open(&fixtures::folder(&fixtures, &what), form == "classic");
        let mut scenario = Scenario::new(&format!("{name}, {}", archive.sizes()));
        scenario.add("plimsoll verify", Ok(archive.plimsoll(&scratch)));
        scenario.add("openssl dgst -sha256", archive.hasher("openssl dgst -sha256"));
        scenario.add("sha256sum", archive.hasher("sha256sum"));
        scenario.add("skopeo copy to dir:", archive.skopeo(&scratch));
        scenario.add("podman load", archive.podman(&fixtures.join("podman"), many));
        scenario.goals = goals;
        scenario
    };
    Planned { name, make: Box::new(make) }
}

/// An archive beside the repository that signs its image.
struct Archive {
    folder: PathBuf,
    file: PathBuf,
    is_classic: bool,
    facts: Value,
}

impl Archive {
    fn open(folder: &Path, is_classic: bool) -> Self {
        let facts = serde_json::from_slice(&fs::read(folder.join("facts.json")).unwrap()).unwrap();
        Self { folder: folder.to_owned(), file: folder.join("archive.tar"), is_classic, facts }
    }

    fn fact(&self, name: &str) -> u64 {
        self.facts[name].as_u64().unwrap()
    }

    fn sizes(&self) -> String {
        let size = |name| crate::table::size(self.fact(name));
        if self.is_classic { size("size") } else { format!("{} ({} unpacked)", size("size"), size("unpacked")) }
    }

    fn plimsoll(&self, scratch: &Path) -> Contender {
        let store = scratch.join("plimsoll");
        let command = verify(&self.folder, &self.file, &store);
        Contender {
            name: "plimsoll verify".to_owned(),
            command,
            before: Box::new(move || emptied(&store)),
            after: Box::new(assert_trusted),
        }
    }

    fn hasher(&self, name: &str) -> Result<Contender, String> {
        let mut words = name.split(' ');
        let mut command = Command::new(program(words.next().unwrap())?);
        command.args(words).arg(&self.file);
        let digest = self.facts["sha256"].as_str().unwrap().to_owned();
        Ok(Contender {
            name: name.to_owned(),
            command,
            before: Box::new(|| {}),
            after: Box::new(move |run| assert!(run.stdout().contains(&digest), "{}", run.stdout())),
        })
    }

    fn skopeo(&self, scratch: &Path) -> Result<Contender, String> {
        let mut command = Command::new(program("skopeo")?);
        let (folder, least) = (scratch.join("skopeo"), self.fact("stored"));
        command.args(["copy", "--quiet", "--insecure-policy"]);
        let form = if self.is_classic { "docker-archive" } else { "oci-archive" };
        command.arg(format!("{form}:{}", self.file.display())).arg(format!("dir:{}", folder.display()));
        let before = folder.clone();
        let after = move |_: &Measured| {
            let sizes = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
            assert!(sizes.sum::<u64>() > least, "skopeo has not copied all layers");
            emptied(&folder);
        };
        Ok(Contender {
            name: "skopeo copy to dir:".to_owned(),
            command,
            before: Box::new(move || emptied(&before)),
            after: Box::new(after),
        })
    }

    fn podman(&self, folder: &Path, many_layers: bool) -> Result<Contender, String> {
        program("podman")?;
        let driver = driver(folder);
        if driver == "vfs" && many_layers {
            return Err("its storage driver here, vfs, copies all layers below for each".to_owned());
        }
        let mut command = podman(folder, driver);
        command.args(["load", "--quiet", "--input"]).arg(&self.file);
        let folder = folder.to_owned();
        let after = move |_: &Measured| {
            let run = |arguments: &[&str]| {
                let output = podman(&folder, driver).args(arguments).stdin(Stdio::null()).output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                output.stdout
            };
            assert!(!run(&["images", "--quiet"]).is_empty(), "podman has not loaded an image");
            run(&["rmi", "--all", "--force"]);
        };
        Ok(Contender {
            name: format!("podman load ({driver})"),
            command,
            before: Box::new(|| {}),
            after: Box::new(after),
        })
    }
}

/// The command as a user runs it.
pub(crate) fn verify(repository: &Path, archive: &Path, store: &Path) -> Command {
    let mut command = Command::new(plimsoll());
    command.arg("verify").arg(archive).args(["--image", NAME]).arg("--repository").arg(repository);
    command.arg("--root").arg(repository.join("metadata/1.root.json")).arg("--store").arg(store);
    command
}

pub(crate) fn assert_trusted(run: &Measured) {
    assert!(run.stdout().starts_with(&format!("trusted: {NAME}\n")), "{}", run.stdout());
}

fn podman(folder: &Path, driver: &str) -> Command {
    let mut command = Command::new("podman");
    // It takes no long path for what it keeps while it runs.
    let run = std::env::temp_dir().join(format!("peers-{}", std::process::id()));
    command.arg("--root").arg(folder.join("root")).arg("--runroot").arg(run);
    command.args(["--storage-driver", driver]);
    command
}

/// overlay, as podman has it by default, where the file system and its rights allow; otherwise vfs, which copies.
fn driver(folder: &Path) -> &'static str {
    static DRIVER: std::sync::OnceLock<&str> = std::sync::OnceLock::new();
    DRIVER.get_or_init(|| {
        if folder.exists() {
            // What an earlier run left. Its mounts come and go with it.
            let _none = Command::new("umount").arg(folder.join("root/overlay")).stderr(Stdio::null()).status();
            fs::remove_dir_all(folder).unwrap();
        }
        let info = podman(folder, "overlay").arg("info").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if info.is_ok_and(|status| status.success()) { "overlay" } else { "vfs" }
    })
}
