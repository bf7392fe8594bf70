//! One tar header block, read or written, and the special headers that correct the next one [POSIX.1 pax, ustar and pax interchange
//! formats; GNU tar].
//!
//! Nothing here reads: blocks and the content of special headers are given. What two readers would take differently is refused.
//!
//! Rules:
//! - Three formats, each in the one form in which readers agree on every field's place: POSIX, GNU without sparse and volume fields, and
//!   the old one without anything newer.
//! - Numbers are octal digits between spaces and NULs, sizes also base-256; names end with their first NUL, and nothing follows it.
//! - A PAX record that is not known to be harmless is refused: it may change which file this is.

use std::collections::BTreeSet;

use crate::image::error::{Code, Refusal};
use crate::text::quoted;

pub(crate) const BLOCK: usize = 512;
/// How many octal digits of a size fit a header: 8 GiB and more need PAX or base-256.
const OCTAL_MAX: u64 = 0o77_777_777_777;

/// The header blocks of a regular file: POSIX ustar, and before it a PAX header with the size if that does not fit. All else is fixed.
///
/// `name` has at most 100 bytes.
pub(crate) fn file_header(name: &str, size: u64) -> Vec<u8> {
    if size <= OCTAL_MAX {
        return block(name, b'0', size).to_vec();
    }
    let record = pax_size(size);
    let mut padded = [0; BLOCK];
    put(&mut padded, 0, record.as_bytes());
    let content = u64::try_from(record.len()).unwrap_or(0);
    [block("PaxHeaders/size", b'x', content), padded, block(name, b'0', 0)].concat()
}

/// `LENGTH size=SIZE\n`, where the length counts its own two digits: a size that needs the record has 10 to 20.
fn pax_size(size: u64) -> String {
    let rest = format!(" size={size}\n");
    format!("{}{rest}", rest.len().saturating_add(2))
}

fn block(name: &str, kind: u8, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, name.as_bytes());
    put(&mut block, 100, b"0000644\x000000000\x000000000\0");
    put(&mut block, 124, format!("{size:011o}\x0000000000000\0        ").as_bytes());
    put(&mut block, 156, &[kind]);
    put(&mut block, 257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    for (to, from) in block.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// A header block and where its fields are [POSIX.1 pax, ustar interchange format; GNU tar manual, basic tar format].
pub(crate) struct RawHeader<'a>(pub(crate) &'a [u8; BLOCK]);

/// A checksum that does not hold.
pub(crate) struct ChecksumFault {
    written: Option<u64>,
    computed: u64,
}

impl ChecksumFault {
    pub(crate) fn into_refusal(self, at: u64) -> Refusal {
        let found = self.written.map_or("no number".to_owned(), |n| n.to_string());
        header_fault(at, "the checksum does not hold").expected(self.computed).found(found)
    }
}

/// Whether some reader takes this for a tar header. As lenient as Go's, which adds up signed bytes too and takes a number as far as it goes:
/// it is for telling what must *not* look like one.
pub(crate) fn some_reader_takes(block: &[u8; BLOCK]) -> bool {
    const PADDING: [char; 2] = [' ', '\0'];
    let (before, field, after) = (block.get(..148), block.get(148..156), block.get(156..));
    let written = String::from_utf8_lossy(field.unwrap_or_default()).into_owned();
    let digits = written.trim_matches(PADDING).split('\0').next().unwrap_or_default();
    let written = if digits.is_empty() { Some(0) } else { i64::from_str_radix(digits, 8).ok() };
    let bytes = before.into_iter().chain(after).flatten();
    let spaces = i64::from(b' ').saturating_mul(8);
    let (mut unsigned, mut signed) = (spaces, spaces);
    for byte in bytes {
        unsigned = unsigned.saturating_add(i64::from(*byte));
        signed = signed.saturating_add(i64::from(byte.cast_signed()));
    }
    written.is_some_and(|written| written == unsigned || written == signed)
}

