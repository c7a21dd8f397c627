//! `demo`: the main use case on this machine, without any setup, with every delivery checked.
//!
//! | file | what it does |
//! |---|---|
//! | `play` | one session, from its creation to its end |
//! | `player` | one user: its client, what it sends, the checks of what it receives |
//! | `figures` | the figures of all of them, shown as they change, and the report |

mod figures;
mod play;
mod player;

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::figures::Figures;
use self::play::{GUESTS, Play};
use crate::backend;
use crate::cli::PROTOCOL_ID;
use crate::cli::backend::Backend;
use crate::cli::crowd;
use crate::cli::netsim::BackgroundRelay;
use crate::cli::output::{Failure, product};
use crate::cli::runtime;
use crate::cli::signals::Signals;
use crate::cli::units::{self, Share};
use crate::cli::verify::Stamp;
use crate::link::Impairments;
use crate::server::Server;
use crate::wire::Body;

/// Shows the main use case on this machine, without any setup, and checks every delivery.
///
/// Starts a server and its clients in this process, on real UDP sockets. Users are invited to sessions,
/// broadcast, change properties, leave and return; an invite expires, a full session refuses a user. Every
/// member must receive the same events in the same order, none twice and none missing.
///
/// With --loss or --delay at most 1,024 clients are possible, because a relay carries no more. Each session
/// has two more clients than members.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  rallypoint demo\n  rallypoint demo --sessions 4 --members 16 --loss 10% --delay 30ms"
)]
pub struct DemoArgs {
    /// Number of concurrent sessions.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    sessions: u16,
    /// Members of each session.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    members: u16,
    /// Broadcasts that each member sends per second.
    #[arg(long, value_name = "HZ", default_value = "30", value_parser = units::hertz)]
    rate: f64,
    /// Size of a broadcast in bytes, 17 or more.
    #[arg(long, value_name = "SIZE", default_value = "64", value_parser = units::size)]
    size: usize,
    /// How long the members broadcast, in seconds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// Share of datagrams lost, each way.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share)]
    loss: Share,
    /// Delay, each way.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = units::duration)]
    delay: Duration,
    /// Seed, to repeat the random choices of another demo [default: a random one].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// How long the server may take to end once everyone has left.
const DRAIN: Duration = Duration::from_secs(5);

/// Runs the subcommand.
///
/// # Errors
/// [`Failure::Usage`] for a size that cannot be broadcast, [`Failure::Work`] if a socket or a check fails.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    if !(Stamp::BYTES..=Body::MAX_BYTES).contains(&args.size) {
        let (least, most) = (Stamp::BYTES, Body::MAX_BYTES);
        let refused = format!("--size is {} bytes; allowed is {least} to {most}", args.size);
        return Err(Failure::Usage(refused));
    }
    let clients = u64::from(args.sessions) * u64::from(args.members + GUESTS);
    // In this process, the relay also has a socket and a timer for each client.
    let sockets = if is_relayed(args) { 3 * clients } else { clients };
    crowd::check(clients, sockets, is_relayed(args))?;
    runtime::block_on(demo(args))
}

async fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let seed = runtime::seed(args.seed)?;
    let mut rng = StdRng::seed_from_u64(seed);
    let mut signals = Signals::new().map_err(|error| Failure::while_doing("listening to signals", error))?;
    // The key is only for this process: it comes from the system's random source, not from the seed.
    let key = backend::new_key();
    let server = Server::builder(PROTOCOL_ID)
        .key(key.clone())
        .start()
        .map_err(|error| Failure::while_doing("starting the server", error))?;
    let relay = relay(args, &server, &mut rng)?;
    let addr = relay.as_ref().map_or(server.local_addr(), BackgroundRelay::addr);
    let figures = Arc::new(Figures::new());
    figures.tell(format_args!("server on {}, seed {seed}", server.local_addr()));
    let backend = Arc::new(Backend::new(key, &addr.to_string(), PROTOCOL_ID));
    let (stop, stopped) = watch::channel(false);
    let mut plays = JoinSet::new();
    for session in 1..=args.sessions {
        let play = Play {
            backend: Arc::clone(&backend),
            figures: Arc::clone(&figures),
            session,
            members: args.members,
            period: Duration::from_secs_f64(1.0 / args.rate),
            size: args.size,
            length: Duration::from_secs(args.seconds.into()),
            seed: rng.random(),
            stop: stopped.clone(),
        };
        plays.spawn(play.run());
    }
    watch_plays(plays, &stop, &mut signals, &figures).await;
    figures.finish();
    let ended = tokio::task::spawn_blocking(move || server.shutdown(DRAIN)).await;
    if let Ok(Err(error)) = ended {
        figures.problem(format_args!("serving: {error}"));
    }
    report(args, &figures)
}

/// Waits until all sessions have ended. The first signal ends them early, the second at once.
async fn watch_plays(
    mut plays: JoinSet<Result<(), Failure>>,
    stop: &watch::Sender<bool>,
    signals: &mut Signals,
    figures: &Figures,
) {
    loop {
        tokio::select! {
            played = plays.join_next() => match played {
                None => return,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(failure))) => figures.problem(failure),
                Some(Err(error)) => figures.problem(error),
            },
            () = signals.next() => {
                if stop.send_replace(true) {
                    figures.problem("interrupted");
                    plays.abort_all();
                } else {
                    figures.lock().ended_early = true;
                    figures.tell("ending early");
                }
            }
        }
    }
}

fn is_relayed(args: &DemoArgs) -> bool {
    !args.loss.is_none() || !args.delay.is_zero()
}

/// Starts the relay between clients and server, if it has anything to do.
fn relay(args: &DemoArgs, server: &Server, rng: &mut StdRng) -> Result<Option<BackgroundRelay>, Failure> {
    if !is_relayed(args) {
        return Ok(None);
    }
    let impairments =
        Impairments { loss: args.loss.as_fraction(), delay: args.delay, ..Impairments::default() };
    BackgroundRelay::start(server.local_addr(), impairments, StdRng::from_rng(rng)).map(Some)
}

fn report(args: &DemoArgs, figures: &Figures) -> Result<(), Failure> {
    let counts = figures.lock();
    if args.json {
        product(counts.to_json(args.sessions, args.members))?;
    } else {
        product(counts.to_table(args.sessions, args.members))?;
    }
    match counts.failures() {
        failures if failures.is_empty() => Ok(()),
        failures => Err(Failure::Work(failures.join(", "))),
    }
}
