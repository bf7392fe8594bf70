//! `rpmdb.sqlite`: the rows of one table of an SQLite file, with what its write-ahead log adds. Only what rpm writes is read [SQLite, Database
//! File Format]; whatever has two readings is refused.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::sql;
use crate::packages::error::Unreadable;

/// What is read into memory of each of the files.
const MAX: usize = 256 * 1024 * 1024;
/// The first page starts with the file's header.
const HEADER: usize = 100;
/// As deep as SQLite follows a tree [btreeInt.h, `BTCURSOR_MAX_DEPTH`].
const DEPTH_MAX: usize = 20;
/// Least bytes of a page that are in use.
const USABLE_MIN: usize = 480;

const FRAME_HEADER: usize = 24;

/// The files of a database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Files<'a> {
    pub(crate) db: &'a [u8],
    pub(crate) wal: Option<&'a [u8]>,
    pub(crate) journal: Option<&'a [u8]>,
}

/// Calls `each` with the blob of every row of the table `Packages`, in the order of its rows. Pages that no row is on are not looked at.
///
/// # Errors
///
/// [`Unreadable`] if a file is damaged where it was read, if a change was cut off and is not undone, and if `Packages` is not a table of rpm.
pub(crate) fn each_header(
    files: &Files<'_>,
    each: &mut dyn FnMut(&[u8]) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    // A journal is to be played back unless its first byte is 0, which is how SQLite ends a transaction when it keeps the file
    // [pager.c, `hasHotJournal`; journal_mode=PERSIST].
    if files.journal.and_then(<[u8]>::first).is_some_and(|first| *first != 0) {
        return Err(Unreadable::new("its rollback journal was not played back: a change of it was cut off"));
    }
    let pages = Pages::open(files)?;
    let mut walk = Walk { pages: &pages, seen: BTreeSet::new() };
    let root = packages_root(&mut walk)?;
    walk.each_row(root, &mut |row| match record(row) {
        // rpm has the number of the header as the key of the row, so it is not in the record.
        Some([Value::Null | Value::Integer(_), Value::Blob(blob)]) => each(blob),
        _ => Err(Unreadable::new("a row of Packages that is not a number and a blob")),
    })
}

/// The first page of the table `Packages`, if that is what rpm made it.
fn packages_root(walk: &mut Walk<'_>) -> Result<u32, Unreadable> {
    let mut found = None;
    walk.each_row(1, &mut |row| {
        let wrong = |what: &str| Err(Unreadable::new(format!("the schema has a row that {what}")));
        let Some([Value::Text(kind), Value::Text(name), Value::Text(table), root, text]) = record(row) else {
            return wrong("is not one of a schema");
        };
        match text {
            // What SQLite goes by is the text.
            Value::Text(text) if sql::creates(text, kind, name) => {}
            Value::Null if kind == "index" => {}
            _ => return wrong("says one thing in its columns and another in its text"),
        }
        if !name.eq_ignore_ascii_case("Packages") {
            return Ok(());
        }
        let root = match root {
            Value::Integer(root) => u32::try_from(root).ok().filter(|root| *root > 1),
            _ => None,
        };
        let known = matches!(text, Value::Text(text) if kind == "table" && sql::is_packages(text));
        if !known || root.is_none() || !table.eq_ignore_ascii_case(name) {
            return wrong("makes Packages something else than the table of rpm");
        }
        match found.replace(root) {
            None => Ok(()),
            Some(_) => wrong("is a second Packages"),
        }
    })?;
    found.flatten().ok_or_else(|| Unreadable::new("it has no table Packages"))
}

/// The pages of a database: those of the file, and over them those of the log.
struct Pages<'a> {
    size: usize,
    usable: usize,
    count: u32,
    db: &'a [u8],
    log: BTreeMap<u32, &'a [u8]>,
}

