//! What a container runtime and `kubectl logs` put before each line. Pure.

/// Longest time in RFC 3339 with nanoseconds and an offset.
const LONGEST_TIME: usize = 35;

/// Where a container wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputStream {
    Stdout,
    Stderr,
}

/// A line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwrapped<'a> {
    /// A line as it was written, or as `kubectl logs` prints it, without prefix and time.
    Plain(&'a [u8]),
    /// A record of the container runtime (CRI): `time stream P|F text`.
    Stored {
        stream: OutputStream,
        /// Whether the line ends here (F) or goes on in the next record of the stream (P).
        whole: bool,
        text: &'a [u8],
    },
}

/// Returns a line without the prefixes of `kubectl logs` and of the container runtime.
pub(super) fn unwrapped(line: &[u8]) -> Unwrapped<'_> {
    let text = without_prefix(line);
    let Some(rest) = after_time(text) else {
        return Unwrapped::Plain(text);
    };
    stored(rest).unwrap_or(Unwrapped::Plain(rest))
}

/// Removes `[pod/name/container] `, which `kubectl logs --prefix` prints.
fn without_prefix(line: &[u8]) -> &[u8] {
    if !line.starts_with(b"[pod/") {
        return line;
    }
    let end = line.windows(2).position(|two| two == b"] ");
    end.and_then(|end| line.get(end + 2..)).unwrap_or(line)
}

/// Returns what follows a time in RFC 3339 and a space.
fn after_time(line: &[u8]) -> Option<&[u8]> {
    line.first().filter(|first| first.is_ascii_digit())?;
    let end = line.iter().take(LONGEST_TIME + 1);
    let end = end.into_iter().position(|octet| *octet == b' ')?;
    let (time, rest) = line.split_at_checked(end)?;
    let is_time = time.len() >= "2006-01-02T15:04:05Z".len()
        && time
            .iter()
            .zip(b"0000-00-00T00:00:00")
            .all(|(octet, form)| match form {
                b'0' => octet.is_ascii_digit(),
                other => octet == other,
            });
    rest.get(1..).filter(|_| is_time)
}

fn stored(rest: &[u8]) -> Option<Unwrapped<'_>> {
    let (stream, rest) = if let Some(rest) = rest.strip_prefix(b"stdout ") {
        (OutputStream::Stdout, rest)
    } else {
        (OutputStream::Stderr, rest.strip_prefix(b"stderr ")?)
    };
    // Further tags may follow the first one, after a colon.
    let end = rest.iter().position(|octet| *octet == b' ')?;
    let (tags, text) = rest.split_at_checked(end)?;
    let whole = match tags.split(|octet| *octet == b':').next()? {
        b"F" => true,
        b"P" => false,
        _ => return None,
    };
    Some(Unwrapped::Stored {
        stream,
        whole,
        text: text.get(1..)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_line_is_removed() {
        let plain = |text: &'static str| Unwrapped::Plain(text.as_bytes());
        let stored = |stream, whole, text: &'static str| Unwrapped::Stored {
            stream,
            whole,
            text: text.as_bytes(),
        };
        for (line, expected) in [
            ("{\"time\":\"\"}", plain("{\"time\":\"\"}")),
            ("2026-11-29T22:00:00.123456789Z {}", plain("{}")),
            ("2026-11-29T22:00:00+01:00 {}", plain("{}")),
            ("[pod/issuer-7d9c/controller] {}", plain("{}")),
            ("[pod/a/b] 2026-11-29T22:00:00.1Z {}", plain("{}")),
            (
                "2026-11-29T22:00:00.123456789Z stdout F {}",
                stored(OutputStream::Stdout, true, "{}"),
            ),
            (
                "2026-11-29T22:00:00.123456789+01:00 stderr P {",
                stored(OutputStream::Stderr, false, "{"),
            ),
            (
                "2026-11-29T22:00:00Z stdout F:x {}",
                stored(OutputStream::Stdout, true, "{}"),
            ),
            (
                "2026-11-29T22:00:00Z stdout F ",
                stored(OutputStream::Stdout, true, ""),
            ),
            ("2026-11-29T22:00:00Z stdout X {}", plain("stdout X {}")),
            ("2026-11-29 stdout F {}", plain("2026-11-29 stdout F {}")),
            ("[pod/a", plain("[pod/a")),
            ("", plain("")),
        ] {
            assert_eq!(unwrapped(line.as_bytes()), expected, "{line}");
        }
    }
}
