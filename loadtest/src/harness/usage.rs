//! What a process has taken of the machine, as the kernel accounts for it.

use std::fs;

use crate::error::LoadError;

/// Clock ticks per second in `/proc`: fixed for programs, whatever the kernel's own rate is.
const TICKS: f64 = 100.0;

/// CPU time and memory of a process, all its threads together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// Seconds of CPU, user and system, since its start.
    pub(crate) cpu: f64,
    /// Memory that it holds now, in MB (10⁶ bytes).
    pub(crate) rss: f64,
    /// The most it ever held, in MB.
    pub(crate) peak: f64,
}

impl Usage {
    /// Of one process.
    pub(crate) fn of(pid: u32) -> Result<Self, LoadError> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).map_err(LoadError::at(path.clone()))
        };
        Self::parse(&read("stat")?, &read("status")?)
            .ok_or_else(|| LoadError::Unreadable(format!("/proc/{pid}/stat or status")))
    }

    /// From the texts of `stat` and `status` (proc(5)).
    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The name of the program, in brackets, may hold anything.
        let (_, numbers) = stat.rsplit_once(") ")?;
        let mut times = numbers.split(' ').skip(11).map(str::parse::<f64>);
        let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
        let kib = |key: &str| -> Option<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.trim().trim_end_matches("kB").trim().parse().ok()
        };
        let mb = |key| kib(key).map(|kib| kib * 1024.0 / 1e6);
        Some(Self { cpu: (user + system) / TICKS, rss: mb("VmRSS:")?, peak: mb("VmHWM:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1000 200";

    #[test]
    fn times_are_found_behind_a_name_with_brackets_and_spaces() {
        let usage = Usage::parse(STAT, "VmHWM:\t  2000 kB\nVmRSS:\t  1000 kB\n").unwrap();
        assert!((usage.cpu - 3.0).abs() < 1e-9, "{usage:?}");
        assert!((usage.rss - 1.024).abs() < 1e-9 && (usage.peak - 2.048).abs() < 1e-9, "{usage:?}");
    }

    #[test]
    fn a_process_without_memory_has_no_usage() {
        assert!(Usage::parse(STAT, "Name:\tkthreadd\n").is_none());
    }

    #[test]
    fn this_process_has_used_memory() {
        assert!(Usage::of(std::process::id()).unwrap().rss > 0.1);
    }
}
