//! Outgoing packets: gather frames, write and seal them.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::BytesMut;
use rand::Rng;
use smallvec::SmallVec;

use super::config::BASE_DATAGRAM_BYTES;
use super::datagram_size::SizeProbe;
use super::outbox::Passed;
use super::path::Probe;
use super::permit::Permit;
use super::sent::{SentFrame, SentFrames};
use super::stream::SendPart;
use super::{Connection, KeyLimit, Role, State};
use crate::base::{Ecn, Envelope, PacketNumber, Route, Timestamp, Truncated, Writer};
use crate::rudp::Payload;
use crate::secure::TAG_BYTES;
use crate::wire::SealedHeader;
use crate::wire::frame::{Ack, Frame, LengthField, MAX_FRAMES, MessageHead, Repair};

/// The content of the next packet, in the order of writing.
#[derive(Default)]
struct Plan {
    /// All frames except those of messages.
    small: SmallVec<[Frame; 3]>,
    parts: SmallVec<[(SendPart, Payload); 8]>,
    sent: SentFrames,
    /// Size of all frames, as if none omitted its length.
    bytes: usize,
    eliciting: bool,
    ecn: Ecn,
}

/// What must leave now.
struct Due {
    ack: bool,
    /// Messages wait and may leave.
    data: bool,
    /// Something that asks for an ack.
    ping: bool,
    /// A REPAIR, even in a packet of its own.
    repair: bool,
    /// A challenge or a response for the active address.
    path: bool,
}

/// Distance from one skipped packet number to the next, 1,000 on average. An ack of a skipped number exposes
/// a peer that guesses. Spec: ACK-7.
const SKIP_AFTER: RangeInclusive<u64> = 1..=1_999;
/// After this many packets that ask for no ack, one that does must follow. Spec: ACK-9.
const MAX_QUIET_PACKETS: u32 = 256;

/// A size probe without an ack is lost after this many probe timeouts.
const SIZE_PROBE_TIMEOUTS: u32 = 2;

/// Flags, connection id, and a number of 4 bytes.
const MAX_HEADER_BYTES: usize = 9;
/// Maximum number of messages and fragments in a packet; its other frames are few.
const MAX_PARTS: usize = MAX_FRAMES - 24;
/// A packet in which this much must be remembered takes no more messages. Runs of messages count as one, and
/// few packets have more than two. What is remembered of sequenced messages is in no budget of memory, and a
/// packet of tiny ones that come from two streams in turns would have a hundred.
const MAX_REMEMBERED: usize = 16;

impl Connection {
    /// Writes the next datagram to `out`, which must be empty, and returns where it goes and how it is
    /// marked; `None` when none is due.
    pub fn poll_transmit(&mut self, now: Timestamp, out: &mut BytesMut) -> Option<Envelope> {
        debug_assert!(out.is_empty(), "one datagram a buffer");
        // spec: KEY-8
        if matches!(self.state, State::Open) && (self.sent.is_used_up() || self.keys.is_worn_out()) {
            self.reach_key_limit(now, KeyLimit::UsedUp);
        }
        match self.state {
            State::Open => self.transmit(now, out),
            State::Closing(_) => self.transmit_close(now, out),
            State::Closed => None,
        }
    }

    fn transmit(&mut self, now: Timestamp, out: &mut BytesMut) -> Option<Envelope> {
        let mut plan = Plan::default();
        if let Some(to) = self.plan_for_pending(now, &mut plan) {
            self.write_packet(now, &mut plan, out);
            self.paths.on_sent_to_pending(out.len());
            return Some(to.into());
        }
        if !self.plan(now, &mut plan) && !self.plan_size_probe(now, &mut plan) {
            return None;
        }
        let (number, probes) = (self.sent.next_number(), self.probes.unanswered());
        plan.ecn = self.marking.mark_next(number, plan.eliciting, probes);
        self.write_packet(now, &mut plan, out);
        Some(Envelope { route: self.paths.active(), ecn: plan.ecn })
    }

