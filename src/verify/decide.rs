//! From an archive to the images in it that may be loaded, or why there are none: the stages in their order.

use std::mem;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::round::{Round, Said};
use super::signed::{Lookup, Signed};
use super::{Govern, Requirements, Stop, Terms, Verifier, untrusted};
use crate::client::Source;
use crate::image::VerifiedImage;
use crate::image::check::{check_image, several_images};
use crate::image::claims::ClaimedImage;
use crate::image::contents::{Digests, Wanted};
use crate::image::error::{ArchiveError, Code, Refusal};
use crate::image::inventory::{Inventory, MeasuredInventory};
use crate::image::read_at::ReadAt;
use crate::image::user;
use crate::name::ImageName;
use crate::packages::beside::{Fetched, NotRead};
use crate::packages::check::Beside;
use crate::packages::contents::ImageContents;
use crate::packages::installed;
use crate::text::escaped;
use crate::verdict::{Finding, GovernedReport, Report};

/// Decides about one archive.
pub(super) struct Deciding<'v, 'r, S, G> {
    pub(super) verifier: &'v Verifier<S, G>,
    /// The repositories that were asked so far, which those who decide about other archives at the same time ask as well.
    pub(super) round: &'r Mutex<Round<'v, S>>,
    /// How many threads may hash at once; all cores if nothing is said.
    pub(super) threads: Option<NonZero<usize>>,
}

/// Of each image of an archive, what is signed beside it, by the names under which something is.
type AllBeside = Vec<Vec<(usize, Beside)>>;

