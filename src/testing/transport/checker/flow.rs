//! One direction of one connection: the messages sent, the results of `send`, and the messages that arrived.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::base::StreamId;
use crate::rudp::{SendError, Sent};
use crate::testing::checker::Life;
use crate::testing::issues::Issues;
use crate::testing::transport::message::{End, NAME_BYTES, Name};
use crate::wire::Delivery;

/// Checks one direction against the promises of the delivery modes.
pub(super) struct Flow {
    seed: u64,
    life: Life,
    from: End,
    sent: BTreeMap<u32, Sending>,
    refused: BTreeMap<u32, SendError>,
    lanes: BTreeMap<Lane, Track>,
    /// Messages too short for a name, by payload.
    nameless: BTreeMap<(Lane, Bytes), Vec<u32>>,
    /// Streams that the receiver has finished: messages sent on them need not arrive any more.
    ended: BTreeSet<StreamId>,
    /// Messages with this serial and later ones must arrive in every mode.
    all_from: u32,
    arrived: u64,
}

/// A message that `send` accepted.
#[derive(Debug)]
struct Sending {
    lane: Lane,
    delivery: Delivery,
    bytes: usize,
    has_arrived: bool,
}

/// Messages that share an order, or a mode without order, on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Unreliable,
    Unordered(StreamId),
    Ordered(StreamId),
    /// Both keyed modes: they share a key's order.
    Keyed(StreamId, u16),
}

/// The messages of a lane.
#[derive(Debug, Default)]
struct Track {
    /// In sending order.
    sent: Vec<u32>,
    /// Number of arrived messages; used for an ordered lane.
    arrived: usize,
    newest: Option<u32>,
    /// The newest message that the last one to arrive may be, since several may have the same payload.
    newest_alike: Option<u32>,
}

impl Flow {
    pub(super) fn new(seed: u64, life: Life, from: End) -> Self {
        Self {
            seed,
            life,
            from,
            sent: BTreeMap::new(),
            refused: BTreeMap::new(),
            lanes: BTreeMap::new(),
            nameless: BTreeMap::new(),
            ended: BTreeSet::new(),
            all_from: u32::MAX,
            arrived: 0,
        }
    }

