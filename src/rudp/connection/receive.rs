//! Incoming packets: open and check them, process the frames, deliver messages.
//!
//! A packet goes through these steps, each of which leaves what the ones before it have done:
//!
//! | step | a packet that fails it |
//! |---|---|
//! | is small enough for where it comes from, has a number that is new | changes nothing |
//! | opens | counts toward the limit of failed opens (KEY-6) |
//! | consists of frames | ends the connection, and its number is used up |
//! | names its messages unambiguously (STR-10) | is not acked, but shows that the peer lives |
//! | finds memory for what must wait (REL-14) | the same, and those of its messages that fit are taken |
//! | counts as received: is acked, proves an address, completes repairs | |
//! | holds no frame that breaks the protocol | ends the connection at that frame |

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use rand::Rng;

use super::closing::After;
use super::config::{BASE_DATAGRAM_BYTES, MAX_STREAMS};
use super::keys::Opened;
use super::path::Change;
use super::repair::symbol;
use super::rtt::RttEstimator;
use super::stream::{Arrival, Hold, MessagePart, ReceiveStream, Received, ReceivedPart};
use super::{Closed, Connection, Event, KeyLimit, PacketDropped, ProtocolViolation, Role, State, TraceEvent};
use crate::base::{Ecn, Envelope, PacketNumber, Route, StreamId, Timestamp};
use crate::wire::frame::{Close, Frame, Frames, Message, MessageHead, read_frames};
use crate::wire::{CloseCode, Delivery, Direction, SealedHeader};

/// A sealed packet that has opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct PacketIn {
    pub number: PacketNumber,
    pub from: Route,
    pub ecn: Ecn,
    pub bytes: usize,
}

impl Connection {
    /// Takes a whole sealed packet, with the route and the mark that it arrived with.
    ///
    /// # Errors
    /// [`PacketDropped`] when the packet is not accepted. If it opens but breaks the protocol, the connection
    /// ends instead: see [`Event::Closed`].
    pub fn handle_packet(
        &mut self,
        now: Timestamp,
        from: Envelope,
        packet: BytesMut,
    ) -> Result<(), PacketDropped> {
        let bytes = packet.len();
        let result = self.take_packet(now, from, packet);
        if let Err(why) = result {
            self.counted.packets_dropped += 1;
            self.trace_event(now, TraceEvent::PacketDropped { bytes, why });
        }
        result
    }

    fn take_packet(
        &mut self,
        now: Timestamp,
        Envelope { route: from, ecn }: Envelope,
        packet: BytesMut,
    ) -> Result<(), PacketDropped> {
        if matches!(self.state, State::Closed) {
            return Err(PacketDropped::Closed);
        }
        let bytes = packet.len();
        // Checked before the packet is opened, since opening may renew the keys.
        // spec: MTU-7
        if bytes > BASE_DATAGRAM_BYTES && !self.is_on_path(&from) {
            return Err(PacketDropped::OffPath);
        }
        let (number, payload) = self.open(now, packet)?;
        let frames = match read_frames(payload) {
            Ok(frames) => frames,
            Err(error) => {
                self.replay.accept(number);
                self.violate(now, error.into());
                return Ok(());
            }
        };
        if let Err(why) = self.check_room(number, &frames) {
            self.hear_of_life(now, number);
            if why == PacketDropped::OverBudget {
                self.take_what_fits(now, from, number, frames);
            }
            return Err(why);
        }
        self.take_opened(now, &PacketIn { number, from, ecn, bytes }, frames);
        Ok(())
    }

    /// Takes a packet that opened, is not a replay, and has room.
    fn take_opened(&mut self, now: Timestamp, packet: &PacketIn, frames: Frames) {
        let is_first = !std::mem::replace(&mut self.is_established, true);
        self.replay.accept(packet.number);
        self.counted.packets_received += 1;
        self.counted.bytes_received += packet.bytes as u64;
        self.timers.on_received(now);
        self.trace_received(now, packet, &frames);
        if is_first && !self.is_closed() {
            self.events.push_back(Event::Established);
        }
        self.take_source(now, packet, is_first);
        let repaired = self.note_arrival(now, packet, &frames);
        self.take_frames(now, packet, frames, repaired);
        if let State::Closing(closing) = &mut self.state {
            closing.hasten(now, self.rtt.probe_timeout(Duration::ZERO));
        }
    }

    /// Returns whether a packet came by the path that this end sends on, or from another port of the same
    /// host. Anybody may forward a copy of a packet from elsewhere; it says nothing about the path.
    fn is_on_path(&self, from: &Route) -> bool {
        self.role != Role::Server || self.paths.active().has_ips_of(from)
    }

