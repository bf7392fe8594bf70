//! A whole archive against a fixed signed image: never a panic, a hang or a large allocation.
//!
//! The signed manifest is that of an image without layers, so that a mutated seed can get all the way to "trusted".
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::image::check::{SignedImage, check};
use plimsoll::image::inventory::Inventory;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;

const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

fuzz_target!(|archive: &[u8]| {
    let limits = ArchiveLimits::default();
    let Ok(inventory) = Inventory::scan(archive, &limits) else { return };
    let config = plimsoll::digest::Sha256::of(CONFIG);
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{}}},"layers":[]}}"#,
        CONFIG.len()
    );
    let name = ImageName::parse("registry.example/app:1").expect("a name");
    let signed = SignedImage::from_manifest(&name, manifest.as_bytes(), None, &limits).expect("a manifest");
    let Ok(inventory) = inventory.measure(&limits, &|_, _| {}) else { return };
    if let Ok(image) = check(&signed, &[name], &inventory) {
        assert_eq!(image.config_digest(), config);
        assert!(image.layers().is_empty());
    }
});
