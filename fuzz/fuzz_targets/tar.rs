//! The tar reader: never a panic; every file lies within the archive, and every name stands for itself alone.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use plimsoll::image::tar::Table;
use plimsoll::limits::ArchiveLimits;

fuzz_target!(|bytes: &[u8]| {
    let Ok(table) = Table::read(bytes, &ArchiveLimits::default()) else { return };
    let mut names = BTreeSet::new();
    for entry in table.iter() {
        assert!(entry.offset + entry.size <= bytes.len() as u64);
        assert!(!entry.name.starts_with('/') && entry.name.split('/').all(|part| !matches!(part, "" | "." | "..")));
        assert!(table.get(&entry.name).is_some());
        if entry.size > 0 {
            assert!(names.insert(entry.name.to_lowercase()), "{}", entry.name);
        }
    }
});