    /// Counts a dropped packet as a sign of life, unless it is a copy of a dropped one or older.
    // spec: CON-3
    fn hear_of_life(&mut self, now: Timestamp, number: PacketNumber) {
        if self.newest_dropped.is_none_or(|newest| number > newest) {
            self.newest_dropped = Some(number);
            self.timers.on_received(now);
        }
    }

    /// Returns the newest packet that may have moved a position, including dropped ones.
    fn newest(&self) -> Option<PacketNumber> {
        self.acks.largest().map(PacketNumber).max(self.newest_dropped)
    }

    /// Notes where a packet came from. Only a server's peer may move.
    fn take_source(&mut self, now: Timestamp, packet: &PacketIn, is_first: bool) {
        if self.role != Role::Server {
            return;
        }
        let PacketIn { number, from, bytes, .. } = *packet;
        if is_first {
            self.paths.fix(from);
        }
        let is_newest = self.acks.largest().is_none_or(|largest| number.0 > largest);
        let probe_timeout = self.probe_timeout();
        let random = &mut self.random;
        let mut draw = || random.draw(|rng| rng.random());
        self.paths.on_packet(now, from, bytes, is_newest, probe_timeout, &mut draw);
    }

    /// Takes a response to a challenge. If the peer has moved, what is in flight to its old address is lost.
    fn take_path_response(&mut self, now: Timestamp, from: Route, data: [u8; 8]) {
        let Some(change) = self.paths.on_response(from, data) else { return };
        self.counted.address_changes += 1;
        self.events.push_back(Event::AddressChanged(from.remote));
        if change == Change::Ip {
            self.begin_path(now);
        }
        self.probes.end_series();
        self.probe(now);
    }

    /// Starts over on a path of which nothing is known.
    // spec: PTH-8
    fn begin_path(&mut self, now: Timestamp) {
        self.sent.on_new_path();
        self.rtt = RttEstimator::new();
        self.congestion.on_new_path(now, self.peer.max_ack_delay(), self.rtt.smoothed());
        self.datagram_size.on_new_path();
        self.repair_encoder.on_new_path();
        self.marking.on_new_path(self.sent.next_number());
        self.cut_for_datagrams(now);
    }

    /// Opens a packet that is not a replay. The replay window does not move yet.
    fn open(&mut self, now: Timestamp, mut packet: BytesMut) -> Result<(PacketNumber, Bytes), PacketDropped> {
        let direction = match self.role {
            Role::Server => Direction::ToServer,
            Role::Client { .. } => Direction::ToClient,
        };
        let (header, header_bytes) =
            SealedHeader::read(&packet, direction).map_err(|_| PacketDropped::Malformed)?;
        // spec: PKT-8
        let number = PacketNumber(header.number.expand(self.acks.largest().map_or(0, |largest| largest + 1)));
        // spec: PKT-7
        if number > PacketNumber::MAX {
            return Err(PacketDropped::Malformed);
        }
        // spec: PKT-9
        if !self.replay.check(number) {
            return Err(PacketDropped::Replayed);
        }
        let keep = self.old_key_time();
        let (head, sealed) = packet.split_at_mut(header_bytes);
        let opened = self.keys.open(now, keep, header.key_phase, number, head, sealed);
        let Some((length, opened)) = opened else {
            if self.keys.is_exhausted() {
                self.reach_key_limit(now, KeyLimit::FailedOpens);
            }
            return Err(PacketDropped::DoesNotOpen);
        };
        if opened == Opened::Renewed {
            self.probes.ask_for_ack();
        }
        packet.advance(header_bytes);
        packet.truncate(length);
        Ok((number, packet.freeze()))
    }

    /// Checks what must hold before a packet counts as received; afterwards it is acked, and its sender
    /// forgets it.
    fn check_room(&self, number: PacketNumber, frames: &[Frame]) -> Result<(), PacketDropped> {
        // The newest that was dropped may come again, and what was taken of it may have moved a position.
        let is_late = self.newest().is_some_and(|newest| number <= newest);
        let mut hold = Hold::default();
        let mut before = None;
        for part in frames.iter().filter_map(MessagePart::of) {
            let MessagePart { place, delivery, .. } = part;
            let Some(stream) = self.receive_streams.get(place.stream) else { continue };
            if is_late && stream.is_ambiguous(&place, delivery, number) {
                return Err(PacketDropped::TooLate);
            }
            // Fragments of one message are adjacent and count once.
            if before.replace((place, delivery)) != Some((place, delivery)) {
                hold = hold.and(stream.would_hold(&part));
            }
        }
        if self.has_room(hold) { Ok(()) } else { Err(PacketDropped::OverBudget) }
    }