    fn transmit_close(&mut self, now: Timestamp, out: &mut BytesMut) -> Option<Envelope> {
        let State::Closing(closing) = &mut self.state else { return None };
        let sending = closing.take(now, self.rtt.probe_timeout(Duration::ZERO))?;
        if sending.is_last {
            self.state = State::Closed;
        }
        let mut plan = Plan::default();
        plan.small.push(Frame::Close(sending.frame));
        self.write_packet(now, &mut plan, out);
        Some(self.paths.for_close(out.len(), sending.prefers_pending).into())
    }

    /// Plans a packet for the address that the peer may have moved to. It counts as one that asks for no ack:
    /// its loss, which is certain when somebody else is there, says nothing about the active path.
    fn plan_for_pending(&mut self, now: Timestamp, plan: &mut Plan) -> Option<Route> {
        let (to, probe) = self.paths.take_for_pending(now)?;
        plan.push(match probe {
            Probe::Challenge(data) => Frame::PathChallenge(data),
            Probe::Response(data) => Frame::PathResponse(data),
        });
        plan.eliciting = false;
        Some(to)
    }

    /// Gathers what is due; returns false when nothing is.
    fn plan(&mut self, now: Timestamp, plan: &mut Plan) -> bool {
        let due = self.due(now);
        if due.any() {
            self.fill(now, plan, &due);
        }
        plan.bytes > 0
    }

    /// Finds out what is due.
    fn due(&mut self, now: Timestamp) -> Due {
        let permit = self.permit(now);
        self.note(now, permit);
        let may_send = permit == Permit::Granted && !self.probes.is_bare_probe_due();
        debug_assert!(self.outbox.is_rightly_stalled(), "what may leave now must be searched for again");
        Due {
            ack: self.acks.deadline().is_some_and(|deadline| deadline <= now),
            data: may_send && self.outbox.may_have_next(),
            ping: self.probes.is_ping_due() || self.quiet_for_long(),
            repair: self.repair_deadline().is_some_and(|deadline| deadline <= now),
            path: self.paths.has_for_active(),
        }
    }

    /// Fills a packet with what is due and with what may ride along.
    fn fill(&mut self, now: Timestamp, plan: &mut Plan, due: &Due) {
        let room = self.datagram_limit() - TAG_BYTES - MAX_HEADER_BYTES;
        if self.acks.is_pending()
            && let Some(ack) = self.acks.take(now)
        {
            plan.push_ack(ack, self.acks.largest().unwrap_or(0));
            if let Some(told) = self.ce_counter.news() {
                plan.sent.push(SentFrame::CeCount(told));
                plan.push(Frame::CeCount(told.count));
            }
        }
        if let Some(data) = self.paths.take_response() {
            plan.push(Frame::PathResponse(data));
        }
        if let Some(data) = self.paths.take_challenge() {
            plan.push(Frame::PathChallenge(data));
        }
        if due.data {
            let is_full = self.plan_messages(plan, room);
            if is_full || !plan.parts.is_empty() {
                self.datagram_size.on_filled(now, is_full);
            }
        }
        if !plan.parts.is_empty() && self.repair_encoder.is_on() {
            self.repair_encoder.on_content(plan.messages());
        }
        // spec: REP-4
        if (due.repair || !plan.parts.is_empty()) && self.has_window() {
            self.plan_repairs(now, plan, room);
        }
        if due.ping && !plan.eliciting {
            plan.push(Frame::Ping);
        }
    }

    /// Returns the largest datagram allowed now. A probe for data in flight must arrive even where large
    /// datagrams no longer do. So must the packets that prove a new address, where the peer accepts no larger
    /// ones.
    // spec: MTU-5, PTH-7
    fn datagram_limit(&self) -> usize {
        let must_arrive = self.probes.is_ping_due() || self.paths.has_for_active();
        if must_arrive { BASE_DATAGRAM_BYTES } else { self.datagram_size.bytes() }
    }

