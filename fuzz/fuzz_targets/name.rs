//! Image names: never a panic; every way of writing a name leads back to it, and its folder climbs nowhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use plimsoll::name::ImageName;

fuzz_target!(|text: &str| {
    let Ok(name) = ImageName::parse(text) else {
        assert!(ImageName::parse_claim(text).is_err());
        return;
    };
    assert_eq!(ImageName::parse(&name.to_string()).as_ref(), Ok(&name));
    assert_eq!(ImageName::parse(&name.familiar()).as_ref(), Ok(&name));
    let folder = name.target_folder();
    assert!(folder.ends_with('/') && folder.trim_end_matches('/').split('/').all(|part| !matches!(part, "" | "." | "..")));
    if let Ok(claim) = ImageName::parse_claim(text) {
        assert_eq!(claim, name);
    }
});
