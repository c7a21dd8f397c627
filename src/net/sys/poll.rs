//! How a thread without a runtime waits: `poll` on its socket, on an `eventfd` that other threads set, and on
//! its timer.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::TimerFd;

/// A descriptor that any thread can make readable.
pub(in crate::net) struct EventFd(File);

/// Readiness of a socket, as requested or as found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Readiness {
    pub readable: bool,
    pub writable: bool,
}

/// Result of a wait.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Found {
    pub socket: Readiness,
    pub is_event_set: bool,
    pub has_timer_fired: bool,
}

impl EventFd {
    /// Creates an event that is not set.
    ///
    /// # Errors
    /// Those of the system.
    pub(in crate::net) fn new() -> io::Result<Self> {
        // SAFETY: the call takes two integers and makes a descriptor or fails.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new, valid, and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }.into()))
    }

    /// Makes it readable.
    ///
    /// # Errors
    /// Those of the system; never because it is already set.
    pub(in crate::net) fn set(&self) -> io::Result<()> {
        match (&self.0).write(&1u64.to_ne_bytes()) {
            // Its counter is full, so it is readable.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            written => written.map(drop),
        }
    }

    /// Makes it unreadable.
    ///
    /// # Errors
    /// Those of the system; never because it is not set.
    pub(in crate::net) fn clear(&self) -> io::Result<()> {
        match (&self.0).read(&mut [0; 8]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            read => read.map(drop),
        }
    }
}

/// `poll` ignores this descriptor.
const UNWATCHED: RawFd = -1;

/// Waits until the socket is ready for something in `wanted`, `event` is set, or `timer` has fired; only looks
/// if it must not block. May end spuriously. A socket that has failed is ready for everything in `wanted`;
/// the next call on it returns the error.
///
/// # Errors
/// Those of the system.
pub(in crate::net) fn wait(
    socket: &UdpSocket,
    wanted: Readiness,
    event: &EventFd,
    timer: Option<&TimerFd>,
    blocks: bool,
) -> io::Result<Found> {
    let flag = |wanted, flag| if wanted { flag } else { 0 };
    let events = flag(wanted.readable, libc::POLLIN) | flag(wanted.writable, libc::POLLOUT);
    // On a descriptor that is watched for nothing, an error would still end every wait at once.
    let socket = if events == 0 { UNWATCHED } else { socket.as_raw_fd() };
    let timer = timer.map_or(UNWATCHED, AsRawFd::as_raw_fd);
    let watch = |fd, events| libc::pollfd { fd, events, revents: 0 };
    let mut watched =
        [watch(socket, events), watch(event.0.as_raw_fd(), libc::POLLIN), watch(timer, libc::POLLIN)];
    // SAFETY: `watched` has three entries, and lives until after the call.
    let found = unsafe { libc::poll(watched.as_mut_ptr(), 3, if blocks { -1 } else { 0 }) };
    if found < 0 {
        let error = io::Error::last_os_error();
        let is_signal = error.kind() == io::ErrorKind::Interrupted;
        return if is_signal { Ok(Found::default()) } else { Err(error) };
    }
    let [socket, event, timer] = watched.map(|watched| watched.revents);
    let has_failed = socket & !(libc::POLLIN | libc::POLLOUT) != 0;
    let is_good = |wanted, flag| wanted && (has_failed || socket & flag != 0);
    let socket = Readiness {
        readable: is_good(wanted.readable, libc::POLLIN),
        writable: is_good(wanted.writable, libc::POLLOUT),
    };
    Ok(Found { socket, is_event_set: event != 0, has_timer_fired: timer != 0 })
}

/// Makes this thread's waits end within a microsecond of their time, plus a thousandth of it, instead of the
/// default of 50 microseconds (`PR_SET_TIMERSLACK`). A failure is ignored.
pub(in crate::net) fn wake_on_time() {
    let slack: libc::c_ulong = 1_000;
    // SAFETY: the option takes an integer, in nanoseconds, and affects this thread alone.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack) };
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const NOTHING: Readiness = Readiness { readable: false, writable: false };
    const READ: Readiness = Readiness { readable: true, writable: false };
    const WRITE: Readiness = Readiness { readable: false, writable: true };
    const ANY: Readiness = Readiness { readable: true, writable: true };

    #[test]
    fn a_wait_finds_what_it_wants_and_nothing_else() {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let event = EventFd::new().unwrap();
        let look = |wanted| {
            let found = wait(&socket, wanted, &event, None, false).unwrap();
            (found.socket, found.is_event_set)
        };
        assert_eq!([READ, WRITE, ANY].map(look), [(NOTHING, false), (WRITE, false), (WRITE, false)]);
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        // Even loopback may take a moment.
        wait(&socket, READ, &event, None, true).unwrap();
        assert_eq!(
            [NOTHING, READ, WRITE, ANY].map(look),
            [NOTHING, READ, WRITE, ANY].map(|found| (found, false))
        );
        event.set().unwrap();
        event.set().unwrap();
        assert_eq!(look(NOTHING), (NOTHING, true));
        event.clear().unwrap();
        event.clear().unwrap();
        assert_eq!(look(NOTHING), (NOTHING, false), "set twice, cleared at once");
    }

    /// An ICMP error on a connected socket, which no read clears here.
    #[test]
    fn a_socket_that_has_failed_is_good_for_what_is_wanted_and_ends_no_wait_for_nothing() {
        let nobody = UdpSocket::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.connect(nobody).unwrap();
        socket.send(b"x").unwrap();
        let event = EventFd::new().unwrap();
        let look = |wanted| wait(&socket, wanted, &event, None, false).unwrap().socket;
        assert_eq!([NOTHING, READ, WRITE, ANY].map(look), [NOTHING, READ, WRITE, ANY]);
    }

    #[test]
    fn a_wait_ends_when_its_timer_fires_and_with_an_event_of_another_thread() {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let (event, timer) = (EventFd::new().unwrap(), TimerFd::new().unwrap());
        let begin = Instant::now();
        timer.arm(Duration::from_millis(5)).unwrap();
        let fired = Found { has_timer_fired: true, ..Found::default() };
        assert_eq!(wait(&socket, READ, &event, Some(&timer), true).unwrap(), fired);
        assert!(begin.elapsed() >= Duration::from_millis(5));
        assert_eq!(wait(&socket, READ, &event, None, false).unwrap(), Found::default(), "not watched");
        timer.arm(Duration::from_secs(60)).unwrap();
        let look = wait(&socket, READ, &event, Some(&timer), false).unwrap();
        assert_eq!(look, Found::default(), "set again, so it has not fired");
        std::thread::scope(|scope| {
            scope.spawn(|| event.set().unwrap());
            assert!(wait(&socket, READ, &event, Some(&timer), true).unwrap().is_event_set);
        });
    }
}
