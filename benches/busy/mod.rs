//! Measures the time that other processes take from a bench, so that it can be excluded.

#![allow(dead_code, reason = "each bench needs a part of it")]

use std::time::{Duration, Instant};

/// Measures how long this thread was ready but had no core; zero where the system does not report it.
pub struct Watch(Reading);

impl Watch {
    /// Starts measuring.
    pub fn start() -> Self {
        Self(Reading::take())
    }

    /// Returns the time without a core since the start.
    pub fn waited(&self) -> Duration {
        Reading::take().waited - self.0.waited
    }

    /// Returns the time on a core since the start.
    pub fn on_core(&self) -> Duration {
        let now = Reading::take();
        (now.at - self.0.at).saturating_sub(now.waited - self.0.waited)
    }

    /// Returns the share of the time since the start in which the thread had a core. Interruptions are
    /// random, so it also applies to any part that was timed meanwhile.
    pub fn share_on_core(&self) -> f64 {
        self.on_core().as_secs_f64() / self.0.at.elapsed().as_secs_f64()
    }
}

/// A thread's total waiting time at an instant.
struct Reading {
    at: Instant,
    waited: Duration,
}

impl Reading {
    /// Repeats the reading if the thread lost its core between the two clocks.
    fn take() -> Self {
        loop {
            let (waited, at) = (waited(), Instant::now());
            if self::waited() == waited {
                return Self { at, waited };
            }
        }
    }
}

/// Returns the waiting time since the thread began: the second figure of the kernel's `schedstat`.
fn waited() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}