    /// Returns whether there is memory for the parts. One message that waits for no other always gets
    /// memory; otherwise the messages that wait for it would keep theirs forever.
    // spec: REL-14
    fn has_room(&self, Hold { bytes, in_turn }: Hold) -> bool {
        bytes == 0
            || self.receive_buffer.has_process_room(bytes)
            || (in_turn && !self.receive_streams.values().any(ReceiveStream::has_incomplete))
    }

    /// Takes as much of a dropped packet as there is memory for. Its sender resends all of it, most likely
    /// together, so a message that others wait for must not be lost with the rest each time.
    // spec: REL-14
    fn take_what_fits(&mut self, now: Timestamp, from: Route, number: PacketNumber, frames: Frames) {
        // A connection delivers nothing before it is established.
        if !self.is_established {
            return;
        }
        for frame in frames {
            let Some(part) = MessagePart::of(&frame) else { continue };
            let stream = self.receive_streams.get(part.place.stream);
            let hold = stream.map(|stream| stream.would_hold(&part));
            if self.has_room(hold.unwrap_or_default())
                && let Err(violation) = self.take_frame(now, from, number, frame)
            {
                return self.violate(now, violation);
            }
        }
    }

    /// Notes what the arrival of a packet says about acks, marks and repairs. Returns the packets whose content it
    /// completes, with that content.
    fn note_arrival(
        &mut self,
        now: Timestamp,
        packet: &PacketIn,
        frames: &[Frame],
    ) -> Vec<(PacketNumber, Bytes)> {
        let PacketIn { number, bytes, .. } = *packet;
        self.repair_encoder.on_received(self.acks.largest().is_none_or(|largest| number.0 == largest + 1));
        let repaired = self.repair_decoder.on_packet(number, frames);
        let eliciting = frames.iter().any(Frame::is_ack_eliciting);
        let prompt = frames.iter().any(|frame| matches!(frame, Frame::Ping));
        let repairable: Vec<_> = repaired.iter().map(|(number, _)| *number).collect();
        self.acks.on_packet(now, number, eliciting, prompt, &repairable);
        if eliciting {
            self.acks.on_bytes(now, bytes);
        }
        // spec: ECN-3
        let ecn = if self.is_on_path(&packet.from) { packet.ecn } else { Ecn::NotEct };
        self.ce_counter.on_received(ecn);
        if ecn == Ecn::Ce {
            self.acks.on_marked(now);
        }
        if frames.iter().any(|frame| matches!(frame, Frame::CeCount(_))) {
            self.marking.on_read();
        }
        repaired
    }

    /// Takes the frames of a packet, then those of the `repaired` packets that it completes.
    fn take_frames(
        &mut self,
        now: Timestamp,
        packet: &PacketIn,
        frames: Frames,
        repaired: Vec<(PacketNumber, Bytes)>,
    ) {
        let PacketIn { number, from, .. } = *packet;
        for frame in frames {
            if let Err(violation) = self.take_frame(now, from, number, frame) {
                self.violate(now, violation);
                return;
            }
        }
        self.repair(now, from, number, repaired);
    }

    /// Delivers the messages of lost packets that packet `by` completed, after its own messages, whose
    /// numbers were checked to be unambiguous before any of these moves a position.
    // spec: FRM-10
    fn repair(
        &mut self,
        now: Timestamp,
        from: Route,
        by: PacketNumber,
        repaired: Vec<(PacketNumber, Bytes)>,
    ) {
        for (repaired, symbol) in repaired {
            // It has arrived, or counts as arrived.
            // spec: FRM-8, PKT-9
            if !self.replay.check(repaired) {
                continue;
            }
            let frames = match symbol::messages(symbol) {
                Ok(frames) => frames,
                Err(violation) => return self.violate(now, violation),
            };
            if self.check_room(repaired, &frames).is_err() {
                self.acks.on_unrepaired(now);
                continue;
            }
            self.counted.packets_repaired += 1;
            self.acks.on_repaired(repaired);
            self.trace_event(now, TraceEvent::PacketRepaired { number: repaired, by });
            for frame in frames {
                if let Err(violation) = self.take_frame(now, from, repaired, frame) {
                    return self.violate(now, violation);
                }
            }
        }
    }

