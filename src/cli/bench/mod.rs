//! `bench`: load and latency on real sockets.
//!
//! | file | what it does |
//! |---|---|
//! | `stage`, `child` | the server and the relay, as separate processes |
//! | `load` | connects the clients, has them send, waits until everything has arrived |
//! | `member` | one client: sends at its phase, judges what it receives |
//! | `bulk` | a concurrent bulk transfer to one member |
//! | `recovery` | how long deliveries take to resume after a blackhole |
//! | `usage` | the CPU time and memory of a process |
//! | `report` | the figures |

mod bulk;
mod child;
mod load;
mod member;
mod recovery;
mod report;
mod stage;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rand::SeedableRng;
use rand::rngs::StdRng;

use self::load::Load;
use self::report::{Report, Workload};
use self::stage::Stage;
use self::usage::Usage;
use crate::cli::PROTOCOL_ID;
use crate::cli::crowd;
use crate::cli::delivery;
use crate::cli::netsim::{HEADING, ImpairmentArgs};
use crate::cli::output::{Failure, note, product};
use crate::cli::runtime;
use crate::cli::signals::Signals;
use crate::cli::units::{self, BitRate};
use crate::cli::verify::Stamp;
use crate::client::{Delivery, To};
use crate::wire::Body;

/// Measures load and latency on real sockets, and checks every delivery.
///
/// A signal ends the current phase (connecting, sending, waiting for what is under way), and the report is
/// still printed; a signal while it stops what it started kills that at once.
///
/// Without --server it starts a server (and, with impairments, a relay) as separate processes, so that the
/// server's CPU and memory are measured alone. Members send at random phases, so that their ticks do not
/// coincide. Latency is the time from the call of `send` to the delivery to a receiver; the clients share one
/// thread, so it reflects the server only while their core has time left.
///
/// With impairments at most 1,024 clients (sessions times members) are possible, because a relay carries no
/// more.
///
/// With --bulk an additional user, which bypasses the relay, sends one member of the first session as much as
/// that member's line takes, in reliable messages of 64 KiB, on the connection of its session; the payload
/// that arrives in the counted time is counted. That member's latency is also reported separately. A server
/// started by this command then has no rate limits, and what it and that member spend on the bulk transfer is
/// included in the figures per delivery.
///
/// With --blackhole it also reports how long after a blackhole's end the first delivery arrived: for gaps
/// between the deliveries at one receiver that are longer than half of FOR, the time by which they exceed
/// FOR. This is too long by at most the usual time between two deliveries, which must be much shorter than
/// FOR.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  rallypoint bench --sessions 8 --members 8 --rate 30 --seconds 10\n  rallypoint bench --delivery ordered --loss 10% --delay 30ms --json\n  rallypoint bench --sessions 1 --members 4 --bulk --rate-limit 10mbit --delay 20ms\n  rallypoint bench --sessions 1 --members 2 --seconds 2 --loss 5% --trace traces"
)]
pub struct BenchArgs {
    /// Use the server that runs at this address instead. If a name has several addresses, a relay uses the
    /// first.
    #[arg(long, value_name = "ADDR", requires = "key_file", conflicts_with = "workers")]
    #[arg(value_parser = units::address)]
    server: Option<String>,
    /// Name of that server in tokens, if it is not the address: one of the `names` in the server's
    /// configuration.
    #[arg(long, value_name = "NAME", requires = "server")]
    name: Option<String>,
    /// Protocol id of that server.
    #[arg(long, value_name = "N", requires = "server", default_value_t = PROTOCOL_ID)]
    #[arg(value_parser = units::protocol_id)]
    protocol_id: u64,
    /// File with that server's token key.
    #[arg(long, value_name = "FILE", requires = "server")]
    key_file: Option<PathBuf>,
    /// Process id of that server, if it runs on this machine, so that its CPU and memory are measured.
    #[arg(long, value_name = "PID", requires = "server")]
    server_pid: Option<u32>,
    /// Number of concurrent sessions.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    sessions: u32,
    /// Members of each session.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=1_024))]
    members: u16,
    /// Messages that each member sends per second.
    #[arg(long, value_name = "HZ", default_value = "30", value_parser = units::hertz)]
    rate: f64,
    /// Size of a message in bytes, 17 or more.
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = units::size)]
    size: usize,
    /// Delivery mode of the messages: ordered, reliable, sequenced, latest or unreliable.
    #[arg(long, value_name = "MODE", default_value = "ordered", value_parser = delivery::parse)]
    delivery: Delivery,
    /// Recipients: all members (all), or all except the sender (others).
    #[arg(long, value_name = "WHO", default_value = "all", value_parser = recipients)]
    to: To,
    /// Length of the counted time, in seconds.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// How long the load runs before the counted time.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = units::duration)]
    warmup: Duration,
    /// Worker threads of the started server [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    workers: Option<u8>,
    /// Also send the first member as much bulk data as its line takes, in messages of 64 KiB.
    #[arg(long)]
    bulk: bool,
    /// Seed, to repeat the random choices of another run [default: a random one].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write a trace of each client's connection to its own file in DIR, qlog as lines of JSON; a started
    /// server does the same for its side. Costs time: latencies are those of a run with a trace.
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
    /// Rate of each member's line to the server, each way, including headers [default: unlimited].
    #[arg(long, value_name = "RATE", value_parser = units::bit_rate, help_heading = HEADING)]
    rate_limit: Option<BitRate>,
    #[command(flatten, next_help_heading = HEADING)]
    impairments: ImpairmentArgs,
}

