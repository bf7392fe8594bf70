//! Reads a profile in either dialect. What it does not know it refuses: runtimes pass over unknown keys and names, so a mistake would go unnoticed.
//!
//! Go's decoder, in Docker and Podman, takes keys in any case and `null` for nothing. Keys are exact here, so no other spelling of one passes by.

use super::condition::{Condition, Test};
use super::{
    ARCHITECTURES, Action, Architecture, Architectures, Kernel, MACHINE_WORDS, Rule, SeccompProfile, When, syscalls,
};
use crate::metadata::json::{self, At, Value};
use crate::profiles::PROFILE_MAX;
use crate::profiles::capability::Capabilities;
use crate::profiles::error::{Code, Refusal};
use crate::text::quoted;

/// The most that a rule's error may be [seccomp(2), MAX_ERRNO of the kernel].
const ERRNO_MAX: u64 = 4095;
/// Rules of one profile; Docker's has some thirty. With many conditions each, this bounds the work of comparing two profiles.
const RULES_MAX: usize = 4096;

/// Names of errors that profiles for Podman have beside their number.
const ERRORS: [(&str, u64); 9] = [
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EIO", 5),
    ("EACCES", 13),
    ("EINVAL", 22),
    ("ENOSYS", 38),
    ("EOPNOTSUPP", 95),
    ("ENOTSUP", 95),
    ("EAFNOSUPPORT", 97),
];

impl SeccompProfile {
    /// Reads a profile as `docker run --security-opt seccomp=FILE` takes it.
    ///
    /// # Errors
    ///
    /// [`Code::Malformed`], [`Code::Unknown`], [`Code::Contradictory`]; [`Code::HandsOver`] for actions that leave the decision to another process.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.len() > PROFILE_MAX {
            return Err(Refusal::malformed("", format!("longer than {PROFILE_MAX} bytes")));
        }
        if is_yaml(bytes) {
            return Err(kubernetes());
        }
        let value = json::parse(bytes).map_err(|error| Refusal::json("", &error))?;
        profile(&At::document(&value))
    }
}

fn profile(at: &At<'_>) -> Result<SeccompProfile, Refusal> {
    if let Value::Object(object) = at.value()
        && (object.get("apiVersion").is_some() || object.get("kind").is_some())
    {
        return Err(kubernetes());
    }
    let known = [
        "defaultAction",
        "defaultErrnoRet",
        "defaultErrno",
        "architectures",
        "archMap",
        "flags",
        "listenerPath",
        "listenerMetadata",
        "syscalls",
        "comment",
    ];
    only(at, &known)?;
    for key in ["listenerPath", "listenerMetadata"] {
        if let Some(found) = present(at, key)? {
            return Err(Refusal::new(Code::HandsOver, found.path(), "another process is asked about system calls"));
        }
    }
    flags(at)?;
    let default = action(at, "defaultAction", "defaultErrnoRet", "defaultErrno")?;
    let architectures = architectures(at)?;
    let mut rules: Vec<Rule> = Vec::new();
    if let Some(list) = present(at, "syscalls")? {
        let items = list.items().map_err(shape)?;
        if items.len() > RULES_MAX {
            return Err(Refusal::malformed("syscalls", format!("more than {RULES_MAX} rules")));
        }
        for item in items {
            let rule = rule(&item)?;
            contradicts_none(&rule, &rules, &item)?;
            rules.push(rule);
        }
    }
    Ok(SeccompProfile { default, architectures, rules })
}

/// Flags of the filter [seccomp(2)].
fn flags(at: &At<'_>) -> Result<(), Refusal> {
    for flag in strings(at, "flags")? {
        match flag.as_str() {
            "SECCOMP_FILTER_FLAG_TSYNC" | "SECCOMP_FILTER_FLAG_LOG" => {}
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => {
                return Err(Refusal::new(
                    Code::Loosens,
                    "flags",
                    "it switches off a protection from speculative execution",
                )
                .found(quoted(&flag)));
            }
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => {
                return Err(Refusal::new(Code::HandsOver, "flags", "another process is asked about system calls")
                    .found(quoted(&flag)));
            }
            _ => return Err(Refusal::new(Code::Unknown, "flags", "an unknown flag").found(quoted(&flag))),
        }
    }
    Ok(())
}

