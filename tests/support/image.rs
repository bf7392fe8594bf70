//! Images and archives, built in memory from a few lines: well-formed ones of every form, and any malformed tar.
//!
//! An archive is a list of [`Item`]s. A test takes a good list, changes one thing and writes it with [`tar`].

use std::io::Write;

use plimsoll::digest::Sha256;
use serde_json::{Value, json};

pub const NAME: &str = "registry.example/team/app:1.4";

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// How a registry stores a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    Plain,
    Gzip,
    Zstd,
}

/// An image as its publisher built it.
#[derive(Clone, Debug)]
pub struct Image {
    pub config: Vec<u8>,
    /// The uncompressed layers.
    pub layers: Vec<Vec<u8>>,
    /// The layers as the registry stores them, with their media types.
    pub blobs: Vec<(String, Vec<u8>)>,
    pub docker_types: bool,
}

impl Image {
    /// Two layers, gzip in the registry.
    pub fn small() -> Self {
        Self::new(&[layer("etc/motd", b"hello\n"), layer("bin/app", b"#!/bin/sh\n")], Stored::Gzip)
    }

    pub fn new(layers: &[Vec<u8>], stored: Stored) -> Self {
        Self::for_platform("amd64", layers, stored)
    }

    pub fn for_platform(architecture: &str, layers: &[Vec<u8>], stored: Stored) -> Self {
        let diff_ids: Vec<String> = layers.iter().map(|l| Sha256::of(l).to_string()).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/app"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let blobs = layers.iter().map(|l| blob(l, stored)).collect();
        Self { config: bytes(&config), layers: layers.to_vec(), blobs, docker_types: false }
    }

    /// The manifest as the registry serves it: what is signed.
    pub fn manifest(&self) -> Vec<u8> {
        bytes(&self.manifest_json())
    }

    pub fn manifest_json(&self) -> Value {
        let layers: Vec<Value> = self.blobs.iter().map(|(media_type, blob)| descriptor(media_type, blob)).collect();
        let (manifest, config) =
            if self.docker_types { (DOCKER_MANIFEST, DOCKER_CONFIG) } else { (OCI_MANIFEST, OCI_CONFIG) };
        json!({"schemaVersion": 2, "mediaType": manifest, "config": descriptor(config, &self.config), "layers": layers})
    }

    /// The manifest that docker 25 to 28 make up when they save: uncompressed layers.
    pub fn re_encoded_manifest_json(&self) -> Value {
        let layers: Vec<Value> = self.layers.iter().map(|l| descriptor(OCI_LAYER, l)).collect();
        json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, &self.config), "layers": layers})
    }
}

/// A layer's tar with one file.
pub fn layer(path: &str, content: &[u8]) -> Vec<u8> {
    tar(&[file(path, content)])
}

fn blob(layer: &[u8], stored: Stored) -> (String, Vec<u8>) {
    match stored {
        Stored::Plain => (OCI_LAYER.to_owned(), layer.to_vec()),
        Stored::Gzip => (format!("{OCI_LAYER}+gzip"), gzip(layer)),
        Stored::Zstd => (format!("{OCI_LAYER}+zstd"), zstd(layer)),
    }
}

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(content: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Sha256::of(content).to_string(), "size": content.len()})
}

pub fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

// ---- archives of every form ----

/// As `docker save` up to 24 writes it. A repeated layer is a link to the first.
pub fn classic(image: &Image, names: &[&str]) -> Vec<Item> {
    let mut items = Vec::new();
    let mut paths: Vec<String> = Vec::new();
    let mut first_of = std::collections::BTreeMap::new();
    for (i, layer) in image.layers.iter().enumerate() {
        let id = Sha256::of(&[i.to_string().as_bytes(), &image.config].concat()).to_hex();
        let path = format!("{id}/layer.tar");
        items.push(dir(&format!("{id}/")));
        items.push(file(&format!("{id}/VERSION"), b"1.0"));
        items.push(file(&format!("{id}/json"), b"{}"));
        match first_of.get(layer) {
            Some(first) => items.push(link(&path, &format!("../{first}/layer.tar"))),
            None => items.push(file(&path, layer)),
        }
        first_of.entry(layer).or_insert(id);
        paths.push(path);
    }
    let config = format!("{}.json", Sha256::of(&image.config).to_hex());
    items.push(file(&config, &image.config));
    items.push(file("manifest.json", &manifest_json(&config, names, &paths)));
    items.push(file("repositories", b"{}"));
    items
}

