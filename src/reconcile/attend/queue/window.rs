//! How many requests of a token are looked at at once, by what the API server bears.

use std::time::{Duration, Instant};

/// The watch may tell of a write of ours this long after its answer.
const LATEST: Duration = Duration::from_millis(25);
/// Looks at a time, however late the watch is.
const LEAST: f64 = 4.0;
/// What is left of the size when the watch is late.
const SHRINK: f64 = 0.75;

/// A window over the looks at one token, as TCP has one over its segments (RFC 5681, 3.1).
///
/// An API server that is busy with our writes answers them for a long time after it has begun to tell of changes late, and
/// what the watch tells late is a new request that waits. How late it is, our own writes show: each comes back as a change.
/// So the window grows until they come back late, then shrinks, and grows slowly from there.
#[derive(Debug)]
pub(super) struct Window {
    size: f64,
    most: f64,
    /// Writes before this moment were made with a larger window.
    shrunk: Option<Instant>,
}

impl Window {
    /// A small one, of at most `most` looks.
    pub(super) fn new(most: u16) -> Self {
        let most = f64::from(most);
        Self {
            size: LEAST.min(most),
            most,
            shrunk: None,
        }
    }

    /// How many looks there may be at once.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 65 535"
    )]
    pub(super) fn size(&self) -> usize {
        self.size as usize
    }

    /// The watch has told `now` of a write that was answered at `written`, or before that answer.
    pub(super) fn told(&mut self, written: Option<Instant>, now: Instant) {
        let late = written.is_some_and(|written| now.duration_since(written) > LATEST);
        match self.shrunk {
            Some(shrunk) if late && written < Some(shrunk) => return,
            _ if late => {
                self.size *= SHRINK;
                self.shrunk = Some(now);
            }
            Some(_) => self.size += 1.0 / self.size,
            None => self.size += 1.0,
        }
        self.size = self.size.clamp(LEAST.min(self.most), self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(100);

    fn grown(most: u16, writes: u16) -> Window {
        let mut window = Window::new(most);
        for _ in 0..writes {
            window.told(None, Instant::now());
        }
        window
    }

    #[test]
    fn a_window_opens_to_its_most_while_the_watch_is_quick() {
        assert_eq!(Window::new(32).size(), 4);
        assert_eq!(grown(32, 10).size(), 14);
        assert_eq!(grown(32, 1000).size(), 32);
        assert_eq!(grown(2, 1000).size(), 2);
    }

    #[test]
    fn a_late_watch_shrinks_the_window_once_for_the_writes_before() {
        let mut window = grown(32, 1000);
        let written = Instant::now();
        for _ in 0..10 {
            window.told(Some(written), written + LATE);
        }
        assert_eq!(window.size(), 24);
        let later = written + 2 * LATE;
        window.told(Some(later), later + LATE);
        assert_eq!(window.size(), 18);
    }

    #[test]
    fn a_window_never_closes_and_grows_slowly_after_it_has_shrunk() {
        let mut window = grown(32, 1000);
        let mut now = Instant::now();
        for _ in 0..100 {
            window.told(Some(now), now + LATE);
            now += 2 * LATE;
        }
        assert_eq!(window.size(), 4);
        for _ in 0..5 {
            window.told(Some(now), now);
        }
        assert_eq!(window.size(), 5);
    }
}
