//! A package's header as rpm keeps it in its database, without the magic number in front: counts of entries and of bytes, the entries, and
//! the bytes that they lead to.

use crate::packages::error::Unreadable;
use crate::packages::package::{Kind, Package};
use crate::text::quoted;

/// rpm's own bounds [lib/header.c].
const ENTRIES_MAX: usize = 0xffff;
const DATA_MAX: usize = 0x0fff_ffff;

const ENTRY: usize = 16;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const EPOCH: u32 = 1003;
const ARCH: u32 = 1022;
const OLD_FILE_NAMES: u32 = 1027;
const SOURCE_RPM: u32 = 1044;
const BASE_NAMES: u32 = 1117;

/// Tags that are the header's own, of which the first entry may have one: what it covers was one header when the package was made.
const REGIONS: std::ops::RangeInclusive<u32> = 61..=63;
const TAG_MIN: u32 = 100;

const INT32: u32 = 4;
const STRING: u32 = 6;
const BINARY: u32 = 7;

/// The package of a header. None if it is a key that rpm trusts, which it keeps among the packages: the name is `gpg-pubkey`, and there is no
/// architecture, source package or file, for a package could have that name too.
///
/// The version is `VERSION-RELEASE` or `EPOCH:VERSION-RELEASE`. There is no source: the name of the source package has no epoch, so its
/// version is not known.
///
/// # Errors
///
/// [`Unreadable`] if an entry leads out of the header, is of no type that rpm has or lies over another (rpm refuses all of these), and if
/// something that is read here is missing, of another type or there twice.
pub(crate) fn package(blob: &[u8]) -> Result<Option<Package>, Unreadable> {
    let header = Header::read(blob)?;
    let name = header.need("name", header.name)?;
    let arch = header.arch.map(|text| utf8("architecture", text)).transpose()?;
    if name == "gpg-pubkey" && arch.is_none() && !header.has_contents {
        return Ok(None);
    }
    let version = header.need("version", header.version)?;
    let release = header.need("release", header.release)?;
    // A dash in either would make it another pair, which rpm never has.
    for (what, text) in [("version", version), ("release", release)] {
        if text.is_empty() || text.contains(['-', ':']) {
            return Err(Unreadable::new(format!("a header whose {what} is {}", quoted(text))));
        }
    }
    let whole = match header.epoch {
        Some(epoch) => format!("{epoch}:{version}-{release}"),
        None => format!("{version}-{release}"),
    };
    Package::new(Kind::Rpm, name, &whole, arch).map(Some)
}

/// What of a header is read.
#[derive(Debug, Default)]
struct Header<'a> {
    name: Option<&'a [u8]>,
    version: Option<&'a [u8]>,
    release: Option<&'a [u8]>,
    arch: Option<&'a [u8]>,
    epoch: Option<u32>,
    /// Whether it has files or a source package.
    has_contents: bool,
}

struct Entry {
    tag: u32,
    kind: u32,
    offset: usize,
    count: usize,
}

impl<'a> Header<'a> {
    fn read(blob: &'a [u8]) -> Result<Self, Unreadable> {
        let (entries, data) = split(blob)?;
        let mut header = Self::default();
        let mut end = 0;
        for (place, entry) in entries.chunks_exact(ENTRY).enumerate() {
            let wrong = |what: &str| Err(Unreadable::new(format!("entry {place} of a header {what}")));
            let Some(entry) = Entry::read(entry) else { return wrong("is cut") };
            if place == 0 && REGIONS.contains(&entry.tag) {
                region(&entry, data, entries.len())?;
                continue;
            }
            if entry.tag < TAG_MIN {
                return wrong("has a tag of the header's own, which only the first may have");
            }
            // In order and not one over the other, so that no byte is looked at twice.
            if entry.offset < end {
                return wrong("lies over the one before it");
            }
            let Some(value) = entry.value(data) else { return wrong("does not fit into the header") };
            end = entry.offset.saturating_add(value.len());
            if !header.take(&entry, value) {
                return wrong(&format!("has tag {}, of another type than it should have or for the second time", entry.tag));
            }
        }
        Ok(header)
    }

