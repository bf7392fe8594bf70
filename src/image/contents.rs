//! What is in a layer's tar: its entries in their order, listed while the bytes pass that are hashed anyway.
//!
//! Nothing is unpacked. Of files there is kept what was asked for: their SHA-256, or their bytes, for those of a package database. What it means that
//! one entry follows another, and that one layer follows another, is decided elsewhere.
//!
//! Rules:
//! - The tar headers are read as those of an archive are, with two differences: names are bytes, and hard links, devices and FIFOs are there.
//! - Whatever loaders are known to unpack differently is refused: sparse files, global headers, character devices 0:0 and
//!   extended attributes that overlayfs takes for its own marks, data on anything but a file.
//! - A name has no `..` part. A `/` or `./` at its front is dropped, as all loaders do.
//! - Only zeros may follow the end marker. That there is none is accepted, where the tar ends between two entries.
//! - Memory is bounded by the limits `files`, `file-paths`, `database` and `databases`, for all layers together.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use crate::digest::{Sha256, Sha256Hasher};
use crate::image::error::{Code, Refusal};
use crate::image::header::{BLOCK, Field, RawHeader, Special, header_fault};
use crate::limits::{ArchiveLimits, Bound, bound};
use crate::text::escaped;

const BLOCK_LEN: u64 = 512;
/// The start of a file tells a program by its first bytes.
const MAGIC: usize = 4;

/// What is to be listed of the layers.
pub(crate) struct Wanted<'a> {
    pub(crate) digests: Digests,
    /// What is to be kept of the file at a path, as the layer writes it, cleaned.
    pub(crate) keep: &'a (dyn Fn(&[u8]) -> Keep + Sync),
}

/// Which digests of every file are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digests {
    /// None but those of the files that are kept.
    Kept,
    /// SHA-256.
    Sha256,
    /// SHA-1 too, which a format of lists asks for. Nothing is decided by it.
    WithSha1,
}

/// What is kept of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// That it is there.
    Nothing,
    /// Its SHA-256.
    Digest,
    /// Its SHA-256 and its bytes.
    Content,
}

/// The entries of a layer, in their order.
#[derive(Debug, Default)]
pub(crate) struct LayerContents {
    pub(crate) entries: Vec<LayerEntry>,
}

/// One entry of a layer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LayerEntry {
    /// Parts with one `/` between them. Empty for the root.
    pub(crate) path: Box<[u8]>,
    /// Permissions, with setuid, setgid and the sticky bit.
    pub(crate) mode: u32,
    pub(crate) kind: EntryKind,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    File(FileFacts),
    Directory,
    /// The target, as it is written.
    Symlink(Box<[u8]>),
    /// The other name, cleaned.
    HardLink(Box<[u8]>),
    Device,
    Fifo,
}

/// What is known of a regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileFacts {
    pub(crate) size: u64,
    /// Where it was asked for.
    pub(crate) digest: Option<Sha256>,
    /// Where it was asked for.
    pub(crate) sha1: Option<[u8; 20]>,
    /// Where it was asked for.
    pub(crate) content: Option<Arc<[u8]>>,
    /// Whether it starts as an ELF program or a script does.
    pub(crate) is_program: bool,
}

/// How much all layers have taken so far.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    entries: AtomicU64,
    paths: AtomicU64,
    contents: AtomicU64,
}

impl Taken {
    /// Counts `n` more of something, against its limit.
    fn grow(counter: &AtomicU64, n: usize, limit: Bound, what: &str) -> Result<(), Refusal> {
        let n = u64::try_from(n).unwrap_or(u64::MAX);
        let all = counter.fetch_add(n, Ordering::Relaxed).saturating_add(n);
        if limit.allows(all) { Ok(()) } else { Err(Refusal::beyond(limit, "the layers", what)) }
    }
}

/// Lists the tar whose bytes it is given, piece by piece.
pub(crate) struct Lister<'a> {
    wanted: &'a Wanted<'a>,
    taken: &'a Taken,
    limits: &'a ArchiveLimits,
    /// What to call the layer.
    layer: &'a str,
    at: u64,
    /// A header block that came in pieces.
    block: Box<[u8; BLOCK]>,
    state: State,
    special: Special,
    contents: LayerContents,
    fault: Option<Refusal>,
}

