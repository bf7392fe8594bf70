//! The entries of a tar archive, or the reason why two readers could see different ones.
//!
//! Only headers are read; data is skipped by position, and read later by [`crate::image::inventory`]. The reference is Go's
//! `archive/tar`, which every container tool uses; where it, GNU tar or libarchive differ, the archive is refused.
//!
//! Rules:
//! - Names are cleaned once (`./`, `//`, a trailing `/`), must be UTF-8, and may not be absolute or hold `..`, NUL or `\`.
//! - No two entries have one name, nor names that differ in case only. Repeated directories are fine.
//! - Regular files, directories, and symbolic links as `docker save` writes them for repeated layers: below a directory other than
//!   `blobs/`, relative, to a regular file of the archive. Nothing else: no hard links, devices, sparse files, global headers.
//! - Header checksums hold. A size in a PAX header is that of the header, or one that did not fit there. At most one PAX header
//!   or one GNU long name (and long link) per entry, not both.
//! - The archive ends with two zero blocks, and only zeros follow.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::io;

use crate::image::error::{ArchiveError, Code, Refusal};
use crate::image::header::{BLOCK, Field, RawHeader, Special, header_fault, plain_text};
use crate::image::read_at::{ReadAt, read_full};
use crate::limits::{ArchiveLimits, Bound, bound};
use crate::text::{escaped, quoted};

const BLOCK_LEN: u64 = 512;
/// Trailing zeros are read in pieces of this size.
const PIECE: usize = 64 * 1024;

/// The entries of an archive, by cleaned name.
#[derive(Debug)]
pub struct Table {
    entries: Vec<Entry>,
    by_name: BTreeMap<String, usize>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The cleaned name. The archive's own root directory has no entry.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Where its data starts in the archive.
    pub offset: u64,
    /// The size of its data; 0 for anything but a file.
    pub size: u64,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// The cleaned name of the regular file in the archive that it leads to.
        target: String,
    },
}

impl Table {
    /// Reads all headers of `archive`.
    ///
    /// # Errors
    ///
    /// [`ArchiveError::Refused`] for the first thing that breaks a rule, [`ArchiveError::Io`] if reading fails.
    pub fn read<R: ReadAt + ?Sized>(archive: &R, limits: &ArchiveLimits) -> Result<Self, ArchiveError> {
        let len = archive.size().map_err(|e| io_error("the archive's size", e))?;
        let mut reader = Reader { archive, len, at: 0, limits };
        reader.check_start()?;
        let mut entries = Vec::new();
        let mut sizes = Sizes::new(limits);
        while let Some(entry) = reader.next_entry()? {
            sizes.count(&entry.name)?;
            entries.extend(Some(entry).filter(|e| !e.name.is_empty()));
        }
        reader.refuse_trailing_data()?;
        Ok(Self::new(entries)?)
    }

    /// Builds the table; decides what depends on more than one entry.
    pub(crate) fn new(entries: Vec<Entry>) -> Result<Self, Refusal> {
        let by_name = unique_names(&entries)?;
        let table = Self { entries, by_name };
        for entry in &table.entries {
            if let Kind::Symlink { target } = &entry.kind {
                table.must_be_file(entry, target)?;
            }
        }
        Ok(table)
    }

    /// The entry with this cleaned name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.by_name.get(name).and_then(|i| self.entries.get(*i))
    }

    /// All entries, in the archive's order.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    fn must_be_file(&self, link: &Entry, target: &str) -> Result<(), Refusal> {
        match self.get(target).map(|e| &e.kind) {
            Some(Kind::File) => Ok(()),
            found => Err(Refusal::new(Code::ArchiveSymlink, escaped(&link.name), "the link does not lead to a file")
                .expected("a regular file of the archive")
                .found(format!("{} ({})", quoted(target), found.map_or("nothing", Kind::word)))),
        }
    }
}

