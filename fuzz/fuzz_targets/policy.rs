//! Policy files: never a panic; an error names a place within the text; the scope that governs a name is about it, and a tag that is only claimed changes
//! nothing but to have it refused.
//!
//! The first line of the input is an image name, the rest is a policy.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use plimsoll::name::ImageName;
use plimsoll::policy::{Policy, PolicyError, Ruling};

fuzz_target!(|text: &str| {
    let (name, text) = text.split_once('\n').unwrap_or(("registry.example/team/app:1.4", text));
    let policy = match Policy::parse(text, Path::new("/etc/plimsoll")) {
        Ok(policy) => policy,
        Err(PolicyError::Malformed { at, .. }) => {
            assert!(at.line >= 1 && at.line <= text.split('\n').count() && at.column >= 1);
            return;
        }
        Err(other) => panic!("{other}"),
    };
    let Ok(name) = ImageName::parse(name) else { return };
    match policy.rule(&name) {
        Ruling::Rule(entry, _) => {
            assert!(entry.scope().matches(&name));
            assert!(policy.matching(&name).first().is_some_and(|first| first.scope() == entry.scope()));
            if let Some(digest) = name.digest() {
                let bare = ImageName::parse(&format!("{}/{}@{digest}", name.host(), name.repository()));
                let bare = bare.expect("a part of a name is one");
                assert!(matches!(policy.rule(&bare), Ruling::Rule(other, _) if other.scope() == entry.scope()));
            }
        }
        Ruling::Refused(..) => {}
        Ruling::NoScope => assert!(policy.matching(&name).is_empty()),
    }
});
