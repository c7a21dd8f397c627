//! `timerfd`: a timer with the resolution of the kernel, where the runtime's own has steps of a millisecond.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A one-shot timer that is readable once it has fired.
pub(in crate::net) struct TimerFd(OwnedFd);

impl TimerFd {
    pub(in crate::net) fn new() -> io::Result<Self> {
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: the call takes two integers and makes a descriptor or fails.
        let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, valid, and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Registers the timer with the current runtime.
    pub(in crate::net) fn register(self) -> io::Result<AsyncFd<Self>> {
        super::watch(self, Interest::READABLE)
    }

    /// Fires once after `delay`; discards any earlier setting, and an expiry that has already occurred.
    pub(in crate::net) fn arm(&self, delay: Duration) -> io::Result<()> {
        // A delay of zero would disarm it.
        let delay = delay.max(Duration::from_nanos(1));
        let setting = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: super::timespec(delay),
        };
        // SAFETY: `setting` lives until after the call; the old setting is not requested.
        let set =
            unsafe { libc::timerfd_settime(self.0.as_raw_fd(), 0, &raw const setting, ptr::null_mut()) };
        if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

impl AsRawFd for TimerFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
