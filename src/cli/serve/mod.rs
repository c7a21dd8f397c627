//! `serve`: runs the server until it is told to stop.
//!
//! The first SIGTERM or SIGINT drains the server: all clients are notified, and the process ends when all of
//! them know or when the drain timeout is over. The second ends it at once.

pub mod config;
mod metrics;
mod report;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{error, info, warn};

use self::config::{Config, ConfigError};
use self::metrics::MetricsFile;
use crate::cli::output::{Failure, listening_on, note, product};
use crate::cli::signals::{Hangups, Signals};
use crate::cli::trace::TraceFolder;
use crate::cli::units::Written;
use crate::cli::{files, key_file, runtime, units};
use crate::secure::TokenKey;
use crate::server::{Limits, Server};

/// Runs the server until SIGTERM or SIGINT, and then until all clients have been notified.
///
/// On SIGHUP it reads the configuration file and the token keys again: the keys take effect, all other
/// settings stay. If they cannot be read, nothing changes. A server started from a terminal therefore
/// continues when the terminal is closed. With --dev, SIGHUP ends it at once without notifying anyone, unless
/// the signal is ignored, as under `nohup`.
///
/// Logs users that connect and disconnect, and sessions that begin and end;
/// RALLYPOINT_LOG=info,rallypoint::connections=off omits the former, rallypoint::sessions=off the latter, of
/// which one user can cause some 16 lines a second.
///
/// Settings come from the defaults, then the configuration file, then the command line. Prints
/// `listening on ADDR` when it is ready.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Example:\n  rallypoint serve --dev\n  rallypoint serve --dev --trace traces\n  rallypoint serve --config rallypoint.toml --key-file rallypoint.key\n  rallypoint serve --print-config > rallypoint.toml"
)]
pub struct ServeArgs {
    /// Configuration file (TOML); --print-config shows what it may contain.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and UDP port to listen on; with port 0 the system chooses one [default: 0.0.0.0:7777].
    #[arg(long, value_name = "ADDR", value_parser = units::own_address)]
    listen: Option<SocketAddr>,
    /// Worker threads [default: one per core].
    #[arg(long, value_name = "N")]
    workers: Option<u64>,
    /// How long a worker polls for datagrams after each batch before it sleeps: lower latency at the cost of
    /// one busy core per worker. Only with more cores than workers [default: 0s].
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    busy_poll: Option<Duration>,
    /// File with the token key, as written by `keygen`. It counts instead of the configuration's `key_file`,
    /// also after SIGHUP: to rotate keys, name both in a configuration file and leave this out. It may be a
    /// pipe, which each SIGHUP reads once.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Distinguishes games: clients with another one are ignored [default: 1382116460].
    #[arg(long, value_name = "N", value_parser = units::protocol_id)]
    protocol_id: Option<u64>,
    /// How long a connection may be silent before it is ended, 1s to 10min in whole ms [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = idle_timeout)]
    idle_timeout: Option<Duration>,
    /// Maximum time to wait, once told to stop, until all clients know; each is notified for 3 s [default:
    /// 5s].
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    drain_timeout: Option<Duration>,
    /// Write a trace of each connection to its own file in DIR, qlog as lines of JSON: at most 1,000 files of
    /// 64 MiB. Costs time and space, and workers wait for the file system; not for a server under load.
    #[arg(long, value_name = "DIR")]
    trace: Option<PathBuf>,
    /// For trying things out: listens on loopback, whatever the configuration file says, creates a key file
    /// if none exists, and logs more.
    #[arg(long)]
    pub dev: bool,
    /// Interval at which to log the server's counters, 100ms or more; 0s logs them only at its end.
    #[arg(long, value_name = "DURATION", value_parser = report_interval, default_value = "0s")]
    report: Duration,
    /// Write the server's counters to FILE every 5 s, for monitoring, in the text format of Prometheus. They
    /// are written to FILE.new, which then replaces FILE; a FILE that is a device, a folder, a link or
    /// another special file is refused.
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Print the whole configuration with comments, and exit.
    #[arg(long)]
    print_config: bool,
}

