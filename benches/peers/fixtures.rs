//! What is measured on: archives with the repository that signs them, and repositories that have grown. Made once and kept.
//!
//! Another process makes them, so that the bench itself stays small.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

use serde_json::{Value, json};

use crate::layers::{Files, Hashed, compress, hashed};
use crate::repositories::{self, Plan};
use crate::support::image::{self, NAME, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::support::repo::{Repo, Signer};

/// The first argument of a process that makes one.
const MAKE: &str = "--make";
/// The target that signs the image [`NAME`].
pub(crate) const MANIFEST: &str = "registry.example/team/app/1.4/manifest.json";

/// How an archive holds its layers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Classic,
    Gzip,
    Zstd,
}

/// The folder of a fixture below `folder`, made if it is not there. `what` says all of it: `flat 1000`, `archive gzip 200,300`, `archive
/// classic 100x10`.
pub(crate) fn folder(folder: &Path, what: &str) -> PathBuf {
    let path = folder.join(what.replace([' ', ','], "-"));
    if !path.exists() {
        eprintln!("making {}", path.display());
        let begun = path.with_extension("part");
        if begun.exists() {
            fs::remove_dir_all(&begun).unwrap();
        }
        fs::create_dir_all(&begun).unwrap();
        let mut maker = Command::new(env::current_exe().unwrap());
        let status = maker.arg(MAKE).arg(&begun).args(what.split(' ')).status().unwrap();
        assert!(status.success(), "{what}: {status}");
        fs::rename(begun, &path).unwrap();
    }
    read_once(&path);
    path
}

/// Reads every file, so that none of the contenders is the first to.
fn read_once(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_once(&path);
        } else {
            std::io::copy(&mut File::open(path).unwrap(), &mut std::io::sink()).unwrap();
        }
    }
}