impl<'a> Pages<'a> {
    fn open(files: &Files<'a>) -> Result<Self, Unreadable> {
        let wrong = |what: &str| Err(Unreadable::new(what));
        if files.db.len() > MAX || files.wal.is_some_and(|wal| wal.len() > MAX) {
            return wrong("a file of more than 256 MiB");
        }
        let Some(of_file) = FileHeader::read(files.db) else {
            return wrong("expected a database of SQLite 3, found something else");
        };
        if !files.db.len().is_multiple_of(of_file.page_size) {
            return wrong("the database ends within a page");
        }
        let mut pages = Self {
            size: of_file.page_size,
            usable: of_file.usable,
            count: u32::try_from(files.db.len().checked_div(of_file.page_size).unwrap_or(0)).unwrap_or(u32::MAX),
            db: files.db,
            log: BTreeMap::new(),
        };
        if let Some(wal) = files.wal.filter(|wal| !wal.is_empty()) {
            let log = Log::read(wal, pages.size)?;
            if let Some(count) = log.count {
                if !of_file.has_log {
                    return wrong("there is a write-ahead log beside a database that has none");
                }
                (pages.log, pages.count) = (log.pages, count);
            }
        }
        let header = pages.page(1).and_then(FileHeader::read);
        let Some(header) = header.filter(|header| header.page_size == pages.size && header.usable == pages.usable)
        else {
            return wrong("the first page in the write-ahead log is not that of this database");
        };
        if !header.has_utf8_tables {
            return wrong("expected a database of SQLite 3 with tables in UTF-8");
        }
        if let Some(count) = header.count {
            if count > pages.count {
                return wrong("the database is shorter than it says");
            }
            pages.count = count;
        }
        Ok(pages)
    }

    /// The part of a page that is in use, and the file's header with the first.
    fn page(&self, number: u32) -> Option<&'a [u8]> {
        if number == 0 || number > self.count {
            return None;
        }
        let page = match self.log.get(&number) {
            Some(page) => page,
            None => {
                let start = usize::try_from(number.checked_sub(1)?).ok()?.checked_mul(self.size)?;
                self.db.get(start..)?.get(..self.size)?
            }
        };
        page.get(..self.usable)
    }
}

/// What of the file's header counts.
struct FileHeader {
    page_size: usize,
    usable: usize,
    /// Whether the file is written through a log.
    has_log: bool,
    /// Whether texts are in UTF-8, and tables of a form that is known. In a new database that only the log has tables of, they are not.
    has_utf8_tables: bool,
    /// The number of pages, unless it was last written by a version of SQLite that did not know this field.
    count: Option<u32>,
}

impl FileHeader {
    fn read(bytes: &[u8]) -> Option<Self> {
        let page_size = match u16_at(bytes, 16)? {
            1 => 65_536,
            size if size.is_power_of_two() && size >= 512 => size,
            _ => return None,
        };
        let usable = page_size.checked_sub(usize::from(*bytes.get(20)?)).filter(|usable| *usable >= USABLE_MIN)?;
        let has_log = match bytes.get(18..20)? {
            [1, 1] => false,
            [2, 2] => true,
            _ => return None,
        };
        // What fractions of a page a value may take are fixed.
        let known = bytes.starts_with(b"SQLite format 3\0") && bytes.get(21..24)? == [64, 32, 32];
        let has_utf8_tables = (1..=4).contains(&u32_at(bytes, 44)?) && u32_at(bytes, 56)? == 1;
        let count = u32_at(bytes, 28).filter(|count| *count != 0 && bytes.get(24..28) == bytes.get(92..96));
        known.then_some(Self { page_size, usable, has_log, has_utf8_tables, count })
    }
}

/// A write-ahead log, as far as it was committed.
struct Log<'a> {
    pages: BTreeMap<u32, &'a [u8]>,
    /// How many pages the database has; none if nothing was committed.
    count: Option<u32>,
}

impl<'a> Log<'a> {
    /// SQLite takes a log whose header is wrong for an empty one. No program leaves such a log behind, so it is refused here.
    fn read(wal: &'a [u8], page_size: usize) -> Result<Self, Unreadable> {
        let wrong = || Unreadable::new("expected a write-ahead log of this database, found something else");
        let (header, mut rest) = wal.split_at_checked(32).ok_or_else(wrong)?;
        let word = |at| u32_at(header, at).ok_or_else(wrong);
        let big_endian = match word(0)? {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return Err(wrong()),
        };
        let mut sum = Sum { big_endian, sums: (0, 0) };
        sum.add(header.get(..24).ok_or_else(wrong)?);
        if word(4)? != 3_007_000 || usize::try_from(word(8)?) != Ok(page_size) || sum.sums != (word(24)?, word(28)?) {
            return Err(wrong());
        }
        let salts = header.get(16..24);
        let mut log = Self { pages: BTreeMap::new(), count: None };
        let mut pending = Vec::new();
        while let Some((frame, page, after)) = frame(rest, page_size) {
            rest = after;
            sum.add(frame.get(..8).ok_or_else(wrong)?);
            sum.add(page);
            let (number, size) = (u32_at(frame, 0).unwrap_or(0), u32_at(frame, 4).unwrap_or(0));
            // What follows is left of an older log, or was not written to its end.
            if number == 0 || frame.get(8..16) != salts || Some(sum.sums) != u32_at(frame, 16).zip(u32_at(frame, 20)) {
                break;
            }
            pending.push((number, page));
            if size != 0 {
                log.pages.extend(pending.drain(..));
                log.count = Some(size);
            }
        }
        Ok(log)
    }
}

