//! [`Announce`]: how a server reports that it is ready, and later its counts.

use std::io::BufRead;
use std::net::SocketAddr;
use std::process;
use std::thread;

use crate::error::{Error, Result};
use crate::load::say;
use crate::peer::Counts;

/// A server's connection to its parent.
pub struct Announce;

impl Announce {
    /// Reports where the server listens, with a word that its clients need, if any. From then on a thread
    /// answers each line of standard input with the result of `counts`, and ends the process when the input
    /// ends.
    ///
    /// # Errors
    /// When the thread does not start.
    pub fn ready(
        self,
        addr: SocketAddr,
        extra: &str,
        counts: impl Fn() -> Option<Counts> + Send + 'static,
    ) -> Result<()> {
        let answer = move || {
            for line in std::io::stdin().lock().lines() {
                if line.is_err() {
                    break;
                }
                let text = serde_json::to_string(&counts()).unwrap_or_else(|_| "null".to_owned());
                say(&text);
            }
            process::exit(0);
        };
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(answer)
            .map_err(Error::io("starting a thread"))?;
        say(format!("listening on {addr} {extra}").trim_end());
        Ok(())
    }
}
