//! `plimsoll profile fetch`: from an image to files and options.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use plimsoll::digest::Sha256;
use plimsoll::name::ImageName;
use plimsoll::policy::{Policy, Ruling};
use plimsoll::profiles::apparmor::AppArmorProfiles;
use plimsoll::profiles::baseline::Baseline;
use plimsoll::profiles::options::shell_line;
use plimsoll::profiles::{Confinement, Kind};
use plimsoll::text::{escaped, quoted};
use plimsoll::verify::Govern;
use serde_json::{Map, Value, json};

use super::args::{Fetch, Lsm};
use super::signed::{ById, Lookup, Signed, ambiguous};
use super::{Finding, Stop, baseline, end, engine, host};
use crate::authority::{AnySource, Chosen};
use crate::{output, show};

pub(super) fn fetch(arguments: &Fetch) -> ExitCode {
    end(&arguments.image, arguments.format, fetched(arguments))
}

fn fetched(arguments: &Fetch) -> Result<(Map<String, Value>, String), Stop> {
    let authority = &arguments.authority;
    match authority.chosen()? {
        Chosen::Policy(file) => {
            if let Some(option) = arguments.baseline.said() {
                let text = format!("{option}: that is for the policy to say, which is {}", file.display());
                return Err(Stop::undecided(Finding::new("usage", text)));
            }
            let governing = authority.governing(&file, false)?;
            by_terms(arguments, &governing, &|name| of_scope(governing.policy(), name))
        }
        Chosen::One(_) | Chosen::Map(_) => {
            let baseline = baseline(&arguments.baseline)?;
            by_terms(arguments, &authority.terms(None)?, &|_| Ok(baseline.clone()))
        }
    }
}

/// The baseline of the scope that governs a name.
fn of_scope(policy: &Policy, name: &ImageName) -> Result<Baseline, Stop> {
    match policy.rule(name) {
        Ruling::Rule(_, rule) => {
            rule.run.baseline().map_err(|error| Stop::undecided(Finding::new(error.code(), show::chain(&error))))
        }
        // What is signed under such a name is not even looked for.
        Ruling::Refused(..) | Ruling::NoScope => {
            Err(Stop::refused(Finding::new("policy-no-scope", format!("{name}: no scope of the policy admits it"))))
        }
    }
}

/// By whoever is trusted for each name, and what this machine allows to its image.
fn by_terms<G: Govern<AnySource>>(
    arguments: &Fetch,
    governing: &G,
    baseline: &dyn Fn(&ImageName) -> Result<Baseline, Stop>,
) -> Result<(Map<String, Value>, String), Stop> {
    let mut lookup = Lookup::new(governing);
    let (signed, confinement, passed_over) = match engine::image_id(&arguments.image) {
        Some(id) => by_id(lookup.by_id(&engine::names(arguments.engine, id)?, id)?, baseline)?,
        None => {
            let name = ImageName::parse(&arguments.image).map_err(|error| {
                Stop::undecided(Finding::new("usage", format!("{}: {error}", quoted(&arguments.image))))
            })?;
            let signed = lookup.by_name(&name)?;
            let confinement = confined(&signed, &baseline(&name)?)?;
            (signed, confinement, Vec::new())
        }
    };
    if let Some(bytes) = signed.files.get(&Kind::AppArmor) {
        // For its names alone: whether it may only complain was decided with the baseline.
        let profiles = AppArmorProfiles::parse(bytes, true);
        let profiles = profiles.map_err(|refusal| Stop::from(vec![refusal.in_file(Kind::AppArmor.file())]))?;
        let written = arguments.output.join(Kind::AppArmor.file());
        host::names_are_free(profiles.names(), bytes, &written, arguments.replace_apparmor.as_deref())?;
        if !host::apparmor_parser(bytes)? {
            show::diagnostic("not checked: apparmor.profile by apparmor_parser, which is not installed\n");
        }
    }
    let (confinement, left_out) = for_kernel(confinement, arguments.lsm);
    let folder = write(&signed.files, arguments)?;
    for why in &passed_over {
        show::diagnostic(&format!("passed over: {why}\n"));
    }
    let (mut object, text) = report(arguments, &signed, &confinement, &left_out, &folder);
    object.insert("passed_over".to_owned(), json!(passed_over));
    Ok((object, text))
}

/// The profiles of an image, held against it and against a baseline.
fn confined(signed: &Signed, baseline: &Baseline) -> Result<Confinement, Stop> {
    Ok(baseline.check(&signed.files, signed.manifest)?)
}

/// The same of an image that may have several names: no one knows under which of them it will run, so its profiles must be within the baseline of each.
fn by_id(
    found: ById,
    baseline: &dyn Fn(&ImageName) -> Result<Baseline, Stop>,
) -> Result<(Signed, Confinement, Vec<String>), Stop> {
    let ById { first, others, passed_over } = found;
    let under = |signed: &Signed| {
        let confinement = baseline(&signed.name).and_then(|baseline| confined(signed, &baseline));
        confinement.map_err(|stop| stop.of(&signed.name))
    };
    let confinement = under(&first)?;
    for other in &others {
        if under(other)? != confinement {
            return Err(ambiguous(&first, other, "this machine has other limits for it"));
        }
    }
    Ok((first, confinement, passed_over))
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
        Stop::undecided(Finding::new("profile-unwritable", format!("cannot write to {shown}: {error}")))
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
            return Err(Stop::undecided(Finding::new("profile-unwritable", text)));
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
