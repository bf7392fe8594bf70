//! Writes package lists, so that they can be signed: what an image holds, as [`PackageList::read`](super::list::PackageList::read) reads it again.
//!
//! - A list is written in one pass, whatever the number of files.
//! - The same image gives the same bytes: no clock is read and no random number drawn. Where a format wants a document to have a name of its own,
//!   it is made from what was written.
//! - A list from the finished image has an entry for each of its packages and files, and says nothing about licences.

use std::io::{self, Write};

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use serde::Serialize;

use super::list::FilePath;
use super::package::Package;
use super::purl;
use crate::digest::{Sha256, Sha256Hasher, bytes_to_hex};
use crate::name::ImageName;

/// What a list is about, and who writes it.
#[derive(Debug, Clone)]
pub struct Described {
    config: Sha256,
    tool: (String, String),
    image: Option<ImageName>,
    manifest: Option<Sha256>,
    created: DateTime<Utc>,
    namespace: Option<String>,
    distro: Option<String>,
}

impl Described {
    /// The image whose config has this digest, described by a tool of this name and version.
    #[must_use]
    pub fn new(config: Sha256, tool: &str, version: &str) -> Self {
        Self {
            config,
            tool: (tool.to_owned(), version.to_owned()),
            image: None,
            manifest: None,
            created: DateTime::UNIX_EPOCH,
            namespace: None,
            distro: None,
        }
    }

    /// The image's name.
    #[must_use]
    pub fn with_image(self, image: ImageName) -> Self {
        Self { image: Some(image), ..self }
    }

    /// The digest of the image's manifest.
    #[must_use]
    pub fn with_manifest(self, manifest: Sha256) -> Self {
        Self { manifest: Some(manifest), ..self }
    }

    /// When the image was made, as its config has it [RFC 3339]; fractions of a second are dropped. Without it, and if it is no such time, lists
    /// are of the first second of 1970.
    #[must_use]
    pub fn with_created(self, created: &str) -> Self {
        let time = DateTime::parse_from_rfc3339(created).map(|time| time.to_utc());
        // The formats have four digits for the year.
        let created = time.ok().filter(|time| (0..=9999).contains(&time.year()));
        Self { created: created.unwrap_or(DateTime::UNIX_EPOCH), ..self }
    }

    /// The distribution, in the words of package URLs: its `id` (`debian`), which is the namespace, and its release (`12`) where it has one.
    #[must_use]
    pub fn with_distribution(self, id: &str, release: Option<&str>) -> Self {
        let distro = release.map(|release| format!("{id}-{release}"));
        Self { namespace: Some(id.to_owned()), distro, ..self }
    }

    fn created(&self) -> String {
        self.created.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// What the image is called in the list.
    fn name(&self) -> String {
        self.image.as_ref().map_or_else(|| self.config.to_string(), ToString::to_string)
    }

    /// The digest that the image is known by: the manifest's where there is one.
    fn digest(&self) -> Sha256 {
        self.manifest.unwrap_or(self.config)
    }

    /// The image's own package URL, for which its manifest's digest is needed [purl-spec, type oci].
    fn purl(&self) -> Option<String> {
        let (image, manifest) = (self.image.as_ref()?, self.manifest?);
        let repository = format!("{}/{}", image.host(), image.repository());
        let name = image.repository().rsplit('/').next()?;
        let qualifiers = [("repository_url", Some(repository.as_str())), ("tag", image.tag())];
        Some(purl::write("oci", None, name, &manifest.to_string(), &qualifiers))
    }

    fn purl_of(&self, package: &Package) -> String {
        purl::of(package, self.namespace.as_deref(), self.distro.as_deref())
    }
}

/// A file to be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Where it is.
    pub path: FilePath,
    /// What is in it.
    pub sha256: Sha256,
    /// Its SHA-1, 20 bytes. No reader of plimsoll's looks at it; but SPDX has it that every file has one [SPDX 2.3, 8.4], so without it
    /// a list in SPDX is read, and is not valid.
    pub sha1: Option<[u8; 20]>,
}

