//! Signed advisories, `advisories.osv.json`: which installed packages they concern [OSV 1.x].
//!
//! A document is one record, an array of records, or `{"vulns": [...]}` as OSV's own service answers; that service's answer `{}` means no advisories.
//!
//! Rules:
//! - What is signed for an image is meant for it. What of it cannot be evaluated (ranges of commits, a release that cannot be told) is counted, never dropped, if it
//!   names a package that is installed or none at all.
//! - Versions are ordered as the package system orders them; those listed one by one are compared as text.
//! - Debian, Ubuntu and Alpine name packages as they were built from, with the version of that. For RPMs an entry of a record that names the installed package goes
//!   before one that names what it was built from.
//! - The severity is the highest that is stated, and [`Severity::Unknown`] if none is.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Datelike, Utc};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::ecosystem::{Applies, Ecosystem};
use super::error::Unreadable;
use super::order::compare;
use super::os_release::Distro;
use super::package::{Kind, Package};
use super::severity::Severity;
use super::strict::{self, List, Texts};
use crate::text::escaped;

/// The file's name in messages.
const FILE: &str = "advisories.osv.json";
/// The document's size. All records of Debian 12 take some hundred megabytes.
const SIZE_MAX: usize = 256 * 1024 * 1024;
/// Entries of one record: kernels have some thousand.
const ENTRIES_MAX: usize = 65_536;
/// Ranges of one entry, and events of one range.
const RANGES_MAX: usize = 4_096;
/// Severities of one record or entry.
const SEVERITIES_MAX: usize = 64;
/// Findings in one image. The worst real images have some ten thousand.
const FINDINGS_MAX: usize = 200_000;
/// Bytes of versions that are compared for one image: some seconds. All of Debian's records against a large image take a hundredth of it.
const WORK_MAX: usize = 4 * 1024 * 1024 * 1024;

/// Advisories that were read.
#[derive(Debug, Clone, Default)]
pub struct Advisories {
    records: Vec<Record>,
    /// Records and entries that name no package.
    without_package: usize,
    /// Entries for packages of languages.
    of_languages: usize,
}

/// What an advisory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advisory {
    id: Box<str>,
    aliases: Texts,
    upstream: Texts,
    summary: Box<str>,
}

impl Advisory {
    /// Its identifier: `DSA-5532-1`, `CVE-2023-5363`, `RHSA-2024:1234`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Identifiers of the same vulnerability in other databases.
    pub fn aliases(&self) -> impl Iterator<Item = &str> {
        self.aliases.iter()
    }

    /// The vulnerabilities that it is about, where it is a distribution's: often several.
    pub fn upstream(&self) -> impl Iterator<Item = &str> {
        self.upstream.iter()
    }

    /// One line about it; may be empty. Untrusted text.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }
}

/// An installed package that an advisory concerns.
///
/// Shown as `PACKAGE: ID (SEVERITY), fixed in VERSION`, safe to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// The advisory.
    pub advisory: Arc<Advisory>,
    /// The package.
    pub package: Package,
    /// The highest severity that is stated for it.
    pub severity: Severity,
    /// The lowest version above the installed one in which it is fixed, if there is one.
    pub fixed: Option<String>,
}

impl fmt::Display for Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.package, escaped(self.advisory.id()), self.severity)?;
        self.fixed.iter().try_for_each(|version| write!(f, ", fixed in {}", escaped(version)))
    }
}

/// What advisories say of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// In the order of the advisories, then of the packages; a package once for each advisory.
    pub affected: Vec<Affected>,
    /// Entries that could not be evaluated and may concern the image.
    pub not_evaluated: usize,
    /// Entries for packages of languages, which are not looked at.
    pub of_languages: usize,
}

/// Reads advisories.
///
/// Withdrawn records are left out.
///
/// # Errors
///
/// [`Unreadable`] if the document is not strict JSON, is over 256 MiB, is a page of several, or if a record has no id, has another schema version than 1, or has an event
/// that is none of `introduced`, `fixed`, `last_affected` and `limit`.
pub fn read(bytes: &[u8]) -> Result<Advisories, Unreadable> {
    strict::read::<Document>(FILE, bytes, SIZE_MAX).map(|document| document.0)
}

