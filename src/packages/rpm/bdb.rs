//! `Packages`: a hash of Berkeley DB, which rpm wrote before 4.16 and later versions only read [rpm, lib/backend/bdb_ro.c].

use std::collections::BTreeSet;

use crate::packages::error::Unreadable;

const MAX: usize = 256 * 1024 * 1024;
/// In the byte order of the machine that wrote it, as all numbers are.
const MAGIC: u32 = 0x0006_1561;
const META: usize = 512;
/// Of every page.
const HEADER: usize = 26;

/// Types of pages, and of the items on them.
const HASH_UNSORTED: u8 = 2;
const OVERFLOW: u8 = 7;
const HASH: u8 = 13;
const ON_PAGE: u8 = 1;
const OFF_PAGE: u8 = 3;

/// Calls `each` with every header, in the order of the file. Pages that no bucket leads to are not looked at.
///
/// # Errors
///
/// [`Unreadable`] where rpm cannot read the file, and if a page is in two places or a header has the number of another.
pub(crate) fn each_header(
    bytes: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let mut file = File::open(bytes)?;
    let mut numbers = BTreeSet::new();
    for bucket in 0..=file.last_bucket {
        let first = file.first_page(bucket).filter(|page| *page != 0);
        let mut next = first.ok_or_else(|| Unreadable::new(format!("bucket {bucket} has no page")))?;
        while next != 0 {
            let of_page = |error: Unreadable| error.of(&format!("page {next}"));
            let page = file.visit(next, &[HASH_UNSORTED, HASH]).map_err(of_page)?;
            let items = file.items(page).ok_or_else(|| of_page(Unreadable::new("items that are not on the page")))?;
            for pair in items.chunks(2) {
                let [key, value] = pair else { return Err(of_page(Unreadable::new("a key without a value"))) };
                let key = <[u8; 4]>::try_from(file.item(key).map_err(of_page)?.as_slice());
                let key = key.map_err(|_| of_page(Unreadable::new("a key that is not a number")))?;
                if !numbers.insert(key) {
                    return Err(of_page(Unreadable::new("the number of a header for the second time")));
                }
                // Number 0 is where the highest number is kept.
                if key != [0; 4] {
                    each(&file.item(value).map_err(of_page)?)?;
                }
            }
            next = file.word(page, 16).unwrap_or(0);
        }
    }
    Ok(())
}

