//! `raw`: UDP with one system call per datagram, without reliability and encryption.
//!
//! The baseline for all other peers: it does only what is necessary. A blocking `recvfrom` needs no other
//! call to wait.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Traffic;
use crate::error::{Error, Result};
use crate::message::MAX_BYTES;
use crate::rooms::Rooms;
use crate::stage::Announce;
use crate::sys;

/// Maximum number of clients.
const MAX_CLIENTS: usize = 65_536;

/// Runs the server.
pub fn serve(announce: Announce) -> Result<()> {
    let socket = sys::udp_server().map_err(Error::io("binding"))?;
    let traffic = Traffic::shared();
    let read = Arc::clone(&traffic);
    let addr = socket.local_addr().map_err(Error::io("binding"))?;
    announce.ready(addr, "", move || Some(read.counts()))?;
    let mut rooms = Rooms::default();
    let mut numbers: HashMap<SocketAddr, usize> = HashMap::new();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut buffer = [0; MAX_BYTES];
    loop {
        let (len, from) = socket.recv_from(&mut buffer).map_err(Error::io("receiving"))?;
        let message = &buffer[..len];
        let number = *numbers.entry(from).or_insert_with(|| {
            addresses.push(from);
            addresses.len() - 1
        });
        if addresses.len() > MAX_CLIENTS {
            return Err(Error::bound("too many clients"));
        }
        let recipients = rooms.recipients(number, message)?;
        let mut sent = 0;
        for recipient in recipients {
            // A datagram that the system does not accept is lost, as is normal for UDP.
            sent += u64::from(socket.send_to(message, addresses[*recipient]).is_ok());
        }
        traffic.add(1 + sent, (1 + sent) * len as u64);
    }
}
