//! What one tenant, or whoever reaches the listeners, can make the controller spend: the worst input within each bound, and
//! what it costs. `docs/bounds.md` has the table.

mod http;
mod requests;
mod specs;

use std::{fs, time::Duration};

/// What may pass on the one thread of the controller without anything else being done.
const BUDGET: Duration = Duration::from_millis(50);

/// Code without optimization, which is how tests are built, takes so many times longer. `make bench` has the figures of what
/// is shipped.
const UNOPTIMIZED: u32 = if cfg!(debug_assertions) { 20 } else { 1 };

/// Processor time that this thread has had: however busy the machine is, it counts this thread's work alone.
fn thread_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let on_processor = text.split(' ').next().unwrap();
    Duration::from_nanos(on_processor.parse().unwrap())
}

/// Does the work, and fails if it keeps this thread for longer than the budget.
fn within_budget<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let before = thread_time();
    let done = work();
    let taken = thread_time() - before;
    println!("{what}: {taken:?} of this thread");
    assert!(taken < BUDGET * UNOPTIMIZED, "{what}: {taken:?}");
    done
}
