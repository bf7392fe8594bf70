//! What is installed in a verified image, against all that is signed of its packages.
//!
//! Rules:
//! - Each list that is signed must hold. One that cannot be read decides nothing, so nothing is trusted.
//! - Each database must agree with each list, as far as the list names packages of its system. A database of a system that the list does not
//!   name at all must be empty.
//! - A second database of one system, one where nobody looks for it, and one that a layer hides while the list still names its packages, are findings of
//!   their own: package managers and scanners differ in which of them they read. A file that the list names with its digest is none of these.

use std::collections::BTreeMap;

use serde::Serialize;

use super::advise::{AdvisoriesReport, SignedAdvisories};
use super::compare::{Difference, compare};
use super::files::{self, FileDifference};
use super::ignore::Glob;
use super::installed::{Database, Installed};
use super::list::PackageList;
use super::overlay::Tree;
use super::package::{Kind, Package};
use super::severity::FailOn;
use super::vex::ImageProduct;
use crate::image::contents::shown;
use crate::text::escaped;

/// Whether package lists are checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// Nothing beside the image is looked for.
    Off,
    /// Checked where a list is signed beside the image.
    #[default]
    Auto,
    /// An image without a signed list is not trusted.
    Require,
}

/// What of an image's packages and files is checked, and how strictly.
#[derive(Debug, Clone, Default)]
pub struct PackageChecks {
    pub(crate) mode: Mode,
    pub(crate) files: bool,
    pub(crate) ignore: Vec<Glob>,
    pub(crate) fail_on: FailOn,
}

impl PackageChecks {
    /// Whether lists are looked for. [`Mode::Auto`] is the default.
    #[must_use]
    pub fn with_mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Compares every file with the lists too. Then a list must be signed, and one must name files.
    #[must_use]
    pub fn with_files(self) -> Self {
        Self { files: true, ..self }
    }

    /// Files that may be there though no list names them.
    #[must_use]
    pub fn with_ignored(mut self, glob: Glob) -> Self {
        self.ignore.push(glob);
        self
    }

    /// Installed packages that signed advisories concern are a finding from this severity on, and when an advisory states none. Then advisories must be
    /// signed beside the image. By default they are told, and decide nothing.
    #[must_use]
    pub fn with_fail_on(self, fail_on: FailOn) -> Self {
        Self { fail_on, ..self }
    }

    /// Whether nothing beside the image is looked for.
    pub(crate) fn is_off(&self) -> bool {
        self.mode == Mode::Off && !self.files && !self.need_advisories()
    }

    /// Whether an image without advisories is refused.
    pub(crate) fn need_advisories(&self) -> bool {
        self.fail_on != FailOn::Nothing
    }

    /// Whether an image without a list is refused.
    pub(crate) fn need_list(&self) -> bool {
        self.files || self.mode == Mode::Require
    }
}

/// A list that is signed beside an image.
#[derive(Debug)]
pub(crate) struct SignedList {
    /// The target path.
    pub(crate) target: String,
    pub(crate) list: PackageList,
}

/// All that is signed of the packages of an image, under one name.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) lists: Vec<SignedList>,
    pub(crate) advisories: Option<SignedAdvisories>,
}

/// Why what is installed is not what was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) subject: Option<String>,
    pub(crate) expected: Option<String>,
    pub(crate) found: Option<String>,
    /// Whether it is not known what is there: then nothing is decided.
    pub(crate) is_undecided: bool,
}

/// What was checked, for the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PackageReport {
    /// Whether a list was compared.
    pub(crate) checked: bool,
    pub(crate) lists: Vec<ListReport>,
    pub(crate) databases: Vec<DatabaseReport>,
    /// Where files were compared.
    pub(crate) files: Option<FilesReport>,
    /// Where advisories are signed.
    pub(crate) advisories: Option<AdvisoriesReport>,
}