fn architectures(at: &At<'_>) -> Result<Architectures, Refusal> {
    let list = present(at, "architectures")?;
    let Some(map) = present(at, "archMap")? else {
        let Some(list) = list else { return Ok(Architectures::List(Vec::new())) };
        let names = list.items().map_err(shape)?;
        return Ok(Architectures::List(names.map(|name| architecture(&name)).collect::<Result<_, _>>()?));
    };
    if list.is_some() {
        return Err(Refusal::new(
            Code::Contradictory,
            "",
            "it has both architectures and archMap; Docker takes neither",
        ));
    }
    let mut entries: Vec<(Architecture, Vec<Architecture>)> = Vec::new();
    for entry in map.items().map_err(shape)? {
        only(&entry, &["architecture", "subArchitectures"])?;
        let own = architecture(&entry.field("architecture").map_err(shape)?)?;
        if entries.iter().any(|(other, _)| *other == own) {
            return Err(
                Refusal::new(Code::Contradictory, entry.path(), "a second entry for one architecture").found(own.name)
            );
        }
        let others = match present(&entry, "subArchitectures")? {
            Some(list) => list.items().map_err(shape)?.map(|name| architecture(&name)).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        entries.push((own, others));
    }
    Ok(Architectures::Map(entries))
}

fn architecture(at: &At<'_>) -> Result<Architecture, Refusal> {
    let name = at.string().map_err(shape)?;
    let found = ARCHITECTURES.into_iter().find(|architecture| architecture.name == name);
    found.ok_or_else(|| {
        Refusal::new(Code::Unknown, at.path(), "an unknown architecture")
            .expected("one such as SCMP_ARCH_X86_64")
            .found(quoted(name))
    })
}

/// The action under a key; its error, if it has one, as number or name.
fn action(at: &At<'_>, key: &str, number: &str, name: &str) -> Result<Action, Refusal> {
    let place = at.field(key).map_err(shape)?;
    let word = place.string().map_err(shape)?;
    let errno = errno(at, number, name)?;
    let action = match word {
        "SCMP_ACT_ALLOW" => Action::Allow,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ERRNO" => return Ok(Action::Errno(errno.unwrap_or(1))),
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_NOTIFY" | "SCMP_ACT_TRACE" => {
            return Err(Refusal::new(Code::HandsOver, place.path(), "another process is asked about system calls")
                .expected("an action that the kernel carries out itself")
                .found(word));
        }
        _ => {
            return Err(Refusal::new(Code::Unknown, place.path(), "an unknown action")
                .expected("one such as SCMP_ACT_ERRNO")
                .found(quoted(word)));
        }
    };
    match errno {
        None => Ok(action),
        Some(_) => {
            Err(Refusal::new(Code::Contradictory, at.path(), "an error goes with SCMP_ACT_ERRNO alone").found(word))
        }
    }
}

fn errno(at: &At<'_>, number: &str, name: &str) -> Result<Option<u16>, Refusal> {
    let by_number = present(at, number)?.map(|at| at.unsigned().map_err(shape)).transpose()?;
    let by_name = match present(at, name)? {
        None => None,
        Some(place) => {
            let name = place.string().map_err(shape)?;
            let known = ERRORS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
            let known = known.ok_or_else(|| {
                Refusal::new(Code::Unknown, place.path(), "an error that is not known by name; its number will do")
                    .found(quoted(name))
            })?;
            Some(known)
        }
    };
    if let (Some(number), Some(name)) = (by_number, by_name)
        && number != name
    {
        return Err(Refusal::new(Code::Contradictory, at.path(), "two errors").expected(number).found(name));
    }
    let Some(found) = by_number.or(by_name) else { return Ok(None) };
    // Error 0 would tell the program that the call was made: that it gave up its privileges, for instance.
    match u16::try_from(found).ok().filter(|_| (1..=ERRNO_MAX).contains(&found)) {
        Some(errno) => Ok(Some(errno)),
        None => Err(Refusal::malformed(at.path(), "not an error").expected(format!("1 to {ERRNO_MAX}")).found(found)),
    }
}

