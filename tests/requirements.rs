//! What an image must be besides signed: who it runs as, and what it is built on. For each image that is trusted the nearest one that is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test states what it expects")]
#![allow(clippy::type_complexity, reason = "tables of functions")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use plimsoll::client::{Client, DirSource, Source, SourceError, Store};
use plimsoll::name::ImageName;
use plimsoll::verdict::Verdict;
use plimsoll::verify::{Govern, NotGoverned, Requirements, Terms, Verifier};
use serde_json::json;
use support::image::*;
use support::repo::Repo;
use support::source::{MemorySource, client};

const FOLDER: &str = "registry.example/team/app/1.4/";
const BASE: &str = "registry.example/base/debian:12";
const BASE_FOLDER: &str = "registry.example/base/debian/12/";

/// An image that runs as `user`.
fn run_as(user: serde_json::Value, layers: &[Vec<Item>]) -> Image {
    let layers: Vec<Vec<u8>> = layers.iter().map(|items| tar(items)).collect();
    let mut image = Image::new(&layers, Stored::Gzip);
    let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
    config["config"]["User"] = user;
    image.config = bytes(&config);
    image
}

fn words(verdict: &Verdict) -> String {
    let codes: Vec<&str> = verdict.findings().iter().map(|finding| finding.code()).collect();
    if codes.is_empty() { verdict.word().to_owned() } else { format!("{}: {}", verdict.word(), codes.join(", ")) }
}

fn non_root(image: &Image) -> Verdict {
    let mut repo = Repo::new();
    repo.target("targets", &format!("{FOLDER}manifest.json"), &image.manifest()).publish();
    let requirements = Requirements::default().with_non_root();
    let verifier = Verifier::new(client(&repo, Store::in_memory())).with_requirements(requirements);
    verifier.verify_archive(tar(&classic(image, &[NAME])), "app.tar")
}

fn passwd(text: &str) -> Item {
    file("etc/passwd", text.as_bytes())
}

#[test]
fn an_image_that_runs_as_root_is_refused_by_its_own_passwd() {
    const APP: &str = "root:x:0:0::/:\napp:x:1000:1000::/:\n";
    const ROOT: &str = "root:x:0:0::/:\napp:x:0:0::/:\n";
    let cases: &[(&str, &str, fn() -> Vec<Vec<Item>>, &str)] = &[
        ("a user", "app", || vec![vec![passwd(APP)]], "trusted"),
        ("a number", "1000", || vec![vec![file("x", b"")]], "trusted"),
        ("root", "root", || vec![vec![passwd(APP)]], "untrusted: image-runs-as-root"),
        ("nobody", "", || vec![vec![passwd(APP)]], "untrusted: image-runs-as-root"),
        ("a user who is root", "app", || vec![vec![passwd(ROOT)]], "untrusted: image-runs-as-root"),
        (
            "a later layer makes the user root",
            "app",
            || vec![vec![passwd(APP)], vec![passwd(ROOT)]],
            "untrusted: image-runs-as-root",
        ),
        ("a later layer makes root a user", "app", || vec![vec![passwd(ROOT)], vec![passwd(APP)]], "trusted"),
        (
            "a later layer takes the file away",
            "app",
            || vec![vec![passwd(APP)], vec![file("etc/.wh.passwd", b"")]],
            "untrusted: image-user-unknown",
        ),
        (
            "the file behind a link",
            "app",
            || vec![vec![file("opt/users", APP.as_bytes()), link("etc/passwd", "/opt/users")]],
            "trusted",
        ),
        (
            "the file behind a link, where the user is root",
            "app",
            || vec![vec![file("opt/users", ROOT.as_bytes()), link("etc/passwd", "../../opt/users")]],
            "untrusted: image-runs-as-root",
        ),
        (
            "a folder behind a link",
            "app",
            || vec![vec![file("usr/etc/passwd", ROOT.as_bytes()), link("etc", "usr/etc")]],
            "untrusted: image-runs-as-root",
        ),
        (
            "a link that leads nowhere",
            "app",
            || vec![vec![link("etc/passwd", "/opt/users")]],
            "untrusted: image-user-unknown",
        ),
        (
            "layers on which loaders differ",
            "1000",
            || vec![vec![passwd(APP)], vec![file("etc/.wh.passwd", b"x")]],
            "untrusted: layer-ambiguous",
        ),
    ];
    for (name, user, layers, expected) in cases {
        assert_eq!(words(&non_root(&run_as(json!(user), &layers()))), *expected, "{name}");
    }
    for (name, user, expected) in [
        ("null", json!(null), "untrusted: image-runs-as-root"),
        ("a number in JSON", json!(1000), "untrusted: document-malformed"),
    ] {
        assert_eq!(words(&non_root(&run_as(user, &[vec![passwd(APP)]]))), expected, "{name}");
    }
}