impl PackageReport {
    /// Of an image beside which no list is signed, or of whose packages nobody asked.
    pub(crate) const NOT_CHECKED: Self =
        Self { checked: false, lists: Vec::new(), databases: Vec::new(), files: None, advisories: None };
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ListReport {
    pub(crate) target: String,
    pub(crate) packages: usize,
    /// Listed packages whose system's databases are not read, by the type of their package URL; `""` for none.
    pub(crate) not_compared: BTreeMap<String, usize>,
    /// Listed packages that do not say their architecture, which was therefore not compared.
    pub(crate) without_architecture: usize,
    pub(crate) files: usize,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct DatabaseReport {
    pub(crate) kind: &'static str,
    pub(crate) path: String,
    pub(crate) packages: Option<usize>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct FilesReport {
    /// Files that are as listed.
    pub(crate) same: usize,
    /// Files that nobody lists and that were ignored, by class.
    pub(crate) ignored: BTreeMap<String, usize>,
}

/// Checks an image, which must be verified, against all that is signed beside it.
pub(crate) fn check(
    tree: &Tree<'_>,
    installed: &Installed,
    beside: &Beside,
    image: &ImageProduct<'_>,
    checks: &PackageChecks,
) -> (PackageReport, Vec<Problem>) {
    let Beside { lists, advisories } = beside;
    let named: Vec<&PackageList> = lists.iter().map(|signed| &signed.list).collect();
    let mut problems = of_databases(installed, &named);
    let mut files = None;
    if !lists.is_empty() {
        problems.extend(lists.iter().flat_map(|signed| against(installed, signed)));
        files = checks.files.then(|| compare_files(tree, lists, checks, &mut problems));
    }
    let advisories = advisories.as_ref().map(|signed| {
        let (report, found) = signed.check(installed, image, checks.fail_on);
        problems.extend(found);
        report
    });
    let report = PackageReport {
        checked: !lists.is_empty(),
        lists: lists.iter().map(ListReport::of).collect(),
        databases: installed.databases().iter().map(DatabaseReport::of).collect(),
        files,
        advisories,
    };
    (report, problems)
}

/// What is wrong with databases whatever is in them: one that cannot be read, and where there are lists, one too many.
pub(super) fn of_databases(installed: &Installed, lists: &[&PackageList]) -> Vec<Problem> {
    let mut problems: Vec<Problem> = installed.databases().iter().filter_map(Problem::of_unreadable).collect();
    if !lists.is_empty() {
        problems.extend(second_databases(installed, lists).into_iter().chain(strays(installed, lists)));
    }
    problems
}

/// Each database against a list, and what the list names of systems that have none.
fn against(installed: &Installed, signed: &SignedList) -> Vec<Problem> {
    let SignedList { target, list } = signed;
    let mut problems = Vec::new();
    for (kind, database, differences) in differences(installed, list) {
        let is_hidden = database.is_none() && installed.hidden().contains(&kind) && !differences.is_empty();
        problems.extend(is_hidden.then(|| Problem::of_hidden(kind)));
        problems.extend(differences.iter().map(|found| Problem::of_package(found, database, target)));
    }
    problems
}

/// What of a list each database that can be read differs in, and what the list names of systems that have none.
pub(super) fn differences<'i>(
    installed: &'i Installed,
    list: &PackageList,
) -> Vec<(Kind, Option<&'i Database>, Vec<Difference>)> {
    let readable = installed.databases().iter().filter_map(|database| Some((database, database.packages().ok()?)));
    let compared = readable.map(|(database, packages)| {
        (database.kind(), Some(database), compare(&of_kind(list, database.kind()), packages))
    });
    let has = |kind: Kind| installed.databases().iter().any(|database| database.kind() == kind);
    let absent = [Kind::Apk, Kind::Deb, Kind::Rpm].into_iter().filter(|kind| !has(*kind));
    compared.chain(absent.map(|kind| (kind, None, compare(&of_kind(list, kind), &[])))).collect()
}

fn compare_files(
    tree: &Tree<'_>,
    lists: &[SignedList],
    checks: &PackageChecks,
    problems: &mut Vec<Problem>,
) -> FilesReport {
    let named: Vec<&PackageList> = lists.iter().map(|signed| &signed.list).collect();
    if named.iter().all(|list| list.files().len() == 0) {
        problems.push(Problem::no_files(lists));
    }
    let compared = files::compare(tree, &named, &checks.ignore);
    problems.extend(compared.differences.iter().map(Problem::of_file));
    FilesReport { same: compared.same, ignored: compared.ignored }
}

fn of_kind(list: &PackageList, kind: Kind) -> Vec<Package> {
    list.packages().iter().filter(|package| package.kind() == kind).cloned().collect()
}

/// Whether some list names the file at a physical path with the digest that it has.
fn is_listed(lists: &[&PackageList], path: &[u8], digest: Option<crate::digest::Sha256>) -> bool {
    let named = |list: &PackageList| {
        let path = std::str::from_utf8(path).ok()?;
        list.file(path).flatten()
    };
    digest.is_some() && lists.iter().any(|list| named(list) == digest)
}

/// More than one database of one system. One whose file is listed is known to whoever signed the list.
fn second_databases(installed: &Installed, lists: &[&PackageList]) -> Vec<Problem> {
    let mut first: BTreeMap<Kind, &Database> = BTreeMap::new();
    let mut problems = Vec::new();
    for database in installed.databases() {
        let Some(other) = first.get(&database.kind()) else {
            first.insert(database.kind(), database);
            continue;
        };
        if !is_listed(lists, database.path().as_bytes(), database.digest) {
            let message = format!(
                "/{}: a second {} database beside /{}; programs differ in which they read",
                escaped(database.path()),
                database.kind(),
                escaped(other.path())
            );
            problems.push(Problem::new("package-database-second", message, database.path()));
        }
    }
    problems
}

fn strays(installed: &Installed, lists: &[&PackageList]) -> Vec<Problem> {
    let strays = installed.strays().iter().filter(|(path, digest)| !is_listed(lists, path, *digest));
    let problem = |path: &[u8]| {
        let text = "a package database where no package manager looks for one; no list names it with its SHA-256";
        Problem::new("package-database-elsewhere", format!("/{}: {text}", shown(path)), &String::from_utf8_lossy(path))
    };
    strays.map(|(path, _)| problem(path)).collect()
}

impl Problem {
    pub(super) fn new(code: &'static str, message: String, subject: &str) -> Self {
        let subject = Some(subject.to_owned());
        Self { code, message, subject, expected: None, found: None, is_undecided: false }
    }

    fn of_unreadable(database: &Database) -> Option<Self> {
        let error = database.packages().err()?;
        let path = escaped(database.path());
        let message = format!("/{path}: the {} database cannot be read: {error}", database.kind());
        Some(Self { is_undecided: true, ..Self::new("package-database-unreadable", message, database.path()) })
    }

    fn of_hidden(kind: Kind) -> Self {
        let message =
            format!("a layer hides the {kind} database that a layer below it has, and the list names its packages");
        Self::new("package-database-hidden", message, kind.as_str())
    }

    fn of_package(difference: &Difference, database: Option<&Database>, target: &str) -> Self {
        let place = match database {
            Some(database) => format!("/{}", escaped(database.path())),
            None => "no database".to_owned(),
        };
        let message = format!("{difference} ({place} against {})", escaped(target));
        let problem = Self::new(difference.code(), message, difference.name());
        Self { expected: difference.expected(), found: difference.found(), ..problem }
    }

    fn of_file(difference: &FileDifference) -> Self {
        let problem = Self::new(difference.code(), difference.to_string(), difference.path());
        Self { expected: difference.expected(), found: difference.found(), ..problem }
    }

    fn no_files(lists: &[SignedList]) -> Self {
        let targets: Vec<String> = lists.iter().map(|list| escaped(&list.target).to_string()).collect();
        let targets = targets.join(", ");
        let message = format!(
            "{targets}: no file is listed, so files cannot be compared; `plimsoll packages` writes a list that names them"
        );
        Self::new("file-list-missing", message, &targets)
    }
}

impl ListReport {
    fn of(signed: &SignedList) -> Self {
        let list = &signed.list;
        Self {
            target: signed.target.clone(),
            packages: list.packages().len(),
            not_compared: list.not_compared().clone(),
            without_architecture: list.packages().iter().filter(|package| package.arch().is_none()).count(),
            files: list.files().len(),
        }
    }
}

impl DatabaseReport {
    fn of(database: &Database) -> Self {
        Self {
            kind: database.kind().as_str(),
            path: database.path().to_owned(),
            packages: database.packages().ok().map(<[Package]>::len),
        }
    }
}
