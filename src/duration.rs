//! Durations as Go and Kubernetes write them: `2160h`, `5m`, `1h30m`, `1.5s`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A signed span of time in whole nanoseconds, with the range and the text form of Go's `time.Duration`.
///
/// The text is that of `metav1.Duration`, so negative and zero durations parse. The code that reads a field decides whether
/// they make sense.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GoDuration {
    nanoseconds: i64,
}

/// Reason why a text is not a duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DurationError {
    /// The text is empty or only a sign.
    #[error("an empty duration: write for example 2160h, 5m or 1h30m")]
    Empty,
    /// A number is missing.
    #[error("{0:?} is not a duration: write for example 2160h, 5m or 1h30m")]
    Number(String),
    /// A number has no unit or an unknown one.
    #[error(
        "{0:?} has a number without a known unit: use h, m, s, ms, us or ns (days are hours: 90 days are 2160h)"
    )]
    Unit(String),
    /// The value does not fit into 64 bits of nanoseconds (about 292 years).
    #[error("{0:?} is longer than a duration can be (2562047h)")]
    Range(String),
}

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// Units of Go. Of two units with the same beginning, the longer comes first.
const UNITS: &[(&str, i64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5, micro sign
    ("μs", 1_000), // U+03BC, Greek letter mu
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", MINUTE),
    ("h", HOUR),
];

impl GoDuration {
    /// Creates a duration from whole seconds; saturates at the range.
    #[must_use]
    pub const fn from_secs(seconds: i64) -> Self {
        Self {
            nanoseconds: seconds.saturating_mul(SECOND),
        }
    }

    /// Converts the duration to jiff's type.
    #[must_use]
    pub const fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::from_nanos(self.nanoseconds)
    }

    /// Converts the duration to the type of the standard library; `None` if it is negative.
    #[must_use]
    pub fn unsigned(self) -> Option<std::time::Duration> {
        u64::try_from(self.nanoseconds)
            .ok()
            .map(std::time::Duration::from_nanos)
    }

    /// Returns whether the duration is longer than zero.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.nanoseconds > 0
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest.is_empty() {
            return Err(DurationError::Empty);
        }
        if rest == "0" {
            return Ok(Self::default()); // Go's one exception from "every number has a unit"
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let (whole, after) = digits(rest);
            let (fraction, after) = match after.strip_prefix('.') {
                Some(after) => digits(after),
                None => ("", after),
            };
            if whole.is_empty() && fraction.is_empty() {
                return Err(DurationError::Number(text.to_owned()));
            }
            let (unit, after) = UNITS
                .iter()
                .find_map(|(name, unit)| Some((i128::from(*unit), after.strip_prefix(name)?)))
                .ok_or_else(|| DurationError::Unit(text.to_owned()))?;
            total = part(whole, fraction, unit)
                .and_then(|part| total.checked_add(part))
                .ok_or_else(|| DurationError::Range(text.to_owned()))?;
            rest = after;
        }
        let nanoseconds = if negative { -total } else { total };
        i64::try_from(nanoseconds)
            .map(|nanoseconds| Self { nanoseconds })
            .map_err(|_| DurationError::Range(text.to_owned()))
    }
}

/// Splits a text after its leading digits.
fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(end)
}

/// Returns one number with its unit in nanoseconds. As in Go, fractions of a nanosecond are cut off.
fn part(whole: &str, fraction: &str, unit: i128) -> Option<i128> {
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut nanoseconds = whole.checked_mul(unit)?;
    let mut scale: i128 = 1;
    // Fifteen digits of the longest unit, an hour, are finer than a nanosecond.
    for digit in fraction.bytes().take(15) {
        // Divide once at the end, so that no digit is rounded separately.
        nanoseconds = nanoseconds
            .checked_mul(10)?
            .checked_add(i128::from(digit - b'0') * unit)?;
        scale = scale.checked_mul(10)?;
    }
    Some(nanoseconds / scale)
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.nanoseconds.unsigned_abs();
        let [second, minute, hour] = [SECOND, MINUTE, HOUR].map(i64::unsigned_abs);
        if self.nanoseconds < 0 {
            f.write_str("-")?;
        }
        match nanoseconds {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanoseconds}ns"),
            1_000..1_000_000 => decimal(f, nanoseconds, 1_000, "µs"),
            1_000_000..1_000_000_000 => decimal(f, nanoseconds, 1_000_000, "ms"),
            _ => {
                if nanoseconds >= hour {
                    write!(f, "{}h", nanoseconds / hour)?;
                }
                if nanoseconds >= minute {
                    write!(f, "{}m", nanoseconds % hour / minute)?;
                }
                decimal(f, nanoseconds % minute, second, "s")
            }
        }
    }
}

