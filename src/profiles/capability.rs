//! Capabilities of Linux [capabilities(7)], and those that Docker leaves a container.

use std::fmt;

use super::error::{Code, Refusal};
use crate::text::quoted;

/// By number, as the kernel has them.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const DOCKER: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A set of capabilities.
///
/// ```
/// use plimsoll::profiles::capability::Capabilities;
///
/// let few: Capabilities = Capabilities::named(["NET_BIND_SERVICE"]).unwrap();
/// assert!(few.is_within(Capabilities::docker()));
/// assert!(Capabilities::named(["NET_BIND"]).is_err());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u64);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);

    /// The fourteen that Docker gives a container if nothing else is said.
    #[must_use]
    pub fn docker() -> Self {
        Self(DOCKER.into_iter().filter_map(bit).fold(0, |all, bit| all | bit))
    }

    /// Those of these names, in capitals, with or without `CAP_`.
    ///
    /// # Errors
    ///
    /// [`Code::Unknown`].
    pub fn named<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Self, Refusal> {
        names.into_iter().try_fold(Self::NONE, |all, name| {
            let bit = bit(name.strip_prefix("CAP_").unwrap_or(name));
            let bit = bit.ok_or_else(|| {
                Refusal::new(Code::Unknown, "", "an unknown capability")
                    .expected("one such as NET_BIND_SERVICE")
                    .found(quoted(name))
            });
            Ok(Self(all.0 | bit?))
        })
    }

    /// Their names, without `CAP_`, in alphabetical order.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let mut names: Vec<_> = NAMES.into_iter().filter(|name| bit(name).is_some_and(|b| self.0 & b != 0)).collect();
        names.sort_unstable();
        names
    }

    /// Whether all of them are among `others`.
    #[must_use]
    pub fn is_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// Whether none of them is among `others`.
    #[must_use]
    pub fn is_apart_from(self, others: Self) -> bool {
        self.0 & others.0 == 0
    }

    /// These and `others`.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These without `others`.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names().as_slice() {
            [] => f.write_str("none"),
            names => f.write_str(&names.join(", ")),
        }
    }
}

fn bit(name: &str) -> Option<u64> {
    let number = NAMES.into_iter().position(|other| other == name)?;
    1_u64.checked_shl(u32::try_from(number).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_kernels_and_docker_gives_fourteen() {
        assert_eq!(Capabilities::docker().names().len(), 14);
        assert_eq!(bit("CHECKPOINT_RESTORE"), Some(1 << 40));
        assert_eq!(bit("BPF"), Some(1 << 39));
        assert_eq!(bit("SETFCAP"), Some(1 << 31));
        for (name, known) in [("CHOWN", true), ("CAP_CHOWN", true), ("chown", false), ("CAP_CAP_CHOWN", false)] {
            assert_eq!(Capabilities::named([name]).is_ok(), known, "{name}");
        }
    }
}
