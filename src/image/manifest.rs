//! Image manifests, indexes and configs: the parts that decide what an image is [OCI image-spec 1.1; Docker manifest v2 schema 2].
//!
//! Parsers take bytes and read nothing. Signed and unsigned documents go through the same strict reader, for a document that two
//! readers understand differently is dangerous whoever wrote it.
//!
//! Rules:
//! - JSON as [`crate::metadata::json`] reads it. Besides, no key may equal a known one but for its case: Go's decoder would take it.
//! - A document is an index or a manifest, never something that could be read as both (CVE-2021-41190), and never schema 1.
//! - A media type in the document agrees with what the document is. Only the types of container images are known.
//! - Digests are `sha256:` and 64 lower-case hex digits. No `urls`, no non-distributable layers: what is fetched elsewhere was not
//!   verified.

use std::collections::BTreeMap;
use std::env::consts;
use std::fmt;

use crate::digest::Sha256;
use crate::image::error::{Code, Refusal};
use crate::limits::{ArchiveLimits, Bound, bound};
use crate::metadata::json::{self, At, Value};
use crate::text::{escaped, quoted};

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIGS: &[&str] = &[OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];
const LAYERS: &[&str] = &[
    OCI_LAYER,
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

const DOCUMENT_KEYS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "annotations",
    "subject",
    "artifactType",
    "fsLayers",
    "history",
    "signatures",
];
const DESCRIPTOR_KEYS: &[&str] =
    &["mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"];
const PLATFORM_KEYS: &[&str] = &["architecture", "os", "os.version", "os.features", "variant", "features"];
const CONFIG_KEYS: &[&str] =
    &["architecture", "os", "variant", "os.version", "os.features", "rootfs", "config", "history", "created"];
const ROOTFS_KEYS: &[&str] = &["type", "diff_ids"];
/// Of what a config says about running the image, the part that is looked at.
const RUN_KEYS: &[&str] = &["User"];

/// An image manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Document {
    /// The manifest of one image.
    Manifest(Manifest),
    /// The manifests of several platforms: an OCI index or a Docker manifest list.
    Index(Index),
}

/// Two families of media types for the same documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// `application/vnd.oci.*`
    Oci,
    /// `application/vnd.docker.*`
    Docker,
}

/// The manifest of one image: its config and its layers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// Which media type it has.
    pub family: Family,
    /// The config; its digest is what Docker's classic store calls the image ID.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// Annotations of the manifest itself.
    pub annotations: BTreeMap<String, String>,
    /// Whether it has `subject` or `artifactType`, as manifests about other manifests do.
    pub refers: bool,
}

/// An OCI index or a Docker manifest list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Index {
    /// Which media type it has.
    pub family: Family,
    /// The children, in the order in which they are listed.
    pub manifests: Vec<Descriptor>,
}

/// What a document says about a blob: media type, digest, size [OCI image-spec, descriptor].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The media type, as written.
    pub media_type: String,
    /// The digest of the stored bytes.
    pub digest: Sha256,
    /// The number of stored bytes.
    pub size: u64,
    /// The platform, for children of an index.
    pub platform: Option<Platform>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether the content is embedded (`data`).
    pub embedded: bool,
}

/// The parts of an image config that decide what its layers are and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Operating system, architecture and, if given, variant.
    pub platform: Platform,
    /// The digest of each layer's uncompressed tar, base first.
    pub diff_ids: Vec<Sha256>,
    /// The user that it runs as. `None` for no word, and for an empty one.
    pub user: Option<String>,
    /// When the image was created, as its builder wrote it. It decides nothing.
    pub created: Option<String>,
}

/// Operating system, architecture and variant, in Go's words: `linux/amd64`, `linux/arm/v7`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// A text that is not `OS/ARCH` or `OS/ARCH/VARIANT`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: expected a platform such as linux/amd64 or linux/arm/v7", quoted(.0))]
pub struct PlatformError(String);

