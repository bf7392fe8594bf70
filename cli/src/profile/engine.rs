//! The names that an engine has for an image ID. They are the engine's claim: each is looked up, and counts only if that very image is signed under it.

use std::process::{Command, Stdio};

use plimsoll::digest::Sha256;
use plimsoll::name::ImageName;
use plimsoll::text::escaped;
use serde_json::Value;

use super::args::EngineName;
use super::{Finding, Stop};

/// An image ID, if the text is one: 64 hex digits, with or without `sha256:`. No image can be named so.
pub(super) fn image_id(text: &str) -> Option<Sha256> {
    Sha256::from_oci(text).or_else(|| Sha256::from_hex(text).filter(|id| id.to_hex() == text))
}

/// The names of the image with this ID, each in full.
pub(super) fn names(engine: EngineName, id: Sha256) -> Result<Vec<ImageName>, Stop> {
    let program = engine.program();
    let failed =
        |what: String| Stop::undecided(Finding::new("engine-failed", format!("{program} image inspect: {what}")));
    let hex = id.to_hex();
    let wanted = format!("sha256:{hex}");
    let mut command = Command::new(program);
    command.args(["image", "inspect", "--format", "{{json .}}", &wanted]).stdin(Stdio::null());
    let output = command.output().map_err(|error| failed(format!("cannot be started: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(format!("it failed ({}), and said: {}", output.status, escaped(said.trim()))));
    }
    let found: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| failed(format!("what it printed: {error}")))?;
    let is_it = found.get("Id").and_then(Value::as_str).is_some_and(|found| found == wanted || found == hex);
    if !is_it {
        return Err(failed("it answered for another image".to_owned()));
    }
    let lists = ["RepoTags", "RepoDigests"].map(|key| found.get(key).and_then(Value::as_array));
    let texts = lists.into_iter().flatten().flatten().filter_map(Value::as_str);
    let mut names: Vec<ImageName> = texts.filter_map(|text| ImageName::parse(text).ok()).collect();
    names.dedup();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_no_name() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(image_id(hex).is_some() && image_id(&format!("sha256:{hex}")).is_some());
        for text in ["app", "ba7816bf8f01", &hex.to_uppercase(), &format!("app@sha256:{hex}"), &format!("{hex}:1")] {
            assert!(image_id(text).is_none(), "{text}");
        }
    }
}
