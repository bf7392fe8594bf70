//! What containerd says of itself: its version, its configuration, and how a pull ends.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use plimsoll::text::quoted;
use toml::de::{DeTable, DeValue};

/// The plugin that runs verifiers.
const PLUGIN: &str = "io.containerd.image-verifier.v1.bindir";
/// The plugin that pulls for the kubelet. It asks verifiers only where it pulls through the transfer service.
const IMAGES: &str = "io.containerd.cri.v1.images";
/// Read only where containerd cannot be asked: what it imports is not in it.
const CONFIG: &str = "/etc/containerd/config.toml";
/// A pull of a few hundred bytes from this machine, with the verifiers' time.
const PATIENCE: Duration = Duration::from_secs(60);
/// What containerd prints, its whole configuration included, is some tens of kilobytes.
const PRINTED_MAX: u64 = 4 << 20;

/// How the plugin is configured.
#[derive(Debug, PartialEq)]
pub(super) struct Plugin {
    pub(super) bin_dir: PathBuf,
    /// Below zero, there is no limit.
    pub(super) max_verifiers: i64,
    pub(super) timeout: Duration,
    /// Whether the kubelet's pulls pass the verifiers by.
    pub(super) pulls_locally: bool,
}

/// How a pull ended.
pub(super) struct Pulled {
    pub(super) is_done: bool,
    /// What was printed.
    pub(super) words: String,
}

/// The major version, and the whole line.
pub(super) fn version() -> Result<(u64, String), String> {
    let printed = run("containerd", &["--version"])?.words;
    let line = printed.lines().next().unwrap_or_default().trim().to_owned();
    // `containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7` or `containerd containerd.io 1.7.27 05044ec`.
    let number = |word: &str| word.trim_start_matches('v').split_once('.')?.0.parse::<u64>().ok();
    match line.split_whitespace().skip(2).find_map(number) {
        Some(major) => Ok((major, quoted(&line).to_string().trim_matches('"').to_owned())),
        None => Err(format!("cannot tell the version of containerd from {}", quoted(&line))),
    }
}

/// The configuration as containerd merges it from all its files.
pub(super) fn plugin() -> Result<Plugin, String> {
    let dumped = run("containerd", &["config", "dump"]).ok().filter(|dumped| dumped.is_done);
    match dumped {
        Some(dumped) => read(&dumped.words).map_err(|e| format!("containerd config dump: {e}")),
        None => {
            let note = "containerd config dump gives nothing, and what the file imports is not read";
            let text = file(Path::new(CONFIG)).map_err(|e| format!("{note}; {CONFIG}: {e}"))?;
            read(&text).map_err(|e| format!("{note}; {CONFIG}: {e}"))
        }
    }
}

fn file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(PRINTED_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// What is not there has containerd's default.
fn read(text: &str) -> Result<Plugin, String> {
    let document = DeTable::parse(text).map_err(|e| format!("not TOML: {}", quoted(e.message())))?;
    let mut plugin = Plugin {
        bin_dir: "/opt/containerd/image-verifier/bin".into(),
        max_verifiers: 10,
        timeout: Duration::from_secs(10),
        pulls_locally: false,
    };
    if let Some(DeValue::Array(disabled)) = document.get_ref().get("disabled_plugins").map(|value| value.get_ref())
        && disabled.iter().any(|plugin| plugin.get_ref().as_str() == Some(PLUGIN))
    {
        return Err(format!("the plugin {PLUGIN} is in disabled_plugins: every image is admitted"));
    }
    let plugins = document.get_ref().get("plugins").and_then(|plugins| plugins.get_ref().as_table());
    let images = plugins.and_then(|plugins| plugins.get(IMAGES)).and_then(|images| images.get_ref().as_table());
    let local =
        images.and_then(|images| images.get("use_local_image_pull")).and_then(|value| value.get_ref().as_bool());
    plugin.pulls_locally = local == Some(true);
    let settings = plugins.and_then(|plugins| plugins.get(PLUGIN)).and_then(|settings| settings.get_ref().as_table());
    let Some(settings) = settings else { return Ok(plugin) };
    if let Some(value) = settings.get("bin_dir") {
        plugin.bin_dir = value.get_ref().as_str().ok_or("bin_dir is no text")?.into();
    }
    if let Some(value) = settings.get("max_verifiers") {
        let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse().ok());
        plugin.max_verifiers = number.ok_or("max_verifiers is no number")?;
    }
    if let Some(value) = settings.get("per_verifier_timeout") {
        let text = value.get_ref().as_str().ok_or("per_verifier_timeout is no text")?;
        plugin.timeout =
            go_duration(text).ok_or_else(|| format!("per_verifier_timeout: {} is no duration", quoted(text)))?;
    }
    Ok(plugin)
}

