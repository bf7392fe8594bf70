//! Images of layers that the tests write, or took out of an archive: folders with an OCI layout, in which layers are linked and not copied.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::archive::DockerArchive;

/// A layer as a tar, and its digest in hexadecimal.
#[derive(Clone)]
pub(crate) struct Layer {
    pub(crate) path: PathBuf,
    digest: String,
    size: u64,
}

/// What a test puts into a layer.
pub(crate) enum Item<'a> {
    Folder(&'a str),
    File(&'a str, &'a [u8]),
    /// With a mode.
    Mode(&'a str, &'a [u8], u32),
    Link(&'a str, &'a str),
}

impl Layer {
    pub(crate) fn of(path: PathBuf) -> Self {
        let (digest, size) = digest(&path);
        Self { path, digest, size }
    }

    pub(crate) fn write(path: PathBuf, items: &[Item<'_>]) -> Self {
        let mut tar = tar::Builder::new(File::create(&path).unwrap());
        for item in items {
            let (name, kind, content, mode, target) = match *item {
                Item::Folder(name) => (name, tar::EntryType::Directory, &b""[..], 0o755, None),
                Item::File(name, content) => (name, tar::EntryType::Regular, content, 0o644, None),
                Item::Mode(name, content, mode) => (name, tar::EntryType::Regular, content, mode, None),
                Item::Link(name, target) => (name, tar::EntryType::Symlink, &b""[..], 0o777, Some(target)),
            };
            append(&mut tar, name.as_bytes(), kind, content, mode, target);
        }
        tar.into_inner().unwrap().flush().unwrap();
        Self::of(path)
    }

    /// All layers of an archive, each as a file in a folder.
    pub(crate) fn all(archive: &Path, folder: &Path) -> Vec<Self> {
        let layers = DockerArchive::read(archive).layers;
        let copy = |(number, layer): (usize, &crate::archive::Entry)| {
            let path = folder.join(format!("layer-{number}.tar"));
            let mut file = File::open(archive).unwrap();
            file.seek(SeekFrom::Start(layer.offset)).unwrap();
            std::io::copy(&mut file.take(layer.size), &mut File::create(&path).unwrap()).unwrap();
            Self::of(path)
        };
        layers.iter().enumerate().map(copy).collect()
    }
}

/// Writes an entry whose name may be any bytes.
pub(crate) fn append(
    tar: &mut tar::Builder<File>,
    name: &[u8],
    kind: tar::EntryType,
    content: &[u8],
    mode: u32,
    target: Option<&str>,
) {
    let mut header = tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    if let Some(target) = target {
        header.set_link_name_literal(target).unwrap();
    }
    header.set_entry_type(kind);
    header.set_size(u64::try_from(content.len()).unwrap());
    header.set_mode(mode);
    header.set_mtime(1_700_000_000);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

/// Writes an image of these layers that claims a full name, as the folder of an OCI layout.
pub(crate) fn image(folder: &Path, name: &str, layers: &[Layer]) -> PathBuf {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for layer in layers {
        let _it_is_there_already = fs::hard_link(&layer.path, blobs.join(&layer.digest));
    }
    let write = |value: &Value| {
        let bytes = serde_json::to_vec(value).unwrap();
        let digest = hex(ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref());
        fs::write(blobs.join(&digest), &bytes).unwrap();
        (format!("sha256:{digest}"), bytes.len())
    };
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect();
    let (config, config_size) = write(&json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }));
    let layers: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let digest = format!("sha256:{}", layer.digest);
            json!({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": layer.size})
        })
        .collect();
    let manifest_type = "application/vnd.oci.image.manifest.v1+json";
    let (manifest, manifest_size) = write(&json!({
        "schemaVersion": 2, "mediaType": manifest_type,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": config_size},
        "layers": layers,
    }));
    let index = json!({
        "schemaVersion": 2,
        "manifests": [{
            "mediaType": manifest_type, "digest": manifest, "size": manifest_size,
            "annotations": {"org.opencontainers.image.ref.name": name},
        }],
    });
    fs::write(folder.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    folder.to_path_buf()
}

fn digest(path: &Path) -> (String, u64) {
    let mut file = File::open(path).unwrap();
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let (mut buffer, mut size) = (vec![0; 1 << 20], 0_u64);
    loop {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            return (hex(context.finish().as_ref()), size);
        }
        context.update(&buffer[..count]);
        size = size.strict_add(u64::try_from(count).unwrap());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