impl Advisories {
    /// How many records there are that were not withdrawn and name a package.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Which of the installed packages of an image of this distribution they concern.
    ///
    /// # Errors
    ///
    /// [`Unreadable`] for more findings or comparisons than any image has.
    pub fn affecting(&self, distro: &Distro, installed: &[Package]) -> Result<Findings, Unreadable> {
        let names = Names::of(installed);
        let mut work = 0_usize;
        let mut findings =
            Findings { affected: Vec::new(), not_evaluated: self.without_package, of_languages: self.of_languages };
        for record in &self.records {
            let mut hits: BTreeMap<usize, Vec<Hit<'_>>> = BTreeMap::new();
            for entry in &record.entries {
                let ecosystem = Ecosystem::parse(&entry.ecosystem);
                let mut told = entry.complete;
                let mut concerns = false;
                for named in names.get(&entry.name) {
                    work = work.saturating_add(entry.cost(&named.version));
                    if work > WORK_MAX {
                        return Err(Unreadable::new(format!("{FILE}: more comparisons than any image needs")));
                    }
                    let pro = match named.applies(ecosystem, distro) {
                        Applies::No => continue,
                        Applies::Unknown => {
                            told = false;
                            concerns = true;
                            continue;
                        }
                        Applies::Yes { pro } => pro,
                    };
                    concerns = true;
                    hits.entry(named.package).or_default().push(Hit { entry, named, pro });
                }
                if concerns && !told {
                    findings.not_evaluated = findings.not_evaluated.saturating_add(1);
                }
            }
            for (package, hits) in hits {
                let Some(package) = installed.get(package) else { continue };
                let Some((severity, fixed)) = decide(package.kind(), &hits) else { continue };
                if findings.affected.len() == FINDINGS_MAX {
                    return Err(Unreadable::new(format!("{FILE}: more than {FINDINGS_MAX} findings")));
                }
                let severity = severity.into_iter().chain(record.severity).max().unwrap_or(Severity::Unknown);
                findings.affected.push(Affected {
                    advisory: Arc::clone(&record.advisory),
                    package: package.clone(),
                    severity,
                    fixed: fixed.map(str::to_owned),
                });
            }
        }
        Ok(findings)
    }
}

/// An entry that names an installed package, in the image's ecosystem.
#[derive(Clone, Copy)]
struct Hit<'a> {
    entry: &'a Entry,
    named: &'a Named<'a>,
    /// Of Ubuntu's offer to subscribers.
    pro: bool,
}

/// Whether one record's entries for a package say that it is affected: the highest severity they state, and the version that it is fixed in.
fn decide<'a>(kind: Kind, hits: &[Hit<'a>]) -> Option<(Option<Severity>, Option<&'a str>)> {
    // A build for subscribers is above what the free archive ends with, unfixed: it is judged by what was fixed for subscribers.
    let pro = hits.iter().any(|hit| hit.pro && hit.named.version.contains("esm"));
    let own = hits.iter().any(|hit| hit.named.own);
    let hits = hits.iter().filter(|hit| (!own || hit.named.own) && (!pro || hit.pro));
    let affected = hits.filter(|hit| hit.entry.affects(kind, &hit.named.version));
    let all = affected.map(|hit| (hit.entry.severity, hit.entry.fixed_above(kind, &hit.named.version)));
    all.reduce(|(severity, fixed), (other, other_fixed)| (severity.max(other), fixed.or(other_fixed)))
}

/// Installed packages by the names that advisories may use.
struct Names<'a>(HashMap<&'a str, Vec<Named<'a>>>);

/// A package under one of its names, with the version that goes with that name.
struct Named<'a> {
    /// Its place among the installed ones.
    package: usize,
    kind: Kind,
    version: Cow<'a, str>,
    /// Whether it is what the package was built from, or is called as that is.
    source: bool,
    /// Whether it is the package's own name.
    own: bool,
}

impl<'a> Names<'a> {
    fn of(installed: &'a [Package]) -> Self {
        let mut names: HashMap<&str, Vec<Named<'_>>> = HashMap::new();
        for (at, package) in installed.iter().enumerate() {
            let own = (package.name(), package.version());
            let source = package.source().map_or(own, |source| (source.name.as_str(), source.version.as_str()));
            let named = |version, source, own| Named { package: at, kind: package.kind(), version, source, own };
            // An RPM names the file that it was built from, and no file name holds an epoch.
            let epoch = own.1.split_once(':').filter(|_| package.kind() == Kind::Rpm && !source.1.contains(':'));
            let source_version =
                epoch.map_or(Cow::Borrowed(source.1), |(epoch, _)| Cow::Owned(format!("{epoch}:{}", source.1)));
            if source.0 == own.0 {
                // A binary package that was built again has a version of its own; advisories speak of the source's.
                let version = if package.kind() == Kind::Deb { source_version } else { Cow::Borrowed(own.1) };
                names.entry(own.0).or_default().push(named(version, true, true));
                continue;
            }
            names.entry(source.0).or_default().push(named(source_version, true, false));
            names.entry(own.0).or_default().push(named(Cow::Borrowed(own.1), false, true));
        }
        Self(names)
    }