/// Interval at which to check whether a server that is told to stop has ended.
const POLL: Duration = Duration::from_millis(50);
/// The same for a server that serves, which only its failure ends. Each check takes time from a worker on the
/// same core.
const RARE_POLL: Duration = Duration::from_secs(1);

/// Runs the subcommand.
///
/// # Errors
/// [`Failure::Usage`] if the configuration is refused or no key is given, [`Failure::Work`] if the server
/// does not start or fails.
pub fn run(args: &ServeArgs) -> Result<(), Failure> {
    if args.print_config {
        return product(configure(args)?.to_toml().trim_end());
    }
    let metrics = args.metrics.as_deref().map(MetricsFile::new).transpose()?.map(Arc::new);
    let tracer = args.trace.as_deref().map(TraceFolder::open).transpose()?;
    runtime::block_on(async {
        // Before the files are read: a signal ends the process although nobody writes to a pipe in place of
        // one. Once the server reports that it is ready, a signal drains it.
        let mut signals = Signals::new().map_err(|error| listening(&error))?;
        let hangups = if args.dev { None } else { Some(Hangups::new().map_err(|error| listening(&error))?) };
        let (config, keys) = tokio::select! {
            read = read_aside(args, args.dev) => read?,
            () = signals.next() => {
                info!("told to stop before the server is ready");
                return Ok(());
            }
        };
        info!(ids = ?ids(&keys), "token keys");
        let server = start(&config, keys, tracer)?;
        if let Some(metrics) = &metrics {
            tokio::select! {
                begun = metrics.begin(&server) => begun?,
                () = signals.next() => {
                    info!("told to stop before the server is ready");
                    server.drain(Duration::ZERO);
                    ended(&server, POLL).await;
                    return Ok(());
                }
            }
        }
        listening_on(server.local_addr(), false);
        let served = tokio::select! {
            served = serve(&server, config.drain_timeout, args.report, signals) => served,
            () = reload(&server, args, hangups) => Ok(()),
            () = keep(&server, metrics.as_ref()) => Ok(()),
        };
        if let Some(metrics) = &metrics {
            metrics.end(&server).await;
        }
        served
    })
}