fn rule(at: &At<'_>) -> Result<Rule, Refusal> {
    only(at, &["name", "names", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"])?;
    let mut syscalls = Vec::new();
    match (present(at, "name")?, present(at, "names")?) {
        (Some(name), None) => syscalls.push(syscall(&name)?),
        (None, Some(names)) => {
            for name in names.items().map_err(shape)? {
                syscalls.push(syscall(&name)?);
            }
        }
        (Some(_), Some(_)) => return Err(Refusal::new(Code::Contradictory, at.path(), "it has both name and names")),
        (None, None) => {}
    }
    if syscalls.is_empty() {
        return Err(Refusal::malformed(at.path(), "a rule for no system call"));
    }
    let mut conditions: Vec<Condition> = Vec::new();
    if let Some(list) = present(at, "args")? {
        for item in list.items().map_err(shape)? {
            let condition = condition(&item)?;
            if conditions.iter().any(|other| other.argument == condition.argument) {
                return Err(Refusal::new(
                    Code::Contradictory,
                    item.path(),
                    format!(
                        "a second condition on argument {}: runtimes take the two as alternatives",
                        condition.argument
                    ),
                )
                .expected("a rule for each"));
            }
            conditions.push(condition);
        }
    }
    conditions.sort_by_key(|condition| condition.argument);
    let action = action(at, "action", "errnoRet", "errno")?;
    Ok(Rule { syscalls, action, conditions, includes: when(at, "includes")?, excludes: when(at, "excludes")? })
}

fn syscall(at: &At<'_>) -> Result<&'static str, Refusal> {
    let name = at.string().map_err(shape)?;
    syscalls::named(name).ok_or_else(|| {
        Refusal::new(Code::Unknown, at.path(), "an unknown system call: runtimes would pass over it")
            .found(quoted(name))
    })
}

fn condition(at: &At<'_>) -> Result<Condition, Refusal> {
    only(at, &["index", "value", "valueTwo", "op"])?;
    let index = at.field("index").map_err(shape)?.unsigned().map_err(shape)?;
    let argument = u8::try_from(index).ok().filter(|index| *index <= 5);
    let argument = argument.ok_or_else(|| {
        Refusal::malformed(at.path(), "a system call has no such argument").expected("0 to 5").found(index)
    })?;
    let number = |key| present(at, key)?.map_or(Ok(0), |at| at.unsigned().map_err(shape));
    let (value, second) = (number("value")?, number("valueTwo")?);
    let place = at.field("op").map_err(shape)?;
    let test = match place.string().map_err(shape)? {
        "SCMP_CMP_NE" => Test::Ne(value),
        "SCMP_CMP_LT" => Test::Lt(value),
        "SCMP_CMP_LE" => Test::Le(value),
        "SCMP_CMP_EQ" => Test::Eq(value),
        "SCMP_CMP_GE" => Test::Ge(value),
        "SCMP_CMP_GT" => Test::Gt(value),
        "SCMP_CMP_MASKED_EQ" => return Ok(Condition { argument, test: Test::Masked { mask: value, value: second } }),
        word => {
            return Err(Refusal::new(Code::Unknown, place.path(), "an unknown comparison")
                .expected("one such as SCMP_CMP_EQ")
                .found(quoted(word)));
        }
    };
    if second != 0 {
        return Err(Refusal::malformed(at.path(), "a second value goes with SCMP_CMP_MASKED_EQ alone").found(second));
    }
    Ok(Condition { argument, test })
}

fn when(at: &At<'_>, key: &str) -> Result<When, Refusal> {
    let Some(at) = present(at, key)? else { return Ok(When::default()) };
    only(&at, &["caps", "arches", "minKernel"])?;
    let mut when = When::default();
    for name in strings(&at, "caps")? {
        // Without CAP_ it would match none of the names that a container has.
        let known = name.starts_with("CAP_").then(|| Capabilities::named([name.as_str()]).ok()).flatten();
        let known = known.ok_or_else(|| {
            Refusal::new(Code::Unknown, at.path(), "an unknown capability")
                .expected("one such as CAP_CHOWN")
                .found(quoted(&name))
        })?;
        when.capabilities = when.capabilities.and(known);
    }
    for name in strings(&at, "arches")? {
        let known = MACHINE_WORDS.into_iter().find(|word| *word == name);
        let known = known.ok_or_else(|| {
            Refusal::new(Code::Unknown, at.path(), "an unknown machine")
                .expected("one such as amd64")
                .found(quoted(&name))
        })?;
        when.machines.push(known);
    }
    if let Some(place) = present(&at, "minKernel")? {
        let text = place.string().map_err(shape)?;
        when.kernel = Some(kernel(text).ok_or_else(|| {
            Refusal::malformed(place.path(), "not a version of Linux")
                .expected("one such as \"4.8\"")
                .found(quoted(text))
        })?);
    }
    Ok(when)
}

fn kernel(text: &str) -> Option<Kernel> {
    let number = |text: &str| {
        let is_plain = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| is_plain)
    };
    let (major, minor) = text.split_once('.')?;
    Some(Kernel(number(major)?, number(minor)?))
}

/// Two rules that say different things in the same case.
fn contradicts_none(rule: &Rule, others: &[Rule], at: &At<'_>) -> Result<(), Refusal> {
    let is_same_case = |other: &&Rule| {
        other.action != rule.action
            && other.conditions == rule.conditions
            && other.includes == rule.includes
            && other.excludes == rule.excludes
    };
    for other in others.iter().filter(is_same_case) {
        if let Some(name) = rule.syscalls.iter().find(|name| other.syscalls.contains(name)) {
            return Err(Refusal::new(
                Code::Contradictory,
                at.path(),
                format!("{name} has another action in the same case"),
            ));
        }
    }
    Ok(())
}

/// The value under a key; `null` is none, as Go has it.
fn present<'b>(at: &'b At<'_>, key: &'b str) -> Result<Option<At<'b>>, Refusal> {
    Ok(at.optional(key).map_err(shape)?.filter(|at| *at.value() != Value::Null))
}

