//! Every number that bounds untrusted input, each with its reason.
//!
//! Sizes are in bytes. A limit is the last accepted value: input of exactly that size passes. All are enforced before memory is
//! used, and all can be changed by whoever embeds the library; those of archives by the command too (`--limit`). Whoever runs into one of
//! these is told its name.

use std::fmt;
use std::time::Duration;

use crate::text::quoted;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// What bounds role metadata and the walk over it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetadataLimits {
    /// One `root.json`. Real ones are below 10 KiB; 512 KiB leaves room for post-quantum keys. Default 512 KiB.
    pub root: u64,
    /// `timestamp.json` names one file and is fetched on every refresh. Default 16 KiB.
    pub timestamp: u64,
    /// `snapshot.json` where the timestamp lists no length. 16,384 hash bins take about 1 MiB. Default 16 MiB.
    pub snapshot: u64,
    /// `targets.json` or a delegated role where the snapshot lists no length. Default 64 MiB.
    pub targets: u64,
    /// The most that a listed length may claim, whatever the role. Default 1 GiB.
    pub listed: u64,
    /// Root rotations that one refresh follows. Default 1,024.
    pub root_rotations: u32,
    /// Roles that one search for a target visits, the top-level targets role not counted. Default 256.
    pub delegations: u32,
    /// Signatures on one document. Default 1,024.
    pub signatures: usize,
    /// Key ids that one role lists. Default 1,024.
    pub keys: usize,
    /// A target that is read into memory (manifests, package lists, profiles). Default 256 MiB, the cap for package lists.
    pub target_in_memory: u64,
}

impl Default for MetadataLimits {
    fn default() -> Self {
        Self {
            root: 512 * KIB,
            timestamp: 16 * KIB,
            snapshot: 16 * MIB,
            targets: 64 * MIB,
            listed: GIB,
            root_rotations: 1024,
            delegations: 256,
            signatures: 1024,
            keys: 1024,
            target_in_memory: 256 * MIB,
        }
    }
}

/// What bounds one request to a repository over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Looking up the name, connecting and agreeing on TLS. A server that is there answers within a second, over a satellite too.
    /// Default 10 s.
    pub connect: Duration,
    /// All of it, redirects and body included: who holds a request open for longer keeps an update away. Default 5 min.
    pub request: Duration,
    /// How long nothing may arrive, how long the headers may take, and the time over which [`rate`](Self::rate) is the average. It is
    /// also the grace at the start. Long enough for a mobile network to lose and find its connection. Default 20 s.
    pub window: Duration,
    /// Bytes per second that a body must bring on average over each window; only the time spent waiting counts. A trickle is an
    /// attack: it holds an update up as well as an error would, but shows none. The slowest networks in use (GPRS, some 5 KiB/s) are
    /// well above. Default 1 KiB/s.
    pub rate: u64,
    /// Redirects that one request follows: to a mirror, and from there to storage. Default 5.
    pub redirects: u32,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(5 * 60),
            window: Duration::from_secs(20),
            rate: KIB,
            redirects: 5,
        }
    }
}

/// Nesting of a JSON document. Real ones need 6; the number protects the stack.
pub const JSON_DEPTH: usize = 64;

/// A map file. It is the operator's, so this only keeps a wrong path from filling memory; a mapping takes some 200 bytes.
pub const MAP_FILE: u64 = MIB;

/// A policy file. It is the operator's, so this only keeps a wrong path from filling memory; a scope takes some 500 bytes.
pub const POLICY_FILE: u64 = MIB;

/// Packages in one database of installed packages. All that Debian has are some 70,000; each takes some 200 bytes of memory, and may come from
/// 40 bytes of input.
pub const PACKAGES: usize = 250_000;

/// What bounds an image archive.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveLimits {
    /// `manifest.json` and `index.json` of an archive. containers/image refuses more; real ones are a few KiB. Default 1 MiB.
    pub control_file: u64,
    /// `oci-layout` and `repositories`: a line each. Default 64 KiB.
    pub small_control_file: u64,
    /// An image manifest or index. The limit of registries. Default 4 MiB.
    pub manifest: u64,
    /// An image config. The limit of containers/image. Default 4 MiB.
    pub config: u64,
    /// A PAX header or a GNU long name. Go's limit, checked before anything is buffered. Default 1 MiB.
    pub special_header: u64,
    /// A path in a tar header. Default 4 KiB, as Linux's `PATH_MAX`.
    pub path: usize,
    /// Entries of an archive: 3 per layer plus blobs; loaders handle far less. Default 20,000.
    pub entries: usize,
    /// The paths of all entries together, for they are kept in memory. 20,000 entries as `docker save` names them take less.
    /// Default 4 MiB.
    pub paths: usize,
    /// The documents of one archive together (manifests, indexes, configs), for a few tens of bytes of memory go to each of theirs.
    /// An index of 128 platforms takes about 1 MiB. Default 16 MiB.
    pub documents: u64,
    /// Images of an archive. Each has to be signed. Default 64.
    pub images: usize,
    /// Layers of an image; well above what graph drivers can stack. Default 512.
    pub layers: usize,
    /// Children of an index. Real ones have a few dozen. Default 128.
    pub index_children: usize,
    /// Names that an archive gives an image. They must all be signed anyway. Default 16.
    pub names: usize,
    /// One layer, decompressed. Large model layers exist. Default 32 GiB.
    pub layer: u64,
    /// All layers of an archive together, decompressed. Default 128 GiB.
    pub unpacked: u64,
    /// The archive itself: what a compressed one decompresses to, the copy of one that comes from a pipe, or all files of a folder. It is the
    /// room that a copy takes on disk. Default 128 GiB.
    pub archive: u64,
    /// Decompressed bytes per compressed byte, counted after [`ratio_free`](Self::ratio_free). Ordinary layers are far below; a gzip
    /// bomb reaches 1,000. Default 200.
    pub ratio: u64,
    /// How much a layer, or an archive, may decompress to before the ratio counts, for layers may hold large empty files. Default 1 GiB.
    pub ratio_free: u64,
    /// Window of a zstd frame, as a power of two; the archive chooses it and it is memory. Default 27 (128 MiB).
    pub zstd_window_log: u32,
    /// What decompressing an xz stream may take; the archive chooses it. `xz -9`, with a dictionary of 64 MiB, takes 65. Default 80 MiB.
    pub xz_memory: u64,
    /// Entries of all layers together, where packages are checked: each takes some 200 bytes of memory beside its path. A full desktop has
    /// 500,000. Default 4,000,000.
    pub files: usize,
    /// The paths and link targets of these entries together. Default 512 MiB.
    pub file_paths: u64,
    /// One file of a package database, which is read into memory. Real ones are below 64 MiB. Default 256 MiB.
    pub database: u64,
    /// All files of package databases together, those that a later layer replaces counted too. Default 512 MiB.
    pub databases: u64,
}