impl<'v, S: Source, G: Govern<S>> Deciding<'v, '_, S, G> {
    /// The images of the archive, each of which was found to be signed; the first, and the others if there are several.
    pub(super) fn decide<R: ReadAt + Sync>(
        &self,
        scan: impl FnOnce() -> Result<Inventory<R>, ArchiveError>,
        report: &mut Report,
    ) -> Result<(VerifiedImage, Vec<VerifiedImage>), Stop> {
        let inventory = scan()?;
        report.archive.form = Some(inventory.form().as_str());
        let names = self.names(inventory.images())?;
        report.image = names.first().and_then(|names| names.first()).map(ToString::to_string);

        let mut signed = self.signed_images(&names, report)?;
        let beside: Vec<Vec<(usize, Fetched)>> = signed.iter_mut().map(|signed| beside(signed)).collect();
        let (measured, beside) = self.measure(inventory, &signed, beside)?;

        let (mut verified, mut refusals) = (Vec::new(), Vec::new());
        for ((image, names), signed) in measured.images().iter().zip(&names).zip(&signed) {
            match check_under_each_name(signed, names, image, &measured) {
                Ok(images) => verified.push(images),
                Err(found) => refusals.extend(found),
            }
        }
        if verified.len() != measured.images().len() || !refusals.is_empty() {
            return Err(untrusted(refusals));
        }
        // What is in an image is read only now that the diff id of each layer is known to hold.
        self.check_contents(&verified, &signed, &beside?, &measured, report)?;
        let mut verified = verified.into_iter().flat_map(|(first, others)| [first].into_iter().chain(others));
        match verified.next() {
            Some(first) => Ok((first, verified.collect())),
            None => Err(untrusted(refusals)),
        }
    }

    /// The names under which each image must be signed: the one that was asked for, or else all that the archive claims.
    fn names(&self, images: &[ClaimedImage]) -> Result<Vec<Vec<ImageName>>, Stop> {
        match (&self.verifier.image, images) {
            (Some(name), [_]) => Ok(vec![vec![name.clone()]]),
            (Some(_), several) => Err(several_images(several.len()).into()),
            (None, images) if images.iter().any(|image| image.names().is_empty()) => Err(no_name(images.len())),
            (None, images) => Ok(images.iter().map(|image| image.names().to_vec()).collect()),
        }
    }

    /// What the repositories say these images are. Their stores are unlocked again before the archive is hashed, which may take long.
    fn signed_images(&self, names: &[Vec<ImageName>], report: &mut Report) -> Result<Vec<Vec<Signed<'v, S>>>, Stop> {
        let Verifier { governing, platform, limits, .. } = self.verifier;
        let mut round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        let mut said = Said::default();
        let mut lookup = Lookup { governing, platform: platform.as_ref(), limits, round: &mut round, said: &mut said };
        let shown = &mut report.platform;
        let mut image = |name| lookup.image(name, shown);
        let signed = names.iter().map(|names| names.iter().map(&mut image).collect()).collect();
        said.report(report);
        signed
    }

    /// Hashes the layers of an archive, and reads meanwhile what is signed beside its images. That this cannot be read is told only if the images are the
    /// signed ones.
    fn measure<R: ReadAt + Sync>(
        &self,
        inventory: Inventory<R>,
        signed: &[Vec<Signed<'v, S>>],
        beside: Vec<Vec<(usize, Fetched)>>,
    ) -> Result<(MeasuredInventory<R>, Result<AllBeside, Stop>), Stop> {
        let Verifier { limits, progress, .. } = self.verifier;
        let progress: &(dyn Fn(u64, u64) + Sync) = &|done, total| progress(done, total);
        let any = |demand: fn(&Signed<'_, S>) -> bool| signed.iter().flatten().any(demand);
        if beside.iter().all(Vec::is_empty) && !any(|signed| signed.terms.requirements.non_root) {
            let measured = inventory.measure_listing(limits, None, self.threads, progress)?;
            return Ok((measured, Ok(beside.iter().map(|_| Vec::new()).collect())));
        }
        let digests = if any(|signed| signed.terms.packages.files) { Digests::Sha256 } else { Digests::Kept };
        let wanted = Wanted { digests, keep: &installed::keep };
        thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let read = |(place, files): (usize, Fetched)| Ok((place, files.read()?));
                beside.into_iter().map(|files| files.into_iter().map(read).collect()).collect::<Result<_, NotRead>>()
            });
            let measured = inventory.measure_listing(limits, Some(&wanted), self.threads, progress)?;
            let read = match reading.join() {
                Ok(read) => read.map_err(|error| unreadable(&error)),
                Err(panic) => std::panic::resume_unwind(panic),
            };
            Ok((measured, read))
        })
    }

    /// Each image against all that its terms demand besides, and that is signed beside it, under any of its names.
    fn check_contents<R: ReadAt + Sync>(
        &self,
        verified: &[(VerifiedImage, Vec<VerifiedImage>)],
        signed: &[Vec<Signed<'v, S>>],
        beside: &AllBeside,
        measured: &MeasuredInventory<R>,
        report: &mut Report,
    ) -> Result<(), Stop> {
        let mut found = Found::default();
        for (((image, _), signed), beside) in verified.iter().zip(signed).zip(beside) {
            for signed in signed {
                let below = signed.base.as_ref().map_or(Ok(()), |base| base.must_be_below(image));
                found.refused(below);
                report.governed.extend(governed(signed, image));
            }
            if beside.is_empty() && !signed.iter().any(|signed| signed.terms.requirements.non_root) {
                continue;
            }
            let contents = match ImageContents::of(image, measured, &self.verifier.limits) {
                Ok(contents) => contents,
                // What is wrong with the other images is told as well.
                Err(error) => {
                    found.add(Stop::from(error));
                    continue;
                }
            };
            for signed in signed.iter().filter(|signed| signed.terms.requirements.non_root) {
                let is_other = match &contents.passwd {
                    Ok(passwd) => user::must_not_be_root(image.user(), passwd.as_deref()),
                    Err(error) => Err(Refusal::new(Code::ImageUserUnknown, "/etc/passwd", error.to_string())),
                };
                found.refused(is_other.map_err(|refusal| refusal.of_image(&signed.name)));
            }
            for (place, beside) in beside {
                let Some(Signed { name, terms, .. }) = signed.get(*place) else { continue };
                let (checked, problems) = contents.check(image, name, beside, &terms.packages);
                report.packages.push((name.to_string(), checked));
                for problem in &problems {
                    found.finding(!problem.is_undecided, Finding::from(problem));
                }
            }
        }
        found.end()
    }
}

