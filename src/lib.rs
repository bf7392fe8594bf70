//! Decides whether a container image archive may be loaded.
//!
//! `docker load` checks nothing about who made an archive. This library verifies archives against metadata of The Update Framework (TUF)
//! before they are loaded, with no network if need be: TUF decides which manifest is the image `registry.example/team/app:1.4` *today*, the
//! manifest fixes the config digest, the config fixes the diff ids, and every layer's bytes are checked against them. It protects from
//! forged, changed, renamed and outdated images, and from archives that different loaders read differently.
//!
//! # Quick start
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//!
//! use plimsoll::client::{Client, DirSource, Store};
//! use plimsoll::verify::Verifier;
//!
//! // From a source that you trust. Archive and repository may come from anywhere.
//! let root = std::fs::read("test-repos/root.json")?;
//! let source = DirSource::repository(Path::new("test-repos/good"))?;
//! // `Store::folder` keeps what was trusted from one run to the next, which is what protects from rollback.
//! let client = Client::new(root, source, Store::in_memory());
//! let verifier = Verifier::new(client).with_image("registry.example/team/app:1.4".parse()?);
//!
//! let image = verifier.verify(Path::new("test-repos/good/app.tar")).into_image()?;
//! assert_eq!(image.layers().len(), 3);
//!
//! let verdict = verifier.verify(Path::new("test-repos/hostile/changed-layer/app.tar"));
//! assert!(!verdict.is_trusted());
//! assert_eq!(verdict.findings()[0].code(), "layer-diff-id-mismatch");
//! # Ok(())
//! # }
//! ```
//!
//! # How data flows
//!
//! One way. A module uses only modules to its left.
//!
//! ```text
//! bytes ──> metadata ──> trust ──> image ──> packages ──> verdict
//!           parse, keys   TUF 5.2-5.6  archive     lists,       findings,
//!           canonical     sans-I/O     inventory   databases    report
//!                           ▲
//!                     client: refresh (drives trust) + source + store
//!                     map: several clients, and who agrees
//! ```
//!
//! [`verify`] is the paved road through all of it. Each stage can be used on its own: [`trust`] does no I/O, so an async program can
//! drive it; [`client::Source`] brings a repository from elsewhere; [`map`] lets several repositories decide together; [`bundle`] carries what some
//! images need across an air gap; [`template`] says where the files of an image are in repositories of other layouts; [`image`] checks
//! an archive in memory, [`explain`] says who is trusted for a name, and [`image::write`](mod@image::write) hands on what was verified; [`packages`] reads package databases and lists, and compares them.
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `http` | `client::HttpSource`: repositories over HTTP and HTTPS, blocking, with rustls on ring. Off by default |
//! | `policy` | the module `policy`: a policy file that says by name which repository, root and checks an image needs. Off by default |
//! | `publish` | the module `publish`: repositories written, signed and kept up to date, with keys in files or behind tough's key sources. Brings what `tough` brings. Off by default |
//! | `tough` | `client::ToughSource`: repositories through any transport of the TUF library tough, blocking. Brings tough, tokio and a C library. Off by default |
//!
//! # What it does not do
//!
//! It starts no loader (the command `plimsoll load` does), and does not say that an image is free of flaws: only that it is the one that
//! was signed, with what was signed in it. "TUF 5.4.3" in these pages means the TUF specification 1.0.34.
//!
//! Numbers that bound untrusted input are in [`limits`], and can be changed.

pub mod bundle;
pub mod client;
pub mod digest;
mod disk;
pub mod duration;
pub mod explain;
pub mod image;
pub mod limits;
pub mod map;
pub mod metadata;
pub mod name;
pub mod packages;
#[cfg(feature = "policy")]
pub mod policy;
pub mod profiles;
#[cfg(feature = "publish")]
pub mod publish;
pub mod template;
pub mod text;
pub mod trust;
pub mod verdict;
pub mod verify;

/// The README's example, so that it is compiled and run as the others are.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;

/// The same of the page about packages.
#[cfg(doctest)]
#[doc = include_str!("../docs/packages.md")]
pub struct PackagesPage;