/// As Go writes durations: `10s`, `1m30s`, `500ms`, `1.5s`.
fn go_duration(text: &str) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
        let (unit, tail) = tail.split_at_checked(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()))?;
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        sum = sum.checked_add(part)?;
        rest = tail;
    }
    Some(sum).filter(|_| !text.is_empty())
}

/// Has containerd pull an image through its transfer service, which is what asks verifiers.
pub(super) fn pull(name: &str) -> Result<Pulled, String> {
    run("ctr", &["--namespace", "plimsoll-doctor", "images", "pull", "--local=false", "--plain-http", name])
}

/// Removes what should never have been pulled.
pub(super) fn remove(name: &str) {
    let _it_holds_nothing = run("ctr", &["--namespace", "plimsoll-doctor", "images", "rm", name]);
}

/// Runs a program to its end, for a minute at most; what it prints on either stream is one text.
fn run(program: &str, arguments: &[&str]) -> Result<Pulled, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| format!("cannot start {program}: {e}"))?;
    let streams: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|out| -> Box<dyn Read + Send> { Box::new(out) }),
        child.stderr.take().map(|out| -> Box<dyn Read + Send> { Box::new(out) }),
    ];
    let readers: Vec<_> = streams.into_iter().flatten().map(|stream| thread::spawn(move || printed(stream))).collect();
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let _it_may_have_ended = child.kill();
                let _and_is_not_left_behind = child.wait();
                return Err(format!("{program} did not end within {} s", PATIENCE.as_secs()));
            }
            Err(e) => return Err(format!("cannot wait for {program}: {e}")),
        }
    };
    let words = readers.into_iter().filter_map(|reader| reader.join().ok()).collect();
    Ok(Pulled { is_done: status.success(), words })
}

/// All is read, lest the program waits; not all is kept.
fn printed(mut stream: impl Read) -> String {
    let mut kept = Vec::new();
    let _what_there_is = (&mut stream).take(PRINTED_MAX).read_to_end(&mut kept);
    let _the_rest = std::io::copy(&mut stream, &mut std::io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_is_found_in_the_configuration_or_has_containerds_defaults() {
        let plugin = |bin_dir: &str, max_verifiers, timeout| Plugin {
            bin_dir: bin_dir.into(),
            max_verifiers,
            timeout,
            pulls_locally: false,
        };
        let seconds = Duration::from_secs;
        let head = "version = 3\n[plugins.'io.containerd.image-verifier.v1.bindir']\n";
        for (text, expected) in [
            ("version = 3".to_owned(), Ok(plugin("/opt/containerd/image-verifier/bin", 10, seconds(10)))),
            (
                format!("{head}bin_dir = '/v'\nmax_verifiers = -1\nper_verifier_timeout = '1m30s'\n"),
                Ok(plugin("/v", -1, seconds(90))),
            ),
            (
                format!("{head}per_verifier_timeout = '1.5s'"),
                Ok(plugin("/opt/containerd/image-verifier/bin", 10, Duration::from_millis(1500))),
            ),
            (format!("{head}per_verifier_timeout = 'soon'"), Err("per_verifier_timeout: \"soon\" is no duration")),
            (format!("{head}bin_dir = 1"), Err("bin_dir is no text")),
            (
                "disabled_plugins = ['io.containerd.image-verifier.v1.bindir']".to_owned(),
                Err(
                    "the plugin io.containerd.image-verifier.v1.bindir is in disabled_plugins: every image is admitted",
                ),
            ),
        ] {
            assert_eq!(read(&text), expected.map_err(str::to_owned), "{text}");
        }
        let local = |value: bool| format!("[plugins.'io.containerd.cri.v1.images']\nuse_local_image_pull = {value}");
        assert!(read(&local(true)).unwrap().pulls_locally && !read(&local(false)).unwrap().pulls_locally);
        assert!(read("[").is_err());
    }
}