/// As `docker save` from 25 to 28 writes it: an OCI manifest of its own, with uncompressed layers.
pub fn hybrid(image: &Image, names: &[&str]) -> Vec<Item> {
    let manifest = bytes(&image.re_encoded_manifest_json());
    let layers: Vec<&[u8]> = image.layers.iter().map(Vec::as_slice).collect();
    layout(image, names, OCI_MANIFEST, &manifest, &layers, true)
}

/// As `docker save` writes it from the containerd image store: the registry's blobs.
pub fn registry_hybrid(image: &Image, names: &[&str]) -> Vec<Item> {
    let blobs: Vec<&[u8]> = image.blobs.iter().map(|(_, blob)| blob.as_slice()).collect();
    layout(image, names, media_type(image), &image.manifest(), &blobs, true)
}

/// As podman and skopeo write it.
pub fn oci_archive(image: &Image, names: &[&str]) -> Vec<Item> {
    let blobs: Vec<&[u8]> = image.blobs.iter().map(|(_, blob)| blob.as_slice()).collect();
    layout(image, names, media_type(image), &image.manifest(), &blobs, false)
}

/// A hybrid whose OCI half starts at an index.
pub fn index_hybrid(index: &[u8], images: &[&Image], names: &[&str]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for image in images {
        for item in registry_hybrid(image, names) {
            if !items.iter().any(|i| i.name() == item.name()) {
                items.push(item);
            }
        }
    }
    items.push(blob_file(index));
    replace(&mut items, "index.json", &bytes(&index_json(OCI_INDEX, index, names)));
    items
}

/// An index of images, by architecture.
pub fn index_of(images: &[(&str, &Image)]) -> Value {
    let manifests: Vec<Value> = images
        .iter()
        .map(|(architecture, image)| {
            let mut descriptor = descriptor(media_type(image), &image.manifest());
            descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
            descriptor
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
}

fn media_type(image: &Image) -> &'static str {
    if image.docker_types { DOCKER_MANIFEST } else { OCI_MANIFEST }
}

fn layout(
    image: &Image,
    names: &[&str],
    media_type: &str,
    manifest: &[u8],
    layers: &[&[u8]],
    docker: bool,
) -> Vec<Item> {
    let mut items = vec![dir("blobs/"), dir("blobs/sha256/")];
    for content in layers.iter().copied().chain([image.config.as_slice(), manifest]) {
        if !items.iter().any(|item| item.name() == blob_name(content)) {
            items.push(blob_file(content));
        }
    }
    items.push(file("index.json", &bytes(&index_json(media_type, manifest, names))));
    if docker {
        let paths: Vec<String> = layers.iter().map(|l| blob_name(l)).collect();
        items.push(file("manifest.json", &manifest_json(&blob_name(&image.config), names, &paths)));
    }
    items.push(file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
    items
}

/// `manifest.json`, with a newline after it, as docker writes it.
pub fn manifest_json(config: &str, names: &[&str], layers: &[String]) -> Vec<u8> {
    let tags = if names.is_empty() { Value::Null } else { json!(names) };
    let mut out = bytes(&json!([{"Config": config, "RepoTags": tags, "Layers": layers}]));
    out.push(b'\n');
    out
}

/// `index.json`: one descriptor per name, with the full name for containerd and the bare tag for OCI tools.
pub fn index_json(media_type: &str, document: &[u8], names: &[&str]) -> Value {
    let named = |name: &&str| {
        let mut descriptor = descriptor(media_type, document);
        let tag = name.rsplit(':').next().unwrap();
        descriptor["annotations"] = json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag});
        descriptor
    };
    let mut manifests: Vec<Value> = names.iter().map(named).collect();
    if manifests.is_empty() {
        manifests.push(descriptor(media_type, document));
    }
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests})
}

pub fn blob_name(content: &[u8]) -> String {
    format!("blobs/sha256/{}", Sha256::of(content).to_hex())
}

pub fn blob_file(content: &[u8]) -> Item {
    file(&blob_name(content), content)
}

/// Writes the items as files and folders below `folder`, as `tar -x` would; links are left out.
pub fn unpack(items: &[Item], folder: &std::path::Path) {
    for item in items {
        let path = folder.join(item.name());
        match item.header.as_ref().unwrap().kind {
            b'5' => std::fs::create_dir_all(path).unwrap(),
            b'0' => {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, &item.content).unwrap();
            }
            _ => {}
        }
    }
}

// ---- changing a list of items ----

pub fn position(items: &[Item], name: &str) -> usize {
    items.iter().position(|item| item.name() == name).unwrap_or_else(|| panic!("no entry {name}"))
}