/// The header of a frame, its page, and what follows.
fn frame(bytes: &[u8], page_size: usize) -> Option<(&[u8], &[u8], &[u8])> {
    let (frame, rest) = bytes.split_at_checked(FRAME_HEADER)?;
    let (page, rest) = rest.split_at_checked(page_size)?;
    Some((frame, page, rest))
}

/// The checksum of a log, over all that was in it so far.
struct Sum {
    big_endian: bool,
    sums: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let word = |bytes: [u8; 4]| if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
        let (mut a, mut b) = self.sums;
        for pair in bytes.chunks_exact(8) {
            if let [p, q, r, s, t, u, v, w] = *pair {
                a = a.wrapping_add(word([p, q, r, s])).wrapping_add(b);
                b = b.wrapping_add(word([t, u, v, w])).wrapping_add(a);
            }
        }
        self.sums = (a, b);
    }
}

/// Goes through trees of pages, each page once: no page is in two places.
struct Walk<'a> {
    pages: &'a Pages<'a>,
    seen: BTreeSet<u32>,
}

type Each<'e> = &'e mut dyn FnMut(&[u8]) -> Result<(), Unreadable>;

impl<'a> Walk<'a> {
    /// Calls `each` with the record of every row of the table whose first page this is.
    fn each_row(&mut self, root: u32, each: Each<'_>) -> Result<(), Unreadable> {
        self.tree(root, 0, &mut None, each)
    }

    fn tree(&mut self, number: u32, depth: usize, last: &mut Option<i64>, each: Each<'_>) -> Result<(), Unreadable> {
        let of_page = |error: Unreadable| error.of(&format!("page {number}"));
        let page = self.visit(number).map_err(of_page)?;
        let wrong = |what: &str| of_page(Unreadable::new(what));
        let node = Node::read(number, page).ok_or_else(|| wrong("expected a page of a table"))?;
        // Only a root may have no rows, and the first page may have only a right child, for there the header takes room.
        if depth >= DEPTH_MAX || (node.is_empty() && (depth > 0 || (node.right.is_some() && number != 1))) {
            return Err(wrong("the tree is too deep, or has a page without rows"));
        }
        for cell in node.cells() {
            let cell = cell.ok_or_else(|| wrong("a cell outside the page"))?;
            if node.right.is_some() {
                let (child, key) =
                    u32_at(cell, 0).zip(cell.get(4..).and_then(varint)).ok_or_else(|| wrong("a cut cell"))?;
                self.tree(child, depth.saturating_add(1), last, each)?;
                let key = key.0.cast_signed();
                if last.is_some_and(|last| last > key) {
                    return Err(wrong("rows that are not in order"));
                }
                *last = Some(key);
            } else {
                let (len, rest) = varint(cell).ok_or_else(|| wrong("a cut cell"))?;
                let (key, rest) = varint(rest).ok_or_else(|| wrong("a cut cell"))?;
                let key = key.cast_signed();
                if last.replace(key).is_some_and(|last| last >= key) {
                    return Err(wrong("rows that are not in order"));
                }
                let row = self.payload(len, rest).map_err(of_page)?;
                each(&row).map_err(|error| error.of(&format!("row {key}")))?;
            }
        }
        match node.right {
            Some(right) => self.tree(right, depth.saturating_add(1), last, each),
            None => Ok(()),
        }
    }

