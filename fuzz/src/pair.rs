//! [`Pair`]: two connections, a clock, and packets in flight that each target controls.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;
use rallypoint::base::{Envelope, Route, StreamId, Timestamp};
use rallypoint::rudp::{
    Closed, Connection, ConnectionConfig, Event, MemoryBudget, MemoryBudgets, Role, SendError, Sent,
};
use rallypoint::wire::{Delivery, TransportParameters};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::forger::{CONNECTION, secrets};
use crate::promises::Promises;

pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;
const SERVER_ADDRESS: ([u8; 4], u16) = ([198, 51, 100, 1], 7_777);
/// One-way delay once the link is good.
const DELAY: Duration = Duration::from_millis(5);
/// A timer runs within this and [`PROBE_RTTS`] RTTs while data is outstanding: a probe timeout with the
/// greatest variation that samples can give it. Spec: REL-5, REL-6.
const LONGEST_PROBE: Duration = Duration::from_millis(400);
const PROBE_RTTS: u32 = 10;
/// Streams 1 to this one are open besides stream 0.
pub const STREAMS: u32 = 4;

pub struct Pair {
    pub now: Timestamp,
    pub ends: [End; 2],
    pub packets: Vec<Packet>,
    /// The client's address; packets to other addresses are lost.
    pub client_at: SocketAddr,
}

pub struct End {
    pub connection: Connection,
    pub closed: Option<Closed>,
    /// Promises for what this end sends.
    pub promises: Promises,
    finished: BTreeSet<StreamId>,
    config: ConnectionConfig,
    budgets: MemoryBudgets,
}

#[derive(Clone)]
pub struct Packet {
    pub from: SocketAddr,
    pub to: Envelope,
    pub data: BytesMut,
}

impl Pair {
    /// Returns two ends with these configurations, which have received each other's `told`.
    pub fn new(configs: [ConnectionConfig; 2], told: [TransportParameters; 2]) -> Self {
        let now = Timestamp::from_millis(1_000);
        let client_at = client_address(0);
        let end = |role, remote, keys, config: ConnectionConfig, peer, seed| {
            let rng = StdRng::seed_from_u64(seed);
            let mut connection = Connection::new(now, role, remote, keys, peer, config, rng);
            let budgets = MemoryBudgets::default();
            connection.share_budgets(&budgets);
            for stream in 1..=STREAMS {
                connection.open_stream(StreamId(stream));
            }
            End {
                connection,
                closed: None,
                promises: Promises::default(),
                finished: BTreeSet::new(),
                config,
                budgets,
            }
        };
        let client = Role::Client { id: CONNECTION };
        let ends = [
            end(client, SERVER_ADDRESS.into(), secrets().client_keys(), configs[CLIENT], told[SERVER], 1),
            end(Role::Server, client_at.into(), secrets().server_keys(), configs[SERVER], told[CLIENT], 2),
        ];
        Self { now, ends, packets: Vec::new(), client_at }
    }

    /// Sends a message of `length` bytes, at least 4.
    pub fn send(
        &mut self,
        from: usize,
        stream: StreamId,
        delivery: Delivery,
        length: usize,
    ) -> Result<Sent, SendError> {
        let End { connection, promises, finished, .. } = &mut self.ends[from];
        let payload = promises.next(stream, delivery, length);
        let answer = connection.send(self.now, stream, delivery, payload.into());
        match answer {
            Ok(_) => promises.on_sent(stream, delivery),
            Err(SendError::UnknownStream(stream)) => assert!(finished.contains(&stream)),
            Err(SendError::Closed) => assert!(connection.is_closed()),
            Err(SendError::TooLarge { bytes, max }) => assert!(bytes > max),
            Err(SendError::WouldBlock) => assert!(delivery != Delivery::Unreliable),
            Err(other) => panic!("nothing asks for {other}"),
        }
        answer
    }

    /// Finishes a stream at one end, as its last event would.
    pub fn finish(&mut self, end: usize, stream: StreamId) {
        self.ends[end].connection.finish_stream(stream);
        self.ends[end].finished.insert(stream);
    }

    /// Delivers a packet if an end is at its destination.
    pub fn deliver(
        &mut self,
        Packet { from, to: Envelope { route: Route { remote: to, .. }, ecn }, data }: Packet,
    ) {
        let from = Route::from(from).marked(ecn);
        let at = if to == SERVER_ADDRESS.into() { SERVER } else { CLIENT };
        if at == SERVER || to == self.client_at {
            let _ = self.ends[at].connection.handle_packet(self.now, from, data);
        }
    }

