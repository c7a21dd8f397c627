//! The calls from a connection to its trace.

use smallvec::SmallVec;

use super::{Metrics, Trace, TraceEvent, TracedFrame, TracedPlace};
use crate::base::{PacketNumber, Timestamp};
use crate::rudp::Payload;
use crate::rudp::connection::Connection;
use crate::rudp::connection::ecn::EcnState;
use crate::rudp::connection::receive::PacketIn;
use crate::rudp::connection::sent::{LostPacket, SentFrame};
use crate::rudp::connection::stream::SendPart;
use crate::wire::Delivery;
use crate::wire::frame::{Ack, CLEAN_ACK_NUMBERS, Frame, Lags, Message, MessageHead, Place, Repair};

/// A trace and what was last reported to it, so that only changes are reported.
pub struct Tracing {
    trace: Box<dyn Trace>,
    /// When the connection began, until that has been reported.
    began: Option<Timestamp>,
    key_phase: bool,
    metrics: Option<Metrics>,
    ecn_state: EcnState,
    loss_timer: Option<Timestamp>,
}

type Frames = SmallVec<[TracedFrame; 8]>;

impl Tracing {
    fn tell(&mut self, now: Timestamp, event: &TraceEvent<'_>) {
        if let Some(began) = self.began.take() {
            self.trace.event(began, &TraceEvent::Started);
        }
        self.trace.event(now, event);
    }

    /// Reports a key update. Keys are renewed while a packet is sealed or opened; the phase shows it, and it
    /// is reported before the packet.
    fn tell_key_phase(&mut self, now: Timestamp, phase: bool, by_peer: bool) {
        if std::mem::replace(&mut self.key_phase, phase) != phase {
            self.tell(now, &TraceEvent::KeyUpdated { by_peer });
        }
    }
}

impl Connection {
    /// Reports everything that happens from now on to `trace`; the connection began at `began`. Must be
    /// called before the first packet.
    pub fn set_trace(&mut self, began: Timestamp, trace: Box<dyn Trace>) {
        self.trace = Some(Box::new(Tracing {
            trace,
            began: Some(began),
            key_phase: self.keys.phase(),
            metrics: None,
            ecn_state: self.marking.state(),
            loss_timer: None,
        }));
    }

    /// Reports an event that needs no preparation.
    pub(in crate::rudp::connection) fn trace_event(&mut self, now: Timestamp, event: TraceEvent<'_>) {
        if let Some(tracing) = &mut self.trace {
            tracing.tell(now, &event);
        }
    }

    /// Reports a packet that is about to leave: its frames without payload, its messages, and their full
    /// numbers.
    pub(in crate::rudp::connection) fn trace_sent(
        &mut self,
        now: Timestamp,
        number: PacketNumber,
        bytes: usize,
        small: &[Frame],
        parts: &[(SendPart, Payload)],
        sent: &[SentFrame],
    ) {
        let Some(tracing) = &mut self.trace else { return };
        let acked = self.acks.largest().unwrap_or(0);
        let mut frames: Frames = small.iter().map(|frame| traced(frame, number, acked)).collect();
        let mut numbers = sent.iter().flat_map(SentFrame::contents).map(|(message, _)| message.number);
        frames.extend(parts.iter().map(|(part, payload)| {
            let placed = !matches!(part, SendPart::Whole(MessageHead::Unreliable));
            traced_part(*part, payload.len(), if placed { numbers.next() } else { None })
        }));
        let eliciting = !parts.is_empty() || small.iter().any(Frame::is_ack_eliciting);
        tracing.tell_key_phase(now, self.keys.phase(), false);
        tracing.tell(now, &TraceEvent::PacketSent { number, bytes, eliciting, frames: &frames });
    }

    /// Reports a packet that was accepted, before its frames are processed.
    pub(in crate::rudp::connection) fn trace_received(
        &mut self,
        now: Timestamp,
        packet: &PacketIn,
        frames: &[Frame],
    ) {
        let Some(tracing) = &mut self.trace else { return };
        let PacketIn { number, ecn, bytes, .. } = *packet;
        let sent = self.sent.next_number().0.saturating_sub(1);
        let frames: Frames = frames.iter().map(|frame| traced(frame, number, sent)).collect();
        tracing.tell_key_phase(now, self.keys.phase(), true);
        tracing.tell(now, &TraceEvent::PacketReceived { number, bytes, ecn, frames: &frames });
    }

