//! `renet` and `renet-tick`: renet on its own netcode transport in secure mode, with one `ReliableOrdered`
//! channel.
//!
//! renet is made for a game's tick. Its transport sends to all connections at once, and every packet is
//! acked, including acks, so that two ends that answer at once would do so forever. Both peers use the tick
//! of 16 ms that its README shows for acks and resends. `renet` also sends between ticks, as soon as it has
//! forwarded messages, which gives the shortest latency at the cost of a pass through all connections.
//! `renet-tick` wakes only at ticks, as the README's loop does. Clients are the same: they send a message at
//! once, and acks with it or at their tick. Lost messages are resent after 100 ms, instead of the README's
//! 300.

use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use renet::{ChannelConfig, ConnectionConfig, RenetServer, SendType, ServerEvent};
use renet_netcode::{NetcodeServerTransport, ServerAuthentication, ServerConfig};

use crate::error::{Error, Result};
use crate::rooms::Rooms;
use crate::stage::Announce;
use crate::sys;

mod clients;

pub use self::clients::connect;

const GAME: u64 = 0x7065_6572_7321;
/// The key with which the load makes tokens, as a game's backend would.
const KEY: [u8; 32] = [7; 32];
/// The only channel.
const CHANNEL: u8 = 0;
/// Time between two ticks.
const TICK_NANOS: u64 = 16_000_000;

/// When the server sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// When it has forwarded messages, and at its ticks.
    AtOnce,
    /// At its ticks, between which it sleeps.
    Ticks,
}

/// Returns the settings of both ends of a connection.
fn config() -> ConnectionConfig {
    let channel = || {
        vec![ChannelConfig {
            channel_id: CHANNEL,
            max_memory_usage_bytes: 16 << 20,
            send_type: SendType::ReliableOrdered { resend_time: Duration::from_millis(100) },
        }]
    };
    ConnectionConfig {
        available_bytes_per_tick: 1 << 20,
        server_channels_config: channel(),
        client_channels_config: channel(),
    }
}

/// Returns wall-clock time as netcode's tokens count it.
fn since_1970() -> Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(Error::while_doing("reading the clock"))
}

/// Runs the server for `clients` clients.
pub fn serve(announce: Announce, clients: usize, pace: Pace) -> Result<()> {
    let socket = sys::udp_server().map_err(Error::io("binding"))?;
    let waited_for = socket.try_clone().map_err(Error::io("binding"))?;
    let addr = socket.local_addr().map_err(Error::io("binding"))?;
    let config_of_server = ServerConfig {
        current_time: since_1970()?,
        max_clients: clients,
        protocol_id: GAME,
        public_addresses: vec![addr],
        authentication: ServerAuthentication::Secure { private_key: KEY },
    };
    let transport = NetcodeServerTransport::new(config_of_server, socket);
    let mut transport = transport.map_err(Error::io("starting the transport"))?;
    let mut server = Server { renet: RenetServer::new(config()), rooms: Rooms::default(), ids: Vec::new() };
    // The transport owns the socket and does not report its traffic.
    announce.ready(addr, "", || None)?;
    let mut last = sys::nanos();
    let mut next_tick = last;
    loop {
        let wait = next_tick.saturating_sub(sys::nanos());
        if pace == Pace::Ticks {
            thread::sleep(Duration::from_nanos(wait));
        } else {
            sys::wait_readable(waited_for.as_raw_fd(), wait).map_err(Error::io("waiting"))?;
        }
        let now = sys::nanos();
        let passed = Duration::from_nanos(now - last);
        last = now;
        server.renet.update(passed);
        transport.update(passed, &mut server.renet).map_err(Error::while_doing("receiving"))?;
        let has_passed_on = server.pass_on()?;
        if has_passed_on || now >= next_tick {
            transport.send_packets(&mut server.renet);
        }
        if now >= next_tick {
            next_tick = now + TICK_NANOS;
        }
    }
}

/// The server without its socket.
struct Server {
    renet: RenetServer,
    rooms: Rooms,
    /// Ids of the clients, in the order in which they connected.
    ids: Vec<u64>,
}

impl Server {
    /// Queues the clients' messages for their groups; returns false if there were none.
    fn pass_on(&mut self) -> Result<bool> {
        while let Some(event) = self.renet.get_event() {
            if let ServerEvent::ClientConnected { client_id } = event {
                self.ids.push(client_id);
            }
        }
        let mut has_passed_on = false;
        for number in 0..self.ids.len() {
            while let Some(message) = self.renet.receive_message(self.ids[number], CHANNEL) {
                has_passed_on = true;
                for recipient in self.rooms.recipients(number, &message)? {
                    self.renet.send_message(self.ids[*recipient], CHANNEL, message.clone());
                }
            }
        }
        Ok(has_passed_on)
    }
}