#[test]
fn a_user_whose_key_is_spelled_otherwise_is_refused_whoever_asks() {
    // Go's readers take each of these for `User`; the last of them counts.
    for key in ["user", "USER", "u\u{17f}er"] {
        let mut image = run_as(json!("1000"), &[vec![file("x", b"")]]);
        let mut config: serde_json::Value = serde_json::from_slice(&image.config).unwrap();
        config["config"][key] = json!("0");
        image.config = bytes(&config);
        assert_eq!(words(&non_root(&image)), "untrusted: document-ambiguous", "{key}");
    }
}

#[test]
fn a_demand_of_users_is_told_when_it_holds() {
    let verdict = non_root(&run_as(json!("app:www"), &[vec![passwd("app:x:7:7::/:\n")]]));
    assert!(verdict.to_string().contains("  user      app:www, who is not root\n"), "{verdict}");
    let json: serde_json::Value = serde_json::from_str(&verdict.to_json()).unwrap();
    assert_eq!(json["policy"], json!([{"image": NAME, "scope": null, "user": "app:www", "base": null}]));
}

/// How the archive holds the image's layers.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    Classic,
    Oci,
}

/// The verdict on an image that must be built on `base`.
fn on_base(image: &Image, base: &Image, held: Held, config: Option<&[u8]>) -> Verdict {
    let mut repo = Repo::new();
    repo.target("targets", &format!("{FOLDER}manifest.json"), &image.manifest());
    repo.target("targets", &format!("{BASE_FOLDER}manifest.json"), &base.manifest());
    if let Some(config) = config {
        repo.target("targets", &format!("{BASE_FOLDER}config.json"), config);
    }
    repo.publish();
    let requirements = Requirements::default().with_base(BASE.parse().unwrap());
    let verifier = Verifier::new(client(&repo, Store::in_memory())).with_requirements(requirements);
    let items = if held == Held::Oci { oci_archive(image, &[NAME]) } else { classic(image, &[NAME]) };
    verifier.verify_archive(tar(&items), "app.tar")
}

