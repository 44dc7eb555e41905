//! Shares one answer among all callers that ask the same question at about the same time.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    ptr,
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;

use tokio::sync::OnceCell;

/// Answers by question.
///
/// *Guarantees*: a caller never gets an answer that was asked for before the moment that the caller names. Among the callers
/// that share an answer, one asks and the others wait.
/// *Assumption*: the question contains everything that the answer depends on, except the state of the outside world at that
/// moment. An earlier answer that a question depends on is part of it as [`Same`].
#[derive(Debug)]
pub struct Once<Q, A>(Mutex<HashMap<Q, SharedAnswer<A>>>);

/// Value that is compared by its address: it equals only itself.
#[derive(Debug)]
pub struct Same<T>(pub Arc<T>);

impl<T> Clone for Same<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> PartialEq for Same<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Same<T> {}

impl<T> Hash for Same<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ptr::hash(Arc::as_ptr(&self.0), state);
    }
}

#[derive(Debug)]
struct SharedAnswer<A> {
    begun: Instant,
    answer: Arc<OnceCell<A>>,
}

impl<Q, A> Default for Once<Q, A> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Q: Eq + Hash, A: Clone> Once<Q, A> {
    /// Returns an answer that was asked for at `since` or later. Awaits `ask` if there is none. If the caller is dropped
    /// meanwhile, another waiting caller asks.
    pub async fn get(&self, question: Q, since: Instant, ask: impl Future<Output = A>) -> A {
        let answer = {
            let mut all = self.0.lock();
            let begun = Instant::now();
            let asked = all
                .entry(question)
                .or_insert_with(|| SharedAnswer::new(begun));
            if asked.begun < since {
                *asked = SharedAnswer::new(begun);
            }
            Arc::clone(&asked.answer)
        };
        answer.get_or_init(|| ask).await.clone()
    }

    /// Forgets all answers.
    pub fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        drop(all);
    }
}

impl<A> SharedAnswer<A> {
    fn new(begun: Instant) -> Self {
        Self {
            begun,
            answer: Arc::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future,
        pin::pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures::{FutureExt as _, future::join_all, poll};
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn concurrent_callers_share_one_answer_and_a_later_caller_asks_again() {
        let (once, asked) = (Once::default(), AtomicUsize::new(0));
        let ask = || async {
            yield_now().await;
            asked.fetch_add(1, Ordering::Relaxed)
        };
        let since = Instant::now();
        let all = join_all((0..10).map(|_| once.get("ca", since, ask()))).await;
        assert_eq!(all, [0; 10]);
        assert_eq!(once.get("other", since, ask()).await, 1);
        assert_eq!(once.get("ca", since, ask()).await, 0);
        assert_eq!(once.get("ca", Instant::now(), ask()).await, 2);
        assert_eq!(once.get("ca", since, ask()).await, 2, "newer than required");
        once.clear();
        assert_eq!(once.get("ca", since, ask()).await, 3);
    }

    #[tokio::test]
    async fn equal_values_at_different_addresses_are_different_questions() {
        let (once, since) = (Once::default(), Instant::now());
        let [first, equal] = ["pem", "pem"].map(|text| Same(Arc::new(text)));
        assert_eq!(once.get(first.clone(), since, future::ready(1)).await, 1);
        assert_eq!(once.get(equal, since, future::ready(2)).await, 2);
        assert_eq!(once.get(first, since, future::ready(3)).await, 1);
    }

    #[tokio::test]
    async fn if_the_asking_caller_is_dropped_the_next_caller_asks() {
        let (once, since) = (Once::default(), Instant::now());
        let mut next = Box::pin(once.get("ca", since, future::ready(2)));
        {
            let mut first = pin!(once.get("ca", since, future::pending()));
            assert!(poll!(&mut first).is_pending());
            assert!(poll!(&mut next).is_pending());
        }
        assert_eq!(next.now_or_never(), Some(2));
    }
}