impl Document {
    /// Reads a manifest or an index.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] with one of the codes `document-*`, `media-type`, `foreign-content` or `archive-limit`.
    pub fn parse(bytes: &[u8], limits: &ArchiveLimits) -> Result<Self, Refusal> {
        within("manifest", bytes, bound!(limits, manifest))?;
        let value = json::parse(bytes)?;
        let at = At::document(&value);
        known_keys(&at, DOCUMENT_KEYS)?;
        schema_two(&at)?;
        let has = |key: &str| at.optional(key).map(|v| v.is_some());
        let (index, manifest) = (has("manifests")?, has("layers")? || has("config")?);
        if (index && manifest) || has("fsLayers")? || has("history")? {
            return Err(ambiguous("readable as more than one kind of document (CVE-2021-41190)"));
        }
        if index { Index::read(&at, limits).map(Self::Index) } else { Manifest::read(&at, limits).map(Self::Manifest) }
    }

    /// The document's media type, which is [`Family::Oci`]'s where the document does not say.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Manifest(manifest) => manifest.media_type(),
            Self::Index(index) => index.media_type(),
        }
    }
}

impl Manifest {
    /// The manifest's media type.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self.family {
            Family::Oci => OCI_MANIFEST,
            Family::Docker => DOCKER_MANIFEST,
        }
    }

    fn read(at: &At<'_>, limits: &ArchiveLimits) -> Result<Self, Refusal> {
        let family = family(at, OCI_MANIFEST, DOCKER_MANIFEST)?;
        let config = Descriptor::read(&at.field("config")?)?;
        config.must_be(CONFIGS, "the config of a container image")?;
        let layers = at.field("layers")?;
        let layers = layers.items()?;
        at_most("layers", layers.len(), bound!(limits, layers))?;
        let layers = layers.map(|layer| Descriptor::read(&layer)?.layer()).collect::<Result<_, Refusal>>()?;
        let refers = at.optional("subject")?.is_some() || at.optional("artifactType")?.is_some();
        Ok(Self { family, config, layers, annotations: annotations(at)?, refers })
    }
}

impl Index {
    /// The index's media type.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        match self.family {
            Family::Oci => OCI_INDEX,
            Family::Docker => DOCKER_LIST,
        }
    }

    fn read(at: &At<'_>, limits: &ArchiveLimits) -> Result<Self, Refusal> {
        let family = family(at, OCI_INDEX, DOCKER_LIST)?;
        Ok(Self { family, manifests: children(at, limits)? })
    }

    /// The one child for `platform`.
    ///
    /// Without a variant in `platform`, a child without one (or with the architecture's default, `arm64/v8`, `arm/v7`, `amd64/v1`)
    /// is preferred; failing that, the only child for the architecture is taken. A platform listed twice is taken only if both
    /// entries name one manifest: loaders would differ on which they choose.
    ///
    /// # Errors
    ///
    /// [`Code::PlatformNotFound`] if no child fits, or several do.
    pub fn select(&self, platform: &Platform) -> Result<&Descriptor, Refusal> {
        let images = || self.manifests.iter().filter(|d| !d.is_attestation());
        let fitting = self.fitting(platform);
        let refused = |message: &str| {
            let listed: Vec<_> = images().filter_map(|d| d.platform.as_ref()).map(ToString::to_string).collect();
            Refusal::new(Code::PlatformNotFound, "index", message).expected(platform).found(listed.join(", "))
        };
        match fitting.split_first() {
            None => Err(refused("no manifest for the platform")),
            Some((first, rest)) if rest.iter().all(|d| d.digest == first.digest && d.size == first.size) => Ok(first),
            Some(_) => Err(refused("several manifests for the platform")),
        }
    }
}

impl Index {
    /// The children for `platform`, attestations left out.
    fn fitting(&self, platform: &Platform) -> Vec<&Descriptor> {
        let fitting = |fits: &dyn Fn(&Platform) -> bool| -> Vec<&Descriptor> {
            let images = self.manifests.iter().filter(|d| !d.is_attestation());
            images.filter(|d| d.platform.as_ref().is_some_and(fits)).collect()
        };
        let same = fitting(&|p| p.normalised() == platform.normalised());
        if same.is_empty() && platform.variant.is_none() { fitting(&|p| p.same_machine(platform)) } else { same }
    }

    /// Whether a child is for `platform`.
    pub(crate) fn lists(&self, platform: &Platform) -> bool {
        !self.fitting(platform).is_empty()
    }