fn strings(at: &At<'_>, key: &str) -> Result<Vec<String>, Refusal> {
    let Some(list) = present(at, key)? else { return Ok(Vec::new()) };
    let mut strings = Vec::new();
    for item in list.items().map_err(shape)? {
        strings.push(item.string().map_err(shape)?.to_owned());
    }
    Ok(strings)
}

fn only(at: &At<'_>, known: &[&str]) -> Result<(), Refusal> {
    crate::profiles::known_keys(at, known)
}

#[expect(clippy::needless_pass_by_value, reason = "handed to map_err")]
fn shape(error: json::Error) -> Refusal {
    Refusal::json("", &error)
}

/// Whether the text begins as no JSON object does, and speaks of Kubernetes.
fn is_yaml(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    !text.trim_start().starts_with('{')
        && text.lines().any(|line| line.starts_with("apiVersion:") || line.starts_with("kind:"))
}

fn kubernetes() -> Refusal {
    Refusal::malformed("", "it is wrapped as a Kubernetes resource; take the profile in its spec, as JSON")
        .expected("a JSON object with defaultAction and syscalls")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Option<Code> {
        SeccompProfile::parse(text.as_bytes()).err().map(|refusal| refusal.code)
    }

    #[test]
    fn each_refused_profile_has_an_accepted_twin() {
        let deny = |more: &str| format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO"{more}}}"#);
        let rule = |more: &str| deny(&format!(r#","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW"{more}}}]"#));
        let args = |args: &str| rule(&format!(r#","args":[{args}]"#));
        let (malformed, unknown) = (Some(Code::Malformed), Some(Code::Unknown));
        let (contradictory, hands_over) = (Some(Code::Contradictory), Some(Code::HandsOver));
        for (text, expected) in [
            (deny(""), None),
            (String::new(), malformed),
            ("[]".to_owned(), malformed),
            ("{}".to_owned(), malformed),
            (r#"{"defaultAction":"SCMP_ACT_DENY"}"#.to_owned(), unknown),
            (r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS"}"#.to_owned(), None),
            (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#.to_owned(), hands_over),
            (r#"{"defaultAction":"SCMP_ACT_TRACE"}"#.to_owned(), hands_over),
            (r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}"#.to_owned(), contradictory),
            (deny(r#","defaultErrnoRet":38"#), None),
            (deny(r#","defaultErrnoRet":38,"defaultErrno":"ENOSYS""#), None),
            (deny(r#","defaultErrnoRet":38,"defaultErrno":"EPERM""#), contradictory),
            (deny(r#","defaultErrno":"EWHAT""#), unknown),
            (deny(r#","defaultErrnoRet":0"#), malformed),
            (deny(r#","defaultErrnoRet":4095"#), None),
            (deny(r#","defaultErrnoRet":4096"#), malformed),
            (deny(r#","defaultErrnoRet":-1"#), malformed),
            (deny(r#","DefaultErrnoRet":1"#), unknown),
            (deny(r#","syscalls":null"#), None),
            (deny(r#","Syscalls":[]"#), unknown),
            (deny(r#","syscalls":[],"syscalls":[]"#), malformed),
            (deny(r#","listenerPath":null"#), None),
            (deny(r#","listenerPath":"/run/agent.sock""#), hands_over),
            (deny(r#","listenerMetadata":"x""#), hands_over),
            (deny(r#","flags":["SECCOMP_FILTER_FLAG_LOG"]"#), None),
            (deny(r#","flags":["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#), Some(Code::Loosens)),
            (deny(r#","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#), hands_over),
            (deny(r#","flags":["SECCOMP_FILTER_FLAG_X"]"#), unknown),
            (deny(r#","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"]"#), None),
            (deny(r#","architectures":["SCMP_ARCH_Z80"]"#), unknown),
            (deny(r#","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":null}]"#), None),
            (deny(r#","archMap":[],"architectures":[]"#), contradictory),
            (deny(r#","archMap":[{"architecture":"SCMP_ARCH_ARM"},{"architecture":"SCMP_ARCH_ARM"}]"#), contradictory),
            (deny(r#","archMap":[{"architecture":"SCMP_ARCH_ARM","sub":[]}]"#), unknown),
            (rule(""), None),
            (rule(r#","errnoRet":1"#), contradictory),
            (rule(r#","comment":"why""#), None),
            (rule(r#","priority":1"#), unknown),
            (rule(r#","name":"write""#), contradictory),
            (deny(r#","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW"}]"#), None),
            (deny(r#","syscalls":[{"name":"raed","action":"SCMP_ACT_ALLOW"}]"#), unknown),
            (deny(r#","syscalls":[{"names":[],"action":"SCMP_ACT_ALLOW"}]"#), malformed),
            (deny(r#","syscalls":[{"names":["read"]}]"#), malformed),
            (deny(r#","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]"#), hands_over),
            (deny(r#","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":0}]"#), malformed),
            (
                deny(
                    r#","syscalls":[{"name":"read","action":"SCMP_ACT_LOG"},{"name":"read","action":"SCMP_ACT_TRAP"}]"#,
                ),
                contradictory,
            ),
            (
                deny(
                    r#","syscalls":[{"name":"read","action":"SCMP_ACT_LOG"},{"name":"read","action":"SCMP_ACT_LOG"}]"#,
                ),
                None,
            ),
            (args(r#"{"index":5,"value":1,"op":"SCMP_CMP_GE"}"#), None),
            (args(r#"{"index":6,"value":1,"op":"SCMP_CMP_GE"}"#), malformed),
            (args(r#"{"index":0,"value":1,"op":"SCMP_CMP_XX"}"#), unknown),
            (args(r#"{"index":0,"value":1.5,"op":"SCMP_CMP_EQ"}"#), malformed),
            (args(r#"{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_EQ"}"#), malformed),
            (args(r#"{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}"#), None),
            (args(r#"{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}"#), None),
            (args(r#"{"index":0,"value":18446744073709551616,"op":"SCMP_CMP_EQ"}"#), malformed),
            (args(r#"{"index":0,"value":1,"op":"SCMP_CMP_GE"},{"index":1,"value":2,"op":"SCMP_CMP_LE"}"#), None),
            (
                args(r#"{"index":0,"value":1,"op":"SCMP_CMP_GE"},{"index":0,"value":2,"op":"SCMP_CMP_LE"}"#),
                contradictory,
            ),
            (rule(r#","includes":{"caps":["CAP_CHOWN"],"arches":["amd64"],"minKernel":"4.8"}"#), None),
            (rule(r#","includes":{}"#), None),
            (rule(r#","includes":{"caps":["CHOWN"]}"#), unknown),
            (rule(r#","includes":{"arches":["vax"]}"#), unknown),
            (rule(r#","includes":{"minKernel":"4"}"#), malformed),
            (rule(r#","includes":{"minKernel":"+4.8"}"#), malformed),
            (rule(r#","excludes":{"kernel":"4.8"}"#), unknown),
        ] {
            assert_eq!(code(&text), expected, "{text}");
        }
    }

    #[test]
    fn a_kubernetes_resource_is_told_as_such() {
        for text in [
            "apiVersion: security-profiles-operator.x-k8s.io/v1beta1\nkind: SeccompProfile\nspec:\n  defaultAction: SCMP_ACT_ERRNO\n",
            r#"{"apiVersion":"v1","kind":"SeccompProfile","spec":{"defaultAction":"SCMP_ACT_ERRNO"}}"#,
        ] {
            let refusal = SeccompProfile::parse(text.as_bytes()).unwrap_err();
            assert!(refusal.message.contains("Kubernetes"), "{refusal}");
        }
    }
}