/// Writes `value / unit` without trailing zeros.
fn decimal(f: &mut fmt::Formatter<'_>, value: u64, unit: u64, name: &str) -> fmt::Result {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return write!(f, "{whole}{name}");
    }
    // `unit + fraction` has a leading one that keeps the zeros after the point.
    let padded = (unit + fraction).to_string();
    let fraction = padded
        .strip_prefix('1')
        .unwrap_or(&padded)
        .trim_end_matches('0');
    write!(f, "{whole}.{fraction}{name}")
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nanoseconds(text: &str) -> Result<i64, DurationError> {
        text.parse()
            .map(|duration: GoDuration| duration.nanoseconds)
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("0s", 0),
            ("-0s", 0),
            ("5m", 5 * MINUTE),
            ("+5m", 5 * MINUTE),
            ("2160h", 2160 * HOUR),
            ("2160h0m0s", 2160 * HOUR),
            ("1h30m", 90 * MINUTE),
            ("1.5h", 90 * MINUTE),
            (".5s", SECOND / 2),
            ("1.s", SECOND),
            ("0.333333333333333333h", 1_199_999_999_999),
            ("1ms2us3ns", 1_002_003),
            ("1µs", 1_000),
            ("1μs", 1_000),
            ("-1h", -HOUR),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(nanoseconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn each_malformed_duration_has_its_own_error() {
        use DurationError::{Empty, Number, Range, Unit};
        for (text, expected) in [
            ("", Empty),
            ("-", Empty),
            ("h", Number("h".into())),
            (".h", Number(".h".into())),
            ("1h ", Number("1h ".into())),
            (" 1h", Number(" 1h".into())),
            ("--1h", Number("--1h".into())),
            ("10", Unit("10".into())),
            ("90d", Unit("90d".into())),
            ("1h30", Unit("1h30".into())),
            ("2562048h", Range("2562048h".into())),
            (
                "9223372036854775808ns",
                Range("9223372036854775808ns".into()),
            ),
        ] {
            assert_eq!(nanoseconds(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for (text, expected) in [
            ("0", "0s"),
            ("2160h", "2160h0m0s"),
            ("90m", "1h30m0s"),
            ("60s", "1m0s"),
            ("1500ms", "1.5s"),
            ("61.05s", "1m1.05s"),
            ("1500us", "1.5ms"),
            ("1001ns", "1.001µs"),
            ("999ns", "999ns"),
            ("-90m", "-1h30m0s"),
        ] {
            assert_eq!(
                text.parse::<GoDuration>().unwrap().to_string(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn a_negative_duration_has_no_unsigned_form() {
        assert_eq!(GoDuration::from_secs(-1).unsigned(), None);
        assert_eq!(
            GoDuration::from_secs(2).unsigned(),
            Some(std::time::Duration::from_secs(2))
        );
    }

    proptest! {
        #[test]
        fn every_duration_round_trips_through_text(nanoseconds: i64) {
            let duration = GoDuration { nanoseconds };
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn every_text_that_parses_round_trips(text in "[-+]?([0-9]{0,45}\\.?[0-9]{0,45}(h|m|s|ms|us|µs|ns|d)?){0,4}") {
            if let Ok(duration) = text.parse::<GoDuration>() {
                prop_assert_eq!(duration.to_string().parse(), Ok(duration));
            }
        }

        #[test]
        fn jiff_agrees_on_whole_units(hours in 0i64..2_000_000, minutes in 0i64..60, seconds in 0i64..60) {
            let text = format!("{hours}h{minutes}m{seconds}s");
            let ours = text.parse::<GoDuration>().map(GoDuration::signed);
            prop_assert_eq!(ours, Ok(text.parse::<jiff::SignedDuration>().unwrap()));
        }
    }
}
