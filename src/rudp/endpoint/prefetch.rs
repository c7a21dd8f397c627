//! Fetches memory of the connections that come next while others are processed: see
//! [`prefetch`](crate::base::prefetch()).
//!
//! A fetch takes a while, and what a connection points to can be fetched only once the connection itself has
//! arrived, so each connection is prefetched in two steps.

use super::{Endpoint, Found, Live};
use crate::base::{ConnectionId, IdMap, StreamId};
use crate::rudp::Connection;
use crate::wire::packet::SealedHeader;

/// Up to this many connections are in the caches anyway, and prefetching costs more than it saves. Tests
/// always prefetch.
const CACHED: usize = if cfg!(test) { 0 } else { 256 };

impl Endpoint {
    /// How many datagrams before its own a connection is prefetched, and how many before it what it points
    /// to.
    pub const AHEAD: [usize; 2] = [4, 2];

    /// Prefetches the connection that a datagram is for.
    pub fn prefetch_receiver(&self, datagram: &[u8]) {
        if let Some(receiver) = self.receiver_of(datagram) {
            receiver.prefetch();
        }
    }

    /// Prefetches what else [`Self::handle_datagram`] needs of that connection.
    pub fn prefetch_to_receive(&self, datagram: &[u8]) {
        if let Some(receiver) = self.receiver_of(datagram) {
            receiver.prefetch_to_receive();
        }
    }

    /// Prefetches what [`Self::send`] needs of these connections.
    pub fn prefetch_to_send(&self, to: impl Iterator<Item = (ConnectionId, StreamId)> + Clone) {
        let Some(connections) = self.uncached() else { return };
        let found = to.filter_map(|(id, stream)| Some((&connections.get(&id)?.connection, stream)));
        found.clone().for_each(|(connection, _)| connection.prefetch_sender());
        found.for_each(|(connection, stream)| connection.prefetch_to_send(stream));
    }

    /// Prefetches what [`Self::poll_transmit`] needs of the connections that come next.
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

    pub(super) fn receiver_of(&self, datagram: &[u8]) -> Option<&Connection> {
        let (connections, id) = (self.uncached()?, SealedHeader::connection_of(datagram)?);
        let live = connections.get(&id).or_else(|| match self.find(id) {
            Found::Alias(of) => connections.get(&of),
            _ => None,
        })?;
        Some(&live.connection)
    }

    /// Returns the connections if there are too many to be found in the caches.
    fn uncached(&self) -> Option<&IdMap<ConnectionId, Live>> {
        (self.connections.len() > CACHED).then_some(&self.connections)
    }
}
