//! The command line: one binary, with one file or folder per subcommand.
//!
//! Results go to standard output, progress and logs to standard error. Exit status: 0 if the work is done and
//! every check held, 1 if the work or a check failed, 2 for wrong usage.

pub mod backend;
pub mod bench;
pub mod client;
pub mod crowd;
pub mod delivery;
pub mod demo;
pub mod files;
pub mod gather;
pub mod key_file;
pub mod keygen;
pub mod netsim;
pub mod output;
pub mod runtime;
pub mod serve;
pub mod signals;
pub mod token;
pub mod trace;
pub mod units;
pub mod verify;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::output::{Failure, note};

/// Sessions for multiplayer games: a server, its clients and the tools around them.
#[derive(Parser, Debug)]
#[command(version, about, max_term_width = 100)]
#[command(
    after_help = "Example:\n  rallypoint demo\n\nExit status: 0 done and every check held, 1 the work or a check failed, 2 wrong usage.\nLogs go to standard error; RALLYPOINT_LOG chooses them, as in RALLYPOINT_LOG=rallypoint=debug."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The default protocol id of every subcommand: "Rall".
pub const PROTOCOL_ID: u64 = 0x5261_6c6c;

#[derive(Subcommand, Debug)]
enum Command {
    Demo(demo::DemoArgs),
    Keygen(keygen::KeygenArgs),
    Serve(serve::ServeArgs),
    Bench(bench::BenchArgs),
    Client(client::ClientArgs),
    Token(token::TokenArgs),
    Netsim(netsim::NetsimArgs),
}

/// Parses the command line, runs the subcommand and reports how it ended.
pub fn main() -> ExitCode {
    // Wrong usage ends here, with status 2 and the usage on standard error.
    let cli = Cli::parse();
    let logs = log_to_stderr(match &cli.command {
        Command::Serve(args) if args.dev => "rallypoint=debug,info",
        Command::Serve(_) => "info",
        _ => "warn",
    });
    let (status, why) = match dispatch(cli.command) {
        Ok(()) => (ExitCode::SUCCESS, None),
        Err(failure) => (failure.exit_code(), Some(format!("error: {failure}"))),
    };
    say_last(logs, why);
    status
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Client(args) => client::run(&args),
        Command::Token(args) => token::run(args),
        Command::Netsim(args) => netsim::run(&args),
    }
}

/// How long the process waits for its last output to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Writes the remaining logs and then the failure. A pipe that nobody reads must not keep the process alive.
fn say_last(logs: WorkerGuard, why: Option<String>) {
    let (said, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(logs);
        why.into_iter().for_each(note);
        // The receiver may have stopped waiting.
        let _ = said.send(());
    });
    let _ = wait.recv_timeout(LAST_WORDS);
}

/// Log lines that may wait; their slots are allocated at the start.
const BUFFERED_LINES: usize = 8_192;

/// Sends logs to standard error until the returned guard is dropped; `level` applies if the environment sets
/// no filter. Lines that nobody reads are dropped: a server does not wait for a log collector.
fn log_to_stderr(level: &str) -> WorkerGuard {
    let chosen = std::env::var_os("RALLYPOINT_LOG").filter(|chosen| !chosen.is_empty());
    let filter = chosen.and_then(|chosen| {
        let chosen = chosen.to_string_lossy();
        let wrong = |error| note(format_args!("RALLYPOINT_LOG is ignored, {chosen:?}: {error}"));
        let filter = EnvFilter::try_new(&chosen).map_err(wrong).ok()?;
        // A word that is not a level is taken as the name of a module, of which everything is logged.
        if !chosen.split([',', '=']).any(|word| word.trim().parse::<LevelFilter>().is_ok()) {
            note(format_args!(
                "RALLYPOINT_LOG names no level, {chosen:?}: nothing but these modules is logged"
            ));
        }
        Some(filter)
    });
    let filter = filter.unwrap_or_else(|| EnvFilter::new(level));
    let ansi = io::stderr().is_terminal();
    let writer = NonBlockingBuilder::default().buffered_lines_limit(BUFFERED_LINES);
    let (writer, guard) = writer.finish(io::stderr());
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(ansi);
    // Lines that cannot be logged, as on a full disk, are lost: reporting this on standard error would also
    // fail, and panic.
    let _ = logs.log_internal_errors(false).try_init();
    guard
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn every_subcommand_is_well_formed_and_shows_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("rallypoint {}", subcommand.get_name());
            assert!(help.contains(&example), "{} has no example", subcommand.get_name());
        }
    }
}
