//! What loaders make of what `load` and `export` give them: the verified image under the verified name, or nothing at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::archive::{entries, truncated, with_manifest};
use crate::repository::Repository;
use crate::tools::{Need, Scratch, containerd, daemon_alone, docker, have, output, source_tree, text, with_docker};

const NAME: &str = "registry.example/team/app:1.4";
/// The image ID of the sample, and that of the version before.
const CONFIG: &str = "sha256:5cd13aaca199fad460cefc9e2fac93e38ed988b194203021e4b1b0df01692c9b";
const FORMS: [&str; 2] = ["docker-archive", "oci-archive"];

fn sample(path: &str) -> PathBuf {
    source_tree().join("test-repos").join(path)
}

/// A call of the command on a sample, by a sample repository.
fn plimsoll(scratch: &Scratch, command: &str, archive: &Path, repository: &Path, root: &Path) -> Command {
    let mut plimsoll = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    plimsoll.arg(command).arg(archive).arg("--repository").arg(repository).arg("--root").arg(root);
    plimsoll.arg("--store").arg(scratch.join("store")).stdin(Stdio::null());
    plimsoll
}

fn of_sample(scratch: &Scratch, command: &str, archive: &str, repository: &str) -> Command {
    plimsoll(scratch, command, &sample(archive), &sample(repository), &sample("root.json"))
}