    fn visit(&mut self, number: u32) -> Result<&'a [u8], Unreadable> {
        if !self.seen.insert(number) {
            return Err(Unreadable::new("it is in two places"));
        }
        self.pages.page(number).ok_or_else(|| Unreadable::new("there is no such page"))
    }

    /// A record, of which the first part is in the cell, and what does not fit is on a chain of pages.
    fn payload(&mut self, len: u64, cell: &'a [u8]) -> Result<Cow<'a, [u8]>, Unreadable> {
        let cut = || Unreadable::new("a row that is cut");
        let len = usize::try_from(len).ok().filter(|len| *len <= MAX).ok_or_else(cut)?;
        let local = self.local(len).ok_or_else(cut)?;
        let (here, rest) = cell.split_at_checked(local).ok_or_else(cut)?;
        if local == len {
            return Ok(Cow::Borrowed(here));
        }
        let mut row = here.to_vec();
        let mut next = u32_at(rest, 0).ok_or_else(cut)?;
        while row.len() < len {
            let page = self.visit(next).map_err(|error| error.of(&format!("page {next}")))?;
            let (_, content) = page.split_at_checked(4).ok_or_else(cut)?;
            next = u32_at(page, 0).ok_or_else(cut)?;
            let left = len.saturating_sub(row.len());
            row.extend_from_slice(content.get(..left).unwrap_or(content));
        }
        if next != 0 {
            return Err(Unreadable::new("a row whose pages do not end where it ends"));
        }
        Ok(Cow::Owned(row))
    }

    /// How much of a record of this length is in its cell [Database File Format, 1.6].
    fn local(&self, len: usize) -> Option<usize> {
        let usable = self.pages.usable;
        let most = usable.checked_sub(35)?;
        if len <= most {
            return Some(len);
        }
        let least = usable.checked_sub(12)?.checked_mul(32)?.checked_div(255)?.checked_sub(23)?;
        let over = len.checked_sub(least)?.checked_rem(usable.checked_sub(4)?)?;
        let local = least.checked_add(over)?;
        Some(if local <= most { local } else { least })
    }
}

/// A page of a table's tree.
struct Node<'a> {
    page: &'a [u8],
    pointers: &'a [u8],
    /// Where cells may start.
    start: usize,
    /// The last child; none for a page of rows.
    right: Option<u32>,
}

impl<'a> Node<'a> {
    fn read(number: u32, page: &'a [u8]) -> Option<Self> {
        let at = if number == 1 { HEADER } else { 0 };
        let header = page.get(at..)?;
        let (right, len) = match header.first()? {
            0x0d => (None, 8),
            0x05 => (Some(u32_at(header, 8)?), 12),
            _ => return None,
        };
        let size = u16_at(header, 3)?.checked_mul(2)?;
        let pointers = header.get(len..)?.get(..size)?;
        Some(Self { page, pointers, start: at.checked_add(len)?.checked_add(size)?, right })
    }

    fn is_empty(&self) -> bool {
        self.pointers.is_empty()
    }

    /// From the start of each cell to the end of the page.
    fn cells(&self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let (page, start) = (self.page, self.start);
        self.pointers.chunks_exact(2).map(move |pointer| {
            let at = u16_at(pointer, 0).filter(|at| *at >= start)?;
            page.get(at..)
        })
    }
}

/// A column of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Value<'a> {
    Null,
    Integer(i64),
    Real,
    Text(&'a str),
    Blob(&'a [u8]),
}

/// A record of exactly so many columns [Database File Format, 2.1].
fn record<const N: usize>(record: &[u8]) -> Option<[Value<'_>; N]> {
    let (header_len, after) = varint(record)?;
    let (header, mut body) = record.split_at_checked(usize::try_from(header_len).ok()?)?;
    let mut kinds = header.get(record.len().checked_sub(after.len())?..)?;
    let mut values = [Value::Null; N];
    for value in &mut values {
        let (kind, rest) = varint(kinds)?;
        kinds = rest;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            _ => usize::try_from(kind.checked_sub(12)?.checked_div(2)?).ok()?,
        };
        let (bytes, rest) = body.split_at_checked(len)?;
        body = rest;
        *value = match kind {
            0 => Value::Null,
            1..=6 => Value::Integer(integer(bytes)),
            7 => Value::Real,
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            _ if kind.is_multiple_of(2) => Value::Blob(bytes),
            _ => Value::Text(str::from_utf8(bytes).ok()?),
        };
    }
    (kinds.is_empty() && body.is_empty()).then_some(values)
}

