//! [`Promises`]: what one end has sent, and what the other may and must receive of it. Spec: STR-2.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rallypoint::base::StreamId;
use rallypoint::wire::Delivery;

/// A stream (`None` for unreliable messages) and a mode; both keyed modes count as one.
type Scope = (Option<StreamId>, u8);

#[derive(Default)]
pub struct Promises {
    /// Number of messages sent in each scope.
    sent: BTreeMap<Scope, u32>,
    received: BTreeSet<(Scope, u32)>,
    /// The last arrival in each stream's order, and of each key.
    last: BTreeMap<(StreamId, Option<u16>), u32>,
    /// The newest message of each key that must arrive, unless a newer one does.
    newest: BTreeMap<(StreamId, u16), u32>,
}

impl Promises {
    /// Returns the bytes of the next message, at least 4. They contain its number and depend on it
    /// throughout, so that mixed-up fragments are detected.
    pub fn next(&self, stream: StreamId, delivery: Delivery, length: usize) -> Bytes {
        payload(self.sent.get(&scope(stream, delivery)).copied().unwrap_or(0), length.max(4))
    }

    /// Records that the message from [`Self::next`] was accepted.
    pub fn on_sent(&mut self, stream: StreamId, delivery: Delivery) {
        let sent = self.sent.entry(scope(stream, delivery)).or_default();
        if let Delivery::ReliableLatest { key } = delivery {
            self.newest.insert((stream, key), *sent);
        }
        *sent += 1;
    }

    pub fn on_received(&mut self, stream: Option<StreamId>, delivery: Delivery, bytes: &[u8]) {
        let number = u32::from_be_bytes(bytes[..4].try_into().expect("every message has 4 bytes"));
        assert_eq!(payload(number, bytes.len()), bytes, "the bytes are those sent");
        let scope = scope(stream.unwrap_or(StreamId(0)), delivery);
        assert_eq!(scope.0, stream);
        assert!(self.sent.get(&scope).is_some_and(|sent| number < *sent), "it was sent");
        assert!(self.received.insert((scope, number)), "nothing comes twice");
        let Some(stream) = stream.filter(|_| delivery != Delivery::ReliableUnordered) else { return };
        let last = self.last.insert((stream, delivery.key()), number);
        match delivery {
            Delivery::ReliableOrdered => assert_eq!(number, last.map_or(0, |last| last + 1)),
            _ => assert!(last.is_none_or(|last| last < number), "a key never goes back"),
        }
    }

    /// Checks that everything reliable has arrived, except on the streams that the receiver ignores.
    pub fn check_kept(&self, is_ignored: impl Fn(StreamId) -> bool) {
        let reliable = [Delivery::ReliableUnordered.mode(), Delivery::ReliableOrdered.mode()];
        for (&scope, &sent) in self.sent.iter().filter(|((_, mode), _)| reliable.contains(mode)) {
            if !scope.0.is_some_and(&is_ignored) {
                let arrived = self.received.range((scope, 0)..=(scope, u32::MAX)).count();
                assert_eq!(arrived, sent as usize, "all on {scope:?} arrive");
            }
        }
        for (&(stream, key), newest) in &self.newest {
            let last = self.last.get(&(stream, Some(key)));
            assert!(last >= Some(newest) || is_ignored(stream), "the newest of {key} on {stream} arrives");
        }
    }
}

fn scope(stream: StreamId, delivery: Delivery) -> Scope {
    let mode = if delivery.key().is_some() { u8::MAX } else { delivery.mode() };
    ((delivery != Delivery::Unreliable).then_some(stream), mode)
}

fn payload(number: u32, length: usize) -> Bytes {
    let mut bytes = number.to_be_bytes().to_vec();
    bytes.extend((4..length).map(|at| (at as u32 ^ number) as u8));
    bytes.into()
}