/// Runs it to its end: the exit code and the verdict.
#[track_caller]
fn run(command: &mut Command) -> (Option<i32>, Value) {
    let output = command.args(["--format", "json"]).output().unwrap();
    let json = serde_json::from_slice(&output.stdout);
    let json = json.unwrap_or_else(|e| panic!("{command:?}: {e}\n{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), json)
}

#[track_caller]
fn assert_trusted(command: &mut Command) -> Value {
    let (exit, json) = run(command);
    assert_eq!(exit, Some(0), "{json:#}");
    json
}

/// A store of images: the tests' daemon, or a podman or a namespace of containerd of their own.
enum Loader<'s> {
    Docker,
    Podman(&'s Scratch),
    Containerd(&'static str),
}

impl Loader<'_> {
    /// Gives it what the command lines say.
    fn set(&self, plimsoll: &mut Command) {
        match self {
            Self::Docker => {
                let docker = with_docker("docker");
                plimsoll.envs(docker.get_envs().filter_map(|(name, value)| Some((name, value?))));
                plimsoll.env_remove("DOCKER_CONTEXT");
            }
            Self::Podman(_) => {
                // Its own options come before `load`, so it is named in full.
                plimsoll.args(["--into-command", "podman"]);
                plimsoll.args(self.options().iter().map(|option| format!("--into-arg={option}")));
                plimsoll.arg("--into-arg=load");
            }
            Self::Containerd(namespace) => {
                let socket = containerd().unwrap();
                plimsoll.args(["--into", "ctr"]).env("CONTAINERD_ADDRESS", socket);
                plimsoll.env("CONTAINERD_NAMESPACE", namespace);
            }
        }
    }

    fn options(&self) -> Vec<String> {
        match self {
            Self::Docker => Vec::new(),
            Self::Podman(scratch) => {
                // Of its --runroot it takes at most 50 characters.
                let run = std::env::temp_dir().join(scratch.name());
                let (root, run) = (scratch.join("podman").display().to_string(), run.display().to_string());
                let options =
                    ["--root", &root, "--runroot", &run, "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"];
                options.map(str::to_owned).to_vec()
            }
            Self::Containerd(namespace) => {
                ["--address", &containerd().unwrap(), "--namespace", namespace].map(str::to_owned).to_vec()
            }
        }
    }

    fn program(&self) -> Command {
        let mut command = match self {
            Self::Docker => with_docker("docker"),
            Self::Podman(_) => Command::new("podman"),
            Self::Containerd(_) => Command::new("ctr"),
        };
        command.args(self.options());
        command
    }

    /// Gives it an archive without plimsoll; returns whether it was content.
    fn load(&self, archive: &Path) -> bool {
        let mut command = self.program();
        match self {
            Self::Docker | Self::Podman(_) => command.arg("load"),
            Self::Containerd(_) => command.args(["images", "import", "-"]),
        };
        command.stdin(File::open(archive).unwrap()).output().unwrap().status.success()
    }

    /// All images: names with the digest of each one's config, `<none>` for those without a name.
    fn images(&self) -> Vec<(String, String)> {
        let list = |arguments: &[&str]| String::from_utf8(output(self.program().args(arguments))).unwrap();
        let split = |line: &str| line.split_once(' ').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let mut images: Vec<(String, String)> = match self {
            Self::Docker | Self::Podman(_) => {
                let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
                list(&["images", "--all", "--no-trunc", "--format", format]).lines().map(split).collect()
            }
            Self::Containerd(_) => {
                let names = list(&["images", "ls", "--quiet"]);
                names.lines().map(|name| (name.to_owned(), self.config_of(name))).collect()
            }
        };
        images.sort();
        images
    }

    /// What containerd has under a name: it lists the manifest's digest, and the manifest names the config.
    fn config_of(&self, name: &str) -> String {
        let list = String::from_utf8(output(self.program().args(["images", "ls", &format!("name=={name}")]))).unwrap();
        let digest = list.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
        let manifest = output(self.program().args(["content", "get", digest]));
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        manifest["config"]["digest"].as_str().unwrap().to_owned()
    }

    fn clear(&self) {
        match self {
            Self::Docker => {
                let ids = docker(["images", "--all", "--quiet", "--no-trunc"]);
                if !ids.trim().is_empty() {
                    docker(["rmi", "--force"].into_iter().chain(ids.split_whitespace()));
                }
            }
            Self::Podman(_) => drop(output(self.program().args(["rmi", "--all", "--force"]))),
            Self::Containerd(_) => {
                for (name, _) in self.images() {
                    output(self.program().args(["images", "rm", "--sync", &name]));
                }
            }
        }
        assert_eq!(self.images(), []);
    }
}

impl Loader<'_> {
    /// What podman keeps outside of the scratch folder.
    fn forget(&self) {
        if let Self::Podman(scratch) = self {
            fs::remove_dir_all(std::env::temp_dir().join(scratch.name())).unwrap();
        }
    }
}

fn named(name: &str, config: &str) -> (String, String) {
    (name.to_owned(), config.to_owned())
}

/// Loads the sample in each form that the loader takes, what is not trusted, and what is cut.
fn loads_the_verified_image_or_nothing(loader: &Loader<'_>, scratch: &Scratch, forms: &[&str]) {
    loader.clear();
    for (archive, repository, image) in [
        ("hostile/changed-layer/app.tar", "good", NAME),
        ("hostile/extra-tag/app.tar", "good", NAME),
        ("hostile/wrong-tag/app.tar", "good", NAME),
        ("good/app.tar", "hostile/threshold-not-met", NAME),
        ("good/app.tar", "good", "registry.example/team/app:1.5"),
    ] {
        // Nothing is known from the row before.
        let _ = fs::remove_dir_all(scratch.join("store"));
        let mut command = of_sample(scratch, "load", archive, repository);
        loader.set(command.args(["--image", image]));
        let (exit, json) = run(&mut command);
        assert_eq!((exit, json["loaded"].is_null()), (Some(1), true), "{archive}, {repository}, {image}: {json:#}");
        assert_eq!(loader.images(), [], "{archive}, {repository}, {image}");
    }
    for form in forms {
        let mut command = of_sample(scratch, "load", "good/app.tar", "good");
        loader.set(command.args(["--as", form]));
        let json = assert_trusted(&mut command);
        assert!(json["loaded"]["output"].as_str().unwrap().contains(NAME), "{json:#}");
        assert_eq!(loader.images(), [named(NAME, CONFIG)], "{form}");
        loader.clear();

        // What a loader has got when plimsoll stops: never the last file, nor all of the one before it.
        let (whole, cut) = (scratch.join("whole.tar"), scratch.join("cut.tar"));
        let mut export = of_sample(scratch, "export", "good/app.tar", "good");
        assert_trusted(export.arg("-o").arg(&whole).args(["--force", "--as", form]));
        let files = entries(&whole);
        let last = files.last().unwrap();
        let mut lengths: Vec<u64> = files.iter().flat_map(|file| [file.offset, file.byte(1), file.last()]).collect();
        lengths.extend(files.iter().map(|file| file.offset.strict_sub(512)));
        for length in lengths.into_iter().filter(|length| *length <= last.last()) {
            truncated(&whole, length, &cut);
            let _content_or_not = loader.load(&cut);
            assert_eq!(loader.images(), [], "{form}, cut at {length}, the last byte is {}", last.last());
        }
        assert!(loader.load(&whole), "{form}: the good twin");
        assert_eq!(loader.images(), [named(NAME, CONFIG)], "{form}");
        loader.clear();
    }
}

#[test]
fn docker_loads_the_verified_image_or_nothing() {
    if !have(&[Need::Docker]) {
        return;
    }
    let scratch = Scratch::new();
    let _daemon = daemon_alone();
    loads_the_verified_image_or_nothing(&Loader::Docker, &scratch, &["docker-archive"]);
    // The classic store takes no oci-archive, and says so. Nothing is left of it.
    let mut command = of_sample(&scratch, "load", "good/app.tar", "good");
    Loader::Docker.set(command.args(["--as", "oci-archive"]));
    let (exit, json) = run(&mut command);
    if exit != Some(0) {
        assert_eq!((exit, &json["findings"][0]["code"]), (Some(2), &json!("loader-failed")), "{json:#}");
        assert_eq!(Loader::Docker.images(), []);
    }
    Loader::Docker.clear();
}

#[test]
fn podman_loads_the_verified_image_or_nothing() {
    if !have(&[Need::Podman]) {
        return;
    }
    let scratch = Scratch::new();
    let podman = Loader::Podman(&scratch);
    loads_the_verified_image_or_nothing(&podman, &scratch, &FORMS);
    podman.forget();
}

#[test]
fn containerd_loads_the_verified_image_or_nothing() {
    if !have(&[Need::Containerd]) {
        return;
    }
    let scratch = Scratch::new();
    loads_the_verified_image_or_nothing(&Loader::Containerd("plimsoll-load"), &scratch, &FORMS);
}

#[test]
fn a_name_that_points_elsewhere_is_moved_and_what_had_it_stays() {
    if !have(&[Need::Docker]) {
        return;
    }
    let scratch = Scratch::new();
    let _daemon = daemon_alone();
    let loader = Loader::Docker;
    loader.clear();
    // What was signed before, to one who has not seen what is signed now.
    let mut old = of_sample(&scratch, "load", "hostile/rollback/app.tar", "hostile/rollback");
    loader.set(&mut old);
    let old = assert_trusted(&mut old)["config"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(loader.images(), [named(NAME, &old)]);
    let mut new = of_sample(&scratch, "load", "good/app.tar", "good");
    loader.set(&mut new);
    assert_trusted(&mut new);
    assert_eq!(loader.images(), [named("<none>:<none>", &old), named(NAME, CONFIG)]);
    // And back it does not go.
    let mut old = of_sample(&scratch, "load", "hostile/rollback/app.tar", "hostile/rollback");
    loader.set(&mut old);
    assert_eq!(run(&mut old).0, Some(1));
    assert_eq!(loader.images()[1], named(NAME, CONFIG));
    loader.clear();
}

#[test]
fn a_short_name_is_the_same_image_to_every_loader() {
    if !have(&[Need::PythonTuf, Need::Docker, Need::Podman, Need::Containerd]) {
        return;
    }
    let scratch = Scratch::new();
    let _daemon = daemon_alone();
    let archive = scratch.join("app.tar");
    with_manifest(&sample("good/app.tar"), &archive, |manifest| manifest[0]["RepoTags"] = json!(["app:1"]));
    let manifest = sample("source/app.manifest.json");
    let repository = Repository::create(scratch.join("repository"), &[("app:1", &manifest)], &[]);
    let loaders = [Loader::Docker, Loader::Podman(&scratch), Loader::Containerd("plimsoll-short")];
    for loader in &loaders {
        loader.clear();
        let forms = if matches!(loader, Loader::Docker) { &FORMS[..1] } else { &FORMS[..] };
        for form in forms {
            let mut command = plimsoll(&scratch, "load", &archive, &repository.dir, &repository.pinned_root());
            loader.set(command.args(["--as", form]));
            let json = assert_trusted(&mut command);
            assert_eq!(json["loaded"]["names"], json!(["docker.io/library/app:1"]));
            // Docker shows the short form of the full name.
            let shown = if matches!(loader, Loader::Docker) { "app:1" } else { "docker.io/library/app:1" };
            assert_eq!(loader.images(), [named(shown, CONFIG)], "{form}");
            loader.clear();
        }
        loader.forget();
    }
}

#[test]
fn skopeo_finds_the_signed_image_in_every_export() {
    if !have(&[Need::Skopeo]) {
        return;
    }
    let scratch = Scratch::new();
    for (form, transport) in [("docker-archive", "docker-archive"), ("oci-archive", "oci-archive"), ("oci-dir", "oci")]
    {
        let place = scratch.join(form);
        assert_trusted(
            of_sample(&scratch, "export", "good/app.tar", "good").arg("-o").arg(&place).args(["--as", form]),
        );
        let image = format!("{transport}:{}", place.display());
        let config = scratch.join("config.json");
        fs::write(&config, text("skopeo", ["inspect", "--config", "--raw", &image])).unwrap();
        let digest = text("sha256sum", [config.to_str().unwrap()]);
        assert_eq!(format!("sha256:{}", &digest[..64]), CONFIG, "{form}");
        // All of it is read and checked on the way.
        let copy = scratch.join(&format!("{form}.copy"));
        text("skopeo", ["--insecure-policy", "copy", "--quiet", &image, &format!("dir:{}", copy.display())]);
        let signed = fs::read(sample("source/app.manifest.json")).unwrap();
        let copied = fs::read(copy.join("manifest.json")).unwrap();
        assert!(copied == signed || form == "docker-archive", "{form}: the registry's digest survives");
    }
}

#[test]
fn a_daemon_that_is_not_there_is_undecided_in_docker_s_words() {
    if !have(&[Need::Docker]) {
        return;
    }
    let scratch = Scratch::new();
    let mut command = of_sample(&scratch, "load", "good/app.tar", "good");
    command.env("DOCKER_HOST", format!("unix://{}", scratch.join("no.sock").display())).env_remove("DOCKER_CONTEXT");
    let (exit, json) = run(&mut command);
    assert_eq!((exit, &json["verdict"]), (Some(2), &json!("undecided")), "{json:#}");
    let finding = &json["findings"][0];
    assert_eq!(finding["code"], "loader-failed");
    assert!(
        finding["message"].as_str().unwrap().to_lowercase().contains("cannot connect to the docker daemon"),
        "{json:#}"
    );
}
