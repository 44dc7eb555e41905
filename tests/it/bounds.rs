//! Tests what a tenant, or a client of the listeners, can make the controller spend: the cost of the worst input within each
//! bound. `docs/bounds.md` has the table.

mod http;
mod requests;
mod specs;

use std::{fs, time::Duration};

/// The longest time that one piece of work may block the controller's only thread.
const BUDGET: Duration = Duration::from_millis(50);

/// Factor by which unoptimized code, as in tests, is slower. `make bench` has the figures of the shipped program.
const UNOPTIMIZED: u32 = if cfg!(debug_assertions) { 20 } else { 1 };

/// Returns the CPU time of this thread, which does not depend on how busy the machine is.
fn thread_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let on_processor = text.split(' ').next().unwrap();
    Duration::from_nanos(on_processor.parse().unwrap())
}

/// Does the work and fails if it blocks this thread for longer than the budget.
fn within_budget<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let before = thread_time();
    let done = work();
    let taken = thread_time() - before;
    println!("{what}: {taken:?} of this thread");
    assert!(taken < BUDGET * UNOPTIMIZED, "{what}: {taken:?}");
    done
}
