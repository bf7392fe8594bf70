//! seccomp profiles: which system calls a container may make.
//!
//! One parser for both dialects of the JSON, Docker's (conditions on capabilities, architecture and kernel; [`parse`](SeccompProfile::parse)) and that of the OCI
//! runtime specification; and the question whether one profile lets through nothing that another one keeps out ([`within`](SeccompProfile::within)).
//!
//! What a profile means, as runc and crun hand it to libseccomp:
//! - A system call that no rule names meets the default action.
//! - All conditions of a rule must hold; one of the rules of a system call is enough. Two conditions on one argument in one rule are refused here: runtimes take the two
//!   as alternatives.
//! - `includes` and `excludes` are decided once, when the container starts: by the machine's architecture (not that of the call), its kernel, and the capabilities the
//!   container keeps. Of `includes` all must hold, of `excludes` none may.
//! - The calls of an architecture that the profile does not list kill the process; the machine's own is always listed. Docker lists the machine's entry of `archMap`
//!   with its further architectures, the OCI dialect those of `architectures`.
//! - Where rules of two actions overlap, which one counts depends on their order and on libseccomp's version. So a rule that keeps out takes nothing away from a fetched
//!   profile here, and everything that it touches from a baseline.

mod condition;
mod docker;
mod parse;
mod subset;
mod syscalls;

use std::fmt;

use self::condition::{Condition, Width};
use super::capability::Capabilities;

/// A profile that was read: every word in it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeccompProfile {
    default: Action,
    architectures: Architectures,
    rules: Vec<Rule>,
}

/// What becomes of a system call. What hands it to another process is refused by the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Allow,
    /// Let through, and written to the log.
    Log,
    /// Not made; the program is told this error.
    Errno(u16),
    /// Not made; the program is sent a signal.
    Trap,
    KillThread,
    KillProcess,
}

