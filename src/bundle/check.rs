//! All of a bundle: each metadata file, each target, each archive, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::archive::Archives;
use super::contents::{ARCHIVES, ArchiveHint, CONTENTS, Contents, METADATA, TARGETS, listing};
use super::files::ImageFiles;
use super::report::Report;
use super::{Terms, unreadable};
use crate::client::{DirSource, Store, metadata_name, read_bounded, target_names};
use crate::metadata::roles::Root;
use crate::metadata::{RoleName, Signed};
use crate::packages::check::Mode;
use crate::trust::{Found, Roots, Rules, TargetCheck, TrustError, Trusted, same_content};
use crate::verdict::Finding;
use crate::verify::Stop;

/// What was checked.
pub(super) struct Checked {
    pub(super) trusted: Trusted,
    pub(super) contents: Contents,
    /// Names below `metadata/`.
    pub(super) metadata: Vec<String>,
    /// Targets that are there, by name below `targets/`; the flag says whether it is a manifest.
    pub(super) targets: BTreeMap<String, bool>,
    /// Targets that an earlier bundle has brought: the names that each may have below `targets/`.
    pub(super) left_out: Vec<(Vec<String>, Found)>,
    pub(super) left_out_archives: Vec<ArchiveHint>,
}

/// Checks the bundle in a folder; what it holds goes into the report, whatever comes of it.
pub(super) fn check(terms: &Terms, bundle: &Path, report: &mut Report) -> Result<Checked, Stop> {
    let contents = Contents::read(bundle)?;
    let source = DirSource::repository(bundle).map_err(crate::client::Undecided::from)?;
    // First against what the store remembers, so that a report names the attack and not its side effect. The store stays as it is.
    let start = {
        let client = terms.client(source.clone(), terms.rehearsal_store()?);
        client.refresh()?.trusted().rules().start()
    };
    // Then with no memory at all, so that every file is read from the bundle.
    let client = terms.client(source.clone(), Store::in_memory()).with_time(start);
    let mut session = client.refresh()?;
    report.set_roles(session.trusted());
    let mut files = Vec::new();
    for image in &contents.images {
        files.push(ImageFiles::find(&mut session, image, terms)?);
    }
    let trusted = session.trusted().clone();
    drop(session);
    report.set_roles(&trusted);
    for (image, files) in contents.images.iter().zip(&files) {
        report.add_image(image, files);
    }

    let mut there = Files { bundle, left: listing(bundle)?, findings: Vec::new() };
    there.is_accounted_for(CONTENTS);
    let metadata = there.metadata(&trusted, &terms.root)?;
    let (targets, left_out) = there.targets(&trusted, &files, &contents)?;
    let archives = Archives { terms, source: &source, time: start, images: &contents.images, packages: Mode::Off };
    let left_out_archives = there.archives(&archives, &contents, report)?;
    let names = left_out.iter().filter_map(|(names, _)| Some(format!("{TARGETS}{}", names.first()?)));
    let archives = left_out_archives.iter().map(|archive| format!("{ARCHIVES}{}", archive.file));
    report.set_left_out(names.chain(archives).collect());
    for (name, is_regular) in &there.left {
        let why = if *is_regular { "nothing accounts for it" } else { "it is not a regular file" };
        there.findings.push(Finding::new("bundle-extra-file", why).about(name).in_file(name));
    }
    if !there.findings.is_empty() {
        return Err(Stop::Untrusted(there.findings));
    }
    Ok(Checked { trusted, contents, metadata, targets, left_out, left_out_archives })
}

/// What is there, and has not been accounted for yet.
struct Files<'b> {
    bundle: &'b Path,
    left: BTreeMap<String, bool>,
    findings: Vec<Finding>,
}