    /// Advances the time and runs the timers that are due.
    pub fn wait(&mut self, time: Duration) {
        self.now += time;
        for end in &mut self.ends {
            if end.connection.poll_timeout().is_some_and(|at| at <= self.now) {
                end.connection.handle_timeout(self.now);
            }
        }
    }

    /// Collects the packets and events of both ends, and checks the invariants.
    pub fn drain(&mut self) {
        for at in [CLIENT, SERVER] {
            let from = if at == CLIENT { self.client_at } else { SERVER_ADDRESS.into() };
            let mut data = BytesMut::new();
            while let Some(to) = self.ends[at].connection.poll_transmit(self.now, &mut data) {
                assert!(data.len() <= self.ends[at].config.max_datagram_bytes.max(1_200));
                self.packets.push(Packet { from, to, data: std::mem::take(&mut data) });
            }
            while let Some(event) = self.ends[at].connection.poll_event() {
                assert_eq!(self.ends[at].closed, None, "nothing comes after the close");
                match event {
                    Event::Established | Event::AddressChanged(_) => {}
                    Event::Message { stream, delivery, payload } => {
                        self.ends[1 - at].promises.on_received(stream, delivery, &payload);
                    }
                    Event::Closed(closed) => self.ends[at].closed = Some(closed),
                }
            }
            self.ends[at].check(self.now);
        }
    }

    /// Uses a good link from now on: everything is settled, or closed at both ends, within `time`.
    pub fn settle(&mut self, time: Duration) {
        let end = self.now + time;
        let mut turns = 0;
        self.drain();
        while !self.is_settled() {
            assert!(self.now < end, "something waits for ever");
            turns += 1;
            assert!(turns < 100_000, "the timers make no progress");
            if self.packets.is_empty() {
                let timers = self.ends.iter().filter_map(|end| end.connection.poll_timeout());
                let next = timers.min().expect("a timer runs while something is outstanding");
                self.wait(next.since(self.now));
            } else {
                self.wait(DELAY);
                for packet in std::mem::take(&mut self.packets) {
                    self.deliver(packet);
                }
            }
            self.drain();
        }
        if self.ends.iter().all(|end| end.closed.is_none()) {
            for at in [CLIENT, SERVER] {
                let finished = &self.ends[1 - at].finished;
                self.ends[at].promises.check_kept(|stream| finished.contains(&stream));
            }
        }
    }

    fn is_settled(&self) -> bool {
        if self.ends.iter().any(|end| end.closed.is_some()) {
            return self.ends.iter().all(|end| end.connection.is_drained());
        }
        let is_idle = |end: &End| end.connection.queued_bytes() == 0 && end.budgets.receive.held() == 0;
        self.packets.is_empty() && self.ends.iter().all(is_idle)
    }
}

impl End {
    /// Limits this end's process to `bytes` bytes for received messages that wait.
    pub fn share_receive_budget(&mut self, bytes: usize) {
        self.budgets.receive = MemoryBudget::new(bytes);
        self.connection.share_budgets(&self.budgets);
    }

    fn check(&self, now: Timestamp) {
        self.connection.audit();
        assert_eq!(self.closed.is_some(), self.connection.is_closed());
        assert_eq!(self.connection.is_drained(), self.connection.poll_timeout().is_none());
        let held = self.budgets.receive.held();
        assert!(held <= self.config.parameters().receive_buffer_bytes as usize, "{held} bytes are held");
        let queued = self.connection.queued_bytes();
        let most = self.config.send_buffer_bytes.saturating_add(self.config.unreliable_buffer_bytes);
        assert!(queued <= most, "{queued} bytes are queued");
        let next = self.connection.poll_timeout().filter(|_| queued > 0);
        let patience = LONGEST_PROBE + self.connection.rtt() * PROBE_RTTS;
        assert!(next.is_none_or(|next| next <= now + patience), "no timer ends the wait");
    }
}

/// Returns one of the client's possible addresses: first another port, then other hosts.
pub fn client_address(place: u8) -> SocketAddr {
    ([192, 0, 2, place >> 1], 4_000 + u16::from(place & 1)).into()
}
