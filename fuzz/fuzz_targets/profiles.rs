//! Security profiles: never a panic or a hang; a profile is within itself, and what follows from nothing adds nothing; what is bound is read again, and is bound to the same.
//!
//! The input is a byte for the kind, then the profile.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use plimsoll::digest::Sha256;
use plimsoll::profiles::Kind;
use plimsoll::profiles::apparmor::AppArmorProfiles;
use plimsoll::profiles::baseline::Baseline;
use plimsoll::profiles::capability::Capabilities;
use plimsoll::profiles::run::{self, RunProfile};
use plimsoll::profiles::seccomp::SeccompProfile;
use plimsoll::profiles::selinux::SelinuxModule;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => {
            let Ok(profile) = SeccompProfile::parse(bytes) else { return };
            let docker = SeccompProfile::docker_default();
            let is_within = |kept| profile.within(&docker, kept).is_ok();
            // Who keeps less is let through less by the baseline, never more.
            assert!(!is_within(Capabilities::NONE) || is_within(Capabilities::docker()));
            let nothing = SeccompProfile::parse(br#"{"defaultAction":"SCMP_ACT_ERRNO"}"#).unwrap();
            assert!(nothing.within(&profile, Capabilities::NONE).is_ok() || profile.within(&docker, Capabilities::NONE).is_err());
        }
        1 => {
            let image = Sha256::of(b"image");
            if let Ok(signed) = run::bound(bytes, image, &BTreeMap::new()) {
                assert_eq!(RunProfile::parse(&signed).unwrap().manifest(), Some(image));
                let files = BTreeMap::from([(Kind::Run, signed)]);
                assert!(Baseline::default().check(&files, Sha256::of(b"another")).is_err());
            }
        }
        2 => {
            if let Ok(profiles) = AppArmorProfiles::parse(bytes, false) {
                assert!(profiles.names().iter().all(|name| name != "docker-default" && !name.contains('/')));
            }
        }
        _ => {
            let _ = SelinuxModule::parse(bytes).and_then(|module| module.within(Capabilities::docker()));
        }
    }
});
