//! `Packages`: a hash of Berkeley DB, which rpm wrote before 4.16.

use crate::packages::error::Unreadable;

/// Where the magic number of a hash is, in the byte order of the machine that wrote it [Berkeley DB, `db_page.h`].
const MAGIC: std::ops::Range<usize> = 12..16;
const HASH: u32 = 0x0006_1561;

/// Always an error, which says what the file is: this form is not read yet.
pub(crate) fn each_header(
    bytes: &[u8],
    _each: &mut dyn FnMut(&[u8]) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    let magic = bytes.get(MAGIC).and_then(<[u8]>::first_chunk).copied().unwrap_or_default();
    Err(Unreadable::new(if [HASH.to_le_bytes(), HASH.to_be_bytes()].contains(&magic) {
        "a database of Berkeley DB, which is not read; make it an rpmdb.sqlite with rpmdb --rebuilddb"
    } else {
        "expected a hash of Berkeley DB, found something else"
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_berkeley_db_is_called_by_its_name() {
        let known = "a database of Berkeley DB, which is not read; make it an rpmdb.sqlite with rpmdb --rebuilddb";
        let unknown = "expected a hash of Berkeley DB, found something else";
        for (bytes, expected) in [
            ([&[0; 12][..], &[0x61, 0x15, 0x06, 0x00]].concat(), known),
            ([&[0; 12][..], &[0x00, 0x06, 0x15, 0x61]].concat(), known),
            // A b-tree.
            ([&[0; 12][..], &[0x62, 0x31, 0x05, 0x00]].concat(), unknown),
            (vec![0; 12], unknown),
            (vec![], unknown),
        ] {
            assert_eq!(each_header(&bytes, &mut |_| Ok(())).unwrap_err().to_string(), expected);
        }
    }
}
