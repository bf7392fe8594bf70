//! What a fleet of nodes asks of a repository in a day: a model, pure arithmetic. `docs/scale.md` shows its tables.
//!
//! The sizes of files follow from a few weights, which `tests/scale.rs` compares with files that are really written. Everything else stands in
//! [`Fleet`]. Averages: a fleet that starts at one moment asks for all of it at once.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each program uses its own part of this")]

/// A role file that lists nothing, with one signature.
pub const ROLE: f64 = 341.0;
/// One image in a role that lists targets: one target, `manifest.json`.
pub const IMAGE: f64 = 157.0;
/// What delegating to listed bins adds to `targets.json`, whatever their number: the key.
pub const DELEGATION: f64 = 231.0;
/// What delegating to succinct bins adds to `targets.json`.
pub const SUCCINCT: f64 = 367.0;
/// A listed delegation to a bin, without the digits of its name and the prefixes.
pub const LISTED_ROLE: f64 = 151.0;
/// A file with hash and length in a snapshot or timestamp, without its name.
pub const LISTED: f64 = 115.0;
/// The same with its version alone.
pub const VERSION: f64 = 13.0;
/// `root.json`.
pub const ROOT: f64 = 1_567.0;
/// The signed image manifest.
pub const MANIFEST: f64 = 1_178.0;

/// Assumed: what an answer brings beside its body.
pub const HEADERS: f64 = 300.0;
/// Assumed: what a TLS 1.3 handshake brings to the node, mostly certificates.
pub const HANDSHAKE: f64 = 4_000.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Layout {
    Flat,
    /// 2^bits bins, each with a delegation of its own.
    Listed(u32),
    /// 2^bits bins in one line [TAP 15].
    Succinct(u32),
}

#[derive(Debug, Clone, Copy)]
pub struct Repository {
    pub images: f64,
    pub layout: Layout,
    /// Whether the snapshot lists length and hash of each bin.
    pub hashes: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Fleet {
    pub nodes: f64,
    /// Images that a node looks up in a day, each another one.
    pub images: f64,
    /// How often a node refreshes in a day.
    pub refreshes: f64,
    /// How often a snapshot is signed in a day.
    pub snapshots: f64,
    /// Images that are published in a day.
    pub publications: f64,
}

/// The fleet of the page: 100,000 nodes that look up 20 images, and 10,000 publications.
pub const FLEET: Fleet = Fleet { nodes: 1e5, images: 20.0, refreshes: 20.0, snapshots: 24.0, publications: 1e4 };

/// What one node receives in one day, and how often it asks.
#[derive(Debug, Clone, Copy)]
pub struct Day {
    pub requests: f64,
    pub snapshots: f64,
    /// `targets.json` of a flat repository; else bins.
    pub targets: f64,
    /// Timestamps, answers that there is no newer root, manifests, headers, handshakes.
    pub rest: f64,
}

impl Day {
    pub fn bytes(&self) -> f64 {
        self.snapshots + self.targets + self.rest
    }
}

impl Repository {
    pub fn bits(&self) -> Option<u32> {
        match self.layout {
            Layout::Flat => None,
            Layout::Listed(bits) | Layout::Succinct(bits) => Some(bits),
        }
    }

    pub fn bins(&self) -> f64 {
        self.bits().map_or(0.0, |bits| 2_f64.powi(bits as i32))
    }

    pub fn timestamp(&self) -> f64 {
        ROLE + "\"snapshot.json\":".len() as f64 + LISTED
    }

    pub fn snapshot(&self) -> f64 {
        let name = "\"bin-.json\":,".len() as f64 + hex_digits(self.bits());
        let bin = name + if self.hashes { LISTED } else { VERSION };
        ROLE + "\"targets.json\":".len() as f64 + LISTED + self.bins() * bin
    }

    /// `targets.json`.
    pub fn targets(&self) -> f64 {
        match self.layout {
            Layout::Flat => ROLE + self.images * IMAGE,
            Layout::Succinct(_) => ROLE + SUCCINCT,
            Layout::Listed(bits) => {
                // As many prefixes as the last hex digit leaves open.
                let digits = hex_digits(Some(bits));
                let prefixes = 2_f64.powi(4 * digits as i32 - bits as i32) * (digits + 3.0);
                ROLE + DELEGATION + self.bins() * (LISTED_ROLE + digits + prefixes)
            }
        }
    }

    /// A bin of average size.
    pub fn bin(&self) -> f64 {
        match self.layout {
            Layout::Flat => 0.0,
            _ => ROLE + self.images / self.bins() * IMAGE,
        }
    }

    /// What a node receives that has nothing but the pinned root, for its first image; and in how many answers.
    pub fn cold(&self) -> (f64, f64) {
        let bin = if self.layout == Layout::Flat { 0.0 } else { 1.0 };
        let answers = 5.0 + bin;
        let files = self.timestamp() + self.snapshot() + self.targets() + self.bin() + MANIFEST;
        (files + answers * HEADERS + HANDSHAKE, answers)
    }

    /// A node's day in a fleet. The node was there the day before.
    pub fn day(&self, fleet: &Fleet) -> Day {
        let Fleet { images, refreshes, snapshots, .. } = *fleet;
        // A refresh brings a snapshot if one was signed since the last.
        let new = refreshes.min(snapshots);
        let (lists, list) = match self.layout {
            Layout::Flat => (new, self.targets()),
            // No bin twice: the images are others each time, and far fewer than the bins.
            _ => (images, self.bin()),
        };
        // No newer root, timestamp, and what is new.
        let requests = 2.0 * refreshes + new + lists + images;
        Day {
            requests,
            snapshots: new * self.snapshot(),
            targets: lists * list,
            rest: refreshes * (self.timestamp() + HANDSHAKE) + images * MANIFEST + requests * HEADERS,
        }
    }

    /// The same day where a node looks up the images that it looked up the day before: a bin is fetched only if one of its images was published meanwhile.
    pub fn day_of_the_same(&self, fleet: &Fleet) -> Day {
        let day = self.day(fleet);
        if self.layout == Layout::Flat {
            return day;
        }
        let changed = 1.0 - (-fleet.publications / self.bins()).exp();
        let saved = fleet.images * (1.0 - changed);
        Day { requests: day.requests - saved, targets: day.targets * changed, rest: day.rest - saved * HEADERS, ..day }
    }

    /// What is written in a day: each publication a manifest, each snapshot with a timestamp, and the bins (or `targets.json`) that it changes.
    pub fn written(&self, fleet: &Fleet) -> f64 {
        let each = fleet.publications / fleet.snapshots;
        let lists = match self.layout {
            Layout::Flat => self.targets(),
            _ => self.bins() * (1.0 - (-each / self.bins()).exp()) * self.bin(),
        };
        fleet.publications * MANIFEST + fleet.snapshots * (self.snapshot() + self.timestamp() + lists)
    }
}

fn hex_digits(bits: Option<u32>) -> f64 {
    f64::from(bits.unwrap_or(0).div_ceil(4))
}

/// The number of bins that costs a node least, and the repository with it; succinct roles.
pub fn best(images: f64, hashes: bool, fleet: &Fleet) -> Repository {
    let of = |bits| Repository { images, layout: Layout::Succinct(bits), hashes };
    (1..=24).map(of).min_by(|a, b| a.day(fleet).bytes().total_cmp(&b.day(fleet).bytes())).unwrap()
}
