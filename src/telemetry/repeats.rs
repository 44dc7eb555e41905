//! Keeps a failure that repeats from hiding everything else in the log.

use std::time::{Duration, Instant};

/// Time after which a failure that lasts is logged again.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How many texts are logged in that time. Some texts name an object and differ every time.
const TEXTS: usize = 8;

/// Texts of failures that last, and when each was last logged.
#[derive(Debug, Default)]
pub struct RepeatFilter(Vec<(String, Instant)>);

impl RepeatFilter {
    /// Creates a filter that knows no text.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns whether to log a text: it was not logged within the last minute, and fewer than eight others were.
    #[must_use]
    pub fn is_news(&mut self, text: &str, now: Instant) -> bool {
        self.0
            .retain(|(_, at)| now.saturating_duration_since(*at) < SAY_AGAIN_AFTER);
        let is_news = self.0.len() < TEXTS && self.0.iter().all(|(said, _)| said != text);
        if is_news {
            self.0.push((text.to_owned(), now));
        }
        is_news
    }

    /// Forgets all texts, because the failure has ended.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// Logs a failure that is tried again and may happen to many objects: `log_seldom!(warn, text, fields…, "message")` writes a line at
/// that level if `text` is news at this place of the code, else one for debugging.
macro_rules! log_seldom {
    ($level:ident, $text:expr, $($line:tt)+) => {{
        static SAID: parking_lot::Mutex<$crate::telemetry::RepeatFilter> =
            parking_lot::Mutex::new($crate::telemetry::RepeatFilter::new());
        let is_news = SAID.lock().is_news($text, std::time::Instant::now());
        if is_news {
            tracing::$level!($($line)+);
        } else {
            tracing::debug!($($line)+);
        }
    }};
}

pub(crate) use log_seldom;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_same_cause_is_said_once_a_minute_and_another_cause_at_once() {
        let (mut said, start) = (RepeatFilter::default(), Instant::now());
        let mut is_news = |text: &str, seconds| said.is_news(text, at(start, seconds));
        assert!(is_news("a", 0));
        assert!(!is_news("a", 30));
        assert!(is_news("b", 31));
        assert!(!is_news("a", 32));
        assert!(!is_news("b", 90));
        assert!(is_news("b", 91));
    }

    #[test]
    fn of_causes_that_always_differ_eight_are_said_in_a_minute() {
        let (mut said, start) = (RepeatFilter::default(), Instant::now());
        let mut count = |seconds| {
            let texts = (0..1000).map(|number| format!("{seconds}: request {number} failed"));
            let news = texts.filter(|text| said.is_news(text, at(start, seconds)));
            news.count()
        };
        assert_eq!(count(0), TEXTS);
        assert_eq!(count(59), 0);
        assert_eq!(count(60), TEXTS);
    }
}
