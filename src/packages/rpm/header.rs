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
const BASE_NAMES: u32 = 1117;

/// Tags that are the header's own, of which the first entry may have one: what it covers was one header when the package was made.
const REGIONS: std::ops::RangeInclusive<u32> = 61..=63;
const TAG_MIN: u32 = 100;

const INT32: u32 = 4;
const STRING: u32 = 6;
const BINARY: u32 = 7;

/// The package of a header. None if it is a key that rpm trusts, which it keeps among the packages: the name is `gpg-pubkey`, and there is neither an
/// architecture nor a file, for a package could have that name too.
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
    if name == "gpg-pubkey" && arch.is_none() && !header.has_files {
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
    has_files: bool,
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
                return wrong(&format!(
                    "has tag {}, of another type than it should have or for the second time",
                    entry.tag
                ));
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
            BASE_NAMES | OLD_FILE_NAMES => {
                self.has_files = true;
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

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::type_complexity,
    reason = "the numbers of these tests are small"
)]
pub(super) mod tests {
    use super::*;

    type Tag<'a> = (u32, u32, u32, &'a [u8]);

    /// A header of these tags, their types, counts and bytes, laid one after the other.
    fn header(tags: &[Tag<'_>]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, kind, count, bytes) in tags {
            let aligned = [1, 1, 1, 2, 4, 8].get(*kind as usize).copied().unwrap_or(1);
            data.resize(data.len().next_multiple_of(aligned), 0);
            for word in [*tag, *kind, data.len() as u32, *count] {
                index.extend(word.to_be_bytes());
            }
            data.extend(*bytes);
        }
        [&(tags.len() as u32).to_be_bytes()[..], &(data.len() as u32).to_be_bytes(), &index, &data].concat()
    }

    const GOOD: [Tag<'static>; 5] = [
        (NAME, STRING, 1, b"a\0"),
        (VERSION, STRING, 1, b"1.2\0"),
        (RELEASE, STRING, 1, b"3.el9\0"),
        (ARCH, STRING, 1, b"noarch\0"),
        (BASE_NAMES, 8, 2, b"x\0y\0"),
    ];

    /// A header of a package `a 1.2-3.el9 noarch`, for the tests of what headers are kept in.
    pub(in super::super) fn good() -> Vec<u8> {
        header(&GOOD)
    }

    /// The good header, with these tags in place of those of the same number, or after them; empty ones are left out.
    fn with(edits: &[Tag<'static>]) -> Vec<u8> {
        let mut tags = GOOD.to_vec();
        for edit in edits {
            match tags.iter_mut().find(|tag| tag.0 == edit.0) {
                Some(tag) => *tag = *edit,
                None => tags.push(*edit),
            }
        }
        tags.retain(|tag| tag.1 != 0);
        header(&tags)
    }

    fn shown(blob: &[u8]) -> Result<String, String> {
        let package = package(blob).map_err(|error| error.to_string())?;
        Ok(package.map_or("none".to_owned(), |package| package.to_string()))
    }

    #[test]
    fn a_package_is_what_its_tags_say() {
        let ok = |text: &str| Ok(text.to_owned());
        let wrong = |text: &str| Err(text.to_owned());
        let none = |tag: u32| (tag, 0, 0, &b""[..]);
        let key = (NAME, STRING, 1, &b"gpg-pubkey\0"[..]);
        for (name, blob, expected) in [
            ("good", good(), ok("a 1.2-3.el9 noarch")),
            ("epoch", with(&[(EPOCH, INT32, 1, &[0, 0, 0, 2])]), ok("a 2:1.2-3.el9 noarch")),
            ("epoch 0", with(&[(EPOCH, INT32, 1, &[0, 0, 0, 0])]), ok("a 1.2-3.el9 noarch")),
            ("no architecture", with(&[none(ARCH)]), ok("a 1.2-3.el9")),
            ("a key", with(&[key, none(ARCH), none(BASE_NAMES)]), ok("none")),
            ("a key of an architecture", with(&[key, none(BASE_NAMES)]), ok("gpg-pubkey 1.2-3.el9 noarch")),
            (
                "a key of no architecture's name",
                with(&[key, none(BASE_NAMES), (ARCH, STRING, 1, b"\0")]),
                ok("gpg-pubkey 1.2-3.el9"),
            ),
            ("a key with files", with(&[key, none(ARCH)]), ok("gpg-pubkey 1.2-3.el9")),
            (
                "a key with files of old",
                with(&[key, none(ARCH), none(BASE_NAMES), (OLD_FILE_NAMES, 8, 1, b"/x\0")]),
                ok("gpg-pubkey 1.2-3.el9"),
            ),
            (
                "almost a key",
                with(&[(NAME, STRING, 1, b"gpg-pubkey2\0"), none(ARCH), none(BASE_NAMES)]),
                ok("gpg-pubkey2 1.2-3.el9"),
            ),
            (
                "every other type",
                with(&[
                    (2000, 1, 1, b"x"),
                    (2001, 2, 2, b"xy"),
                    (2002, 3, 1, b"xy"),
                    (2003, 5, 1, b"12345678"),
                    (2004, 7, 3, b"\0\0\0"),
                    (2005, 9, 1, b"x\0"),
                ]),
                ok("a 1.2-3.el9 noarch"),
            ),
            ("no name", with(&[none(NAME)]), wrong("a header without a name")),
            ("no version", with(&[none(VERSION)]), wrong("a header without a version")),
            ("no release", with(&[none(RELEASE)]), wrong("a header without a release")),
            ("an empty release", with(&[(RELEASE, STRING, 1, b"\0")]), wrong("a header whose release is \"\"")),
            ("a dash", with(&[(VERSION, STRING, 1, b"1-2\0")]), wrong("a header whose version is \"1-2\"")),
            ("a colon", with(&[(VERSION, STRING, 1, b"1:2\0")]), wrong("a header whose version is \"1:2\"")),
            ("not UTF-8", with(&[(NAME, STRING, 1, b"\xff\0")]), wrong("a header whose name is not UTF-8")),
            (
                "a name of another type",
                with(&[(NAME, 9, 1, b"a\0")]),
                wrong("entry 0 of a header has tag 1000, of another type than it should have or for the second time"),
            ),
            (
                "two names at once",
                with(&[(NAME, STRING, 2, b"a\0b\0")]),
                wrong("entry 0 of a header does not fit into the header"),
            ),
            (
                "two names",
                header(&[&GOOD[..], &[GOOD[0]]].concat()),
                wrong("entry 5 of a header has tag 1000, of another type than it should have or for the second time"),
            ),
            (
                "two architectures",
                header(&[&GOOD[..], &[GOOD[3]]].concat()),
                wrong("entry 5 of a header has tag 1022, of another type than it should have or for the second time"),
            ),
            (
                "two epochs at once",
                with(&[(EPOCH, INT32, 2, &[0; 8])]),
                wrong("entry 5 of a header has tag 1003, of another type than it should have or for the second time"),
            ),
            (
                "an epoch of 8 bytes",
                with(&[(EPOCH, 5, 1, &[0; 8])]),
                wrong("entry 5 of a header has tag 1003, of another type than it should have or for the second time"),
            ),
            ("no NUL", with(&[(2000, STRING, 1, b"x")]), wrong("entry 5 of a header does not fit into the header")),
            (
                "one string of two",
                with(&[(2000, 8, 2, b"x\0")]),
                wrong("entry 5 of a header does not fit into the header"),
            ),
            (
                "a type that there is not",
                with(&[(2000, 10, 1, b"x")]),
                wrong("entry 5 of a header does not fit into the header"),
            ),
            ("nothing", with(&[(2000, 7, 0, b"x")]), wrong("entry 5 of a header does not fit into the header")),
            (
                "too many",
                with(&[(2000, 5, u32::MAX, b"12345678")]),
                wrong("entry 5 of a header does not fit into the header"),
            ),
        ] {
            assert_eq!(shown(&blob), expected, "{name}");
        }
    }

    /// The good header as rpm keeps it: a region over what was in the package, and after it what was added.
    fn with_region(edit: impl Fn(&mut [u32; 4], &mut [u32; 4])) -> Vec<u8> {
        let plain = good();
        let (index, data) = plain[8..].split_at(GOOD.len() * ENTRY);
        let mut region = [63, BINARY, data.len() as u32, 16];
        let mut trailer = [63, BINARY, 0_u32.wrapping_sub((GOOD.len() as u32 + 1) * 16), 16];
        edit(&mut region, &mut trailer);
        let bytes = |words: [u32; 4]| words.map(u32::to_be_bytes).concat();
        let added = [2000, BINARY, data.len() as u32 + 16, 1];
        let data = [data, &bytes(trailer), &[7]].concat();
        let counts = [GOOD.len() as u32 + 2, data.len() as u32].map(u32::to_be_bytes).concat();
        [counts, bytes(region), index.to_vec(), bytes(added), data].concat()
    }

    #[test]
    fn a_region_is_one() {
        let bad = Err("a header whose region is not one".to_owned());
        assert_eq!(shown(&with_region(|_, _| ())), Ok("a 1.2-3.el9 noarch".to_owned()));
        for tag in [61, 62] {
            assert_eq!(shown(&with_region(|r, t| (r[0], t[0]) = (tag, tag))), Ok("a 1.2-3.el9 noarch".to_owned()));
        }
        assert_eq!(shown(&with_region(|_, t| t[0] = 62)), bad);
        assert_eq!(shown(&with_region(|_, t| t[1] = 6)), bad);
        assert_eq!(shown(&with_region(|_, t| t[2] = 96)), bad);
        assert_eq!(shown(&with_region(|_, t| t[2] = 0)), bad);
        assert_eq!(shown(&with_region(|_, t| t[2] = t[2].wrapping_sub(32))), bad);
        assert_eq!(shown(&with_region(|_, t| t[2] = t[2].wrapping_sub(1))), bad);
        assert_eq!(shown(&with_region(|r, _| r[2] += 2)), bad);
        assert_eq!(shown(&with_region(|r, _| r[3] = 15)), bad);
        let error = "entry 0 of a header has a tag of the header's own, which only the first may have";
        assert_eq!(shown(&with_region(|r, _| r[0] = 99)), Err(error.to_owned()));
        let error = "entry 5 of a header has a tag of the header's own, which only the first may have";
        assert_eq!(shown(&with(&[(63, BINARY, 16, &[0; 16])])), Err(error.to_owned()));
    }

    #[test]
    fn a_header_is_of_the_size_that_it_says() {
        let good = good();
        for len in 0..good.len() {
            assert!(package(&good[..len]).is_err(), "{len}");
        }
        assert!(package(&[&good[..], b"x"].concat()).unwrap_err().to_string().starts_with("a header of "));
        for (entries, data) in [(0x1_0000_u32, 0_u32), (0, 0x1000_0000), (u32::MAX, u32::MAX)] {
            let error = package(&[entries.to_be_bytes(), data.to_be_bytes()].concat()).unwrap_err().to_string();
            assert!(error.ends_with("more than rpm allows"), "{error}");
        }
        // The second starts where the first does.
        let mut over = good.clone();
        over[8 + ENTRY + 8..][..4].copy_from_slice(&0_u32.to_be_bytes());
        assert_eq!(shown(&over), Err("entry 1 of a header lies over the one before it".to_owned()));
    }

    /// A seeded stream of numbers, which is all that is needed to change bytes.
    pub(in super::super) struct Random(pub(in super::super) u64);

    impl Random {
        pub(in super::super) fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % end.max(1)
        }

        /// The same bytes, with some changed or the end cut off.
        pub(in super::super) fn changed(&mut self, bytes: &[u8]) -> Vec<u8> {
            let mut bytes = bytes.to_vec();
            for _ in 0..=self.below(4) {
                let at = self.below(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = [0, 1, 0x7f, 0x80, 0xff, *byte ^ 1, *byte ^ 0x80][self.below(7)];
                }
            }
            if self.below(8) == 0 {
                bytes.truncate(self.below(bytes.len()));
            }
            bytes
        }
    }

    #[test]
    fn whatever_is_changed_nothing_panics() {
        let mut random = Random(1);
        let (mut fine, region) = (0, with_region(|_, _| ()));
        for _ in 0..20_000 {
            fine += u32::from(package(&random.changed(&region)).is_ok());
        }
        assert!(fine > 100, "{fine}");
    }
}
