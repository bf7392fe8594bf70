//! Whether an image is admitted: by its name the rule, by the rule the repository, by the repository the digest.
//!
//! Rules:
//! - Only what is signed under the very name is admitted. A reference by digest is signed as such, in the folder of the digest; that a tag signs the same
//!   digest today does not count, for what one tag says is not said of all names.
//! - The repository is asked without the store's lock held, on a copy of the store. What came of it is then taken over into the store by the same checks; a store
//!   that has seen newer metadata meanwhile refuses it as a rollback.
//! - Local metadata decides only where the repository cannot be reached, and only what needs no file of it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use plimsoll::client::{Client, ClientError, Mirrors, Place, Remembered, SourceError, Store, StoreError, Undecided};
use plimsoll::digest::Sha256;
use plimsoll::image::manifest::Document;
use plimsoll::image::signable::MANIFEST_FILE;
use plimsoll::limits::{ArchiveLimits, HttpLimits, MetadataLimits};
use plimsoll::map::{PinnedRepository, Repositories};
use plimsoll::name::ImageName;
use plimsoll::policy::{Authority, Contents, Entry, Policy, Rule, Ruling, Unreachable, read_map, read_root};
use plimsoll::text::quoted;
use plimsoll::trust::Found;

use crate::request::Request;

/// Local work on a store takes milliseconds; so many verifiers at once, each holding its lock for that long, are served within this.
const LOCK_WAIT: Duration = Duration::from_secs(3);
/// A clock that is behind the last refresh by no more than this is taken for a correction of the clock.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// Why an image is not admitted, and whether that is because the repository cannot be reached.
#[derive(Debug)]
enum No {
    Refused(String),
    Unreachable(String),
    /// The store has seen newer metadata since it was copied.
    Overtaken(String),
}

/// What an answer takes: where the rule says that it is, and until when.
#[derive(Clone)]
struct Question {
    name: ImageName,
    request: Request,
    rule: Rule,
    state: PathBuf,
    deadline: Instant,
    /// Whether the repository has answered, and not with what is asked for. Then a time-out that comes after it is no outage.
    is_refused: Arc<AtomicBool>,
}

/// Decides by the policy; the text says why. `until` is told when there must be a decision.
pub(crate) fn decide(
    policy: &Policy,
    name: &ImageName,
    request: Request,
    state: &Path,
    start: Instant,
    until: impl FnOnce(Duration),
) -> Result<String, String> {
    let (entry, rule) = match policy.rule(name) {
        Ruling::Rule(entry, rule) => (entry, rule),
        Ruling::Refused(entry, why) => {
            return Err(format!(
                "{name}: the policy refuses it: {} ({})",
                plimsoll::text::escaped(why),
                place(policy, entry)
            ));
        }
        Ruling::NoScope => {
            return Err(format!("{name}: no scope of the policy {} is about it", file(policy)));
        }
    };
    let timeout = rule.node.timeout;
    until(timeout);
    if let Some(digest) = name.digest().filter(|digest| *digest != request.digest) {
        return Err(format!("{name}: what is pulled is {}, and the reference is by {digest}", request.digest));
    }
    let demands = rule.demands_of_contents();
    if !demands.is_empty() && rule.node.contents == Contents::Refuse {
        let demands = demands.join(", ");
        return Err(format!(
            "{name}: the policy demands what only its contents show ({demands}; {}), and a node sees no more than the digest; node.contents = \"unchecked\" admits by digest",
            place(policy, entry)
        ));
    }
    // What is left after the repository was waited for is for local metadata, and for saying so.
    let patience = timeout.saturating_sub(timeout.checked_div(4).unwrap_or_default().max(Duration::from_millis(300)));
    let deadline = start.checked_add(patience).unwrap_or(start);
    let state = state.to_path_buf();
    let is_refused = Arc::default();
    let question = Question { name: name.clone(), request, rule: rule.clone(), state, deadline, is_refused };
    let mut text = answer(question)?;
    let _: std::fmt::Result = write!(text, " ({})", place(policy, entry));
    if demands.is_empty() {
        text.push_str("; its contents were not looked at");
    } else {
        let _: std::fmt::Result = write!(text, "; not checked on a node: {}", demands.join(", "));
    }
    Ok(text)
}

