//! The loop on a thread that waits for its socket itself, with `ppoll`.
//!
//! The socket wakes the thread only while it waits. A socket that a runtime watches wakes the runtime for
//! each datagram that has left, because there is room again. That costs 120 ns per datagram, 5 % of the cost
//! of sending one over loopback, and nothing waits for that room.

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

/// Runs the loop to its end. It waits only by blocking the thread.
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
    /// Set by a ring while the thread is asleep; only then does a ring take a system call.
    event: EventFd,
}

const AWAKE: u8 = 0;
const ASLEEP: u8 = 1;
const RUNG: u8 = 2;

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { state: AtomicU8::new(AWAKE), event: EventFd::new()? })
    }

    /// Wakes the thread, or keeps it from sleeping if it is awake.
    pub(super) fn ring(&self) {
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP
            && let Err(error) = self.event.set()
        {
            tracing::error!(%error, "a worker cannot be woken");
        }
    }

    /// Marks the thread as about to sleep; returns false if the bell was rung, so that it must not.
    fn fall_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Marks the thread as awake; returns true if the bell was rung since the last call.
    fn awake(&self) -> bool {
        self.state.swap(AWAKE, Ordering::AcqRel) == RUNG
    }
}

/// The sources of a thread, which polls them itself.
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
        // Cleared before the state of the bell is read: a ring changes the state first, so none is cleared
        // unseen. A ring that sets the event later causes one spurious end of a wait.
        if found.as_ref().is_ok_and(|found| found.is_event_set) {
            self.bell.event.clear()?;
        }
        let woken = self.bell.awake();
        Ok(Ready { readable: found?.socket.readable, woken })
    }

    async fn ready_soon(&mut self, _: Turn, reads: bool) -> io::Result<Ready> {
        // Reading in vain costs as much as asking first.
        Ok(Ready { readable: reads, woken: self.bell.awake() })
    }

    async fn sleep(&mut self, until: Timestamp) {
        thread::sleep(until.since(self.clock.mono()));
    }

    /// Does nothing, because each wait has a deadline of its own.
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