    fn get(&self, name: &str) -> &[Named<'a>] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

impl Named<'_> {
    fn applies(&self, ecosystem: Ecosystem<'_>, distro: &Distro) -> Applies {
        match ecosystem {
            Ecosystem::Distribution(distribution, _) if distribution.by_source && !self.source => Applies::No,
            ecosystem => ecosystem.applies(self.kind, distro),
        }
    }
}

#[derive(Debug, Clone)]
struct Record {
    advisory: Arc<Advisory>,
    severity: Option<Severity>,
    entries: Box<[Entry]>,
}

/// What a record says of one package in one ecosystem.
#[derive(Debug, Clone)]
struct Entry {
    ecosystem: Box<str>,
    name: Box<str>,
    /// Those of type `ECOSYSTEM`; each has one event or more.
    ranges: Box<[Box<[Event]>]>,
    versions: Texts,
    severity: Option<Severity>,
    /// Whether ranges and versions say which versions are affected. If not, a package that they do not name may be affected all the same.
    complete: bool,
}

impl Entry {
    fn affects(&self, kind: Kind, version: &str) -> bool {
        self.ranges.iter().any(|events| in_range(kind, events, version))
            || self.versions.iter().any(|listed| is_same(kind, listed, version))
    }

    /// The lowest version above this one in which it is fixed.
    fn fixed_above(&self, kind: Kind, version: &str) -> Option<&str> {
        let fixed = self.ranges.iter().flatten().filter_map(|event| match event {
            Event::Fixed(fixed) if compare(kind, fixed, version).is_gt() => Some(&**fixed),
            _ => None,
        });
        fixed.min_by(|a, b| compare(kind, a, b))
    }

    /// How many bytes are looked at to decide on a version, at most.
    fn cost(&self, version: &str) -> usize {
        let events = self.ranges.iter().flatten().map(|event| event.version().len().saturating_add(version.len()));
        events.fold(self.versions.len(), usize::saturating_add).saturating_add(self.name.len())
    }
}

/// The same version text; an epoch of 0 is none.
fn is_same(kind: Kind, listed: &str, version: &str) -> bool {
    let listed = if kind == Kind::Apk { listed } else { listed.strip_prefix("0:").unwrap_or(listed) };
    listed == version
}

/// Whether a version is in a range [OSV, evaluation]. The specification sorts the events and goes through them; the last one that the version reaches decides, and that is
/// found without sorting. Of two at one version, a fix comes first, then a new beginning, then a last version: what begins again there is affected.
fn in_range(kind: Kind, events: &[Event], version: &str) -> bool {
    let mut limits = events.iter().filter_map(|event| match event {
        Event::Limit(limit) => Some(limit),
        _ => None,
    });
    let below = |limit: &str| limit == "*" || compare(kind, version, limit).is_lt();
    if limits.clone().next().is_some() && !limits.any(|limit| below(limit)) {
        return false;
    }
    let rank = |event: &Event| match event {
        Event::Fixed(_) => 0_u8,
        Event::Introduced(_) => 1,
        Event::LastAffected(_) | Event::Limit(_) => 2,
    };
    let reached = events.iter().filter(|event| match event {
        Event::Introduced(first) => first.as_ref() == "0" || compare(kind, first, version).is_le(),
        Event::Fixed(fixed) => compare(kind, fixed, version).is_le(),
        Event::LastAffected(last) => compare(kind, last, version).is_lt(),
        Event::Limit(_) => false,
    });
    let last = reached.max_by(|a, b| {
        let order = match (a.is_start(), b.is_start()) {
            (false, false) => compare(kind, a.version(), b.version()),
            (a, b) => b.cmp(&a),
        };
        order.then_with(|| rank(a).cmp(&rank(b)))
    });
    matches!(last, Some(Event::Introduced(_)))
}

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Introduced(Box<str>),
    Fixed(Box<str>),
    LastAffected(Box<str>),
    Limit(Box<str>),
}

impl Event {
    fn version(&self) -> &str {
        match self {
            Self::Introduced(version) | Self::Fixed(version) | Self::LastAffected(version) | Self::Limit(version) => {
                version
            }
        }
    }

    /// `introduced: "0"` is before every version, also before one that orders below 0.
    fn is_start(&self) -> bool {
        matches!(self, Self::Introduced(version) if version.as_ref() == "0")
    }
}

/// The whole document, whichever of its forms.
struct Document(Advisories);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(DocumentVisitor)
    }
}

struct DocumentVisitor;

