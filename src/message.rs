//! Messages for people that may contain foreign text: short, on one line, with visible characters only.
//!
//! Every text for a condition, an Event, the log or the report of a command passes through here once. So the names and
//! fields that a tenant writes cannot fill a status, forge a log line or reverse the text.

use std::fmt::{self, Write as _};

/// Longest message in octets, the API server's limit for the note of an Event.
pub const MAX: usize = 1024;

/// Replacement for the rest of a message that was cut.
const CUT: char = '…';

/// Returns the text as one line of at most [`MAX`] octets, cut between characters. Escapes control characters, and
/// characters that change how others are shown, as Rust does: `\n`, `\u{202e}`.
///
/// The function is idempotent.
#[must_use]
pub fn shown(text: impl fmt::Display) -> String {
    let mut shown = Shown::default();
    // An error means that the text is full, and the rest is not needed.
    write!(shown, "{text}").ok();
    shown.text
}

/// Lists the first `most` things and counts the others.
#[must_use]
pub fn first_of<T: fmt::Display>(most: usize, things: &[T]) -> String {
    let named: Vec<_> = things.iter().take(most).map(ToString::to_string).collect();
    let named = named.join(", ");
    match things.len().saturating_sub(most) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

#[derive(Default)]
struct Shown {
    text: String,
    /// Length to which the text is cut if it becomes too long.
    cut: usize,
}

impl Shown {
    fn push(&mut self, piece: &str) -> fmt::Result {
        if self.text.len() + piece.len() > MAX {
            self.text.truncate(self.cut);
            self.text.push(CUT);
            return Err(fmt::Error);
        }
        self.text.push_str(piece);
        if self.text.len() + CUT.len_utf8() <= MAX {
            self.cut = self.text.len();
        }
        Ok(())
    }
}

impl fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut octets = [0; 4];
        for character in text.chars() {
            match is_visible(character) {
                true => self.push(character.encode_utf8(&mut octets))?,
                false => self.push(&character.escape_default().to_string())?,
            }
        }
        Ok(())
    }
}

/// Returns whether the character is visible: not a control character (general category Cc), a line or paragraph separator
/// (Zl, Zp) or an invisible format character (Cf) of Unicode 17.
fn is_visible(character: char) -> bool {
    !character.is_control()
        && !matches!(
            character,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_is_cut_between_characters_and_ends_with_an_ellipsis() {
        assert_eq!(shown("a".repeat(MAX)), "a".repeat(MAX));
        let cut = shown("ü".repeat(MAX));
        assert_eq!(cut, format!("{}…", "ü".repeat(510)));
        assert_eq!(shown(format_args!("a{}", "ü".repeat(MAX))).len(), MAX);
        // A cut never splits an escape.
        let cut = shown("\u{202e}".repeat(MAX));
        assert!(cut.len() <= MAX && cut.ends_with(r"\u{202e}…"), "{cut}");
    }

    #[test]
    fn invisible_characters_are_escaped_and_the_rest_stays() {
        for (text, expected) in [
            (
                "O=Schlüssel, ไทย, \"日本\" \\",
                "O=Schlüssel, ไทย, \"日本\" \\",
            ),
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\u{1b}[2Jx\u{7f}\u{9b}", r"\u{1b}[2Jx\u{7f}\u{9b}"),
            (
                "\u{202e}moc.elpmaxe\u{2066}",
                r"\u{202e}moc.elpmaxe\u{2066}",
            ),
            (
                "a\u{200b}b\u{2028}c\u{feff}\u{e0041}",
                r"a\u{200b}b\u{2028}c\u{feff}\u{e0041}",
            ),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_list_names_the_first_and_counts_the_others() {
        assert_eq!(first_of(2, &["a", "b"]), "a, b");
        assert_eq!(first_of(2, &["a", "b", "c", "d"]), "a, b and 2 more");
        assert_eq!(first_of::<&str>(2, &[]), "");
    }

    proptest! {
        #[test]
        fn a_message_is_bounded_visible_and_idempotent(text in "\\PC{0,400}|(.|\n|\u{202e}){0,1500}") {
            let once = shown(&text);
            prop_assert!(once.len() <= MAX && once.chars().all(is_visible));
            prop_assert_eq!(shown(&once), once);
        }
    }
}
