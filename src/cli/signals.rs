//! Being told to end: SIGINT (Ctrl-C), SIGTERM, and SIGHUP where a terminal is in use, which has gone then. A
//! daemon takes SIGHUP for the wish that it read its files again.

use std::io;

/// Hears what the system says to this process from the moment that it is made; until then a signal
/// ends the process at once.
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Begins to listen. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// When the system does not allow it.
    #[cfg(unix)]
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup: None })
    }

    /// As [`Self::new`], and hears of the end of the terminal. Not for what may go on without one (`nohup`).
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn of_a_terminal() -> io::Result<Self> {
        let signals = Self::new()?;
        #[cfg(unix)]
        let hangup = tokio::signal::unix::SignalKind::hangup();
        #[cfg(unix)]
        let signals = Self { hangup: Some(tokio::signal::unix::signal(hangup)?), ..signals };
        Ok(signals)
    }

    /// Begins to listen. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// Never on this system.
    #[cfg(not(unix))]
    pub fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal. Cancel safe.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            Some(()) = async { self.hangup.as_mut()?.recv().await } => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Hears SIGHUP, from the moment that it is made, which then no longer ends the process.
pub struct Hangups(#[cfg(unix)] tokio::signal::unix::Signal);

impl Hangups {
    /// Begins to listen. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// When the system does not allow it.
    pub fn new() -> io::Result<Self> {
        #[cfg(unix)]
        let hangup = tokio::signal::unix::SignalKind::hangup();
        Ok(Self(
            #[cfg(unix)]
            tokio::signal::unix::signal(hangup)?,
        ))
    }

    /// Waits for the next one; for ever where there are none. Cancel safe.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.0.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
