//! Archives as the tests change them: bits flipped in place, ends cut off, `manifest.json` rewritten.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A regular file in an archive, and where its content lies.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Entry {
    /// The offset in the archive of a byte of the content.
    pub(crate) fn byte(&self, index: u64) -> u64 {
        assert!(index < self.size, "{} has {} bytes", self.name, self.size);
        self.offset.strict_add(index)
    }

    pub(crate) fn middle(&self) -> u64 {
        self.byte(self.size.strict_div(2))
    }

    pub(crate) fn last(&self) -> u64 {
        self.byte(self.size.strict_sub(1))
    }
}

/// Every regular file that is not empty, in the archive's order.
pub(crate) fn entries(archive: &Path) -> Vec<Entry> {
    let mut archive = tar::Archive::new(File::open(archive).unwrap());
    let entries = archive.entries_with_seek().unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.header().entry_type().is_file() && entry.size() > 0)
        .map(|entry| Entry {
            name: entry.path().unwrap().to_str().unwrap().to_owned(),
            offset: entry.raw_file_position(),
            size: entry.size(),
        })
        .collect()
}

/// What a docker-archive says it holds: the entries of `manifest.json`, of the config and of each layer, in their order.
pub(crate) struct DockerArchive {
    pub(crate) manifest: Entry,
    pub(crate) config: Entry,
    pub(crate) layers: Vec<Entry>,
}

impl DockerArchive {
    pub(crate) fn read(archive: &Path) -> Self {
        let mut entries = entries(archive);
        let mut take = |name: &str| {
            let position = entries.iter().position(|entry| entry.name == name);
            entries.swap_remove(position.unwrap_or_else(|| panic!("no file {name}")))
        };
        let manifest = take("manifest.json");
        let item = manifest_json(archive).get(0).unwrap().clone();
        let config = take(item["Config"].as_str().unwrap());
        let layers = item["Layers"].as_array().unwrap().iter().map(|name| take(name.as_str().unwrap())).collect();
        Self { manifest, config, layers }
    }
}

/// The offset in the archive of the first byte after the first `text` in a file of it.
pub(crate) fn after(archive: &Path, entry: &Entry, text: &str) -> u64 {
    let content = content(archive, &entry.name);
    let position = content.windows(text.len()).position(|window| window == text.as_bytes());
    let position = position.unwrap_or_else(|| panic!("no {text} in {}", entry.name));
    entry.byte(u64::try_from(position.strict_add(text.len())).unwrap())
}

fn content(archive: &Path, name: &str) -> Vec<u8> {
    let entry = entries(archive).into_iter().find(|entry| entry.name == name).unwrap();
    let mut bytes = vec![0; usize::try_from(entry.size).unwrap()];
    File::open(archive).unwrap().read_exact_at(&mut bytes, entry.offset).unwrap();
    bytes
}

fn manifest_json(archive: &Path) -> Value {
    serde_json::from_slice(&content(archive, "manifest.json")).unwrap()
}

/// A copy of an archive in which single bits can be flipped and flipped back, so that one copy serves many tries.
pub(crate) struct Flippable {
    pub(crate) path: PathBuf,
    file: File,
}

impl Flippable {
    pub(crate) fn copy(archive: &Path, to: PathBuf) -> Self {
        std::fs::copy(archive, &to).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&to).unwrap();
        Self { path: to, file }
    }

    /// Runs `with` while one bit of the copy is wrong.
    pub(crate) fn flipped<T>(&self, offset: u64, bit: u32, with: impl FnOnce(&Path) -> T) -> T {
        self.flip(offset, bit);
        let result = with(&self.path);
        self.flip(offset, bit);
        result
    }

    fn flip(&self, offset: u64, bit: u32) {
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, offset).unwrap();
        self.file.write_all_at(&[byte[0] ^ 1_u8.rotate_left(bit)], offset).unwrap();
    }
}

/// Writes the first `length` bytes of an archive to a new file.
pub(crate) fn truncated(archive: &Path, length: u64, to: &Path) {
    let mut start = File::open(archive).unwrap().take(length);
    std::io::copy(&mut start, &mut File::create(to).unwrap()).unwrap();
}

/// Writes an archive anew with another `manifest.json`; every other entry keeps its bytes.
pub(crate) fn with_manifest(archive: &Path, to: &Path, edit: impl FnOnce(&mut Value)) {
    let mut manifest = manifest_json(archive);
    edit(&mut manifest);
    let manifest = serde_json::to_vec(&manifest).unwrap();

    let mut source = tar::Archive::new(File::open(archive).unwrap());
    let mut builder = tar::Builder::new(File::create(to).unwrap());
    for entry in source.entries().unwrap() {
        let entry = entry.unwrap();
        let mut header = entry.header().clone();
        if entry.path().unwrap().to_str() == Some("manifest.json") {
            header.set_size(u64::try_from(manifest.len()).unwrap());
            header.set_cksum();
            builder.append(&header, manifest.as_slice()).unwrap();
        } else {
            builder.append(&header, entry).unwrap();
        }
    }
    builder.into_inner().unwrap().flush().unwrap();
}

/// The size of a file.
pub(crate) fn size(path: &Path) -> u64 {
    File::open(path).unwrap().seek(SeekFrom::End(0)).unwrap()
}
