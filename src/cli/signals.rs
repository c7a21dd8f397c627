//! Signals to end: SIGINT (Ctrl-C), SIGTERM, and SIGHUP if a terminal is in use, because the terminal is then
//! gone. A daemon takes SIGHUP as a request to read its files again.

use std::io;

/// Receives the signals of this process from its creation on; until then, a signal ends the process at once.
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Signals {
    /// Starts listening. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// If the system does not allow it.
    #[cfg(unix)]
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup: None })
    }

    /// Like [`Self::new`], but also receives SIGHUP, which reports the end of the terminal. Not for what may
    /// continue without a terminal (`nohup`).
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn of_a_terminal() -> io::Result<Self> {
        let signals = Self::new()?;
        #[cfg(unix)]
        let hangup = tokio::signal::unix::SignalKind::hangup();
        #[cfg(unix)]
        let signals = Self { hangup: Some(tokio::signal::unix::signal(hangup)?), ..signals };
        Ok(signals)
    }

    /// Starts listening. Needs a tokio runtime with I/O.
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

/// Receives SIGHUP from its creation on; from then on, SIGHUP no longer ends the process.
pub struct Hangups(#[cfg(unix)] tokio::signal::unix::Signal);

impl Hangups {
    /// Starts listening. Needs a tokio runtime with I/O.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn new() -> io::Result<Self> {
        #[cfg(unix)]
        let hangup = tokio::signal::unix::SignalKind::hangup();
        Ok(Self(
            #[cfg(unix)]
            tokio::signal::unix::signal(hangup)?,
        ))
    }

    /// Waits for the next one; forever where SIGHUP does not exist. Cancel safe.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        if self.0.recv().await.is_some() {
            return;
        }
        std::future::pending().await
    }
}
