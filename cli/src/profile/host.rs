//! What this machine has: AppArmor and SELinux in its kernel, profiles that are loaded, and the parser that has the last word on a profile's syntax.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use plimsoll::text::{escaped, quoted};

use super::{Finding, Stop};

const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
const INSTALLED: &str = "/etc/apparmor.d";
/// Compiling a profile takes milliseconds; its author decides how long.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);
/// Files that are looked at in `/etc/apparmor.d`; a host has some hundred.
const FILES_MAX: usize = 4096;
const FILE_MAX: u64 = 1024 * 1024;
const LOADED_MAX: u64 = 16 * 1024 * 1024;

/// Whether the kernel has AppArmor, and it is on.
pub(super) fn has_apparmor() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y")
}

/// Whether the kernel has SELinux, and a policy is loaded.
pub(super) fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/policyvers").exists()
}

/// Asks `apparmor_parser`, which loads nothing. False if there is none.
pub(super) fn apparmor_parser(profile: &[u8]) -> Result<bool, Stop> {
    let Some(program) = program() else { return Ok(false) };
    let failed =
        |what: String| Stop::undecided(Finding::new("apparmor-parser-failed", format!("apparmor_parser: {what}")));
    let mut file = tempfile::NamedTempFile::new().map_err(|error| failed(error.to_string()))?;
    file.write_all(profile).and_then(|()| file.flush()).map_err(|error| failed(error.to_string()))?;
    let mut command = Command::new(program);
    command.args(["--skip-kernel-load", "--skip-cache", "--"]).arg(file.path());
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let stderr = child.stderr.take();
    let said = thread::spawn(move || {
        let mut said = Vec::new();
        let _as_far_as_it_goes = stderr.map(|stderr| stderr.take(64 * 1024).read_to_end(&mut said));
        String::from_utf8_lossy(&said).trim().to_owned()
    });
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|error| failed(error.to_string()))? {
            Some(status) => break status,
            None if start.elapsed() > PATIENCE => {
                let _ended_or_not = child.kill().and_then(|()| child.wait());
                return Err(failed(format!("it has not ended after {} s", PATIENCE.as_secs())));
            }
            None => thread::sleep(POLL),
        }
    };
    if status.success() {
        return Ok(true);
    }
    let said = said.join().unwrap_or_default();
    let path = file.path().display().to_string();
    let said = said.replace(&path, "apparmor.profile");
    let text = format!("apparmor.profile: apparmor_parser refuses it ({status}): {}", escaped(&said));
    Err(Stop::refused(Finding::new("profile-refused-by-parser", text)))
}

/// Administrators' programs are not in everybody's PATH.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter(|folder| folder.is_absolute());
    let folders = folders.chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join("apparmor_parser")).find(|program| program.is_file())
}

/// Whether a host profile of one of these names would be replaced: one that is loaded or installed, and is not the very same file. `written` is where this file was
/// written the last time.
pub(super) fn names_are_free(
    names: &[String],
    profile: &[u8],
    written: &Path,
    replace: Option<&str>,
) -> Result<(), Stop> {
    names_are_free_in(Path::new(LOADED), Path::new(INSTALLED), names, profile, written, replace)
}

fn names_are_free_in(
    loaded: &Path,
    installed: &Path,
    names: &[String],
    profile: &[u8],
    written: &Path,
    replace: Option<&str>,
) -> Result<(), Stop> {
    let files = installed_files(installed);
    let is_same = |path: &Path| bounded(path, FILE_MAX).is_some_and(|bytes| bytes == profile);
    if is_same(written) || files.iter().any(|path| is_same(path)) {
        return Ok(());
    }
    // Readable by root alone on some systems; then what is installed has to do.
    let loaded = bounded(loaded, LOADED_MAX).unwrap_or_default();
    let loaded = String::from_utf8_lossy(&loaded);
    for name in names.iter().filter(|name| replace != Some(name.as_str())) {
        let is_loaded = loaded.lines().any(|line| line.rsplit_once(" (").is_some_and(|(other, _)| other == name));
        let by_file =
            files.iter().find(|path| bounded(path, FILE_MAX).is_some_and(|bytes| names_profile(&bytes, name)));
        let place = match (is_loaded, by_file) {
            (_, Some(path)) => format!("in {}", quoted(&path.display().to_string())),
            (true, None) => "loaded".to_owned(),
            (false, None) => continue,
        };
        let text = format!(
            "apparmor.profile: this machine has another profile {name}, {place}; --replace-apparmor {name} lets this one take its place"
        );
        return Err(Stop::refused(Finding::new("profile-name-taken", text)));
    }
    Ok(())
}

fn installed_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    paths.take(FILES_MAX).collect()
}

fn bounded(path: &Path, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    fs::File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether a file has a profile of this name: as the word after `profile`, or at the head of a line that opens a block.
fn names_profile(bytes: &[u8], name: &str) -> bool {
    String::from_utf8_lossy(bytes).lines().any(|line| {
        let mut words = line.split_whitespace();
        let first = words.next();
        let named = if first == Some("profile") { words.next() } else { first.filter(|_| line.contains('{')) };
        named.is_some_and(|word| word.trim_matches(['"', '{']) == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_profile_keeps_its_name_unless_it_is_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("apparmor.d")).unwrap();
        let ours = b"profile app {\n  file,\n}\n";
        let is_free = |replace| {
            let names = ["app".to_owned()];
            let written = path("apparmor.profile");
            names_are_free_in(&path("profiles"), &path("apparmor.d"), &names, ours, &written, replace).is_ok()
        };
        assert!(is_free(None), "nothing is there");
        fs::write(path("profiles"), "application (enforce)\n/usr/bin/man (enforce)\n").unwrap();
        assert!(is_free(None));
        fs::write(path("profiles"), "app (enforce)\n").unwrap();
        assert!(!is_free(None), "it is loaded");
        assert!(is_free(Some("app")) && !is_free(Some("other")));
        fs::write(path("apparmor.profile"), ours).unwrap();
        assert!(is_free(None), "it is loaded from what was fetched before");
        fs::write(path("apparmor.profile"), "profile app { }").unwrap();
        assert!(!is_free(None));
        fs::remove_file(path("profiles")).unwrap();
        assert!(is_free(None));
        for text in ["profile app {\n}\n", "  profile \"app\" flags=(complain) {\n", "app {\n"] {
            fs::write(path("apparmor.d/host"), text).unwrap();
            assert!(!is_free(None), "{text}");
        }
        fs::write(path("apparmor.d/host"), ours).unwrap();
        assert!(is_free(None), "the same file");
    }
}