    /// Plans a packet whose only purpose is its size. It counts as one that asks for no ack: its loss says
    /// nothing about the path's capacity. None is sent while nothing is heard from the peer, since nothing
    /// could be learned.
    // spec: MTU-1, MTU-2
    fn plan_size_probe(&mut self, now: Timestamp, plan: &mut Plan) -> bool {
        let Some(probe) = self.datagram_size.next_probe() else { return false };
        if !self.rtt.has_sample() || self.probes.unanswered() > 0 {
            return false;
        }
        let wait = self.rtt.probe_timeout(Duration::ZERO) * SIZE_PROBE_TIMEOUTS;
        self.datagram_size.on_probe_sent(now + wait);
        plan.push(Frame::Ping);
        plan.push(Frame::Padding(self.padding(probe)));
        plan.sent.push(SentFrame::SizeProbe(probe));
        plan.eliciting = false;
        true
    }

    /// Returns the number of zeros that make a packet of PING and PADDING as large as `probe`.
    fn padding(&self, probe: SizeProbe) -> usize {
        let header = self.header(self.sent.next_number().0).encoded_len();
        probe.bytes - header - 2 - TAG_BYTES
    }

    /// Returns when a REPAIR is due in a packet of its own. None is once probes go unanswered: they bring
    /// again what may have been lost.
    // spec: REP-3
    pub(super) fn bare_repair_due(&self) -> Option<Timestamp> {
        let is_silent = self.probes.unanswered() > 1;
        if is_silent { None } else { self.repair_encoder.deadline(self.rtt.smoothed()) }
    }

    fn quiet_for_long(&self) -> bool {
        self.quiet_packets >= MAX_QUIET_PACKETS
    }

    /// Moves what fits from the queues into the packet. Stops at the first item that does not fit, and
    /// returns true, or at the bounds of what a packet of any size holds.
    fn plan_messages(&mut self, plan: &mut Plan, room: usize) -> bool {
        let is_probe = self.probes.is_probe_due();
        let mut passed = if is_probe { Passed::small_first() } else { Passed::default() };
        // spec: REL-9
        if self.sent.is_full() {
            passed = passed.resends_only();
        }
        while let Some(next) = self.outbox.next(&mut passed) {
            let bytes = next.frame_bytes();
            // spec: FRM-2
            let is_at_bounds = plan.parts.len() == MAX_PARTS || plan.sent.len() >= MAX_REMEMBERED;
            if is_at_bounds || plan.bytes + bytes > room {
                return !is_at_bounds;
            }
            plan.bytes += bytes;
            plan.eliciting = true;
            if let Some(frame) = self.outbox.on_sent(&next)
                && !plan.sent.last_mut().is_some_and(|last| last.join(&frame))
            {
                plan.sent.push(frame);
            }
            plan.parts.push((next.part, next.payload));
        }
        if plan.parts.is_empty() && !passed.is_resends_only() {
            self.outbox.stall();
        }
        false
    }

    /// Adds REPAIRs of earlier packets, as far as they fit.
    // spec: REP-2
    fn plan_repairs(&mut self, now: Timestamp, plan: &mut Plan, room: usize) {
        let number = self.sent.next_number();
        let room = room.saturating_sub(plan.bytes);
        let repairs: SmallVec<[Repair; 2]> = if plan.parts.is_empty() {
            self.repair_encoder.for_itself(now, number, room).into_iter().collect()
        } else {
            self.repair_encoder.for_packet(now, number, room)
        };
        for repair in repairs {
            self.counted.repairs_sent += 1;
            plan.push(Frame::Repair(repair));
        }
    }

    /// Returns when a REPAIR must leave even if nothing else does.
    pub(super) fn repair_deadline(&self) -> Option<Timestamp> {
        let deadline = self.bare_repair_due()?;
        (self.has_window() && self.paced_until.is_none()).then_some(deadline)
    }