#[test]
fn an_image_is_built_on_its_base_or_refused() {
    let (a, b, c) = (layer("a", b"a"), layer("b", b"b"), layer("c", b"c"));
    let image =
        |layers: &[&Vec<u8>], stored| Image::new(&layers.iter().map(|l| l.to_vec()).collect::<Vec<_>>(), stored);
    let ours = |stored| image(&[&a, &b, &c], stored);
    let gzip = Stored::Gzip;
    let cases: &[(&str, Image, Held, &str)] = &[
        ("uncompressed, as the base is signed", image(&[&a, &b], Stored::Plain), Held::Classic, "trusted"),
        ("all of the image", image(&[&a, &b, &c], Stored::Plain), Held::Classic, "trusted"),
        ("the very blobs of the base", image(&[&a, &b], gzip), Held::Oci, "trusted"),
        ("another layer first", image(&[&b], Stored::Plain), Held::Classic, "untrusted: base-mismatch"),
        ("another layer second", image(&[&a, &c], Stored::Plain), Held::Classic, "untrusted: base-mismatch"),
        (
            "more layers than the image",
            image(&[&a, &b, &c, &a], Stored::Plain),
            Held::Classic,
            "untrusted: base-mismatch",
        ),
        ("no layer", image(&[], Stored::Plain), Held::Classic, "untrusted: base-mismatch"),
        // Whether a blob that is not there unpacks to this layer, nobody can see.
        ("compressed, and the archive is not", image(&[&a, &b], gzip), Held::Classic, "untrusted: base-not-shown"),
        ("compressed otherwise", image(&[&a, &b], Stored::Zstd), Held::Oci, "untrusted: base-not-shown"),
        ("another layer, compressed", image(&[&a, &c], gzip), Held::Oci, "untrusted: base-not-shown"),
    ];
    for (name, base, held, expected) in cases {
        assert_eq!(words(&on_base(&ours(gzip), base, *held, None)), *expected, "{name}");
    }
    // With the base's config, whatever the form.
    for (name, base, config, expected) in [
        ("its config", image(&[&a, &b], gzip), None, "trusted"),
        ("its config, and another layer", image(&[&a, &c], gzip), None, "untrusted: base-mismatch"),
        (
            "the config of another",
            image(&[&a, &b], gzip),
            Some(image(&[&a, &c], gzip).config),
            "untrusted: signed-mismatch",
        ),
        ("no config at all", image(&[&a, &b], gzip), Some(b"{}".to_vec()), "untrusted: signed-mismatch"),
    ] {
        let config = config.unwrap_or_else(|| base.config.clone());
        for held in [Held::Classic, Held::Oci] {
            assert_eq!(words(&on_base(&ours(gzip), &base, held, Some(&config))), expected, "{name}");
        }
    }
}

#[test]
fn what_the_image_says_of_its_own_blobs_shows_nothing() {
    // The image's manifest lists the base's blob, but the layer is another: a classic archive has no blob that would tell.
    let base = Image::new(&[layer("a", b"a")], Stored::Gzip);
    let mut image = Image::new(&[layer("a", b"evil")], Stored::Gzip);
    image.blobs = base.blobs.clone();
    assert_eq!(words(&on_base(&image, &base, Held::Classic, None)), "untrusted: base-not-shown");
    assert_eq!(words(&on_base(&image, &base, Held::Classic, Some(&base.config))), "untrusted: base-mismatch");
}

#[test]
fn a_base_that_is_not_signed_is_no_base() {
    let image = Image::small();
    let mut repo = Repo::new();
    repo.target("targets", &format!("{FOLDER}manifest.json"), &image.manifest()).publish();
    let requirements = Requirements::default().with_base(BASE.parse().unwrap());
    let verifier = Verifier::new(client(&repo, Store::in_memory())).with_requirements(requirements);
    let verdict = verifier.verify_archive(tar(&classic(&image, &[NAME])), "app.tar");
    assert_eq!(words(&verdict), "untrusted: image-not-signed");
    assert!(verdict.findings()[0].message().starts_with(BASE), "{verdict}");
}

/// Two repositories, by the first part of a name.
struct Two {
    team: Terms<MemorySource>,
    other: Terms<MemorySource>,
}

impl Govern<MemorySource> for Two {
    fn terms(&self, name: &ImageName) -> Result<&Terms<MemorySource>, NotGoverned> {
        match name.repository().split('/').next() {
            Some("team") => Ok(&self.team),
            Some("other") => Ok(&self.other),
            Some("gone") => Err(NotGoverned::Undecided { code: "repository-unreadable", message: "away".to_owned() }),
            _ => Err(NotGoverned::Refused { code: "policy-no-scope", message: format!("{name}: no") }),
        }
    }
}