/// What terms from a policy, or with demands, lead to for a report.
fn governed<S>(signed: &Signed<'_, S>, image: &VerifiedImage) -> Option<GovernedReport> {
    let Terms { source, requirements, .. } = signed.terms;
    let says_something = source.is_some() || *requirements != Requirements::default();
    says_something.then(|| GovernedReport {
        image: signed.name.to_string(),
        scope: source.clone(),
        user: image.user().filter(|_| requirements.non_root).map(str::to_owned),
        base: requirements.base.as_ref().map(ToString::to_string),
    })
}

/// What was found, with everything else that is wrong.
#[derive(Default)]
struct Found {
    findings: Vec<Finding>,
    is_untrusted: bool,
    is_undecided: bool,
}

impl Found {
    fn finding(&mut self, is_untrusted: bool, finding: Finding) {
        self.is_untrusted |= is_untrusted;
        self.is_undecided |= !is_untrusted;
        self.findings.push(finding);
    }

    fn refused(&mut self, checked: Result<(), Refusal>) {
        if let Err(refusal) = checked {
            self.finding(true, Finding::from(&refusal));
        }
    }

    fn add(&mut self, stop: Stop) {
        let (is_untrusted, findings) = stop.into_findings();
        findings.into_iter().for_each(|finding| self.finding(is_untrusted, finding));
    }

    /// What is definitely wrong decides, whatever else could not be read.
    fn end(self) -> Result<(), Stop> {
        match (self.is_untrusted, self.is_undecided) {
            (true, _) => Err(Stop::Untrusted(self.findings)),
            (false, true) => Err(Stop::Undecided(self.findings)),
            (false, false) => Ok(()),
        }
    }
}

/// Takes out what is signed beside an image, by the places of its names.
fn beside<S>(signed: &mut [Signed<'_, S>]) -> Vec<(usize, Fetched)> {
    let files = signed.iter_mut().map(|signed| mem::take(&mut signed.beside)).enumerate();
    files.filter(|(_, files)| !files.is_empty()).collect()
}

fn unreadable(error: &NotRead) -> Stop {
    let NotRead { code, target, error } = error;
    let text = format!("{}: it is signed, and cannot be read: {error}", escaped(target));
    Stop::Undecided(vec![Finding::new(code, text).about(target)])
}

fn no_name(images: usize) -> Stop {
    let text = match images {
        1 => "the archive claims no name, so there is none to look up; say which image it must be",
        _ => "the archive holds several images, and not all of them have a name to look up",
    };
    Stop::Untrusted(vec![Finding::new("image-name-missing", text)])
}

/// An image that has several names is signed under each of them. As many as there are signed manifests for it: one, unless its names have
/// different manifests of one config. Each has only the names that its own manifest is signed for.
fn check_under_each_name<R, S>(
    signed: &[Signed<'_, S>],
    names: &[ImageName],
    image: &ClaimedImage,
    measured: &MeasuredInventory<R>,
) -> Result<(VerifiedImage, Vec<VerifiedImage>), Vec<Refusal>> {
    let mut verified: Vec<VerifiedImage> = Vec::new();
    for signed in signed {
        let image = check_image(&signed.image, names, image, measured)?.claimed_as_verified();
        match verified.iter_mut().find(|other| other.is_same_but_for_names(&image)) {
            Some(other) => other.add_names_of(&image),
            None => verified.push(image),
        }
    }
    let mut verified = verified.into_iter();
    let first = verified.next().ok_or_else(|| vec![several_images(0)])?;
    Ok((first, verified.collect()))
}