impl Kind {
    fn word(&self) -> &'static str {
        match self {
            Self::File => "a file",
            Self::Directory => "a directory",
            Self::Symlink { .. } => "a link",
        }
    }
}

/// Refuses entries that share a name, or a name on some file system, or where one is a file and the other needs a directory there.
fn unique_names(entries: &[Entry]) -> Result<BTreeMap<String, usize>, Refusal> {
    let mut by_name: BTreeMap<String, usize> = BTreeMap::new();
    // Component by component, so that what shares a directory is adjacent.
    let mut folded: BTreeMap<String, &Entry> = BTreeMap::new();
    for (i, entry) in entries.iter().enumerate() {
        match folded.entry(fold(&entry.name).replace('/', "\0")) {
            Slot::Vacant(slot) => {
                slot.insert(entry);
                by_name.insert(entry.name.clone(), i);
            }
            Slot::Occupied(slot) => {
                let before = *slot.get();
                let directories = before.kind == Kind::Directory && entry.kind == Kind::Directory;
                if !(directories && before.name == entry.name) {
                    return Err(duplicate(entry, before, "two entries have one name"));
                }
            }
        }
    }
    let pairs = folded.iter().zip(folded.iter().skip(1));
    for ((key, entry), (next_key, next)) in pairs {
        let below = next_key.strip_prefix(key.as_str()).is_some_and(|rest| rest.starts_with('\0'));
        if below && entry.kind != Kind::Directory {
            return Err(duplicate(next, entry, "an entry lies below one that is no directory"));
        }
        let mut parts = entry.name.split('/').zip(next.name.split('/'));
        if let Some((a, b)) = parts.find(|(a, b)| a != b)
            && fold(a) == fold(b)
        {
            return Err(duplicate(next, entry, "two directories differ in case only"));
        }
    }
    Ok(by_name)
}

fn duplicate(entry: &Entry, before: &Entry, message: &str) -> Refusal {
    Refusal::new(Code::ArchiveDuplicateEntry, escaped(&entry.name), message).found(format!(
        "{} {} and {} {}",
        before.kind.word(),
        quoted(&before.name),
        entry.kind.word(),
        quoted(&entry.name)
    ))
}

/// As a file system that ignores case sees a name. Up and then down again, so that the long s and the Kelvin sign fold as well.
pub(crate) fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

fn io_error(what: &str, source: io::Error) -> ArchiveError {
    ArchiveError::Io { what: format!("cannot read {what}"), source }
}

/// How many entries there are, and how long their names are together.
pub(crate) struct Sizes<'a> {
    entries: usize,
    paths: usize,
    limits: &'a ArchiveLimits,
}

impl<'a> Sizes<'a> {
    pub(crate) fn new(limits: &'a ArchiveLimits) -> Self {
        Self { entries: 0, paths: 0, limits }
    }

    /// Counts one more entry.
    pub(crate) fn count(&mut self, name: &str) -> Result<(), Refusal> {
        self.entries = self.entries.saturating_add(1);
        self.paths = self.paths.saturating_add(name.len());
        if self.entries > self.limits.entries {
            return Err(Refusal::beyond(bound!(self.limits, entries), "the archive", "too many entries"));
        }
        if self.paths > self.limits.paths {
            return Err(Refusal::beyond(bound!(self.limits, paths), "the archive", "too many bytes of names"));
        }
        Ok(())
    }
}

/// Looks at the first bytes as loaders do, before anything is taken for tar: some magic numbers are valid file names. `start` is the first 512
/// bytes at least, or all that there are.
pub(crate) fn check_start(start: &[u8]) -> Result<(), Refusal> {
    if start.is_empty() {
        return Err(Refusal::new(Code::ArchiveEmpty, "the archive", "it is empty"));
    }
    if let Some(compression) = Compression::of(start) {
        let message = "compressed where a tar archive must be: docker undoes one layer of compression, podman two";
        return Err(Refusal::new(Code::ArchiveCompressed, "the archive", message)
            .expected("a tar archive, compressed once or not at all")
            .found(compression.word()));
    }
    let header = start.first_chunk::<BLOCK>().map(RawHeader);
    if header.is_none_or(|h| !h.is_zero() && h.checksum_fault().is_some()) {
        return Err(Refusal::new(Code::ArchiveNotTar, "the archive", "it does not start with a tar header"));
    }
    Ok(())
}

