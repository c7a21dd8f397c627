//! The peer's feedback on this end's packets: which arrived, and which met congestion.

use super::controller::{Acked, Marked};
use super::sent::{AckOutcome, AckedPacket, LostPacket, SentFrame};
use super::{Connection, ProtocolViolation, TraceEvent};
use crate::base::{PacketNumber, Timestamp};
use crate::wire::frame::Ack;

impl Connection {
    pub(super) fn take_ack(
        &mut self,
        now: Timestamp,
        number: PacketNumber,
        ack: &Ack,
    ) -> Result<(), ProtocolViolation> {
        // spec: ACK-8
        if self.newest_ack_in.is_some_and(|newest| number.0 <= newest) {
            return Ok(());
        }
        self.newest_ack_in = Some(number.0);
        let mut outcome = AckOutcome::default();
        self.sent.on_ack(ack, &mut outcome)?;
        self.repair_encoder.on_ack(|number| self.sent.has_arrived(number));
        self.former_acked = outcome.former_acked;
        self.measure(now, ack, &outcome);
        if let Some(largest) = outcome.largest {
            self.probes.end_series();
            self.keys.on_acked(largest);
        }
        if let Some(number) = outcome.marked {
            self.marking.on_acked(number);
        }
        for &LostPacket { number, .. } in &outcome.spurious {
            self.trace_event(now, TraceEvent::LossWasSpurious { number });
        }
        self.tell_acked(now, &outcome);
        outcome.frames.drain(..).for_each(|frame| self.settle_frame(now, frame));
        outcome.repaired.drain(..).for_each(|message| self.outbox.on_repaired(message));
        self.resend_lost(now);
        Ok(())
    }

    /// Takes the samples that an ack provides: the round-trip time, and how long the peer takes to answer.
    fn measure(&mut self, now: Timestamp, ack: &Ack, outcome: &AckOutcome) {
        let max_ack_delay = self.peer.max_ack_delay();
        if let Some(sent_at) = outcome.largest_sent_at {
            // spec: REL-3
            self.rtt.update(now.since(sent_at), ack.held().min(max_ack_delay));
            self.sent.on_measured();
        }
        if let Some(oldest) = outcome.packets.iter().map(|packet| packet.sent_at).min() {
            self.rtt.on_answer(now.since(oldest), max_ack_delay);
        }
    }

    /// Reports what arrived on this path to the congestion controller, the loss share and the datagram size.
    fn tell_acked(&mut self, now: Timestamp, outcome: &AckOutcome) {
        let held_back = self.congestion.held_back();
        let mut rtt = outcome.largest_sent_at.map(|_| self.rtt.latest());
        self.congestion.tell(self.rtt.smoothed(), |controller| {
            for packet in outcome.spurious.iter().filter(|packet| !packet.is_former) {
                controller.on_spurious();
                self.repair_encoder.loss_mut().on_spurious();
                self.datagram_size.on_acked(packet.bytes);
            }
            for &AckedPacket { bytes, sent_at } in &outcome.packets {
                self.repair_encoder.loss_mut().on_acked();
                self.datagram_size.on_acked(bytes);
                let app_limited = held_back.is_app_limited(sent_at);
                // An ack gives one sample, that of its largest number.
                let rtt = if outcome.largest_sent_at == Some(sent_at) { rtt.take() } else { None };
                controller.on_acked(now, &Acked { bytes, sent_at, rtt, app_limited });
            }
        });
    }

    /// Settles what an arrived packet carried.
    fn settle_frame(&mut self, now: Timestamp, frame: SentFrame) {
        frame.contents().for_each(|(message, fragment)| self.outbox.on_acked(message, fragment));
        match frame {
            SentFrame::Messages(..) | SentFrame::Fragment(..) => {}
            SentFrame::Ack(largest) => self.acks.on_confirmed(largest),
            SentFrame::CeCount(told) => self.ce_counter.on_confirmed(told),
            SentFrame::SizeProbe(probe) => {
                if self.datagram_size.on_probe_acked(now, probe) {
                    self.cut_for_datagrams(now);
                }
            }
        }
    }

    /// Takes the peer's count of this end's packets that met congestion. They may have met it on the former
    /// path, so a count changes nothing before a packet on this path was acked, nor when it comes with an ack
    /// of packets of the former one.
    // spec: ECN-5, ECN-6, PTH-8
    pub(super) fn take_ce_count(&mut self, now: Timestamp, count: u64) -> Result<(), ProtocolViolation> {
        let is_news = self.marking.on_told(count, self.sent.next_number().0)?;
        if is_news && self.sent.has_acked_on_path() && !self.former_acked {
            let newest_sent_at = self.sent.largest_acked_at();
            let app_limited = self.congestion.held_back().is_app_limited(newest_sent_at);
            let marked = Marked { newest_sent_at, app_limited };
            self.congestion.tell(self.rtt.smoothed(), |controller| controller.on_marked(now, &marked));
        }
        Ok(())
    }

    /// Cuts messages for the new datagram size of the path.
    pub(super) fn cut_for_datagrams(&mut self, now: Timestamp) {
        let bytes = self.datagram_size.bytes();
        self.outbox.cut_for(bytes);
        self.trace_event(now, TraceEvent::DatagramSizeUpdated { bytes });
    }
}