fn file(policy: &Policy) -> String {
    policy.file().map_or_else(String::new, |file| quoted(&file.display().to_string()).to_string())
}

fn place(policy: &Policy, entry: &Entry) -> String {
    format!("scope {} in line {} of {}", entry.scope(), entry.position().line, file(policy))
}

/// Asks the repository, and if it is away the store.
fn answer(question: Question) -> Result<String, String> {
    let within = question.rule.node.unreachable;
    let (tell, told) = mpsc::channel();
    let asking = question.clone();
    // It may hang for as long as the system lets it: on a name server, on a share that is gone.
    let thread = thread::Builder::new().spawn(move || {
        let _nobody_waits_any_more = tell.send(ask(&asking));
    });
    thread.map_err(|e| format!("{}: cannot start a thread: {e}", question.name))?;
    let left = question.deadline.saturating_duration_since(Instant::now());
    let no = match told.recv_timeout(left) {
        Ok(Ok(text)) => return Ok(text),
        Ok(Err(no)) => no,
        // The repository is there; it is the store that takes its time.
        Err(RecvTimeoutError::Timeout) if question.is_refused.load(Ordering::SeqCst) => No::Refused(
            "the repository does not admit it so far, and what is left to do took too long: to fetch what it signs, or to bring the local store up to date".to_owned(),
        ),
        Err(RecvTimeoutError::Timeout) => No::Unreachable(
            "the repository did not answer in time; node.timeout says how long that may take".to_owned(),
        ),
        Err(RecvTimeoutError::Disconnected) => No::Refused("the check ended without a result".to_owned()),
    };
    let name = &question.name;
    match (no, within) {
        (No::Refused(why) | No::Overtaken(why), _) => Err(format!("{name}: {why}")),
        (No::Unreachable(why), Unreachable::Refuse) => Err(format!("{name}: the repository cannot be reached: {why}")),
        (No::Unreachable(why), Unreachable::Within(within)) => {
            let away = format!("the repository cannot be reached: {why}");
            remembered(&question, within)
                .map(|text| format!("{text}; {away}"))
                .map_err(|local| format!("{name}: {away}; and local metadata does not admit it: {local}"))
        }
    }
}

fn ask(question: &Question) -> Result<String, No> {
    match &question.rule.authority {
        Authority::Map(map) => by_map(question, map),
        Authority::One { place, root } => {
            let root = read_root(root).map_err(|e| No::Refused(chain(&e)))?;
            match by_repository(question, place, &root) {
                // Once more, on what another verifier has stored meanwhile. A repository that is behind it a second time is behind it.
                Err(No::Overtaken(_)) => by_repository(question, place, &root),
                answer => answer,
            }
        }
    }
}

/// The target path under which the name must be signed.
fn target(question: &Question) -> Result<String, No> {
    let path = question.rule.target_paths.path(&question.name, MANIFEST_FILE);
    path.map_err(|e| No::Refused(format!("not signed: {e}")))
}

fn store(question: &Question, root: &[u8]) -> Store {
    let default = || question.state.join(Sha256::of(root).to_hex());
    Store::folder(question.rule.store.clone().unwrap_or_else(default))
}

fn by_repository(question: &Question, place: &Place, root: &[u8]) -> Result<String, No> {
    let path = target(question)?;
    let store = store(question, root);
    let copy = store.copy_in_memory(LOCK_WAIT, MetadataLimits::default().listed).map_err(unusable)?;
    let source = place.open(&http(question)).map_err(|e| undecided(&e.into()))?;
    let mut limits = MetadataLimits::default();
    // What is fetched is a manifest or an index.
    limits.target_in_memory = ArchiveLimits::default().manifest;
    let client = Client::new(root, source, copy).with_limits(limits);
    let client = client.with_time_memory().with_max_staleness(question.rule.max_staleness);

    let mut is_current = false;
    let seen = (|| {
        let mut session = client.refresh().map_err(|e| failed(&e))?;
        is_current = true;
        let found =
            session.find(&path).map_err(|e| failed(&e))?.map_err(|absence| not_signed(question, &path, &absence))?;
        let how = if is_same(question, &found) {
            is_signed(&found)
        } else {
            // It has answered, with another digest. Only the document that it signs can still admit this one; local metadata is older than that answer, and
            // whoever holds back the one file must not choose that it decides.
            question.is_refused.store(true, Ordering::SeqCst);
            let bytes = session.fetch(&found).map_err(|e| No::Refused(chain(&e)))?;
            examine(question, &bytes)?
        };
        Ok((found, how))
    })();

    question.is_refused.store(matches!(seen, Err(No::Refused(_))), Ordering::SeqCst);

    // Whatever came of it: what was trusted on the way counts against rollback from now on.
    let learned = Remembered::of(client.store(), Duration::ZERO, MetadataLimits::default().listed).map_err(unusable)?;
    let taken_over = take_over(question, root, learned, store, &path, is_current);
    let (found, how) = seen?;
    match taken_over? {
        Some(stored) if stored == found => Ok(format!("{}: {how}", question.name)),
        _ => Err(No::Overtaken("the local store has newer metadata than the repository".to_owned())),
    }
}