impl Files<'_> {
    /// Whether it is there as a regular file. If so, it has its place now.
    fn is_accounted_for(&mut self, name: &str) -> bool {
        let is_there = self.left.get(name) == Some(&true);
        if is_there {
            self.left.remove(name);
        }
        is_there
    }

    fn missing(&mut self, name: &str) {
        let finding = Finding::new("bundle-file-missing", "it is not there").about(name).in_file(name);
        self.findings.push(finding);
    }

    fn metadata(&mut self, trusted: &Trusted, pinned: &[u8]) -> Result<Vec<String>, Stop> {
        let mut names = self.roots(trusted, pinned)?;
        names.extend(role_files(trusted).into_iter().map(|(name, _)| name));
        for name in &names {
            if !self.is_accounted_for(&format!("{METADATA}{name}")) {
                self.missing(&format!("{METADATA}{name}"));
            }
        }
        Ok(names)
    }

    /// The roots that form one chain, in which the pinned one has its place or comes right before it.
    fn roots(&self, trusted: &Trusted, pinned: &[u8]) -> Result<Vec<String>, Stop> {
        let rules = trusted.rules().clone();
        let mut versions: Vec<u64> = self.left.keys().filter_map(|name| root_version(name)).collect();
        versions.sort_unstable();
        let pinned = Roots::pin(pinned, rules.clone()).map_err(crate::client::Undecided::PinnedRoot)?;
        let mut chain: Option<Roots> = None;
        let mut names = Vec::new();
        for version in versions {
            let name = format!("{version}.root.json");
            let bytes = self.read(&format!("{METADATA}{name}"), rules.limits().root)?;
            let roots = match chain.take() {
                None => Roots::pin(&bytes, rules.clone()).map_err(|error| untrusted(&error))?,
                Some(mut roots) if roots.next_version().is_ok_and(|next| next == version) => {
                    // Whether what was remembered is to be forgotten is the client's concern.
                    let _rotation = roots.rotate(&bytes).map_err(|error| untrusted(&error))?;
                    roots
                }
                // A gap: what comes after it is accounted for by nothing.
                Some(_) => break,
            };
            if roots.root().version() != version {
                let (expected, found) = (version, roots.root().version());
                let error = TrustError::Version { role: RoleName::Root, by: "its file name", expected, found };
                return Err(untrusted(&error));
            }
            if version == pinned.root().version() && !same_content(&bytes, pinned.root().bytes()) {
                let text = "it is another root than the pinned one, of the same version";
                let name = format!("{METADATA}{name}");
                return Err(Stop::Untrusted(vec![Finding::new("bundle-extra-file", text).about(&name).in_file(&name)]));
            }
            names.push(name);
            chain = Some(roots);
        }
        // All of it older than the pinned one, or not up to the newest: then it is not the chain that the client has followed.
        let newest = trusted.root().bytes();
        let leads_there = chain.is_none_or(|chain| same_content(chain.root().bytes(), newest));
        Ok(if leads_there { names } else { Vec::new() })
    }

    #[expect(clippy::type_complexity, reason = "the two parts of `Checked` that it fills")]
    fn targets(
        &mut self,
        trusted: &Trusted,
        files: &[ImageFiles],
        contents: &Contents,
    ) -> Result<(BTreeMap<String, bool>, Vec<(Vec<String>, Found)>), Stop> {
        let (mut there, mut left_out) = (BTreeMap::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for (found, is_manifest) in files.iter().flat_map(ImageFiles::all) {
            if !seen.insert(found.path().to_owned()) {
                continue;
            }
            let names = target_names(found.path(), found.file(), trusted.root().consistent_snapshot());
            let mut is_there = false;
            for name in &names {
                if self.is_accounted_for(&format!("{TARGETS}{name}")) {
                    is_there = true;
                    there.insert(name.clone(), is_manifest);
                    match check_target_file(&self.bundle.join(TARGETS).join(name), found)? {
                        Ok(()) => {}
                        Err(error) => self.findings.push(Finding::from(&error)),
                    }
                }
            }
            if is_there {
                continue;
            }
            if !is_manifest && names.iter().any(|name| contents.leaves_out(TARGETS, name)) {
                left_out.push((names, found.clone()));
            } else {
                self.missing(&format!("{TARGETS}{}", names.first().map_or(found.path(), String::as_str)));
            }
        }
        Ok((there, left_out))
    }

    fn archives(
        &mut self,
        archives: &Archives<'_>,
        contents: &Contents,
        report: &mut Report,
    ) -> Result<Vec<ArchiveHint>, Stop> {
        let mut left_out = Vec::new();
        for archive in &contents.archives {
            let name = format!("{ARCHIVES}{}", archive.file);
            if self.is_accounted_for(&name) {
                match archives.check(archive, &self.bundle.join(&name)) {
                    Ok(entry) => report.add_archive(entry),
                    Err(Stop::Untrusted(findings)) => self.findings.extend(findings),
                    Err(stop) => return Err(stop),
                }
            } else if contents.leaves_out(ARCHIVES, &archive.file) {
                left_out.push(archive.clone());
            } else {
                self.missing(&name);
            }
        }
        Ok(left_out)
    }

    fn read(&self, name: &str, limit: u64) -> Result<Vec<u8>, Stop> {
        let path = self.bundle.join(name);
        let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
        Ok(read_bounded(Box::new(file), name, limit)?)
    }
}

