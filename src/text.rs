//! Text from untrusted input, made fit to be printed: control characters escaped, long text cut.

use std::fmt::{self, Write};

/// How much of an untrusted string a message shows, in characters. Full digests and image names fit.
const SHOWN: usize = 300;

/// `text` in double quotes, with control and invisible characters escaped and anything past 300 characters cut.
///
/// Everything that comes from outside goes through here before it reaches a message: a terminal obeys control characters, and a
/// right-to-left mark can make a refusal read as its opposite.
#[must_use]
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted { text, quotes: true }
}

/// As [`quoted`], without the quotes: for names that stand at the front of a message.
#[must_use]
pub fn escaped(text: &str) -> Quoted<'_> {
    Quoted { text, quotes: false }
}

/// Displays untrusted text safely; see [`quoted`].
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a> {
    text: &'a str,
    quotes: bool,
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quotes {
            f.write_char('"')?;
        }
        let mut chars = self.text.chars();
        for c in chars.by_ref().take(SHOWN) {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c if is_unprintable(c) => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        if chars.next().is_some() {
            f.write_str("...")?;
        }
        if self.quotes {
            f.write_char('"')?;
        }
        Ok(())
    }
}

/// Whether a character may not reach a terminal as it is.
pub(crate) fn is_unprintable(c: char) -> bool {
    c.is_control() || is_invisible(c)
}

/// Characters that change how the text around them is shown, or do not show at all: direction marks, joiners, separators, tags.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        assert_eq!(quoted("a\u{1b}[2Jb").to_string(), r#""a\u{1b}[2Jb""#);
        assert_eq!(quoted("line\nnext\r\t").to_string(), r#""line\nnext\u{d}\u{9}""#);
        assert_eq!(quoted("\u{202e}dolla").to_string(), r#""\u{202e}dolla""#);
        assert_eq!(quoted("\u{9b}1m").to_string(), r#""\u{9b}1m""#);
        assert_eq!(quoted(r#"a"b\c"#).to_string(), r#""a\"b\\c""#);
        assert_eq!(escaped("é \u{7f}").to_string(), "é \\u{7f}");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(escaped(&"x".repeat(300)).to_string(), "x".repeat(300));
        assert_eq!(escaped(&"x".repeat(301)).to_string(), format!("{}...", "x".repeat(300)));
    }
}