/// Ends the process if it was started to make a fixture, once that is done.
pub(crate) fn make_if_asked() {
    let mut words = env::args_os().skip(1);
    if words.next().as_deref() != Some(OsStr::new(MAKE)) {
        return;
    }
    let words: Vec<String> = words.map(|word| word.into_string().unwrap()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let folder = Path::new(words[0]);
    let number = |word: &str| word.parse::<usize>().unwrap();
    match words[1..] {
        ["flat", targets] => Plan::flat(number(targets)).write(folder),
        ["bins", bits, targets] => Plan::hashed(number(targets), number(bits) as u32).write(folder),
        ["roots", rotations] => roots(folder, number(rotations)),
        ["archive", form, sizes] => {
            let form = match form {
                "classic" => Form::Classic,
                "gzip" => Form::Gzip,
                _ => Form::Zstd,
            };
            let sizes = match sizes.split_once('x') {
                Some((count, size)) => vec![size.parse().unwrap(); number(count)],
                None => sizes.split(',').map(|size| size.parse().unwrap()).collect(),
            };
            archive(folder, form, &sizes);
        }
        _ => panic!("{words:?}"),
    }
    exit(0);
}

/// A chain of roots, each signed by the key before and its own; the repository signs a tiny image, which is beside it.
fn roots(folder: &Path, rotations: usize) {
    let image = image::Image::small();
    fs::write(folder.join("image.tar"), image::tar(&image::classic(&image, &[NAME]))).unwrap();
    let mut repo = Repo::new();
    for n in 0..rotations {
        repo.rotate("root", &[Signer(if n % 2 == 0 { 50 } else { 51 })]);
    }
    sign(repo, folder, &image.manifest());
}

/// Adds the image's manifest to the repository and writes it.
fn sign(mut repo: Repo, folder: &Path, manifest: &[u8]) {
    repo.target("targets", MANIFEST, manifest).write();
    // Where tough looks for it.
    let hash = crate::support::repo::sha256(manifest);
    repo.files.insert(format!("targets/{hash}.{MANIFEST}"), manifest.to_vec());
    repo.save(folder);
}

/// An archive as `archive.tar`, its repository, and in `facts.json` what contenders must find. Sizes of layers are in MB.
fn archive(folder: &Path, form: Form, sizes: &[u64]) {
    let (mut files, mut layers, mut blobs) = (Files::new(), Vec::new(), Vec::new());
    for (n, size) in sizes.iter().enumerate() {
        let layer = hashed(folder.join(format!("layer-{n}")), |mut out| files.write_layer(&mut out, size * 1_000_000));
        blobs.push(match form {
            Form::Classic => layer.clone(),
            Form::Gzip | Form::Zstd => {
                hashed(folder.join(format!("blob-{n}")), |out| compress(&layer.path, form == Form::Gzip, out))
            }
        });
        layers.push(layer);
    }
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.sha256)).collect();
    let config = image::bytes(&json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/app"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }));
    let suffix = match form {
        Form::Classic => "",
        Form::Gzip => "+gzip",
        Form::Zstd => "+zstd",
    };
    let described = |blob: &Hashed| json!({"mediaType": format!("{OCI_LAYER}{suffix}"), "digest": format!("sha256:{}", blob.sha256), "size": blob.size});
    let descriptors: Vec<Value> = blobs.iter().map(described).collect();
    let manifest = image::bytes(&json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": image::descriptor(OCI_CONFIG, &config), "layers": descriptors}));
    let archive = hashed(folder.join("archive.tar"), |out| {
        let mut tar = tar::Builder::new(out);
        match form {
            Form::Classic => classic(&mut tar, &config, &layers),
            Form::Gzip | Form::Zstd => oci(&mut tar, &config, &manifest, &blobs),
        }
        tar.finish().unwrap();
    });
    sign(Repo::new(), folder, &manifest);
    let sum = |files: &[Hashed]| files.iter().map(|file| file.size).sum::<u64>();
    let facts =
        json!({"sha256": archive.sha256, "size": archive.size, "stored": sum(&blobs), "unpacked": sum(&layers)});
    fs::write(folder.join("facts.json"), facts.to_string()).unwrap();
    for file in layers.iter().chain(&blobs) {
        let _same_for_both = fs::remove_file(&file.path);
    }
}

type Tar<'a> = tar::Builder<&'a mut dyn std::io::Write>;

fn add(tar: &mut Tar<'_>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).unwrap();
}

fn add_file(tar: &mut Tar<'_>, name: &str, file: &Hashed) {
    let mut header = tar::Header::new_ustar();
    header.set_size(file.size);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, File::open(&file.path).unwrap()).unwrap();
}

/// As `docker save` up to 24 writes it.
fn classic(tar: &mut Tar<'_>, config: &[u8], layers: &[Hashed]) {
    let mut paths = Vec::new();
    for layer in layers {
        let id = crate::support::repo::sha256(layer.sha256.as_bytes());
        add(tar, &format!("{id}/VERSION"), b"1.0");
        add(tar, &format!("{id}/json"), b"{}");
        let path = format!("{id}/layer.tar");
        add_file(tar, &path, layer);
        paths.push(path);
    }
    let name = format!("{}.json", crate::support::repo::sha256(config));
    add(tar, &name, config);
    add(tar, "manifest.json", &image::manifest_json(&name, &[NAME], &paths));
    add(tar, "repositories", b"{}");
}

/// As podman and skopeo write it.
fn oci(tar: &mut Tar<'_>, config: &[u8], manifest: &[u8], blobs: &[Hashed]) {
    for blob in blobs {
        add_file(tar, &format!("blobs/sha256/{}", blob.sha256), blob);
    }
    for content in [config, manifest] {
        add(tar, &image::blob_name(content), content);
    }
    add(tar, "index.json", &image::bytes(&image::index_json(OCI_MANIFEST, manifest, &[NAME])));
    add(tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
}

/// Makes an empty folder of whatever is there.
pub(crate) fn emptied(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).unwrap();
    }
    fs::create_dir_all(folder).unwrap();
}

/// The content of the target that is looked up in a flat or hashed repository, and its path.
pub(crate) fn looked_up(targets: usize) -> (String, Vec<u8>) {
    let n = Plan::flat(targets).looked_up();
    (repositories::path_of(n), repositories::content(n, 1))
}
