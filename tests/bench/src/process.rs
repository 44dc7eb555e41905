//! Reads from the kernel what resources a process and its children have used.

use std::fs;
use std::io;

use rustix::param::clock_ticks_per_second;

/// The resources that a process and its children have used since each started. A child that has ended is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    /// User and system CPU time in seconds, with a resolution of a hundredth.
    pub cpu_seconds: f64,
    /// Sum of the peak resident memory of each process, in MB of 10⁶ octets. Shared pages count once per process.
    pub peak_megabytes: f64,
}

impl Spent {
    /// Returns the resources of a process and everything that it has started.
    ///
    /// # Errors
    /// The process has ended.
    pub fn by(process: u32) -> io::Result<Self> {
        let mut sum = Self::by_one(process)?;
        for child in children(process)? {
            let Self {
                cpu_seconds,
                peak_megabytes,
            } = Self::by(child)?;
            sum.cpu_seconds += cpu_seconds;
            sum.peak_megabytes += peak_megabytes;
        }
        Ok(sum)
    }

    /// Returns the resources of a process without its children.
    ///
    /// # Errors
    /// The process has ended.
    pub fn by_one(process: u32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{process}/status"))?;
        let (ticks, kibibytes) = (ticks(&stat), peak(&status));
        let (Some(ticks), Some(kibibytes)) = (ticks, kibibytes) else {
            return Err(io::Error::other(format!("process {process} has ended")));
        };
        let per_second = u32::try_from(clock_ticks_per_second()).map_err(io::Error::other)?;
        Ok(Self {
            cpu_seconds: f64::from(ticks) / f64::from(per_second),
            peak_megabytes: f64::from(kibibytes) * 1024.0 / 1e6,
        })
    }
}

/// Returns the children of a process that still run.
///
/// # Errors
/// The process has ended.
pub fn children(process: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // A thread that has ended in the meantime has no children.
        let listed = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(
            listed
                .split_whitespace()
                .filter_map(|child| child.parse::<u32>().ok()),
        );
    }
    Ok(found)
}

/// Returns the sum of utime and stime. The name before them is in parentheses and may contain anything.
fn ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let times = fields.split(' ').skip(11).take(2);
    times.map(|time| time.parse::<u32>().ok()).sum()
}

fn peak(status: &str) -> Option<u32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_proc_are_parsed() {
        let stat = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 120 30 0 0 20 0 1";
        assert_eq!(ticks(stat), Some(150));
        assert_eq!(peak("VmPeak:\t 9 kB\nVmHWM:\t  2048 kB\n"), Some(2048));
    }

    #[test]
    fn this_process_has_used_some_resources() {
        let spent = Spent::by(std::process::id()).unwrap();
        assert!(spent.peak_megabytes > 0.1, "{spent:?}");
    }
}
