//! What was found in a bundle: as data, as text for people, as JSON for programs.

use std::fmt;
use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use super::files::ImageFiles;
use crate::name::ImageName;
use crate::text::{escaped, quoted};
use crate::trust::Trusted;
use crate::verdict::{Finding, without_control};
use crate::verify::Stop;

/// The answer to "is this bundle what it should be?", with what it holds and until when that is good.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    schema: &'static str,
    verdict: &'static str,
    operation: &'static str,
    bundle: String,
    written: Option<String>,
    time: Option<String>,
    roles: Vec<RoleEntry>,
    first_to_expire: Option<Expiry>,
    images: Vec<ImageEntry>,
    archives: Vec<ArchiveEntry>,
    left_out: Vec<String>,
    findings: Vec<Finding>,
}

/// One role file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RoleEntry {
    /// The role's name.
    pub role: String,
    /// The file's version.
    pub version: u64,
    /// RFC 3339, UTC. The file is good before this instant.
    pub expires: String,
    /// Past its expiry, and accepted because the caller allows for that.
    pub expired: bool,
    #[serde(skip)]
    at: DateTime<Utc>,
}

/// A role, and when it expires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Expiry {
    /// The role's name.
    pub role: String,
    /// RFC 3339, UTC.
    pub expires: String,
}

/// One image of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImageEntry {
    /// The name, in full.
    pub image: String,
    /// The digest of its `manifest.json`: `sha256:...`.
    pub manifest: String,
    /// The roles from the top-level targets role down to the one that signed the manifest.
    pub signed_by: Vec<String>,
    /// How many target files it has.
    pub files: usize,
    /// Of all roles that the image rests on, the one that expires first: until then it can be verified.
    pub first_to_expire: Option<Expiry>,
}

/// One archive of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ArchiveEntry {
    /// Its name below `archives/`.
    pub file: String,
    /// The images that it holds.
    pub images: Vec<String>,
    /// The platform of the first.
    pub platform: Option<String>,
}

impl Report {
    pub(super) fn new(operation: &'static str, bundle: &Path) -> Self {
        Self {
            schema: "plimsoll/bundle/v1",
            verdict: "undecided",
            operation,
            bundle: bundle.display().to_string(),
            written: None,
            time: None,
            roles: Vec::new(),
            first_to_expire: None,
            images: Vec::new(),
            archives: Vec::new(),
            left_out: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// A report of a program that could not even start: wrong usage, a file that cannot be read. `code` is a stable kebab-case code, `message` is for
    /// people.
    #[must_use]
    pub fn not_started(operation: &'static str, code: &'static str, message: &str, bundle: &Path) -> Self {
        Self::new(operation, bundle).ended(Err(Stop::Undecided(vec![Finding::new(code, message)])))
    }

    pub(super) fn ended(mut self, result: Result<(), Stop>) -> Self {
        (self.verdict, self.findings) = match result {
            Ok(()) => ("trusted", Vec::new()),
            Err(Stop::Untrusted(findings)) => ("untrusted", findings),
            Err(Stop::Undecided(findings)) => ("undecided", findings),
        };
        self
    }

    pub(super) fn set_written(&mut self, to: &Path) {
        self.written = Some(to.display().to_string());
    }

    /// The roles that were loaded, and which of them expires first.
    pub(super) fn set_roles(&mut self, trusted: &Trusted) {
        let now = trusted.rules().start();
        let row = |role: &str, version, at: DateTime<Utc>| RoleEntry {
            role: role.to_owned(),
            version,
            expires: shown(at),
            expired: at <= now,
            at,
        };
        self.time = Some(shown(now));
        self.roles = vec![
            row("root", trusted.root().version(), trusted.root().expires()),
            row("timestamp", trusted.timestamp().version(), trusted.timestamp().expires()),
            row("snapshot", trusted.snapshot().version(), trusted.snapshot().expires()),
            row("targets", trusted.targets().version(), trusted.targets().expires()),
        ];
        self.roles.extend(trusted.loaded().map(|(role, file)| row(role, file.version(), file.expires())));
        self.first_to_expire = self.first(|_| true);
    }

    /// After [`set_roles`](Self::set_roles): the roles of an image are among those that were loaded.
    pub(super) fn add_image(&mut self, image: &ImageName, files: &ImageFiles) {
        let chain = |found: &crate::trust::Found| -> Vec<String> {
            found.delegations().iter().map(|role| role.as_str().to_owned()).collect()
        };
        let behind: Vec<String> = files.all().flat_map(|(found, _)| chain(found)).collect();
        let top = ["root", "timestamp", "snapshot", "targets"];
        let first = self.first(|role| top.contains(&role) || behind.iter().any(|other| other == role));
        self.images.push(ImageEntry {
            image: image.to_string(),
            manifest: files.digest.to_string(),
            signed_by: files.manifests.first().map(chain).unwrap_or_default(),
            files: files.all().count(),
            first_to_expire: first,
        });
    }

    fn first(&self, is_meant: impl Fn(&str) -> bool) -> Option<Expiry> {
        let first = self.roles.iter().filter(|row| is_meant(&row.role)).min_by_key(|row| row.at)?;
        Some(Expiry { role: first.role.clone(), expires: first.expires.clone() })
    }

    pub(super) fn add_archive(&mut self, archive: ArchiveEntry) {
        self.archives.push(archive);
    }

    pub(super) fn keep_archives(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.archives.retain(|archive| is_kept(&archive.file));
    }

    pub(super) fn set_left_out(&mut self, left_out: Vec<String>) {
        self.left_out = left_out;
    }

    /// Whether all checks passed, and what was to be written is written.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.verdict == "trusted"
    }

    /// The exit code of the command: 0 all is well, 1 not trusted, 2 undecided, or not written.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.verdict {
            "trusted" => 0,
            "untrusted" => 1,
            _ => 2,
        }
    }

    /// Why it is not trusted; empty if it is.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The role files, the top-level ones first.
    #[must_use]
    pub fn roles(&self) -> &[RoleEntry] {
        &self.roles
    }

    /// The role of the whole bundle that expires first.
    #[must_use]
    pub fn first_to_expire(&self) -> Option<&Expiry> {
        self.first_to_expire.as_ref()
    }

    /// The images.
    #[must_use]
    pub fn images(&self) -> &[ImageEntry] {
        &self.images
    }

    /// The archives that are in the bundle.
    #[must_use]
    pub fn archives(&self) -> &[ArchiveEntry] {
        &self.archives
    }

    /// The files that an earlier bundle must have brought, with `targets/` or `archives/` in front. Not escaped.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// One JSON object of the schema `plimsoll/bundle/v1`, indented, with a newline at the end. It is safe to print.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and integers with fixed keys: there is nothing in it that cannot be written.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_else(|_| UNWRITABLE.to_owned());
        text.push('\n');
        without_control(&text)
    }
}

