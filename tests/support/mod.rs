//! What the tests share.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test states what it expects"
)]
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(missing_docs, reason = "names and bodies say it")]

pub mod image;