impl<'a> RawHeader<'a> {
    fn bytes(&self, from: usize, to: usize) -> &'a [u8] {
        self.0.get(from..to).unwrap_or_default()
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.first() == Some(&0) && are_zeros(self.0)
    }

    pub(crate) fn type_flag(&self) -> u8 {
        self.bytes(156, 157).first().copied().unwrap_or(0)
    }

    /// The sum of all bytes, those of the checksum itself counted as spaces. Sums of *signed* bytes, as a few old tars wrote, are not
    /// taken: they differ only for names that are not ASCII, and one rule is enough.
    pub(crate) fn checksum_fault(&self) -> Option<ChecksumFault> {
        // 32 bits hold the sum of a block many times over, and are summed several at a time.
        let sum = |bytes: &[u8]| bytes.iter().map(|b| u32::from(*b)).sum::<u32>();
        let spaces = 8 * u32::from(b' ');
        let computed = sum(self.bytes(0, 148)).saturating_add(sum(self.bytes(156, BLOCK))).saturating_add(spaces);
        let computed = u64::from(computed);
        let written = octal(self.bytes(148, 156));
        (written != Some(computed)).then_some(ChecksumFault { written, computed })
    }

    /// The three formats that are in use, each in the only form in which readers agree on the place of every field.
    pub(crate) fn check_format(&self, at: u64) -> Result<(), Refusal> {
        let zeros = |from, to| are_zeros(self.bytes(from, to));
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
            !blank && !is_base256(field) && octal(field).is_none()
        });
        bad.map_or(Ok(()), |(from, _)| Err(header_fault(at, format!("the field at {from} is no number"))))
    }

    /// The size: octal digits, or base-256 where it is too large for them.
    pub(crate) fn size(&self, at: u64) -> Result<u64, Refusal> {
        let field = self.bytes(124, 136);
        let size = match field {
            [0x80, high @ .., _, _, _, _, _, _, _, _] if high.iter().all(|b| *b == 0) => {
                field.last_chunk::<8>().map(|b| u64::from_be_bytes(*b)).filter(|size| i64::try_from(*size).is_ok())
            }
            _ => octal(field),
        };
        size.ok_or_else(|| header_fault(at, "the size is no number, is negative or does not fit 63 bits"))
    }

    /// The entry's name, as bytes. It may be empty.
    pub(crate) fn name(&self, at: u64) -> Result<Vec<u8>, Refusal> {
        let name = self.text(0, 100, at)?;
        let prefix = if self.bytes(257, 265) == b"ustar\x0000" { self.text(345, 500, at)? } else { &[] };
        Ok(if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() })
    }

    /// Where a link leads, as bytes. It may be empty.
    pub(crate) fn link(&self, at: u64) -> Result<Vec<u8>, Refusal> {
        Ok(self.text(157, 257, at)?.to_vec())
    }

    /// The permissions, with setuid, setgid and the sticky bit.
    pub(crate) fn mode(&self, at: u64) -> Result<u32, Refusal> {
        let mode = self.number(100, 108).filter(|mode| *mode <= 0o7_777_777);
        let mode = mode.ok_or_else(|| header_fault(at, "the mode is no number"))?;
        // Old tars wrote the type of the file above the permissions.
        u32::try_from(mode & 0o7777).map_err(|_| header_fault(at, "the mode is no number"))
    }

    /// The numbers of a device; `None` if a field holds no octal number.
    pub(crate) fn device(&self) -> Option<(u64, u64)> {
        Some((self.number(329, 337)?, self.number(337, 345)?))
    }

    /// An octal number; 0 if there is none.
    fn number(&self, from: usize, to: usize) -> Option<u64> {
        let field = self.bytes(from, to);
        if field.iter().all(|b| matches!(b, 0 | b' ')) { Some(0) } else { octal(field) }
    }

    /// A text field up to its first NUL; only NULs may follow it.
    fn text(&self, from: usize, to: usize, at: u64) -> Result<&'a [u8], Refusal> {
        let field = self.bytes(from, to);
        let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
        let (text, rest) = field.split_at_checked(end).unwrap_or((field, &[]));
        if !are_zeros(rest) {
            return Err(header_fault(at, "a name goes on after its end"));
        }
        Ok(text)
    }
}

/// Without a way out at the first other byte, so that many are looked at in one step: there is one such field in most headers.
fn are_zeros(field: &[u8]) -> bool {
    field.iter().fold(0, |seen, b| seen | b) == 0
}

/// Whether it is a base-256 number that fits 64 bits with its sign. What does not fit is no number to Go, and then it takes part of a GNU header for the front of
/// the name.
fn is_base256(field: &[u8]) -> bool {
    let Some((first, rest)) = field.split_first().filter(|(first, _)| *first & 0x80 != 0) else { return false };
    let fill = if *first & 0x40 == 0 { 0 } else { 0xff };
    let (high, low) = rest.split_at_checked(rest.len().saturating_sub(8)).unwrap_or((&[], rest));
    let is_short = rest.len() < 8;
    let sign = low.first().map_or(0, |b| b & 0x80);
    is_short || ((*first | 0x80) == (fill | 0x80) && high.iter().all(|b| *b == fill) && sign == fill & 0x80)
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
    let digit = |number: u64, digit: &u8| number.checked_mul(8)?.checked_add(u64::from(digit.checked_sub(b'0')?));
    if digits.is_empty() { None } else { digits.iter().try_fold(0, digit) }
}

/// What the special headers before an entry say about it.
#[derive(Default)]
pub(crate) struct Special {
    pax: bool,
    /// Whether the entry is one of a layer: there, programs write more records.
    layer: bool,
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    size: Option<u64>,
}

