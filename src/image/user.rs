//! The user that an image runs as, if nobody says otherwise when it is started: a pure function of its config and of its `/etc/passwd`.
//!
//! Runtimes differ. Docker and podman look for the config's word among the names and among the numbers of `/etc/passwd`, and take the first line that has it;
//! containerd takes a number for a number, whatever the file says, and cuts it to 32 bits. An image is held to be run by root if any of them would.
//!
//! Rules:
//! - No user at all is user 0 [OCI image-spec, config, User].
//! - A number is not 0, has at most 31 bits, and no line of the file that has it, as a name or as a number, is user 0.
//! - A name has at least one line, and none of its lines is user 0.
//! - A line whose number cannot be read is user 0: docker reads it so.

use crate::image::error::{Code, Refusal};
use crate::text::quoted;

/// More is no number of a user to docker, and to containerd it may be 0.
const NUMBER_MAX: u32 = i32::MAX.unsigned_abs();

/// Refuses an image that would, or could, run as user 0.
///
/// `user` is what the config says: `NAME`, `NUMBER`, and either with `:GROUP` behind it. `passwd` is the file, if the image has one.
///
/// # Errors
///
/// [`Code::ImageRunsAsRoot`]; [`Code::ImageUserUnknown`] if it is not known who that is.
pub fn must_not_be_root(user: Option<&str>, passwd: Option<&[u8]>) -> Result<(), Refusal> {
    let written = user.unwrap_or_default();
    let word = written.split(':').next().unwrap_or_default();
    let refused = |code, message: &str| Err(Refusal::new(code, "config: User", message).found(quoted(written)));
    if word.is_empty() {
        return refused(Code::ImageRunsAsRoot, "the image runs as root, for its config names no user");
    }
    let number = number(word);
    if number.is_none() && looks_like_number(word) {
        return refused(Code::ImageUserUnknown, "the user is a number that runtimes read differently");
    }
    if number == Some(0) {
        return refused(Code::ImageRunsAsRoot, "the image runs as root");
    }
    // A byte that is no text becomes a sign that is in no name; white space stays what it is.
    let passwd = String::from_utf8_lossy(passwd.unwrap_or_default());
    let mut lines = lines(&passwd).filter(|line| line.is(word, number)).peekable();
    if number.is_none() && lines.peek().is_none() {
        return refused(
            Code::ImageUserUnknown,
            "no line of the image's /etc/passwd has this user, so it is not known who it is",
        );
    }
    if lines.any(|line| line.number.is_none_or(|number| number == 0)) {
        return refused(
            Code::ImageRunsAsRoot,
            "the image runs as root, for its /etc/passwd says that this user is user 0",
        );
    }
    Ok(())
}

/// Plain digits that every runtime takes for the same number.
fn number(word: &str) -> Option<u32> {
    let is_plain = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    word.parse().ok().filter(|number| is_plain && *number <= NUMBER_MAX)
}

/// Whether some runtime may take it for a number.
fn looks_like_number(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'_'))
}

/// A line of `/etc/passwd`.
struct Line<'p> {
    name: &'p str,
    number: Option<u32>,
}

impl Line<'_> {
    fn is(&self, word: &str, number: Option<u32>) -> bool {
        // A line whose number cannot be read is user 0, which no number that comes here is.
        self.name == word || self.name.trim() == word || (number.is_some() && self.number == number)
    }
}

