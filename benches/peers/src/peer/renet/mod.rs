//! `renet`: over netcode, encrypted, one reliable ordered channel.
//!
//! Its README's loop (update the transport, update the server, take messages, send packets) runs when a
//! datagram arrives rather than at ticks of 16 ms, and at every 10 ms for resends: no message waits for a
//! tick. The channel resends after 100 ms instead of 300 ms, for losses on a path of 40 ms; everything else
//! is its default. The channel's memory and the bytes of a tick are raised for the bulk.

use std::os::fd::AsRawFd;
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
/// The key that the load's part makes tokens with, as a game's backend would.
const KEY: [u8; 32] = [7; 32];
/// The one channel.
const CHANNEL: u8 = 0;
/// Between two updates when nothing arrives.
const TICK_NANOS: u64 = 10_000_000;

/// What both ends of a connection are told.
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

/// Wall time, as netcode's tokens count it.
fn since_1970() -> Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(Error::while_doing("reading the clock"))
}

/// Runs the server, for so many clients.
pub fn serve(announce: Announce, clients: usize) -> Result<()> {
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
    let mut server = RenetServer::new(config());
    // The transport has the socket and does not tell what it carries.
    announce.ready(addr, "", || None)?;
    let mut rooms = Rooms::default();
    let mut ids: Vec<u64> = Vec::new();
    let mut last = sys::nanos();
    loop {
        sys::wait_readable(waited_for.as_raw_fd(), TICK_NANOS).map_err(Error::io("waiting"))?;
        let now = sys::nanos();
        let passed = Duration::from_nanos(now - last);
        last = now;
        transport.update(passed, &mut server).map_err(Error::while_doing("receiving"))?;
        server.update(passed);
        while let Some(event) = server.get_event() {
            if let ServerEvent::ClientConnected { client_id } = event {
                ids.push(client_id);
            }
        }
        for number in 0..ids.len() {
            while let Some(message) = server.receive_message(ids[number], CHANNEL) {
                for recipient in rooms.recipients(number, &message)? {
                    server.send_message(ids[*recipient], CHANNEL, message.clone());
                }
            }
        }
        transport.send_packets(&mut server);
    }
}