    pub(super) fn header(&self, number: u64) -> SealedHeader {
        let connection = match self.role {
            Role::Client { id } => Some(id),
            Role::Server => None,
        };
        // spec: PKT-10
        let number =
            if self.sent.span() < 1 << 14 { Truncated::bits16(number) } else { Truncated::bits32(number) };
        SealedHeader { key_phase: self.keys.phase(), connection, number }
    }

    fn write_packet(&mut self, now: Timestamp, plan: &mut Plan, out: &mut BytesMut) {
        if self.keys.is_renewal_due() {
            self.keys.renew(now, self.old_key_time());
        }
        let number = self.sent.next_number();
        let header = self.header(number.0);
        let mut writer = Writer::from(std::mem::take(out));
        header.write(&mut writer);
        let header_bytes = writer.len();
        plan.write(&mut writer);
        let mut packet = writer.into_inner();
        let (head, payload) = packet.split_at_mut(header_bytes);
        let tag = self.keys.seal(number, head, payload);
        packet.extend_from_slice(&tag);
        self.repair_encoder.on_sent(now, number);
        self.trace_sent(now, number, packet.len(), &plan.small, &plan.parts, &plan.sent);
        let sent = std::mem::take(&mut plan.sent);
        self.on_sent(now, packet.len(), plan.eliciting, plan.ecn, sent);
        *out = packet;
    }

    /// Chooses the next number to skip.
    pub(super) fn draw_next_skip(&mut self) {
        let after = self.random.draw(|rng| rng.random_range(SKIP_AFTER));
        self.next_skip = PacketNumber(self.sent.next_number().0 + after);
    }

    fn on_sent(&mut self, now: Timestamp, bytes: usize, eliciting: bool, ecn: Ecn, frames: SentFrames) {
        self.sent.on_sent(now, bytes, eliciting, ecn, frames);
        self.timers.on_sent(now, eliciting);
        if eliciting {
            self.probes.on_asked();
            self.congestion.on_sent(bytes);
        }
        self.quiet_packets = if eliciting { 0 } else { self.quiet_packets + 1 };
        self.counted.packets_sent += 1;
        self.counted.bytes_sent += bytes as u64;
        // spec: ACK-7
        if self.sent.next_number() >= self.next_skip {
            self.sent.skip(now);
            self.draw_next_skip();
        }
        if self.sent.is_overfull() {
            self.resend_lost(now);
        }
    }
}

impl Due {
    fn any(&self) -> bool {
        self.ack || self.data || self.ping || self.repair || self.path
    }
}

impl Plan {
    fn push_ack(&mut self, ack: Ack, largest: u64) {
        self.sent.push(SentFrame::Ack(largest));
        self.push(Frame::Ack(ack));
    }

    fn push(&mut self, frame: Frame) {
        self.bytes += frame.encoded_len(LengthField::Present);
        self.eliciting |= frame.is_ack_eliciting();
        self.small.push(frame);
    }

    /// Returns the whole messages, each with its payload in two pieces.
    fn messages(&self) -> impl Iterator<Item = (MessageHead, [&[u8]; 2])> + Clone {
        self.parts.iter().filter_map(|(part, payload)| match part {
            SendPart::Whole(head) => Some((*head, payload.pieces())),
            SendPart::Fragment(_) => None,
        })
    }

    fn write(&self, writer: &mut Writer) {
        for frame in &self.small {
            frame.write(writer, LengthField::Present);
        }
        for (index, (part, payload)) in self.parts.iter().enumerate() {
            let length_field = LengthField::of_frame(index, self.parts.len());
            match part {
                SendPart::Whole(head) => head.write(writer, payload.len(), length_field),
                SendPart::Fragment(head) => head.write(writer, length_field),
            }
            payload.write_range(0, payload.len(), writer);
        }
    }
}
