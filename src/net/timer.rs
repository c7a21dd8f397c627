//! The timer for the deadline of the loop, with the resolution that the system allows, set as rarely as
//! possible.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::Clock;
use crate::base::Timestamp;

/// The time at which a timer fires; `None` if it does not.
///
/// Setting a timer costs a system call, and in a virtual machine an exit to its host. Nearly every packet
/// moves the deadline on. So only an earlier deadline sets the timer again, and a later one if the timer
/// would otherwise soon fire for nothing: a wakeup costs more than setting it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Armed(pub Option<Timestamp>);

impl Armed {
    /// Returns true if the timer does not fire by `deadline`.
    pub(super) fn is_late(self, deadline: Timestamp) -> bool {
        self.0.is_none_or(|armed| deadline < armed)
    }

    /// Returns true if the timer fires within `soon`, but before `deadline`.
    pub(super) fn is_for_nothing(self, now: Timestamp, deadline: Timestamp, soon: Duration) -> bool {
        self.0.is_some_and(|armed| armed < deadline && armed <= now + soon)
    }
}

/// Wakes its task at a deadline. May wake early or spuriously; the loop checks the clock.
pub(crate) struct Timer {
    clock: Clock,
    source: Source,
    armed: Armed,
}

enum Source {
    #[cfg(target_os = "linux")]
    Fine(tokio::io::unix::AsyncFd<super::sys::TimerFd>),
    /// With the same resolution, but without a descriptor of its own.
    #[cfg(target_os = "linux")]
    Shared(super::alarm::Alarm),
    /// The runtime's timer, with a resolution of a millisecond.
    Coarse(Pin<Box<Sleep>>),
}

impl Timer {
    /// Creates a timer of the current runtime, not armed.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, source: Source::best(), armed: Armed::default() }
    }

    /// Creates a timer that shares one descriptor with all such timers of the runtime.
    pub(super) fn shared(clock: Clock) -> Self {
        Self { clock, source: Source::shared(), armed: Armed::default() }
    }

    /// Returns the time of its clock.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.mono()
    }

    /// Returns ready when the armed deadline has come, otherwise wakes the task then; `None` means never.
    pub(crate) fn poll(&mut self, deadline: Option<Timestamp>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        if self.armed.is_late(deadline) && !self.arm(deadline) {
            return Poll::Pending;
        }
        if self.source.poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.armed = Armed(None);
        Poll::Ready(())
    }

    /// Sets the timer again if it would fire within `soon` but before `deadline`.
    pub(super) fn put_off(&mut self, now: Timestamp, deadline: Option<Timestamp>, soon: Duration) {
        if let Some(deadline) = deadline.filter(|it| self.armed.is_for_nothing(now, *it, soon)) {
            self.arm(deadline);
        }
    }

    /// Sets the source to `deadline`; returns false if that is beyond what the system can express.
    fn arm(&mut self, deadline: Timestamp) -> bool {
        let delay = deadline.since(self.clock.mono());
        let Some(instant) = self.clock.instant(deadline) else { return false };
        self.armed = Armed(Some(deadline));
        self.source.arm(delay, instant.into());
        true
    }
}

impl Source {
    fn best() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(timer) = super::sys::TimerFd::new().and_then(super::sys::TimerFd::register) {
            return Self::Fine(timer);
        }
        Self::coarse()
    }

    fn shared() -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(alarm) = super::alarm::Alarm::new() {
            return Self::Shared(alarm);
        }
        Self::coarse()
    }

    fn coarse() -> Self {
        Self::Coarse(Box::pin(tokio::time::sleep(Duration::ZERO)))
    }

    fn arm(&mut self, delay: Duration, instant: Instant) {
        #[cfg(not(target_os = "linux"))]
        let _ = delay;
        match self {
            #[cfg(target_os = "linux")]
            Self::Fine(timer) => {
                if timer.get_ref().arm(delay).is_err() {
                    *self = Self::Coarse(Box::pin(tokio::time::sleep_until(instant)));
                }
            }
            #[cfg(target_os = "linux")]
            Self::Shared(alarm) => {
                if alarm.set(instant.into_std()).is_err() {
                    *self = Self::Coarse(Box::pin(tokio::time::sleep_until(instant)));
                }
            }
            Self::Coarse(sleep) => sleep.as_mut().reset(instant),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Fine(timer) => match timer.poll_read_ready(cx) {
                Poll::Ready(Ok(mut fired)) => {
                    fired.clear_ready();
                    Poll::Ready(())
                }
                // The runtime is shutting down: nothing will be polled again.
                Poll::Ready(Err(_)) => Poll::Pending,
                Poll::Pending => Poll::Pending,
            },
            #[cfg(target_os = "linux")]
            Self::Shared(alarm) => alarm.poll(cx),
            Self::Coarse(sleep) => std::future::Future::poll(sleep.as_mut(), cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_would_soon_fire_for_nothing_is_put_off() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock = Clock::new();
            let now = clock.mono();
            let in_seconds = |seconds| now + Duration::from_secs(seconds);
            for mut timer in [Timer::new(clock), Timer::shared(clock)] {
                timer.put_off(now, Some(in_seconds(90)), Duration::from_secs(60));
                assert_eq!(timer.armed, Armed(None), "nothing to put off");
                std::future::poll_fn(|cx| {
                    assert!(timer.poll(Some(in_seconds(60)), cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                for (deadline, soon, armed) in [
                    (None, 60, 60),
                    (Some(in_seconds(90)), 59, 60),
                    (Some(in_seconds(30)), 60, 60),
                    (Some(in_seconds(90)), 60, 90),
                ] {
                    timer.put_off(now, deadline, Duration::from_secs(soon));
                    assert_eq!(timer.armed, Armed(Some(in_seconds(armed))));
                }
            }
        });
    }
}
