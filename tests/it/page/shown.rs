//! Compares what a page shows with what a command says. `[…]` stands for any lines, or for any text within a line. Times, ages,
//! hexadecimal numbers and ports differ from run to run, so any stands for any other of its kind. Blank lines and the widths of
//! columns do not count.

/// Stands for what the page leaves out.
const OMITTED: &str = "[…]";
/// What words are parted by, besides blanks.
const MARKS: &str = "()[]{}<>,;'\"=/";

/// Returns how both differ, or nothing. If nothing is shown, anything may be said.
pub(super) fn differs(shown: &[&str], said: &str) -> Option<String> {
    let whole = |line: &&str| !line.trim().is_empty();
    let shown: Vec<_> = shown.iter().copied().filter(whole).collect();
    let said: Vec<_> = said.lines().filter(whole).collect();
    if shown.is_empty() {
        return None;
    }
    let (mut shown, mut said) = (shown.as_slice(), said.as_slice());
    loop {
        match (shown, said) {
            ([], []) => return None,
            ([], [more, ..]) => return Some(format!("it lacks {more:?}")),
            ([first, rest @ ..], _) if first.trim() == OMITTED => {
                let next = rest.first()?;
                let at = said.iter().position(|line| same(next, line));
                let Some(at) = at else {
                    return Some(format!("nobody said {next:?}"));
                };
                (shown, said) = (rest, said.get(at..).unwrap_or_default());
            }
            ([line, ..], []) => return Some(format!("nobody said {line:?}")),
            ([line, ..], [other, ..]) if !same(line, other) => {
                return Some(format!("{line:?} is not {other:?}"));
            }
            ([_, shown_rest @ ..], [_, said_rest @ ..]) => (shown, said) = (shown_rest, said_rest),
        }
    }
}

/// Whether a line that is shown may stand for one that was said.
fn same(shown: &str, said: &str) -> bool {
    let (shown, said) = (alike(shown), alike(said));
    let Some((first, mut parts)) = shown.split_once(OMITTED) else {
        return shown == said;
    };
    let Some(mut rest) = said.strip_prefix(first) else {
        return false;
    };
    while let Some((part, others)) = parts.split_once(OMITTED) {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        (rest, parts) = (after, others);
    }
    rest.ends_with(parts)
}

/// Replaces what differs from run to run by the name of its kind, and each run of blanks by one.
fn alike(line: &str) -> String {
    let mut text = String::new();
    for word in line.split_whitespace() {
        if !text.is_empty() {
            text.push(' ');
        }
        for piece in word.split_inclusive(|c| MARKS.contains(c)) {
            let plain = piece.trim_end_matches(|c| c == ':' || MARKS.contains(c));
            text += kind(plain).unwrap_or(plain);
            text += &piece[plain.len()..];
        }
    }
    text
}

fn kind(word: &str) -> Option<&'static str> {
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    let zeros = word.replace(|c: char| c.is_ascii_digit(), "0");
    if zeros == "0000-00-00T00:00:00Z" {
        return Some("TIME");
    }
    let is_hex = |c: char| c.is_ascii_hexdigit() || c == ':' || c == '-';
    let length = word.chars().filter(char::is_ascii_hexdigit).count();
    if length >= 8 && word.chars().all(is_hex) {
        return Some("HEX");
    }
    if word.strip_prefix("127.0.0.1:").is_some_and(are_digits) {
        return Some("127.0.0.1:PORT");
    }
    let age = word.strip_suffix(['s', 'm', 'h', 'd']);
    age.is_some_and(are_digits).then_some("AGE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_stands_for_its_like_and_for_nothing_else() {
        for (shown, said) in [
            ("signed 2026-11-30T13:16:52Z", "signed 2027-01-01T00:00:00Z"),
            (
                "serial 6b9684968c1c3b62, web",
                "serial 7f88025b40ec7b77, web",
            ),
            ("48:73:2a:ce:65:2f:17:18", "46:c2:67:07:4a:7d:f8:f6"),
            ("http://127.0.0.1:8082/crl", "http://127.0.0.1:33333/crl"),
            ("web   True  (3s ago)", "web True (12s ago)"),
            (
                "until 2026-11-30T13:16:52Z: web",
                "until 2027-01-01T00:00:00Z: web",
            ),
            ("web-[…] of web", "web-b92r8 of web"),
            ("a […] b […] c", "a x b y b z c"),
        ] {
            assert_eq!(differs(&[shown], said), None, "{shown}");
        }
        for (shown, said) in [
            ("signed 2026-11-30T13:16:52Z", "signed never"),
            ("serial 6b9684968c1c3b62", "serial web"),
            ("2 lines", "3 lines"),
            ("web True", "web False"),
            ("web-[…] of web", "web-b92r8 of api"),
            ("a […] b […] c", "a x c"),
            ("deadbeef is bad", "web is bad"),
        ] {
            assert!(differs(&[shown], said).is_some(), "{shown}");
        }
    }

    #[test]
    fn lines_are_left_out_only_where_the_page_says_so() {
        let said = "one\n\ntwo\nthree\n";
        for shown in [
            &["one", "two", "three"][..],
            &["[…]", "three"],
            &["one", "[…]"],
            &["one", "[…]", "three"],
            &["one", "two", "[…]", "three"],
            &[],
        ] {
            assert_eq!(differs(shown, said), None, "{shown:?}");
        }
        for shown in [
            &["one", "two"][..],
            &["two", "[…]"],
            &["[…]", "two"],
            &["one", "[…]", "four"],
            &["one", "two", "three", "four"],
        ] {
            assert!(differs(shown, said).is_some(), "{shown:?}");
        }
    }
}
