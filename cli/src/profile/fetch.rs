//! `plimsoll profile fetch`: from an image to files and options.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plimsoll::client::{Client, Session, Source, Store};
use plimsoll::digest::Sha256;
use plimsoll::image::check::SignedImage;
use plimsoll::image::error::Refusal;
use plimsoll::image::manifest::{Document, Platform};
use plimsoll::image::signable::MANIFEST_FILE;
use plimsoll::limits::ArchiveLimits;
use plimsoll::name::ImageName;
use plimsoll::profiles::apparmor::AppArmorProfiles;
use plimsoll::profiles::options::shell_line;
use plimsoll::profiles::{Confinement, Kind};
use plimsoll::template::TargetPaths;
use plimsoll::text::{escaped, quoted};
use plimsoll::trust::Absence;
use serde_json::{Map, Value, json};

use super::args::{Fetch, Lsm};
use super::{Finding, Stop, baseline, end, engine, host};
use crate::{input, output, repository, show, state};

pub(super) fn fetch(arguments: &Fetch) -> ExitCode {
    end(&arguments.image, arguments.format, fetched(arguments))
}

/// What is signed of an image.
struct Signed {
    name: ImageName,
    /// The digest of `manifest.json`, whichever document it is.
    manifest: Sha256,
    files: BTreeMap<Kind, Vec<u8>>,
}

fn fetched(arguments: &Fetch) -> Result<(Map<String, Value>, String), Stop> {
    let undecided = |code, message: String| Stop::Undecided(Finding::new(code, message));
    let baseline = baseline(&arguments.baseline)?;
    let root = input::root(&arguments.root).map_err(|error| undecided("pinned-root-unreadable", error))?;
    let source = repository::whole(&arguments.repository)
        .map_err(|error| undecided("repository-unreadable", show::chain(&error)))?;
    let store = arguments.store.clone().map_or_else(|| state::default_store(&root), Ok);
    let store = store.map_err(|error| undecided("usage", error))?;
    let mut client = Client::new(root, source, Store::folder(store)).with_time_memory();
    if let Some(time) = arguments.time {
        client = client.with_time(time);
    }
    if let Some(max_staleness) = arguments.max_staleness {
        client = client.with_max_staleness(max_staleness);
    }
    let id = engine::image_id(&arguments.image);
    let names = match id {
        Some(id) => engine::names(arguments.engine, id)?,
        None => {
            let name = ImageName::parse(&arguments.image);
            vec![name.map_err(|error| undecided("usage", format!("{}: {error}", quoted(&arguments.image))))?]
        }
    };
    let paths = arguments.target_path.clone().unwrap_or_default();
    let signed = {
        let mut lookup = Lookup { session: client.refresh()?, paths };
        match id {
            None => {
                let name = names.first().cloned().ok_or_else(|| undecided("usage", "no image".to_owned()))?;
                lookup.signed(&name, None)?.ok_or_else(|| not_signed(&name, "it is not signed"))?
            }
            Some(id) => lookup.by_id(&names, id)?,
        }
    };
    if signed.files.is_empty() {
        let text = format!("{}: no profile is signed beside it", signed.name);
        return Err(Stop::refused(Finding::new("profile-missing", text)));
    }
    let confinement = baseline.check(&signed.files, signed.manifest)?;
    if let Some(bytes) = signed.files.get(&Kind::AppArmor) {
        let profiles = AppArmorProfiles::parse(bytes, arguments.baseline.allow_unconfined);
        let profiles = profiles.map_err(|refusal| Stop::from(vec![refusal.in_file(Kind::AppArmor.file())]))?;
        let written = arguments.output.join(Kind::AppArmor.file());
        host::names_are_free(profiles.names(), bytes, &written, arguments.replace_apparmor.as_deref())?;
        if !host::apparmor_parser(bytes)? {
            show::diagnostic("not checked: apparmor.profile by apparmor_parser, which is not installed\n");
        }
    }
    let (confinement, left_out) = for_kernel(confinement, arguments.lsm);
    let folder = write(&signed.files, arguments)?;
    Ok(report(arguments, &signed, &confinement, &left_out, &folder))
}