impl<'de> Visitor<'de> for DocumentVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record, an array of records, or an object with vulns")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        let mut advisories = Advisories::default();
        while let Some(record) = seq.next_element::<RawRecord>()? {
            advisories.add(record).map_err(de::Error::custom)?;
        }
        Ok(Document(advisories))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Document, A::Error> {
        let raw = RawAnswer::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let is_answer = raw.members == 0 || raw.vulns.is_some();
        let mut advisories = raw.vulns.unwrap_or_default().0;
        if !is_answer {
            advisories.add(raw.record).map_err(de::Error::custom)?;
        } else if raw.record.id.is_some() {
            return Err(de::Error::custom("both a record and a list of records"));
        } else if raw.more {
            return Err(de::Error::custom("one page of an answer, not all of it"));
        }
        Ok(Document(advisories))
    }
}

/// The records of `vulns`.
#[derive(Default)]
struct Vulns(Advisories);

impl<'de> Deserialize<'de> for Vulns {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_seq(DocumentVisitor).map(|document| Self(document.0))
    }
}

impl Advisories {
    fn add(&mut self, raw: RawRecord) -> Result<(), String> {
        let Some(id) = raw.id.filter(|id| !id.is_empty()) else { return Err("a record without an id".to_owned()) };
        let shown = escaped(&id);
        // Minor versions only add fields [OSV, schema_version].
        if raw.schema_version.as_deref().unwrap_or("1").split('.').next() != Some("1") {
            return Err(format!("{shown}: its schema_version is not 1.x"));
        }
        if let Some(withdrawn) = raw.withdrawn {
            let time: DateTime<Utc> =
                withdrawn.parse().map_err(|_| format!("{shown}: withdrawn is not a time: {}", escaped(&withdrawn)))?;
            // The year 1 is what writers in Go put where they have no time.
            if time.year() > 1 {
                return Ok(());
            }
        }
        let entries_given = raw.affected.0.len();
        let stated = [raw.severity.0.iter().filter_map(RawSeverity::severity).max(), raw.database_specific.0];
        let severity = stated.into_iter().flatten().chain(in_summary(&id, &raw.summary)).max();
        let mut entries = Vec::new();
        for affected in raw.affected.0 {
            let Some(package) = affected.package else {
                self.without_package = self.without_package.saturating_add(1);
                continue;
            };
            if matches!(Ecosystem::parse(&package.ecosystem), Ecosystem::Other) {
                self.of_languages = self.of_languages.saturating_add(1);
                continue;
            }
            let stated = [affected.ecosystem_specific.0, affected.database_specific.0];
            let severity =
                affected.severity.0.iter().filter_map(RawSeverity::severity).chain(stated.into_iter().flatten()).max();
            // Ranges of commits stand beside those of versions and say the same; others may say more.
            let is_known = affected.ranges.0.iter().all(|range| matches!(range.kind.as_str(), "ECOSYSTEM" | "GIT"));
            let ranges: Vec<Box<[Event]>> = affected
                .ranges
                .0
                .into_iter()
                .filter(|range| range.kind == "ECOSYSTEM")
                .map(|range| range.events.0.into_boxed_slice())
                .collect();
            let begin = |events: &[Event]| events.iter().any(|event| matches!(event, Event::Introduced(_)));
            entries.push(Entry {
                complete: is_known
                    && (!ranges.is_empty() || !affected.versions.is_empty())
                    && ranges.iter().all(|events| begin(events)),
                ecosystem: package.ecosystem,
                name: package.name,
                ranges: ranges.into_boxed_slice(),
                versions: affected.versions,
                severity,
            });
        }
        if entries_given == 0 {
            self.without_package = self.without_package.saturating_add(1);
        }
        if !entries.is_empty() {
            let advisory =
                Arc::new(Advisory { id, aliases: raw.aliases, upstream: raw.upstream, summary: raw.summary });
            self.records.push(Record { advisory, severity, entries: entries.into_boxed_slice() });
        }
        Ok(())
    }
}

/// `Important: openssl security update`: where Red Hat and those who rebuild it say how severe it is, sometimes nowhere else.
fn in_summary(id: &str, summary: &str) -> Option<Severity> {
    ["RHSA-", "ALSA-", "RLSA-", "RXSA-"].iter().any(|prefix| id.starts_with(prefix)).then_some(())?;
    summary.split_once(':').and_then(|(word, _)| Severity::from_word(word))
}

/// A document that is an object: a record or an answer.
#[derive(Default)]
struct RawAnswer {
    record: RawRecord,
    vulns: Option<Vulns>,
    more: bool,
    members: usize,
}

