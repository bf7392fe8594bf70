//! Whether a fetched profile lets through nothing that a baseline keeps out.
//!
//! Shown rule by rule: each rule of the fetched profile that lets something through must follow from one rule of the baseline, on every machine and for both widths of
//! arguments, and must not touch a rule of the baseline that keeps out. What cannot be shown so is refused; that some such profile would have been harmless is the price.
//!
//! - Both keep out what they do not name. A profile that lets through by default is refused, for nobody can list what a kernel will have.
//! - Of the fetched profile every rule counts that could: on any kernel, with whatever capabilities are taken away later. Of the baseline those that count on every kernel
//!   that Docker runs on, with the capabilities that the container keeps, and with those that the fetched rule itself waits for.

use super::condition::Width;
use super::{MACHINES, Machine, OLDEST_KERNEL, Rule, SeccompProfile};
use crate::profiles::capability::Capabilities;
use crate::profiles::error::{Code, Refusal};

impl SeccompProfile {
    /// Whether all that it lets through a container with these capabilities, or fewer, is let through by `baseline` too.
    ///
    /// ```
    /// use plimsoll::profiles::capability::Capabilities;
    /// use plimsoll::profiles::seccomp::SeccompProfile;
    ///
    /// let docker = SeccompProfile::docker_default();
    /// let only = |name| format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{{"names":["{name}"],"action":"SCMP_ACT_ALLOW"}}]}}"#);
    /// let profile = SeccompProfile::parse(only("read").as_bytes()).unwrap();
    /// assert!(profile.within(&docker, Capabilities::docker()).is_ok());
    ///
    /// let profile = SeccompProfile::parse(only("mount").as_bytes()).unwrap();
    /// let refusal = profile.within(&docker, Capabilities::docker()).unwrap_err();
    /// assert_eq!(refusal.to_string(), "mount on amd64: it is let through, expected kept out, as by the baseline, found let through");
    /// ```
    ///
    /// # Errors
    ///
    /// [`Code::Loosens`], with the first system call that is let through further and how.
    pub fn within(&self, baseline: &Self, kept: Capabilities) -> Result<(), Refusal> {
        if self.default.lets_through() || baseline.default.lets_through() {
            let whose = if self.default.lets_through() { "the profile" } else { "the baseline" };
            let message = format!("what {whose} does not name is let through");
            return Err(Refusal::new(Code::Loosens, "defaultAction", message)
                .expected("an action that keeps out, such as SCMP_ACT_ERRNO"));
        }
        // A profile may say two things of one call, and what comes of it is then told by the runtime alone; but it tells the same of both.
        if self == baseline {
            return Ok(());
        }
        MACHINES.iter().try_for_each(|machine| self.within_on(machine, baseline, kept))
    }

    fn within_on(&self, machine: &Machine, baseline: &Self, kept: Capabilities) -> Result<(), Refusal> {
        let (own, others) = (machine.listed(&self.architectures), machine.listed(&baseline.architectures));
        if let Some(more) = own.iter().find(|architecture| !others.contains(architecture)) {
            return Err(Refusal::new(Code::Loosens, machine.word, "calls of a further architecture are let through")
                .expected("one of the baseline's")
                .found(more.name));
        }
        let narrow = own.iter().any(|architecture| architecture.width == Width::Bits32).then_some(Width::Bits32);
        let wide = own.iter().any(|architecture| architecture.width == Width::Bits64).then_some(Width::Bits64);
        let candidates = self.rules.iter().filter(|rule| rule.action.lets_through() && rule.may_count(machine));
        for rule in candidates {
            for width in [wide, narrow].into_iter().flatten() {
                let against = Against { baseline, machine, width, kept: kept.and(rule.includes.capabilities) };
                rule.syscalls.iter().try_for_each(|name| against.check(name, rule))?;
            }
        }
        Ok(())
    }
}

impl Rule {
    /// Whether it may count on a machine, as part of a fetched profile.
    fn may_count(&self, machine: &Machine) -> bool {
        (self.includes.machines.is_empty() || self.includes.machines.contains(&machine.word))
            && !self.excludes.machines.contains(&machine.word)
    }

