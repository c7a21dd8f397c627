//! The arguments of `netsim`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::impairments::{HEADING, ImpairmentArgs};
use crate::cli::units::{self, BitRate};
use crate::link::Impairments;

/// Relays UDP datagrams and impairs them in both directions.
///
/// Each client address has its own path, with its own socket to the upstream, so that losses and queues of
/// one client do not affect another. Datagrams over 9,216 bytes do not pass. At the end (a signal, or
/// `--seconds`) it prints what it received, delivered and dropped.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  rallypoint netsim --listen 127.0.0.1:7000 --upstream 127.0.0.1:7777 --loss 5% --burst 3 --delay 20ms"
)]
pub struct NetsimArgs {
    /// Address to which clients send; with port 0 the system chooses one.
    #[arg(long, value_name = "ADDR", value_parser = units::own_address)]
    pub(super) listen: SocketAddr,
    /// Address to which their datagrams are relayed, not the relay's own.
    #[arg(long, value_name = "ADDR", value_parser = upstream)]
    pub(super) upstream: SocketAddr,
    /// Rate of each client's line, each way, including headers [default: unlimited].
    #[arg(long, value_name = "RATE", value_parser = units::bit_rate, help_heading = HEADING)]
    rate: Option<BitRate>,
    #[command(flatten, next_help_heading = HEADING)]
    more: ImpairmentArgs,
    /// Seed, to replay the same impairments for the same datagrams [default: random; the report names it].
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// End after this many seconds [default: at a signal].
    #[arg(long, value_name = "N")]
    pub(super) seconds: Option<u32>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

impl NetsimArgs {
    /// Returns the impairments of each direction of each client's path.
    pub(super) fn impairments(&self) -> Impairments {
        self.more.impairments(self.rate)
    }

    /// Returns how often a client gets a new port towards the upstream.
    pub(super) fn rebind(&self) -> Option<Duration> {
        self.more.rebind()
    }
}

/// Parses the address of an upstream; nobody listens on port 0.
fn upstream(text: &str) -> Result<SocketAddr, String> {
    let address: Option<SocketAddr> = text.parse().ok();
    address
        .filter(|address| address.port() > 0)
        .ok_or_else(|| "allowed is ADDRESS:PORT with a port from 1 to 65535, as in 127.0.0.1:7777".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{Blackhole, Marks};
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
        let line = parse(&["--rate", "10mbit"]).unwrap().impairments();
        assert_eq!(line.mtu, Some(1_472), "what an Ethernet takes");
    }

    #[test]
    fn every_impairment_reaches_the_link() {
        let line = "--loss 5% --burst 3 --delay 20ms --jitter 5ms --duplicate 1% --reorder 2% \
                    --corrupt 3% --rate 10mbit --queue 50ms --mark-after 5ms --mtu 1200 --blackhole 10s:500ms";
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
            mark_after: Some(Duration::from_millis(5)),
            marks: Marks::Keep,
            mtu: Some(1_200),
            blackhole: Some(Blackhole {
                every: Duration::from_secs(10),
                lasting: Duration::from_millis(500),
            }),
        };
        assert_eq!(args.impairments(), expected);
    }
}
