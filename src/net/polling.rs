//! The loop on a thread that waits for its socket itself, by `ppoll`.
//!
//! Only while it waits is it among those whom the socket wakes. A socket that a runtime watches wakes it for each
//! datagram that has left, since there is room again. That costs 120 ns a datagram, 5 % of what it costs to send one
//! over loopback, and nobody waits for that room.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::drive::{Setup, turns};
use super::port::Port;
use super::sources::{Ready, Sources, Turn};
use super::sys::{EventFd, Readiness, wait, wake_on_time};
use super::{Clock, Driven, Socket};
use crate::base::Timestamp;

/// Runs the loop to its end: nothing in it waits but the thread.
pub(super) fn run<D: Driven + ?Sized>(
    bell: &Bell,
    socket: Socket,
    clock: Clock,
    driven: &mut D,
) -> io::Result<()> {
    wake_on_time();
    let setup = Setup::of(&socket, clock, true);
    let port = Port::Unwatched(socket.udp);
    let sources = ThreadSources { port: &port, clock, bell };
    let turns = pin!(turns(setup, &port, sources, driven));
    match turns.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ended) => ended,
        Poll::Pending => unreachable!("invariant: `ThreadSources` wait inside of the call"),
    }
}

/// Wakes a thread that may be asleep.
pub(super) struct Bell {
    state: AtomicU8,
    /// Set by whoever rings while the thread is asleep; only then does a ring take a system call.
    event: EventFd,
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const RUNG: u8 = 2;

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { state: AtomicU8::new(AWAKE), event: EventFd::new()? })
    }

    /// Wakes the thread, now or before it sleeps again.
    pub(super) fn ring(&self) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP
            && let Err(error) = self.event.set()
        {
            tracing::error!(%error, "a worker cannot be woken");
        }
    }

    /// The thread is about to sleep; false when it may not, for it has been rung for.
    fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The thread is awake; true when it has been rung for since it last was.
    fn awake(&self) -> bool {
        self.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }
}

/// The sources of a thread, which looks for them by itself.
struct ThreadSources<'a> {
    port: &'a Port,
    clock: Clock,
    bell: &'a Bell,
}

impl Sources for ThreadSources<'_> {
    async fn ready(&mut self, deadline: Option<Timestamp>, turn: Turn, reads: bool) -> io::Result<Ready> {
        let wanted = Readiness { readable: reads, writable: turn == Turn::Blocked };
        let timeout = if self.bell.fall_asleep() {
            deadline.map(|at| at.since(self.clock.mono()))
        } else {
            Some(Duration::ZERO)
        };
        let found = wait(self.port.socket(), wanted, &self.bell.event, timeout);
        // Before the bell is looked at: a ring is on the bell first, so that none is cleared away unseen. One that
        // sets the event later ends the next wait for nothing.
        if found.as_ref().is_ok_and(|found| found.is_event_set) {
            self.bell.event.clear()?;
        }
        let woken = self.bell.awake();
        Ok(Ready { readable: found?.socket.readable, woken })
    }

    async fn ready_soon(&mut self, _: Turn, reads: bool) -> io::Result<Ready> {
        // To read in vain is as dear as to ask before.
        Ok(Ready { readable: reads, woken: self.bell.awake() })
    }

    async fn sleep(&mut self, until: Timestamp) {
        thread::sleep(until.since(self.clock.mono()));
    }

    /// A wait has its own deadline each time.
    fn put_off(&mut self, _: Timestamp, _: Option<Timestamp>, _: Duration) {}
}

#[cfg(test)]
mod tests {
    use super::super::{BufferSizes, bind};
    use super::*;

    #[test]
    fn room_to_send_ends_a_wait_of_a_loop_that_has_none() {
        let socket = bind(([127, 0, 0, 1], 0).into(), BufferSizes::default()).unwrap();
        let (port, bell, clock) = (Port::Unwatched(socket.udp), Bell::new().unwrap(), Clock::new());
        let mut sources = ThreadSources { port: &port, clock, bell: &bell };
        let mut wait = |millis, turn| {
            let deadline = clock.mono() + Duration::from_millis(millis);
            let ready = pin!(sources.ready(Some(deadline), turn, true));
            let Poll::Ready(ready) = ready.poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("it waits inside of the call")
            };
            assert_eq!(ready.unwrap(), Ready::default());
            clock.mono() < deadline
        };
        assert!(!wait(5, Turn::Done), "there is room, and nobody waits for it");
        assert!(wait(60_000, Turn::Blocked));
    }
}