impl Action {
    fn lets_through(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Architectures {
    /// Docker's: for each machine, the architectures that it runs besides its own.
    Map(Vec<(Architecture, Vec<Architecture>)>),
    /// The OCI runtime's.
    List(Vec<Architecture>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    syscalls: Vec<&'static str>,
    action: Action,
    /// At most one for each argument, in the order of the arguments.
    conditions: Vec<Condition>,
    includes: When,
    excludes: When,
}

/// What a rule depends on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct When {
    capabilities: Capabilities,
    /// Words of [`MACHINE_WORDS`].
    machines: Vec<&'static str>,
    kernel: Option<Kernel>,
}

/// A version of Linux: `4.8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kernel(u32, u32);

/// The oldest kernel that is thought of. Docker itself needs one that is newer than this.
const OLDEST_KERNEL: Kernel = Kernel(4, 8);

/// An architecture of system calls, as libseccomp names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Architecture {
    name: &'static str,
    width: Width,
}

const fn narrow(name: &'static str) -> Architecture {
    Architecture { name, width: Width::Bits32 }
}

const fn wide(name: &'static str) -> Architecture {
    Architecture { name, width: Width::Bits64 }
}

const X86_64: Architecture = wide("SCMP_ARCH_X86_64");
const X86: Architecture = narrow("SCMP_ARCH_X86");
const X32: Architecture = narrow("SCMP_ARCH_X32");
const AARCH64: Architecture = wide("SCMP_ARCH_AARCH64");
const ARM: Architecture = narrow("SCMP_ARCH_ARM");
const PPC64LE: Architecture = wide("SCMP_ARCH_PPC64LE");
const PPC64: Architecture = wide("SCMP_ARCH_PPC64");
const PPC: Architecture = narrow("SCMP_ARCH_PPC");
const S390X: Architecture = wide("SCMP_ARCH_S390X");
const S390: Architecture = narrow("SCMP_ARCH_S390");
const RISCV64: Architecture = wide("SCMP_ARCH_RISCV64");
const LOONGARCH64: Architecture = wide("SCMP_ARCH_LOONGARCH64");
const MIPS: Architecture = narrow("SCMP_ARCH_MIPS");
const MIPS64: Architecture = wide("SCMP_ARCH_MIPS64");
const MIPS64N32: Architecture = narrow("SCMP_ARCH_MIPS64N32");
const MIPSEL: Architecture = narrow("SCMP_ARCH_MIPSEL");
const MIPSEL64: Architecture = wide("SCMP_ARCH_MIPSEL64");
const MIPSEL64N32: Architecture = narrow("SCMP_ARCH_MIPSEL64N32");

const ARCHITECTURES: [Architecture; 22] = [
    X86_64,
    X86,
    X32,
    AARCH64,
    ARM,
    PPC64LE,
    PPC64,
    PPC,
    S390X,
    S390,
    RISCV64,
    LOONGARCH64,
    MIPS,
    MIPS64,
    MIPS64N32,
    MIPSEL,
    MIPSEL64,
    MIPSEL64N32,
    narrow("SCMP_ARCH_PARISC"),
    narrow("SCMP_ARCH_PARISC64"),
    narrow("SCMP_ARCH_M68K"),
    narrow("SCMP_ARCH_SH"),
];

/// The words that `includes` and `excludes` have for machines: Go's, and some that only profiles have.
const MACHINE_WORDS: [&str; 24] = [
    "386",
    "amd64",
    "arm",
    "arm64",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64n32",
    "mips3l64n32",
    "mipsel",
    "mipsel64",
    "mipsel64n32",
    "mipsle",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv64",
    "s390",
    "s390x",
    "x32",
    "x86",
];

/// A kind of machine that containers run on.
#[derive(Debug, Clone, Copy)]
struct Machine {
    /// What a runtime calls it. Where runtimes differ in this, each name is a machine.
    word: &'static str,
    own: Architecture,
    /// Further architectures whose calls its kernel may take.
    runs: &'static [Architecture],
}

/// For each of these a fetched profile must be within the baseline.
const MACHINES: [Machine; 16] = [
    Machine { word: "amd64", own: X86_64, runs: &[X86, X32] },
    Machine { word: "arm64", own: AARCH64, runs: &[ARM] },
    Machine { word: "arm", own: ARM, runs: &[] },
    Machine { word: "386", own: X86, runs: &[] },
    Machine { word: "x86", own: X86, runs: &[] },
    Machine { word: "ppc64le", own: PPC64LE, runs: &[] },
    Machine { word: "s390x", own: S390X, runs: &[S390] },
    Machine { word: "riscv64", own: RISCV64, runs: &[] },
    Machine { word: "loong64", own: LOONGARCH64, runs: &[] },
    Machine { word: "mips64le", own: MIPSEL64, runs: &[MIPSEL, MIPSEL64N32] },
    Machine { word: "mipsel64", own: MIPSEL64, runs: &[MIPSEL, MIPSEL64N32] },
    Machine { word: "mipsle", own: MIPSEL, runs: &[] },
    Machine { word: "mipsel", own: MIPSEL, runs: &[] },
    Machine { word: "mips64", own: MIPS64, runs: &[MIPS, MIPS64N32] },
    Machine { word: "mips", own: MIPS, runs: &[] },
    Machine { word: "ppc64", own: PPC64, runs: &[PPC] },
];

impl Machine {
    /// The architectures whose calls a profile lists on this machine, of those that its kernel may take.
    fn listed(&self, by: &Architectures) -> Vec<Architecture> {
        let listed: &[Architecture] = match by {
            Architectures::List(all) => all,
            // Docker takes the machine's entry. None: its own alone.
            Architectures::Map(map) => map.iter().find(|(own, _)| *own == self.own).map_or(&[], |(_, others)| others),
        };
        let others = self.runs.iter().filter(|runs| listed.contains(runs));
        [self.own].into_iter().chain(others.copied()).collect()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("let through")?;
        for (i, condition) in self.conditions.iter().enumerate() {
            write!(f, "{}{condition}", if i == 0 { " if " } else { " and " })?;
        }
        if !self.includes.capabilities.is_empty() {
            write!(f, " with the capability {}", self.includes.capabilities)?;
        }
        Ok(())
    }
}
