//! Many archives in one round: each repository is refreshed once, and all cores have work, whether the archives are large or small.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::round::Round;
use super::{Govern, Verifier};
use crate::client::Source;
use crate::verdict::Verdict;

/// From this size on an archive is worth all cores for itself. Two at a time would only read the disk in two places.
const LARGE: u64 = 32 * 1024 * 1024;
/// More would only wait for the disk.
const WORKERS_MAX: usize = 16;

impl<S: Source + Sync, G: Govern<S> + Sync> Verifier<S, G> {
    /// Verifies archives, each as [`verify`](Self::verify) does, but for this: a repository is refreshed once for all of them, when it is first needed. One that
    /// could not be reached then is not tried again.
    ///
    /// `each` is called with the place of an archive in `archives` and its verdict, in their order, as soon as a verdict and all before it are there. Progress, if
    /// it is reported, is that of whichever archive is read.
    pub fn verify_all<P: AsRef<Path> + Sync>(&self, archives: &[P], each: impl FnMut(usize, Verdict) + Send) {
        let round = Mutex::new(Round::new());
        let (next, large) = (AtomicUsize::new(0), Mutex::new(()));
        let delivery = Mutex::new(Delivery { ready: BTreeMap::new(), next: 0, each });
        let work = || {
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(archive) = archives.get(place).map(AsRef::as_ref) else { return };
                // A folder, and what cannot be looked at, may be of any size.
                let is_small = fs::metadata(archive).is_ok_and(|found| found.is_file() && found.len() < LARGE);
                let alone = (!is_small).then(|| large.lock().unwrap_or_else(PoisonError::into_inner));
                let threads = if is_small { Some(NonZero::<usize>::MIN) } else { None };
                let verdict = self.verify_in(&round, threads, archive);
                drop(alone);
                delivery.lock().unwrap_or_else(PoisonError::into_inner).add(place, verdict);
            }
        };
        let cores = thread::available_parallelism().map_or(1, NonZero::get).min(WORKERS_MAX);
        thread::scope(|scope| {
            for _ in 1..cores.min(archives.len()) {
                scope.spawn(work);
            }
            work();
        });
    }
}

/// Hands verdicts on in their order.
struct Delivery<F> {
    ready: BTreeMap<usize, Verdict>,
    next: usize,
    each: F,
}

impl<F: FnMut(usize, Verdict)> Delivery<F> {
    fn add(&mut self, place: usize, verdict: Verdict) {
        self.ready.insert(place, verdict);
        while let Some(verdict) = self.ready.remove(&self.next) {
            (self.each)(self.next, verdict);
            self.next = self.next.saturating_add(1);
        }
    }
}
