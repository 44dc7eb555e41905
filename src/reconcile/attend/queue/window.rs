//! Limits the looks at the requests of one token to what the API server can handle.

use std::time::{Duration, Instant};

/// The watch is late if it reports a write of ours more than this long after the answer to the write.
const LATEST: Duration = Duration::from_millis(25);
/// The smallest size of the window, however late the watch is.
const LEAST: f64 = 4.0;
/// The size is multiplied by this when the watch is late.
const SHRINK: f64 = 0.75;

/// Window that limits the looks at the requests of one token, like TCP's congestion window (RFC 5681, 3.1).
///
/// An API server that is busy with our writes keeps answering them long after the watch has fallen behind, and a late watch
/// delays new requests. Our own writes show how late the watch is, because it reports each of them as a change. So the
/// window grows until the reports are late, then shrinks, and from then on grows slowly.
#[derive(Debug)]
pub(super) struct Window {
    size: f64,
    most: f64,
    /// When the window last shrank. Earlier writes were made with a larger window.
    shrunk: Option<Instant>,
}

impl Window {
    /// Creates a small window that may grow to `most` looks.
    pub(super) fn new(most: u16) -> Self {
        let most = f64::from(most);
        Self {
            size: LEAST.min(most),
            most,
            shrunk: None,
        }
    }

    /// Returns how many looks may be in progress at the same time.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 65 535"
    )]
    pub(super) fn size(&self) -> usize {
        self.size as usize
    }

    /// Adjusts the window to a report of the watch at `now`. `written` is when the write was answered; `None` if the report
    /// came before the answer.
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
    fn a_window_grows_to_its_maximum_while_the_watch_is_fast() {
        assert_eq!(Window::new(32).size(), 4);
        assert_eq!(grown(32, 10).size(), 14);
        assert_eq!(grown(32, 1000).size(), 32);
        assert_eq!(grown(2, 1000).size(), 2);
    }

    #[test]
    fn a_late_watch_shrinks_the_window_once_for_all_earlier_writes() {
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
    fn a_window_never_closes_and_grows_slowly_after_it_shrank() {
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
