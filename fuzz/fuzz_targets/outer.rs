//! An archive as it comes from a pipe, compressed or not: never a panic, a hang or more output than is allowed; and what is called plain is
//! what came.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::image::archive::Archive;
use plimsoll::image::read_at::ReadAt;
use plimsoll::limits::ArchiveLimits;

fuzz_target!(|bytes: &[u8]| {
    let mut limits = ArchiveLimits::default();
    limits.archive = 1 << 20;
    limits.zstd_window_log = 20;
    limits.xz_memory = 4 << 20;
    let Ok(archive) = Archive::from_reader(bytes, &limits) else { return };
    let size = archive.size().expect("a size");
    assert!(size <= limits.archive && archive.stored_size() == bytes.len() as u64);
    if archive.compression().is_none() {
        let mut copy = vec![0; bytes.len()];
        assert_eq!(archive.read_at(&mut copy, 0).expect("a copy"), bytes.len());
        assert!(copy == bytes);
    }
    let _ = archive.table(&limits);
});