    /// Whether it surely counts, as part of a baseline, wherever `rule` does.
    fn surely_counts(&self, machine: &Machine, kept: Capabilities, rule: &Self) -> bool {
        let oldest = rule.includes.kernel.unwrap_or(OLDEST_KERNEL).max(OLDEST_KERNEL);
        self.may_keep_out(machine, kept)
            && self.includes.kernel.is_none_or(|kernel| kernel <= oldest)
            && self.excludes.kernel.is_none()
    }

    /// Whether it may count, as part of a baseline, in a container with just these capabilities.
    fn may_keep_out(&self, machine: &Machine, kept: Capabilities) -> bool {
        self.may_count(machine)
            && self.includes.capabilities.is_within(kept)
            && self.excludes.capabilities.is_apart_from(kept)
    }

    /// Whether every call that meets its conditions meets those of `other`.
    fn follows_from(&self, other: &Self, width: Width) -> bool {
        other.conditions.iter().all(|theirs| {
            let same = self.conditions.iter().find(|own| own.argument == theirs.argument);
            same.is_some_and(|own| own.test.implies(theirs.test, width))
        })
    }

    /// Whether no call meets the conditions of both.
    fn is_apart_from(&self, other: &Self, width: Width) -> bool {
        other.conditions.iter().any(|theirs| {
            let same = self.conditions.iter().find(|own| own.argument == theirs.argument);
            same.is_some_and(|own| own.test.excludes(theirs.test, width))
        })
    }
}

/// What one rule is held against.
struct Against<'b> {
    baseline: &'b SeccompProfile,
    machine: &'b Machine,
    width: Width,
    kept: Capabilities,
}

