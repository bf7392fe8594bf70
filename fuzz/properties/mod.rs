//! What the fuzz targets for role metadata and whole archives hold to be true of any bytes, and what they compare with.
//!
//! They stand apart from the targets so that `cargo test` can run their seeds, too; see `tests/fuzz_seeds.rs`.

#![allow(
    dead_code,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "these check and nobody links them; each target uses its own part"
)]

pub mod archive;
pub mod canonical;
pub mod metadata;
pub mod refresh;
pub mod slow;