    /// False if it is not as it must be. Bytes that rpm added at the end after the package was made replace entries of the same tag: of these
    /// tags there are none.
    fn take(&mut self, entry: &Entry, value: &'a [u8]) -> bool {
        let field = match entry.tag {
            NAME => &mut self.name,
            VERSION => &mut self.version,
            RELEASE => &mut self.release,
            ARCH => &mut self.arch,
            EPOCH => {
                let bytes = value.first_chunk().filter(|_| entry.kind == INT32 && entry.count == 1);
                return bytes.is_some_and(|bytes| self.epoch.replace(u32::from_be_bytes(*bytes)).is_none());
            }
            SOURCE_RPM | BASE_NAMES | OLD_FILE_NAMES => {
                self.has_contents = true;
                return true;
            }
            _ => return true,
        };
        entry.kind == STRING && field.replace(value.strip_suffix(b"\0").unwrap_or(value)).is_none()
    }

    fn need(&self, what: &str, value: Option<&'a [u8]>) -> Result<&'a str, Unreadable> {
        utf8(what, value.ok_or_else(|| Unreadable::new(format!("a header without a {what}")))?)
    }
}

impl Entry {
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.chunks_exact(4).filter_map(<[u8]>::first_chunk).map(|word| u32::from_be_bytes(*word));
        Some(Self {
            tag: words.next()?,
            kind: words.next()?,
            offset: words.next()?.try_into().ok()?,
            count: words.next()?.try_into().ok()?,
        })
    }

    /// The bytes of its value, if they are in the header, and of a type that rpm has.
    fn value<'a>(&self, data: &'a [u8]) -> Option<&'a [u8]> {
        let rest = data.get(self.offset..)?;
        let (len, aligned) = match self.kind {
            1 | 2 | BINARY => (self.count, 1),
            3 => (self.count.checked_mul(2)?, 2),
            INT32 => (self.count.checked_mul(4)?, 4),
            5 => (self.count.checked_mul(8)?, 8),
            STRING if self.count != 1 => return None,
            STRING | 8 | 9 => {
                let last = self.count.checked_sub(1)?;
                let (place, _) = rest.iter().enumerate().filter(|(_, byte)| **byte == 0).nth(last)?;
                (place.checked_add(1)?, 1)
            }
            _ => return None,
        };
        rest.get(..len).filter(|value| !value.is_empty() && self.offset.is_multiple_of(aligned))
    }
}

/// The entries and the data of a header that is of just their size.
fn split(blob: &[u8]) -> Result<(&[u8], &[u8]), Unreadable> {
    let wrong = |what: &str| Unreadable::new(format!("a header {what}"));
    let (counts, rest) = blob.split_at_checked(8).ok_or_else(|| wrong("of less than 8 bytes"))?;
    let mut words = counts.chunks_exact(4).filter_map(<[u8]>::first_chunk).map(|word| u32::from_be_bytes(*word));
    let mut word = || words.next().and_then(|word| usize::try_from(word).ok()).unwrap_or(usize::MAX);
    let (entries, data) = (word(), word());
    if entries > ENTRIES_MAX || data > DATA_MAX {
        return Err(wrong(&format!("that claims {entries} entries and {data} bytes, more than rpm allows")));
    }
    let (index, store) = rest.split_at_checked(entries.saturating_mul(ENTRY)).ok_or_else(|| wrong("that is cut"))?;
    if store.len() != data {
        return Err(wrong(&format!("of {} bytes of data, expected {data}", store.len())));
    }
    Ok((index, store))
}

/// A region is 16 bytes that look like an entry: the same tag, and minus the size of the entries that it covers in place of the offset.
fn region(entry: &Entry, data: &[u8], index: usize) -> Result<(), Unreadable> {
    let trailer = entry.value(data).filter(|_| entry.kind == BINARY && entry.count == ENTRY);
    let covered = |bytes: &[u8]| {
        let trailer = Entry::read(bytes).filter(|t| t.tag == entry.tag && t.kind == BINARY && t.count == ENTRY)?;
        let size = usize::try_from(u32::try_from(trailer.offset).ok()?.wrapping_neg()).ok()?;
        Some(size).filter(|size| size.is_multiple_of(ENTRY) && (ENTRY..=index).contains(size))
    };
    trailer.and_then(covered).map(|_| ()).ok_or_else(|| Unreadable::new("a header whose region is not one"))
}

fn utf8<'a>(what: &str, bytes: &'a [u8]) -> Result<&'a str, Unreadable> {
    str::from_utf8(bytes).map_err(|_| Unreadable::new(format!("a header whose {what} is not UTF-8")))
}
