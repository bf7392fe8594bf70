//! What the tests share: repositories and images built in memory from a few lines.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test file uses its own part of this")]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used
)]

pub mod image;
pub mod packages;
#[cfg(feature = "publish")]
pub mod published;
pub mod repo;
#[cfg(feature = "publish")]
pub mod samples;
pub mod server;
pub mod source;
#[cfg(feature = "http")]
pub mod tls;
