//! [`TokioLoop`]: one turn of the loop for clients that run in tokio.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::LocalSet;

use crate::error::{Error, Result};
use crate::sys::Alarm;

/// A current-thread runtime whose tasks run while a turn waits.
pub struct TokioLoop {
    runtime: Runtime,
    tasks: LocalSet,
    alarm: Alarm,
    /// Notified when a message has arrived.
    pub arrived: Arc<Notify>,
}

impl TokioLoop {
    /// Returns a loop without tasks.
    ///
    /// # Errors
    /// The system's errors.
    pub fn new() -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Error::io("starting the runtime"))?;
        let alarm = {
            let _inside = runtime.enter();
            Alarm::new().map_err(Error::io("making a timer"))?
        };
        Ok(Self { runtime, tasks: LocalSet::new(), alarm, arrived: Arc::default() })
    }

    /// Runs `work`, and the tasks beside it.
    pub fn block_on<T>(&mut self, work: impl Future<Output = T>) -> T {
        self.tasks.block_on(&self.runtime, work)
    }

    /// Runs the tasks until a message has arrived, or until `deadline`.
    ///
    /// # Errors
    /// The system's errors.
    pub fn turn(&mut self, deadline: u64) -> Result<()> {
        let Self { runtime, tasks, alarm, arrived } = self;
        let waited = tasks.block_on(runtime, async {
            // Even after the deadline, queued messages are sent and arrived ones are taken.
            tokio::task::yield_now().await;
            tokio::select! {
                ended = alarm.wait_until(deadline) => ended,
                () = arrived.notified() => Ok(()),
            }
        });
        waited.map_err(Error::io("waiting for a timer"))
    }
}