/// Gives the file `name` another content.
pub fn replace(items: &mut [Item], name: &str, content: &[u8]) {
    let i = position(items, name);
    items[i] = file(name, content);
}

pub fn content(items: &[Item], name: &str) -> Vec<u8> {
    items[position(items, name)].content.clone()
}

pub fn remove(items: &mut Vec<Item>, name: &str) {
    items.remove(position(items, name));
}

/// Changes the JSON file `name`.
pub fn edit(items: &mut [Item], name: &str, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_slice(&content(items, name)).unwrap();
    change(&mut value);
    replace(items, name, &bytes(&value));
}

// ---- tar, well-formed or not ----

/// One entry, or raw blocks.
#[derive(Clone, Debug)]
pub struct Item {
    /// The header blocks; empty for raw bytes.
    pub header: Option<Header>,
    pub content: Vec<u8>,
}

impl Item {
    pub fn name(&self) -> &str {
        self.header.as_ref().map_or("", |h| h.name.as_str())
    }
}

/// A POSIX ustar header; every field can be overwritten afterwards.
#[derive(Clone, Debug)]
pub struct Header {
    pub name: String,
    pub link: String,
    pub kind: u8,
    /// The size field, if not the size of the content.
    pub size: Option<u64>,
    /// Bytes written over the finished block before the checksum is taken.
    pub patches: Vec<(usize, Vec<u8>)>,
    /// A wrong checksum.
    pub checksum: Option<[u8; 8]>,
}

fn entry(name: &str, kind: u8, content: &[u8]) -> Item {
    let header =
        Header { name: name.to_owned(), link: String::new(), kind, size: None, patches: Vec::new(), checksum: None };
    Item { header: Some(header), content: content.to_vec() }
}

pub fn file(name: &str, content: &[u8]) -> Item {
    entry(name, b'0', content)
}

pub fn dir(name: &str) -> Item {
    entry(name, b'5', b"")
}

pub fn link(name: &str, target: &str) -> Item {
    let mut item = entry(name, b'2', b"");
    item.header.as_mut().unwrap().link = target.to_owned();
    item
}

/// An entry of any type.
pub fn special(kind: u8, name: &str, content: &[u8]) -> Item {
    entry(name, kind, content)
}

/// A PAX header for the entry that follows.
pub fn pax(records: &[(&str, &str)]) -> Item {
    let content: String = records.iter().map(|(key, value)| pax_record(key, value)).collect();
    entry("PaxHeaders.0/x", b'x', content.as_bytes())
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
pub fn pax_record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let digits = (1..).find(|d| (rest.len() + d).to_string().len() == *d).unwrap();
    format!("{}{rest}", rest.len() + digits)
}

/// A GNU long name for the entry that follows.
pub fn gnu_long_name(name: &str) -> Item {
    let mut item = entry("././@LongLink", b'L', format!("{name}\0").as_bytes());
    item.header.as_mut().unwrap().patches.push((257, b"ustar  \0".to_vec()));
    item
}

pub fn raw(bytes: &[u8]) -> Item {
    Item { header: None, content: bytes.to_vec() }
}

/// The item with bytes of its header block overwritten; the checksum still holds.
pub fn patched(mut item: Item, offset: usize, bytes: &[u8]) -> Item {
    item.header.as_mut().unwrap().patches.push((offset, bytes.to_vec()));
    item
}

/// Writes the items and the end marker.
pub fn tar(items: &[Item]) -> Vec<u8> {
    let mut out = unfinished_tar(items);
    out.extend_from_slice(&[0; 1024]);
    out
}

/// Writes the items without an end marker.
pub fn unfinished_tar(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        if let Some(header) = &item.header {
            out.extend_from_slice(&header.block(item.content.len()));
        }
        out.extend_from_slice(&item.content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out
}

impl Header {
    pub fn block(&self, size: usize) -> [u8; 512] {
        let mut block = [0; 512];
        let mut put = |offset: usize, bytes: &[u8]| block[offset..offset + bytes.len()].copy_from_slice(bytes);
        let size = self.size.unwrap_or(size as u64);
        put(0, self.name.as_bytes());
        put(100, b"0000644\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        for (offset, bytes) in &self.patches {
            put(*offset, bytes);
        }
        seal(&mut block);
        if let Some(checksum) = self.checksum {
            block[148..156].copy_from_slice(&checksum);
        }
        block
    }
}

/// Writes the checksum of a header block.
pub fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
