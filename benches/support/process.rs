//! Whole processes, run and measured: time, CPU, and the most memory that they ever had.
//!
//! Between the bench and the program stands a gauge: the bench's own executable, started again, which runs this one program and says
//! what it took. So what the system counts for all children is that of one, and the bench may grow as it likes: a new process inherits
//! the peak of the one that started it, which for a gauge is some 2 MiB.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each bench uses its own part of this")]

use std::env;
use std::ffi::OsStr;
use std::process::{Command, ExitStatus, Stdio, exit};
use std::time::{Duration, Instant};

/// The first argument of a gauge, and the first word of what it says.
const GAUGE: &str = "--gauge";
/// What would send requests to a machine of our own elsewhere.
const PROXIES: [&str; 6] = ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// What one run took.
#[derive(Debug, Clone)]
pub struct Measured {
    /// From just before the process is made until it has ended.
    pub wall: Duration,
    /// In user mode and in the kernel, of the process and those that it waited for.
    pub cpu: Duration,
    /// Bytes: the most that was resident.
    pub peak: u64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub status: ExitStatus,
}

impl Measured {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Runs a command to its end and measures it. It must succeed, without input and without a proxy.
///
/// The `main` of the bench must begin with [`gauge_if_asked`].
pub fn measure(command: &Command) -> Measured {
    let measured = measure_whatever(command);
    let said = String::from_utf8_lossy(&measured.stderr);
    assert!(measured.status.success(), "{command:?}: {}\n{}{said}", measured.status, measured.stdout());
    measured
}

/// The same, whether it succeeds or not.
pub fn measure_whatever(command: &Command) -> Measured {
    let mut gauge = Command::new(env::current_exe().unwrap());
    gauge.arg(GAUGE).arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for name in PROXIES {
        gauge.env_remove(name);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => gauge.env(name, value),
            None => gauge.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        gauge.current_dir(folder);
    }
    let output = gauge.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdout = output.stdout;
    let marker = format!("\n{GAUGE} ");
    let at = stdout.windows(marker.len()).rposition(|window| window == marker.as_bytes());
    let at = at.unwrap_or_else(|| panic!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)));
    let line = String::from_utf8(stdout.split_off(at)).unwrap();
    let numbers: Vec<u64> = line.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
    let [wall, cpu, peak] = numbers[..] else { panic!("{line}") };
    let [wall, cpu] = [wall, cpu].map(Duration::from_micros);
    Measured { wall, cpu, peak, stdout, stderr: output.stderr, status: output.status }
}

/// Ends the process if it is a gauge, once it has done its work.
pub fn gauge_if_asked() {
    let mut words = env::args_os().skip(1);
    if words.next().as_deref() != Some(OsStr::new(GAUGE)) {
        return;
    }
    let program = words.next().unwrap();
    let mut command = Command::new(&program);
    command.args(words).stdin(Stdio::null());
    let start = Instant::now();
    let status = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display())).wait().unwrap();
    let wall = start.elapsed();
    let (cpu, peak) = usage_of_children();
    println!("\n{GAUGE} {} {} {peak}", wall.as_micros(), cpu.as_micros());
    exit(status.code().unwrap_or(255));
}

#[cfg(unix)]
fn usage_of_children() -> (Duration, u64) {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeVal;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let time = |t: TimeVal| Duration::new(t.tv_sec() as u64, 0) + Duration::from_micros(t.tv_usec() as u64);
    // Linux counts in KiB, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    (time(usage.user_time()) + time(usage.system_time()), usage.max_rss() as u64 * unit)
}

#[cfg(not(unix))]
fn usage_of_children() -> (Duration, u64) {
    (Duration::ZERO, 0)
}
