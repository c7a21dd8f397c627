//! The loop on a thread that waits for its socket itself, with `poll`.
//!
//! The socket wakes the thread only while it waits. A socket that a runtime watches wakes the runtime for
//! each datagram that has left, because there is room again. That costs 120 ns per datagram, 5 % of the cost
//! of sending one over loopback, and nothing waits for that room.
//!
//! The deadline has a timer of its own, set as rarely as [`Armed`] allows. A time limit of each wait would
//! set a timer of the kernel and cancel it every time. In a virtual machine that costs 6 to 8 microseconds, a
//! tenth of a worker's CPU time if a broadcast to eight members follows each wait.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use super::drive::{Setup, turns};
use super::port::Port;
use super::sources::{Ready, Sending, Sources};
use super::sys::{EventFd, Readiness, TimerFd, wait, wake_on_time};
use super::timer::Armed;
use super::{Clock, Driven, Socket};
use crate::base::Timestamp;

/// Runs the loop to its end. It waits only by blocking the thread.
pub(super) fn run<D: Driven + ?Sized>(
    bell: &Bell,
    timer: TimerFd,
    socket: Socket,
    clock: Clock,
    driven: &mut D,
) -> io::Result<()> {
    wake_on_time();
    let setup = Setup::of(&socket, clock, true);
    let port = Port::Unwatched(socket.udp);
    let sources = ThreadSources { port: &port, clock, bell, timer, armed: Armed::default() };
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
    timer: TimerFd,
    armed: Armed,
}

impl ThreadSources<'_> {
    fn arm(&mut self, deadline: Timestamp) -> io::Result<()> {
        self.armed = Armed(Some(deadline));
        self.timer.arm(deadline.since(self.clock.mono()))
    }
}

impl Sources for ThreadSources<'_> {
    async fn ready(
        &mut self,
        deadline: Option<Timestamp>,
        sending: Sending,
        reads: bool,
    ) -> io::Result<Ready> {
        let wanted = Readiness { readable: reads, writable: sending == Sending::Blocked };
        if let Some(deadline) = deadline.filter(|it| self.armed.is_late(*it)) {
            self.arm(deadline)?;
        }
        let timer = self.armed.0.map(|_| &self.timer);
        let found = wait(self.port.socket(), wanted, &self.bell.event, timer, self.bell.fall_asleep());
        // Cleared before the state of the bell is read: a ring changes the state first, so none is cleared
        // unseen. A ring that sets the event later causes one spurious end of a wait.
        if found.as_ref().is_ok_and(|found| found.is_event_set) {
            self.bell.event.clear()?;
        }
        let woken = self.bell.awake();
        let found = found?;
        if found.has_timer_fired {
            self.armed = Armed(None);
        }
        Ok(Ready { readable: found.socket.readable, woken })
    }

    async fn ready_soon(&mut self, _: Sending, reads: bool) -> io::Result<Ready> {
        // Reading in vain costs as much as asking first.
        Ok(Ready { readable: reads, woken: self.bell.awake() })
    }

    async fn sleep(&mut self, until: Timestamp) {
        thread::sleep(until.since(self.clock.mono()));
    }

    fn put_off(&mut self, now: Timestamp, deadline: Option<Timestamp>, soon: Duration) -> io::Result<()> {
        match deadline.filter(|it| self.armed.is_for_nothing(now, *it, soon)) {
            Some(deadline) => self.arm(deadline),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BufferSizes, bind};
    use super::*;

    /// Runs `test` with the sources of a new socket.
    fn with_sources(test: impl FnOnce(ThreadSources<'_>)) {
        let socket = bind(([127, 0, 0, 1], 0).into(), BufferSizes::default()).unwrap();
        let (port, bell) = (Port::Unwatched(socket.udp), Bell::new().unwrap());
        let (clock, timer) = (Clock::new(), TimerFd::new().unwrap());
        test(ThreadSources { port: &port, clock, bell: &bell, timer, armed: Armed::default() });
    }

    fn ready(sources: &mut ThreadSources<'_>, deadline: Timestamp, sending: Sending) -> Ready {
        let ready = pin!(sources.ready(Some(deadline), sending, true));
        match ready.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready.unwrap(),
            Poll::Pending => panic!("it waits inside of the call"),
        }
    }

    #[test]
    fn room_to_send_ends_a_wait_of_a_loop_that_has_none() {
        with_sources(|mut sources| {
            let mut is_early = |millis, sending| {
                let deadline = sources.clock.mono() + Duration::from_millis(millis);
                assert_eq!(ready(&mut sources, deadline, sending), Ready::default());
                sources.clock.mono() < deadline
            };
            assert!(!is_early(5, Sending::Done), "there is room, and nobody waits for it");
            assert!(is_early(60_000, Sending::Blocked));
        });
    }

    #[test]
    fn the_timer_is_set_only_when_it_would_be_late_or_would_soon_fire_for_nothing() {
        with_sources(|mut sources| {
            let now = sources.clock.mono();
            let at = |seconds| now + Duration::from_secs(seconds);
            let rung = |sources: &mut ThreadSources<'_>, seconds| {
                sources.bell.ring();
                assert!(ready(sources, at(seconds), Sending::Done).woken);
                sources.armed
            };
            assert_eq!(rung(&mut sources, 60), Armed(Some(at(60))));
            assert_eq!(rung(&mut sources, 90), Armed(Some(at(60))), "early enough");
            assert_eq!(rung(&mut sources, 50), Armed(Some(at(50))));
            sources.put_off(now, Some(at(70)), Duration::from_secs(49)).unwrap();
            assert_eq!(sources.armed, Armed(Some(at(50))), "not soon");
            sources.put_off(now, Some(at(70)), Duration::from_secs(50)).unwrap();
            assert_eq!(sources.armed, Armed(Some(at(70))));
            ready(&mut sources, now, Sending::Done);
            assert_eq!(sources.armed, Armed(None), "fired, and not watched until it is set again");
        });
    }
}