fn configure(args: &ServeArgs) -> Result<Config, Failure> {
    let mut config = Config::default();
    if args.dev {
        config.key_file = Some(key_file::DEFAULT.into());
    }
    if let Some(path) = &args.config {
        files::check_path("a configuration file", path)?;
        let text = files::read(path).map_err(|error| unreadable(path, &error))?;
        config.apply_toml(&text).and_then(|()| config.check()).map_err(|error| refused(path, &error))?;
    }
    if args.dev {
        let loopback = match config.listen {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        config.listen.set_ip(loopback);
    }
    if let (Some(flag), Some(file)) = (&args.key_file, &config.key_file)
        && !args.dev
        && flag != file
    {
        let (flag, file) = (flag.display(), file.display());
        warn!(%flag, %file, "--key-file counts, not the `key_file` of the configuration");
    }
    args.apply(&mut config);
    config.check().map_err(|error| Failure::Usage(error.to_string()))?;
    Ok(config)
}

/// Parses an idle timeout within its limit, in whole ms.
fn idle_timeout(text: &str) -> Result<Duration, String> {
    let time = units::duration(text).map_err(|error| error.to_string())?;
    let limit = Limits::ALL.iter().find(|limit| limit.name == "idle_timeout_ms");
    let (least, most) = limit.map(|limit| (limit.min, limit.max)).expect("invariant: a limit of that name");
    let is_allowed = (least..=most).contains(&millis(time)) && time == Duration::from_millis(millis(time));
    is_allowed.then_some(time).ok_or_else(|| format!("allowed are whole ms, {least}ms to {most}ms"))
}

/// Parses the interval of reports. More of them would only crowd out the other lines of the log.
fn report_interval(text: &str) -> Result<Duration, String> {
    let every = units::duration(text).map_err(|error| error.to_string())?;
    let is_allowed = every.is_zero() || every >= report::SHORTEST;
    is_allowed
        .then_some(every)
        .ok_or_else(|| format!("allowed is 0s, or {} or more", Written(report::SHORTEST)))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl ServeArgs {
    fn apply(&self, config: &mut Config) {
        fn take<T: Clone>(value: &Option<T>, into: &mut T) {
            if let Some(value) = value {
                *into = value.clone();
            }
        }
        take(&self.listen, &mut config.listen);
        take(&self.workers, &mut config.workers);
        take(&self.busy_poll, &mut config.busy_poll);
        take(&self.protocol_id, &mut config.protocol_id);
        take(&self.drain_timeout, &mut config.drain_timeout);
        take(&self.idle_timeout.map(millis), &mut config.limits.idle_timeout_ms);
        if self.key_file.is_some() {
            config.key_file.clone_from(&self.key_file);
        }
    }
}

/// Reads the token keys, the current one first; creates it if there is none and it `may_create` it.
fn keys(config: &Config, may_create: bool) -> Result<Vec<TokenKey>, Failure> {
    let Some(path) = &config.key_file else {
        return Err(Failure::Usage("a server needs --key-file FILE, or --dev to make one".to_owned()));
    };
    let key = if may_create && !path.exists() {
        note(format_args!("making a token key in {}", path.display()));
        key_file::create(path)?
    } else {
        key_file::read(path)?
    };
    let previous = config.previous_key_file.as_deref().map(key_file::read).transpose()?;
    if previous.as_ref().is_some_and(|previous| previous.id() == key.id()) {
        warn!(id = key.id(), "the previous key is the current one: tokens of no other are taken");
    }
    Ok(std::iter::once(key).chain(previous).collect())
}

fn ids(keys: &[TokenKey]) -> Vec<String> {
    keys.iter().map(|key| key.id().to_owned()).collect()
}

fn start(config: &Config, keys: Vec<TokenKey>, tracer: Option<Arc<TraceFolder>>) -> Result<Server, Failure> {
    let mut builder = Server::builder(config.protocol_id)
        .listen(config.listen)
        .limits(config.limits.clone())
        .busy_poll(config.busy_poll);
    if let Some(workers) = u8::try_from(config.workers).ok().and_then(NonZeroU8::new) {
        builder = builder.workers(workers);
    }
    if let Some(tracer) = tracer {
        builder = builder.tracer(tracer);
    }
    builder = config.names.iter().fold(builder, |builder, name| builder.name(name));
    builder = keys.into_iter().fold(builder, |builder, key| builder.key(key));
    builder.start().map_err(|error| Failure::while_doing("starting the server", error))
}

/// Waits for a signal, drains, and waits for the end.
async fn serve(
    server: &Server,
    drain_timeout: Duration,
    every: Duration,
    mut signals: Signals,
) -> Result<(), Failure> {
    tokio::select! {
        () = signals.next() => {
            server.drain(drain_timeout);
            info!(?drain_timeout, "told to stop: telling everyone");
        }
        () = ended(server, RARE_POLL) => {}
        () = report::reports(server, every) => {}
        () = report::warnings(server) => {}
    }
    tokio::select! {
        () = signals.next() => return Err(Failure::Work("told to stop at once".to_owned())),
        () = ended(server, POLL) => {}
    }
    report::report(server);
    server.join().map_err(|error| Failure::while_doing("serving", error))
}

/// Keeps the metrics up to date. Never ends.
async fn keep(server: &Server, metrics: Option<&Arc<MetricsFile>>) {
    match metrics {
        Some(metrics) => metrics.keep(server).await,
        None => std::future::pending().await,
    }
}

/// Most reads of the keys that wait at the same time: each holds a thread, which nothing can end.
const MAX_READS: usize = 4;

/// Reads the token keys again on every SIGHUP, also while an earlier read waits for a pipe that nobody writes
/// to. What an earlier read has found counts unless a later one has found something before. Never ends.
async fn reload(server: &Server, args: &ServeArgs, hangups: Option<Hangups>) {
    let Some(mut hangups) = hangups else { return std::future::pending().await };
    let (mut reads, mut begun, mut newest) = (JoinSet::new(), 0_u64, 0);
    loop {
        tokio::select! {
            () = hangups.next() => {
                if reads.len() == MAX_READS {
                    error!(reads = MAX_READS, "the keys are not read: earlier reads still wait, for a pipe?");
                    continue;
                }
                info!("reading the token keys again");
                begun += 1;
                let (number, args) = (begun, args.clone());
                reads.spawn(async move { (number, read_aside(&args, false).await) });
            }
            Some(Ok((number, read))) = reads.join_next() => match read {
                Ok((_, keys)) if number > newest => {
                    newest = number;
                    set_keys(server, keys);
                }
                Ok(_) => {}
                Err(failure) => error!("the token keys stay as they are: {failure}"),
            },
        }
    }
}

/// Reads the configuration and the token keys, outside the runtime's thread, because a file may be a pipe
/// that nobody writes to.
async fn read_aside(args: &ServeArgs, may_create: bool) -> Result<(Config, Vec<TokenKey>), Failure> {
    let args = args.clone();
    let read = spawn_blocking(move || {
        let config = configure(&args)?;
        let keys = keys(&config, may_create)?;
        Ok((config, keys))
    });
    read.await
        .unwrap_or_else(|error| Err(Failure::while_doing("reading the configuration and the keys", error)))
}

fn set_keys(server: &Server, keys: Vec<TokenKey>) {
    let ids = ids(&keys);
    match server.set_keys(keys) {
        Ok(()) => info!(?ids, "the token keys are read again"),
        Err(error) => error!(%error, "the token keys stay as they are"),
    }
}

/// Waits until every worker has ended.
async fn ended(server: &Server, poll: Duration) {
    while !server.has_ended() {
        tokio::time::sleep(poll).await;
    }
}

fn listening(error: &io::Error) -> Failure {
    Failure::while_doing("listening to signals", error)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::while_doing(format_args!("reading {}", path.display()), error)
}

fn refused(path: &Path, error: &ConfigError) -> Failure {
    Failure::Usage(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::PROTOCOL_ID;

    fn args() -> ServeArgs {
        ServeArgs {
            config: None,
            listen: None,
            workers: None,
            busy_poll: None,
            key_file: None,
            protocol_id: None,
            idle_timeout: None,
            drain_timeout: None,
            trace: None,
            dev: false,
            report: Duration::ZERO,
            metrics: None,
            print_config: false,
        }
    }

    #[test]
    fn the_help_names_the_defaults_as_they_are() {
        let config = Config::default();
        assert_eq!(config.listen.to_string(), "0.0.0.0:7777");
        assert_eq!((config.protocol_id, PROTOCOL_ID), (1_382_116_460, 1_382_116_460));
        assert_eq!(config.limits.idle_timeout_ms, 10_000);
        assert_eq!((config.drain_timeout, config.workers), (Duration::from_secs(5), 0));
        assert_eq!(config.busy_poll, Duration::ZERO);
    }

    #[test]
    fn dev_listens_on_loopback_unless_told_otherwise() {
        let dev = ServeArgs { dev: true, ..args() };
        let config = configure(&dev).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:7777");
        let file = std::env::temp_dir().join(format!("rallypoint-dev-{}.toml", std::process::id()));
        std::fs::write(&file, "listen = \"[::]:9\"").unwrap();
        let config = configure(&ServeArgs { config: Some(file.clone()), dev: true, ..args() });
        std::fs::remove_file(file).unwrap();
        assert_eq!(config.unwrap_or_else(|failure| panic!("{failure}")).listen.to_string(), "[::1]:9");
        let told = ServeArgs { listen: "0.0.0.0:1".parse().ok(), ..dev };
        let config = configure(&told).unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(config.listen.to_string(), "0.0.0.0:1");
    }

    #[test]
    fn a_flag_out_of_range_is_refused_like_the_key() {
        let refused = configure(&ServeArgs { workers: Some(256), ..args() }).unwrap_err();
        assert_eq!(refused.to_string(), "`workers` is 256; allowed is 0 to 255");
        assert!(configure(&ServeArgs { idle_timeout: Some(Duration::from_millis(999)), ..args() }).is_err());
    }
}
