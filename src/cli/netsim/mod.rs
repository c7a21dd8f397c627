//! `netsim`: a UDP relay that impairs both directions, for tests of games and of this project.

mod arguments;
mod background;
mod departures;
mod impairments;
mod relay;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

pub use self::arguments::NetsimArgs;
pub use self::background::BackgroundRelay;
pub use self::impairments::{HEADING, ImpairmentArgs};
pub use self::relay::MAX_CLIENTS;
use self::relay::{Relay, Report};
use crate::cli::output::{Failure, Table, listening_on, note, product};
use crate::cli::runtime;
use crate::cli::signals::Signals;
use crate::client::reachable;
use crate::link::Counts;
use crate::net::{BufferSizes, Socket, allow_many_sockets, bind};

/// Runs the subcommand: relays until the time is over or a signal arrives, then reports.
///
/// # Errors
/// [`Failure::Usage`] if the upstream is the relay itself, [`Failure::Work`] if a socket cannot be opened.
pub fn run(args: &NetsimArgs) -> Result<(), Failure> {
    // Each client has a socket and a timer.
    allow_many_sockets();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::while_doing("starting the runtime", error))?;
    tokio::task::LocalSet::new().block_on(&runtime, relay(args))
}

async fn relay(args: &NetsimArgs) -> Result<(), Failure> {
    let seed = runtime::seed(args.seed)?;
    let socket = bind(args.listen, BufferSizes::default())
        .map(Socket::with_local_addresses)
        .map_err(|error| Failure::while_doing(format_args!("binding {}", args.listen), error))?;
    let addr = socket.local_addr().map_err(|error| Failure::while_doing("binding", error))?;
    if is_own(addr, reachable(args.upstream)) {
        let upstream = args.upstream;
        return Err(Failure::Usage(format!(
            "--upstream {upstream} is where the relay itself listens: allowed is another address or port"
        )));
    }
    let relay = Relay::new(args.upstream, args.impairments(), args.rebind(), StdRng::seed_from_u64(seed));
    // Before it reports that it is ready: from then on, a signal ends it with a report.
    let mut signals = Signals::new().map_err(|error| Failure::while_doing("listening to signals", error))?;
    listening_on(addr, args.json);
    tokio::select! {
        ended = relay.serve(socket) => {
            ended.map_err(|error| Failure::while_doing("relaying", error))?;
        }
        () = time_is_over(args.seconds) => {}
        () = signals.next() => {}
    }
    report(&relay.report(), seed, addr, args)
}

/// Returns true if what is sent to `upstream` arrives at the socket of this machine that is bound to `addr`:
/// each datagram would come back as one of a new client.
fn is_own(addr: SocketAddr, upstream: SocketAddr) -> bool {
    let (own, to) = (addr.ip().to_canonical(), upstream.ip().to_canonical());
    let is_heard = own == to || (own.is_unspecified() && (own.is_ipv6() || to.is_ipv4()) && is_local(to));
    addr.port() == upstream.port() && is_heard
}

/// Returns true for an address of this machine. Sends nothing.
fn is_local(ip: IpAddr) -> bool {
    let any = if ip.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = std::net::UdpSocket::bind((any, 0))?;
        // Only this machine itself reaches one of its addresses from that address.
        socket.connect((ip, 1))?;
        socket.local_addr()
    };
    ip.is_loopback() || source().is_ok_and(|source| source.ip() == ip)
}

async fn time_is_over(seconds: Option<u32>) {
    match seconds {
        Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
        None => std::future::pending().await,
    }
}

/// Describes what the relay did to datagrams beyond the requested impairments.
fn own_faults(report: &Report) -> Option<String> {
    let Report { overflows, clients_refused, send_errors, oversized, strangers, .. } = report;
    let faults = [
        (overflows, "too many under way"),
        (clients_refused, "of too many clients"),
        (send_errors, "not sent"),
        (oversized, "longer than 9,216 bytes"),
        (strangers, "not from the upstream"),
    ];
    let told = faults.iter().filter(|(count, _)| **count > 0).map(|(count, what)| format!("{count} {what}"));
    Some(told.collect::<Vec<_>>().join(", ")).filter(|told| !told.is_empty())
}

fn report(report: &Report, seed: u64, addr: SocketAddr, args: &NetsimArgs) -> Result<(), Failure> {
    let faults = own_faults(report);
    if let Some(faults) = &faults {
        // Also on standard error, because the program that started it may not read the report.
        note(format_args!("the relay itself has dropped datagrams: {faults}"));
    }
    if args.json {
        let object = json!({
            "listen": addr.to_string(),
            "upstream": args.upstream.to_string(),
            "seed": seed,
            "clients": report.clients,
            "clients_refused": report.clients_refused,
            "send_errors": report.send_errors,
            "oversized": report.oversized,
            "overflows": report.overflows,
            "strangers": report.strangers,
            "under_way": report.under_way,
            "to_upstream": counts_json(&report.to_upstream),
            "to_clients": counts_json(&report.to_clients),
        });
        return product(object);
    }
    let mut table = Table::new();
    table
        .row("seed", seed)
        .row("clients", report.clients)
        .row("dropped by the relay itself", faults.as_deref().unwrap_or("none"))
        .row("under way at the end", format_args!("{} of the delivered datagrams", report.under_way));
    for (direction, counts) in [("to upstream", &report.to_upstream), ("to clients", &report.to_clients)] {
        let dropped = counts.offered.saturating_sub(counts.delivered.saturating_sub(counts.duplicated));
        table
            .row(
                format!("{direction}: received"),
                format_args!("{} datagrams, {} bytes", counts.offered, counts.offered_bytes),
            )
            .row(
                format!("{direction}: delivered"),
                format_args!("{} datagrams, {} bytes", counts.delivered, counts.delivered_bytes),
            )
            .row(format!("{direction}: dropped"), format_args!("{dropped} datagrams ({})", reasons(counts)))
            .row(
                format!("{direction}: altered"),
                format_args!(
                    "{} duplicated, {} held back, {} corrupted, {} marked",
                    counts.duplicated, counts.reordered, counts.corrupted, counts.congested
                ),
            );
    }
    product(table)
}

fn reasons(counts: &Counts) -> String {
    format!(
        "{} lost, {} queue full, {} longer than the mtu, {} in a blackhole",
        counts.lost, counts.queue_full, counts.too_long, counts.blackholed
    )
}

fn counts_json(counts: &Counts) -> Value {
    json!({
        "received": counts.offered,
        "received_bytes": counts.offered_bytes,
        "delivered": counts.delivered,
        "delivered_bytes": counts.delivered_bytes,
        "lost": counts.lost,
        "queue_full": counts.queue_full,
        "too_long": counts.too_long,
        "marked": counts.congested,
        "blackholed": counts.blackholed,
        "duplicated": counts.duplicated,
        "reordered": counts.reordered,
        "corrupted": counts.corrupted,
    })
}