/// A big-endian integer with a sign, of up to 8 bytes.
fn integer(bytes: &[u8]) -> i64 {
    let negative = bytes.first().is_some_and(|byte| byte.leading_ones() > 0);
    let start = if negative { u64::MAX } else { 0 };
    bytes.iter().fold(start, |value, byte| value.wrapping_shl(8) | u64::from(*byte)).cast_signed()
}

/// An integer of 1 to 9 bytes, and what follows it [Database File Format, 1.6].
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().enumerate().take(9) {
        let rest = bytes.get(place.checked_add(1)?..)?;
        if place == 8 {
            return Some((value.wrapping_shl(8) | u64::from(*byte), rest));
        }
        value = value.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, rest));
        }
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::type_complexity,
    reason = "the numbers of these tests are small"
)]
mod tests {
    use super::super::header::tests::{Random, good};
    use super::*;

    const PAGE: usize = 512;
    const SQL: &str = "CREATE TABLE Packages(hnum INTEGER PRIMARY KEY,blob BLOB)";

    fn varint_of(value: usize) -> Vec<u8> {
        if value < 128 { vec![value as u8] } else { vec![(value >> 7) as u8 | 0x80, value as u8 & 0x7f] }
    }

    /// A row of columns of these types and bytes.
    fn row(key: usize, columns: &[(usize, &[u8])]) -> (usize, Vec<u8>) {
        let kinds: Vec<u8> = columns.iter().flat_map(|(kind, _)| varint_of(*kind)).collect();
        let values: Vec<u8> = columns.iter().flat_map(|(_, bytes)| bytes.to_vec()).collect();
        (key, [varint_of(kinds.len() + 1), kinds, values].concat())
    }

    /// A page of rows, all of which must fit, with room for the file's header if it is the first.
    fn leaf(rows: &[(usize, Vec<u8>)], first: bool) -> Vec<u8> {
        let at = if first { HEADER } else { 0 };
        let (mut page, mut end) = (vec![0; PAGE], PAGE);
        page[at] = 0x0d;
        page[at + 4] = rows.len() as u8;
        for (place, (key, record)) in rows.iter().enumerate() {
            let cell = [varint_of(record.len()), varint_of(*key), record.clone()].concat();
            end -= cell.len();
            page[end..][..cell.len()].copy_from_slice(&cell);
            page[at + 8 + 2 * place..][..2].copy_from_slice(&(end as u16).to_be_bytes());
        }
        page
    }

    /// The row of a table in the schema.
    fn table(root: u8) -> (usize, Vec<u8>) {
        let text = |text: &'static str| (13 + 2 * text.len(), text.as_bytes());
        row(1, &[text("table"), text("Packages"), text("Packages"), (1, &[root]), text(SQL)])
    }

    fn package(key: usize) -> (usize, Vec<u8>) {
        let blob = good();
        row(key, &[(0, b""), (12 + 2 * blob.len(), &blob)])
    }

    /// The first page, and then these.
    fn file(root: u8, pages: &[Vec<u8>]) -> Vec<u8> {
        let mut first = leaf(&[table(root)], true);
        first[..16].copy_from_slice(b"SQLite format 3\0");
        first[16..24].copy_from_slice(&[2, 0, 1, 1, 0, 64, 32, 32]);
        first[28..32].copy_from_slice(&(pages.len() as u32 + 1).to_be_bytes());
        first[47] = 4;
        first[59] = 1;
        [vec![first], pages.to_vec()].concat().concat()
    }

    /// A file of one row on the second page.
    fn one() -> Vec<u8> {
        file(2, &[leaf(&[package(1)], false)])
    }

    /// A tree of two pages of rows below the second.
    fn tree(children: [u8; 2], keys: [usize; 3]) -> Vec<u8> {
        let mut root = vec![0; PAGE];
        root[..16].copy_from_slice(&[5, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, children[1], 2, 0, 0, 0]);
        root[12..14].copy_from_slice(&500_u16.to_be_bytes());
        root[500..505].copy_from_slice(&[0, 0, 0, children[0], keys[1] as u8]);
        file(2, &[root, leaf(&[package(keys[0])], false), leaf(&[package(keys[2])], false)])
    }

