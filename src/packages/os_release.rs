//! Which distribution an image says it is [os-release(5)].

use super::error::Unreadable;
use crate::text::quoted;

/// What is read of a file: real ones are below 1 KiB.
const SIZE_MAX: usize = 64 * 1024;
/// Longer than any name or version of a distribution.
const VALUE_MAX: usize = 256;

/// A distribution and its release, as the image claims them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distro {
    /// `ID`: `debian`, `alpine`, `rhel`. As the page says, `linux` where the file has none.
    pub id: String,
    /// `VERSION_ID`: `12`, `3.20.3`. Rolling distributions have none.
    pub version_id: Option<String>,
}

/// Reads an `os-release` file.
///
/// Lines that assign other variables are not looked at; of two that assign one, the last counts, as in a shell.
///
/// # Errors
///
/// [`Unreadable`] if the file is over 64 KiB, is not UTF-8, or assigns `ID` or `VERSION_ID` something that a shell would read differently or that is no plain word.
pub fn read(bytes: &[u8]) -> Result<Distro, Unreadable> {
    if bytes.len() > SIZE_MAX {
        return Err(Unreadable::new(format!("os-release: longer than {SIZE_MAX} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| Unreadable::new(format!("os-release: not UTF-8: {e}")))?;
    let (mut id, mut version_id) = (None, None);
    for line in text.split('\n') {
        let line = line.trim_matches([' ', '\t']);
        let Some((variable, assigned)) = line.split_once('=') else { continue };
        let slot = match variable {
            "ID" => &mut id,
            "VERSION_ID" => &mut version_id,
            _ => continue,
        };
        let word = unquoted(assigned).filter(|word| is_plain(word));
        let word = word.ok_or_else(|| Unreadable::new(format!("os-release: {variable} is {}", quoted(assigned))))?;
        *slot = Some(word).filter(|word| !word.is_empty());
    }
    Ok(Distro { id: id.unwrap_or_else(|| "linux".to_owned()), version_id })
}

/// What a shell makes of the right side of an assignment. `None` for what the page does not allow: quotes inside, more than one word, expansions.
fn unquoted(assigned: &str) -> Option<String> {
    if let Some(inner) = assigned.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'')?;
        return (!inner.contains('\'')).then(|| inner.to_owned());
    }
    let inner = assigned.strip_prefix('"').map_or(Some(assigned), |inner| inner.strip_suffix('"'))?;
    // A plain word needs no escapes, so a backslash is refused with the rest.
    (!inner.contains(['"', '\'', '\\', '$', '`'])).then(|| inner.to_owned())
}

fn is_plain(word: &str) -> bool {
    word.len() <= VALUE_MAX
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n\
        VERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\nHOME_URL=\"https://www.debian.org/\"\n";
    const ALPINE: &str = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=\"Alpine Linux v3.20\"\n";

    #[test]
    fn a_distribution_is_its_last_id_and_version() {
        for (text, expected) in [
            (DEBIAN, Some(("debian", Some("12")))),
            (ALPINE, Some(("alpine", Some("3.20.3")))),
            ("ID='ubuntu'\nVERSION_ID='22.04'", Some(("ubuntu", Some("22.04")))),
            ("ID=arch\nBUILD_ID=rolling\n", Some(("arch", None))),
            ("", Some(("linux", None))),
            ("ID=\nVERSION_ID=\"\"\n", Some(("linux", None))),
            ("ID=a\nID=b\n", Some(("b", None))),
            ("ID=a\nID=\n", Some(("linux", None))),
            ("#ID=a\n # ID=c\nID=b\nID_LIKE=a\nnonsense\n", Some(("b", None))),
            ("\tID=a \n", Some(("a", None))),
            ("ID = a\n", Some(("linux", None))),
            // What a shell reads differently, or not at all.
            ("ID=\"a\n", None),
            ("ID=a'\n", None),
            ("ID='a'b\n", None),
            ("ID=\"a\"\"b\"\n", None),
            ("ID=a b\n", None),
            ("ID=a # comment\n", None),
            ("ID=$NAME\n", None),
            ("ID=\"\\x\"\n", None),
            ("ID=a\r\n", None),
            ("ID=é\n", None),
            // The same in a variable that is not read.
            ("NAME=\"a\nID=b\n", Some(("b", None))),
        ] {
            let distro = read(text.as_bytes()).ok();
            assert_eq!(distro.as_ref().map(|d| (d.id.as_str(), d.version_id.as_deref())), expected, "{text:?}");
        }
    }

    #[test]
    fn a_file_has_an_end() {
        let line = |length: usize| format!("ID={}\n", "a".repeat(length));
        assert!(read(line(256).as_bytes()).is_ok());
        assert!(read(line(257).as_bytes()).is_err());
        assert!(read("\n".repeat(SIZE_MAX).as_bytes()).is_ok());
        assert!(read("\n".repeat(SIZE_MAX + 1).as_bytes()).is_err());
        assert!(read(b"ID=a\xff").is_err());
    }
}
