//! [`Stage`]: the environment of a bench: an existing server or one of its own, possibly behind a relay.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::BenchArgs;
use super::child::Child;
use super::usage::Usage;
use crate::base::UserId;
use crate::cli::backend::Backend;
use crate::cli::key_file;
use crate::cli::output::Failure;
use crate::cli::trace::TraceFolder;
use crate::secure::TokenKey;

/// The server under load and the path to it.
pub struct Stage {
    /// Mints grants for the server and connects clients to it, through the relay if one is used.
    pub backend: Arc<Backend>,
    /// The same, but bypassing the relay.
    pub direct: Backend,
    server_pid: Option<u32>,
    server: Option<Child>,
    relay: Option<Child>,
}

/// How long a child may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Configuration of a server for bulk transfers, which only the line should limit. The default of 1 MiB per
/// second is less than many lines take.
const UNLIMITED: &str = "[limits]
commands_per_second = 1_000_000
command_bytes_per_second = 1_073_741_824
session_commands_per_second = 10_000_000
session_bytes_per_second = 1_073_741_824
";

impl Stage {
    /// Starts the server and the relay that are needed.
    ///
    /// # Errors
    /// [`Failure::Work`].
    pub async fn set(args: &BenchArgs, seed: u64) -> Result<Self, Failure> {
        let tracer = args.trace.as_deref().map(TraceFolder::open).transpose()?;
        let (key, server) = match (&args.server, &args.key_file) {
            (Some(_), Some(key_file)) => (key_file::read_aside(key_file).await?, None),
            _ => {
                let (key, server) = start_server(args).await?;
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
        // Tokens name the server itself, even if clients go through a relay.
        let name = args.name.clone().or(Some(addr.clone()));
        let backend = |reached: &str| {
            Backend::new(key.clone(), reached, args.protocol_id).named(name.clone()).traced(tracer.clone())
        };
        Ok(Self {
            backend: Arc::new(backend(reached)),
            direct: backend(&addr),
            server_pid: args.server_pid.or_else(|| server.as_ref().and_then(Child::pid)),
            server,
            relay,
        })
    }

    /// Returns what the server has used so far; empty if it is not known where the server runs.
    pub fn server_usage(&self) -> Usage {
        self.server_pid.map(Usage::of).unwrap_or_default()
    }

    /// Ends the processes that were started. If the future is dropped before, they are killed.
    ///
    /// # Errors
    /// [`Failure::Work`] if a child ends badly.
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

/// Starts a server that listens on loopback only, with its own key.
async fn start_server(args: &BenchArgs) -> Result<(TokenKey, Child), Failure> {
    let key = TemporaryFile::new("key");
    key_file::create(&key.path)?;
    let config = TemporaryFile::new("toml");
    let mut flags = texts(["--listen", "127.0.0.1:0"]);
    flags.extend(["--key-file".to_owned(), key.path()]);
    if args.bulk {
        config.write(UNLIMITED)?;
        flags.extend(["--config".to_owned(), config.path()]);
    }
    if let Some(workers) = args.workers {
        flags.extend(["--workers".to_owned(), workers.to_string()]);
    }
    if let Some(folder) = &args.trace {
        flags.extend(["--trace".to_owned(), folder.display().to_string()]);
    }
    // The server has read the files by the time it reports where it listens.
    let server = Child::start("serve", &flags).await?;
    Ok((key_file::read(&key.path)?, server))
}

async fn start_relay(args: &BenchArgs, upstream: &str, seed: u64) -> Result<Child, Failure> {
    let upstream = address_of(upstream).await?.to_string();
    let mut flags = texts(["--listen", "127.0.0.1:0", "--upstream", &upstream]);
    flags.extend(args.impairments.flags());
    if let Some(rate) = args.rate_limit {
        flags.extend(["--rate".to_owned(), rate.to_string()]);
    }
    flags.extend(["--seed".to_owned(), seed.to_string()]);
    Child::start("netsim", &flags).await
}

/// Returns the first address of a server.
async fn address_of(server: &str) -> Result<SocketAddr, Failure> {
    let failed = |error: &dyn Display| Failure::while_doing(format_args!("resolving {server}"), error);
    let mut found = tokio::net::lookup_host(server).await.map_err(|error| failed(&error))?;
    found.next().ok_or_else(|| failed(&"it has no address"))
}

fn texts<const N: usize>(args: [&str; N]) -> Vec<String> {
    args.map(str::to_owned).into()
}

/// A file that is removed when dropped.
struct TemporaryFile {
    path: PathBuf,
}

impl TemporaryFile {
    /// Returns a path with this extension at which no file exists.
    fn new(extension: &str) -> Self {
        let name = format!("rallypoint-bench-{}.{extension}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // One may be left over from a killed process with the same id.
        let _ = std::fs::remove_file(&path);
        Self { path }
    }

    fn path(&self) -> String {
        self.path.display().to_string()
    }

    fn write(&self, text: &str) -> Result<(), Failure> {
        let written = File::create_new(&self.path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| Failure::while_doing(format_args!("writing {}", self.path()), error))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns a user that is unique to this process: several processes may load one server, and a user can be
/// connected only once.
pub(super) fn user_named(name: impl Display) -> Result<UserId, Failure> {
    UserId::new(&format!("bench-{}-{name}", std::process::id()))
        .map_err(|error| Failure::while_doing("naming a user", error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::serve::config::Config;

    #[test]
    fn a_server_takes_the_configuration_for_bulk() {
        let mut config = Config::default();
        config.apply_toml(UNLIMITED).unwrap();
        config.check().unwrap();
        assert!(config.limits.command_bytes_per_second > Config::default().limits.command_bytes_per_second);
    }
}
