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
use crate::image::read_at::{ReadAt, read_full};
use crate::limits::ArchiveLimits;
use crate::text::{escaped, quoted};

const BLOCK: usize = 512;
const BLOCK_LEN: u64 = 512;
/// How many octal digits of a size fit a header: 8 GiB and more need PAX or base-256.
const OCTAL_MAX: u64 = 0o77_777_777_777;
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
        reader.refuse_other_formats()?;
        let mut entries = Vec::new();
        let mut paths = 0usize;
        while let Some(entry) = reader.next_entry()? {
            if entries.len() >= limits.entries {
                return Err(limit("the archive", "entries", limits.entries).into());
            }
            paths = paths.saturating_add(entry.name.len());
            if paths > limits.paths {
                return Err(limit("the archive", "bytes of names", limits.paths).into());
            }
            entries.extend(Some(entry).filter(|e| !e.name.is_empty()));
        }
        reader.refuse_trailing_data()?;
        Ok(Self::new(entries)?)
    }

    /// Builds the table; decides what depends on more than one entry.
    fn new(entries: Vec<Entry>) -> Result<Self, Refusal> {
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

fn limit(subject: &str, what: &str, limit: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::ArchiveLimit, subject, format!("too many {what}")).expected(format!("at most {limit}"))
}

fn header_fault(at: u64, message: impl Into<String>) -> Refusal {
    Refusal::new(Code::ArchiveHeader, format!("tar header at byte {at}"), message)
}

struct Reader<'a, R: ?Sized> {
    archive: &'a R,
    len: u64,
    at: u64,
    limits: &'a ArchiveLimits,
}

impl<R: ReadAt + ?Sized> Reader<'_, R> {
    /// Looks at the first bytes as loaders do, before anything is taken for tar: some magic numbers are valid file names.
    fn refuse_other_formats(&self) -> Result<(), ArchiveError> {
        let mut start = [0; BLOCK];
        let n = read_full(self.archive, &mut start, 0).map_err(|e| io_error("the archive", e))?;
        let start = start.get(..n).unwrap_or_default();
        if start.is_empty() {
            return Err(Refusal::new(Code::ArchiveEmpty, "the archive", "the file is empty").into());
        }
        if let Some(compression) = Compression::of(start) {
            return Err(Refusal::new(
                Code::ArchiveCompressed,
                "the archive",
                "compressed as a whole: decompress it first",
            )
            .expected("an uncompressed tar archive")
            .found(compression.word())
            .into());
        }
        let header = start.first_chunk::<BLOCK>().map(RawHeader);
        if header.is_none_or(|h| !h.is_zero() && h.checksum_fault().is_some()) {
            return Err(
                Refusal::new(Code::ArchiveNotTar, "the archive", "the file does not start with a tar header").into()
            );
        }
        Ok(())
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
        if size > self.limits.special_header {
            return Err(limit(
                &format!("tar header at byte {start}"),
                "bytes of special header",
                self.limits.special_header,
            )
            .into());
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
            Some(name) => name.clone(),
            None => header.name(start)?,
        };
        let name = clean(&written, self.limits.path)
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
                    Some(link) => link.clone(),
                    None => header.link(start)?,
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

/// What the special headers before an entry say about it.
#[derive(Default)]
struct Special {
    pax: bool,
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

#[derive(Clone, Copy)]
enum Field {
    Name,
    Link,
}

impl Special {
    fn is_empty(&self) -> bool {
        !self.pax && self.name.is_none() && self.link.is_none()
    }

    fn add_gnu(&mut self, field: Field, content: &[u8], start: u64) -> Result<(), Refusal> {
        let slot = match field {
            Field::Name => &mut self.name,
            Field::Link => &mut self.link,
        };
        if self.pax || slot.is_some() {
            return Err(header_fault(start, "two special headers that name one entry"));
        }
        let text = content.strip_suffix(b"\0").unwrap_or(content);
        *slot = Some(plain_text(text, start)?);
        Ok(())
    }

    fn add_pax(&mut self, content: &[u8], start: u64) -> Result<(), Refusal> {
        if !self.is_empty() {
            return Err(header_fault(start, "two special headers for one entry"));
        }
        self.pax = true;
        let mut keys = BTreeMap::new();
        let mut rest = content;
        while !rest.is_empty() {
            let record = PaxRecord::take(&mut rest).ok_or_else(|| header_fault(start, "a malformed PAX record"))?;
            if keys.insert(record.key, ()).is_some() {
                return Err(header_fault(start, format!("the PAX record {} occurs twice", quoted(record.key))));
            }
            self.apply(&record, start)?;
        }
        Ok(())
    }

    fn apply(&mut self, record: &PaxRecord<'_>, start: u64) -> Result<(), Refusal> {
        match record.key {
            "path" => self.name = Some(plain_text(record.value, start)?),
            "linkpath" => self.link = Some(plain_text(record.value, start)?),
            "size" => {
                let size = decimal(record.value).ok_or_else(|| header_fault(start, "the PAX size is no number"))?;
                self.size = Some(size);
            }
            key if key.starts_with("GNU.sparse.") => {
                return Err(Refusal::new(
                    Code::ArchiveEntryType,
                    format!("tar header at byte {start}"),
                    "a sparse file",
                ));
            }
            key if is_harmless(key) => {}
            key => return Err(header_fault(start, format!("the PAX record {} is not known", quoted(key)))),
        }
        Ok(())
    }

    /// The entry's size. A PAX size beside one that fits the header must be the same: readers differ in which they take.
    fn size_of(&self, in_header: u64, start: u64) -> Result<u64, Refusal> {
        match self.size {
            Some(size) if size != in_header && !(size > OCTAL_MAX && in_header == 0) => {
                Err(header_fault(start, "the PAX header and the header give two sizes").expected(in_header).found(size))
            }
            size => Ok(size.unwrap_or(in_header)),
        }
    }
}

/// Records that do not change which file an entry is or what is in it. Others (`hdrcharset`, `SCHILY.realsize`, ...) do in some reader.
fn is_harmless(key: &str) -> bool {
    const KEYS: &[&str] = &[
        "mtime",
        "atime",
        "ctime",
        "uid",
        "gid",
        "uname",
        "gname",
        "comment",
        "SCHILY.dev",
        "SCHILY.ino",
        "SCHILY.nlink",
        "SCHILY.fflags",
        "LIBARCHIVE.creationtime",
    ];
    const PREFIXES: &[&str] = &["SCHILY.xattr.", "SCHILY.acl.", "LIBARCHIVE.xattr."];
    KEYS.contains(&key) || PREFIXES.iter().any(|prefix| key.starts_with(prefix))
}

struct PaxRecord<'a> {
    key: &'a str,
    value: &'a [u8],
}

impl<'a> PaxRecord<'a> {
    /// Takes `LENGTH KEY=VALUE\n` off the front; the length counts the whole record, itself included.
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let space = rest.iter().position(|b| *b == b' ')?;
        let length = rest.get(..space).filter(|digits| !digits.starts_with(b"0")).and_then(decimal)?;
        let (record, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        let record = record.get(space.checked_add(1)?..)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        let (key, value) = record.split_at_checked(equals)?;
        let value = value.strip_prefix(b"=")?;
        *rest = after;
        let key = std::str::from_utf8(key).ok().filter(|key| !key.is_empty() && !key.contains('\0'))?;
        Some(Self { key, value })
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()))?;
    text.parse().ok()
}

