//! [`ImpairmentArgs`]: the impairments of a relay as flags, for every subcommand that has a relay.

use std::fmt::Display;
use std::time::Duration;

use clap::Args;

use crate::cli::units::{self, BitRate, Share, Written};
use crate::link::{Blackhole, Impairments, Marks};
use crate::wire::packet::HELLO_BYTES;

/// The heading of the flags in the help.
pub const HEADING: &str = "Impairments";

/// The impairments of a relay. The rate is separate, because not every subcommand has the same name for it.
#[derive(Args, Debug)]
pub struct ImpairmentArgs {
    /// Share of datagrams lost, each way.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = units::share)]
    loss: Share,
    /// Mean number of datagrams lost in a row (Gilbert–Elliott); 1 = independent losses.
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = burst)]
    burst: f64,
    /// Delay, each way.
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = units::duration)]
    delay: Duration,
    /// Maximum addition to the delay, uniformly distributed; keeps the order.
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
    /// Longest wait in the queue before a line of limited rate; datagrams that would wait longer are dropped.
    #[arg(long, value_name = "DURATION", default_value = "100ms", value_parser = units::duration)]
    queue: Duration,
    /// Mark datagrams that wait longer in that queue as congested (ECN), if their sender asks for it
    /// [default: never].
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    mark_after: Option<Duration>,
    /// Longest datagram that passes, in bytes of UDP payload, at least the 1200 of a client's first datagram
    /// [default: 1472, as on Ethernet, if the rate is limited, otherwise any].
    #[arg(long, value_name = "BYTES", value_parser = mtu)]
    mtu: Option<usize>,
    /// Let nothing pass for FOR, every EVERY, as in 10s:500ms [default: never].
    #[arg(long, value_name = "EVERY:FOR", value_parser = blackhole)]
    blackhole: Option<Blackhole>,
    /// Give each client a new port towards the upstream at this interval, as a NAT does [default: never].
    #[arg(long, value_name = "EVERY", value_parser = positive)]
    rebind: Option<Duration>,
}

/// Payload of a packet of 1,500 bytes after the IPv4 and UDP headers. Lines of limited rate do not take the
/// long packets of loopback, each of which would delay all others.
const LINE_DATAGRAM_BYTES: usize = 1_472;

impl ImpairmentArgs {
    /// Returns the impairments of each direction of each client's path, on a line of `rate`.
    pub(super) fn impairments(&self, rate: Option<BitRate>) -> Impairments {
        Impairments {
            loss: self.loss.as_fraction(),
            burst: self.burst,
            delay: self.delay,
            jitter: self.jitter,
            duplicate: self.duplicate.as_fraction(),
            reorder: self.reorder.as_fraction(),
            corrupt: self.corrupt.as_fraction(),
            rate: rate.map(|rate| rate.0),
            queue: self.queue,
            mark_after: self.mark_after,
            marks: Marks::Keep,
            mtu: self.mtu.or(rate.map(|_| LINE_DATAGRAM_BYTES)),
            blackhole: self.blackhole,
        }
    }

    /// Returns how often a client gets a new port.
    pub(super) fn rebind(&self) -> Option<Duration> {
        self.rebind
    }

    /// Returns the periods in which nothing passes.
    pub fn blackhole(&self) -> Option<Blackhole> {
        self.blackhole
    }

    /// Returns true if datagrams would pass a line of `rate` unchanged.
    pub fn do_nothing(&self, rate: Option<BitRate>) -> bool {
        // Without losses, the length of bursts has no effect.
        let nothing = Impairments { burst: self.burst, ..Impairments::default() };
        self.rebind.is_none() && self.impairments(rate) == nothing
    }

    /// Returns the flags that give another process the same impairments.
    pub fn flags(&self) -> Vec<String> {
        // Destructured, so that an unused field causes a warning.
        let Self { loss, burst, delay, jitter, duplicate, reorder, corrupt, queue, .. } = self;
        let Self { mark_after, mtu, blackhole, rebind, .. } = self;
        let mut flags = Vec::new();
        let mut flag = |name: &str, value: &dyn Display| flags.extend([name.to_owned(), value.to_string()]);
        flag("--loss", loss);
        flag("--burst", burst);
        flag("--delay", &Written(*delay));
        flag("--jitter", &Written(*jitter));
        flag("--duplicate", duplicate);
        flag("--reorder", reorder);
        flag("--corrupt", corrupt);
        flag("--queue", &Written(*queue));
        if let Some(mark_after) = mark_after {
            flag("--mark-after", &Written(*mark_after));
        }
        if let Some(mtu) = mtu {
            flag("--mtu", mtu);
        }
        if let Some(Blackhole { every, lasting }) = *blackhole {
            flag("--blackhole", &format_args!("{}:{}", Written(every), Written(lasting)));
        }
        if let Some(rebind) = rebind {
            flag("--rebind", &Written(*rebind));
        }
        flags
    }
}

fn burst(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(burst @ 1.0..=10_000.0) => Ok(burst),
        _ => Err(format!("`{text}` is no mean length of a burst: a number from 1 to 10000, as in 3")),
    }
}

/// Parses an MTU over which a client can connect.
fn mtu(text: &str) -> Result<usize, String> {
    let mtu = text.parse().ok().filter(|mtu| *mtu >= HELLO_BYTES);
    mtu.ok_or_else(|| format!("allowed is {HELLO_BYTES} or more; with less, no client connects"))
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
    let blackhole = Blackhole { every: positive(every)?, lasting: positive(lasting)? };
    if blackhole.lasting >= blackhole.every {
        return Err(format!(
            "`{text}` lets nothing pass: a blackhole ends before the next one begins, as in 10s:500ms"
        ));
    }
    Ok(blackhole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser, Debug)]
    struct Line {
        #[command(flatten)]
        args: ImpairmentArgs,
    }

    fn parse<T: AsRef<str>>(line: &[T]) -> Result<ImpairmentArgs, clap::Error> {
        let line = std::iter::once("any").chain(line.iter().map(AsRef::as_ref));
        Line::try_parse_from(line).map(|line| line.args)
    }

    const ALL: &str = "--loss 5% --burst 3 --delay 20ms --jitter 5ms --duplicate 1% --reorder 2% \
                       --corrupt 3% --queue 50ms --mark-after 5ms --mtu 1200 --blackhole 10s:500ms --rebind 7s";

    #[test]
    fn another_process_gets_the_same() {
        for line in [ALL, "", "--burst 2.5 --loss 0.01% --delay 1.5ms"] {
            let args = parse(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
            let again = parse(&args.flags()).unwrap();
            assert_eq!(again.impairments(None), args.impairments(None));
            assert_eq!(again.rebind(), args.rebind());
        }
    }

    #[test]
    fn each_impairment_does_something() {
        let words: Vec<&str> = ALL.split_whitespace().collect();
        for flag in words.chunks(2) {
            assert_eq!(parse(flag).unwrap().do_nothing(None), flag[0] == "--burst", "{flag:?}");
        }
        let none = parse::<&str>(&[]).unwrap();
        assert!(none.do_nothing(None) && !none.do_nothing(Some(BitRate(1_000))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            ["--burst", "0.5"],
            ["--burst", "NaN"],
            ["--blackhole", "10s"],
            ["--blackhole", "0s:1s"],
            ["--rebind", "0s"],
            ["--mtu", "1199"],
        ] {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
