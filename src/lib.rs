//! Decides whether a container image archive may be loaded.

pub mod client;
pub mod digest;
pub mod image;
pub mod limits;
pub mod metadata;
pub mod name;
pub mod text;
pub mod trust;
