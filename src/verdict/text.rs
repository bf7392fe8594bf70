//! The verdict for people: one line with the verdict, then why, one fact a line.

use std::fmt;

use super::report::{Exported, HandedOn, Loaded, MetadataReport, Report, RepositoryReport};
use super::{Decision, Finding, Verdict};
use crate::image::VerifiedImage;
use crate::packages::advise::{AdvisoriesReport, SilencedReport};
use crate::packages::check::{FilesReport, PackageReport};
use crate::text::{escaped, quoted};

/// Findings of one code that the text shows.
const SHOWN: usize = 20;

impl fmt::Display for Verdict {
    /// The text for people: one line with the verdict, then why, one fact a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = self.report.image.as_deref().unwrap_or(&self.report.archive.path);
        let subject = escaped(subject);
        match &self.decision {
            Decision::Trusted(image, rest) if rest.is_empty() => {
                writeln!(f, "trusted: {subject}")?;
                self.report.write_trusted(f, &[&**image])
            }
            Decision::Trusted(first, rest) => {
                let images: Vec<_> = [&**first].into_iter().chain(rest).collect();
                writeln!(f, "trusted: {subject} and {} more", rest.len())?;
                self.report.write_trusted(f, &images)
            }
            Decision::Untrusted => {
                writeln!(f, "not trusted: {subject}")?;
                self.report.write_findings(f)?;
                writeln!(f, "  do not load {}", quoted(&self.report.archive.path))
            }
            Decision::Undecided => {
                writeln!(f, "undecided: {subject}")?;
                self.report.write_findings(f)?;
                match &self.report.handed_on {
                    handed_on if self.report.unrecorded => {
                        handed_on.as_ref().map_or(Ok(()), |handed_on| handed_on.write(f))?;
                        writeln!(
                            f,
                            "  the archive was found to be trusted, but what was to be kept of that is not written"
                        )
                    }
                    Some(_) => {
                        writeln!(f, "  the image was verified, but it is not certain that it was handed on whole")
                    }
                    None => writeln!(f, "  nothing is known about whether it may be loaded"),
                }
            }
        }
    }
}

impl Report {
    /// Of one kind at most [`SHOWN`], for an image can differ from a list in every file.
    fn write_findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: Vec<(&str, usize)> = Vec::new();
        for finding in &self.findings {
            let code = finding.code();
            let at = counts.iter().position(|(other, _)| *other == code).unwrap_or(counts.len());
            if at == counts.len() {
                counts.push((code, 0));
            }
            if let Some((_, count)) = counts.get_mut(at) {
                *count = count.saturating_add(1);
                if *count <= SHOWN {
                    writeln!(f, "  {} [{code}]", finding.message())?;
                }
            }
        }
        for (code, count) in counts.iter().filter(|(_, count)| *count > SHOWN) {
            let more = count.saturating_sub(SHOWN);
            writeln!(f, "  and {more} more [{code}]; --format json has all")?;
        }
        Ok(())
    }

    fn write_trusted(&self, f: &mut fmt::Formatter<'_>, images: &[&VerifiedImage]) -> fmt::Result {
        let form = self.archive.form.unwrap_or_default();
        let compression = self.archive.compression.map_or_else(String::new, |word| format!(", {word}"));
        let size = self.archive.size.unwrap_or(0);
        writeln!(f, "  archive   {}, {form}{compression}, {size} bytes", escaped(&self.archive.path))?;
        for image in images {
            if images.len() > 1 {
                writeln!(f, "  image     {}", image.name())?;
            }
            if let Some(index) = image.index() {
                writeln!(f, "  index     {}", index.digest)?;
            }
            writeln!(f, "  manifest  {}", image.manifest().digest)?;
            writeln!(f, "  config    {} (the image ID in Docker's classic store)", image.config_digest())?;
            writeln!(f, "  platform  {}", image.platform())?;
            writeln!(f, "  layers    {}, each checked against its diff id", image.layers().len())?;
        }
        if let Some(metadata) = &self.metadata {
            metadata.write(f)?;
        }
        self.write_repositories(f)?;
        self.packages.iter().try_for_each(|(_, packages)| packages.write(f))?;
        let checked = self.packages.iter().filter(|(_, packages)| packages.checked);
        match checked.map(|(_, packages)| packages.files.is_some()).reduce(|a, b| a && b) {
            None => writeln!(f, "  not checked: packages, files")?,
            Some(false) => writeln!(f, "  not checked: files")?,
            Some(true) => {}
        }
        self.handed_on.as_ref().map_or(Ok(()), |handed_on| handed_on.write(f))
    }
}

impl Report {
    /// Who agreed, and who did not and why.
    fn write_repositories(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.repositories.is_empty() {
            return Ok(());
        }
        let agrees = |report: &&RepositoryReport| report.reasons().next().is_none();
        let (agreeing, all) = (self.repositories.iter().filter(agrees).count(), self.repositories.len());
        writeln!(f, "  agreed by {agreeing} of {all} repositories, as the map demands")?;
        self.repositories.iter().try_for_each(|report| report.write(f))
    }
}