struct Reader<'a, R: ?Sized> {
    archive: &'a R,
    len: u64,
    at: u64,
    limits: &'a ArchiveLimits,
}

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    fn check_start(&self) -> Result<(), ArchiveError> {
        let mut start = [0; BLOCK];
        let n = read_full(self.archive, &mut start, 0).map_err(|e| io_error("the archive", e))?;
        Ok(check_start(start.get(..n).unwrap_or_default())?)
    }

    /// The next entry, its special headers applied. `None` at the end marker.
    fn next_entry(&mut self) -> Result<Option<Entry>, ArchiveError> {
        let mut special = Special::default();
        loop {
            let start = self.at;
            let block = self.block()?;
            let header = RawHeader(&block);
            if header.is_zero() {
                if !special.is_empty() {
                    return Err(header_fault(start, "the archive ends after a special header, before its entry").into());
                }
                self.end_marker()?;
                return Ok(None);
            }
            if let Some(found) = header.checksum_fault() {
                return Err(found.into_refusal(start).into());
            }
            header.check_format(start)?;
            match header.type_flag() {
                b'x' | b'L' | b'K' => self.special(&header, start, &mut special)?,
                _ => return Ok(Some(self.entry(&header, start, special)?)),
            }
        }
    }

    /// One header block, which must be there: an archive without its end marker has been cut.
    fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        let n = read_full(self.archive, &mut block, self.at).map_err(|e| io_error("a tar header", e))?;
        if n < BLOCK {
            let message = "the file ends before the archive's end marker";
            return Err(Refusal::new(Code::ArchiveTruncated, "the archive", message)
                .expected(format!("a tar header of 512 bytes at byte {}", self.at))
                .found(format!("{n} bytes"))
                .into());
        }
        self.at = self.at.saturating_add(BLOCK_LEN);
        Ok(block)
    }

    /// The second of the two zero blocks.
    fn end_marker(&mut self) -> Result<(), ArchiveError> {
        let start = self.at;
        let block = self.block()?;
        if RawHeader(&block).is_zero() {
            Ok(())
        } else {
            Err(header_fault(start, "data after a single zero block").into())
        }
    }

    fn special(&mut self, header: &RawHeader<'_>, start: u64, special: &mut Special) -> Result<(), ArchiveError> {
        let size = header.size(start)?;
        let limit = bound!(self.limits, special_header);
        if !limit.allows(size) {
            let subject = format!("tar header at byte {start}");
            return Err(Refusal::beyond(limit, subject, "too many bytes of special header").found(size).into());
        }
        let content = self.content(size, start)?;
        match header.type_flag() {
            b'x' => special.add_pax(&content, start)?,
            b'L' => special.add_gnu(Field::Name, &content, start)?,
            _ => special.add_gnu(Field::Link, &content, start)?,
        }
        Ok(())
    }

    fn content(&mut self, size: u64, start: u64) -> Result<Vec<u8>, ArchiveError> {
        let offset = self.at;
        self.skip(size, || format!("tar header at byte {start}"))?;
        let mut content = vec![0; usize::try_from(size).unwrap_or(0)];
        let n = read_full(self.archive, &mut content, offset).map_err(|e| io_error("a special tar header", e))?;
        if n < content.len() {
            return Err(
                Refusal::new(Code::ArchiveChanged, "the archive", "the file became shorter while it was read").into()
            );
        }
        Ok(content)
    }

    /// Moves past `size` bytes of data and their padding, which must all be there.
    fn skip(&mut self, size: u64, subject: impl Fn() -> String) -> Result<(), Refusal> {
        let end = size.checked_next_multiple_of(BLOCK_LEN).and_then(|padded| self.at.checked_add(padded));
        match end {
            Some(end) if end <= self.len => {
                self.at = end;
                Ok(())
            }
            _ => Err(Refusal::new(Code::ArchiveTruncated, subject(), "the file ends inside this entry")
                .expected(format!("{size} bytes of data"))
                .found(format!("{} bytes", self.len.saturating_sub(self.at)))),
        }
    }

    fn entry(&mut self, header: &RawHeader<'_>, start: u64, special: Special) -> Result<Entry, Refusal> {
        let written = match &special.name {
            Some(name) => plain_text(name, start)?,
            None => plain_text(&header.name(start)?, start)?,
        };
        let name = clean(&written, bound!(self.limits, path))
            .map_err(|fault| Refusal::new(Code::ArchiveEntryName, format!("entry {}", quoted(&written)), fault))?;
        let size = special.size_of(header.size(start)?, start)?;
        let kind = match header.type_flag() {
            b'0' | 0 if written.ends_with('/') || name.is_empty() => {
                return Err(Refusal::new(
                    Code::ArchiveEntryType,
                    escaped(&written),
                    "a file with the name of a directory",
                ));
            }
            b'0' | 0 => Kind::File,
            b'5' => Kind::Directory,
            b'2' => {
                let target = match &special.link {
                    Some(link) => plain_text(link, start)?,
                    None => plain_text(&header.link(start)?, start)?,
                };
                Kind::Symlink { target: resolve(&name, &target)? }
            }
            other => return Err(unacceptable_type(&written, other)),
        };
        if special.link.is_some() && !matches!(kind, Kind::Symlink { .. }) {
            return Err(header_fault(start, "a link target for an entry that is no link"));
        }
        if kind != Kind::File && size != 0 {
            return Err(Refusal::new(Code::ArchiveHeader, escaped(&written), "data on an entry that has none")
                .expected("size 0")
                .found(size));
        }
        let offset = self.at;
        self.skip(size, || escaped(&written).to_string())?;
        Ok(Entry { name, kind, offset, size })
    }

    /// Only zeros may follow the end marker: readers that go on past it would find more entries.
    fn refuse_trailing_data(&mut self) -> Result<(), ArchiveError> {
        let left = self.len.saturating_sub(self.at);
        let mut piece = vec![0; usize::try_from(left).unwrap_or(PIECE).min(PIECE)];
        while self.at < self.len {
            let n = read_full(self.archive, &mut piece, self.at).map_err(|e| io_error("the end of the archive", e))?;
            let read = piece.get(..n).unwrap_or_default();
            if let Some(place) = read.iter().position(|b| *b != 0) {
                let at = self.at.saturating_add(u64::try_from(place).unwrap_or(0));
                return Err(Refusal::new(
                    Code::ArchiveTrailingData,
                    "the archive",
                    "data after the end of the archive",
                )
                .expected("only zeros")
                .found(format!("something at byte {at}"))
                .into());
            }
            if n == 0 {
                break;
            }
            self.at = self.at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

/// One spelling for each name. The root directory becomes the empty name.
pub(crate) fn clean(name: &str, limit: Bound) -> Result<String, String> {
    if !limit.allows(name.len()) {
        return Err(format!("{} bytes long, {limit}", name.len()));
    }
    if name.starts_with('/') {
        return Err("an absolute path".to_owned());
    }
    if name.contains('\\') {
        return Err("a backslash, which some systems take for a separator".to_owned());
    }
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err("a path that climbs out of its directory".to_owned());
    }
    Ok(parts.join("/"))
}

/// Where a link leads, if it is one that `docker save` or skopeo would write: `../` some times, then a plain path.
fn resolve(link: &str, target: &str) -> Result<String, Refusal> {
    let refused = |message: &str| Refusal::new(Code::ArchiveSymlink, escaped(link), message).found(quoted(target));
    let Some((parent, _)) = link.rsplit_once('/') else {
        return Err(refused("a link at the top of the archive"));
    };
    let mut base: Vec<&str> = parent.split('/').collect();
    if base.first().is_some_and(|top| fold(top) == "blobs") {
        return Err(refused("a link in the place of a blob"));
    }
    let mut rest = target;
    while let Some(up) = rest.strip_prefix("../") {
        base.pop().ok_or_else(|| refused("a link that leads out of the archive"))?;
        rest = up;
    }
    // Anything else resolves in one way as text and in another on a disk.
    if rest.contains('\\') || rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(refused("a link whose target is not a plain relative path"));
    }
    base.push(rest);
    Ok(base.join("/"))
}

