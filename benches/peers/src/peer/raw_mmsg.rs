//! `raw-mmsg`: UDP with many datagrams per system call, without reliability and encryption.
//!
//! `recvmmsg` with `MSG_WAITFORONE` takes all waiting datagrams and blocks only for the first; all answers
//! leave with one `sendmmsg`. The copies of a message share its bytes.

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::sync::Arc;

use super::Traffic;
use crate::error::{Error, Result};
use crate::rooms::Rooms;
use crate::stage::Announce;
use crate::sys::{self, ReceiveBatch, SendBatch};

/// Maximum number of clients.
const MAX_CLIENTS: usize = 65_536;
/// Number of datagrams received with one call.
const BATCH: usize = 64;

/// Runs the server.
pub fn serve(announce: Announce) -> Result<()> {
    let socket = sys::udp_server().map_err(Error::io("binding"))?;
    let traffic = Traffic::shared();
    let read = Arc::clone(&traffic);
    let addr = socket.local_addr().map_err(Error::io("binding"))?;
    announce.ready(addr, "", move || Some(read.counts()))?;
    let mut rooms = Rooms::default();
    let mut numbers: HashMap<SocketAddrV4, usize> = HashMap::new();
    let mut addresses: Vec<SocketAddrV4> = Vec::new();
    let (mut received, mut sending) = (ReceiveBatch::new(BATCH), SendBatch::default());
    loop {
        let count = received.receive(&socket, true).map_err(Error::io("receiving"))?;
        for index in 0..count {
            let (from, message) = received.get(index);
            let number = *numbers.entry(from).or_insert_with(|| {
                addresses.push(from);
                addresses.len() - 1
            });
            if addresses.len() > MAX_CLIENTS {
                return Err(Error::bound("too many clients"));
            }
            traffic.add(1, message.len() as u64);
            if let Some((first, others)) = rooms.recipients(number, message)?.split_first() {
                sending.push(addresses[*first], message);
                others.iter().for_each(|other| sending.push_again(addresses[*other], message.len()));
            }
        }
        let (sent, bytes) = (sending.sent, sending.sent_bytes);
        sending.flush(&socket);
        traffic.add(sending.sent - sent, sending.sent_bytes - bytes);
    }
}