/// Never "trusted".
const UNWRITABLE: &str = r#"{"schema": "plimsoll/bundle/v1", "verdict": "undecided", "findings": []}"#;

impl fmt::Display for Report {
    /// The text for people: one line with the verdict, then why, one fact a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            "untrusted" => "not trusted",
            word => word,
        };
        writeln!(f, "{word}: bundle {}", escaped(&self.bundle))?;
        for finding in &self.findings {
            writeln!(f, "  {} [{}]", finding.message(), finding.code())?;
        }
        if !self.is_trusted() {
            return match self.operation {
                "verify" => writeln!(f, "  do not import it"),
                "create" => writeln!(f, "  no bundle was made"),
                _ if self.written.is_some() => {
                    writeln!(f, "  the bundle was imported, but the local store does not know of it")
                }
                _ => writeln!(f, "  what readers see is as it was"),
            };
        }
        for image in &self.images {
            writeln!(f, "  image     {}", image.image)?;
            writeln!(f, "            manifest {}, signed by {}", image.manifest, shown_chain(&image.signed_by))?;
            if let Some(Expiry { role, expires }) = &image.first_to_expire {
                writeln!(f, "            fresh until {expires}, when {} expires", escaped(role))?;
            }
        }
        for archive in &self.archives {
            writeln!(f, "  archive   {}: {}", escaped(&archive.file), archive.images.join(", "))?;
        }
        for file in &self.left_out {
            writeln!(f, "  left out  {}, which an earlier bundle has brought", escaped(file))?;
        }
        for role in &self.roles {
            let expired = if role.expired { ", expired, accepted" } else { "" };
            writeln!(
                f,
                "  role      {} version {}, until {}{expired}",
                escaped(&role.role),
                role.version,
                role.expires
            )?;
        }
        if let Some(Expiry { role, expires }) = &self.first_to_expire {
            writeln!(f, "  expires   {} first, at {expires}", escaped(role))?;
        }
        match (&self.written, self.operation) {
            (Some(to), "import") => writeln!(f, "  imported  into {}", quoted(to)),
            (Some(to), _) => writeln!(f, "  written   to {}", quoted(to)),
            (None, _) => Ok(()),
        }
    }
}

fn shown_chain(roles: &[String]) -> String {
    roles.iter().map(|role| escaped(role).to_string()).collect::<Vec<_>>().join(" > ")
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