fn unacceptable_type(name: &str, flag: u8) -> Refusal {
    let word = match flag {
        b'1' => "a hard link".to_owned(),
        b'3' | b'4' => "a device".to_owned(),
        b'6' => "a FIFO".to_owned(),
        b'7' => "a contiguous file".to_owned(),
        b'S' => "a sparse file".to_owned(),
        b'g' => "a global header".to_owned(),
        other => format!("an entry of type {}", quoted(&char::from(other).to_string())),
    };
    unacceptable(name, &word)
}

/// An entry of a kind that an archive may not hold.
pub(crate) fn unacceptable(name: &str, what: &str) -> Refusal {
    Refusal::new(Code::ArchiveEntryType, escaped(name), "loaders differ on such entries")
        .expected("a file, a directory or a symbolic link")
        .found(what)
}

/// How bytes are compressed, by their first bytes, as loaders decide it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    ZstdSkippable,
}

impl Compression {
    pub(crate) fn of(start: &[u8]) -> Option<Self> {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Some(Self::Gzip),
            [b'B', b'Z', b'h', ..] => Some(Self::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::ZstdSkippable),
            _ => None,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::ZstdSkippable => "zstd that starts with a skippable frame",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_spelling() {
        let limit = bound!(ArchiveLimits::default(), path);
        let cases: &[(&str, Option<&str>)] = &[
            ("a/b", Some("a/b")),
            ("./a//b/", Some("a/b")),
            ("a/./b", Some("a/b")),
            (".", Some("")),
            ("./", Some("")),
            ("...", Some("...")),
            ("/a", None),
            ("//a", None),
            ("..", None),
            ("a/..", None),
            ("a/../b", None),
            ("a\\b", None),
        ];
        for (name, expected) in cases {
            assert_eq!(clean(name, limit).ok().as_deref(), *expected, "{name}");
        }
        assert!(clean(&"a".repeat(4096), limit).is_ok());
        assert_eq!(clean(&"a".repeat(4097), limit).unwrap_err(), "4097 bytes long, at most 4096 (limit path)");
    }

    #[test]
    fn names_that_some_file_system_takes_for_one_fold_alike() {
        for (a, b) in [("manifest.json", "MANIFEST.JSON"), ("s", "\u{17f}"), ("k", "\u{212a}"), ("\u{e9}", "\u{c9}")] {
            assert_eq!(fold(a), fold(b));
        }
        assert_ne!(fold("a"), fold("b"));
    }

    #[test]
    fn links_lead_where_they_say() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            ("b/layer.tar", "../a/layer.tar", Some("a/layer.tar")),
            ("b/layer.tar", "../a.tar", Some("a.tar")),
            ("b/layer.tar", "x", Some("b/x")),
            ("b/c/l", "../../a", Some("a")),
            ("b/c/l", "../../../a", None),
            ("l", "a", None),
            ("blobs/sha256/l", "x", None),
            ("Blobs/l", "x", None),
            ("b/l", "..", None),
            ("b/l", "../", None),
            ("b/l", "a/../c", None),
            ("b/l", "/a", None),
            ("b/l", "a/", None),
        ];
        for (link, target, expected) in cases {
            assert_eq!(resolve(link, target).ok().as_deref(), *expected, "{link} -> {target}");
        }
    }
}
