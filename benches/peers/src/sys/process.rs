//! Cores, CPU time and memory of processes.

use std::io;
use std::ops::Range;

use super::{check, clock_nanos};

/// Returns the number of cores.
///
/// # Errors
/// The system's errors.
pub fn cores() -> io::Result<usize> {
    // SAFETY: takes only a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }).map_err(io::Error::other)
}

/// Binds this process, and every thread that it starts from now on, to these cores.
///
/// # Errors
/// The system's errors, such as when the cores do not exist.
pub fn pin_to_cores(cores: Range<usize>) -> io::Result<()> {
    // SAFETY: a set of cores is plain bits, for which zeros are valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for core in cores {
        // SAFETY: `set` is a valid set, and the macro checks the number against its size.
        unsafe { libc::CPU_SET(core, &mut set) };
    }
    // SAFETY: `set` is valid for reads of its size; 0 means this thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) }).map(|_| ())
}

/// Ends this process when its parent process ends for any reason.
///
/// # Errors
/// The system's errors.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: takes only numbers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    // SAFETY: takes nothing.
    if unsafe { libc::getppid() } == 1 {
        return Err(io::Error::other("the parent has ended already"));
    }
    Ok(())
}

/// Returns the CPU time that all threads of a process have used, in nanoseconds; `/proc/PID/stat` counts in
/// steps of 10 ms.
///
/// # Errors
/// The system's errors, such as when the process has ended.
pub fn cpu_nanos(pid: u32) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: `clock` is valid for writes.
    match unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } {
        0 => clock_nanos(clock),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// Returns the resident memory of a process.
///
/// # Errors
/// The system's errors, such as when the process has ended.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix("kB"));
    let kib = kib.and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1_024).ok_or_else(|| io::Error::other("no VmRSS in the process's status"))
}

/// Raises the limit of open files as far as the system allows, because each client has a socket.
///
/// # Errors
/// The system's errors.
pub fn allow_many_files() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writes.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is valid for reads.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }).map(|_| ())
}
