//! The profile that Docker applies if nothing else is said, as a table: the baseline if nothing else is said.
//!
//! Read off the profile of Docker Engine 24, without `io_uring_*`, which 25 took out, and with the calls of Linux 6.5 to 6.7 that later engines let through
//! (`cachestat`, `fchmodat2`, `map_shadow_stack`, `futex_wait`, `futex_wake`, `futex_requeue`). What still later ones may have added is not in it.

use super::condition::{Condition, Test};
use super::{
    AARCH64, ARM, Action, Architecture, Architectures, Kernel, MIPS, MIPS64, MIPS64N32, MIPSEL, MIPSEL64, MIPSEL64N32,
    RISCV64, Rule, S390, S390X, SeccompProfile, When, X32, X86, X86_64, syscalls,
};
use crate::profiles::capability::Capabilities;

/// Let through on every machine, whatever the arguments.
const ALWAYS: &str = "\
accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres
clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect copy_file_range creat dup
dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve
execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown
fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64
fsync ftruncate ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat get_robust_list get_thread_area
getcpu getcwd getdents getdents64 getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid
getpgrp getpid getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid getsockname getsockopt
gettid gettimeofday getuid getuid32 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents
io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set ipc kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64
madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget
msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64
process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg
recvmmsg_time64 recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending
rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max
sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64
sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop
semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list set_thread_area set_tid_address setfsgid setfsgid32
setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd
signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync sync_file_range syncfs
sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64
timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname
unlink unlinkat utime utimensat utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev
";

/// Machines, and what they let through besides.
const BY_MACHINE: [(&[&str], &str); 6] = [
    (&["ppc64le"], "sync_file_range2 swapcontext"),
    (&["arm", "arm64"], "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls"),
    (&["amd64", "x32"], "arch_prctl"),
    (&["amd64", "x32", "x86"], "modify_ldt"),
    (&["s390", "s390x"], "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    (&["riscv64"], "riscv_flush_icache"),
];

/// Capabilities, and what goes with each.
const BY_CAPABILITY: [(&str, &str); 14] = [
    ("DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount open_tree \
         perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare",
    ),
    ("SYS_BOOT", "reboot"),
    ("SYS_CHROOT", "chroot"),
    ("SYS_MODULE", "delete_module init_module finit_module"),
    ("SYS_PACCT", "acct"),
    ("SYS_PTRACE", "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace"),
    ("SYS_RAWIO", "iopl ioperm"),
    ("SYS_TIME", "settimeofday stime clock_settime clock_settime64"),
    ("SYS_TTY_CONFIG", "vhangup"),
    ("SYS_NICE", "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"),
    ("SYSLOG", "syslog"),
    ("BPF", "bpf"),
    ("PERFMON", "perf_event_open"),
];

/// The execution domains that Linux programs may ask for [personality(2)]: Linux, without address randomisation or not, 32 bit, and "tell me".
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
/// The flags of clone(2) that make namespaces.
const NEW_NAMESPACES: u64 = 0x7e02_0000;
/// Sockets to the hypervisor, and so past the container's network.
const AF_VSOCK: u64 = 40;
const ENOSYS: u16 = 38;

const MAP: [(Architecture, &[Architecture]); 8] = [
    (X86_64, &[X86, X32]),
    (AARCH64, &[ARM]),
    (MIPS64, &[MIPS, MIPS64N32]),
    (MIPS64N32, &[MIPS, MIPS64]),
    (MIPSEL64, &[MIPSEL, MIPSEL64N32]),
    (MIPSEL64N32, &[MIPSEL, MIPSEL64]),
    (S390X, &[S390]),
    (RISCV64, &[]),
];

impl SeccompProfile {
    /// The profile that Docker applies to a container if nothing else is said.
    #[must_use]
    pub fn docker_default() -> Self {
        let admin = || when(&[], "SYS_ADMIN");
        let s390: &[&str] = &["s390", "s390x"];
        let mut rules = vec![allow(ALWAYS)];
        rules.push(Rule {
            includes: When { kernel: Some(Kernel(4, 8)), ..When::default() },
            ..allow("process_vm_readv process_vm_writev ptrace")
        });
        rules.push(if_argument("socket", 0, Test::Ne(AF_VSOCK)));
        rules.extend(PERSONALITIES.map(|persona| if_argument("personality", 0, Test::Eq(persona))));
        rules.extend(BY_MACHINE.map(|(machines, names)| Rule { includes: when(machines, ""), ..allow(names) }));
        rules.extend(BY_CAPABILITY.map(|(capability, names)| Rule { includes: when(&[], capability), ..allow(names) }));
        let no_namespaces = Test::Masked { mask: NEW_NAMESPACES, value: 0 };
        rules.push(Rule { excludes: when(s390, "SYS_ADMIN"), ..if_argument("clone", 0, no_namespaces) });
        // There, the flags are the second argument.
        rules.push(Rule { includes: when(s390, ""), excludes: admin(), ..if_argument("clone", 1, no_namespaces) });
        rules.push(Rule { action: Action::Errno(ENOSYS), excludes: admin(), ..allow("clone3") });
        let map = MAP.map(|(own, others)| (own, others.to_vec())).to_vec();
        Self { default: Action::Errno(1), architectures: Architectures::Map(map), rules }
    }
}

fn allow(names: &str) -> Rule {
    Rule {
        syscalls: names.split_ascii_whitespace().filter_map(syscalls::named).collect(),
        action: Action::Allow,
        conditions: Vec::new(),
        includes: When::default(),
        excludes: When::default(),
    }
}

fn if_argument(name: &str, argument: u8, test: Test) -> Rule {
    Rule { conditions: vec![Condition { argument, test }], ..allow(name) }
}

fn when(machines: &[&'static str], capability: &str) -> When {
    let capabilities = Capabilities::named([capability]).unwrap_or_default();
    When { capabilities, machines: machines.to_vec(), kernel: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_the_table_is_known() {
        let names = BY_MACHINE.map(|(_, names)| names).into_iter().chain(BY_CAPABILITY.map(|(_, names)| names));
        for name in names.chain([ALWAYS]).flat_map(str::split_ascii_whitespace) {
            assert!(syscalls::named(name).is_some(), "{name}");
        }
        for (capability, _) in BY_CAPABILITY {
            Capabilities::named([capability]).unwrap();
        }
        assert_eq!(ALWAYS.split_ascii_whitespace().count(), 352);
    }
}
