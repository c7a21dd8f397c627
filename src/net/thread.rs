//! [`ThreadLoop`]: the loop on a thread of its own.
//!
//! On Linux it needs no runtime ([`polling`]). Elsewhere, and on request, the thread runs one with a single
//! task.

use std::io;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::Notify;

use super::drive::as_task;
#[cfg(target_os = "linux")]
use super::polling::{self, Bell};
#[cfg(target_os = "linux")]
use super::sys::TimerFd;
use super::{Clock, Driven, IoPath, Socket};

/// Everything that a thread needs to drive one machine.
pub struct ThreadLoop(Waits);

/// Wakes the machine of a [`ThreadLoop`], from any thread and at any time. Wakes that come before the loop
/// has handled one count as one.
#[derive(Clone)]
pub struct Wake(Rings);

enum Waits {
    #[cfg(target_os = "linux")]
    Polling(Arc<Bell>, TimerFd),
    Runtime(OwnRuntime, Arc<Notify>),
}

/// A runtime that may be dropped on a thread of another runtime.
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Clone)]
enum Rings {
    #[cfg(target_os = "linux")]
    Bell(Arc<Bell>),
    Notify(Arc<Notify>),
}

impl ThreadLoop {
    /// Creates the loop for a socket of this path. With [`IoPath::Portable`] a runtime waits for it on every
    /// system.
    ///
    /// # Errors
    /// Those of the system, if it has no descriptors left.
    pub fn new(path: IoPath) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if path == IoPath::Batched {
            return Ok(Self(Waits::Polling(Arc::new(Bell::new()?), TimerFd::new()?)));
        }
        let _ = path;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self(Waits::Runtime(OwnRuntime(Some(runtime)), Arc::default())))
    }

    /// Returns a handle that wakes the machine.
    pub fn wake(&self) -> Wake {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Waits::Polling(bell, _) => Wake(Rings::Bell(Arc::clone(bell))),
            Waits::Runtime(_, notify) => Wake(Rings::Notify(Arc::clone(notify))),
        }
    }

    /// Runs `driven` on `socket` until it is finished, as [`drive`](super::drive()) does. Blocks the thread
    /// and uses it exclusively.
    ///
    /// # Errors
    /// Those of [`drive`](super::drive()).
    pub fn run<D: Driven + ?Sized>(self, socket: Socket, clock: Clock, driven: &mut D) -> io::Result<()> {
        match self.0 {
            #[cfg(target_os = "linux")]
            Waits::Polling(bell, timer) => polling::run(&bell, timer, socket, clock, driven),
            Waits::Runtime(runtime, notify) => match &runtime.0 {
                Some(runtime) => runtime.block_on(as_task(socket, clock, driven, notify, true)),
                None => unreachable!("invariant: it is taken by its drop alone"),
            },
        }
    }
}

impl Wake {
    /// Wakes the machine.
    pub fn wake(&self) {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Rings::Bell(bell) => bell.ring(),
            Rings::Notify(notify) => notify.notify_one(),
        }
    }
}