/// Brings what was learned in a copy of the store into the store itself, which checks it as it checks a repository.
///
/// Only if the repository was read to the end is that a refresh: else whoever keeps it away could make old metadata look fresh, call by call.
fn take_over(
    question: &Question,
    root: &[u8],
    learned: Remembered,
    store: Store,
    path: &str,
    is_current: bool,
) -> Result<Option<Found>, No> {
    let client = Client::new(root, learned, store).with_lock_wait(LOCK_WAIT);
    let client = client.with_max_staleness(question.rule.max_staleness);
    let client = if is_current { client.with_time_memory() } else { client };
    let overtaken = |error: &ClientError| match error {
        ClientError::NotTrusted(_) => No::Overtaken(chain(error)),
        ClientError::Undecided(error) => undecided(error),
    };
    let mut session = client.refresh().map_err(|e| overtaken(&e))?;
    Ok(session.find(path).map_err(|e| overtaken(&e))?.ok())
}

/// What the store alone says, if it is fresh enough.
fn remembered(question: &Question, within: TimeDelta) -> Result<String, String> {
    let Authority::One { root, .. } = &question.rule.authority else { return Err("it is decided by a map".to_owned()) };
    let root = read_root(root).map_err(|e| chain(&e))?;
    let path = question.rule.target_paths.path(&question.name, MANIFEST_FILE).map_err(|e| e.to_string())?;
    let store = store(question, &root);
    let wait = Duration::from_millis(200);
    let limit = MetadataLimits::default().listed;
    let remembered = Remembered::of(&store, wait, limit).map_err(|e| chain(&e))?;
    let last = remembered.refreshed().ok_or("it is not known when it was brought up to date last")?;
    let age = Utc::now().signed_duration_since(last);
    if age < -CLOCK_TOLERANCE {
        return Err(format!("it was brought up to date at {last}, which is later than the clock shows"));
    }
    if age > within {
        return Err(format!("it was brought up to date at {last}, which is longer ago than node.unreachable allows"));
    }
    let copy = store.copy_in_memory(wait, limit).map_err(|e| chain(&e))?;
    // Without regard to max-staleness: two concessions at once would be more than either of them says.
    let client = Client::new(root, remembered, copy).with_time_memory();
    let mut session = client.refresh().map_err(|e| chain(&e))?;
    let found = session.find(&path).map_err(|e| chain(&e))?.map_err(|absence| format!("not signed: {absence}"))?;
    if !is_same(question, &found) {
        return Err(format!("it signs another digest than {}", question.request.digest));
    }
    Ok(format!("{}: {}, by local metadata of {last}", question.name, is_signed(&found)))
}

fn by_map(question: &Question, map: &Path) -> Result<String, No> {
    let path = target(question)?;
    let pinned = read_map(map).map_err(|e| No::Refused(chain(&e)))?;
    let folder = |repository: &PinnedRepository| match &question.rule.store {
        Some(folder) => folder.join("repositories").join(repository.name().as_str()),
        None => question.state.join(Sha256::of(repository.root()).to_hex()),
    };
    let limits = http(question);
    let repositories = Repositories::new(&pinned, |repository| {
        let locations = repository.locations().iter().cloned().map(|location| {
            let limits = limits.clone();
            move || Place::Whole(location.clone()).open(&limits)
        });
        let client = Client::new(repository.root(), Mirrors::new(locations), Store::folder(folder(repository)));
        client.with_time_memory().with_lock_wait(LOCK_WAIT).with_max_staleness(question.rule.max_staleness)
    });
    let lookup = repositories.session().lookup(&path);
    let bytes = lookup.result.map_err(|e| No::Refused(format!("{}: {}", quoted(&path), chain(&e))))?;
    Ok(format!("{}: {}", question.name, examine(question, &bytes)?))
}