struct File<'a> {
    bytes: &'a [u8],
    big_endian: bool,
    page_size: usize,
    last_bucket: u32,
    seen: BTreeSet<u32>,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let wrong = |what: &str| Err(Unreadable::new(what));
        let magic = bytes.get(12..).and_then(<[u8]>::first_chunk).copied();
        let big_endian = match magic {
            Some(magic) if magic == MAGIC.to_le_bytes() => false,
            Some(magic) if magic == MAGIC.to_be_bytes() => true,
            _ => return wrong("expected a hash of Berkeley DB, found something else"),
        };
        let mut file = Self { bytes, big_endian, page_size: 0, last_bucket: 0, seen: BTreeSet::from([0]) };
        let word = |at| file.word(bytes, at).unwrap_or(0);
        // Encrypted, with checksums or in parts: rpm does not make such, and its reader does not know them.
        let plain = bytes.get(24) == Some(&0) && bytes.get(26) == Some(&0);
        let page_size = usize::try_from(word(20)).unwrap_or(0);
        if !(8..=10).contains(&word(16))
            || !plain
            || !page_size.is_power_of_two()
            || !(512..=65_536).contains(&page_size)
        {
            return wrong("a hash of Berkeley DB of a form that rpm does not write");
        }
        if bytes.len() > MAX || bytes.len() < META || !bytes.len().is_multiple_of(page_size) {
            return wrong("a file of more than 256 MiB, or that ends within a page");
        }
        let last_bucket = word(72);
        (file.page_size, file.last_bucket) = (page_size, last_bucket);
        Ok(file)
    }

    /// The first page of a bucket: they follow one another in groups of which each is as large as all before it.
    fn first_page(&self, bucket: u32) -> Option<u32> {
        let group = usize::try_from(u32::BITS.checked_sub(bucket.leading_zeros())?).ok()?;
        let spare = self.word(self.bytes, group.checked_mul(4)?.checked_add(96).filter(|at| *at < 224)?)?;
        bucket.checked_add(spare)
    }

    /// A page of one of these types, which is nowhere else.
    fn visit(&mut self, number: u32, kinds: &[u8]) -> Result<&'a [u8], Unreadable> {
        if !self.seen.insert(number) {
            return Err(Unreadable::new("it is in two places"));
        }
        let start = usize::try_from(number).ok().and_then(|number| number.checked_mul(self.page_size));
        let page = start.and_then(|start| self.bytes.get(start..)?.get(..self.page_size));
        let page = page.ok_or_else(|| Unreadable::new("there is no such page"))?;
        if self.word(page, 8) != Some(number) || page.get(25).is_none_or(|kind| !kinds.contains(kind)) {
            return Err(Unreadable::new("it has another number or type than it should have"));
        }
        Ok(page)
    }

    /// The items on a page. They lie behind one another from the end of the page, in the order of their places.
    fn items(&self, page: &'a [u8]) -> Option<Vec<&'a [u8]>> {
        let places = page.get(HEADER..)?.get(..self.half(page, 20)?.checked_mul(2)?)?;
        let least = HEADER.checked_add(places.len())?;
        let mut end = page.len();
        let mut items = Vec::new();
        for place in places.chunks_exact(2) {
            let start = self.half(place, 0).filter(|start| (least..end).contains(start))?;
            items.push(page.get(start..end)?);
            end = start;
        }
        Some(items)
    }

    fn item(&mut self, item: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let wrong = || Unreadable::new("an item that is none that rpm writes");
        match item {
            [ON_PAGE, value @ ..] => Ok(value.to_vec()),
            [OFF_PAGE, ..] if item.len() == 12 => {
                let (first, len) = self.word(item, 4).zip(self.word(item, 8)).ok_or_else(wrong)?;
                self.chain(first, usize::try_from(len).unwrap_or(usize::MAX))
            }
            _ => Err(wrong()),
        }
    }

    /// A value on pages of its own.
    fn chain(&mut self, first: u32, len: usize) -> Result<Vec<u8>, Unreadable> {
        let (mut value, mut next) = (Vec::new(), first);
        while next != 0 {
            let of_page = |error: Unreadable| error.of(&format!("page {next}"));
            let page = self.visit(next, &[OVERFLOW]).map_err(of_page)?;
            let content = self.half(page, 22).and_then(|len| page.get(HEADER..)?.get(..len));
            value.extend_from_slice(content.ok_or_else(|| of_page(Unreadable::new("more than is on the page")))?);
            next = self.word(page, 16).unwrap_or(0);
        }
        if value.len() != len {
            return Err(Unreadable::new(format!("a value of {} bytes, expected {len}", value.len())));
        }
        Ok(value)
    }

    fn word(&self, bytes: &[u8], at: usize) -> Option<u32> {
        let word = *bytes.get(at..)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) })
    }

    fn half(&self, bytes: &[u8], at: usize) -> Option<usize> {
        let half = *bytes.get(at..)?.first_chunk()?;
        Some(usize::from(if self.big_endian { u16::from_be_bytes(half) } else { u16::from_le_bytes(half) }))
    }
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::type_complexity,
    reason = "the numbers of these tests are small"
)]
mod tests {
    use super::super::header::tests::Random;
    use super::*;

    const PAGE: usize = 512;

