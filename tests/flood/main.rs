//! A server with running sessions that receives hostile datagrams: the binary on real sockets.
//!
//! `RALLYPOINT_FLOOD_SECONDS=60 cargo test --release --test flood -- --nocapture` floods it for a minute.

#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

mod arsenal;
mod processes;
mod relay;

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use arsenal::Arsenal;
use processes::{Folder, Server, bench, client_through};
use relay::Relay;

const DATAGRAMS_PER_SECOND: u32 = 20_000;
/// Number of datagrams sent at once, after which the sender waits until the next burst is due.
const VOLLEY: u32 = 100;

/// Each kind of hostile datagram must have been counted under its own reason.
const REASONS: [&str; 10] = [
    "bad_length",
    "bad_checksum",
    "bad_version",
    "token_expired",
    "token_forged",
    "token_used",
    "handshake_forged",
    "unknown_connection",
    "does_not_open",
    "replayed",
];

/// Totals of the flood.
#[derive(Debug, Default)]
struct Fired {
    datagrams: u64,
    bytes: u64,
    answered_bytes: u64,
}

#[test]
fn sessions_run_undisturbed_while_hostile_datagrams_arrive() {
    let seconds = std::env::var("RALLYPOINT_FLOOD_SECONDS").map_or(4, |text| text.parse().unwrap());
    let folder = Folder::new("flood");
    let server = Server::start(&folder);
    let calm = bench(&folder, server.address, seconds).wait();

    let relay = Relay::start(server.address);
    let client = client_through(&folder, relay.address);
    let captured = relay.capture();
    let mut arsenal = Arsenal::new(&folder.key(), server.address, captured);

    let before = server.rss_bytes();
    let load = bench(&folder, server.address, seconds);
    let fired = fire(&mut arsenal, server.address, Duration::from_secs(seconds + 2));
    let stormy = load.wait();
    let after = server.rss_bytes();
    drop(client);
    let counters = server.stop();

    println!("fired {fired:?}\ncounters {counters:?}\nrss before {before} after {after}");
    println!("p99 us: calm {} stormy {}", calm["latency_us"]["p99"], stormy["latency_us"]["p99"]);
    for run in [&calm, &stormy] {
        assert_eq!(run["delivery_ratio"], 1.0, "{run}");
        assert_eq!(run["order_violations"], 0);
        assert_eq!(run["duplicates"], 0);
        assert_eq!(run["timeouts"], 0);
    }
    assert!(fired.datagrams > 10_000, "the flood was no flood");
    assert!(fired.answered_bytes * 10 <= fired.bytes, "more than a tenth was answered");
    assert!(after < before + (32 << 20), "memory grew from {before} to {after} bytes");
    for reason in REASONS {
        assert!(
            counters.get(reason).is_some_and(|count| *count > 0),
            "nothing counted as {reason}: {counters:?}"
        );
    }
}

/// Sends hostile datagrams to the server for `time`, and counts the bytes of its answers.
fn fire(arsenal: &mut Arsenal, server: SocketAddr, time: Duration) -> Fired {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server).unwrap();
    socket.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let mut fired = Fired::default();
    let mut volleys = 0;
    while start.elapsed() < time {
        for _ in 0..VOLLEY {
            let datagram = arsenal.next();
            // A full buffer drops the datagram, which is acceptable.
            if socket.send(&datagram).is_ok() {
                fired.datagrams += 1;
                fired.bytes += datagram.len() as u64;
            }
        }
        fired.answered_bytes += drain(&socket);
        volleys += 1;
        let due = Duration::from_secs(1) * VOLLEY / DATAGRAMS_PER_SECOND * volleys;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    std::thread::sleep(Duration::from_millis(200));
    fired.answered_bytes += drain(&socket);
    fired
}

fn drain(socket: &UdpSocket) -> u64 {
    let mut buffer = [0; 2_048];
    let mut bytes = 0;
    while let Ok(length) = socket.recv(&mut buffer) {
        bytes += length as u64;
    }
    bytes
}