    /// Reports losses, when to check again, and the estimates, after acks or after time has passed.
    pub(in crate::rudp::connection) fn trace_recovery(
        &mut self,
        now: Timestamp,
        lost: &[LostPacket],
        due: Option<Timestamp>,
    ) {
        let Some(tracing) = &mut self.trace else { return };
        for &LostPacket { number, .. } in lost {
            tracing.tell(now, &TraceEvent::PacketLost { number });
        }
        if std::mem::replace(&mut tracing.loss_timer, due) != due {
            tracing.tell(now, &TraceEvent::LossTimerUpdated { due });
        }
        let state = self.marking.state();
        if std::mem::replace(&mut tracing.ecn_state, state) != state {
            tracing.tell(now, &TraceEvent::EcnStateUpdated { state });
        }
        let metrics = Metrics {
            smoothed_rtt: self.rtt.smoothed(),
            latest_rtt: self.rtt.latest(),
            rtt_variance: self.rtt.variation(),
            min_rtt: self.rtt.minimum(),
            congestion_window: self.congestion.window_bytes(),
            bytes_in_flight: self.sent.bytes_in_flight(),
            queued_bytes: self.outbox.queued_bytes(),
            probes: self.probes.unanswered(),
        };
        if tracing.metrics.replace(metrics) != Some(metrics) {
            tracing.tell(now, &TraceEvent::MetricsUpdated(metrics));
        }
    }
}

/// Describes a frame of packet `packet`; acks in it name numbers near `acked`.
fn traced(frame: &Frame, packet: PacketNumber, acked: u64) -> TracedFrame {
    match frame {
        Frame::Ping => TracedFrame::Ping,
        Frame::PathChallenge(_) => TracedFrame::PathChallenge,
        Frame::PathResponse(_) => TracedFrame::PathResponse,
        Frame::Close(close) => TracedFrame::Close { code: close.code },
        Frame::Repair(repair) => traced_repair(repair, packet),
        Frame::CeCount(count) => TracedFrame::CeCount { count: *count },
        Frame::Padding(zeros) => TracedFrame::Padding { bytes: *zeros },
        Frame::Ack(ack) => TracedFrame::Ack {
            runs: runs(ack, acked),
            held: ack.held(),
            repaired: below(ack.largest.expand(acked), &ack.repaired),
        },
        Frame::Message(Message { head, payload }) => traced_part(SendPart::Whole(*head), payload.len(), None),
        Frame::Fragment(fragment) => {
            traced_part(SendPart::Fragment(fragment.head), fragment.payload.len(), None)
        }
    }
}

fn traced_repair(repair: &Repair, packet: PacketNumber) -> TracedFrame {
    TracedFrame::Repair { packets: below(packet.0, &repair.lags), bytes: repair.symbol.len() }
}

fn below(number: u64, lags: &Lags) -> SmallVec<[u64; 4]> {
    lags.iter().map(|lag| number.saturating_sub(u64::from(*lag))).collect()
}

fn traced_part(part: SendPart, bytes: usize, number: Option<u64>) -> TracedFrame {
    let place = |place: &Place| TracedPlace {
        stream: place.stream,
        number: number.unwrap_or_else(|| place.number.expand(0)),
    };
    match part {
        SendPart::Whole(MessageHead::Unreliable) => {
            TracedFrame::Message { place: None, delivery: Delivery::Unreliable, bytes }
        }
        SendPart::Whole(MessageHead::Numbered { place: at, delivery }) => {
            TracedFrame::Message { place: Some(place(&at)), delivery, bytes }
        }
        SendPart::Fragment(head) => TracedFrame::Fragment {
            place: place(&head.place),
            delivery: head.delivery,
            index: head.index,
            count: head.count,
            bytes: head.payload_bytes(),
        },
    }
}

/// Returns the runs that an ack names, as far as its numbers are valid: a peer may send others.
fn runs(ack: &Ack, near: u64) -> SmallVec<[(u64, u64); 4]> {
    let mut last = ack.largest.expand(near);
    let mut found = SmallVec::new();
    let Some((first, runs)) = &ack.runs else {
        found.push((last.saturating_sub(CLEAN_ACK_NUMBERS - 1), last));
        return found;
    };
    let mut floor = last.saturating_sub(first - 1);
    found.push((floor, last));
    for run in runs {
        let Some(next) = floor.checked_sub(run.gap + 1) else { break };
        last = next;
        floor = last.saturating_sub(run.run - 1);
        found.push((floor, last));
    }
    found
}