/// A name: UTF-8, not empty, without NUL.
fn plain_text(bytes: &[u8], start: u64) -> Result<String, Refusal> {
    let text = std::str::from_utf8(bytes).ok().filter(|t| !t.is_empty() && !t.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| {
        Refusal::new(
            Code::ArchiveEntryName,
            format!("tar header at byte {start}"),
            "a name is empty, holds NUL or is not UTF-8",
        )
    })
}

/// One spelling for each name. The root directory becomes the empty name.
fn clean(name: &str, max: usize) -> Result<String, String> {
    if name.len() > max {
        return Err(format!("longer than {max} bytes"));
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
    Refusal::new(Code::ArchiveEntryType, escaped(name), "loaders differ on such entries")
        .expected("a file, a directory or a symbolic link")
        .found(word)
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

/// A header block and where its fields are [POSIX.1 pax, ustar interchange format; GNU tar manual, basic tar format].
struct RawHeader<'a>(&'a [u8; BLOCK]);

/// A checksum that does not hold.
struct ChecksumFault {
    written: Option<u64>,
    computed: u64,
}

impl ChecksumFault {
    fn into_refusal(self, at: u64) -> Refusal {
        let found = self.written.map_or("no number".to_owned(), |n| n.to_string());
        header_fault(at, "the checksum does not hold").expected(self.computed).found(found)
    }
}

impl<'a> RawHeader<'a> {
    fn bytes(&self, from: usize, to: usize) -> &'a [u8] {
        self.0.get(from..to).unwrap_or_default()
    }

    fn is_zero(&self) -> bool {
        self.0.iter().all(|b| *b == 0)
    }

    fn type_flag(&self) -> u8 {
        self.bytes(156, 157).first().copied().unwrap_or(0)
    }

    /// The sum of all bytes, those of the checksum itself counted as spaces. Sums of *signed* bytes, as a few old tars wrote, are not
    /// taken: they differ only for names that are not ASCII, and one rule is enough.
    fn checksum_fault(&self) -> Option<ChecksumFault> {
        let sum = |bytes: &[u8]| bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
        let spaces = 8 * u64::from(b' ');
        let computed = sum(self.bytes(0, 148)).saturating_add(sum(self.bytes(156, BLOCK))).saturating_add(spaces);
        let written = octal(self.bytes(148, 156));
        (written != Some(computed)).then_some(ChecksumFault { written, computed })
    }

    /// The three formats that are in use, each in the only form in which readers agree on the place of every field.
    fn check_format(&self, at: u64) -> Result<(), Refusal> {
        let zeros = |from, to| self.bytes(from, to).iter().all(|b| *b == 0);
        match self.bytes(257, 265) {
            b"ustar\x0000" if self.bytes(508, 512) == b"tar\0" => {
                return Err(header_fault(at, "a header of star's own format"));
            }
            b"ustar\x0000" => {}
            // Go takes part of this for a name if the times in it are no numbers. Only the times may be there.
            b"ustar  \0" if !zeros(369, BLOCK) => {
                return Err(header_fault(at, "a GNU header with sparse or volume fields"));
            }
            b"ustar  \0" => {
                self.numbers(at, &[(345, 357), (357, 369)])?;
            }
            [0, 0, 0, 0, 0, 0, 0, 0] if !zeros(257, BLOCK) => {
                return Err(header_fault(at, "an old-style header with fields of a newer one"));
            }
            [0, 0, 0, 0, 0, 0, 0, 0] => {}
            other => {
                let found = String::from_utf8_lossy(other).into_owned();
                return Err(header_fault(at, "an unknown tar format").found(quoted(&found)));
            }
        }
        // Go gives up on the whole archive at a mode, owner or time that is no number.
        self.numbers(at, &[(100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345)])
    }

    fn numbers(&self, at: u64, fields: &[(usize, usize)]) -> Result<(), Refusal> {
        let bad = fields.iter().find(|(from, to)| {
            let field = self.bytes(*from, *to);
            let blank = field.iter().all(|b| matches!(b, 0 | b' '));
            let binary = field.first().is_some_and(|b| b & 0x80 != 0);
            !blank && !binary && octal(field).is_none()
        });
        bad.map_or(Ok(()), |(from, _)| Err(header_fault(at, format!("the field at {from} is no number"))))
    }

    /// The size: octal digits, or base-256 where it is too large for them.
    fn size(&self, at: u64) -> Result<u64, Refusal> {
        let field = self.bytes(124, 136);
        let size = match field {
            [0x80, high @ .., _, _, _, _, _, _, _, _] if high.iter().all(|b| *b == 0) => {
                field.last_chunk::<8>().map(|b| u64::from_be_bytes(*b)).filter(|size| i64::try_from(*size).is_ok())
            }
            _ => octal(field),
        };
        size.ok_or_else(|| header_fault(at, "the size is no number, is negative or does not fit 63 bits"))
    }

    fn name(&self, at: u64) -> Result<String, Refusal> {
        let name = self.text(0, 100, at)?;
        let prefix = if self.bytes(257, 265) == b"ustar\x0000" { self.text(345, 500, at)? } else { &[] };
        let whole = if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() };
        plain_text(&whole, at)
    }

    fn link(&self, at: u64) -> Result<String, Refusal> {
        plain_text(self.text(157, 257, at)?, at)
    }

    /// A text field up to its first NUL; only NULs may follow it.
    fn text(&self, from: usize, to: usize, at: u64) -> Result<&'a [u8], Refusal> {
        let field = self.bytes(from, to);
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        let (text, rest) = field.split_at_checked(end).unwrap_or((field, &[]));
        if rest.iter().any(|b| *b != 0) {
            return Err(header_fault(at, "a name goes on after its end"));
        }
        Ok(text)
    }
}

/// Octal digits, spaces before them, spaces and NULs after them.
fn octal(field: &[u8]) -> Option<u64> {
    let start = field.iter().position(|b| *b != b' ')?;
    let rest = field.get(start..)?;
    let end = rest.iter().position(|b| !matches!(b, b'0'..=b'7')).unwrap_or(rest.len());
    let (digits, padding) = rest.split_at_checked(end)?;
    if !padding.iter().all(|b| matches!(b, 0 | b' ')) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}
