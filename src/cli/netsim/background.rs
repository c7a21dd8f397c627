//! [`BackgroundRelay`]: a relay on a thread of this process, for subcommands that need impairments.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use rand::rngs::StdRng;
use tokio::sync::oneshot;

use super::relay::Relay;
use crate::cli::output::Failure;
use crate::link::Impairments;
use crate::net::{BufferSizes, bind};

/// A relay that runs until it is dropped.
pub struct BackgroundRelay {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl BackgroundRelay {
    /// Starts a relay to `upstream` on a free port of loopback.
    ///
    /// # Errors
    /// [`Failure::Work`] if no socket or thread can be created.
    pub fn start(upstream: SocketAddr, impairments: Impairments, rng: StdRng) -> Result<Self, Failure> {
        let failed = |error| Failure::while_doing("starting the relay", error);
        let socket = bind((Ipv4Addr::LOCALHOST, 0).into(), BufferSizes::default()).map_err(failed)?;
        let addr = socket.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            // Created on this thread, because a relay's state machines share state that only one thread may
            // use.
            let relay = Relay::new(upstream, impairments, None, rng);
            tokio::task::LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    ended = relay.serve(socket) => {
                        if let Err(error) = ended {
                            tracing::error!(%error, "the relay's socket is broken");
                        }
                    }
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("rallypoint-relay".to_owned()).spawn(run).map_err(failed)?;
        Ok(Self { addr, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the address on which it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for BackgroundRelay {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
