//! Shared code of the benchmarks: the cluster, the report, and the resources that a process has used.

mod cluster;
mod process;
mod report;
mod statistics;

pub use cluster::cluster;
pub use process::{Spent, children};
pub use report::{Report, Row};
pub use statistics::{median, percentile, spread};
