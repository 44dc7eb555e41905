//! The limit of looks in progress for each token, adapted to the load that the API server bears.

use std::time::{Duration, Instant};

/// A write is late if the watch reports it more than this long after the answer to it, while several tenants have requests.
const LATEST: Duration = Duration::from_millis(10);
/// The same while one tenant alone has requests. An API server that reports this late works to its full capacity.
const LATEST_ALONE: Duration = Duration::from_millis(250);
/// How long after a change of the tenant several tenants are expected to have requests.
const SHARED_FOR: Duration = Duration::from_secs(60);
/// The window at the start.
const FIRST: usize = 8;
/// The window never becomes smaller than this, unless `most` is smaller.
const LEAST: usize = 2;

/// A window over the looks at one token, like TCP's congestion window over segments (RFC 5681, section 3.1).
///
/// An API server that is busy with our writes reports changes late, long before it refuses a write. It then also reports the
/// new requests of other tenants late. Our own writes come back through the same watch and show the delay. The window grows
/// while writes come back in time. A write that comes back late shrinks it by a quarter. What is late depends on whether
/// other tenants could notice the delay.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    most: usize,
    /// Writes in time since the window last grew.
    in_time: usize,
    /// When the window last shrank. Earlier writes were made with a larger window, so they do not shrink it again.
    shrunk: Option<Instant>,
    /// When looks last turned from one tenant to another.
    shared: Option<Instant>,
}

impl Window {
    /// Returns a small window that never has more than `most` looks.
    pub(super) fn new(most: u16) -> Self {
        let most = usize::from(most);
        Self {
            size: FIRST.min(most),
            most,
            in_time: 0,
            shrunk: None,
            shared: None,
        }
    }

    /// Records that looks turned from one tenant to another at `now`.
    pub(super) fn turned(&mut self, now: Instant) {
        self.shared = Some(now);
    }

    /// Returns how many looks there may be at once.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Records that the watch has reported the end of a request at `now`. `written` is when the API server answered our
    /// write; `None` if that answer is still to come, or if the write is not ours. `None` counts as in time.
    pub(super) fn reported(&mut self, written: Option<Instant>, now: Instant) {
        let is_shared = |at| now.duration_since(at) <= SHARED_FOR;
        let latest = match self.shared.is_some_and(is_shared) {
            true => LATEST,
            false => LATEST_ALONE,
        };
        let late = written.filter(|written| now.duration_since(*written) > latest);
        match (late, self.shrunk) {
            (Some(written), Some(shrunk)) if written < shrunk => {}
            (Some(_), _) => {
                let quarter = (self.size / 4).max(1);
                self.size = (self.size - quarter).max(LEAST.min(self.most));
                self.in_time = 0;
                self.shrunk = Some(now);
            }
            (None, shrunk) => {
                self.in_time += 1;
                // Until the first late write, every write grows the window by one, so it doubles while a full window of
                // writes comes back. After that, a full window of writes grows it by one.
                if shrunk.is_none() || self.in_time >= self.size {
                    self.size = (self.size + 1).min(self.most);
                    self.in_time = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATE: Duration = Duration::from_millis(400);

    fn grown(most: u16, writes: u16) -> Window {
        let mut window = Window::new(most);
        for _ in 0..writes {
            window.reported(None, Instant::now());
        }
        window
    }

    #[test]
    fn a_window_opens_to_its_most_while_writes_come_back_in_time() {
        assert_eq!(Window::new(32).size(), 8);
        assert_eq!(grown(32, 10).size(), 18);
        assert_eq!(grown(32, 1000).size(), 32);
        assert_eq!(grown(2, 1000).size(), 2);
    }

    #[test]
    fn late_writes_shrink_the_window_once_per_round() {
        let mut window = grown(32, 1000);
        let written = Instant::now();
        for _ in 0..10 {
            window.reported(Some(written), written + LATE);
        }
        assert_eq!(window.size(), 24);
        let later = written + 2 * LATE;
        window.reported(Some(later), later + LATE);
        assert_eq!(window.size(), 18);
    }

    #[test]
    fn a_write_is_late_sooner_while_several_tenants_have_requests() {
        let between = Duration::from_millis(60);
        let mut window = grown(32, 1000);
        let mut now = Instant::now();
        window.reported(Some(now), now + between);
        assert_eq!(window.size(), 32);
        window.turned(now);
        window.reported(Some(now), now + between);
        assert_eq!(window.size(), 24);
        now += SHARED_FOR + between;
        window.reported(Some(now), now + between);
        assert_eq!(window.size(), 24);
    }

    #[test]
    fn a_window_never_closes_and_grows_slowly_after_it_has_shrunk() {
        for (most, least) in [(32, 2), (2, 2), (1, 1)] {
            let mut window = grown(most, 1000);
            let mut now = Instant::now();
            for _ in 0..100 {
                window.reported(Some(now), now + LATE);
                now += 2 * LATE;
            }
            assert_eq!(window.size(), least);
        }
        let mut window = grown(32, 1000);
        let now = Instant::now();
        window.reported(Some(now), now + LATE);
        for _ in 0..24 {
            window.reported(Some(now), now);
        }
        assert_eq!(window.size(), 25);
    }
}