    fn count(files: &Files<'_>) -> Result<usize, String> {
        let mut count = 0;
        let read = each_header(files, &mut |header| {
            assert!(header.len() < 100_000);
            count += 1;
            Ok(())
        });
        read.map(|()| count).map_err(|error| error.to_string())
    }

    fn read(db: &[u8]) -> Result<usize, String> {
        count(&Files { db, wal: None, journal: None })
    }

    #[test]
    fn a_file_is_what_sqlite_would_read_or_refused() {
        assert_eq!(read(&one()), Ok(1));
        let other = "expected a database of SQLite 3, found something else";
        let edits: [(&str, fn(&mut Vec<u8>), Result<usize, &str>); 24] = [
            ("magic", |f| f[0] = b's', Err(other)),
            ("a page of 0", |f| f[16] = 0, Err(other)),
            ("a page of 256", |f| f[16..18].copy_from_slice(&[1, 0]), Err(other)),
            ("a page of 768", |f| f[16..18].copy_from_slice(&[3, 0]), Err(other)),
            (
                "a page of 32,768, which there is not",
                |f| f[16..18].copy_from_slice(&[128, 0]),
                Err("the database ends within a page"),
            ),
            ("version 3", |f| f[18..20].copy_from_slice(&[3, 3]), Err(other)),
            ("two versions", |f| f[19] = 2, Err(other)),
            ("a log that is not there", |f| f[18..20].copy_from_slice(&[2, 2]), Ok(1)),
            ("too much reserved", |f| f[20] = 33, Err(other)),
            ("fractions", |f| f[21] = 63, Err(other)),
            ("UTF-16", |f| f[59] = 2, Err("expected a database of SQLite 3 with tables in UTF-8")),
            ("form 5", |f| f[47] = 5, Err("expected a database of SQLite 3 with tables in UTF-8")),
            ("more pages than there are", |f| f[31] = 3, Err("the database is shorter than it says")),
            ("more pages, but by an old version", |f| f[27] = 1, Ok(1)),
            ("fewer pages", |f| f[31] = 1, Err("page 2: there is no such page")),
            ("cut", |f| f.truncate(PAGE * 2 - 1), Err("the database ends within a page")),
            ("not a page of rows", |f| f[PAGE] = 0x0a, Err("page 2: expected a page of a table")),
            ("no rows", |f| f[PAGE + 4] = 0, Ok(0)),
            (
                "a row in the header of its page",
                |f| f[PAGE + 8..PAGE + 10].copy_from_slice(&[0, 9]),
                Err("page 2: a cell outside the page"),
            ),
            (
                "a row beyond its page",
                |f| f[PAGE + 8..PAGE + 10].copy_from_slice(&[2, 1]),
                Err("page 2: a cell outside the page"),
            ),
            (
                "a row at the end of its page",
                |f| f[PAGE + 8..PAGE + 10].copy_from_slice(&[2, 0]),
                Err("page 2: a cut cell"),
            ),
            ("rows beyond the page", |f| f[PAGE + 3..PAGE + 5].fill(0xff), Err("page 2: expected a page of a table")),
            (
                "a table on no page",
                |f| {
                    let at = f.windows(15).position(|w| w == b"\x02CREATE TABLE P").unwrap();
                    f[at] = 9;
                },
                Err("page 9: there is no such page"),
            ),
            (
                "a table on the first page",
                |f| {
                    let at = f.windows(15).position(|w| w == b"\x02CREATE TABLE P").unwrap();
                    f[at] = 1;
                },
                Err("row 1: the schema has a row that makes Packages something else than the table of rpm"),
            ),
        ];
        for (name, edit, expected) in edits {
            let mut file = one();
            edit(&mut file);
            assert_eq!(read(&file), expected.map_err(str::to_owned), "{name}");
        }
    }

