//! `plimsoll verify`, as archives grow. They are made piece by piece, for they do not fit into memory, and removed once they are measured.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::process::Command;

use plimsoll::digest::Sha256;
use ring::digest::{Context, SHA256};
use serde_json::{Value, json};
use tar::{Builder, Header};

use crate::build::program;
use crate::process::measure as measure_process;
use crate::support::image::{NAME, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::support::repo::{Repo, hex, sha256};
use crate::table::{Table, median, memory, size, time};

const RUNS: usize = 3;
const LAYERS: u64 = 4;

pub(crate) fn measure(quick: bool) {
    let (classic, gzip) = if quick {
        (vec![1_000_000, 4_000_000], vec![1_000_000])
    } else {
        (
            vec![50_000_000, 200_000_000, 1_000_000_000, 4_000_000_000, 10_000_000_000],
            vec![50_000_000, 500_000_000, 2_000_000_000],
        )
    };
    let plimsoll = program("plimsoll");
    let mut table = Table::new(
        1,
        &["archive", "file", "layers, unpacked", "time", "CPU", "of the file in a second", "peak memory"],
    );
    for (form, sizes) in [("classic", classic), ("oci, gzip", gzip)] {
        for unpacked in sizes {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            let manifest =
                if form == "classic" { write_classic(folder, unpacked) } else { write_oci(folder, unpacked) };
            let mut repo = Repo::new();
            repo.target("targets", "registry.example/team/app/1.4/manifest.json", &manifest).write();
            repo.save(folder);
            let mut command = Command::new(&plimsoll);
            command.args(["verify", "app.tar", "--image", NAME, "--repository", ".", "--root", "metadata/1.root.json"]);
            command.args(["--store", "store"]).current_dir(folder);
            let runs: Vec<_> = (0..RUNS).map(|_| measure_process(&command)).collect();
            assert!(runs.iter().all(|run| run.stdout().starts_with("trusted: ")));
            let bytes = fs::metadata(folder.join("app.tar")).unwrap().len();
            let wall = median(runs.iter().map(|run| run.wall));
            table.row(vec![
                form.to_owned(),
                size(bytes),
                size(unpacked),
                time(wall),
                time(median(runs.iter().map(|run| run.cpu))),
                size((bytes as f64 / wall.as_secs_f64()) as u64),
                memory(runs.iter().map(|run| run.peak).max().unwrap()),
            ]);
        }
    }
    println!(
        "`plimsoll verify` of archives with {LAYERS} layers, read from the page cache as far as it holds them.\n\n{table}"
    );
}

/// As `docker save` up to 24 writes it. Returns the manifest that is to be signed.
fn write_classic(folder: &Path, unpacked: u64) -> Vec<u8> {
    let mut tar = Builder::new(BufWriter::new(File::create(folder.join("app.tar")).unwrap()));
    let (mut paths, mut diff_ids, mut layers) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..LAYERS {
        let id = sha256(&n.to_be_bytes());
        let length = unpacked / LAYERS;
        let mut layer = Hashed::new(Noise::new(n + 1).take(length));
        append(&mut tar, &format!("{id}/VERSION"), b"1.0");
        append(&mut tar, &format!("{id}/json"), b"{}");
        append_from(&mut tar, &format!("{id}/layer.tar"), length, &mut layer);
        paths.push(format!("{id}/layer.tar"));
        let digest = format!("sha256:{}", layer.finish());
        // The manifest is the registry's, where layers may be as they are.
        layers.push(json!({"mediaType": OCI_LAYER, "digest": digest, "size": length}));
        diff_ids.push(digest);
    }
    let (config, manifest) = documents(&diff_ids, &layers);
    let config_path = format!("{}.json", sha256(&config));
    append(&mut tar, &config_path, &config);
    let items = json!([{"Config": config_path, "RepoTags": [NAME], "Layers": paths}]);
    append(&mut tar, "manifest.json", items.to_string().as_bytes());
    append(&mut tar, "repositories", b"{}");
    tar.into_inner().unwrap().flush().unwrap();
    manifest
}

/// A layout in a tar, with gzip layers.
fn write_oci(folder: &Path, unpacked: u64) -> Vec<u8> {
    let mut tar = Builder::new(BufWriter::new(File::create(folder.join("app.tar")).unwrap()));
    let (mut diff_ids, mut layers) = (Vec::new(), Vec::new());
    for n in 0..LAYERS {
        let mut blob = tempfile::tempfile_in(folder).unwrap();
        let mut layer = Hashed::new(Words::new(n + 1).take(unpacked / LAYERS));
        let mut encoder = flate2::write::GzEncoder::new(BufWriter::new(&blob), flate2::Compression::fast());
        io::copy(&mut layer, &mut encoder).unwrap();
        encoder.finish().unwrap().flush().unwrap();
        diff_ids.push(format!("sha256:{}", layer.finish()));
        blob.rewind().unwrap();
        let mut hash = Hashed::new(&blob);
        let length = io::copy(&mut hash, &mut io::sink()).unwrap();
        let digest = hash.finish();
        blob.rewind().unwrap();
        append_from(&mut tar, &format!("blobs/sha256/{digest}"), length, &mut BufReader::new(&blob));
        layers.push(
            json!({"mediaType": format!("{OCI_LAYER}+gzip"), "digest": format!("sha256:{digest}"), "size": length}),
        );
    }
    let (config, manifest) = documents(&diff_ids, &layers);
    for document in [&config, &manifest] {
        append(&mut tar, &format!("blobs/sha256/{}", sha256(document)), document);
    }
    let mut descriptor = descriptor(OCI_MANIFEST, &manifest);
    descriptor["annotations"] = json!({"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "1.4"});
    let index = json!({"schemaVersion": 2, "manifests": [descriptor]});
    append(&mut tar, "index.json", index.to_string().as_bytes());
    append(&mut tar, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
    tar.into_inner().unwrap().flush().unwrap();
    manifest
}

/// The config and the manifest.
fn documents(diff_ids: &[String], layers: &[Value]) -> (Vec<u8>, Vec<u8>) {
    let rootfs = json!({"type": "layers", "diff_ids": diff_ids});
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/app"]}, "rootfs": rootfs});
    let config = config.to_string().into_bytes();
    let of_config = descriptor(OCI_CONFIG, &config);
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": of_config, "layers": layers});
    (config, manifest.to_string().into_bytes())
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Sha256::of(bytes).to_string(), "size": bytes.len()})
}

fn append(tar: &mut Builder<impl Write>, path: &str, bytes: &[u8]) {
    append_from(tar, path, bytes.len() as u64, &mut io::Cursor::new(bytes));
}

fn append_from(tar: &mut Builder<impl Write>, path: &str, length: u64, bytes: &mut impl Read) {
    let mut header = Header::new_ustar();
    header.set_size(length);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, bytes).unwrap();
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hash: Context,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hash: Context::new(&SHA256) }
    }

    fn finish(self) -> String {
        hex(self.hash.finish().as_ref())
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hash.update(&buf[..n]);
        Ok(n)
    }
}