impl PackageReport {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = self.lists.iter().map(|list| escaped(&list.target).to_string()).collect::<Vec<_>>().join(", ");
        let databases = self.databases.iter().map(|database| {
            format!("{} of {} in /{}", database.packages.unwrap_or(0), database.kind, escaped(&database.path))
        });
        let databases: Vec<String> = databases.collect();
        let installed = if databases.is_empty() { "none".to_owned() } else { databases.join(", ") };
        if self.checked {
            writeln!(f, "  packages  {installed}, as listed in {lists}")?;
        }
        for list in &self.lists {
            let others = list.not_compared.iter().map(|(kind, count)| {
                format!(
                    "{count} {}",
                    if kind.is_empty() { "without a package URL".into() } else { escaped(kind).to_string() }
                )
            });
            let others: Vec<String> = others.collect();
            if !others.is_empty() {
                writeln!(f, "  not compared: {} in {}", others.join(", "), escaped(&list.target))?;
            }
            if list.without_architecture > 0 {
                let count = list.without_architecture;
                writeln!(
                    f,
                    "  not compared: the architecture of {count} packages, which {} does not say",
                    escaped(&list.target)
                )?;
            }
        }
        self.files.as_ref().map_or(Ok(()), |files| files.write(f))?;
        self.advisories.as_ref().map_or(Ok(()), |advisories| advisories.write(f))
    }
}

impl FilesReport {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self;
        let ignored: usize = files.ignored.values().fold(0, |sum, count| sum.saturating_add(*count));
        writeln!(f, "  files     {} as listed, {ignored} ignored", files.same)?;
        files.ignored.iter().try_for_each(|(class, count)| writeln!(f, "  ignored   {count} in {}", escaped(class)))
    }
}

impl AdvisoriesReport {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (affected, silenced) = (self.affected.len(), self.silenced.len());
        let target = escaped(&self.target);
        writeln!(f, "  advisories {affected} for what is installed, {silenced} silenced, by {target}")?;
        for affected in self.affected.iter().take(SHOWN) {
            writeln!(f, "  AFFECTED  {}", affected.words)?;
        }
        for SilencedReport { affected, by } in self.silenced.iter().take(SHOWN) {
            let why = by.iter().map(|by| by.justification.unwrap_or(by.status)).collect::<Vec<_>>().join(", ");
            writeln!(f, "  silenced  {}: {why}", affected.words)?;
        }
        if affected > SHOWN || silenced > SHOWN {
            writeln!(f, "  and more; --format json has all")?;
        }
        for (count, what) in
            [(self.not_evaluated, "that cannot be evaluated"), (self.of_languages, "for packages of languages")]
        {
            if count > 0 {
                writeln!(f, "  not checked: {count} entries {what} in {target}")?;
            }
        }
        Ok(())
    }
}

impl RepositoryReport {
    fn reasons(&self) -> impl Iterator<Item = &Finding> {
        self.answers.iter().filter_map(|answer| answer.finding.as_ref())
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, metadata, .. } = self;
        for reason in self.reasons() {
            writeln!(f, "  {name:<9} DOES NOT COUNT: {} [{}]", reason.message(), reason.code())?;
        }
        let Some(metadata) = metadata.as_ref().filter(|_| self.reasons().next().is_none()) else { return Ok(()) };
        let fresh = metadata.freshness().map(|fresh| format!(", fresh {fresh}"));
        writeln!(f, "  {name:<9} signed by {}{}", metadata.signers(), fresh.unwrap_or_default())?;
        metadata.write_expired(f)
    }
}

impl MetadataReport {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  signed by {}", self.signers())?;
        self.write_expired(f)?;
        self.freshness().map_or(Ok(()), |fresh| writeln!(f, "  fresh     {fresh}"))
    }

    fn signers(&self) -> String {
        let chain: Vec<String> = self.delegations.iter().map(|role| escaped(role).to_string()).collect();
        let root = self.roles.first().map_or(0, |root| root.version);
        format!("{} under root version {root}", chain.join(" > "))
    }

    fn write_expired(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.roles.iter().filter(|row| row.expired) {
            writeln!(f, "  EXPIRED   {} at {}, accepted as asked for", escaped(&row.role), row.expires)?;
        }
        Ok(())
    }

    /// Until when nothing expires; `None` if something has.
    fn freshness(&self) -> Option<String> {
        let first = self.first_to_expire().filter(|row| !row.expired)?;
        Some(format!("until {} ({} expires first)", first.expires, escaped(&first.role)))
    }
}

impl HandedOn {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let as_names = |names: &[String]| match names {
            [] => "without a name".to_owned(),
            names => format!("as {}", names.join(", ")),
        };
        match self {
            Self::Loaded(Loaded { into, names, .. }) => {
                writeln!(f, "  loaded    {} by {}", as_names(names), escaped(into))
            }
            Self::Exported(Exported { to, form, names }) => {
                writeln!(f, "  exported  {} to {}, {}", as_names(names), escaped(to), escaped(form))
            }
            Self::Failed => Ok(()),
        }
    }
}