    /// Whether no child is for `platform`, and there are indexes among the children that may have one.
    pub(crate) fn leaves_to_others(&self, platform: &Platform) -> bool {
        !self.lists(platform) && self.manifests.iter().any(Descriptor::is_index)
    }
}

impl Descriptor {
    fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// Whether the document says that this is a statement about an image and no image: its platform is `unknown/unknown`
    /// [BuildKit, attestation storage]. Believe it of signed documents only.
    ///
    /// The annotation `vnd.docker.reference.type` that goes with it is not enough: with a real platform, podman would load the child.
    #[must_use]
    pub fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(|p| p.os == "unknown" && p.architecture == "unknown")
    }

    /// Where an OCI layout keeps the blob.
    #[must_use]
    pub fn blob_name(&self) -> String {
        format!("blobs/sha256/{}", self.digest.to_hex())
    }

    /// Whether the media type is that of an uncompressed layer.
    pub(crate) fn is_plain_layer(&self) -> bool {
        self.media_type.ends_with(".tar")
    }

    fn read(at: &At<'_>) -> Result<Self, Refusal> {
        known_keys(at, DESCRIPTOR_KEYS)?;
        if let Some(urls) = at.optional("urls")?
            && urls.items()?.len() > 0
        {
            return Err(Refusal::new(
                Code::ForeignContent,
                "document",
                format!("{} would be fetched from elsewhere", urls.path()),
            ));
        }
        let size = at.field("size")?;
        let platform = at.optional("platform")?.map(|p| Platform::read(&p)).transpose()?;
        Ok(Self {
            media_type: at.field("mediaType")?.string()?.to_owned(),
            digest: digest(&at.field("digest")?)?,
            // Go reads it into 63 bits.
            size: i64::try_from(size.unsigned()?)
                .ok()
                .and_then(|s| u64::try_from(s).ok())
                .ok_or_else(|| size.wrong("a size"))?,
            platform,
            annotations: annotations(at)?,
            embedded: at.optional("data")?.is_some(),
        })
    }

    fn layer(self) -> Result<Self, Refusal> {
        if self.media_type.contains(".nondistributable.") || self.media_type.contains(".foreign.") {
            let message = "a non-distributable layer is not in the archive and would be fetched from elsewhere";
            return Err(Refusal::new(Code::ForeignContent, "document", message).found(quoted(&self.media_type)));
        }
        self.must_be(LAYERS, "a layer of a container image")?;
        Ok(self)
    }

    fn must_be(&self, known: &[&str], expected: &str) -> Result<(), Refusal> {
        if known.contains(&self.media_type.as_str()) {
            return Ok(());
        }
        Err(Refusal::new(Code::MediaType, "document", "unknown media type")
            .expected(expected)
            .found(quoted(&self.media_type)))
    }
}

impl Config {
    /// Reads an image config.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] with one of the codes `document-*` or `archive-limit`.
    pub fn parse(bytes: &[u8], limits: &ArchiveLimits) -> Result<Self, Refusal> {
        within("config", bytes, bound!(limits, config))?;
        let value = json::parse(bytes)?;
        let at = At::document(&value);
        known_keys(&at, CONFIG_KEYS)?;
        let rootfs = at.field("rootfs")?;
        known_keys(&rootfs, ROOTFS_KEYS)?;
        let kind = rootfs.field("type")?;
        if kind.string()? != "layers" {
            return Err(kind.wrong("\"layers\"").into());
        }
        let mut diff_ids = Vec::new();
        // Go leaves an empty list out, or writes null.
        if let Some(listed) = rootfs.optional("diff_ids")?.filter(|d| *d.value() != Value::Null) {
            let listed = listed.items()?;
            at_most("diff ids", listed.len(), bound!(limits, layers))?;
            diff_ids = listed.map(|d| digest(&d)).collect::<Result<_, Refusal>>()?;
        }
        let created = at.optional("created")?.and_then(|created| created.string().ok().map(str::to_owned));
        Ok(Self { platform: Platform::read(&at)?, diff_ids, user: user(&at)?, created })
    }
}