/// Bytes without end that do not compress: one block of noise, each time with another number in it.
struct Noise {
    block: Vec<u8>,
    at: usize,
}

impl Noise {
    fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        Self { block: (0..128 * 1024).flat_map(|_| next()).collect(), at: 0 }
    }
}

impl Read for Noise {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            let number = u64::from_le_bytes(self.block[..8].try_into().unwrap()).wrapping_add(1);
            self.block[..8].copy_from_slice(&number.to_le_bytes());
            self.at = 0;
        }
        let n = buf.len().min(self.block.len() - self.at);
        buf[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

/// Bytes without end that compress to about a third, like programs do.
struct Words {
    dictionary: Vec<u8>,
    state: u64,
}

impl Words {
    fn new(seed: u64) -> Self {
        let mut dictionary = vec![0; 64 * 1024];
        Noise::new(seed).read_exact(&mut dictionary).unwrap();
        Self { dictionary, state: seed }
    }
}

impl Read for Words {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut rest = &mut buf[..];
        let mut filled = 0;
        while !rest.is_empty() {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (self.state >> 33) as usize % (self.dictionary.len() - 64);
            let n = rest.len().min(4 + (self.state >> 59) as usize);
            rest[..n].copy_from_slice(&self.dictionary[at..at + n]);
            filled += n;
            rest = &mut rest[n..];
        }
        Ok(filled)
    }
}