struct Lookup<'c, S> {
    session: Session<'c, S>,
    paths: TargetPaths,
}

impl<S: Source> Lookup<'_, S> {
    /// What is signed at a path of an image; `None` only where all who may sign it were asked and none does.
    fn file(&mut self, name: &ImageName, file: &str) -> Result<Option<Vec<u8>>, Stop> {
        let path = self.paths.path(name, file).map_err(|error| not_signed(name, &error.to_string()))?;
        match self.session.find(&path)? {
            Ok(found) => Ok(Some(self.session.fetch(&found)?)),
            Err(Absence::NotListed) => Ok(None),
            Err(absence) => Err(not_signed(name, &absence.to_string())),
        }
    }

    /// What is signed of an image; with an ID, only if it is that image's. `None` if no image is signed under this name, or another.
    fn signed(&mut self, name: &ImageName, id: Option<Sha256>) -> Result<Option<Signed>, Stop> {
        let limits = ArchiveLimits::default();
        let Some(bytes) = self.file(name, MANIFEST_FILE)? else { return Ok(None) };
        let manifest = Sha256::of(&bytes);
        // What a reference with a digest selects, and of an index that the platform's manifest is listed, is checked there.
        let ids = match Document::parse(&bytes, &limits).map_err(|refusal| of_image(&refusal))? {
            Document::Manifest(document) => {
                SignedImage::from_manifest(name, &bytes, None, &limits).map_err(|refusal| of_image(&refusal))?;
                vec![manifest, document.config.digest]
            }
            // An index; there is no other kind.
            _ => {
                let platform = Platform::host();
                match self.file(name, &platform.target_file())? {
                    Some(own) => {
                        SignedImage::from_index(name, &bytes, &platform, &own, &limits)
                            .map_err(|refusal| of_image(&refusal))?;
                        let config = match Document::parse(&own, &limits).map_err(|refusal| of_image(&refusal))? {
                            Document::Manifest(document) => Some(document.config.digest),
                            _ => None,
                        };
                        [manifest, Sha256::of(&own)].into_iter().chain(config).collect()
                    }
                    None => return Err(not_signed(name, "no manifest is signed for this machine's platform")),
                }
            }
        };
        if id.is_some_and(|id| !ids.contains(&id)) {
            return Ok(None);
        }
        let mut files = BTreeMap::new();
        for kind in Kind::ALL {
            files.extend(self.file(name, kind.file())?.map(|bytes| (kind, bytes)));
        }
        Ok(Some(Signed { name: name.clone(), manifest, files }))
    }

    /// What is signed of the image with an ID, under those of its names that are signed for it. They must agree.
    fn by_id(&mut self, names: &[ImageName], id: Sha256) -> Result<Signed, Stop> {
        let mut all: Vec<Signed> = Vec::new();
        for name in names {
            all.extend(self.signed(name, Some(id))?);
        }
        let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut all = all.into_iter();
        let Some(first) = all.next() else {
            let found =
                if shown.is_empty() { "it has no name".to_owned() } else { format!("tried {}", shown.join(", ")) };
            let text = format!("sha256:{}: under none of its names is this image signed; {found}", id.to_hex());
            return Err(Stop::refused(Finding::new("image-not-signed", text)));
        };
        if let Some(other) = all.find(|other| other.files != first.files) {
            let text = format!(
                "beside {} other profiles are signed than beside {}; say which name is meant",
                first.name, other.name
            );
            return Err(Stop::refused(Finding::new("profile-ambiguous", text)));
        }
        Ok(first)
    }
}

fn not_signed(name: &ImageName, why: &str) -> Stop {
    Stop::refused(Finding::new("image-not-signed", format!("{name}: not signed: {why}")))
}

fn of_image(refusal: &Refusal) -> Stop {
    Stop::refused(Finding {
        expected: refusal.expected.clone(),
        found: refusal.found.clone(),
        ..Finding::new(refusal.code.as_str(), refusal.to_string())
    })
}

