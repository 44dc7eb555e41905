//! Pictures of what a terminal shows. What differs from run to run is replaced by an example that is as long.

use anstyle_svg::{Term, WIN10_CONSOLE};

use super::{
    ESCAPE,
    desk::{Desk, slot},
    terminal::COLUMNS,
};

/// Where the commands run.
const DESK: &str = "/home/alice/pki";
/// The serial number of the token, and the beginning of all other long numbers.
const SERIAL: &str = "5f0c3b1d9a7e2468";
const ORIGIN: &str = "unnamed/laptop/5f0c3b1d9a7e2468";
const TIME: &str = "2026-01-31T12:00:00Z";
/// Hexadecimal digits of numbers that are shown; others are rounded to these. A certificate's serial number may be a digit shorter
/// or longer than another one.
const LENGTHS: [usize; 4] = [16, 32, 40, 64];
/// Width of a character in the picture.
const CHARACTER: f64 = 8.4;

/// Returns the picture.
pub(super) fn svg(desk: &Desk, shown: &str) -> String {
    let mut text = shown.to_owned();
    let [(_, folder), _, (_, own_slot)] = desk.varying();
    for (own, example) in [
        (folder.as_str(), DESK),
        (&own_slot, &slot(SERIAL)),
        (desk.origin(), ORIGIN),
    ] {
        text = text.replace(own, example);
    }
    let width = f64::from(COLUMNS) * CHARACTER;
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small number"
    )]
    let width = width as usize;
    let text = wrapped(numbers(&times(&text)).trim_end());
    Term::new()
        .palette(WIN10_CONSOLE)
        .min_width_px(width)
        .render_svg(&text)
}

/// Breaks lines where the terminal breaks them. A style takes no place.
fn wrapped(text: &str) -> String {
    let (mut all, mut column, mut in_style) = (String::new(), 0, false);
    for c in text.chars() {
        if c == '\n' {
            column = 0;
        } else if in_style || c == ESCAPE {
            in_style = c != 'm';
        } else if column == COLUMNS {
            all.push('\n');
            column = 1;
        } else {
            column += 1;
        }
        all.push(c);
    }
    all
}

/// Replaces times of RFC 3339.
fn times(text: &str) -> String {
    let mut all = String::new();
    let mut rest = text;
    while let Some((place, end)) = time(rest) {
        let (before, after) = rest.split_at(place);
        all += before;
        all += TIME;
        rest = &after[end..];
    }
    all + rest
}

/// Returns where the first time begins, and its length.
fn time(text: &str) -> Option<(usize, usize)> {
    let mut places = text.match_indices('T').filter_map(|(place, _)| {
        let start = place.checked_sub(10)?;
        let date = text.get(start..place)?;
        let of_date = |(at, c): (usize, char)| match at {
            4 | 7 => c == '-',
            _ => c.is_ascii_digit(),
        };
        let is_date = date.char_indices().all(of_date);
        let end = text.get(start..)?.find('Z')? + 1;
        (is_date && end <= 30).then_some((start, end))
    });
    places.next()
}

/// Replaces long hexadecimal numbers.
fn numbers(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut all = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c| !is_digit(c)).unwrap_or(rest.len()));
        let near = |length: &&usize| digits.len().abs_diff(**length) <= 2;
        match LENGTHS.iter().find(near) {
            Some(length) => all.extend(SERIAL.chars().cycle().take(*length)),
            None => all += digits,
        }
        let (between, next) = after.split_at(after.find(is_digit).unwrap_or(after.len()));
        all += between;
        rest = next;
    }
    all
}

#[test]
fn times_and_long_numbers_are_replaced_and_nothing_else() {
    assert_eq!(
        numbers(&times(
            "at 2026-11-30T13:16:01.734Z, 0c7ec4a5195ca6a5 of decade; Test 2026-11-30"
        )),
        format!("at {TIME}, {SERIAL} of decade; Test 2026-11-30")
    );
    assert_eq!(numbers(&"a".repeat(64)).len(), 64);
}

#[test]
fn lines_are_broken_at_the_width_of_the_terminal() {
    let width = usize::from(COLUMNS);
    let styled = format!("\u{1b}[1m{}\u{1b}[0m", "x".repeat(width));
    assert_eq!(wrapped(&styled), styled);
    let longer = wrapped(&format!("{styled}yz\nw"));
    assert_eq!(longer, format!("{styled}\nyz\nw"));
}