    /// A page of a hash: its number, type, the next one, and its items from the end on.
    fn page(number: u32, kind: u8, next: u32, items: &[&[u8]]) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        page[8..12].copy_from_slice(&number.to_le_bytes());
        page[16..20].copy_from_slice(&next.to_le_bytes());
        page[20] = items.len() as u8;
        page[25] = kind;
        let mut end = PAGE;
        for (place, item) in items.iter().enumerate() {
            end -= item.len();
            page[end..][..item.len()].copy_from_slice(item);
            page[HEADER + 2 * place..][..2].copy_from_slice(&(end as u16).to_le_bytes());
        }
        page
    }

    fn overflow(number: u32, next: u32, content: &[u8]) -> Vec<u8> {
        let mut page = page(number, OVERFLOW, next, &[]);
        page[22..24].copy_from_slice(&(content.len() as u16).to_le_bytes());
        page[HEADER..][..content.len()].copy_from_slice(content);
        page
    }

    /// Two buckets; the second goes on on another page, with a value of 600 bytes on two more.
    fn good() -> Vec<u8> {
        let mut meta = vec![0; PAGE];
        meta[12..16].copy_from_slice(&MAGIC.to_le_bytes());
        meta[16] = 9;
        meta[20..24].copy_from_slice(&512_u32.to_le_bytes());
        meta[72] = 1;
        (meta[96], meta[100]) = (1, 1);
        [
            meta,
            page(1, HASH, 0, &[b"\x01\0\0\0\0", b"\x01counter", b"\x01\x02\0\0\0", b"\x01two"]),
            page(2, HASH_UNSORTED, 3, &[b"\x01\x01\0\0\0", b"\x01one"]),
            page(3, HASH, 0, &[b"\x01\x03\0\0\0", b"\x03\0\0\0\x04\0\0\0\x58\x02\0\0"]),
            overflow(4, 5, &[7; 486]),
            overflow(5, 0, &[7; 114]),
        ]
        .concat()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut found = Vec::new();
        let read = each_header(bytes, &mut |header| {
            found.push(header.to_vec());
            Ok(())
        });
        read.map(|()| found).map_err(|error| error.to_string())
    }

    #[test]
    fn a_hash_is_what_rpm_reads_or_refused() {
        assert_eq!(read(&good()), Ok(vec![b"two".to_vec(), b"one".to_vec(), vec![7; 600]]));
        let form = "a hash of Berkeley DB of a form that rpm does not write";
        let other = "page 2: it has another number or type than it should have";
        let edits: [(&str, fn(&mut Vec<u8>), &str); 24] = [
            ("nothing", Vec::clear, "expected a hash of Berkeley DB, found something else"),
            (
                "a tree",
                |f| f[12..16].copy_from_slice(&0x0005_3162_u32.to_le_bytes()),
                "expected a hash of Berkeley DB, found something else",
            ),
            ("version 7", |f| f[16] = 7, form),
            ("version 11", |f| f[16] = 11, form),
            ("encrypted", |f| f[24] = 1, form),
            ("with checksums", |f| f[26] = 1, form),
            ("pages of 256", |f| f[20..24].copy_from_slice(&256_u32.to_le_bytes()), form),
            ("pages of 768", |f| f[20..24].copy_from_slice(&768_u32.to_le_bytes()), form),
            ("cut", |f| f.truncate(PAGE * 6 - 1), "a file of more than 256 MiB, or that ends within a page"),
            ("a page less", |f| f.truncate(PAGE * 5), "page 3: page 5: there is no such page"),
            ("a bucket more", |f| f[72] = 2, "page 2: it is in two places"),
            ("all buckets", |f| f[72..76].fill(0xff), "page 2: it is in two places"),
            ("the first page", |f| f[96] = 0, "bucket 0 has no page"),
            ("another number", |f| f[2 * PAGE + 8] = 1, other),
            ("another type", |f| f[2 * PAGE + 25] = 5, other),
            ("a circle", |f| f[3 * PAGE + 16] = 2, "page 2: it is in two places"),
            ("one item", |f| f[2 * PAGE + 20] = 1, "page 2: a key without a value"),
            (
                "too many items",
                |f| f[2 * PAGE + 20..2 * PAGE + 22].fill(0xff),
                "page 2: items that are not on the page",
            ),
            (
                "an item in the header",
                |f| f[2 * PAGE + 28..2 * PAGE + 30].copy_from_slice(&[29, 0]),
                "page 2: items that are not on the page",
            ),
            (
                "an item of nothing",
                |f| f[2 * PAGE + 28..2 * PAGE + 30].copy_from_slice(&507_u16.to_le_bytes()),
                "page 2: items that are not on the page",
            ),
            ("a duplicate", |f| f[3 * PAGE - 9] = 2, "page 2: an item that is none that rpm writes"),
            ("a key twice", |f| f[3 * PAGE - 4] = 2, "page 2: the number of a header for the second time"),
            ("a chain that is too short", |f| f[4 * PAGE + 16] = 0, "page 3: a value of 486 bytes, expected 600"),
            ("a chain in a circle", |f| f[5 * PAGE + 16] = 4, "page 3: page 4: it is in two places"),
        ];
        for (name, edit, expected) in edits {
            let mut file = good();
            edit(&mut file);
            assert_eq!(read(&file), Err(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn whatever_is_changed_nothing_panics() {
        let (mut random, file) = (Random(4), good());
        for _ in 0..20_000 {
            let mut changed = file.clone();
            let start = [0, 72, PAGE, 2 * PAGE, 3 * PAGE, 3 * PAGE - 24, 4 * PAGE - 24, 4 * PAGE][random.below(8)];
            let part = random.changed(&file[start..][..32.min(file.len() - start)]);
            changed[start..][..part.len()].copy_from_slice(&part);
            let _ = read(&changed);
        }
    }
}
