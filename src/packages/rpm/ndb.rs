//! `Packages.db`: pages of slots, and the blobs that they lead to, in blocks of 16 bytes [rpm, lib/backend/ndb/rpmpkg.c].

use crate::packages::error::Unreadable;

const PAGE: usize = 4096;
const BLOCK: usize = 16;
/// The file's header takes the place of the first two slots.
const HEADER: usize = 32;
const HEAD: usize = 16;
const TAIL: usize = 12;
const MAX: usize = 256 * 1024 * 1024;

/// Calls `each` with every header, in the order of the slots. What no slot leads to is not looked at.
///
/// # Errors
///
/// [`Unreadable`] where rpm refuses the file, if two slots have one index or one place, and if a checksum is wrong, which rpm looks at only
/// before it writes.
pub(crate) fn each_header(
    bytes: &[u8],
    each: &mut dyn FnMut(&[u8]) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let wrong = |what: &str| Unreadable::new(what);
    if bytes.len() > MAX || !bytes.len().is_multiple_of(BLOCK) {
        return Err(wrong("a file of more than 256 MiB, or whose last block is cut"));
    }
    let [magic, version, _generation, pages] = words(bytes, 0).ok_or_else(|| wrong("a file without a header"))?;
    if magic != u32::from_le_bytes(*b"RpmP") || version != 0 {
        return Err(wrong("expected a database of rpm's own form (ndb), version 0"));
    }
    let slots_end = usize::try_from(pages).ok().and_then(|pages| pages.checked_mul(PAGE)).unwrap_or(usize::MAX);
    let slots = bytes.get(HEADER..slots_end).ok_or_else(|| wrong("the pages of slots are cut"))?;
    let mut found = Vec::new();
    for (place, slot) in slots.chunks_exact(BLOCK).enumerate() {
        let slot = words(slot, 0).and_then(|slot| Slot::read(slot, slots_end, bytes.len()));
        found.extend(slot.ok_or_else(|| wrong(&format!("slot {place} is none that rpm writes")))?);
    }
    disjoint(&found)?;
    for slot in found {
        let blob = slot.blob(bytes);
        each(blob.ok_or_else(|| wrong(&format!("package {} is damaged", slot.index)))?)?;
    }
    Ok(())
}

/// A slot in use.
#[derive(Clone, Copy)]
struct Slot {
    index: u32,
    start: usize,
    end: usize,
}

impl Slot {
    /// None if it is none that rpm writes; `Some(None)` if it is free.
    fn read([magic, index, offset, count]: [u32; 4], slots_end: usize, len: usize) -> Option<Option<Self>> {
        if magic != u32::from_le_bytes(*b"Slot") {
            return None;
        }
        if offset == 0 {
            // Free for rpm; others go by the index.
            return (index == 0).then_some(None);
        }
        let start = usize::try_from(offset).ok()?.checked_mul(BLOCK)?;
        let end = usize::try_from(count).ok()?.checked_mul(BLOCK)?.checked_add(start)?;
        (index != 0 && count != 0 && start >= slots_end && end <= len).then_some(Some(Self { index, start, end }))
    }

    /// What it leads to, if its head and tail agree with it and the checksum is right.
    fn blob(self, bytes: &[u8]) -> Option<&[u8]> {
        let blocks = bytes.get(self.start..self.end)?;
        let [magic, index, _generation, len] = words(blocks, 0)?;
        let len = usize::try_from(len).ok()?;
        let size = len.checked_add(HEAD)?.checked_add(TAIL)?.checked_next_multiple_of(BLOCK)?;
        let (summed, tail) = blocks.split_at_checked(blocks.len().checked_sub(TAIL)?)?;
        let [sum, tail_len, end] = words(tail, 0)?;
        let fits = magic == u32::from_le_bytes(*b"BlbS") && index == self.index && size == blocks.len();
        let ends = end == u32::from_le_bytes(*b"BlbE") && usize::try_from(tail_len) == Ok(len);
        if !fits || !ends || sum != adler32(summed) {
            return None;
        }
        summed.get(HEAD..)?.get(..len)
    }
}

fn disjoint(slots: &[Slot]) -> Result<(), Unreadable> {
    let mut slots = slots.to_vec();
    slots.sort_unstable_by_key(|slot| slot.index);
    if let Some(index) = slots.windows(2).find_map(|pair| match pair {
        [a, b] if a.index == b.index => Some(a.index),
        _ => None,
    }) {
        return Err(Unreadable::new(format!("two slots for package {index}")));
    }
    slots.sort_unstable_by_key(|slot| slot.start);
    if slots.windows(2).any(|pair| matches!(pair, [a, b] if a.end > b.start)) {
        return Err(Unreadable::new("two packages in one place"));
    }
    Ok(())
}

/// The little-endian words at the start of `bytes`, from `at` on.
fn words<const N: usize>(bytes: &[u8], at: usize) -> Option<[u32; N]> {
    let mut words = [0; N];
    let mut rest = bytes.get(at..)?;
    for word in &mut words {
        let (first, after) = rest.split_first_chunk()?;
        *word = u32::from_le_bytes(*first);
        rest = after;
    }
    Some(words)
}