#[test]
fn each_name_of_an_archive_is_verified_by_its_own_terms() {
    let image = Image::small();
    let signed = |folder: &str| {
        let mut repo = Repo::new();
        repo.target("targets", &format!("{folder}manifest.json"), &image.manifest()).publish();
        client(&repo, Store::in_memory())
    };
    let names = |names: &[&str], other_folder: &str, demands: Requirements| {
        let team = Terms::new(signed(FOLDER)).with_source("the team's");
        let other = Terms::new(signed(other_folder)).with_source("the others'").with_requirements(demands);
        Verifier::governed(Two { team, other }).verify_archive(tar(&classic(&image, names)), "app.tar")
    };
    const OTHER: &str = "registry.example/other/app:1";
    let both = [NAME, OTHER];
    let folder = "registry.example/other/app/1/";
    let none = Requirements::default;
    assert_eq!(words(&names(&both, folder, none())), "trusted");
    // What one repository signs counts nothing for a name that another decides on.
    assert_eq!(words(&names(&both, FOLDER, none())), "untrusted: image-not-signed");
    assert_eq!(words(&names(&[NAME], FOLDER, none())), "trusted");
    // The strictest terms of all names hold.
    assert_eq!(words(&names(&both, folder, none().with_non_root())), "untrusted: image-runs-as-root");
    assert_eq!(words(&names(&[NAME], folder, none().with_non_root())), "trusted");
    assert_eq!(
        words(&names(&[NAME, "registry.example/gone/app:1"], folder, none())),
        "undecided: repository-unreadable"
    );
    assert_eq!(words(&names(&[NAME, "registry.example/else/app:1"], folder, none())), "untrusted: policy-no-scope");
    let json: serde_json::Value = serde_json::from_str(&names(&both, folder, none()).to_json()).unwrap();
    let rows = json["policy"].as_array().unwrap();
    assert_eq!(
        rows.iter().map(|row| row["scope"].as_str().unwrap()).collect::<Vec<_>>(),
        ["the others'", "the team's"]
    );
    // Each of the two repositories' metadata is in the report, once.
    assert!(
        json["metadata"].is_object() && rows.iter().filter(|row| row["metadata"].is_object()).count() == 1,
        "{json:#}"
    );
}

#[test]
fn several_archives_have_their_verdicts_in_their_order_and_each_repository_is_asked_once() {
    struct Counted(DirSource, Mutex<Vec<String>>);
    impl Source for &Counted {
        fn metadata(&self, name: &str) -> Result<Option<Box<dyn std::io::Read + '_>>, SourceError> {
            self.1.lock().unwrap().push(name.to_owned());
            self.0.metadata(name)
        }
        fn target(&self, name: &str) -> Result<Option<Box<dyn std::io::Read + '_>>, SourceError> {
            self.0.target(name)
        }
    }
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("test-repos");
    let root = std::fs::read(samples.join("root.json")).unwrap();
    let source = Counted(DirSource::repository(&samples.join("good")).unwrap(), Mutex::default());
    let client = Client::new(root, &source, Store::in_memory());
    let verifier = Verifier::new(client);
    let archives: Vec<PathBuf> = ["good", "hostile/changed-layer", "none", "good", "hostile/changed-layer"]
        .iter()
        .map(|name| samples.join(name).join("app.tar"))
        .collect();
    let mut verdicts = Vec::new();
    verifier.verify_all(&archives, |place, verdict| verdicts.push((place, words(&verdict))));
    let expected = ["trusted", "untrusted: layer-diff-id-mismatch", "undecided: archive-unreadable"];
    let expected = [expected[0], expected[1], expected[2], expected[0], expected[1]];
    assert_eq!(verdicts, expected.into_iter().map(str::to_owned).enumerate().collect::<Vec<_>>());
    let requests = source.1.lock().unwrap();
    assert_eq!(requests.iter().filter(|name| *name == "timestamp.json").count(), 1, "{requests:?}");
    verifier.verify_all::<PathBuf>(&[], |_, _| unreachable!());
}
