//! The whole refresh, again and again: never a panic; nothing is trusted without its threshold, expired, unlisted or older than before.
#![no_main]

#[path = "../properties/mod.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|program: &[u8]| drop(properties::refresh::hold(program)));