/// The checksum of zlib [RFC 1950, 8.2].
fn adler32(bytes: &[u8]) -> u32 {
    const BASE: u32 = 65_521;
    let (mut a, mut b) = (1_u32, 0_u32);
    // The longest for which neither sum can overflow.
    for piece in bytes.chunks(5552) {
        for byte in piece {
            a = a.wrapping_add(u32::from(*byte));
            b = b.wrapping_add(a);
        }
        a %= BASE;
        b %= BASE;
    }
    b.wrapping_shl(16) | a
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

    /// A database of these packages: their number, their place in blocks, and their bytes.
    fn ndb(packages: &[(u32, usize, &[u8])]) -> Vec<u8> {
        let mut file = [&b"RpmP"[..], &[0; 4], &7_u32.to_le_bytes(), &1_u32.to_le_bytes(), &[0; 16]].concat();
        while file.len() < PAGE {
            file.extend(*b"Slot");
            file.extend([0; 12]);
        }
        for (place, (index, block, content)) in packages.iter().enumerate() {
            let mut blob = [
                &b"BlbS"[..],
                &index.to_le_bytes(),
                &7_u32.to_le_bytes(),
                &(content.len() as u32).to_le_bytes(),
                content,
            ]
            .concat();
            blob.resize((blob.len() + TAIL).next_multiple_of(BLOCK) - TAIL, 0);
            blob.extend(adler32(&blob).to_le_bytes());
            blob.extend((content.len() as u32).to_le_bytes());
            blob.extend(*b"BlbE");
            let slot = [*index, *block as u32, (blob.len() / BLOCK) as u32].map(u32::to_le_bytes).concat();
            file[HEADER + place * BLOCK + 4..][..12].copy_from_slice(&slot);
            file.resize(file.len().max(block * BLOCK + blob.len()), 0);
            file[block * BLOCK..][..blob.len()].copy_from_slice(&blob);
        }
        file
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut found = Vec::new();
        let read = each_header(bytes, &mut |header| {
            found.push(header.to_vec());
            Ok(())
        });
        read.map(|()| found).map_err(|error| error.to_string())
    }

    fn two() -> Vec<u8> {
        ndb(&[(2, 300, b"second"), (1, 256, b"first-of-them")])
    }

    #[test]
    fn each_slot_leads_to_a_header() {
        assert_eq!(read(&ndb(&[])), Ok(vec![]));
        assert_eq!(read(&two()), Ok(vec![b"second".to_vec(), b"first-of-them".to_vec()]));
        let long = vec![0xff; 100_000];
        assert_eq!(read(&ndb(&[(1, 256, &long), (2, 10_000, b"")])), Ok(vec![long, vec![]]));
    }

    #[test]
    fn what_rpm_does_not_write_is_refused() {
        let form = "expected a database of rpm's own form (ndb), version 0";
        let edits: [(&str, fn(&mut Vec<u8>), &str); 20] = [
            ("no header", |f| f.truncate(0), "a file without a header"),
            ("magic", |f| f[0] = b'r', form),
            ("version", |f| f[4] = 1, form),
            ("pages that are not there", |f| f[12] = 200, "the pages of slots are cut"),
            ("no pages", |f| f[12] = 0, "the pages of slots are cut"),
            ("all pages", |f| f[12..16].fill(0xff), "the pages of slots are cut"),
            ("half a block", |f| f.push(0), "a file of more than 256 MiB, or whose last block is cut"),
            ("a cut package", |f| f.truncate(f.len() - 16), "slot 0 is none that rpm writes"),
            ("magic of a slot", |f| f[HEADER] = b's', "slot 0 is none that rpm writes"),
            ("magic of the last slot", |f| f[PAGE - BLOCK] = b's', "slot 253 is none that rpm writes"),
            ("free, with an index", |f| f[HEADER + 8..HEADER + 12].fill(0), "slot 0 is none that rpm writes"),
            ("no index", |f| f[HEADER + 4] = 0, "slot 0 is none that rpm writes"),
            ("no blocks", |f| f[HEADER + 12] = 0, "slot 0 is none that rpm writes"),
            (
                "among the slots",
                |f| f[HEADER + 8..HEADER + 10].copy_from_slice(&[255, 0]),
                "slot 0 is none that rpm writes",
            ),
            ("the same index", |f| f[HEADER + 4] = 1, "two slots for package 1"),
            ("the same place", |f| f[HEADER + 8..HEADER + 10].copy_from_slice(&[0, 1]), "two packages in one place"),
            ("another index in the blob", |f| f[300 * BLOCK + 4] = 3, "package 2 is damaged"),
            ("another length", |f| f[300 * BLOCK + 12] = 5, "package 2 is damaged"),
            ("a byte", |f| f[300 * BLOCK + 16] ^= 1, "package 2 is damaged"),
            ("its end", |f| *f.last_mut().unwrap() = b'e', "package 2 is damaged"),
        ];
        for (name, edit, expected) in edits {
            let mut file = two();
            edit(&mut file);
            assert_eq!(read(&file), Err(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn whatever_is_changed_nothing_panics() {
        let (mut random, file) = (Random(2), two());
        for _ in 0..5000 {
            // Most of the file is free slots.
            let mut changed = file.clone();
            let start = [0, HEADER, 256 * BLOCK, 300 * BLOCK][random.below(4)];
            let part = random.changed(&file[start..][..32]);
            changed[start..][..part.len()].copy_from_slice(&part);
            if let Ok(found) = read(&changed) {
                assert!(found.len() == 2, "a slot that is gone");
            }
        }
    }

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(adler32(b""), 1);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
        assert_eq!(adler32(&[0xff; 100_000]), {
            let (mut a, mut b) = (1_u64, 0_u64);
            for _ in 0..100_000 {
                a = (a + 255) % 65_521;
                b = (b + a) % 65_521;
            }
            (b << 16 | a) as u32
        });
    }
}
