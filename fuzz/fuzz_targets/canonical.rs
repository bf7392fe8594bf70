//! JSON and its canonical form: never a panic; one reading, and one form, on which an independent reader agrees.
#![no_main]

#[path = "../properties/mod.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| properties::canonical::hold(bytes));