#[derive(Clone, Copy)]
pub(crate) enum Field {
    Name,
    Link,
}

impl Special {
    pub(crate) fn of_layer() -> Self {
        Self { layer: true, ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.pax && self.name.is_none() && self.link.is_none()
    }

    pub(crate) fn add_gnu(&mut self, field: Field, content: &[u8], start: u64) -> Result<(), Refusal> {
        let slot = match field {
            Field::Name => &mut self.name,
            Field::Link => &mut self.link,
        };
        if self.pax || slot.is_some() {
            return Err(header_fault(start, "two special headers that name one entry"));
        }
        let text = content.strip_suffix(b"\0").unwrap_or(content);
        *slot = Some(text.to_vec());
        Ok(())
    }

    pub(crate) fn add_pax(&mut self, content: &[u8], start: u64) -> Result<(), Refusal> {
        if !self.is_empty() {
            return Err(header_fault(start, "two special headers for one entry"));
        }
        self.pax = true;
        pax_records(content, start)?.iter().try_for_each(|record| self.apply(record, start))
    }

    fn apply(&mut self, record: &PaxRecord<'_>, start: u64) -> Result<(), Refusal> {
        match record.key {
            "path" => self.name = Some(record.value.to_vec()),
            "linkpath" => self.link = Some(record.value.to_vec()),
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
            key if self.layer && is_overlay_mark(key) => {
                let text = format!("the extended attribute {} changes what some loaders show of a folder", quoted(key));
                return Err(header_fault(start, text));
            }
            key if is_harmless(key) || (self.layer && is_harmless_in_layers(record)) => {}
            key => return Err(header_fault(start, format!("the PAX record {} is not known", quoted(key)))),
        }
        Ok(())
    }

    /// The entry's size. A PAX size beside one that fits the header must be the same: readers differ in which they take.
    pub(crate) fn size_of(&self, in_header: u64, start: u64) -> Result<u64, Refusal> {
        match self.size {
            Some(size) if size != in_header && !(size > OCTAL_MAX && in_header == 0) => {
                Err(header_fault(start, "the PAX header and the header give two sizes").expected(in_header).found(size))
            }
            size => Ok(size.unwrap_or(in_header)),
        }
    }
}

/// The records of a PAX header, each key once.
pub(crate) fn pax_records(content: &[u8], start: u64) -> Result<Vec<PaxRecord<'_>>, Refusal> {
    let (mut keys, mut records, mut rest) = (BTreeSet::new(), Vec::new(), content);
    while !rest.is_empty() {
        let record = PaxRecord::take(&mut rest).ok_or_else(|| header_fault(start, "a malformed PAX record"))?;
        if !keys.insert(record.key) {
            return Err(header_fault(start, format!("the PAX record {} occurs twice", quoted(record.key))));
        }
        records.push(record);
    }
    Ok(records)
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

/// What overlayfs, fuse-overlayfs and container storage keep about a folder or file in its attributes: that it hides what is below, stands for another, or has another
/// mode and owner. Where these are brought into place with the rest, the image is another.
fn is_overlay_mark(key: &str) -> bool {
    ["trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.", "user.containers."].iter().any(|mark| {
        ["SCHILY.xattr.", "LIBARCHIVE.xattr."]
            .iter()
            .any(|prefix| key.strip_prefix(prefix).is_some_and(|k| k.starts_with(mark)))
    })
}

/// SELinux labels as GNU tar of Red Hat writes them; and that names are bytes, which they are here anyway.
fn is_harmless_in_layers(record: &PaxRecord<'_>) -> bool {
    record.key == "RHT.security.selinux" || (record.key == "hdrcharset" && record.value == b"BINARY")
}

pub(crate) struct PaxRecord<'a> {
    pub(crate) key: &'a str,
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
pub(crate) fn plain_text(bytes: &[u8], start: u64) -> Result<String, Refusal> {
    let text = std::str::from_utf8(bytes).ok().filter(|t| !t.is_empty() && !t.contains('\0'));
    text.map(str::to_owned).ok_or_else(|| {
        Refusal::new(
            Code::ArchiveEntryName,
            format!("tar header at byte {start}"),
            "a name is empty, holds NUL or is not UTF-8",
        )
    })
}

pub(crate) fn header_fault(at: u64, message: impl Into<String>) -> Refusal {
    Refusal::new(Code::ArchiveHeader, format!("tar header at byte {at}"), message)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::image::read_at::ReadAt;
    use crate::image::tar::Table;
    use crate::limits::ArchiveLimits;

    #[test]
    fn octal_numbers_are_octal_numbers() {
        let cases: &[(&[u8], Option<u64>)] = &[
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777", Some(0o77_777_777)),
            (b"0\0\0\0", Some(0)),
            (b"\0\0\0\0", None),
            (b"    ", None),
            (b"", None),
            (b"12\x0034", None),
            (b"12 34", None),
            (b"-1", None),
            (b"+1", None),
            (b"0x1", None),
            (b"8", None),
            (b"7777777777777777777777777", None),
        ];
        for (field, expected) in cases {
            assert_eq!(octal(field), *expected, "{field:?}");
        }
    }

    #[test]
    fn what_some_reader_takes_for_a_header_is_known() {
        let block = |name: &[u8], checksum: &[u8]| {
            let mut block = [0; BLOCK];
            block[..name.len()].copy_from_slice(name);
            block[148..148 + checksum.len()].copy_from_slice(checksum);
            some_reader_takes(&block)
        };
        // 0x1f + 0x8b and eight spaces; 0x8b is negative as a signed byte.
        let (unsigned, signed) = (0x1f + 0x8b + 256, 0x1f + 0x8b);
        let cases: &[(String, bool)] = &[
            (format!("{unsigned:06o}\0 "), true),
            (format!("{signed:06o}\0 "), true),
            (format!(" {unsigned:o} "), true),
            (format!("\0\0{unsigned:o}\0"), true),
            (format!("{unsigned:o}\0junk"), true),
            (format!("{:06o}\0 ", unsigned + 1), false),
            (format!("{unsigned:o}junk"), false),
            (format!("{unsigned}"), false),
            (String::new(), false),
        ];
        for (checksum, expected) in cases {
            assert_eq!(block(b"\x1f\x8b", checksum.as_bytes()), *expected, "{checksum:?}");
        }
        // No digits are a zero, which signed bytes can add up to.
        assert!(block(&[0x80, 0x80], b""));
        assert!(!block(&[0x80, 0x81], b""));
    }

    #[test]
    fn pax_records_have_the_length_they_say() {
        type Case = (&'static [u8], Option<(&'static str, &'static [u8])>);
        let cases: &[Case] = &[
            (b"9 path=a\n", Some(("path", b"a"))),
            (b"8 path=\n", Some(("path", b""))),
            (b"12 path=a=b\n", Some(("path", b"a=b"))),
            (b"11 path=a\n\n", Some(("path", b"a\n"))),
            (b"8 path=a\n", None),
            (b"11 path=a\n", None),
            (b"9 path a\n", None),
            (b" 9 path=a\n", None),
            (b"+9 path=a\n", None),
            (b"4 =a\n", None),
            (b"0 ", None),
            (b"2 ", None),
            (b"3 \n", None),
            (b"99999999999999999999 path=a\n", None),
            (b"8 pa\x00h=\n", None),
            (b"8 pa\xffh=\n", None),
        ];
        for (bytes, expected) in cases {
            let mut rest = *bytes;
            let got = PaxRecord::take(&mut rest).map(|r| (r.key, r.value));
            assert_eq!(got, *expected, "{}", String::from_utf8_lossy(bytes));
            assert!(got.is_none() || rest.is_empty());
        }
    }

    /// A tar of one file of nothing but zeros, which nobody has to store.
    struct Sparse {
        start: Vec<u8>,
        size: u64,
    }

    impl ReadAt for Sparse {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            let left = usize::try_from(self.size()?.saturating_sub(offset)).unwrap().min(buf.len());
            let buf = &mut buf[..left];
            buf.fill(0);
            self.start.read_at(buf, offset)?;
            Ok(buf.len())
        }

        fn size(&self) -> io::Result<u64> {
            let end = u64::try_from(self.start.len()).map_err(io::Error::other)?;
            Ok(end.strict_add(self.size.next_multiple_of(512)).strict_add(1024))
        }
    }

    #[test]
    fn what_is_written_is_read_again_by_our_own_reader_and_by_others() {
        let gib = 1 << 30;
        for size in [0, 1, 511, 512, 4 * gib, 8 * gib - 1, 8 * gib, 8 * gib + 1, 1024 * gib, 1 << 60] {
            let name = "blobs/sha256/".to_owned() + &"0123456789abcdef".repeat(4);
            let archive = Sparse { start: file_header(&name, size), size };
            assert_eq!(archive.start.len(), if size < 8 * gib { BLOCK } else { 3 * BLOCK }, "{size}");
            let table = Table::read(&archive, &ArchiveLimits::default()).unwrap();
            let entry = table.get(&name).unwrap();
            assert_eq!((entry.size, entry.offset), (size, u64::try_from(archive.start.len()).unwrap()));
            assert_eq!(table.iter().count(), 1);

            let mut other = ::tar::Archive::new(archive.start.as_slice());
            let entry = other.entries().unwrap().next().unwrap().unwrap();
            assert_eq!((entry.size(), entry.path_bytes().as_ref()), (size, name.as_bytes()), "{size}");
        }
    }
}
