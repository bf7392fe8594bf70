//! The verdict for programs: one JSON object of the schema `plimsoll/verdict/v1`.

use serde::Serialize;

use super::report::{ArchiveReport, Exported, HandedOn, Loaded, MetadataReport, Report, RepositoryReport};
use super::{Finding, Verdict};
use crate::image::{BlobId, VerifiedImage, VerifiedLayer};
use crate::packages::check::PackageReport;
use crate::text::is_unprintable;

impl Verdict {
    /// The verdict as one JSON object of the schema `plimsoll/verdict/v1`, indented, with a newline at the end.
    ///
    /// It is safe to print: control and invisible characters in its strings are written as `\u` and four hex digits.
    #[must_use]
    pub fn to_json(&self) -> String {
        let json = Json::of(self);
        // Strings and integers with fixed keys: there is nothing in it that cannot be written.
        let mut text = serde_json::to_string_pretty(&json).unwrap_or_else(|_| UNWRITABLE.to_owned());
        text.push('\n');
        without_control(&text)
    }
}

/// Never "trusted": whoever reads it must not load.
const UNWRITABLE: &str = r#"{"schema": "plimsoll/verdict/v1", "verdict": "undecided", "findings": []}"#;

/// JSON lets the characters from U+007F on stand for themselves, and terminals obey some of them. Outside of strings there are none.
pub(crate) fn without_control(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || !is_unprintable(c) {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            out.push_str(&format!("\\u{unit:04x}"));
        }
    }
    out
}

static NOT_CHECKED: PackageReport = PackageReport::NOT_CHECKED;

/// The shape of the JSON, in the order in which it is written.
#[derive(Serialize)]
pub(super) struct Json<'v> {
    schema: &'static str,
    verdict: &'static str,
    image: Option<&'v str>,
    platform: Option<String>,
    archive: &'v ArchiveReport,
    manifest: Option<JsonDocument>,
    index: Option<JsonDocument>,
    config: Option<JsonConfig>,
    layers: Vec<JsonLayer>,
    images: Vec<JsonImage<'v>>,
    metadata: Option<&'v MetadataReport>,
    repositories: &'v [RepositoryReport],
    packages: &'v PackageReport,
    loaded: Option<&'v Loaded>,
    exported: Option<&'v Exported>,
    findings: &'v [Finding],
}

/// One of the images of a trusted archive.
#[derive(Serialize)]
struct JsonImage<'v> {
    image: String,
    platform: String,
    manifest: JsonDocument,
    index: Option<JsonDocument>,
    config: JsonConfig,
    layers: Vec<JsonLayer>,
    packages: Vec<&'v PackageReport>,
}

impl<'v> JsonImage<'v> {
    fn of(image: &VerifiedImage, report: &'v Report) -> Self {
        let names: Vec<String> = image.claimed_names().iter().chain([image.name()]).map(ToString::to_string).collect();
        let packages = report.packages.iter().filter(|(name, _)| names.contains(name));
        Self {
            packages: packages.map(|(_, report)| report).collect(),
            image: image.name().to_string(),
            platform: image.platform().to_string(),
            manifest: JsonDocument::of(image.manifest()),
            index: image.index().map(JsonDocument::of),
            config: JsonConfig { digest: image.config_digest().to_string() },
            layers: image.layers().iter().map(JsonLayer::of).collect(),
        }
    }
}

#[derive(Serialize)]
struct JsonDocument {
    digest: String,
    media_type: String,
    size: u64,
}

#[derive(Serialize)]
struct JsonConfig {
    digest: String,
}

#[derive(Serialize)]
struct JsonLayer {
    diff_id: String,
    entry: String,
    digest: String,
    size: u64,
}

impl<'v> Json<'v> {
    pub(super) fn of(verdict: &'v Verdict) -> Self {
        let image = verdict.image();
        let report = &verdict.report;
        Self {
            schema: "plimsoll/verdict/v1",
            verdict: verdict.word(),
            image: report.image.as_deref(),
            platform: image.map(|image| image.platform().to_string()).or_else(|| report.platform.clone()),
            archive: &report.archive,
            manifest: image.map(|image| JsonDocument::of(image.manifest())),
            index: image.and_then(VerifiedImage::index).map(JsonDocument::of),
            config: image.map(|image| JsonConfig { digest: image.config_digest().to_string() }),
            layers: image.map_or_else(Vec::new, |image| image.layers().iter().map(JsonLayer::of).collect()),
            images: verdict.images().map(|image| JsonImage::of(image, report)).collect(),
            metadata: report.metadata.as_ref(),
            repositories: &report.repositories,
            packages: report.packages.first().map_or(&NOT_CHECKED, |(_, report)| report),
            loaded: report.handed_on.as_ref().and_then(HandedOn::loaded),
            exported: report.handed_on.as_ref().and_then(HandedOn::exported),
            findings: &report.findings,
        }
    }
}

impl HandedOn {
    fn loaded(&self) -> Option<&Loaded> {
        match self {
            Self::Loaded(loaded) => Some(loaded),
            Self::Exported(_) | Self::Failed => None,
        }
    }

    fn exported(&self) -> Option<&Exported> {
        match self {
            Self::Exported(exported) => Some(exported),
            Self::Loaded(_) | Self::Failed => None,
        }
    }
}

impl JsonDocument {
    fn of(document: &BlobId) -> Self {
        Self { digest: document.digest.to_string(), media_type: document.media_type.clone(), size: document.size }
    }
}

impl JsonLayer {
    fn of(layer: &VerifiedLayer) -> Self {
        Self {
            diff_id: layer.diff_id().to_string(),
            entry: layer.entry().name.clone(),
            digest: layer.stored_digest().to_string(),
            size: layer.entry().size,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_safe_to_print_and_says_the_same() {
        let name = "a\u{1b}[2J\u{7f}\u{9b}31m\u{202e}\u{e0041}\né\u{1f600}\"\\";
        let json = Verdict::not_started("usage", "x", name).to_json();
        assert!(json.chars().all(|c| c == '\n' || !is_unprintable(c)), "{json:?}");
        assert!(json.contains("\\u009b31m\\u202e\\udb40\\udc41\\né\u{1f600}"), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["archive"]["path"], name);
    }
}
