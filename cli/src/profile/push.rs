//! `plimsoll profile push`: signs profiles beside an image, bound to it. Each is held against Docker's default first: what machines would say of it tomorrow is said today.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::process::ExitCode;

use plimsoll::digest::Sha256;
use plimsoll::image::signable::MANIFEST_FILE;
use plimsoll::profiles::baseline::{Baseline, digests};
use plimsoll::profiles::error::Code;
use plimsoll::profiles::{Kind, run};
use plimsoll::publish::{NewTarget, PublishError};

use super::args::Push;
use super::{Stop, host, read_all};
use crate::publish::{Failed, Report, end, open, target_paths};
use crate::show;

pub(super) fn push(arguments: &Push) -> ExitCode {
    end(pushed(arguments), arguments.change.place.format)
}

fn pushed(arguments: &Push) -> Result<ExitCode, Failed> {
    let change = &arguments.change;
    let signers = change.keys.open(&change.place.repository)?;
    let mut files = read_all(&arguments.files, None).map_err(|stop| usage(&text(&stop)))?;
    check(arguments, &files)?;

    let mut repository = open(&change.place)?;
    let paths = target_paths(&repository)?;
    let path = |file: &str| paths.path(&arguments.image, file).map_err(|error| usage(&error.to_string()));
    let manifest = repository.signed_digest(&path(MANIFEST_FILE)?);
    let manifest = manifest
        .ok_or_else(|| usage(&format!("{} is not signed yet, so nothing can be bound to it", arguments.image)))?;
    let mut beside: BTreeMap<Kind, Sha256> = digests(&files);
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Run && !files.contains_key(kind)) {
        beside.extend(repository.signed_digest(&path(kind.file())?).map(|digest| (kind, digest)));
    }
    let draft = match files.remove(&Kind::Run) {
        Some(draft) => draft,
        None if repository.signs(&path(Kind::Run.file())?) => {
            return Err(
                usage("run.json is signed already and says which profiles belong to it; give it as well").into()
            );
        }
        None => format!("{{\"schema\":\"{}\"}}", run::SCHEMA).into_bytes(),
    };
    let bound = run::bound(&draft, manifest, &beside);
    let bound =
        bound.map_err(|refusal| usage(&format!("{} [{}]", refusal.clone().in_file(Kind::Run.file()), refusal.code)))?;
    files.insert(Kind::Run, bound);

    let mut contents: Vec<(String, Cursor<Vec<u8>>)> = Vec::new();
    for (kind, bytes) in files {
        contents.push((path(kind.file())?, Cursor::new(bytes)));
    }
    let mut said = format!("bound: to {} as sha256:{}\n", arguments.image, manifest.to_hex());
    let targets = contents.iter_mut().map(|(path, content)| {
        let content: &mut dyn Read = content;
        NewTarget { path: path.clone(), content }
    });
    let role = repository.add_targets(targets.collect(), arguments.role.as_deref(), &signers)?;
    for (path, _) in &contents {
        said.push_str(&format!("signed: {} by {role}\n", plimsoll::text::escaped(path)));
    }
    Report::new(said).published(&mut repository, &signers, change)
}

fn check(arguments: &Push, files: &BTreeMap<Kind, Vec<u8>>) -> Result<(), PublishError> {
    if let Err(refusals) = Baseline::default().check_unbound(files) {
        let is_only_more = refusals.iter().all(|refusal| refusal.code == Code::Loosens);
        let lines: Vec<String> = refusals.iter().map(|refusal| format!("{refusal} [{}]", refusal.code)).collect();
        if !(is_only_more && arguments.beyond_default) {
            let hint = if is_only_more { "; --beyond-default signs it all the same" } else { "" };
            return Err(usage(&format!("{}{hint}", lines.join("; "))));
        }
        for line in lines {
            show::diagnostic(&format!("warning: machines refuse this unless their baseline allows it: {line}\n"));
        }
    }
    match files.get(&Kind::AppArmor).map(|bytes| host::apparmor_parser(bytes)) {
        Some(Err(stop)) => Err(usage(&text(&stop))),
        Some(Ok(false)) => {
            show::diagnostic("not checked: apparmor.profile by apparmor_parser, which is not installed\n");
            Ok(())
        }
        Some(Ok(true)) | None => Ok(()),
    }
}

fn text(stop: &Stop) -> String {
    let (Stop::Refused(findings) | Stop::Undecided(findings)) = stop;
    let lines = findings.iter().map(|finding| format!("{} [{}]", finding.message, finding.code));
    lines.collect::<Vec<_>>().join("; ")
}

fn usage(text: &str) -> PublishError {
    PublishError::Usage(text.to_owned())
}