enum State {
    /// A header block, of which this much has come.
    Header { filled: usize },
    /// The data of a special header.
    Special { flag: u8, start: u64, left: u64, data: Vec<u8> },
    /// The data of a file.
    File { left: u64, file: Box<Arriving> },
    /// What fills the last block of data.
    Padding { left: u64 },
    /// After the first zero block.
    End,
}

/// A file whose bytes are arriving.
struct Arriving {
    path: Box<[u8]>,
    mode: u32,
    size: u64,
    start: Vec<u8>,
    hasher: Option<Sha256Hasher>,
    sha1: Option<Context>,
    content: Option<Vec<u8>>,
}

impl<'a> Lister<'a> {
    pub(crate) fn new(wanted: &'a Wanted<'a>, taken: &'a Taken, limits: &'a ArchiveLimits, layer: &'a str) -> Self {
        Self {
            wanted,
            taken,
            limits,
            layer,
            at: 0,
            block: Box::new([0; BLOCK]),
            state: State::Header { filled: 0 },
            special: Special::of_layer(),
            contents: LayerContents::default(),
            fault: None,
        }
    }

    /// The next bytes. After a fault nothing more is looked at.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.fault.is_none() {
            match self.step(bytes) {
                Ok(taken) => {
                    self.at = self.at.saturating_add(u64::try_from(taken).unwrap_or(u64::MAX));
                    bytes = bytes.get(taken..).unwrap_or_default();
                }
                Err(refusal) => self.fault = Some(refusal),
            }
        }
    }

    /// All bytes have come.
    pub(crate) fn finish(self) -> Result<LayerContents, Refusal> {
        let layer = self.layer;
        let in_layer = |refusal: Refusal| match refusal.code {
            Code::ArchiveLimit => refusal,
            _ => {
                let subject = format!("{}: {}", escaped(layer), refusal.subject);
                Refusal { code: Code::LayerTar, subject, ..refusal }
            }
        };
        if let Some(fault) = self.fault {
            return Err(in_layer(fault));
        }
        let is_between = match &self.state {
            State::Header { filled } => *filled == 0 && self.special.is_empty(),
            State::End => true,
            _ => false,
        };
        if is_between {
            return Ok(self.contents);
        }
        Err(in_layer(Refusal::new(Code::LayerTar, format!("byte {}", self.at), "the tar ends inside an entry")))
    }

    /// Takes at least one byte, and returns how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match &mut self.state {
            State::Header { filled } => {
                let before = *filled;
                // Most come whole.
                if let (0, Some(block)) = (before, bytes.first_chunk::<BLOCK>()) {
                    self.state = self.header(block, self.at)?;
                    return Ok(BLOCK);
                }
                let rest = self.block.get_mut(before..).unwrap_or_default();
                let taken = rest.len().min(bytes.len());
                rest.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                *filled = before.saturating_add(taken);
                if *filled == BLOCK {
                    let start = self.at.saturating_sub(u64::try_from(before).unwrap_or(0));
                    let block = self.block.clone();
                    self.state = self.header(&block, start)?;
                }
                Ok(taken)
            }
            State::Special { left, data, .. } => {
                let taken = first(bytes, *left);
                data.extend_from_slice(taken);
                *left = left.saturating_sub(len(taken));
                if *left == 0 {
                    self.special_is_whole()?;
                }
                Ok(taken.len())
            }
            State::File { left, file } => {
                let taken = first(bytes, *left);
                file.push(taken);
                *left = left.saturating_sub(len(taken));
                if *left == 0 {
                    self.file_is_whole()?;
                }
                Ok(taken.len())
            }
            State::Padding { left } => {
                let taken = first(bytes, *left);
                *left = left.saturating_sub(len(taken));
                if *left == 0 {
                    self.state = State::Header { filled: 0 };
                }
                Ok(taken.len())
            }
            State::End => match bytes.iter().position(|b| *b != 0) {
                None => Ok(bytes.len()),
                Some(at) => {
                    let at = self.at.saturating_add(u64::try_from(at).unwrap_or(0));
                    let subject = format!("byte {at}");
                    Err(Refusal::new(Code::LayerTar, subject, "data after the end of the tar").expected("only zeros"))
                }
            },
        }
    }

    /// What follows a header block.
    fn header(&mut self, block: &[u8; BLOCK], start: u64) -> Result<State, Refusal> {
        let header = RawHeader(block);
        if header.is_zero() {
            if !self.special.is_empty() {
                return Err(header_fault(start, "the tar ends after a special header, before its entry"));
            }
            return Ok(State::End);
        }
        if let Some(found) = header.checksum_fault() {
            return Err(found.into_refusal(start));
        }
        header.check_format(start)?;
        let flag = header.type_flag();
        if flag == b'g' {
            // Whatever it says: Go's reader hands it on as an entry of its own, and forgets the special headers before it. Loaders that take it for one look at its name
            // first, as that of a whiteout or of what is to be replaced.
            return Err(header_fault(start, "a global header, which some loaders take for an entry"));
        }
        if matches!(flag, b'x' | b'L' | b'K') {
            let left = header.size(start)?;
            let limit = bound!(self.limits, special_header);
            if !limit.allows(left) {
                let subject = format!("{}: tar header at byte {start}", escaped(self.layer));
                return Err(Refusal::beyond(limit, subject, "too many bytes of special header").found(left));
            }
            self.state = State::Special { flag, start, left, data: Vec::new() };
            if left == 0 {
                self.special_is_whole()?;
            }
            return Ok(std::mem::replace(&mut self.state, State::End));
        }
        self.entry(&header, flag, start)
    }

    fn special_is_whole(&mut self) -> Result<(), Refusal> {
        let State::Special { flag, start, data, .. } = std::mem::replace(&mut self.state, State::End) else {
            return Ok(());
        };
        match flag {
            b'x' => self.special.add_pax(&data, start)?,
            b'L' => self.special.add_gnu(Field::Name, &data, start)?,
            _ => self.special.add_gnu(Field::Link, &data, start)?,
        }
        self.state = after(len(&data));
        Ok(())
    }

    fn entry(&mut self, header: &RawHeader<'_>, flag: u8, start: u64) -> Result<State, Refusal> {
        let special = std::mem::replace(&mut self.special, Special::of_layer());
        let written = match &special.name {
            Some(name) => name.clone(),
            None => header.name(start)?,
        };
        let path = self.clean(&written, start)?;
        let mode = header.mode(start)?;
        let size = special.size_of(header.size(start)?, start)?;
        let about = |message: &str| Refusal::new(Code::LayerTar, shown(&written), message);
        if i64::try_from(size).is_err() {
            return Err(about("a size that does not fit 63 bits").found(size));
        }
        let link = || match &special.link {
            Some(link) => Ok(link.clone()),
            None => header.link(start),
        };
        let kind = match flag {
            b'0' | 0 if written.ends_with(b"/") || path.is_empty() => {
                return Err(about("a file with the name of a directory"));
            }
            b'0' | 0 => {
                return self.file(path, mode, size);
            }
            b'1' if path.is_empty() => return Err(about("a link in the place of the root")),
            b'1' => EntryKind::HardLink(self.clean(&link()?, start)?),
            b'2' => EntryKind::Symlink(self.target(link()?, start)?),
            b'3' | b'4' => {
                let device = header.device().ok_or_else(|| about("a device whose numbers are none"))?;
                if flag == b'3' && device == (0, 0) {
                    return Err(about("a character device 0:0, by which overlayfs marks what it hides"));
                }
                EntryKind::Device
            }
            b'5' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            b'S' => return Err(about("a sparse file, which is not read")),
            b'7' => return Err(about("a contiguous file, which loaders unpack differently")),
            _ => return Err(about("an entry of unknown type")),
        };
        if path.is_empty() && kind != EntryKind::Directory {
            return Err(about("something other than a directory in the place of the root"));
        }
        if size != 0 {
            return Err(about("data on an entry that has none").expected("size 0").found(size));
        }
        self.add(LayerEntry { path, mode, kind })?;
        Ok(State::Header { filled: 0 })
    }

    /// Starts to take in a file.
    fn file(&mut self, path: Box<[u8]>, mode: u32, size: u64) -> Result<State, Refusal> {
        let keep = (self.wanted.keep)(&path);
        let content = match keep {
            Keep::Content => {
                let limit = bound!(self.limits, database);
                if !limit.allows(size) {
                    let subject = format!("{}: {}", escaped(self.layer), shown(&path));
                    return Err(Refusal::beyond(limit, subject, "the file has too many bytes to be read").found(size));
                }
                let bytes = usize::try_from(size).unwrap_or(usize::MAX);
                Taken::grow(
                    &self.taken.contents,
                    bytes,
                    bound!(self.limits, databases),
                    "the files of package databases have too many bytes together",
                )?;
                Some(Vec::new())
            }
            Keep::Nothing | Keep::Digest => None,
        };
        let is_hashed = self.wanted.digests != Digests::Kept || keep != Keep::Nothing;
        let hasher = is_hashed.then(Sha256Hasher::new);
        let sha1 = (self.wanted.digests == Digests::WithSha1).then(|| Context::new(&SHA1_FOR_LEGACY_USE_ONLY));
        let file = Box::new(Arriving { path, mode, size, start: Vec::new(), hasher, sha1, content });
        self.state = State::File { left: size, file };
        if size == 0 {
            self.file_is_whole()?;
        }
        Ok(std::mem::replace(&mut self.state, State::End))
    }

    fn file_is_whole(&mut self) -> Result<(), Refusal> {
        let State::File { file, .. } = std::mem::replace(&mut self.state, State::End) else { return Ok(()) };
        let Arriving { path, mode, size, start, hasher, sha1, content } = *file;
        let facts = FileFacts {
            size,
            digest: hasher.map(Sha256Hasher::finish),
            sha1: sha1.and_then(|sha1| sha1.finish().as_ref().try_into().ok()),
            content: content.map(Into::into),
            is_program: start == b"\x7fELF" || start.starts_with(b"#!"),
        };
        self.add(LayerEntry { path, mode, kind: EntryKind::File(facts) })?;
        self.state = after(size);
        Ok(())
    }

    fn add(&mut self, entry: LayerEntry) -> Result<(), Refusal> {
        let target = match &entry.kind {
            EntryKind::Symlink(target) | EntryKind::HardLink(target) => target.len(),
            _ => 0,
        };
        let paths = entry.path.len().saturating_add(target);
        Taken::grow(&self.taken.entries, 1, bound!(self.limits, files), "too many entries")?;
        Taken::grow(&self.taken.paths, paths, bound!(self.limits, file_paths), "too many bytes of paths")?;
        self.contents.entries.push(entry);
        Ok(())
    }

    /// One spelling for each path.
    fn clean(&self, written: &[u8], start: u64) -> Result<Box<[u8]>, Refusal> {
        let written = self.named(written, start)?;
        // Most are clean already.
        if written.split(|b| *b == b'/').all(|part| !matches!(part, b"" | b"." | b"..")) {
            return Ok(written.into());
        }
        let parts: Vec<&[u8]> = written.split(|b| *b == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
        if parts.contains(&b"..".as_slice()) {
            return Err(Refusal::new(Code::LayerTar, shown(written), "a path that climbs out of its directory"));
        }
        Ok(parts.join(b"/".as_slice()).into())
    }

    /// Where a symbolic link leads is text for whoever follows it.
    fn target(&self, written: Vec<u8>, start: u64) -> Result<Box<[u8]>, Refusal> {
        self.named(&written, start)?;
        Ok(written.into())
    }

    fn named<'n>(&self, written: &'n [u8], start: u64) -> Result<&'n [u8], Refusal> {
        if written.is_empty() || written.contains(&0) {
            return Err(header_fault(start, "a name is empty or holds NUL"));
        }
        let limit = bound!(self.limits, path);
        if !limit.allows(written.len()) {
            return Err(Refusal::beyond(limit, shown(written), "too many bytes of name").found(written.len()));
        }
        Ok(written)
    }
}

