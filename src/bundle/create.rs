//! A new bundle: written aside, checked as whoever gets it will check it, and renamed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::archive::Archives;
use super::check::{check, check_target_file, role_files, roots_between};
use super::contents::{ARCHIVES, ArchiveHint, CONTENTS, Contents, METADATA, TARGETS, is_archive_name};
use super::files::ImageFiles;
use super::report::Report;
use super::{Terms, unreadable, unwritable};
use crate::client::{DirSource, Source, Undecided, read_bounded, target_names};
use crate::disk;
use crate::name::ImageName;
use crate::packages::check::Mode;
use crate::text::quoted;
use crate::trust::Found;
use crate::verdict::Finding;
use crate::verify::Stop;

/// What a bundle is to hold.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// The images. Each must be signed.
    pub images: &'r [ImageName],
    /// Archives, each of which must verify as one or several of the images.
    pub archives: &'r [PathBuf],
    /// An earlier bundle, whose archives and package lists and such are left out where they are the same. What is made can only be imported where the
    /// earlier one was.
    pub since: Option<&'r Path>,
}

pub(super) fn create<S: Source>(
    terms: &Terms,
    source: S,
    request: &Request<'_>,
    output: &Path,
    report: &mut Report,
) -> Result<(), Stop> {
    free(output)?;
    let mut contents = Contents { images: request.images.to_vec(), ..Contents::default() };
    contents.images.sort();
    contents.images.dedup();
    let archives = archive_names(request.archives)?;
    let earlier = request.since.map(|since| Ok::<_, Stop>((since, Contents::read(since)?))).transpose()?;

    let beside = match output.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let aside = tempfile::Builder::new().prefix(disk::TEMPORARY).tempdir_in(beside);
    let aside = aside.map_err(|error| unwritable(beside, &error))?;
    // The folder inside has the permissions that the user's mask allows; the one around it nobody else can look into.
    let bundle = aside.path().join("bundle");
    for folder in [METADATA, TARGETS, ARCHIVES] {
        let folder = bundle.join(folder);
        fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    }
    let (others, platforms) = copy_signed(terms, source, &contents.images, &bundle)?;
    let source = DirSource::repository(&bundle).map_err(Undecided::from)?;
    for (file, from) in &archives {
        let to = bundle.join(ARCHIVES).join(file);
        copy(from, &to)?;
        let time = terms.time.unwrap_or_else(chrono::Utc::now);
        // All of it is there until something is left out.
        let archives = Archives { terms, source: &source, time, images: &contents.images, packages: Mode::Auto };
        let hint = archives.identify(file, &to, &platforms)?;
        contents.archives.push(hint);
    }
    write_contents(&contents, &bundle)?;
    check(terms, &bundle, report)?;

    if let Some((since, earlier)) = &earlier {
        leave_out(since, earlier, &mut contents, &others, &bundle)?;
        write_contents(&contents, &bundle)?;
        report.set_left_out(contents.left_out.clone());
        report.keep_archives(|file| !contents.leaves_out(ARCHIVES, file));
    }
    sync_all(&bundle)?;
    // A folder that has come there meanwhile is replaced only if it is empty.
    free(output)?;
    fs::rename(&bundle, output).map_err(|error| unwritable(output, &error))?;
    disk::sync(beside).map_err(|error| unwritable(beside, &error))?;
    report.set_written(output);
    Ok(())
}

fn free(output: &Path) -> Result<(), Stop> {
    if fs::symlink_metadata(output).is_err() {
        return Ok(());
    }
    let text = format!("{} is there already", quoted(&output.display().to_string()));
    Err(Stop::Undecided(vec![Finding::new("output-exists", text)]))
}

/// Each archive by the name that it gets.
fn archive_names(archives: &[PathBuf]) -> Result<Vec<(String, &Path)>, Stop> {
    let mut names = BTreeSet::new();
    let usage = |text: String| Stop::Undecided(vec![Finding::new("usage", text)]);
    let mut named = Vec::new();
    for path in archives {
        let shown = path.display().to_string();
        let name = path.file_name().and_then(|name| name.to_str()).filter(|name| is_archive_name(name));
        let name = name.ok_or_else(|| usage(format!("{} has no name for an archive", quoted(&shown))))?;
        if !path.is_file() {
            let text = format!("{} is not a file; `plimsoll export` makes one of a folder", quoted(&shown));
            return Err(usage(text));
        }
        if !names.insert(name) {
            return Err(usage(format!("two archives are called {}", quoted(name))));
        }
        named.push((name.to_owned(), path.as_path()));
    }
    Ok(named)
}

type Copied = (Vec<(String, Found)>, Vec<crate::image::manifest::Platform>);