/// Of AppArmor and SELinux what the kernel has, or what was asked for; and what is left out.
fn for_kernel(mut confinement: Confinement, lsm: Lsm) -> (Confinement, Vec<&'static str>) {
    let (apparmor, selinux) = match lsm {
        Lsm::Auto => (host::has_apparmor(), host::has_selinux()),
        Lsm::Apparmor => (true, false),
        Lsm::Selinux => (false, true),
        Lsm::Both => (true, true),
        Lsm::None => (false, false),
    };
    let mut left_out = Vec::new();
    if confinement.apparmor().is_some() && !apparmor {
        left_out.push("AppArmor");
        confinement = confinement.without_apparmor();
    }
    if confinement.selinux().is_some() && !selinux {
        left_out.push("SELinux");
        confinement = confinement.without_selinux();
    }
    (confinement, left_out)
}

/// Writes the profiles, each of which takes its name when all are whole. The folder comes back as an absolute path.
fn write(files: &BTreeMap<Kind, Vec<u8>>, arguments: &Fetch) -> Result<PathBuf, Stop> {
    let folder = &arguments.output;
    let failed = |error: std::io::Error| {
        let shown = quoted(&folder.display().to_string()).to_string();
        Stop::Undecided(Finding::new("profile-unwritable", format!("cannot write to {shown}: {error}")))
    };
    fs::create_dir_all(folder).map_err(failed)?;
    let absolute = fs::canonicalize(folder).map_err(failed)?;
    if absolute.to_str().is_none_or(|path| path.chars().any(char::is_control)) {
        return Err(failed(std::io::Error::other("its name cannot be given to an engine")));
    }
    let mut whole = Vec::new();
    for (kind, bytes) in files {
        let path = absolute.join(kind.file());
        let is_there = fs::symlink_metadata(&path).is_ok();
        if is_there && fs::read(&path).is_ok_and(|found| found == *bytes) {
            continue;
        }
        if is_there && !arguments.force {
            let shown = quoted(&path.display().to_string()).to_string();
            let text = format!("{shown} is there already, and differs; --force replaces it");
            return Err(Stop::Undecided(Finding::new("profile-unwritable", text)));
        }
        let mut file = output::new_file(&absolute).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        whole.push((file, path));
    }
    for (file, path) in whole {
        file.persist(path).map_err(|error| failed(error.error))?;
    }
    Ok(absolute)
}

fn report(
    arguments: &Fetch,
    signed: &Signed,
    confinement: &Confinement,
    left_out: &[&'static str],
    folder: &Path,
) -> (Map<String, Value>, String) {
    let program = arguments.engine.program();
    let path = |kind: Kind| folder.join(kind.file()).display().to_string();
    let options = confinement.options(arguments.engine.engine(), &path);
    let mut load: Vec<Vec<String>> = Vec::new();
    if confinement.apparmor().is_some() {
        load.push(["apparmor_parser", "-r", "-W", &path(Kind::AppArmor)].map(str::to_owned).to_vec());
    }
    if confinement.selinux().is_some() {
        load.push(["semodule", "-i", &path(Kind::Selinux)].map(str::to_owned).to_vec());
    }
    show::diagnostic(&format!(
        "fetched: the profiles of {}, bound to sha256:{}\n",
        signed.name,
        signed.manifest.to_hex()
    ));
    for kind in signed.files.keys() {
        show::diagnostic(&format!("  {}\n", escaped(&path(*kind))));
    }
    for words in &load {
        show::diagnostic(&format!("  load it before the first container: {}\n", shell_line(words)));
    }
    for kind in left_out {
        show::diagnostic(&format!(
            "warning: this kernel has no {kind}, so the options leave that profile out (--lsm)\n"
        ));
    }
    let files: Vec<Value> = signed
        .files
        .iter()
        .map(|(kind, bytes)| json!({"file": kind.file(), "path": path(*kind), "sha256": Sha256::of(bytes).to_hex()}))
        .collect();
    let object = Map::from_iter([
        ("image".to_owned(), json!(signed.name.to_string())),
        ("manifest".to_owned(), json!(format!("sha256:{}", signed.manifest.to_hex()))),
        ("engine".to_owned(), json!(program)),
        ("files".to_owned(), json!(files)),
        ("options".to_owned(), json!(options)),
        ("load".to_owned(), json!(load)),
        ("left_out".to_owned(), json!(left_out)),
    ]);
    (object, format!("{}\n", shell_line(&options)))
}
