//! What a role file says.

pub mod json;
