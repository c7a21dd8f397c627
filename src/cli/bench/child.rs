//! [`Child`]: a subcommand of this binary as a separate process.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use crate::cli::output::Failure;

/// A running child; killed when dropped.
pub struct Child {
    process: tokio::process::Child,
    name: &'static str,
    lines: Lines<BufReader<ChildStdout>>,
    /// The address on which it listens.
    pub addr: String,
}

/// How long a child may take to report where it listens.
const START: Duration = Duration::from_secs(10);

impl Child {
    /// Starts `rallypoint NAME ARGS…` and waits until it reports where it listens. It inherits this process's
    /// standard error.
    ///
    /// # Errors
    /// [`Failure::Work`] if it does not start, ends, or stays silent.
    pub async fn start(name: &'static str, args: &[String]) -> Result<Self, Failure> {
        let failed =
            |error: &dyn std::fmt::Display| Failure::while_doing(format_args!("starting {name}"), error);
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let mut command = Command::new(program);
        command.arg(name).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        if std::env::var_os("RALLYPOINT_LOG").is_none() {
            command.env("RALLYPOINT_LOG", "warn");
        }
        // Ctrl-C must reach only this process, which ends its children in an orderly way.
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command.spawn().map_err(|error| failed(&error))?;
        let stdout = process.stdout.take().ok_or_else(|| failed(&"it has no standard output"))?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START, lines.next_line())
            .await
            .map_err(|_| failed(&"it does not say where it listens"))?
            .map_err(|error| failed(&error))?
            .ok_or_else(|| failed(&"it ended at once"))?;
        let addr = line
            .strip_prefix("listening on ")
            .ok_or_else(|| failed(&format_args!("it says `{line}`")))?
            .to_owned();
        Ok(Self { process, name, lines, addr })
    }

    /// Returns its process id, until it has ended.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Asks it to end, waits until it has, and returns what else it wrote to standard output.
    ///
    /// # Errors
    /// [`Failure::Work`] if it does not end within `patience` or ends badly.
    pub async fn stop(mut self, patience: Duration) -> Result<Vec<String>, Failure> {
        let name = self.name;
        let failed =
            |error: &dyn std::fmt::Display| Failure::while_doing(format_args!("stopping {name}"), error);
        if let Some(pid) = self.pid() {
            terminate(pid).await.map_err(|error| failed(&error))?;
        }
        let read = async {
            let mut rest = Vec::new();
            while let Some(line) = self.lines.next_line().await? {
                rest.push(line);
            }
            Ok::<_, std::io::Error>((rest, self.process.wait().await?))
        };
        let (rest, status) = timeout(patience, read)
            .await
            .map_err(|_| failed(&"it does not end"))?
            .map_err(|error| failed(&error))?;
        if status.success() { Ok(rest) } else { Err(failed(&status)) }
    }
}

/// Sends SIGTERM with the system's own tool, because the standard library can only kill.
async fn terminate(pid: u32) -> std::io::Result<()> {
    let mut kill = Command::new("sh");
    kill.arg("-c").arg(format!("kill -TERM {pid}"));
    kill.stdin(Stdio::null()).status().await.map(|_| ())
}
