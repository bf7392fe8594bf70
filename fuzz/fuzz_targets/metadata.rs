//! Role files: never a panic; what they show is what an independent reader sees in them, and never without a signature.
#![no_main]

#[path = "../properties/mod.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| properties::metadata::hold(bytes));