/// The metadata and the targets, as a client gets them. Returns the targets that are no manifests, by name below `targets/`, and all platforms.
fn copy_signed<S: Source>(terms: &Terms, source: S, images: &[ImageName], bundle: &Path) -> Result<Copied, Stop> {
    let client = terms.client(source, terms.own_store());
    let mut session = client.refresh()?;
    let (mut others, mut platforms) = (Vec::new(), Vec::new());
    for image in images {
        let files = ImageFiles::find(&mut session, image, terms)?;
        let consistent = session.trusted().root().consistent_snapshot();
        for (found, is_manifest) in files.all() {
            // One that no client can bring is refused when it is fetched.
            let Some(name) = target_names(found.path(), found.file(), consistent).into_iter().next() else {
                return Err(Stop::from(crate::client::ClientError::from(crate::trust::TrustError::NoKnownHash {
                    file: found.path().to_owned(),
                })));
            };
            let to = target_file(bundle, &name)?;
            session.fetch_to_file(found, &to)?;
            if !is_manifest {
                others.push((name, found.clone()));
            }
        }
        platforms.extend(files.platforms);
    }
    platforms.sort();
    platforms.dedup();
    let trusted = session.trusted();
    let limit = trusted.rules().limits().root;
    let roots = roots_between(&terms.root, trusted.root(), trusted.rules(), |name| {
        let reader = client.source().metadata(name).map_err(Undecided::from)?;
        let reader = reader.ok_or_else(|| Undecided::Missing(name.to_owned()))?;
        Ok(read_bounded(reader, name, limit)?)
    })?;
    let roots = roots.iter().map(|(name, bytes)| (name.clone(), bytes.as_slice()));
    for (name, bytes) in roots.chain(role_files(trusted)) {
        let path = bundle.join(METADATA).join(name);
        fs::write(&path, bytes).map_err(|error| unwritable(&path, &error))?;
    }
    Ok((others, platforms))
}

/// Where a target goes. A signer is not trusted to choose paths on this machine; that of an image comes from the template, but once more is cheap.
pub(super) fn target_file(bundle: &Path, name: &str) -> Result<PathBuf, Stop> {
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) || name.contains('\0') {
        return Err(Undecided::from(crate::client::SourceError::Path(name.to_owned())).into());
    }
    let path = bundle.join(TARGETS).join(name);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    }
    Ok(path)
}

/// Takes out what the earlier bundle holds too, or left out itself.
fn leave_out(
    since: &Path,
    earlier: &Contents,
    contents: &mut Contents,
    others: &[(String, Found)],
    bundle: &Path,
) -> Result<(), Stop> {
    let remove = |path: &Path| fs::remove_file(path).map_err(|error| unwritable(path, &error));
    for (name, found) in others {
        let before = since.join(TARGETS).join(name);
        let is_same = match before.is_file() {
            true => check_target_file(&before, found)?.is_ok(),
            // Its name has its hash in it.
            false => earlier.leaves_out(TARGETS, name),
        };
        let (file, entry) = (bundle.join(TARGETS).join(name), format!("{TARGETS}{name}"));
        if is_same && !contents.left_out.contains(&entry) {
            remove(&file)?;
            contents.left_out.push(entry);
        }
    }
    for ArchiveHint { file, .. } in &contents.archives {
        let (before, now) = (since.join(ARCHIVES).join(file), bundle.join(ARCHIVES).join(file));
        if before.is_file() && is_same(&before, &now)? {
            remove(&now)?;
            contents.left_out.push(format!("{ARCHIVES}{file}"));
        }
    }
    Ok(())
}

/// Whether two files hold the same bytes.
fn is_same(a: &Path, b: &Path) -> Result<bool, Stop> {
    use std::io::{BufRead, BufReader};
    let open = |path: &Path| File::open(path).map_err(|error| unreadable(path, &error));
    let (mut x, mut y) = (BufReader::with_capacity(1 << 16, open(a)?), BufReader::with_capacity(1 << 16, open(b)?));
    loop {
        let left = x.fill_buf().map_err(|error| unreadable(a, &error))?;
        let right = y.fill_buf().map_err(|error| unreadable(b, &error))?;
        let n = left.len().min(right.len());
        if left.get(..n) != right.get(..n) || (n == 0 && left.len() != right.len()) {
            return Ok(false);
        }
        if n == 0 {
            return Ok(true);
        }
        x.consume(n);
        y.consume(n);
    }
}

/// Copies a file, and has it on disk.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Stop> {
    let mut reader = File::open(from).map_err(|error| unreadable(from, &error))?;
    let mut writer = File::create_new(to).map_err(|error| unwritable(to, &error))?;
    io::copy(&mut reader, &mut writer).and_then(|_| writer.sync_all()).map_err(|error| unwritable(to, &error))
}

fn write_contents(contents: &Contents, bundle: &Path) -> Result<(), Stop> {
    let path = bundle.join(CONTENTS);
    fs::write(&path, contents.to_json()).map_err(|error| unwritable(&path, &error))
}

/// Every file and folder of it, so that the rename lasts with all that it shows.
pub(super) fn sync_all(top: &Path) -> Result<(), Stop> {
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let failed = |error: io::Error| unwritable(&folder, &error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(entry.path());
            } else {
                File::open(entry.path()).and_then(|file| file.sync_all()).map_err(failed)?;
            }
        }
        disk::sync(&folder).map_err(failed)?;
    }
    Ok(())
}