    #[test]
    fn a_tree_is_one() {
        let order = |page: u8| Err(format!("page {page}: rows that are not in order"));
        for (name, children, keys, expected) in [
            ("good", [3, 4], [1, 1, 2], Ok(2)),
            ("a key that is gone", [3, 4], [1, 5, 6], Ok(2)),
            ("one page twice", [3, 3], [1, 1, 2], Err("page 3: it is in two places".to_owned())),
            ("itself", [2, 3], [1, 1, 2], Err("page 2: it is in two places".to_owned())),
            ("the schema", [1, 3], [1, 1, 2], Err("page 1: it is in two places".to_owned())),
            ("no page", [3, 0], [1, 1, 2], Err("page 0: there is no such page".to_owned())),
            ("beyond the last", [3, 5], [1, 1, 2], Err("page 5: there is no such page".to_owned())),
            ("the other way", [4, 3], [1, 1, 2], order(2)),
            ("one row twice", [3, 4], [1, 1, 1], order(4)),
            ("a row after its page's last", [3, 4], [2, 1, 3], order(2)),
        ] {
            assert_eq!(read(&tree(children, keys)), expected, "{name}");
        }
        let mut empty = tree([3, 4], [1, 1, 2]);
        empty[3 * PAGE + 4] = 0;
        assert_eq!(read(&empty), Err("page 4: the tree is too deep, or has a page without rows".to_owned()));
        let mut no_cells = tree([3, 4], [1, 1, 2]);
        no_cells[PAGE + 4] = 0;
        assert_eq!(read(&no_cells), Err("page 2: the tree is too deep, or has a page without rows".to_owned()));
    }

    #[test]
    fn a_chain_of_pages_has_an_end_and_no_more() {
        // 39 bytes are in the cell, and 508 on each of two pages.
        let (key, record) = row(1, &[(0, b""), (12 + 2 * 1051, &[7; 1051])]);
        assert_eq!(record.len(), 39 + 2 * 508);
        let mut page = leaf(&[], false);
        page[4] = 1;
        page[8..10].copy_from_slice(&400_u16.to_be_bytes());
        let cell = [varint_of(record.len()), varint_of(key), record[..39].to_vec(), vec![0, 0, 0, 3]].concat();
        page[400..][..cell.len()].copy_from_slice(&cell);
        let overflow = |next: u8, from: usize| [&[0, 0, 0, next][..], &record[from..][..508]].concat();
        for (name, nexts, expected) in [
            ("good", [4, 0], Ok(1)),
            ("too short", [0, 0], Err("page 2: page 0: there is no such page")),
            ("too long", [4, 5], Err("page 2: a row whose pages do not end where it ends")),
            ("a circle", [3, 0], Err("page 2: page 3: it is in two places")),
            ("a page of rows", [2, 0], Err("page 2: page 2: it is in two places")),
            ("out of the file", [9, 0], Err("page 2: page 9: there is no such page")),
        ] {
            let file = file(2, &[page.clone(), overflow(nexts[0], 39), overflow(nexts[1], 547)]);
            assert_eq!(read(&file), expected.map_err(str::to_owned), "{name}");
        }
    }

