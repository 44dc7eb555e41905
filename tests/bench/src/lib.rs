//! What the benchmarks share: the cluster, how a figure is reported, and what the kernel says that a process has cost.

mod cluster;
mod process;
mod report;
mod statistics;

pub use cluster::cluster;
pub use process::{Spent, children};
pub use report::{Report, Row};
pub use statistics::{median, percentile, spread};