/// Whether the digest that is pulled is that of the signed file, by what the metadata says of it.
fn is_same(question: &Question, found: &Found) -> bool {
    let Request { digest, size, .. } = question.request;
    found.file().hashes().sha256() == Some(digest) && found.file().length() == size
}

fn is_signed(found: &Found) -> String {
    let digest = found.file().hashes().sha256().map(|digest| digest.to_string()).unwrap_or_default();
    format!("signed as {digest}, at {}", quoted(found.path()))
}

/// Whether the signed document is what is pulled, or an index that lists it.
fn examine(question: &Question, signed: &[u8]) -> Result<String, No> {
    let Request { digest, size, is_index } = question.request;
    let (id, length) = (Sha256::of(signed), u64::try_from(signed.len()).unwrap_or(u64::MAX));
    if id == digest && length == size {
        return Ok(format!("signed as {digest}"));
    }
    if id == digest {
        return Err(No::Refused(format!("signed with {length} bytes, and what is pulled is said to have {size}")));
    }
    let differs = |what: &str, why: &str| {
        Err(No::Refused(format!("signed is the {what} {id}, and what is pulled is {digest}{why}")))
    };
    if question.name.digest().is_some() {
        return differs("manifest", "");
    }
    match Document::parse(signed, &ArchiveLimits::default())
        .map_err(|e| No::Refused(format!("what is signed is no image: {e}")))?
    {
        Document::Manifest(_) if is_index => differs(
            "manifest of one platform",
            ", an index of several: nobody signed the others. Let the tag name that manifest alone, or let the publisher sign the index",
        ),
        Document::Manifest(_) => differs("manifest", ""),
        Document::Index(_) if is_index => differs("index", ""),
        Document::Index(index) => {
            let is_child = |size_and_digest: (u64, Sha256)| size_and_digest == (size, digest);
            let mut images = index.manifests.iter().filter(|child| !child.is_attestation());
            match images.find(|child| is_child((child.size, child.digest))) {
                Some(child) => {
                    let platform =
                        child.platform.as_ref().map_or_else(|| "one platform".to_owned(), ToString::to_string);
                    Ok(format!("the manifest of {platform}, {digest}, in the signed index {id}"))
                }
                None => differs("index", ", which it does not list"),
            }
        }
        _ => differs("document", ""),
    }
}

fn not_signed(question: &Question, path: &str, absence: &plimsoll::trust::Absence) -> No {
    let hint = if question.name.digest().is_some() {
        "; a reference by digest must be signed as such, whatever tags say of the same digest"
    } else {
        ""
    };
    No::Refused(format!("not signed at {}: {absence}{hint}", quoted(path)))
}

fn failed(error: &ClientError) -> No {
    match error {
        ClientError::NotTrusted(_) => No::Refused(chain(error)),
        ClientError::Undecided(error) => undecided(error),
    }
}

/// Unreachable is what gives no answer at all. A repository that answers, be it that it has no such file, is there.
fn undecided(error: &Undecided) -> No {
    let text = chain(error);
    match error {
        Undecided::Source(SourceError::Io { .. } | SourceError::TooSlow { .. } | SourceError::NoRepository { .. }) => {
            No::Unreachable(text)
        }
        Undecided::Source(SourceError::Status { status, .. }) if *status >= 500 || *status == 429 => {
            No::Unreachable(text)
        }
        _ => No::Refused(text),
    }
}

fn unusable(error: StoreError) -> No {
    No::Refused(chain(&error))
}

/// No request may take longer than there is time.
fn http(question: &Question) -> HttpLimits {
    let left = question.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mut limits = HttpLimits::default();
    limits.connect = limits.connect.min(left);
    limits.request = limits.request.min(left);
    limits.window = limits.window.min(left);
    limits
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}
