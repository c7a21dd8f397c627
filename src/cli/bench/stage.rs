//! [`Stage`]: what a bench is played on: a server that is there, or one of its own, perhaps behind a
//! relay.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::BenchArgs;
use super::child::Child;
use super::usage::Usage;
use crate::cli::PROTOCOL_ID;
use crate::cli::backend::Backend;
use crate::cli::key_file;
use crate::cli::output::Failure;
use crate::secure::TokenKey;

/// The server under load and the way to it.
pub struct Stage {
    /// Mints grants for the server and connects clients to it.
    pub backend: Arc<Backend>,
    server_pid: Option<u32>,
    server: Option<Child>,
    relay: Option<Child>,
}

/// How long a child may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

impl Stage {
    /// Starts what has to be started.
    ///
    /// # Errors
    /// [`Failure::Work`].
    pub async fn set(args: &BenchArgs, seed: u64) -> Result<Self, Failure> {
        let (key, server) = match (&args.server, &args.key_file) {
            (Some(_), Some(key_file)) => (key_file::read(key_file)?, None),
            _ => {
                let (key, server) = start_server(args.workers).await?;
                (key, Some(server))
            }
        };
        let addr = match (&args.server, &server) {
            (Some(addr), _) => addr.clone(),
            (None, Some(server)) => server.addr.clone(),
            (None, None) => return Err(Failure::Usage("--server needs --key-file".to_owned())),
        };
        let relay = if args.impairments.do_nothing(args.rate_limit) {
            None
        } else {
            Some(start_relay(args, &addr, seed).await?)
        };
        let reached = relay.as_ref().map_or(&addr, |relay| &relay.addr);
        Ok(Self {
            backend: Arc::new(Backend::new(key, reached, PROTOCOL_ID)),
            server_pid: args.server_pid.or_else(|| server.as_ref().and_then(Child::pid)),
            server,
            relay,
        })
    }

    /// What the server has used until now; nothing when it is not known where it runs.
    pub fn server_usage(&self) -> Usage {
        self.server_pid.map(Usage::of).unwrap_or_default()
    }

    /// Ends what was started.
    ///
    /// # Errors
    /// [`Failure::Work`] when a child ends badly.
    pub async fn clear(self) -> Result<(), Failure> {
        if let Some(server) = self.server {
            server.stop(PATIENCE).await?;
        }
        if let Some(relay) = self.relay {
            relay.stop(PATIENCE).await?;
        }
        Ok(())
    }
}

/// Starts a server of this machine alone, with a key of its own.
async fn start_server(workers: Option<u8>) -> Result<(TokenKey, Child), Failure> {
    let file = TemporaryKey::new()?;
    let mut args = texts(["--listen", "127.0.0.1:0"]);
    args.extend(["--key-file".to_owned(), file.path.display().to_string()]);
    if let Some(workers) = workers {
        args.extend(["--workers".to_owned(), workers.to_string()]);
    }
    // The server has read the key when it says where it listens.
    let server = Child::start("serve", &args).await?;
    Ok((key_file::read(&file.path)?, server))
}

async fn start_relay(args: &BenchArgs, upstream: &str, seed: u64) -> Result<Child, Failure> {
    let mut flags = texts(["--listen", "127.0.0.1:0", "--upstream", upstream]);
    flags.extend(args.impairments.flags());
    if let Some(rate) = args.rate_limit {
        flags.extend(["--rate".to_owned(), rate.to_string()]);
    }
    flags.extend(["--seed".to_owned(), seed.to_string()]);
    Child::start("netsim", &flags).await
}

fn texts<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).into()
}

/// A key file that is removed when dropped.
struct TemporaryKey {
    path: PathBuf,
}

impl TemporaryKey {
    fn new() -> Result<Self, Failure> {
        let name = format!("rallypoint-bench-{}.key", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Left over from a process of the same id that was killed.
        let _ = std::fs::remove_file(&path);
        key_file::create(&path)?;
        Ok(Self { path })
    }
}

impl Drop for TemporaryKey {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
