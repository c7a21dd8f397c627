//! Linux system calls that the standard library does not offer: all of this crate's `unsafe` except ENet's.
//!
//! | file | contents |
//! |---|---|
//! | `process` | cores, CPU time and memory of processes |
//! | `socket` | UDP sockets with large buffers, waiting for one |
//! | `epoll` | waiting for many |
//! | `receive`, `send` | many datagrams per system call |
//! | `alarm` | waiting for a point in time, in a tokio runtime |
#![allow(unsafe_code)]

mod alarm;
mod epoll;
mod process;
mod receive;
mod send;
mod socket;

pub use alarm::Alarm;
pub use epoll::{Epoll, READ_WRITE_EDGES, READABLE};
pub use process::{allow_many_files, cores, cpu_nanos, die_with_parent, pin_to_cores, resident_bytes};
pub use receive::ReceiveBatch;
pub use send::SendBatch;
#[cfg(feature = "enet")]
pub use socket::{enlarge_client_buffers, enlarge_server_buffers};
pub use socket::{udp_client, udp_server, udp_unconnected, wait_readable};

use std::io;

/// Returns the time of the one clock that all processes of a run share: `CLOCK_MONOTONIC`, in nanoseconds.
pub fn nanos() -> u64 {
    clock_nanos(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

fn clock_nanos(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writes.
    check(unsafe { libc::clock_gettime(clock, &raw mut time) })?;
    Ok(u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// Converts a duration to the system's form.
fn timespec(nanos: u64) -> libc::timespec {
    let part = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    libc::timespec { tv_sec: part(nanos / 1_000_000_000), tv_nsec: part(nanos % 1_000_000_000) }
}

/// Returns the result of a system call, or its error.
fn check(result: libc::c_int) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Does the same, but an interruption counts as nothing done.
fn check_uninterrupted(result: libc::c_int) -> io::Result<usize> {
    match check(result) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        other => other,
    }
}

/// Returns the size of a type, in the system's type for sizes.
fn size<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}
