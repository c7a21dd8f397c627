//! The arguments of `netsim`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use crate::cli::units::{self, BitRate, Share};
use crate::link::{Blackhole, Impairments};

/// Relays UDP datagrams and impairs them on the way, in both directions.
///
/// Each client address has a path of its own, with its own socket to the upstream, so that losses and
/// queues of one client are not those of another. Datagrams over 9,216 bytes do not pass. At the end
/// (a signal, or `--seconds`) it prints what it received, delivered and dropped.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  rallypoint netsim --listen 127.0.0.1:7000 --upstream 127.0.0.1:7777 --loss 5% --burst 3 --delay 20ms"
)]
pub struct NetsimArgs {
    /// Where clients send to; port 0 asks the system for one.
    #[arg(long, value_name = "ADDR")]
    pub(super) listen: SocketAddr,
    /// Where their datagrams go.
    #[arg(long, value_name = "ADDR")]
    pub(super) upstream: SocketAddr,
    /// Share of datagrams lost.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share)]
    loss: Share,
    /// Mean number of datagrams lost in a row (Gilbert–Elliott); 1 = independent losses.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = burst)]
    burst: f64,
    /// Time on the way, each way.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = units::duration)]
    delay: Duration,
    /// Up to this is added to the delay, uniformly; keeps the order.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = units::duration)]
    jitter: Duration,
    /// Share of datagrams that arrive twice.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share)]
    duplicate: Share,
    /// Share of datagrams held back past later ones.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share)]
    reorder: Share,
    /// Share of datagrams that arrive with flipped bits.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share)]
    corrupt: Share,
    /// Rate of each client's line, each way, headers included [default: without limit].
    #[arg(long, value_name = "RATE", value_parser = units::bit_rate)]
    rate: Option<BitRate>,
    /// Longest wait in the queue before a line of limited rate; more is dropped.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = units::duration)]
    queue: Duration,
    /// Longest datagram that passes, in bytes of UDP payload [default: any].
    #[arg(long, value_name = "BYTES")]
    mtu: Option<usize>,
    /// Nothing passes for FOR, every EVERY, as in 10s:500ms [default: never].
    #[arg(long, value_name = "EVERY:FOR", value_parser = blackhole)]
    blackhole: Option<Blackhole>,
    /// Gives each client a new port towards the upstream this often, as a NAT does [default: never].
    #[arg(long, value_name = "EVERY", value_parser = positive)]
    pub(super) rebind: Option<Duration>,
    /// Replays the same impairments for the same datagrams [default: random; the report names it].
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Ends after this many seconds [default: at a signal].
    #[arg(long, value_name = "N")]
    pub(super) seconds: Option<u32>,
    /// Prints the report as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

impl NetsimArgs {
    /// What each direction of each client's path does.
    pub(super) fn impairments(&self) -> Impairments {
        Impairments {
            loss: self.loss.as_fraction(),
            burst: self.burst,
            delay: self.delay,
            jitter: self.jitter,
            duplicate: self.duplicate.as_fraction(),
            reorder: self.reorder.as_fraction(),
            corrupt: self.corrupt.as_fraction(),
            rate: self.rate.map(|rate| rate.0),
            queue: self.queue,
            mtu: self.mtu,
            blackhole: self.blackhole,
        }
    }
}

/// Reads a mean length of bursts.
///
/// # Errors
/// A text that says what is allowed.
pub(in crate::cli) fn burst(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(burst @ 1.0..=10_000.0) => Ok(burst),
        _ => Err(format!("`{text}` is no mean length of a burst: a number from 1 to 10000, as in 3")),
    }
}

fn positive(text: &str) -> Result<Duration, String> {
    match units::duration(text) {
        Ok(Duration::ZERO) => Err(format!("`{text}` is out of range: the duration must be above 0")),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn blackhole(text: &str) -> Result<Blackhole, String> {
    let (every, lasting) = text
        .split_once(':')
        .ok_or_else(|| format!("`{text}` is no blackhole: two durations, EVERY:FOR, as in 10s:500ms"))?;
    Ok(Blackhole { every: positive(every)?, lasting: positive(lasting)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: NetsimArgs,
    }

    fn parse(more: &[&str]) -> Result<NetsimArgs, clap::Error> {
        let base = ["netsim", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:7777"];
        Line::try_parse_from(base.iter().chain(more)).map(|line| line.args)
    }

    #[test]
    fn without_impairments_it_only_relays() {
        assert_eq!(parse(&[]).unwrap().impairments(), Impairments::default());
    }

    #[test]
    fn every_impairment_reaches_the_link() {
        let line = "--loss 5% --burst 3 --delay 20ms --jitter 5ms --duplicate 1% --reorder 2% \
                    --corrupt 3% --rate 10mbit --queue 50ms --mtu 1200 --blackhole 10s:500ms";
        let args = parse(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        let expected = Impairments {
            loss: 0.05,
            burst: 3.0,
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(5),
            duplicate: 0.01,
            reorder: 0.02,
            corrupt: 0.03,
            rate: Some(10_000_000),
            queue: Duration::from_millis(50),
            mtu: Some(1_200),
            blackhole: Some(Blackhole {
                every: Duration::from_secs(10),
                lasting: Duration::from_millis(500),
            }),
        };
        assert_eq!(args.impairments(), expected);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            ["--burst", "0.5"],
            ["--burst", "NaN"],
            ["--blackhole", "10s"],
            ["--blackhole", "0s:1s"],
            ["--rebind", "0s"],
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
