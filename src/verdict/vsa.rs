//! The verdict as a verification summary: an in-toto Statement v1 with SLSA's predicate `verification_summary/v1` [SLSA 1.2].
//!
//! It is unsigned: whoever signs it says with it that this verification took place. Rules:
//! - "Undecided" is not "failed", so there is no summary of it.
//! - A subject is what was looked at, by its digest. Where that is not known there is no summary, for a statement without a subject is none.
//! - plimsoll looks at no build, so no SLSA level is claimed: `SLSA_BUILD_LEVEL_UNEVALUATED`.
//! - The same verdict gives the same bytes.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::json::without_control;
use super::report::{MetadataReport, RepositoryReport};
use super::{Decision, Verdict};
use crate::digest::Sha256;
use crate::image::VerifiedImage;
use crate::name::ImageName;
use crate::text::escaped;

/// What a verification summary says that the verdict does not know.
#[derive(Debug, Clone)]
pub struct Summary {
    /// Who verified, as a URI: the organisation or machine whose word it is.
    pub verifier: String,
    /// When it was verified.
    pub time: DateTime<Utc>,
    /// By what was decided.
    pub basis: Basis,
    /// The address of the folder of the metadata files, without a slash at its end, if they are on a server.
    pub metadata: Option<String>,
    /// Of an archive that is not trusted, the SHA-256 of its bytes as they were given.
    pub archive: Option<Sha256>,
}

/// By what was decided, which a summary calls its policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// A pinned root.
    Root,
    /// A map, with the SHA-256 of its file.
    Map(Sha256),
    /// A policy, with the SHA-256 of its file.
    Policy(Sha256),
}

/// Why there is no summary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoSummary {
    /// Nothing is known about the archive, so it neither passed nor failed.
    #[error("undecided is neither PASSED nor FAILED")]
    Undecided,
    /// It is not known which image it was to be, which the summary has to say.
    #[error("it is not known which image the archive was to be; say so with --image")]
    NoName,
    /// What failed has no digest by which it could be told from others.
    #[error(
        "what was refused has no digest: of a compressed archive, a folder, or one that could not be read or changed meanwhile, none is known"
    )]
    NoSubject,
    /// A summary is about one name.
    #[error("the archive holds {0} images, and a summary is about one")]
    SeveralImages(usize),
}

const LEVEL: &str = "SLSA_BUILD_LEVEL_UNEVALUATED";
const PLIMSOLL: &str = env!("CARGO_PKG_REPOSITORY");

impl Verdict {
    /// The verdict as an in-toto statement, indented, with a newline at the end. Safe to print.
    ///
    /// # Errors
    ///
    /// [`NoSummary`] if the format cannot say it.
    pub fn to_summary(&self, summary: &Summary) -> Result<String, NoSummary> {
        let (name, subject) = match &self.decision {
            Decision::Undecided => return Err(NoSummary::Undecided),
            Decision::Trusted(image, rest) if rest.is_empty() => (image.name().clone(), of_image(image)),
            Decision::Trusted(_, rest) => return Err(NoSummary::SeveralImages(rest.len().saturating_add(1))),
            Decision::Untrusted => {
                let name = self.report.image.as_deref().and_then(|name| ImageName::parse(name).ok());
                let name = name.ok_or(NoSummary::NoName)?;
                let digest = Digest::of(summary.archive.ok_or(NoSummary::NoSubject)?);
                let archive = escaped(&self.report.archive.path).to_string();
                (name, vec![Resource { name: Some(archive), digest: Some(digest), ..Resource::default() }])
            }
        };
        let passed = self.is_trusted();
        let statement = Statement {
            _type: "https://in-toto.io/Statement/v1",
            subject,
            predicate_type: "https://slsa.dev/verification_summary/v1",
            predicate: Predicate {
                verifier: Verifier { id: &summary.verifier, version: Version { plimsoll: env!("CARGO_PKG_VERSION") } },
                time_verified: summary.time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
                resource_uri: package_url(&name),
                policy: self.policy(summary),
                input_attestations: self.inputs(summary),
                verification_result: if passed { "PASSED" } else { "FAILED" },
                verified_levels: [if passed { LEVEL } else { "FAILED" }],
                slsa_version: "1.2",
            },
        };
        // Strings with fixed keys: there is nothing in it that cannot be written.
        let mut text = serde_json::to_string_pretty(&statement).unwrap_or_default();
        text.push('\n');
        Ok(without_control(&text))
    }

    /// The pinned root, the map, or the policy file.
    fn policy(&self, summary: &Summary) -> Resource {
        let page = |kind: &str| Some(format!("{PLIMSOLL}/blob/main/docs/records.md#{kind}"));
        let (uri, digest) = match summary.basis {
            Basis::Map(map) => (page("policy-map"), Some(map)),
            Basis::Policy(policy) => (page("policy-file"), Some(policy)),
            Basis::Root => {
                let pinned = self.report.metadata.iter().flat_map(|metadata| &metadata.files).next();
                (page("policy-root"), pinned.map(|(_, sha256)| *sha256))
            }
        };
        Resource { uri, digest: digest.map(Digest::of), ..Resource::default() }
    }

