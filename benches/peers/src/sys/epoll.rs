//! [`Epoll`]: waits for many files.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::{check, check_uninterrupted, timespec};

/// Waits for many files with microsecond precision: `epoll_pwait2`, since `epoll_wait` counts in
/// milliseconds.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

/// Maximum number of events per call.
const EVENTS: usize = 256;

/// Reports a file as long as it is readable.
#[allow(clippy::cast_sign_loss)]
pub const READABLE: u32 = libc::EPOLLIN as u32;
/// Reports a file when more than before can be read or written.
#[allow(clippy::cast_sign_loss)]
pub const READ_WRITE_EDGES: u32 = (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

impl Epoll {
    /// Returns an epoll without files.
    ///
    /// # Errors
    /// The system's errors.
    pub fn new() -> io::Result<Self> {
        // SAFETY: takes only a number.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        check(fd)?;
        // SAFETY: `fd` was just opened, and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS] })
    }

    /// Also waits for `file`, which is identified by `token` until it is closed.
    ///
    /// # Errors
    /// The system's errors.
    pub fn add(&self, file: &impl AsRawFd, token: usize, interest: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest, u64: token as u64 };
        let (epoll, file) = (self.fd.as_raw_fd(), file.as_raw_fd());
        // SAFETY: `event` is valid for reads.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, file, &raw mut event) }).map(|_| ())
    }

    /// Waits until a file is ready, for at most `nanos` (forever with `None`), and puts the tokens of ready
    /// files into `ready`, which is cleared first.
    ///
    /// # Errors
    /// The system's errors.
    pub fn wait(&mut self, nanos: Option<u64>, ready: &mut Vec<usize>) -> io::Result<()> {
        ready.clear();
        let timeout = nanos.map(timespec);
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `events` has room for the count that is passed, `timeout` is null or valid, and no signal
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
