//! What others on the machine take away from a bench, so that it can be left out.

#![allow(dead_code, reason = "each bench needs a part of it")]

use std::time::{Duration, Instant};

/// Tells how long this thread was ready and had no core. Zero where the system does not say.
pub struct Watch(Reading);

impl Watch {
    /// Begins now.
    pub fn start() -> Self {
        Self(Reading::take())
    }

    /// Without a core since the start.
    pub fn waited(&self) -> Duration {
        Reading::take().waited - self.0.waited
    }

    /// On a core since the start.
    pub fn on_core(&self) -> Duration {
        let now = Reading::take();
        (now.at - self.0.at).saturating_sub(now.waited - self.0.waited)
    }

    /// The part of its time since the start that the thread had a core. Others come at random, so that it is
    /// the part of whatever was timed meanwhile, too.
    pub fn share_on_core(&self) -> f64 {
        self.on_core().as_secs_f64() / self.0.at.elapsed().as_secs_f64()
    }
}

/// What a thread had waited at some time.
struct Reading {
    at: Instant,
    waited: Duration,
}

impl Reading {
    /// Again when the thread lost its core between the two.
    fn take() -> Self {
        loop {
            let (waited, at) = (waited(), Instant::now());
            if self::waited() == waited {
                return Self { at, waited };
            }
        }
    }
}

/// Since the thread began: the second figure of the kernel's `schedstat`.
fn waited() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}
