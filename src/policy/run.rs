//! What a policy allows to signed profiles: the most that one may ask for on this machine.

use std::path::{Path, PathBuf};

use super::document::Value;
use super::error::PolicyError;
use super::file::guarded;
use crate::profiles::PROFILE_MAX;
use crate::profiles::baseline::Baseline;
use crate::profiles::capability::Capabilities;
use crate::profiles::run::Cpus;
use crate::profiles::seccomp::SeccompProfile;

/// The most that a signed profile may ask for, and whether it may ask for what is dangerous.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunLimits {
    /// Bytes of memory. `None` for no limit.
    pub memory: Option<u64>,
    /// Processes. `None` for no limit.
    pub pids: Option<u64>,
    /// Processors. `None` for no limit.
    pub cpus: Option<Cpus>,
    /// The seccomp profile that a signed one must not loosen. `None` for Docker's default profile.
    pub seccomp: Option<PathBuf>,
    /// The capabilities that an image may keep. `None` for Docker's default.
    pub capabilities: Option<Capabilities>,
    /// Whether seccomp profiles may go beyond that one, and AppArmor profiles only complain. Default no.
    pub unconfined: bool,
    /// Whether `run.json` may ask for user 0. Default no.
    pub root: bool,
    /// Whether the root file system may be writable. Default yes.
    pub writable: bool,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            memory: None,
            pids: None,
            cpus: None,
            seccomp: None,
            capabilities: None,
            unconfined: false,
            root: false,
            writable: true,
        }
    }
}

const KEYS: &[&str] = &["memory", "pids", "cpus", "seccomp", "capabilities", "unconfined", "root", "writable"];

impl RunLimits {
    pub(super) fn read(value: &Value<'_, '_>, folder: &Path) -> Result<Self, PolicyError> {
        let table = value.table(KEYS)?;
        let mut limits = Self::default();
        if let Some(value) = table.get("memory") {
            limits.memory = Some(value.parsed("a size such as \"512MiB\" or \"2GiB\"", bytes)?);
        }
        if let Some(value) = table.get("pids") {
            let expected = "a whole number above 0";
            let pids = value.whole(expected)?;
            limits.pids = Some(Some(pids).filter(|pids| *pids > 0).ok_or_else(|| value.wrong(expected))?);
        }
        if let Some(value) = table.get("cpus") {
            let expected = "a number above 0 such as 2 or 0.5, with up to 3 decimals";
            limits.cpus = Some(Cpus::parse(value.decimal(expected)?).ok_or_else(|| value.wrong(expected))?);
        }
        if let Some(value) = table.get("seccomp") {
            limits.seccomp = Some(value.local(folder, "a seccomp profile")?);
        }
        if let Some(value) = table.get("capabilities") {
            let expected = "a capability of Linux such as \"NET_BIND_SERVICE\", without CAP_";
            let known = |text: &str| Capabilities::named([text]).ok().filter(|_| !text.starts_with("CAP_"));
            let each = value.list(expected, known)?;
            limits.capabilities = Some(each.into_iter().fold(Capabilities::NONE, Capabilities::and));
        }
        for (key, switch) in
            [("unconfined", &mut limits.unconfined), ("root", &mut limits.root), ("writable", &mut limits.writable)]
        {
            if let Some(value) = table.get(key) {
                *switch = value.boolean()?;
            }
        }
        Ok(limits)
    }

    /// The same as a baseline, against which signed profiles are held. What is not said is Docker's default. The seccomp profile, if one is named, is read: it
    /// decides as much as the policy does, so it is held to the same.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Unreadable`], also if the file is longer than [`PROFILE_MAX`]; [`PolicyError::Exposed`]; [`PolicyError::Seccomp`].
    pub fn baseline(&self) -> Result<Baseline, PolicyError> {
        let Self { memory, pids, cpus, seccomp, capabilities, unconfined, root, writable } = self;
        let mut baseline = Baseline::default().with_unconfined(*unconfined).with_root(*root).with_writable(*writable);
        if let Some(bytes) = memory {
            baseline = baseline.with_memory(*bytes);
        }
        if let Some(pids) = pids {
            baseline = baseline.with_pids(*pids);
        }
        if let Some(cpus) = cpus {
            baseline = baseline.with_cpus(*cpus);
        }
        if let Some(capabilities) = capabilities {
            baseline = baseline.with_capabilities(*capabilities);
        }
        if let Some(path) = seccomp {
            baseline = baseline.with_seccomp(seccomp_profile(path)?);
        }
        Ok(baseline)
    }
}

fn seccomp_profile(path: &Path) -> Result<SeccompProfile, PolicyError> {
    let bytes = guarded(path, u64::try_from(PROFILE_MAX).unwrap_or(u64::MAX))?;
    let file = path.display().to_string();
    SeccompProfile::parse(&bytes).map_err(|refusal| PolicyError::Seccomp { file, source: Box::new(refusal) })
}

/// A number of bytes above 0, alone or with KiB, MiB, GiB or TiB.
fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (digits, factor) = unit.unwrap_or((text, 1));
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact() {
        for (text, expected) in [
            ("2GiB", Some(2 << 30)),
            ("512MiB", Some(512 << 20)),
            ("1", Some(1)),
            ("0", None),
            ("0KiB", None),
            ("", None),
            ("GiB", None),
            ("+1GiB", None),
            ("1.5GiB", None),
            ("2GB", None),
            ("2g", None),
            ("16777216TiB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
