//! What a process has used of the machine, as reported by Linux in `/proc`.

use std::time::Duration;

/// CPU time and memory of a process; `None` where the system reports nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// User and system time of all its threads, in steps of 10 ms.
    pub cpu: Option<Duration>,
    /// Time that its first thread waited for a core although it had work.
    pub waited: Option<Duration>,
    /// Resident memory, in bytes.
    pub rss_bytes: Option<u64>,
}

impl Usage {
    /// Returns true where the system reports the usage of processes.
    pub fn is_known_here() -> bool {
        Self::of(std::process::id()) != Self::default()
    }

    /// Returns the usage of the process `pid` so far.
    pub fn of(pid: u32) -> Self {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
        Self {
            cpu: read("stat").and_then(|stat| cpu_time(&stat)),
            waited: read("schedstat").and_then(|schedstat| waiting_time(&schedstat)),
            rss_bytes: read("status").and_then(|status| resident_bytes(&status)),
        }
    }

    /// Returns the CPU time used since `earlier`.
    pub fn cpu_since(self, earlier: Self) -> Option<Duration> {
        Some(self.cpu?.saturating_sub(earlier.cpu?))
    }

    /// Returns the time that the first thread waited for a core since `earlier`.
    pub fn waited_since(self, earlier: Self) -> Option<Duration> {
        Some(self.waited?.saturating_sub(earlier.waited?))
    }
}

/// Reads fields 14 and 15 of `/proc/PID/stat`, in ticks, of which every Linux shows 100 per second.
fn cpu_time(stat: &str) -> Option<Duration> {
    // The second field, the program's name in parentheses, may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis(10 * (user + system)))
}

/// Reads the second field of `/proc/PID/schedstat`, in nanoseconds.
fn waiting_time(schedstat: &str) -> Option<Duration> {
    schedstat.split_ascii_whitespace().nth(1)?.parse().ok().map(Duration::from_nanos)
}

fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 9 0 100 1 2";
        assert_eq!(cpu_time(stat), Some(Duration::from_millis(2_810)));
        assert_eq!(cpu_time("42 (a"), None);
    }

    #[test]
    fn waiting_is_read_in_nanoseconds() {
        assert_eq!(waiting_time("500 42000 7\n"), Some(Duration::from_micros(42)));
        assert_eq!(waiting_time("500"), None);
    }

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t   128 kB\n"), Some(131_072));
        assert_eq!(resident_bytes("VmPeak:\t 9 kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id());
        assert!(usage.rss_bytes.is_some_and(|bytes| bytes > 0) && usage.cpu.is_some());
    }

    #[test]
    fn nothing_is_known_of_a_process_that_is_not_there() {
        assert_eq!(Usage::of(u32::MAX), Usage::default());
    }
}
