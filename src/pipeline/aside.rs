//! Runs long computations on another thread, so that they do not block the main thread of the process.

use std::{future, panic::resume_unwind};

use tokio::{sync::Semaphore, task::spawn_blocking};

/// Limits the computations to one at a time, in order of arrival. All computations share one processor, and the process
/// keeps the others.
static TURN: Semaphore = Semaphore::const_new(1);

/// Runs `work` on another thread when its turn comes. Work that has begun continues even if the caller is dropped.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let Ok(turn) = TURN.acquire().await else {
        // Unreachable: the semaphore is never closed.
        return future::pending().await;
    };
    on_thread(move || {
        let _turn = turn;
        work()
    })
    .await
}

/// Runs `work` on another thread at once. It must spend most of its time waiting, or wait for a turn by itself.
pub(crate) async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(broken) if broken.is_panic() => resume_unwind(broken.into_panic()),
        // The runtime is shutting down, and this task with it.
        Err(_) => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;

    #[tokio::test]
    async fn work_runs_on_another_thread_one_piece_after_the_other() {
        static AT_WORK: AtomicUsize = AtomicUsize::new(0);
        let own = thread::current().id();
        let works = (0..20).map(|number| {
            aside(move || {
                assert_eq!(AT_WORK.fetch_add(1, Ordering::SeqCst), 0);
                thread::yield_now();
                AT_WORK.fetch_sub(1, Ordering::SeqCst);
                (number, thread::current().id())
            })
        });
        for (index, (number, thread)) in futures::future::join_all(works)
            .await
            .into_iter()
            .enumerate()
        {
            assert_eq!(index, number);
            assert_ne!(thread, own);
        }
    }

    #[tokio::test]
    #[should_panic(expected = "a bug of ours")]
    async fn a_panic_is_passed_on_to_the_caller() {
        aside(|| panic!("a bug of ours")).await;
    }
}
