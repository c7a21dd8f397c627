//! Memory of the connections that come next, asked for while others are worked on: see
//! [`prefetch`](crate::base::prefetch()).
//!
//! It takes a while to come, and what a connection points to can only be asked for once the connection itself is
//! there: so each is asked for twice.

use super::{Endpoint, Live};
use crate::base::{ConnectionId, IdMap, StreamId};
use crate::rudp::Connection;
use crate::wire::packet::SealedHeader;

/// Most connections that are found in the caches anyway: to ask for them costs more than it saves. Tests ask for all.
const CACHED: usize = if cfg!(test) { 0 } else { 256 };

impl Endpoint {
    /// How many datagrams before its own a connection is asked for, and how many before it what it points to.
    pub const AHEAD: [usize; 2] = [4, 2];

    /// Asks for the connection that a datagram is for.
    pub fn prefetch_receiver(&self, datagram: &[u8]) {
        if let Some(receiver) = self.receiver_of(datagram) {
            receiver.prefetch();
        }
    }

    /// Asks for what [`Self::handle_datagram`] needs of it besides.
    pub fn prefetch_to_receive(&self, datagram: &[u8]) {
        if let Some(receiver) = self.receiver_of(datagram) {
            receiver.prefetch_to_receive();
        }
    }

    /// Asks for what [`Self::send`] needs of these connections.
    pub fn prefetch_to_send(&self, to: impl Iterator<Item = (ConnectionId, StreamId)> + Clone) {
        let Some(connections) = self.uncached() else { return };
        let found = to.filter_map(|(id, stream)| Some((&connections.get(&id)?.connection, stream)));
        found.clone().for_each(|(connection, _)| connection.prefetch_sender());
        found.for_each(|(connection, stream)| connection.prefetch_to_send(stream));
    }

    /// Asks for what [`Self::poll_transmit`] needs of the connections that it comes to.
    pub(super) fn prefetch_to_transmit(&self) {
        let [far, near] = Self::AHEAD;
        if let Some(connection) = self.dirty_at(far) {
            connection.prefetch();
        }
        if let Some(connection) = self.dirty_at(near) {
            connection.prefetch_to_transmit();
        }
    }

    fn dirty_at(&self, place: usize) -> Option<&Connection> {
        let live = self.uncached()?.get(self.dirty.get(place)?)?;
        Some(&live.connection)
    }

    fn receiver_of(&self, datagram: &[u8]) -> Option<&Connection> {
        let live = self.uncached()?.get(&SealedHeader::connection_of(datagram)?)?;
        Some(&live.connection)
    }

    /// The connections, if they are too many to be found in the caches.
    fn uncached(&self) -> Option<&IdMap<ConnectionId, Live>> {
        (self.connections.len() > CACHED).then_some(&self.connections)
    }
}