/// Writes a list as SPDX 2.3.
///
/// # Errors
///
/// What `out` returns.
pub fn spdx(
    out: impl Write,
    described: &Described,
    packages: &[Package],
    files: impl IntoIterator<Item = ListedFile>,
) -> io::Result<()> {
    let mut out = Document::begin(out)?;
    out.member("spdxVersion", &"SPDX-2.3")?;
    out.member("dataLicense", &"CC0-1.0")?;
    out.member("SPDXID", &"SPDXRef-DOCUMENT")?;
    out.member("name", &described.name())?;
    let creators = [format!("Tool: {}-{}", described.tool.0, described.tool.1)];
    out.member("creationInfo", &spdx::CreationInfo { created: described.created(), creators })?;

    // The files come first, for the package that holds them must have a digest of all their digests.
    let mut sums = Some(Vec::new());
    let mut file_count: u64 = 0;
    out.array("files", files, |file| {
        file_count = file_count.saturating_add(1);
        sums = file.sha1.and_then(|sum| {
            let mut sums = sums.take()?;
            sums.push(sum);
            Some(sums)
        });
        spdx::File::new(file_count, &file)
    })?;
    let code = sums.filter(|sums| !sums.is_empty()).map(verification_code);

    let mut package_count: u64 = 0;
    // A package may have files only if these were looked at.
    let contained = if code.is_some() { file_count } else { 0 };
    let image = std::iter::once(spdx::Package::image(described, code, contained));
    let packages = packages.iter().map(|package| {
        package_count = package_count.saturating_add(1);
        spdx::Package::new(package_count, package, described)
    });
    out.array("packages", image.chain(packages), |package| package)?;

    let describes = std::iter::once(spdx::Relationship {
        element: "SPDXRef-DOCUMENT",
        kind: "DESCRIBES",
        related: "SPDXRef-Image".to_owned(),
    });
    let contains = (1..=package_count).map(spdx::package_id).map(|related| spdx::Relationship {
        element: "SPDXRef-Image",
        kind: "CONTAINS",
        related,
    });
    out.array("relationships", describes.chain(contains), |relationship| relationship)?;
    let name = out.uuid();
    out.member("documentNamespace", &format!("urn:uuid:{name}"))?;
    out.end()
}

/// Writes a list as CycloneDX 1.6.
///
/// # Errors
///
/// What `out` returns.
pub fn cyclonedx(
    out: impl Write,
    described: &Described,
    packages: &[Package],
    files: impl IntoIterator<Item = ListedFile>,
) -> io::Result<()> {
    let mut out = Document::begin(out)?;
    out.member("$schema", &"http://cyclonedx.org/schema/bom-1.6.schema.json")?;
    out.member("bomFormat", &"CycloneDX")?;
    out.member("specVersion", &"1.6")?;
    out.member("version", &1)?;
    out.member("metadata", &cyclonedx::Metadata::new(described))?;
    let system = cyclonedx::Component::system(described);
    let packages = packages.iter().map(|package| cyclonedx::Component::package(package, described));
    let files = files.into_iter().map(|file| cyclonedx::Component::file(&file));
    out.array("components", system.into_iter().chain(packages).chain(files), |component| component)?;
    let name = out.uuid();
    out.member("serialNumber", &format!("urn:uuid:{name}"))?;
    out.end()
}

/// The digest of all files of a package [SPDX 2.3, 7.9]: of their SHA-1 as hex digits, sorted.
fn verification_code(mut sums: Vec<[u8; 20]>) -> String {
    // Their hex digits sort as they do.
    sums.sort_unstable();
    let mut hasher = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for sum in sums {
        hasher.update(bytes_to_hex(&sum).as_bytes());
    }
    bytes_to_hex(hasher.finish().as_ref())
}

/// A JSON object whose members are written one after another, an entry of an array on a line of its own.
struct Document<W: Write> {
    out: Hashing<W>,
    is_empty: bool,
}

impl<W: Write> Document<W> {
    fn begin(out: W) -> io::Result<Self> {
        let mut out = Hashing { out: io::BufWriter::new(out), hasher: Sha256Hasher::new() };
        out.write_all(b"{")?;
        Ok(Self { out, is_empty: true })
    }