    fn take_frame(
        &mut self,
        now: Timestamp,
        from: Route,
        number: PacketNumber,
        frame: Frame,
    ) -> Result<(), ProtocolViolation> {
        if let Frame::Close(close) = frame {
            self.take_close(now, close);
            return Ok(());
        }
        if self.is_closed() {
            return Ok(());
        }
        match frame {
            Frame::Ping | Frame::Close(_) | Frame::Repair(_) | Frame::Padding(_) => Ok(()),
            Frame::PathChallenge(data) => {
                self.paths.on_challenge(now, from, data);
                self.ce_counter.on_challenge();
                Ok(())
            }
            Frame::PathResponse(data) => {
                self.take_path_response(now, from, data);
                Ok(())
            }
            Frame::Ack(ack) => self.take_ack(now, number, &ack),
            Frame::CeCount(count) => self.take_ce_count(now, count),
            Frame::Message(Message { head: MessageHead::Unreliable, payload }) => {
                self.check_message_bytes(payload.len())?;
                self.events.push_back(Event::Message {
                    stream: None,
                    delivery: Delivery::Unreliable,
                    payload,
                });
                Ok(())
            }
            Frame::Message(Message { head: MessageHead::Numbered { place, delivery }, payload }) => {
                let part = MessagePart::whole(place, delivery, &payload);
                self.take_part(number, part, ReceivedPart::Whole(payload))
            }
            Frame::Fragment(fragment) => {
                self.take_part(number, MessagePart::fragment(&fragment), ReceivedPart::Fragment(fragment))
            }
        }
    }

    fn take_part(
        &mut self,
        packet: PacketNumber,
        MessagePart { place, delivery, message_bytes, .. }: MessagePart,
        part: ReceivedPart,
    ) -> Result<(), ProtocolViolation> {
        self.check_message_bytes(message_bytes)?;
        if !self.open_to_receive(place.stream)? {
            return Ok(());
        }
        // A repaired packet may be newer than all that arrived.
        let largest = self.newest().map_or(packet, |newest| packet.max(newest));
        let Some(stream) = self.receive_streams.get_mut(place.stream) else { return Ok(()) };
        // An earlier frame of this late packet may have moved the position far ahead, past messages that
        // waited. This number was unambiguous before, so the position has passed it and the message was
        // delivered. The packet has been counted by now, so only an older one than the newest is late.
        let is_late = packet < largest;
        if is_late && stream.is_ambiguous(&place, delivery, packet) {
            return Ok(());
        }
        let events = &mut self.events;
        let mut up = |received: Received| {
            let Received { delivery, payload } = received;
            events.push_back(Event::Message { stream: Some(place.stream), delivery, payload });
        };
        let arrival = Arrival { number: place.number, delivery, part, largest };
        stream.receive(arrival, &mut self.receive_buffer, &mut up)
    }

    // spec: FRM-6
    fn check_message_bytes(&self, bytes: usize) -> Result<(), ProtocolViolation> {
        let max = self.max_message_bytes;
        if bytes > max { Err(ProtocolViolation::MessageTooLarge { bytes, max }) } else { Ok(()) }
    }

    /// Opens the stream if the peer has. Returns false for a finished one, whose messages are ignored.
    // spec: STR-4
    fn open_to_receive(&mut self, stream: StreamId) -> Result<bool, ProtocolViolation> {
        if self.receive_streams.contains(stream) {
            return Ok(true);
        }
        if stream.0 < self.opened_below {
            return Ok(false);
        }
        if self.role == Role::Server {
            return Err(ProtocolViolation::UnknownStream(stream));
        }
        // The server opens streams by ascending id, so those in between are also open.
        let opened = (stream.0 - self.opened_below) as usize;
        if self.receive_streams.len() + opened >= MAX_STREAMS {
            return Err(ProtocolViolation::TooManyStreams { max: MAX_STREAMS });
        }
        for id in self.opened_below..=stream.0 {
            self.open_stream(StreamId(id));
        }
        Ok(true)
    }

    /// Takes the peer's CLOSE and answers it once, so that the peer need not repeat it.
    // spec: CON-6
    fn take_close(&mut self, now: Timestamp, close: Close) {
        if let State::Closing(closing) = &mut self.state {
            if closing.on_close() == After::End {
                self.state = State::Closed;
            }
            return;
        }
        let code = CloseCode::from_number(u64::from(close.code)).unwrap_or(CloseCode::None);
        let closed = match code {
            // The peer receives nothing, whatever this end receives.
            CloseCode::IdleTimeout => Closed::TimedOut,
            code => Closed::ByPeer { code, reason: close.reason },
        };
        self.begin_close(now, CloseCode::None, "", closed);
    }
}