/// All lines, with white space around them cut off, as docker reads them: Unicode's, which has more than ASCII's.
fn lines(passwd: &str) -> impl Iterator<Item = Line<'_>> {
    let lines = passwd.split('\n').map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().unwrap_or_default();
        let number = fields.nth(1).and_then(number);
        Line { name, number }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is looked at, the config's user, the image's passwd, and what comes of it.
    type Case = (&'static str, Option<&'static str>, Option<&'static str>, Result<(), Code>);

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n";

    #[test]
    fn no_image_that_some_runtime_runs_as_root_passes() {
        let root = Err(Code::ImageRunsAsRoot);
        let unknown = Err(Code::ImageUserUnknown);
        let cases: &[Case] = &[
            ("a name", Some("app"), Some(PASSWD), Ok(())),
            ("a name with a group", Some("app:root"), Some(PASSWD), Ok(())),
            ("a number", Some("1000"), Some(PASSWD), Ok(())),
            ("a number with a group", Some("1000:0"), Some(PASSWD), Ok(())),
            ("a number that the file does not have", Some("4711"), Some(PASSWD), Ok(())),
            ("a number without a file", Some("1000"), None, Ok(())),
            ("the largest number", Some("2147483647"), None, Ok(())),
            ("no user", None, Some(PASSWD), root),
            ("an empty user", Some(""), Some(PASSWD), root),
            ("a group alone", Some(":1000"), Some(PASSWD), root),
            ("root", Some("root"), Some(PASSWD), root),
            ("0", Some("0"), Some(PASSWD), root),
            ("0 with a group", Some("0:1000"), Some(PASSWD), root),
            ("0 in three digits", Some("000"), None, root),
            ("another name of root", Some("toor"), Some(PASSWD), root),
            ("a name without a file", Some("app"), None, unknown),
            ("a name that the file does not have", Some("web"), Some(PASSWD), unknown),
            ("a name in other letters", Some("App"), Some(PASSWD), unknown),
            ("a number of 32 bits", Some("2147483648"), None, unknown),
            ("a number that containerd cuts to 0", Some("4294967296"), None, unknown),
            ("a number that no machine holds", Some("99999999999999999999999"), None, unknown),
            ("a number below 0", Some("-1"), None, unknown),
            ("0 with a sign", Some("-0"), None, unknown),
            ("0 with the other sign", Some("+0"), None, unknown),
            ("a name with a sign", Some("+"), None, unknown),
            ("a number in hex is a name", Some("0x0"), Some(PASSWD), unknown),
            ("a space before it", Some(" 0"), Some(PASSWD), unknown),
            ("a line called as the number", Some("1000"), Some("1000:x:0:0::/:\napp:x:1000:1000::/:\n"), root),
            ("the same, further down", Some("1000"), Some("app:x:1000:1000::/:\n1000:x:0:0::/:\n"), root),
            ("a name twice", Some("app"), Some("app:x:1000:1000::/:\napp:x:0:0::/:\n"), root),
            ("a name twice, the other order", Some("app"), Some("app:x:0:0::/:\napp:x:1000:1000::/:\n"), root),
            ("a name twice, never root", Some("app"), Some("app:x:1000:1000::/:\napp:x:1001:1001::/:\n"), Ok(())),
            ("a number that cannot be read", Some("app"), Some("app:x:abc:1000::/:\n"), root),
            ("a number that is not there", Some("app"), Some("app:x\n"), root),
            ("a number that is cut to 0", Some("app"), Some("app:x:4294967296:0::/:\n"), root),
            ("a line without an end", Some("app"), Some("app:x:1000:1000::/:"), Ok(())),
            ("ends of lines as on Windows", Some("app"), Some("root:x:0:0::/:\r\napp:x:1000:1000::/:\r\n"), Ok(())),
            ("white space before a line", Some("app"), Some("  app:x:0:0::/:\n"), root),
            ("a vertical tab before a line", Some("app"), Some("\x0bapp:x:0:0::/:\napp:x:1000:1000::/:\n"), root),
            ("a no-break space before it", Some("app"), Some("\u{a0}app:x:0:0::/:\napp:x:1000:1000::/:\n"), root),
            ("a next line before it", Some("app"), Some("\u{85}app:x:0:0::/:\napp:x:1000:1000::/:\n"), root),
            ("a wide space before it", Some("1000"), Some("\u{3000}1000:x:0:0::/:\n"), root),
            ("white space after the name", Some("app"), Some("app :x:0:0::/:\n"), root),
            ("white space around the number, which docker cannot read", Some("app"), Some("app:x: 5 :5::/:\n"), root),
            ("a carriage return in the number", Some("app"), Some("app:x:10\r00:5::/:\n"), root),
            ("a comment is no line of that name", Some("app"), Some("#app:x:0:0::/:\napp:x:1:1::/:\n"), Ok(())),
            ("another name that starts alike", Some("app"), Some("app2:x:0:0::/:\napp:x:1:1::/:\n"), Ok(())),
        ];
        for (name, user, passwd, expected) in cases {
            let got = must_not_be_root(*user, passwd.map(str::as_bytes)).map_err(|refusal| refusal.code);
            assert_eq!(got, *expected, "{name}");
        }
    }
}
