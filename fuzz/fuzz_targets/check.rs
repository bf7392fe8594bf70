//! A whole archive against a signed image, the sample that `docker save` wrote: never a panic, a hang or a large allocation, and trusted
//! only if a second reader, who shares no code with the first, finds exactly the signed image in every half and nothing else.
#![no_main]

#[path = "../properties/mod.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|archive: &[u8]| {
    properties::archive::hold(archive);
});