    fn key(&mut self, key: &str) -> io::Result<()> {
        self.out.write_all(if std::mem::take(&mut self.is_empty) { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut self.out, key)?;
        self.out.write_all(b": ")
    }

    fn member(&mut self, key: &str, value: &impl Serialize) -> io::Result<()> {
        self.key(key)?;
        Ok(serde_json::to_writer(&mut self.out, value)?)
    }

    fn array<I: IntoIterator, T: Serialize>(
        &mut self,
        key: &str,
        items: I,
        mut entry: impl FnMut(I::Item) -> T,
    ) -> io::Result<()> {
        self.key(key)?;
        self.out.write_all(b"[")?;
        for (n, item) in items.into_iter().enumerate() {
            self.out.write_all(if n == 0 { b"\n" } else { b",\n" })?;
            serde_json::to_writer(&mut self.out, &entry(item))?;
        }
        self.out.write_all(b"\n]")
    }

    /// A name that nothing else has: made of the digest of all that was written so far [RFC 9562, 5.8: version 8].
    fn uuid(&self) -> String {
        let hex = self.out.hasher.clone().finish().to_hex();
        let mut digits = hex.chars();
        let mut take = |n: usize| digits.by_ref().take(n).collect::<String>();
        // The variant is one of 8, 9, a and b.
        format!("{}-{}-8{}-8{}-{}", take(8), take(4), take(3), take(3), take(12))
    }

    fn end(mut self) -> io::Result<()> {
        self.out.write_all(b"\n}\n")?;
        self.out.flush()
    }
}

/// A writer that hashes what passes through it.
struct Hashing<W: Write> {
    out: io::BufWriter<W>,
    hasher: Sha256Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write_all(buf)?;
        self.hasher.update(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The objects of SPDX.
mod spdx {
    use serde::{Serialize, Serializer};

    use super::{Described, ListedFile, bytes_to_hex};

    const NOASSERTION: &str = "NOASSERTION";

    pub(super) fn package_id(n: u64) -> String {
        format!("SPDXRef-Package-{n}")
    }

    pub(super) fn file_id(n: u64) -> String {
        format!("SPDXRef-File-{n}")
    }

    #[derive(Serialize)]
    pub(super) struct CreationInfo {
        pub(super) created: String,
        pub(super) creators: [String; 1],
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct Package {
        name: String,
        #[serde(rename = "SPDXID")]
        id: String,
        version_info: String,
        download_location: &'static str,
        files_analyzed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        package_verification_code: Option<VerificationCode>,
        /// In the place of relationships, which would take half of the list.
        #[serde(skip_serializing_if = "FileIds::is_empty")]
        has_files: FileIds,
        #[serde(skip_serializing_if = "Option::is_none")]
        primary_package_purpose: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        external_refs: Option<[ExternalRef; 1]>,
    }

    /// The ids of as many files, from the first.
    struct FileIds(u64);

    impl FileIds {
        fn is_empty(&self) -> bool {
            self.0 == 0
        }
    }

    impl Serialize for FileIds {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.collect_seq((1..=self.0).map(file_id))
        }
    }

    #[derive(Serialize)]
    struct VerificationCode {
        #[serde(rename = "packageVerificationCodeValue")]
        value: String,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ExternalRef {
        reference_category: &'static str,
        reference_type: &'static str,
        reference_locator: String,
    }

    impl ExternalRef {
        fn purl(purl: String) -> [Self; 1] {
            [Self { reference_category: "PACKAGE-MANAGER", reference_type: "purl", reference_locator: purl }]
        }
    }

    impl Package {
        /// The image as a whole, with the digest of its files, and how many there are.
        pub(super) fn image(described: &Described, code: Option<String>, files: u64) -> Self {
            Self {
                name: described.name(),
                id: "SPDXRef-Image".to_owned(),
                version_info: described.digest().to_string(),
                download_location: NOASSERTION,
                files_analyzed: code.is_some(),
                package_verification_code: code.map(|value| VerificationCode { value }),
                has_files: FileIds(files),
                primary_package_purpose: Some("CONTAINER"),
                external_refs: described.purl().map(ExternalRef::purl),
            }
        }

        pub(super) fn new(n: u64, package: &super::Package, described: &Described) -> Self {
            Self {
                name: package.name().to_owned(),
                id: package_id(n),
                version_info: package.version().to_owned(),
                download_location: NOASSERTION,
                files_analyzed: false,
                package_verification_code: None,
                has_files: FileIds(0),
                primary_package_purpose: None,
                external_refs: Some(ExternalRef::purl(described.purl_of(package))),
            }
        }
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    pub(super) struct File {
        file_name: String,
        #[serde(rename = "SPDXID")]
        id: String,
        checksums: Vec<Checksum>,
    }

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Checksum {
        algorithm: &'static str,
        checksum_value: String,
    }

    impl File {
        pub(super) fn new(n: u64, file: &ListedFile) -> Self {
            let sha1 = file.sha1.map(|sum| Checksum { algorithm: "SHA1", checksum_value: bytes_to_hex(&sum) });
            let sha256 = Checksum { algorithm: "SHA256", checksum_value: file.sha256.to_hex() };
            Self {
                // Relative to the root [SPDX 2.3, 8.1].
                file_name: format!("./{}", file.path.as_str()),
                id: file_id(n),
                checksums: sha1.into_iter().chain([sha256]).collect(),
            }
        }
    }

    #[derive(Serialize)]
    pub(super) struct Relationship {
        #[serde(rename = "spdxElementId")]
        pub(super) element: &'static str,
        #[serde(rename = "relationshipType")]
        pub(super) kind: &'static str,
        #[serde(rename = "relatedSpdxElement")]
        pub(super) related: String,
    }
}

/// The objects of CycloneDX.
mod cyclonedx {
    use serde::Serialize;

    use super::{Described, ListedFile, Package, bytes_to_hex};

    #[derive(Serialize)]
    pub(super) struct Metadata {
        timestamp: String,
        tools: Tools,
        component: Component,
    }

    #[derive(Serialize)]
    struct Tools {
        components: [Component; 1],
    }

    impl Metadata {
        pub(super) fn new(described: &Described) -> Self {
            let (tool, version) = described.tool.clone();
            let image = Component {
                version: Some(described.digest().to_string()),
                purl: described.purl(),
                ..Component::new("container", described.name())
            };
            Self {
                timestamp: described.created(),
                tools: Tools {
                    components: [Component { version: Some(version), ..Component::new("application", tool) }],
                },
                component: image,
            }
        }
    }

    #[derive(Serialize)]
    pub(super) struct Component {
        #[serde(rename = "type")]
        kind: &'static str,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        purl: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        hashes: Vec<Hash>,
    }

    #[derive(Serialize)]
    struct Hash {
        alg: &'static str,
        content: String,
    }

    impl Component {
        fn new(kind: &'static str, name: String) -> Self {
            Self { kind, name, version: None, purl: None, hashes: Vec::new() }
        }

        pub(super) fn package(package: &Package, described: &Described) -> Self {
            Self {
                version: Some(package.version().to_owned()),
                purl: Some(described.purl_of(package)),
                ..Self::new("library", package.name().to_owned())
            }
        }

        pub(super) fn file(file: &ListedFile) -> Self {
            let sha1 = file.sha1.map(|sum| Hash { alg: "SHA-1", content: bytes_to_hex(&sum) });
            let sha256 = Hash { alg: "SHA-256", content: file.sha256.to_hex() };
            Self {
                hashes: sha1.into_iter().chain([sha256]).collect(),
                ..Self::new("file", format!("/{}", file.path.as_str()))
            }
        }

        /// The distribution, by which programs that look for flaws know which advisories are meant.
        pub(super) fn system(described: &Described) -> Option<Self> {
            let id = described.namespace.clone()?;
            let release = described.distro.as_deref().and_then(|distro| distro.strip_prefix(&id)?.strip_prefix('-'));
            Some(Self { version: release.map(str::to_owned), ..Self::new("operating-system", id) })
        }
    }
}