impl<'de> Deserialize<'de> for RawAnswer {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct AnswerVisitor;
        impl<'de> Visitor<'de> for AnswerVisitor {
            type Value = RawAnswer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record or an object with vulns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawAnswer, A::Error> {
                let mut answer = RawAnswer::default();
                while let Some(key) = map.next_key::<String>()? {
                    answer.members = answer.members.saturating_add(1);
                    match key.as_str() {
                        "vulns" => answer.vulns = Some(map.next_value()?),
                        "next_page_token" => {
                            answer.more = map.next_value::<Option<String>>()?.is_some_and(|t| !t.is_empty())
                        }
                        key => answer.record.member(key, &mut map)?,
                    }
                }
                Ok(answer)
            }
        }
        reader.deserialize_map(AnswerVisitor)
    }
}

/// What is read of a record.
#[derive(Default)]
struct RawRecord {
    schema_version: Option<String>,
    id: Option<Box<str>>,
    withdrawn: Option<String>,
    aliases: Texts,
    upstream: Texts,
    summary: Box<str>,
    severity: List<RawSeverity, SEVERITIES_MAX>,
    affected: List<RawAffected, ENTRIES_MAX>,
    database_specific: Words,
}

impl RawRecord {
    fn member<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<(), A::Error> {
        match key {
            "schema_version" => self.schema_version = map.next_value()?,
            "id" => self.id = Some(map.next_value()?),
            "withdrawn" => self.withdrawn = map.next_value()?,
            "aliases" => self.aliases = map.next_value()?,
            "upstream" => self.upstream = map.next_value()?,
            "summary" => self.summary = map.next_value()?,
            "severity" => self.severity = map.next_value()?,
            "affected" => self.affected = map.next_value()?,
            "database_specific" => self.database_specific = map.next_value()?,
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for RawRecord {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct RecordVisitor;
        impl<'de> Visitor<'de> for RecordVisitor {
            type Value = RawRecord;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawRecord, A::Error> {
                let mut record = RawRecord::default();
                while let Some(key) = map.next_key::<String>()? {
                    record.member(&key, &mut map)?;
                }
                Ok(record)
            }
        }
        reader.deserialize_map(RecordVisitor)
    }
}

#[derive(serde::Deserialize)]
struct RawSeverity {
    #[serde(rename = "type")]
    kind: String,
    score: String,
}

impl RawSeverity {
    /// `None` where the kind is not known or the score not understood: others may be.
    fn severity(&self) -> Option<Severity> {
        match self.kind.as_str() {
            "CVSS_V2" | "CVSS_V3" | "CVSS_V4" => Severity::from_vector(&self.score),
            // Ubuntu's priority, and whatever other words there will be.
            _ => Severity::from_word(&self.score),
        }
    }
}

#[derive(serde::Deserialize)]
struct RawAffected {
    package: Option<RawPackage>,
    #[serde(default)]
    ranges: List<RawRange, RANGES_MAX>,
    #[serde(default)]
    versions: Texts,
    #[serde(default)]
    severity: List<RawSeverity, SEVERITIES_MAX>,
    #[serde(default)]
    ecosystem_specific: Words,
    #[serde(default)]
    database_specific: Words,
}

#[derive(serde::Deserialize)]
struct RawPackage {
    ecosystem: Box<str>,
    name: Box<str>,
}

#[derive(serde::Deserialize)]
struct RawRange {
    #[serde(rename = "type")]
    kind: String,
    events: List<Event, RANGES_MAX>,
}

/// The words `urgency` and `severity` among what is a database's or an ecosystem's own; the higher one. All else there may have any shape.
#[derive(Default)]
struct Words(Option<Severity>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct WordsVisitor;
        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_unit<E>(self) -> Result<Words, E> {
                Ok(Words::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Words, A::Error> {
                let mut words = Words::default();
                while let Some(key) = map.next_key::<String>()? {
                    if matches!(key.as_str(), "urgency" | "severity") {
                        words.0 = words.0.max(map.next_value::<Word>()?.0);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(words)
            }
        }
        reader.deserialize_any(WordsVisitor)
    }
}

/// A word for a severity, or any other value.
struct Word(Option<Severity>);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct WordVisitor;
        impl<'de> Visitor<'de> for WordVisitor {
            type Value = Word;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_str<E>(self, word: &str) -> Result<Word, E> {
                Ok(Word(Severity::from_word(word)))
            }

            fn visit_unit<E>(self) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_u64<E>(self, _: u64) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Word, E> {
                Ok(Word(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Word, A::Error> {
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Word(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Word, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Word(None))
            }
        }
        reader.deserialize_any(WordVisitor)
    }
}

#[cfg(test)]
mod tests;