    /// A log of the second page, once for each of the commits; true for those that commit.
    fn log(frames: &[(bool, &[u8])], big_endian: bool) -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let mut sum = Sum { big_endian, sums: (0, 0) };
        let mut log = words(&[0x377f_0682 + u32::from(big_endian), 3_007_000, PAGE as u32, 0, 11, 12]);
        sum.add(&log);
        log.extend(words(&[sum.sums.0, sum.sums.1]));
        for (commits, page) in frames {
            let start = words(&[2, if *commits { 2 } else { 0 }]);
            sum.add(&start);
            sum.add(page);
            log.extend([start, words(&[11, 12, sum.sums.0, sum.sums.1]), page.to_vec()].concat());
        }
        log
    }

    #[test]
    fn a_log_counts_as_far_as_it_was_committed() {
        let rows = |count: usize| leaf(&(1..=count).map(package).collect::<Vec<_>>(), false);
        let (one_row, two, none) = (rows(1), rows(2), rows(0));
        let mut db = one();
        db[18..20].copy_from_slice(&[2, 2]);
        let read = |log: &[u8]| count(&Files { db: &db, wal: Some(log), journal: None });
        for big_endian in [false, true] {
            for (name, frames, expected) in [
                ("nothing", vec![], 1),
                ("a commit", vec![(true, &two[..])], 2),
                ("two", vec![(true, &two[..]), (true, &none)], 0),
                ("one of two frames", vec![(false, &two[..]), (true, &none)], 0),
                ("no commit", vec![(false, &two[..])], 1),
                ("no second commit", vec![(true, &two[..]), (false, &none)], 2),
            ] {
                assert_eq!(read(&log(&frames, big_endian)), Ok(expected), "{name}");
            }
        }
        assert_eq!(read(b""), Ok(1));
        let good = log(&[(true, &two), (true, &none)], false);
        let second = 32 + FRAME_HEADER + PAGE;
        let bad = Err("expected a write-ahead log of this database, found something else".to_owned());
        for (name, at, expected) in [
            ("magic", 3, bad.clone()),
            ("version", 7, bad.clone()),
            ("page size", 10, bad.clone()),
            ("a salt", 19, bad.clone()),
            ("checksum", 31, bad),
            ("the first frame's page", 35, Ok(1)),
            ("the first frame's salt", 43, Ok(1)),
            ("the second frame's salt", second + 15, Ok(2)),
            ("the second frame's checksum", second + 23, Ok(2)),
            ("the second frame's last byte", good.len() - 1, Ok(2)),
        ] {
            let mut log = good.clone();
            log[at] ^= 4;
            assert_eq!(read(&log), expected, "{name}");
        }
        for (len, expected) in [(good.len() - 1, Ok(2)), (second, Ok(2)), (second - 1, Ok(1)), (32, Ok(1))] {
            assert_eq!(read(&good[..len]), expected, "{len}");
        }
        assert!(read(&good[..31]).is_err());
        // A log beside a file that has none.
        let error = "there is a write-ahead log beside a database that has none".to_owned();
        assert_eq!(count(&Files { db: &one(), wal: Some(&good), journal: None }), Err(error));
        assert_eq!(count(&Files { db: &one(), wal: Some(&log(&[(false, &one_row)], false)), journal: None }), Ok(1));
    }

    #[test]
    fn a_journal_is_to_be_played_back_unless_it_starts_with_nothing() {
        let db = one();
        let hot = Err("its rollback journal was not played back: a change of it was cut off".to_owned());
        for (journal, expected) in [
            (None, Ok(1)),
            (Some(&b""[..]), Ok(1)),
            (Some(&[0; 512][..]), Ok(1)),
            (Some(b"\0\xd5\x05\xf9\x20\xa1\x63\xd7"), Ok(1)),
            (Some(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"), hot.clone()),
            (Some(b"x"), hot),
        ] {
            assert_eq!(count(&Files { db: &db, wal: None, journal }), expected, "{journal:?}");
        }
    }

    #[test]
    fn integers_are_read_as_sqlite_writes_them() {
        for (bytes, value) in [
            (&[0x7f][..], 127),
            (&[0x80], -128),
            (&[0xff, 0xfe], -2),
            (&[0x00, 0x80, 0x00], 32_768),
            (&[0x80, 0, 0, 0, 0, 0, 0, 0], i64::MIN),
            (&[], 0),
        ] {
            assert_eq!(integer(bytes), value, "{bytes:?}");
        }
        for (bytes, value, rest) in [
            (&[0x7f, 1][..], Some(127), 1),
            (&[0x81, 0x00], Some(128), 0),
            (&[0xff; 9], Some(u64::MAX), 0),
            (&[0xff; 10], Some(u64::MAX), 1),
            (&[0xff; 8], None, 0),
            (&[], None, 0),
        ] {
            let found = varint(bytes);
            assert_eq!(
                (found.map(|found| found.0), found.map_or(0, |found| found.1.len())),
                (value, rest),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn whatever_is_changed_nothing_panics() {
        let mut random = Random(3);
        let mut log_db = one();
        log_db[18..20].copy_from_slice(&[2, 2]);
        let wal = log(&[(true, &leaf(&[package(1), package(2)], false))], false);
        let tree = tree([3, 4], [1, 1, 2]);
        let mut fine = 0;
        for _ in 0..20_000 {
            fine += u32::from(read(&random.changed(&tree)).is_ok());
            let _ = count(&Files { db: &log_db, wal: Some(&random.changed(&wal)), journal: None });
            // What decides is in few places.
            let mut db = log_db.clone();
            let start = [0, HEADER, PAGE - 120, PAGE, 2 * PAGE - 40][random.below(5)];
            let part = random.changed(&db[start..][..40]);
            db[start..][..part.len()].copy_from_slice(&part);
            fine += u32::from(count(&Files { db: &db, wal: Some(&wal), journal: None }).is_ok());
        }
        assert!(fine > 1000, "{fine}");
    }
}
