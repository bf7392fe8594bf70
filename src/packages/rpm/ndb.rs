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
