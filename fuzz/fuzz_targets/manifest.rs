//! The parsers of manifests, indexes and configs: never a panic, never one document that is two things.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::image::manifest::{Config, Document, Platform};
use plimsoll::limits::ArchiveLimits;

fuzz_target!(|bytes: &[u8]| {
    let limits = ArchiveLimits::default();
    if let Ok(config) = Config::parse(bytes, &limits) {
        assert!(config.diff_ids.len() <= limits.layers);
    }
    match Document::parse(bytes, &limits) {
        Ok(Document::Index(index)) => {
            let _ = index.select(&Platform::host());
        }
        Ok(Document::Manifest(manifest)) => assert!(manifest.layers.len() <= limits.layers),
        Ok(_) | Err(_) => {}
    }
});
