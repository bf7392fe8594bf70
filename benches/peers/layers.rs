//! Layers like those of real images: the files of this machine, in tars.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use plimsoll::digest::Sha256;
use ring::digest::{Context, SHA256};

use crate::support::repo::hex;

/// Where the files come from.
pub(crate) const SOURCES: [&str; 3] = ["/usr/bin", "/usr/lib", "/usr/share"];
/// Larger files would make one layer unlike the next.
const LARGEST: u64 = 64 << 20;
/// What is smaller than this at the end of a layer is not filled.
const REST: u64 = 16 << 10;

/// Regular files, in an order that mixes programs, libraries, scripts and text; again from the start, in other folders, when all were taken.
pub(crate) struct Files {
    all: Vec<(PathBuf, u64)>,
    next: usize,
}

impl Files {
    pub(crate) fn new() -> Self {
        let mut all = Vec::new();
        for source in SOURCES {
            collect(Path::new(source), &mut all);
        }
        // The hash of a path is as good as chance, and the same each time.
        all.sort_by_cached_key(|(path, _)| Sha256::of(path.as_os_str().as_encoded_bytes()).to_hex());
        assert!(!all.is_empty(), "no files in {SOURCES:?}");
        Self { all, next: 0 }
    }

    /// Writes a layer's tar of about this size, a little less.
    pub(crate) fn write_layer(&mut self, out: impl Write, size: u64) {
        let mut tar = tar::Builder::new(out);
        let (mut left, mut misses) = (size, 0);
        while left > REST && misses < self.all.len() {
            let (path, length) = &self.all[self.next % self.all.len()];
            let copy = self.next / self.all.len();
            self.next += 1;
            let taken = 512 + length.next_multiple_of(512);
            // Small layers are of small files.
            if taken > left || taken > size / 4 {
                misses += 1;
                continue;
            }
            let Ok(file) = File::open(path) else { continue };
            let mut header = tar::Header::new_gnu();
            header.set_size(*length);
            header.set_mode(0o644);
            let name = Path::new(&copy.to_string()).join(path.strip_prefix("/").unwrap());
            // A file that shrank meanwhile is filled up, one that grew is cut.
            tar.append_data(&mut header, name, file.chain(io::repeat(0)).take(*length)).unwrap();
            left -= taken;
            misses = 0;
        }
        tar.into_inner().unwrap().flush().unwrap();
    }
}

fn collect(folder: &Path, all: &mut Vec<(PathBuf, u64)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            collect(&entry.path(), all);
        } else if meta.is_file() && (1..LARGEST).contains(&meta.len()) {
            all.push((entry.path(), meta.len()));
        }
    }
}

/// A file with its digest.
#[derive(Clone)]
pub(crate) struct Hashed {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// Writes a file and hashes what passes.
pub(crate) fn hashed(path: PathBuf, write: impl FnOnce(&mut dyn Write)) -> Hashed {
    let mut out =
        Hashing { out: BufWriter::new(File::create(&path).unwrap()), context: Context::new(&SHA256), size: 0 };
    write(&mut out);
    out.out.flush().unwrap();
    Hashed { path, size: out.size, sha256: hex(out.context.finish().as_ref()) }
}

struct Hashing {
    out: BufWriter<File>,
    context: Context,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.context.update(bytes);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// How a registry stores layers: as `docker push`, BuildKit and podman compress unless told otherwise.
pub(crate) fn compress(layer: &Path, gzip: bool, out: &mut dyn Write) {
    let mut layer = BufReader::new(File::open(layer).unwrap());
    if gzip {
        let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
        io::copy(&mut layer, &mut encoder).unwrap();
        encoder.finish().unwrap();
    } else {
        let mut encoder = zstd::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL).unwrap();
        encoder.include_checksum(true).unwrap();
        io::copy(&mut layer, &mut encoder).unwrap();
        encoder.finish().unwrap();
    }
}