impl Against<'_> {
    fn check(&self, name: &&'static str, rule: &Rule) -> Result<(), Refusal> {
        let (machine, width, kept) = (self.machine, self.width, self.kept);
        let of_call = || self.baseline.rules.iter().filter(|other| other.syscalls.contains(name));
        let allowing =
            || of_call().filter(|other| other.action.lets_through() && other.surely_counts(machine, kept, rule));
        let on = format!("{name} on {}", machine.word);
        if !allowing().any(|other| rule.follows_from(other, width)) {
            let expected = match allowing().map(ToString::to_string).collect::<Vec<_>>().as_slice() {
                [] => "kept out, as by the baseline".to_owned(),
                few => format!("what the baseline has: {}", few.join("; or ")),
            };
            let message = if rule.conditions.is_empty() { "it is let through" } else { "too much is let through" };
            return Err(Refusal::new(Code::Loosens, on, message).expected(expected).found(rule));
        }
        let keeping_out = of_call().filter(|other| !other.action.lets_through() && other.may_keep_out(machine, kept));
        for other in keeping_out {
            if !rule.is_apart_from(other, width) {
                return Err(Refusal::new(
                    Code::Loosens,
                    on,
                    "calls are let through that a rule of the baseline keeps out",
                )
                .found(rule));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::condition::{Condition, Test};
    use super::super::{
        ARM, Action, Architecture, Architectures, Kernel, MIPSEL, Machine, S390, When, X32, X86, X86_64, syscalls,
    };
    use super::*;

    fn docker() -> SeccompProfile {
        SeccompProfile::docker_default()
    }

    fn parse(text: &str) -> SeccompProfile {
        SeccompProfile::parse(text.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal}\n{text}"))
    }

    fn rules(rules: &str) -> SeccompProfile {
        parse(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rules}]}}"#))
    }

    #[track_caller]
    fn refused(profile: &SeccompProfile, kept: Capabilities, subject: &str) {
        let refusal = profile.within(&docker(), kept).unwrap_err();
        assert_eq!((refusal.code, refusal.subject.as_str()), (Code::Loosens, subject), "{refusal}");
    }

    #[test]
    fn the_default_is_within_itself_and_less_is_too() {
        let all = Capabilities::named(["SYS_ADMIN", "BPF", "SYS_PTRACE", "SYS_TIME"]).unwrap();
        for kept in [Capabilities::docker(), Capabilities::NONE, Capabilities::docker().and(all)] {
            docker().within(&docker(), kept).unwrap();
            for left_out in 0..docker().rules.len() {
                let mut less = docker();
                // That clone3 is denied is no less, but more, once others allow it; alone it is nothing.
                less.rules.remove(left_out);
                less.within(&docker(), kept).unwrap();
            }
        }
    }

    #[test]
    fn podmans_own_profile_is_no_tightening_and_says_where() {
        let Ok(bytes) = std::fs::read("/usr/share/containers/seccomp.json") else { return };
        let podman = SeccompProfile::parse(&bytes).unwrap();
        podman.within(&podman, Capabilities::docker()).unwrap();
        podman.within(&podman, Capabilities::NONE).unwrap();
        // It lets unshare through to everybody, for instance.
        assert_eq!(podman.within(&docker(), Capabilities::docker()).unwrap_err().code, Code::Loosens);
    }

    /// Each with its nearest accepted twin.
    #[test]
    fn ways_to_let_through_more() {
        let kept = Capabilities::docker();
        let allow = |name: &str, more: &str| rules(&format!(r#"{{"name":"{name}","action":"SCMP_ACT_ALLOW"{more}}}"#));
        let arg = |index: u8, op: &str, value: u64| {
            format!(r#","args":[{{"index":{index},"op":"SCMP_CMP_{op}","value":{value}}}]"#)
        };
        for (fine, wrong, subject) in [
            (allow("read", ""), allow("mount", ""), "mount on amd64"),
            (
                rules(r#"{"name":"mount","action":"SCMP_ACT_ERRNO"}"#),
                rules(r#"{"name":"mount","action":"SCMP_ACT_LOG"}"#),
                "mount on amd64",
            ),
            (allow("socket", &arg(0, "EQ", 2)), allow("socket", ""), "socket on amd64"),
            (allow("socket", &arg(0, "LT", 40)), allow("socket", &arg(0, "LE", 40)), "socket on amd64"),
            (allow("socket", &arg(0, "NE", 40)), allow("socket", &arg(1, "NE", 40)), "socket on amd64"),
            // To a 32-bit comparison that is 40.
            (allow("socket", &arg(0, "EQ", 41)), allow("socket", &arg(0, "EQ", (1 << 32) + 40)), "socket on arm"),
            (allow("personality", &arg(0, "EQ", 8)), allow("personality", &arg(0, "EQ", 9)), "personality on amd64"),
            (
                allow(
                    "clone",
                    r#","excludes":{"arches":["s390x"]},"args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":2114060289}]"#,
                ),
                allow("clone", r#","args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":2114060288}]"#),
                "clone on s390x",
            ),
            (
                allow(
                    "clone",
                    r#","excludes":{"arches":["s390x"]},"args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":2114060288}]"#,
                ),
                allow(
                    "clone",
                    r#","excludes":{"arches":["s390x"]},"args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":2113929216}]"#,
                ),
                "clone on amd64",
            ),
            (allow("clone3", r#","includes":{"caps":["CAP_SYS_ADMIN"]}"#), allow("clone3", ""), "clone3 on amd64"),
            // Waiting for a capability is fine only where that capability brings it in the baseline.
            (
                allow("mount", r#","includes":{"caps":["CAP_SYS_ADMIN"]}"#),
                allow("kexec_load", r#","includes":{"caps":["CAP_SYS_ADMIN"]}"#),
                "kexec_load on amd64",
            ),
            // Podman keeps fewer capabilities, so this would count there.
            (
                allow("bpf", r#","includes":{"caps":["CAP_BPF"]}"#),
                allow("bpf", r#","excludes":{"caps":["CAP_NET_RAW"]}"#),
                "bpf on amd64",
            ),
            (
                allow("modify_ldt", r#","includes":{"arches":["amd64"]}"#),
                allow("modify_ldt", r#","includes":{"arches":["amd64","arm64"]}"#),
                "modify_ldt on arm64",
            ),
            // No machine that a condition may name is left out.
            (
                allow("ptrace", r#","includes":{"arches":["mips64"]}"#),
                allow("mount", r#","includes":{"arches":["mips64"]}"#),
                "mount on mips64",
            ),
            (
                allow("ptrace", r#","includes":{"arches":["ppc64"]}"#),
                allow("mount", r#","includes":{"arches":["ppc64"]}"#),
                "mount on ppc64",
            ),
            (
                allow("ptrace", r#","includes":{"minKernel":"4.8"}"#),
                allow("bpf", r#","includes":{"minKernel":"9.9"}"#),
                "bpf on amd64",
            ),
            (
                parse(r#"{"defaultAction":"SCMP_ACT_TRAP"}"#),
                parse(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#),
                "defaultAction",
            ),
            (
                parse(r#"{"defaultAction":"SCMP_ACT_KILL"}"#),
                parse(r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"name":"mount","action":"SCMP_ACT_ERRNO"}]}"#),
                "defaultAction",
            ),
            // A rule that keeps out takes nothing away.
            (
                rules(
                    r#"{"name":"read","action":"SCMP_ACT_ALLOW"},{"name":"read","action":"SCMP_ACT_ERRNO","args":[{"index":0,"op":"SCMP_CMP_EQ","value":3}]}"#,
                ),
                rules(
                    r#"{"name":"mount","action":"SCMP_ACT_ALLOW"},{"name":"mount","action":"SCMP_ACT_ERRNO","args":[{"index":0,"op":"SCMP_CMP_GE","value":0}]}"#,
                ),
                "mount on amd64",
            ),
        ] {
            fine.within(&docker(), kept).unwrap();
            refused(&wrong, kept, subject);
        }
    }

    #[test]
    fn dropped_capabilities_take_their_calls_along() {
        let chroot = rules(r#"{"name":"chroot","action":"SCMP_ACT_ALLOW"}"#);
        chroot.within(&docker(), Capabilities::docker()).unwrap();
        refused(&chroot, Capabilities::NONE, "chroot on amd64");
    }

    #[test]
    fn an_architecture_that_the_baseline_does_not_list_is_more() {
        let list = |list: &str| parse(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO",{list}}}"#));
        let kept = Capabilities::docker();
        let (native, both) = (
            list(r#""architectures":["SCMP_ARCH_X86_64"]"#),
            list(r#""architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X32"]"#),
        );
        native.within(&native, kept).unwrap();
        both.within(&docker(), kept).unwrap();
        let refusal = both.within(&native, kept).unwrap_err();
        assert_eq!((refusal.code, refusal.found.as_deref()), (Code::Loosens, Some("SCMP_ARCH_X32")), "{refusal}");
        // The entry of another machine says nothing of this one; one that cannot run here does no harm.
        let map = |own: &str, others: &str| {
            list(&format!(r#""archMap":[{{"architecture":"{own}","subArchitectures":["{others}"]}}]"#))
        };
        map("SCMP_ARCH_AARCH64", "SCMP_ARCH_X32").within(&native, kept).unwrap();
        map("SCMP_ARCH_X86_64", "SCMP_ARCH_ARM").within(&native, kept).unwrap();
        assert!(map("SCMP_ARCH_X86_64", "SCMP_ARCH_X86").within(&native, kept).is_err());
    }

    /// What a profile does, spelled out call by call, with no thought of comparing two. Independent of the code above.
    struct Evaluator<'p> {
        profile: &'p SeccompProfile,
        machine: &'p Machine,
        capabilities: Capabilities,
        kernel: Kernel,
    }

    impl Evaluator<'_> {
        fn counts(&self, rule: &Rule) -> bool {
            let word = self.machine.word;
            let When { capabilities, machines, kernel } = &rule.includes;
            let included = capabilities.is_within(self.capabilities)
                && (machines.is_empty() || machines.contains(&word))
                && kernel.is_none_or(|least| self.kernel >= least);
            let When { capabilities, machines, kernel } = &rule.excludes;
            let excluded = capabilities.names().iter().any(|c| self.capabilities.names().contains(c))
                || machines.contains(&word)
                || kernel.is_some_and(|least| self.kernel >= least);
            included && !excluded
        }

        fn takes(&self, architecture: Architecture) -> bool {
            let mut listed = vec![self.machine.own];
            match &self.profile.architectures {
                Architectures::List(list) => listed.extend(list),
                Architectures::Map(map) => {
                    for (own, others) in map {
                        if *own == self.machine.own {
                            listed.extend(others);
                        }
                    }
                }
            }
            listed.contains(&architecture)
        }

        /// The rules that this call meets let through, and keep out.
        fn meets(&self, architecture: Architecture, name: &str, arguments: [u64; 6]) -> (bool, bool) {
            let (mut through, mut out) = (false, false);
            for rule in self.profile.rules.iter().filter(|rule| rule.syscalls.contains(&name) && self.counts(rule)) {
                let mut all = true;
                for Condition { argument, test } in &rule.conditions {
                    all &= truncated(*test, architecture.width).holds(arguments[usize::from(*argument)]);
                }
                if all && rule.action.lets_through() {
                    through = true;
                } else if all {
                    out = true;
                }
            }
            (through && self.takes(architecture), out)
        }
    }

    fn truncated(test: Test, width: Width) -> Test {
        let low = |v: u64| if width == Width::Bits32 { v & u64::from(u32::MAX) } else { v };
        match test {
            Test::Ne(v) => Test::Ne(low(v)),
            Test::Lt(v) => Test::Lt(low(v)),
            Test::Le(v) => Test::Le(low(v)),
            Test::Eq(v) => Test::Eq(low(v)),
            Test::Ge(v) => Test::Ge(low(v)),
            Test::Gt(v) => Test::Gt(low(v)),
            Test::Masked { mask, value } => Test::Masked { mask: low(mask), value: low(value) },
        }
    }

    /// A small generator, so that each run tries the same.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0.rem_euclid(u64::try_from(bound).unwrap())).unwrap()
        }

        fn one<T: Copy>(&mut self, of: &[T]) -> T {
            of[self.below(of.len())]
        }
    }

    const NAMES: [&str; 9] =
        ["read", "socket", "personality", "clone", "clone3", "mount", "chroot", "modify_ldt", "ptrace"];
    const VALUES: [u64; 10] = [0, 1, 8, 9, 40, 0x2_0000, 0x7e02_0000, 0xffff_ffff, (1 << 32) + 40, u64::MAX];

    fn some_when(random: &mut Random) -> When {
        let mut when = When::default();
        if random.below(5) == 0 {
            when.capabilities = Capabilities::named([random.one(&["SYS_ADMIN", "SYS_CHROOT", "NET_RAW"])]).unwrap();
        }
        if random.below(6) == 0 {
            when.machines = vec![random.one(&["amd64", "s390x", "arm64", "x86", "386"])];
        }
        if random.below(9) == 0 {
            when.kernel = Some(random.one(&[Kernel(4, 8), Kernel(5, 10)]));
        }
        when
    }

    fn some_profile(random: &mut Random) -> SeccompProfile {
        let mut rules = Vec::new();
        for _ in 0..random.below(4) {
            let mut conditions: Vec<Condition> = Vec::new();
            for _ in 0..random.below(3) {
                let (value, argument) = (random.one(&VALUES), u8::try_from(random.below(2)).unwrap());
                let test = match random.below(7) {
                    0 => Test::Ne(value),
                    1 => Test::Lt(value),
                    2 => Test::Le(value),
                    3 => Test::Eq(value),
                    4 => Test::Ge(value),
                    5 => Test::Gt(value),
                    _ => Test::Masked { mask: value, value: random.one(&VALUES) },
                };
                if conditions.iter().all(|other| other.argument != argument) {
                    conditions.push(Condition { argument, test });
                }
            }
            let action = random.one(&[Action::Allow, Action::Allow, Action::Log, Action::Errno(1)]);
            let (includes, excludes) = (some_when(random), some_when(random));
            rules.push(Rule { syscalls: vec![random.one(&NAMES)], action, conditions, includes, excludes });
        }
        let list = [X86, X32, ARM, S390, MIPSEL, X86_64];
        let architectures = match random.below(3) {
            0 => docker().architectures,
            1 => Architectures::List(list[..random.below(6)].to_vec()),
            _ => Architectures::Map(vec![(X86_64, vec![random.one(&list)])]),
        };
        SeccompProfile { default: Action::Errno(1), architectures, rules }
    }

    /// No sample may be let through by the profile and kept out by the baseline if the check says yes.
    fn assert_sound(profile: &SeccompProfile, baseline: &SeccompProfile, kept: Capabilities) {
        let fewer = [kept, Capabilities::NONE, kept.without(Capabilities::named(["NET_RAW"]).unwrap())];
        let kernels = [Kernel(4, 8), Kernel(5, 9), Kernel(6, 1)];
        for machine in &MACHINES {
            for (capabilities, kernel) in fewer.iter().flat_map(|c| kernels.map(|k| (*c, k))) {
                let fetched = Evaluator { profile, machine, capabilities, kernel };
                let ours = Evaluator { profile: baseline, machine, capabilities: kept, kernel };
                for architecture in [machine.own].iter().chain(machine.runs) {
                    for name in NAMES {
                        for (first, second) in VALUES.iter().flat_map(|a| VALUES.map(|b| (*a, b))) {
                            let low = |v: u64| {
                                if architecture.width == Width::Bits32 { v & u64::from(u32::MAX) } else { v }
                            };
                            let arguments = [low(first), low(second), 0, 0, 0, 0];
                            let (through, _) = fetched.meets(*architecture, name, arguments);
                            if through {
                                let (ours_through, ours_out) = ours.meets(*architecture, name, arguments);
                                assert!(
                                    ours_through && !ours_out,
                                    "{name} {arguments:?} on {} as {architecture:?} with {capabilities} on {kernel:?}\n{profile:#?}\n{baseline:#?}",
                                    machine.word
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[allow(clippy::arithmetic_side_effects, reason = "small numbers")]
    fn no_call_is_let_through_further_by_what_is_found_to_be_within() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let (mut within, mut tried) = (0, 0);
        while within < 40 && tried < 200_000 {
            tried += 1;
            let profile = some_profile(&mut random);
            let baseline = if random.below(2) == 0 { docker() } else { some_profile(&mut random) };
            let kept = random.one(&[Capabilities::docker(), Capabilities::NONE]);
            if profile.rules.iter().any(|rule| rule.action.lets_through()) && profile.within(&baseline, kept).is_ok() {
                within += 1;
                assert_sound(&profile, &baseline, kept);
            }
        }
        assert_eq!(within, 40, "of {tried}");
    }

    #[test]
    fn each_name_alone_is_within_just_where_the_default_lets_it_through() {
        let kept = Capabilities::docker();
        let baseline = docker();
        let machine = &MACHINES[0];
        let mut count = 0;
        for name in syscalls::all() {
            let profile =
                rules(&format!(r#"{{"name":"{name}","action":"SCMP_ACT_ALLOW","includes":{{"arches":["amd64"]}}}}"#));
            let ours = Evaluator { profile: &baseline, machine, capabilities: kept, kernel: OLDEST_KERNEL };
            // 40 in the first, flags of clone in the first: what is let through there is so everywhere.
            let everywhere = [40, 0x7e02_0000].iter().all(|first| ours.meets(X86_64, name, [*first, 0, 0, 0, 0, 0]).0);
            assert_eq!(profile.within(&baseline, kept).is_ok(), everywhere, "{name}");
            count += usize::from(everywhere);
        }
        assert!(count > 340, "{count}");
    }
}