    /// All metadata files that had a part in it; none if the metadata could not be trusted.
    fn inputs(&self, summary: &Summary) -> Vec<Resource> {
        let named = |prefix: &str, metadata: &MetadataReport| -> Vec<Resource> {
            let files = metadata.files.iter().map(|(file, sha256)| Resource {
                name: Some(format!("{prefix}{file}")),
                uri: summary.metadata.as_ref().map(|folder| format!("{folder}/{file}")),
                digest: Some(Digest::of(*sha256)),
                ..Resource::default()
            });
            files.collect()
        };
        let of_repository = |report: &RepositoryReport| {
            let metadata = report.metadata.as_ref();
            metadata.map_or_else(Vec::new, |metadata| named(&format!("{}/", report.name), metadata))
        };
        let one = self.report.metadata.iter().flat_map(|metadata| named("", metadata));
        let others = self.report.others.iter().flat_map(|(scope, metadata)| named(&format!("{scope}/"), metadata));
        one.chain(self.report.repositories.iter().flat_map(of_repository)).chain(others).collect()
    }
}

/// What was verified: the manifest, by which registries address the image, and the config, which Docker's classic store calls its ID. Not the index, which
/// lists platforms that nobody looked at.
fn of_image(image: &VerifiedImage) -> Vec<Resource> {
    let manifest = image.manifest();
    let name = image.name().to_string();
    let config = Resource {
        name: Some(format!("{name}#config")),
        digest: Some(Digest::of(image.config_digest())),
        ..Resource::default()
    };
    let manifest = Resource {
        name: Some(name),
        digest: Some(Digest::of(manifest.digest)),
        media_type: Some(manifest.media_type.clone()),
        ..Resource::default()
    };
    vec![manifest, config]
}

/// `pkg:oci/app?repository_url=registry.example/team/app&tag=1.4`, the package URL of an image name [purl, type `oci`]: the same for a name whatever it means
/// today. A digest that selects is its version.
fn package_url(name: &ImageName) -> String {
    let last = name.repository().rsplit('/').next().unwrap_or_default();
    // The brackets of an IPv6 address are not for a query [RFC 3986 3.4]; all else in a name is.
    let host = name.host().replace('[', "%5B").replace(']', "%5D");
    let version = name.digest().map_or_else(String::new, |digest| format!("@sha256%3A{}", digest.to_hex()));
    let tag = name.tag().map_or_else(String::new, |tag| format!("&tag={tag}"));
    format!("pkg:oci/{last}{version}?repository_url={host}/{}{tag}", name.repository())
}

#[derive(Serialize)]
struct Statement<'s> {
    _type: &'static str,
    subject: Vec<Resource>,
    #[serde(rename = "predicateType")]
    predicate_type: &'static str,
    predicate: Predicate<'s>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Predicate<'s> {
    verifier: Verifier<'s>,
    time_verified: String,
    resource_uri: String,
    policy: Resource,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    input_attestations: Vec<Resource>,
    verification_result: &'static str,
    verified_levels: [&'static str; 1],
    slsa_version: &'static str,
}

#[derive(Serialize)]
struct Verifier<'s> {
    id: &'s str,
    version: Version,
}

#[derive(Serialize)]
struct Version {
    plimsoll: &'static str,
}

/// A `ResourceDescriptor`.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_type: Option<String>,
}

#[derive(Serialize)]
struct Digest {
    sha256: String,
}

impl Digest {
    fn of(sha256: Sha256) -> Self {
        Self { sha256: sha256.to_hex() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_package_url() {
        let digest = "5a".repeat(32);
        for (name, expected) in [
            ("alpine", "pkg:oci/alpine?repository_url=docker.io/library/alpine&tag=latest".to_owned()),
            (
                "registry.example/team/app:1.4",
                "pkg:oci/app?repository_url=registry.example/team/app&tag=1.4".to_owned(),
            ),
            ("localhost:5000/a:b", "pkg:oci/a?repository_url=localhost:5000/a&tag=b".to_owned()),
            ("[::1]:5000/a:b", "pkg:oci/a?repository_url=%5B::1%5D:5000/a&tag=b".to_owned()),
            (
                &format!("registry.example/a@sha256:{digest}"),
                format!("pkg:oci/a@sha256%3A{digest}?repository_url=registry.example/a"),
            ),
            (
                &format!("registry.example/a:1@sha256:{digest}"),
                format!("pkg:oci/a@sha256%3A{digest}?repository_url=registry.example/a&tag=1"),
            ),
        ] {
            assert_eq!(package_url(&name.parse().unwrap()), expected, "{name}");
        }
    }

    #[test]
    fn what_the_format_cannot_say_is_not_said() {
        let time = "2030-01-01T00:00:00Z".parse().unwrap();
        let summary = |archive: Option<Sha256>| {
            let verifier = "https://verifier.example".to_owned();
            Summary { verifier, time, basis: Basis::Root, metadata: None, archive }
        };
        let undecided = Verdict::not_started("usage", "x", "app.tar");
        assert_eq!(undecided.to_summary(&summary(None)), Err(NoSummary::Undecided));
        let untrusted = |image: Option<&str>| {
            let report = super::super::Report { image: image.map(str::to_owned), ..Default::default() };
            Verdict::untrusted(Vec::new(), report)
        };
        let digest = Some(Sha256::of(b""));
        assert_eq!(untrusted(None).to_summary(&summary(digest)), Err(NoSummary::NoName));
        assert_eq!(untrusted(Some("alpine")).to_summary(&summary(None)), Err(NoSummary::NoSubject));
        let text = untrusted(Some("alpine")).to_summary(&summary(digest)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["predicate"]["verificationResult"], "FAILED");
        assert_eq!(value["predicate"]["verifiedLevels"], serde_json::json!(["FAILED"]));
    }
}
