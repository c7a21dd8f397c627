//! `peers`: the same workloads on Rallypoint and on its peers, interleaved in one run. `README.md` describes
//! what is compared and what is not.
//!
//! | module | contents |
//! |---|---|
//! | `peer` | a server and clients for each peer |
//! | `load` | what clients send and how it is counted |
//! | `stage` | processes, workloads, the order of a run |
//! | `report`, `plot` | tables, JSON, pictures |
//! | `sys` | Linux system calls that the standard library lacks |

mod error;
mod load;
mod message;
mod peer;
mod plot;
mod report;
mod rooms;
mod stage;
mod sys;

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rallypoint::cli::netsim::{self, NetsimArgs};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::load::{Spec, say};
use crate::peer::Peer;
use crate::report::Report;
use crate::stage::{Announce, Options, Workload};

/// Time before anything is counted. By then connections have finished their start: the growth of the
/// congestion window, and the REPAIRs for losses that are assumed until about 350 packets show that there are
/// none.
const WARMUP_MS: u64 = 4_000;

/// The same workloads on Rallypoint and on its peers, interleaved in one run.
#[derive(Parser, Debug)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(RunArgs),
    /// Draws the pictures of a run into a folder.
    Plot {
        /// The file that `run --json` wrote.
        report: PathBuf,
        /// The folder, which is created if it does not exist.
        folder: PathBuf,
    },
    /// Draws the picture of a delivery's cost without sockets into a folder.
    PlotEngine {
        /// The file that `cargo bench --bench fanout -- --json` of the root crate wrote.
        report: PathBuf,
        /// The folder, which is created if it does not exist.
        folder: PathBuf,
    },
    /// Prints the table of a run again.
    Table {
        /// The file that `run --json` wrote.
        report: PathBuf,
    },
    #[command(hide = true)]
    Server {
        peer: Peer,
        #[arg(long)]
        clients: usize,
        #[arg(long)]
        core: usize,
        #[arg(long)]
        cores: u8,
    },
    #[command(hide = true)]
    Load {
        spec: String,
        #[arg(long)]
        core: usize,
    },
    #[command(hide = true)]
    Relay(NetsimArgs),
}

/// Plays the workloads on the peers and reports what they cost.
#[derive(clap::Args, Debug)]
struct RunArgs {
    /// The peers, separated by commas.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// The workloads, separated by commas: broadcast-8x8@30, saturation, workers-2, echo, bulk, loss-5,
    /// idle-1000
    /// [default: all of the README].
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
    /// Number of repetitions of the whole run [default: 5, quick: 1].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=100))]
    repetitions: Option<u16>,
    /// Seconds that a load counts [default: 8, quick: 2].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// Runs everything within minutes, for a first look.
    #[arg(long)]
    quick: bool,
    /// Seed of all random choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also writes the report to this file, with the results so far after each step.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Read by a parent process, or by a person.
            say(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Run(args) => run(&args),
        Command::Plot { report, folder } => plot::draw(&read(&report)?, &folder),
        Command::PlotEngine { report, folder } => plot::draw_engine(&read(&report)?, &folder),
        Command::Table { report } => {
            say(&report::table(&read(&report)?));
            Ok(())
        }
        Command::Server { peer, clients, core, cores } => {
            become_child(core..core + usize::from(cores))?;
            peer::serve(peer, Announce, clients, cores)
        }
        Command::Load { spec, core } => {
            become_child(core..core + 1)?;
            let spec: Spec = serde_json::from_str(&spec).map_err(Error::while_doing("reading the plan"))?;
            load::run(&spec)
        }
        Command::Relay(args) => {
            // The last core, shared with the load.
            let cores = sys::cores().map_err(Error::io("counting cores"))?;
            become_child(cores.saturating_sub(1)..cores)?;
            netsim::run(&args).map_err(Error::while_doing("relaying"))
        }
    }
}

fn become_child(cores: Range<usize>) -> Result<()> {
    sys::die_with_parent().map_err(Error::io("asking to end with the parent"))?;
    let doing = format!("binding to cores {cores:?}");
    sys::pin_to_cores(cores).map_err(Error::io(doing))?;
    sys::allow_many_files().map_err(Error::io("raising the limit of open files"))
}

fn run(args: &RunArgs) -> Result<()> {
    let (repetitions, seconds) = if args.quick { (1, 2) } else { (5, 8) };
    let or_all = |chosen: &[Peer]| if chosen.is_empty() { Peer::ALL.to_vec() } else { chosen.to_vec() };
    let options = Options {
        peers: or_all(&args.peers),
        workloads: if args.workloads.is_empty() { Workload::all() } else { args.workloads.clone() },
        repetitions: args.repetitions.map_or(repetitions, usize::from),
        counted_ms: args.seconds.unwrap_or(seconds) * 1_000,
        warmup_ms: WARMUP_MS,
        seed: args.seed,
    };
    let save = |report: &Report| args.json.as_deref().map_or(Ok(()), |file| write(file, &report.to_json()));
    let report = stage::run(&options, note, save)?;
    say(&report::table(&report.to_json()));
    Ok(())
}

fn write(file: &Path, report: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(report).map_err(Error::while_doing("writing the report"))?;
    fs::write(file, text).map_err(Error::io(format_args!("writing {}", file.display())))
}

/// Reports the progress of the run.
#[allow(clippy::print_stderr)]
fn note(line: &str) {
    eprintln!("{line}");
}

fn read(file: &Path) -> Result<Value> {
    let text = fs::read_to_string(file).map_err(Error::io(format_args!("reading {}", file.display())))?;
    serde_json::from_str(&text).map_err(Error::while_doing(format_args!("reading {}", file.display())))
}