/// A limit and its name. Made by [`bound`], so that the name is the field's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    name: &'static str,
    most: u64,
}

impl Bound {
    pub(crate) fn new(name: &'static str, most: impl TryInto<u64>) -> Self {
        Self { name, most: most.try_into().unwrap_or(u64::MAX) }
    }

    pub(crate) fn allows(self, found: impl TryInto<u64>) -> bool {
        found.try_into().is_ok_and(|found| found <= self.most)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {} (limit {})", self.most, self.name.replace('_', "-"))
    }
}

/// `bound!(limits, layers)`: a limit with its name.
macro_rules! bound {
    ($limits:expr, $name:ident) => {
        $crate::limits::Bound::new(stringify!($name), $limits.$name)
    };
}
pub(crate) use bound;

/// A limit that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// There is no limit of this name.
    #[error("there is no limit {}; there are {}", quoted(.0), ArchiveLimits::NAMES.join(", ").replace('_', "-"))]
    Unknown(String),
    /// The value is more than the limit can be.
    #[error("{1} is too much for the limit {0}")]
    TooMuch(&'static str, u64),
}

impl ArchiveLimits {
    /// How much `stored` bytes may decompress to.
    pub(crate) fn unpacked_by_ratio(&self, stored: u64) -> u64 {
        self.ratio_free.saturating_add(stored.saturating_mul(self.ratio))
    }
}

/// What the names of the fields are good for.
macro_rules! named {
    ($($name:ident)+) => {
        impl ArchiveLimits {
            /// The names of all limits, as their fields are called.
            pub const NAMES: &[&str] = &[$(stringify!($name)),+];

            /// Sets the limit called `name`, which may be written with `-` for `_`.
            ///
            /// # Errors
            ///
            /// [`LimitError`] for an unknown name, and for a value that does not fit.
            pub fn set(&mut self, name: &str, value: u64) -> Result<(), LimitError> {
                // Every field is here, or this does not compile.
                let Self { $($name),+ } = self;
                match name.replace('-', "_").as_str() {
                    $(stringify!($name) => {
                        *$name = value.try_into().map_err(|_| LimitError::TooMuch(stringify!($name), value))?;
                    })+
                    _ => return Err(LimitError::Unknown(name.to_owned())),
                }
                Ok(())
            }
        }
    };
}

named! {
    control_file small_control_file manifest config special_header path entries paths documents images layers index_children names layer
    unpacked archive ratio ratio_free zstd_window_log xz_memory files file_paths database databases
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            control_file: MIB,
            small_control_file: 64 * KIB,
            manifest: 4 * MIB,
            config: 4 * MIB,
            special_header: MIB,
            path: 4096,
            entries: 20_000,
            paths: 4 * 1024 * 1024,
            documents: 16 * MIB,
            images: 64,
            layers: 512,
            index_children: 128,
            names: 16,
            layer: 32 * GIB,
            unpacked: 128 * GIB,
            archive: 128 * GIB,
            ratio: 200,
            ratio_free: GIB,
            zstd_window_log: 27,
            xz_memory: 80 * MIB,
            files: 4_000_000,
            file_paths: 512 * MIB,
            database: 256 * MIB,
            databases: 512 * MIB,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_can_be_set_by_the_name_that_messages_give_it() {
        for name in ArchiveLimits::NAMES {
            let (mut one, mut other) = (ArchiveLimits::default(), ArchiveLimits::default());
            one.set(name, 7).unwrap();
            other.set(&name.replace('_', "-"), 7).unwrap();
            assert_eq!(one, other);
            assert_ne!(one, ArchiveLimits::default(), "{name}");
        }
        let mut limits = ArchiveLimits::default();
        limits.set("layer", u64::MAX).unwrap();
        assert_eq!(bound!(limits, layer).to_string(), "at most 18446744073709551615 (limit layer)");
        limits.set("small-control-file", 5).unwrap();
        let bound = bound!(limits, small_control_file);
        assert_eq!(bound.to_string(), "at most 5 (limit small-control-file)");
        assert!(bound.allows(5_u64) && !bound.allows(6_u64) && !bound.allows(u128::MAX));
        assert_eq!(limits.set("zstd-window-log", 1 << 40), Err(LimitError::TooMuch("zstd_window_log", 1 << 40)));
        let error = limits.set("layer\n", 1).unwrap_err().to_string();
        assert!(error.starts_with("there is no limit \"layer\\n\"; there are control-file, "), "{error}");
    }
}