impl Arriving {
    fn push(&mut self, bytes: &[u8]) {
        let missing = MAGIC.saturating_sub(self.start.len());
        self.start.extend_from_slice(bytes.get(..missing).unwrap_or(bytes));
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        if let Some(sha1) = &mut self.sha1 {
            sha1.update(bytes);
        }
        if let Some(content) = &mut self.content {
            content.extend_from_slice(bytes);
        }
    }
}

/// What follows data of `size` bytes.
fn after(size: u64) -> State {
    let padding = size.next_multiple_of(BLOCK_LEN).saturating_sub(size);
    if padding == 0 { State::Header { filled: 0 } } else { State::Padding { left: padding } }
}

/// At most `n` bytes from the front.
fn first(bytes: &[u8], n: u64) -> &[u8] {
    usize::try_from(n).ok().and_then(|n| bytes.get(..n)).unwrap_or(bytes)
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A path of bytes, fit to be printed.
pub(crate) fn shown(path: &[u8]) -> String {
    escaped(&String::from_utf8_lossy(path)).to_string()
}

/// Lists what passes, where that is wanted.
pub(crate) struct Listed<'l, 'a, R> {
    pub(crate) reader: R,
    pub(crate) lister: Option<&'l mut Lister<'a>>,
}

impl<R: Read> Read for Listed<'_, '_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buf)?;
        if let Some(lister) = &mut self.lister {
            lister.push(buf.get(..n).unwrap_or_default());
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a tar lists, given in pieces of `piece` bytes.
    fn listed(tar: &[u8], piece: usize) -> Result<LayerContents, Refusal> {
        let keep = |path: &[u8]| if path.starts_with(b"db") { Keep::Content } else { Keep::Nothing };
        let wanted = Wanted { digests: Digests::WithSha1, keep: &keep };
        let (taken, limits) = (Taken::default(), ArchiveLimits::default());
        let mut lister = Lister::new(&wanted, &taken, &limits, "layer");
        tar.chunks(piece).for_each(|piece| lister.push(piece));
        lister.finish()
    }

    /// Written by other code than our own, with what it uses GNU's and PAX's headers for.
    fn some_tar() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind: tar::EntryType, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o4755);
            header.set_size(content.len().try_into().unwrap());
            builder.append_data(&mut header, path, content).unwrap();
        };
        add("a/empty", tar::EntryType::Regular, b"");
        add(&"long/".repeat(60), tar::EntryType::Directory, b"");
        add("db/x", tar::EntryType::Regular, b"#! text");
        add("block", tar::EntryType::Regular, &[7; 512]);
        add("more", tar::EntryType::Regular, &[7; 1025]);
        builder.append_pax_extensions([("comment", &b"x"[..]), ("path", &b"caf\xc3\xa9"[..])]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(0);
        builder.append_data(&mut header, "overridden", &b""[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn it_does_not_matter_in_which_pieces_a_tar_comes() {
        let tar = some_tar();
        let whole = listed(&tar, tar.len()).unwrap().entries;
        let paths: Vec<String> = whole.iter().map(|entry| shown(&entry.path)).collect();
        let long = "long/".repeat(60);
        assert_eq!(paths, ["a/empty", long.trim_end_matches('/'), "db/x", "block", "more", "café"]);
        let facts = |at: usize| match &whole[at].kind {
            EntryKind::File(facts) => facts.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(facts(2).content.as_deref(), Some(&b"#! text"[..]));
        assert!(facts(2).is_program && !facts(3).is_program);
        assert_eq!((facts(4).size, facts(4).digest), (1025, Some(Sha256::of(&[7; 1025]))));
        assert_eq!(facts(4).content, None);
        assert_eq!(whole[2].mode, 0o4755);
        for piece in [1, 3, 511, 512, 513, 1000, 4096] {
            assert_eq!(listed(&tar, piece).unwrap().entries, whole, "{piece}");
        }
    }

    #[test]
    fn a_tar_that_is_cut_anywhere_is_refused_or_ends_between_entries() {
        let tar = some_tar();
        let whole = listed(&tar, tar.len()).unwrap().entries.len();
        let mut ends = Vec::new();
        for end in 0..tar.len() {
            match listed(&tar[..end], 4096) {
                Ok(contents) if contents.entries.len() == whole => break,
                Ok(contents) => ends.push(contents.entries.len()),
                Err(refusal) => assert_eq!(refusal.code, Code::LayerTar, "{end}"),
            }
        }
        assert_eq!(ends, [0, 1, 2, 3, 4, 5], "once after each entry");
    }
}