    /// Returns the number of messages that have arrived.
    pub(super) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Records the result of `send` for the message `serial`.
    pub(super) fn sent(
        &mut self,
        serial: u32,
        (stream, delivery, payload): (StreamId, Delivery, &Bytes),
        answer: Result<Sent, SendError>,
        issues: &mut Issues,
    ) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.refused.insert(serial, error);
                return;
            }
        };
        let lane = Lane::of(stream, delivery);
        let track = self.lanes.entry(lane).or_default();
        if answer == Sent::Superseded && (track.sent.is_empty() || delivery.key().is_none()) {
            self.report(
                issues,
                format_args!("message {serial} superseded one, but is the first of {lane:?}"),
            );
            return;
        }
        track.sent.push(serial);
        if payload.len() < NAME_BYTES {
            self.nameless.entry((lane, payload.clone())).or_default().push(serial);
        }
        let sending = Sending { lane, delivery, bytes: payload.len(), has_arrived: false };
        self.sent.insert(serial, sending);
    }

    /// Records that the receiver has finished `stream`, after which nothing may arrive on it.
    pub(super) fn ended(&mut self, stream: StreamId) {
        self.ended.insert(stream);
    }

    /// Records a message that the receiver was handed.
    pub(super) fn receive(
        &mut self,
        stream: Option<StreamId>,
        delivery: Delivery,
        payload: &Bytes,
        issues: &mut Issues,
    ) {
        self.arrived += 1;
        let lane = Lane::of(stream.unwrap_or(StreamId::CONTROL), delivery);
        if stream.is_none() != (lane == Lane::Unreliable) {
            self.report(issues, format_args!("{delivery:?} arrived on {stream:?}"));
        }
        if stream.is_some_and(|stream| self.ended.contains(&stream)) {
            self.report(issues, format_args!("{delivery:?} arrived on {stream:?}, which had ended"));
        }
        match self.identify(lane, delivery, payload) {
            Ok(serial) => {
                self.take(serial, lane, delivery, issues);
                let alike = self.alike(lane, delivery, payload).last().or(Some(serial));
                self.lanes.entry(lane).or_default().newest_alike = alike;
            }
            Err(issue) => self.report(issues, issue),
        }
    }

    /// Returns which message `payload` belongs to.
    fn identify(&self, lane: Lane, delivery: Delivery, payload: &Bytes) -> Result<u32, String> {
        let bytes = payload.len();
        let Some(name) = Name::read(payload) else {
            // Which of several identical messages arrived does not matter: if any choice keeps the promises,
            // the oldest one that fits does.
            return self
                .alike(lane, delivery, payload)
                .find(|serial| self.fits(lane, *serial))
                .ok_or_else(|| format!("{bytes} bytes arrived in {lane:?} that were not sent, or twice"));
        };
        if name.life != self.life || name.from != self.from {
            return Err(format!("a message of another connection arrived: {name:?}"));
        }
        if let Some(error) = self.refused.get(&name.serial) {
            return Err(format!("message {} arrived, but `send` said: {error}", name.serial));
        }
        match self.sent.get(&name.serial) {
            None => Err(format!("message {} arrived, which was not sent", name.serial)),
            Some(sent) if sent.bytes != bytes || name.payload(self.seed, bytes) != payload => {
                Err(format!("message {} arrived damaged, {bytes} of {} bytes", name.serial, sent.bytes))
            }
            Some(_) => Ok(name.serial),
        }
    }

    /// Returns the messages without a name that have this payload, oldest first.
    fn alike(&self, lane: Lane, delivery: Delivery, payload: &Bytes) -> impl Iterator<Item = u32> {
        let serials = self.nameless.get(&(lane, payload.clone())).into_iter().flatten().copied();
        serials
            .filter(move |serial| self.sent.get(serial).is_some_and(|sending| sending.delivery == delivery))
    }

    /// Whether the message may arrive now.
    fn fits(&self, lane: Lane, serial: u32) -> bool {
        let Some(track) = self.lanes.get(&lane) else { return false };
        match lane {
            Lane::Unreliable | Lane::Unordered(_) => {
                self.sent.get(&serial).is_some_and(|sending| !sending.has_arrived)
            }
            Lane::Ordered(_) => track.sent.get(track.arrived) == Some(&serial),
            Lane::Keyed(..) => track.newest.is_none_or(|newest| newest < serial),
        }
    }

    fn take(&mut self, serial: u32, lane: Lane, delivery: Delivery, issues: &mut Issues) {
        let fits = self.fits(lane, serial);
        let Some(sending) = self.sent.get_mut(&serial) else { return };
        let (sent, again) = (sending.delivery, std::mem::replace(&mut sending.has_arrived, true));
        let is_right = sending.lane == lane && sent == delivery;
        let track = self.lanes.entry(lane).or_default();
        let (before, next) = (track.newest, track.sent.get(track.arrived).copied());
        track.newest = before.max(Some(serial));
        track.arrived += 1;
        if !is_right {
            self.report(issues, format_args!("message {serial}, {sent:?}, arrived as {delivery:?}"));
        } else if again {
            self.report(issues, format_args!("message {serial} ({delivery:?}) arrived twice"));
        } else if !fits {
            let when = format_args!("after {before:?}, next was {next:?}").to_string();
            self.report(issues, format_args!("message {serial} ({delivery:?}) arrived out of order: {when}"));
        }
    }

    /// Requires that from now on everything arrives, in every mode.
    pub(super) fn expect_all(&mut self) {
        let newest = self.sent.keys().chain(self.refused.keys()).max();
        self.all_from = newest.map_or(0, |newest| newest + 1);
    }

    /// Checks that everything that must arrive has arrived; both ends live and nothing is in flight.
    pub(super) fn finish(&self, issues: &mut Issues) {
        for (serial, sending) in &self.sent {
            let must =
                matches!(sending.lane, Lane::Unordered(_) | Lane::Ordered(_)) || *serial >= self.all_from;
            if must && !sending.has_arrived && !self.has_ended(sending.lane) {
                self.report(issues, format_args!("message {serial} never arrived: {sending:?}"));
            }
        }
        for (lane, track) in &self.lanes {
            let Lane::Keyed(..) = lane else { continue };
            // A newer unreliable message replaces it only when it arrives.
            let is_reliable =
                |serial: &&u32| self.sent.get(*serial).is_some_and(|sending| sending.delivery.is_reliable());
            let newest = track.sent.iter().rev().find(is_reliable);
            if newest.is_some_and(|newest| track.newest_alike < Some(*newest)) && !self.has_ended(*lane) {
                self.report(
                    issues,
                    format_args!("message {newest:?}, the newest of {lane:?}, never arrived"),
                );
            }
        }
    }

    fn has_ended(&self, lane: Lane) -> bool {
        match lane {
            Lane::Unreliable => false,
            Lane::Unordered(stream) | Lane::Ordered(stream) | Lane::Keyed(stream, _) => {
                self.ended.contains(&stream)
            }
        }
    }

    fn report(&self, issues: &mut Issues, issue: impl std::fmt::Display) {
        issues.add(format_args!("{:?} from {:?}: {issue}", self.life, self.from));
    }
}

impl Lane {
    fn of(stream: StreamId, delivery: Delivery) -> Self {
        match delivery {
            Delivery::Unreliable => Self::Unreliable,
            Delivery::ReliableUnordered => Self::Unordered(stream),
            Delivery::ReliableOrdered => Self::Ordered(stream),
            Delivery::Sequenced { key } | Delivery::ReliableLatest { key } => Self::Keyed(stream, key),
        }
    }
}
