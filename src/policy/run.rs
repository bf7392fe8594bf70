//! What a policy allows to signed profiles: the most that one may ask for on this machine.

use std::path::{Path, PathBuf};

use super::document::Value;
use super::error::PolicyError;
use super::rule::local;

/// The most that a signed profile may ask for, and whether it may ask for what is dangerous.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunLimits {
    /// Bytes of memory. `None` for no limit.
    pub memory: Option<u64>,
    /// Processes. `None` for no limit.
    pub pids: Option<u64>,
    /// Billionths of a processor. `None` for no limit.
    pub nano_cpus: Option<u64>,
    /// The seccomp profile that a signed one must not loosen. `None` for Docker's default profile.
    pub seccomp: Option<PathBuf>,
    /// The capabilities that an image may keep, without the prefix `CAP_`. `None` for Docker's default.
    pub capabilities: Option<Vec<String>>,
    /// Whether it may run without seccomp, AppArmor or SELinux profile. Default no.
    pub unconfined: bool,
    /// Whether it may run as user 0. Default no.
    pub root: bool,
    /// Whether its root file system may be writable. Default yes.
    pub writable: bool,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            memory: None,
            pids: None,
            nano_cpus: None,
            seccomp: None,
            capabilities: None,
            unconfined: false,
            root: false,
            writable: true,
        }
    }
}

const KEYS: &[&str] = &["memory", "pids", "cpus", "seccomp", "capabilities", "unconfined", "root", "writable"];

/// Linux's capabilities [capabilities(7)].
const CAPABILITIES: &[&str] = &[
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

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
            let expected = "a number above 0 such as 2 or 0.5, with up to 9 decimals";
            limits.nano_cpus = Some(nano(value.decimal(expected)?).ok_or_else(|| value.wrong(expected))?);
        }
        if let Some(value) = table.get("seccomp") {
            limits.seccomp = Some(local(&value, folder, "a seccomp profile")?);
        }
        if let Some(value) = table.get("capabilities") {
            let expected = "a capability of Linux such as \"NET_BIND_SERVICE\", without CAP_";
            let known = |text: &str| CAPABILITIES.contains(&text).then(|| text.to_owned());
            limits.capabilities = Some(value.list(expected, known)?);
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
}

/// A number of bytes above 0, alone or with KiB, MiB, GiB or TiB.
fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (digits, factor) = unit.unwrap_or((text, 1));
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()))?;
    number.checked_mul(factor).filter(|bytes| *bytes > 0)
}

/// Billionths, exactly.
fn nano(decimal: &str) -> Option<u64> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    if part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
    whole.checked_add(format!("{part:0<9}").parse().ok()?).filter(|nano| *nano > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_processors_are_exact() {
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
        for (text, expected) in [
            ("2", Some(2_000_000_000)),
            ("2.0", Some(2_000_000_000)),
            ("0.5", Some(500_000_000)),
            ("0.000000001", Some(1)),
            ("0.0000000001", None),
            ("0", None),
            ("0.0", None),
            ("99999999999999999999", None),
            ("1.2.3", None),
        ] {
            assert_eq!(nano(text), expected, "{text}");
        }
    }
}