/// Runs the subcommand.
///
/// # Errors
/// [`Failure::Usage`] for a size that the delivery mode does not carry, [`Failure::Work`] if a process, a
/// socket or a check fails.
pub fn run(args: &BenchArgs) -> Result<(), Failure> {
    let largest = Body::max_bytes(args.delivery);
    if !(Stamp::BYTES..=largest).contains(&args.size) {
        let mode = delivery::name(args.delivery);
        return Err(Failure::Usage(format!(
            "--size is {} bytes; allowed is {} to {largest} with --delivery {mode}",
            args.size,
            Stamp::BYTES
        )));
    }
    if let Some(pid) = args.server_pid
        && Usage::is_known_here()
        && Usage::of(pid) == Usage::default()
    {
        return Err(Failure::Usage(format!(
            "--server-pid is {pid}; allowed is the id of a process that runs"
        )));
    }
    let clients = u64::from(args.sessions) * u64::from(args.members);
    crowd::check(clients, clients, !args.impairments.do_nothing(args.rate_limit))?;
    runtime::block_on(bench(args))
}

async fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let seed = runtime::seed(args.seed)?;
    let workload = Workload {
        sessions: args.sessions,
        members: args.members,
        rate_hz: args.rate,
        size_bytes: args.size,
        delivery: args.delivery,
        seconds: args.seconds,
        bulk: args.bulk,
        rate_limit: args.rate_limit,
        blackhole: args.impairments.blackhole(),
        seed,
    };
    let mut signals =
        Signals::of_a_terminal().map_err(|error| Failure::while_doing("listening to signals", error))?;
    let stage = tokio::select! {
        stage = Stage::set(args, seed) => stage?,
        () = signals.next() => return Err(Failure::Work("told to stop before the load began".to_owned())),
    };
    let load = Load::new(workload.clone(), args.to, args.warmup, StdRng::seed_from_u64(seed));
    let (outcome, cost) = load.run(&stage, &mut signals).await?;
    let cleared = tokio::select! {
        cleared = stage.clear() => cleared,
        // Dropped unfinished, it kills them.
        () = signals.next() => Err(Failure::Work("told to stop at once: what it started is killed".to_owned())),
    };
    let report = Report { workload, outcome, cost };
    if args.json {
        product(report.to_json())?;
    } else {
        product(report.to_table())?;
    }
    if report.are_clients_busy() {
        note(
            "the clients' thread was at work, or waited for a core, all the time: latencies are those of its queue",
        );
    }
    // The server's own failure is reported after the clients' report.
    cleared?;
    match report.failures() {
        failures if failures.is_empty() => Ok(()),
        failures => Err(Failure::Work(failures.join(", "))),
    }
}

fn recipients(text: &str) -> Result<To, String> {
    match text {
        "all" => Ok(To::All),
        "others" => Ok(To::Others),
        _ => Err("messages are sent to all or to others".to_owned()),
    }
}
