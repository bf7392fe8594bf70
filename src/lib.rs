//! Decides whether a container image archive may be loaded.

pub mod client;
pub mod digest;
pub mod limits;
pub mod metadata;
pub mod text;
pub mod trust;