/// The version in the name of a root below the bundle, if it is written as this program writes it.
fn root_version(name: &str) -> Option<u64> {
    let version = name.strip_prefix(METADATA)?.strip_suffix(".root.json")?;
    version.parse::<u64>().ok().filter(|number| number.to_string() == version)
}

/// The role files but for the roots, with their names below `metadata/`; the timestamp last.
pub(super) fn role_files(trusted: &Trusted) -> Vec<(String, &[u8])> {
    let consistent = trusted.root().consistent_snapshot();
    let (snapshot, targets) = (trusted.snapshot(), trusted.targets());
    let mut files = vec![
        (metadata_name("snapshot", snapshot.version(), consistent), snapshot.bytes()),
        (metadata_name("targets", targets.version(), consistent), targets.bytes()),
    ];
    let loaded = trusted.loaded();
    files.extend(loaded.map(|(role, file)| (metadata_name(role, file.version(), consistent), file.bytes())));
    files.push(("timestamp.json".to_owned(), trusted.timestamp().bytes()));
    files
}

/// The chain of roots after `pinned` up to the newest that is trusted, as `read` brings them.
pub(super) fn roots_between(
    pinned: &[u8],
    newest: &Signed<Root>,
    rules: &Rules,
    mut read: impl FnMut(&str) -> Result<Vec<u8>, Stop>,
) -> Result<Vec<(String, Vec<u8>)>, Stop> {
    let mut roots = Roots::pin(pinned, rules.clone()).map_err(crate::client::Undecided::PinnedRoot)?;
    let mut files = vec![(format!("{}.root.json", roots.root().version()), pinned.to_vec())];
    while roots.root().version() < newest.version() {
        let name = format!("{}.root.json", roots.next_version().map_err(|error| untrusted(&error))?);
        let bytes = read(&name)?;
        let _rotation = roots.rotate(&bytes).map_err(|error| untrusted(&error))?;
        files.push((name, bytes));
    }
    Ok(files)
}

/// Whether a file is what was signed. The outer error: it cannot be read.
pub(super) fn check_target_file(path: &Path, found: &Found) -> Result<Result<(), TrustError>, Stop> {
    let failed = |error: io::Error| unreadable(path, &error);
    let mut check = match TargetCheck::new(found.path(), found.file()) {
        Ok(check) => check,
        Err(error) => return Ok(Err(error)),
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let n = match file.read(&mut chunk) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        let Some(bytes) = chunk.get(..n).filter(|bytes| !bytes.is_empty()) else { return Ok(check.finish()) };
        if let Err(error) = check.update(bytes) {
            return Ok(Err(error));
        }
    }
}

pub(super) fn untrusted(error: &TrustError) -> Stop {
    Stop::Untrusted(vec![Finding::from(error)])
}
