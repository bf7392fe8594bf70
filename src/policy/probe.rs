//! The image that `plimsoll doctor` has pulled, to see whether the node's verifier is asked: it is never admitted, by whatever policy.

use crate::digest::Sha256;
use crate::name::ImageName;

/// The repository of such images, on whatever host.
pub const PROBE: &str = "plimsoll-doctor";

/// What a verifier says of such a name, and nobody else: so whoever made the name up knows that the verifier was called. `None` for all other names.
#[must_use]
pub fn proof(name: &ImageName) -> Option<String> {
    let of = || Sha256::of(format!("plimsoll-verifier was called for {name}").as_bytes()).to_hex();
    (name.repository() == PROBE).then(of)
}