/// The user in an image config. Go writes null for what is empty.
fn user(config: &At<'_>) -> Result<Option<String>, Refusal> {
    let given = |at: &At<'_>| *at.value() != Value::Null;
    let Some(run) = config.optional("config")?.filter(given) else { return Ok(None) };
    known_keys(&run, RUN_KEYS)?;
    let Some(user) = run.optional("User")?.filter(given) else { return Ok(None) };
    Ok(Some(user.string()?).filter(|user| !user.is_empty()).map(str::to_owned))
}

impl Platform {
    /// Reads `OS/ARCH` or `OS/ARCH/VARIANT`: lower-case letters, digits, `_` and, after the first character, `.`.
    ///
    /// # Errors
    ///
    /// [`PlatformError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let is_part = |p: &&str| {
            p.bytes().next().is_some_and(is_word) && p.bytes().all(|b| is_word(b) || b == b'.') && p.len() <= 32
        };
        let parts: Option<Vec<&str>> = text.split('/').map(|p| Some(p).filter(is_part)).collect();
        match parts.as_deref() {
            Some([os, architecture]) => Ok(Self::new(os, architecture, None)),
            Some([os, architecture, variant]) => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(PlatformError(text.to_owned())),
        }
    }

    /// The platform for which this machine runs containers: Linux, for elsewhere they run in a virtual machine.
    #[must_use]
    pub fn host() -> Self {
        let architecture = match consts::ARCH {
            "x86_64" => "amd64",
            "x86" => "386",
            "aarch64" => "arm64",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            "powerpc64" => "ppc64",
            "loongarch64" => "loong64",
            other => other,
        };
        Self::new("linux", architecture, None)
    }

    /// `linux`, `windows`, ...
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// `amd64`, `arm64`, ...
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// `v7`, `v8`, ...
    #[must_use]
    pub fn variant(&self) -> Option<&str> {
        self.variant.as_deref()
    }

    /// The file name of the platform's signed manifest: `manifest.linux-arm-v7.json`.
    #[must_use]
    pub fn target_file(&self) -> String {
        format!("manifest.{}.json", self.file_part())
    }

    /// The platform as it stands in the names of its signed files: `linux-arm64-v8`.
    pub(crate) fn file_part(&self) -> String {
        let variant = self.variant.as_ref().map(|v| format!("-{v}")).unwrap_or_default();
        format!("{}-{}{variant}", self.os, self.architecture)
    }

    /// Whether an image for `self` is what was asked for with `wanted`. A side that does not name a variant leaves it open.
    pub(crate) fn satisfies(&self, wanted: &Self) -> bool {
        let (own, other) = (self.normalised(), wanted.normalised());
        self.same_machine(wanted) && (self.variant.is_none() || wanted.variant.is_none() || own == other)
    }

    fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self { os: os.to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    fn same_machine(&self, other: &Self) -> bool {
        (&self.os, &self.architecture) == (&other.os, &other.architecture)
    }

    /// Without the variant that goes without saying [containerd, platforms.Normalize].
    fn normalised(&self) -> (&str, &str, Option<&str>) {
        let default = match self.architecture.as_str() {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            "amd64" => Some("v1"),
            _ => None,
        };
        (&self.os, &self.architecture, self.variant.as_deref().filter(|v| Some(*v) != default))
    }

    fn read(at: &At<'_>) -> Result<Self, Refusal> {
        known_keys(at, PLATFORM_KEYS)?;
        let variant = at.optional("variant")?.map(|v| v.string()).transpose()?.filter(|v| !v.is_empty());
        Ok(Self::new(at.field("os")?.string()?, at.field("architecture")?.string()?, variant))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", escaped(&self.os), escaped(&self.architecture))?;
        self.variant.as_deref().map_or(Ok(()), |v| write!(f, "/{}", escaped(v)))
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reads the `manifests` of an index, or of an archive's `index.json`.
pub(crate) fn children(at: &At<'_>, limits: &ArchiveLimits) -> Result<Vec<Descriptor>, Refusal> {
    let manifests = at.field("manifests")?;
    let manifests = manifests.items()?;
    at_most("children of an index", manifests.len(), bound!(limits, index_children))?;
    manifests.map(|child| Descriptor::read(&child)).collect()
}

/// Reads an archive's `index.json`: an unsigned OCI index, which is the list of images that the archive holds.
pub(crate) fn top_level(bytes: &[u8], limits: &ArchiveLimits) -> Result<Vec<Descriptor>, Refusal> {
    let value = json::parse(bytes)?;
    let at = At::document(&value);
    known_keys(&at, DOCUMENT_KEYS)?;
    schema_two(&at)?;
    family(&at, OCI_INDEX, OCI_INDEX)?;
    for other in ["config", "layers", "fsLayers", "history"] {
        if at.optional(other)?.is_some() {
            return Err(ambiguous("readable as more than one kind of document (CVE-2021-41190)"));
        }
    }
    children(&at, limits)
}

/// Refuses a key that Go's decoder takes for a known one, though it is spelled differently.
pub(crate) fn known_keys(at: &At<'_>, known: &[&str]) -> Result<(), Refusal> {
    for (key, _) in at.object()?.iter() {
        if let Some(meant) = known.iter().find(|k| **k != key && fold_key(k) == fold_key(key)) {
            return Err(ambiguous("some readers ignore the case of keys").expected(quoted(meant)).found(quoted(key)));
        }
    }
    Ok(())
}

/// Go's folding of field names [encoding/json, foldName]: ASCII letters, and the two other letters that fold to them.
fn fold_key(key: &str) -> String {
    let fold = |c| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

fn schema_two(at: &At<'_>) -> Result<(), Refusal> {
    let version = at.field("schemaVersion")?;
    match version.unsigned()? {
        2 => Ok(()),
        1 => Err(Refusal::new(
            Code::DocumentSchemaOne,
            "document",
            "a manifest of schema 1 cannot be verified: convert the image",
        )),
        _ => Err(version.wrong("2").into()),
    }
}

/// What the document's own media type says, which must be one of the two; OCI documents may leave it out.
fn family(at: &At<'_>, oci: &str, docker: &str) -> Result<Family, Refusal> {
    match at.optional("mediaType")?.map(|m| m.string()).transpose()? {
        None => Ok(Family::Oci),
        Some(found) if found == oci => Ok(Family::Oci),
        Some(found) if found == docker => Ok(Family::Docker),
        Some(found) => Err(Refusal::new(Code::MediaType, "document", "mediaType contradicts the content")
            .expected(oci)
            .found(quoted(found))),
    }
}

pub(crate) fn digest(at: &At<'_>) -> Result<Sha256, Refusal> {
    Sha256::from_oci(at.string()?).ok_or_else(|| at.wrong("sha256: and 64 lower-case hex digits").into())
}

fn annotations(at: &At<'_>) -> Result<BTreeMap<String, String>, Refusal> {
    let Some(annotations) = at.optional("annotations")? else { return Ok(BTreeMap::new()) };
    let pairs = annotations.fields()?;
    pairs.map(|(key, value)| Ok((key.to_owned(), value.string()?.to_owned()))).collect()
}

fn within(what: &str, bytes: &[u8], limit: Bound) -> Result<(), Refusal> {
    if limit.allows(bytes.len()) {
        return Ok(());
    }
    Err(Refusal::beyond(limit, what, "too many bytes").found(bytes.len()))
}

pub(crate) fn at_most(what: &str, found: usize, limit: Bound) -> Result<(), Refusal> {
    if limit.allows(found) {
        return Ok(());
    }
    Err(Refusal::beyond(limit, "document", format!("too many {what}")).found(found))
}

fn ambiguous(message: &str) -> Refusal {
    Refusal::new(Code::DocumentAmbiguous, "document", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn limits() -> ArchiveLimits {
        ArchiveLimits::default()
    }

    fn manifest() -> String {
        let descriptor =
            |media_type: &str| format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{HEX}","size":7}}"#);
        let (config, layer) = (descriptor(CONFIGS[0]), descriptor(LAYERS[1]));
        format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{layer}]}}"#)
    }

    fn index(platforms: &[&str]) -> Index {
        let child = |(i, platform): (usize, &&str)| {
            let (os, rest) = platform.split_once('/').unwrap();
            let (architecture, variant) = rest.split_once('/').unwrap_or((rest, ""));
            format!(
                r#"{{"mediaType":"{OCI_MANIFEST}","digest":"sha256:{i:064x}","size":7,
                   "platform":{{"os":"{os}","architecture":"{architecture}","variant":"{variant}"}}}}"#
            )
        };
        let children: Vec<String> = platforms.iter().enumerate().map(child).collect();
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, children.join(","));
        match Document::parse(text.as_bytes(), &limits()).unwrap() {
            Document::Index(index) => index,
            Document::Manifest(_) => panic!("a manifest"),
        }
    }

    #[test]
    fn a_manifest_is_read_in_one_way_or_not_at_all() {
        let code = |text: String| Document::parse(text.as_bytes(), &limits()).map_err(|r| r.code).err();
        let with = |from: &str, to: &str| {
            assert!(manifest().contains(from), "{from}");
            code(manifest().replacen(from, to, 1))
        };
        assert_eq!(code(manifest()), None);
        let size = |size: &str| with("\"size\":7", &format!("\"size\":{size}"));
        let cases = [
            ("largest size", size("9223372036854775807"), None),
            ("size of 64 bits", size("9223372036854775808"), Some(Code::DocumentMalformed)),
            ("negative size", size("-1"), Some(Code::DocumentMalformed)),
            ("fraction", size("7.0"), Some(Code::DocumentMalformed)),
            ("empty urls", size("7,\"urls\":[]"), None),
            ("urls", size("7,\"urls\":[\"u\"]"), Some(Code::ForeignContent)),
            ("urls of another type", size("7,\"urls\":\"u\""), Some(Code::DocumentMalformed)),
            ("annotation that is no string", size("7,\"annotations\":{\"a\":1}"), Some(Code::DocumentMalformed)),
            ("upper-case digest", with(HEX, &HEX.to_uppercase()), Some(Code::DocumentMalformed)),
            ("Kelvin sign, nothing known", with("\"size\":7", "\"size\":7,\"\u{212a}\":1"), None),
            ("no layers", with("\"layers\"", "\"x\""), Some(Code::DocumentMalformed)),
            ("no config", with("\"config\"", "\"x\""), Some(Code::DocumentMalformed)),
            ("no schema version", with("\"schemaVersion\"", "\"x\""), Some(Code::DocumentMalformed)),
            ("schema version as text", with(":2,", ":\"2\","), Some(Code::DocumentMalformed)),
            ("index type", with(OCI_MANIFEST, OCI_INDEX), Some(Code::MediaType)),
            ("list type", with(OCI_MANIFEST, DOCKER_LIST), Some(Code::MediaType)),
            ("Docker's type", with(OCI_MANIFEST, DOCKER_MANIFEST), None),
            ("empty index as well", with("{", "{\"manifests\":null,"), Some(Code::DocumentAmbiguous)),
            ("schema 1 history", with("{", "{\"history\":[],"), Some(Code::DocumentAmbiguous)),
        ];
        for (name, got, expected) in cases {
            assert_eq!(got, expected, "{name}");
        }
        let short = ArchiveLimits { manifest: 10, ..limits() };
        assert_eq!(Document::parse(manifest().as_bytes(), &short).unwrap_err().code, Code::ArchiveLimit);
    }

    #[test]
    fn an_index_gives_one_child_or_none() {
        type Case = (&'static str, &'static [&'static str], &'static str, Result<u8, Code>);
        let cases: &[Case] = &[
            ("the only one", &["linux/amd64"], "linux/amd64", Ok(0)),
            ("the second", &["linux/amd64", "linux/arm64"], "linux/arm64", Ok(1)),
            ("another system", &["windows/amd64"], "linux/amd64", Err(Code::PlatformNotFound)),
            ("no attestation", &["unknown/unknown"], "unknown/unknown", Err(Code::PlatformNotFound)),
            ("the usual variant goes without saying", &["linux/arm64/v8"], "linux/arm64", Ok(0)),
            ("in both directions", &["linux/arm64"], "linux/arm64/v8", Ok(0)),
            ("another variant is another platform", &["linux/arm64"], "linux/arm64/v9", Err(Code::PlatformNotFound)),
            ("the usual variant is preferred", &["linux/amd64/v3", "linux/amd64"], "linux/amd64", Ok(1)),
            ("the only variant is taken", &["linux/arm/v6"], "linux/arm", Ok(0)),
            ("of several none", &["linux/arm/v5", "linux/arm/v6"], "linux/arm", Err(Code::PlatformNotFound)),
            ("but the usual one", &["linux/arm/v6", "linux/arm/v7"], "linux/arm", Ok(1)),
            ("two of a kind", &["linux/amd64", "linux/amd64"], "linux/amd64", Err(Code::PlatformNotFound)),
            ("two spellings of a kind", &["linux/amd64", "linux/amd64/v1"], "linux/amd64", Err(Code::PlatformNotFound)),
        ];
        for (name, platforms, wanted, expected) in cases {
            let index = index(platforms);
            let got = index.select(&Platform::parse(wanted).unwrap()).map(|d| d.digest.as_bytes()[31]);
            assert_eq!(got.map_err(|r| r.code), *expected, "{name}");
        }
        let mut twice = index(&["linux/amd64"]);
        twice.manifests.push(twice.manifests[0].clone());
        assert!(twice.select(&Platform::parse("linux/amd64").unwrap()).is_ok(), "one child listed twice");
    }

    #[test]
    fn a_config_says_what_its_layers_are() {
        let good = format!(
            r#"{{"os":"linux","architecture":"arm","variant":"v7","rootfs":{{"type":"layers","diff_ids":["sha256:{HEX}"]}}}}"#
        );
        let config = Config::parse(good.as_bytes(), &limits()).unwrap();
        assert_eq!((config.platform.to_string().as_str(), config.diff_ids.len()), ("linux/arm/v7", 1));
        let diff_ids = format!("[\"sha256:{HEX}\"]");
        let cases = [
            ("no diff ids", good.replace(&diff_ids, "[]"), Ok(0)),
            ("null diff ids", good.replace(&diff_ids, "null"), Ok(0)),
            ("left out", good.replace(&format!(",\"diff_ids\":{diff_ids}"), ""), Ok(0)),
            ("one as text", good.replace(&diff_ids, "\"x\""), Err(Code::DocumentMalformed)),
            ("another algorithm", good.replace("sha256", "sha512"), Err(Code::DocumentMalformed)),
            ("another type", good.replace("layers", "base"), Err(Code::DocumentMalformed)),
            ("no architecture", good.replace("architecture", "x"), Err(Code::DocumentMalformed)),
            ("upper-case key", good.replace("diff_ids", "Diff_ids"), Err(Code::DocumentAmbiguous)),
            ("long s", good.replace("\"os\"", "\"o\u{17f}\":\"x\",\"os\""), Err(Code::DocumentAmbiguous)),
            ("a second rootfs", good.replace("\"os\"", "\"RootFS\":{},\"os\""), Err(Code::DocumentAmbiguous)),
        ];
        for (name, text, expected) in cases {
            let got = Config::parse(text.as_bytes(), &limits()).map(|c| c.diff_ids.len()).map_err(|r| r.code);
            assert_eq!(got, expected, "{name}");
        }
    }

    #[test]
    fn platforms_are_plain_words() {
        let cases = [
            ("linux/amd64", Some("manifest.linux-amd64.json")),
            ("linux/arm/v7", Some("manifest.linux-arm-v7.json")),
            ("linux/arm/v8.1", Some("manifest.linux-arm-v8.1.json")),
            ("linux", None),
            ("linux/", None),
            ("/amd64", None),
            ("linux/amd64/v1/x", None),
            ("linux/arm-v7", None),
            ("Linux/amd64", None),
            ("linux/..", None),
            ("linux/amd64 ", None),
        ];
        for (text, file) in cases {
            let got = Platform::parse(text).ok();
            assert_eq!(got.as_ref().map(Platform::target_file).as_deref(), file, "{text}");
            assert!(got.is_none_or(|p| p.to_string() == text));
        }
        assert_eq!(Platform::host().os(), "linux");
    }

    #[test]
    fn an_image_satisfies_what_was_wanted() {
        let cases = [
            ("linux/amd64", "linux/amd64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/arm64", "linux/amd64", false),
            ("windows/amd64", "linux/amd64", false),
        ];
        for (image, wanted, expected) in cases {
            let parse = |text: &str| Platform::parse(text).unwrap();
            assert_eq!(parse(image).satisfies(&parse(wanted)), expected, "{image} for {wanted}");
        }
    }
}
