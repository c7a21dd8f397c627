//! [`Alarm`]: waits for a point in time, in a tokio runtime.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use super::{check, timespec};

/// Waits for a point in time with microsecond precision; tokio's own timers count in milliseconds.
pub struct Alarm {
    fd: AsyncFd<OwnedFd>,
    set_to: u64,
}

impl Alarm {
    /// Returns an alarm that is not set. Requires a tokio runtime with I/O.
    ///
    /// # Errors
    /// The system's errors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes only numbers.
        let fd =
            unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
        check(fd)?;
        // SAFETY: `fd` was just opened, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // SAFETY: the file stays open, and the same, as long as the `AsyncFd` owns it.
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(Self { fd, set_to: 0 })
    }

    /// Waits until [`super::nanos`] reaches `moment`.
    ///
    /// # Errors
    /// The system's errors.
    pub async fn wait_until(&mut self, moment: u64) -> io::Result<()> {
        if moment != self.set_to {
            self.set(moment)?;
            self.set_to = moment;
        }
        while super::nanos() < moment {
            let mut ready = self.fd.readable().await?;
            let mut count = 0_u64;
            let fd = self.fd.get_ref().as_raw_fd();
            // SAFETY: `count` is valid for writes of its 8 bytes.
            let read = unsafe { libc::read(fd, (&raw mut count).cast(), size_of::<u64>()) };
            if read < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock {
                ready.clear_ready();
            }
        }
        Ok(())
    }

    fn set(&self, moment: u64) -> io::Result<()> {
        // A value of 0 would disarm the timer.
        let spec = libc::itimerspec { it_interval: timespec(0), it_value: timespec(moment.max(1)) };
        let fd = self.fd.get_ref().as_raw_fd();
        // SAFETY: `spec` is valid for reads, and the old setting is not requested.
        let set = unsafe {
            libc::timerfd_settime(fd, libc::TFD_TIMER_ABSTIME, &raw const spec, std::ptr::null_mut())
        };
        check(set).map(|_| ())
    }
}
