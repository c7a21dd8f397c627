//! [`Epoll`]: waits for many files.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{check, check_uninterrupted, timespec};

/// Waits for many files, to the microsecond: `epoll_pwait2`, since `epoll_wait` counts in milliseconds.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// Events a call.
const EVENTS: usize = 256;

/// Tells as long as there is something to read.
#[allow(clippy::cast_sign_loss)]
pub const READABLE: u32 = libc::EPOLLIN as u32;
/// Tells when more than before can be read or written.
#[allow(clippy::cast_sign_loss)]
pub const READ_WRITE_EDGES: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

impl Epoll {
    /// One that waits for nothing yet.
    ///
    /// # Errors
    /// The system's.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes a number alone.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(fd)?;
        // SAFETY: `fd` was just opened, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    /// Waits for `file` too, which is known by `token` from now on, until it is closed.
    ///
    /// # Errors
    /// The system's.
    pub fn add(&self, file: &impl AsRawFd, token: usize, interest: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest, u64: token as u64 };
        let (epoll, file) = (self.fd.as_raw_fd(), file.as_raw_fd());
        // SAFETY: `event` is valid for reads.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, file, &raw mut event) }).map(|_| ())
    }

    /// Waits until a file is ready, for `nanos` at most (for ever with `None`); puts the tokens of those
    /// that are into `ready`, which is cleared first.
    ///
    /// # Errors
    /// The system's.
    pub fn wait(&mut self, nanos: Option<u64>, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        let timeout = nanos.map(timespec);
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `events` has room for the count that is told, `timeout` is null or valid, and no signal
        // mask is given.
        let count = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                EVENTS,
                timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        let count = check_uninterrupted(libc::c_int::try_from(count).unwrap_or(-1))?;
        ready.extend(self.events.iter().take(count).map(|event| event.u64 as usize));
        Ok(())
    }
}
