//! Why an archive is not trusted, and why it could not be decided: two types, so that a `?` cannot turn one into the other.

use std::fmt;
use std::io;

use crate::limits::{ArchiveLimits, Bound};
use crate::metadata::json;
use crate::name::ImageName;
use crate::text::escaped;

/// Why reading an archive stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The archive could not be read: nothing was decided.
    #[error("{what}")]
    Io {
        /// What was being read.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The archive's content is not acceptable: it is not trusted.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// One reason not to trust an archive.
///
/// Shown as `subject: message, expected ..., found ...`. Untrusted text in it is already escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What it is about: a file of the archive, a layer, a name.
    pub subject: String,
    /// What is wrong, in words.
    pub message: String,
    /// What should have been there.
    pub expected: Option<String>,
    /// What was there.
    pub found: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: Code, subject: impl fmt::Display, message: impl Into<String>) -> Self {
        Self { code, subject: subject.to_string(), message: message.into(), expected: None, found: None }
    }

    /// That there is more of something than a limit allows.
    pub(crate) fn beyond(limit: Bound, subject: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::new(Code::ArchiveLimit, subject, message).expected(limit)
    }

    /// That something unpacks to far more than the `stored` bytes that it is stored in.
    pub(crate) fn bomb(limits: &ArchiveLimits, stored: u64, subject: impl fmt::Display) -> Self {
        Self::new(Code::ArchiveLimit, subject, "it unpacks to far more bytes than it is stored in")
            .expected(format!(
                "at most {} (limits ratio, {} times {stored}, and ratio-free, {} more)",
                limits.unpacked_by_ratio(stored),
                limits.ratio,
                limits.ratio_free
            ))
            .found("a decompression bomb")
    }

    pub(crate) fn expected(mut self, expected: impl fmt::Display) -> Self {
        self.expected = Some(expected.to_string());
        self
    }

    pub(crate) fn found(mut self, found: impl fmt::Display) -> Self {
        self.found = Some(found.to_string());
        self
    }

    /// The same refusal, with the image that it is about in front.
    pub(crate) fn of_image(self, name: &ImageName) -> Self {
        Self { subject: format!("{name}: {}", self.subject), ..self }
    }

    /// The same refusal about something more exact, given as untrusted text.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.subject = escaped(subject).to_string();
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, ", expected {expected}")?;
        }
        if let Some(found) = &self.found {
            write!(f, ", found {found}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Refusal {}

impl From<json::Error> for Refusal {
    fn from(error: json::Error) -> Self {
        match error {
            json::Error::Shape { path, expected, found } => {
                Self::new(Code::DocumentMalformed, "document", format!("{path} is not what it must be"))
                    .expected(expected)
                    .found(found)
            }
            json::Error::DuplicateKey(_) => Self::new(Code::DocumentAmbiguous, "document", error.to_string()),
            other => Self::new(Code::DocumentMalformed, "document", other.to_string()),
        }
    }
}

/// What a folder's file says when it is no longer the one that was listed. Within an [`io::Error`], so that it can come out of
/// [`ReadAt`]; it leads to a refusal, unlike other errors.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Changed(pub(crate) &'static str);

impl Changed {
    /// What an error says of a change, if it is one.
    pub(crate) fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    pub(crate) fn refusal(&self, name: &str) -> Refusal {
        Refusal::new(Code::ArchiveChanged, escaped(name), self.0)
    }
}

impl From<Changed> for io::Error {
    fn from(changed: Changed) -> Self {
        Self::other(changed)
    }
}

/// Reading the entry `name` failed: that is undecided, unless it says that the archive has changed.
pub(crate) fn read_failed(name: &str, source: io::Error) -> ArchiveError {
    if let Some(changed) = Changed::of(&source) {
        return changed.refusal(name).into();
    }
    ArchiveError::Io { what: format!("cannot read {} of the archive", escaped(name)), source }
}

pub(crate) fn became_shorter(name: &str) -> Refusal {
    Refusal::new(Code::ArchiveChanged, escaped(name), "the archive became shorter while it was read")
}

macro_rules! codes {
    ($($(#[$doc:meta])+ $variant:ident = $text:literal,)+) => {
        /// The stable code of a [`Refusal`]. Rule numbers are those of the section "What is accepted" of [`crate::image`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])+ $variant,)+
        }

        impl Code {
            /// Every code, for tables and tests.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The code as reports write it: kebab-case, never changed once released.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }
    };
}

codes! {
    /// The archive is empty, or was before it was compressed.
    ArchiveEmpty = "archive-empty",
    /// It is no tar archive.
    ArchiveNotTar = "archive-not-tar",
    /// The archive is compressed in a way that loaders undo differently: twice, as zstd that starts with a skippable frame, or so that it is
    /// a tar archive as well (rule 7).
    ArchiveCompressed = "archive-compressed",
    /// The compression around the archive is damaged, cut, or followed by something else (rule 7).
    ArchiveCorrupt = "archive-corrupt",
    /// The file ends inside an entry or before the end marker (rule 6).
    ArchiveTruncated = "archive-truncated",
    /// The archive, or a file of the folder, changed while it was read (rule 1).
    ArchiveChanged = "archive-changed",
    /// Something follows the end of the archive, where one reader stops and another goes on (rule 6).
    ArchiveTrailingData = "archive-trailing-data",
    /// A tar header is damaged, or two readers would understand it differently (rule 5).
    ArchiveHeader = "archive-header",
    /// An entry's name is absolute, leaves the archive, or is no plain text (rule 2).
    ArchiveEntryName = "archive-entry-name",
    /// Two entries have one name, or names that some file system takes for one: first-wins and last-wins readers see two images (rule 3).
    ArchiveDuplicateEntry = "archive-duplicate-entry",
    /// A hard link, device, FIFO, socket, sparse file or unknown type (rule 4).
    ArchiveEntryType = "archive-entry-type",
    /// A symbolic link that is not one of those which `docker save` writes for a repeated layer; in a folder any (rules 4 and 8).
    ArchiveSymlink = "archive-symlink",
    /// More than a limit allows, before anything was read into memory.
    ArchiveLimit = "archive-limit",
    /// Neither `manifest.json` nor `index.json` is there; of a folder, `index.json` is not.
    ArchiveNoImage = "archive-no-image",
    /// Content that only an old docker daemon reads, as a second image (rule 9).
    ArchiveLegacyImage = "archive-legacy-image",
    /// More than one image: the last one takes over shared names (rule 10).
    ArchiveSeveralImages = "archive-several-images",
    /// A file that a document names is not in the archive, or is not a file: loaders fall back to another reading (rule 9).
    ArchiveMissingFile = "archive-missing-file",
    /// A document is no valid JSON, or a field is not what the format asks for (rule 19).
    DocumentMalformed = "document-malformed",
    /// A document that two readers would understand differently: repeated or case-varied keys, or both index and manifest
    /// (rule 19, CVE-2021-41190).
    DocumentAmbiguous = "document-ambiguous",
    /// A manifest of schema 1, which has no config to verify against.
    DocumentSchemaOne = "document-schema-1",
    /// A media type that is none of a container image, or not the one announced.
    MediaType = "media-type",
    /// `oci-layout` announces another version than 1.0.0.
    LayoutVersion = "layout-version",
    /// Content that the archive does not hold and a loader would fetch: `urls`, non-distributable layers (rule 16).
    ForeignContent = "foreign-content",
    /// A blob's bytes are not what its digest says (rule 11).
    BlobDigestMismatch = "blob-digest-mismatch",
    /// A blob's size is not what its descriptor says (rule 11).
    BlobSizeMismatch = "blob-size-mismatch",
    /// The signed manifest contradicts the reference, the signed index or its own config.
    SignedMismatch = "signed-mismatch",
    /// The signed index has no manifest for the wanted platform, or several.
    PlatformNotFound = "platform-not-found",
    /// The config is for another platform than the one wanted (rule 14).
    PlatformMismatch = "platform-mismatch",
    /// The archive's image is not the signed one: its config, hence its image ID, differs (rule 12).
    ConfigDigestMismatch = "config-digest-mismatch",
    /// Not as many layers as the config has diff ids (rule 12).
    LayerCountMismatch = "layer-count-mismatch",
    /// A layer's content is not what the config says (rule 12).
    LayerDiffIdMismatch = "layer-diff-id-mismatch",
    /// A layer compressed in a way that readers undo differently: bzip2, xz, or a zstd stream that starts with a skippable frame.
    LayerCompression = "layer-compression",
    /// The tar inside a layer is damaged, or loaders would unpack it to different files. Looked at only where packages are checked.
    LayerTar = "layer-tar",
    /// Loaders would make different files of the entries of a layer. Looked at only where packages are checked.
    LayerAmbiguous = "layer-ambiguous",
    /// The image would run as user 0, or a runtime could read its user so.
    ImageRunsAsRoot = "image-runs-as-root",
    /// It is not known who the image's user is.
    ImageUserUnknown = "image-user-unknown",
    /// The image is not built on the base that is asked for.
    BaseMismatch = "base-mismatch",
    /// Whether it is cannot be seen from what is signed and what is in the archive.
    BaseNotShown = "base-not-shown",
    /// A compressed layer is damaged, cut or followed by something else (rule 13).
    LayerCorrupt = "layer-corrupt",
    /// The archive's index is not the signed one (rule 14).
    IndexNotSigned = "index-not-signed",
    /// An unsigned manifest says more than a re-encoding of the signed one may: annotations reach the container runtime (rule 12).
    ManifestNotSigned = "manifest-not-signed",
    /// A name in the archive is not an image name with a tag (rule 17).
    NameMalformed = "name-malformed",
    /// The archive claims a name that was not asked for; loading it would replace what has that name (rule 17).
    NameNotAllowed = "name-not-allowed",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_kebab_case_and_distinct() {
        let mut texts: Vec<_> = Code::ALL.iter().map(|c| c.as_str()).collect();
        assert!(texts.iter().all(|t| t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')));
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Code::ALL.len());
    }

    #[test]
    fn a_refusal_reads_as_one_sentence() {
        let refusal = Refusal::new(Code::ConfigDigestMismatch, "config", "not the signed one").expected("a").found("b");
        assert_eq!(refusal.to_string(), "config: not the signed one, expected a, found b");
        assert_eq!(refusal.about("x\u{1b}").to_string(), "x\\u{1b}: not the signed one, expected a, found b");
    }
}
