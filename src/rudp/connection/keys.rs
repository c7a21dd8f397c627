//! Key phases: which generation of keys seals and opens packets. RFC 9001 §6.

use std::time::Duration;

use super::Connection;
use crate::base::{PacketNumber, Timestamp};
use crate::secure::{OpenKey, PacketKeys, SealKey};

/// The keys of both directions and their renewal. Keys that few connections hold at a time are allocated
/// separately. Spec: KEY-4.
#[repr(C)] // Fields that sealing needs are adjacent.
pub struct KeyPhases {
    phase: bool,
    acked_in_phase: bool,
    sealed: u64,
    renew_after: u64,
    /// First number sealed in this phase, if any.
    first_sealed: Option<u64>,
    seal: SealKey,
    open: OpenKey,
    /// Smallest number opened in this phase, if any.
    first_opened: Option<u64>,
    failed: u64,
    /// Derived when a packet with the other phase bit first needs it.
    next_open: Option<Box<OpenKey>>,
    /// Opens packets that were in flight when the phase changed.
    previous_open: Option<(Box<OpenKey>, Timestamp)>,
    #[cfg(test)]
    phases: u32,
}

/// Keys are renewed after this many packets. Spec: KEY-5.
pub const RENEW_AFTER_PACKETS: u64 = 1 << 22;
/// A connection ends rather than seal more packets than this with one key. Spec: KEY-8.
pub const MAX_SEALED_PACKETS: u64 = 1 << 23;
/// A connection ends after this many packets that did not open. Spec: KEY-6.
pub const MAX_FAILED_OPENS: u64 = 1 << 36;

/// The peer's old key is kept for this many probe timeouts. Spec: KEY-7.
const OLD_KEY_PROBE_TIMEOUTS: u32 = 3;

/// Which key opened a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opened {
    /// The key of the current phase or of the one before it.
    Known,
    /// The next key: both ends are now in a new phase.
    Renewed,
}

impl KeyPhases {
    /// Starts in phase 0 with the handshake's keys.
    pub fn new(keys: PacketKeys) -> Self {
        Self {
            seal: keys.seal,
            open: keys.open,
            next_open: None,
            previous_open: None,
            phase: false,
            sealed: 0,
            renew_after: RENEW_AFTER_PACKETS,
            first_sealed: None,
            first_opened: None,
            acked_in_phase: false,
            failed: 0,
            #[cfg(test)]
            phases: 0,
        }
    }

    /// Prefetches the memory that sealing a packet needs.
    pub fn prefetch_to_seal(&self) {
        self.seal.prefetch();
    }

    /// Prefetches the memory that opening a packet needs.
    pub fn prefetch_to_open(&self) {
        self.open.prefetch();
    }

    /// Returns the phase bit of packets sealed now.
    pub fn phase(&self) -> bool {
        self.phase
    }

    /// Returns whether too many packets did not open.
    pub fn is_exhausted(&self) -> bool {
        self.failed >= MAX_FAILED_OPENS
    }

    /// Returns whether the key has sealed as much as it may and could not be renewed.
    pub fn is_worn_out(&self) -> bool {
        self.sealed >= MAX_SEALED_PACKETS
    }

    /// Releases the memory that the keys use, until they are used again.
    pub fn release_idle_memory(&mut self, now: Timestamp) {
        self.forget_previous(now);
        self.seal.drop_expansion();
        self.open.drop_expansion();
        self.next_open = None;
        if let Some((previous, _)) = &mut self.previous_open {
            previous.drop_expansion();
        }
    }

    /// Wipes the peer's old key once its time is over.
    fn forget_previous(&mut self, now: Timestamp) {
        let is_over = self.previous_open.as_ref().is_some_and(|(_, until)| *until <= now);
        if is_over && self.first_opened.is_some() {
            self.previous_open = None;
        }
    }

    /// Returns whether this end's keys are worn and the peer has acked a packet of this phase.
    // spec: KEY-5
    pub fn is_renewal_due(&self) -> bool {
        self.sealed >= self.renew_after && self.acked_in_phase
    }

    /// Renews this end's keys; the peer's old one is kept for `keep`.
    pub fn renew(&mut self, now: Timestamp, keep: Duration) {
        let next = Box::new(self.open.next());
        self.advance(next, now + keep);
    }

    /// Seals `payload` in place and returns the tag.
    pub fn seal(&mut self, number: PacketNumber, header: &[u8], payload: &mut [u8]) -> [u8; 16] {
        self.sealed += 1;
        self.first_sealed.get_or_insert(number.0);
        self.seal.seal(number, header, payload)
    }

    /// Notes that the peer acked `number`.
    pub fn on_acked(&mut self, number: PacketNumber) {
        if self.first_sealed.is_some_and(|first| number.0 >= first) {
            self.acked_in_phase = true;
        }
    }

    /// Opens `sealed` in place with the key that its phase bit and number select. `keep` is how long the old
    /// key is kept if this starts a new phase. Returns the payload's length, or `None` for a packet that does
    /// not open.
    // spec: KEY-4
    pub fn open(
        &mut self,
        now: Timestamp,
        keep: Duration,
        phase: bool,
        number: PacketNumber,
        header: &[u8],
        sealed: &mut [u8],
    ) -> Option<(usize, Opened)> {
        self.forget_previous(now);
        if phase == self.phase {
            let length = open_with(&mut self.open, number, header, sealed);
            if length.is_some() {
                // Only now is it certain that the peer has left the previous phase.
                if self.first_opened.is_none()
                    && let Some((_, until)) = &mut self.previous_open
                {
                    *until = now + keep;
                }
                self.first_opened = Some(self.first_opened.map_or(number.0, |first| first.min(number.0)));
            }
            return self.counted(length.map(|length| (length, Opened::Known)));
        }
        if let Some((previous, _)) = &mut self.previous_open
            && self.first_opened.is_none_or(|first| number.0 < first)
        {
            let length = open_with(previous, number, header, sealed);
            return self.counted(length.map(|length| (length, Opened::Known)));
        }
        let next = self.next_open.get_or_insert_with(|| Box::new(self.open.next()));
        let length = open_with(next, number, header, sealed);
        if length.is_some()
            && let Some(next) = self.next_open.take()
        {
            self.advance(next, now + keep);
            self.first_opened = Some(number.0);
        }
        self.counted(length.map(|length| (length, Opened::Renewed)))
    }

    fn advance(&mut self, mut next_open: Box<OpenKey>, keep_until: Timestamp) {
        // In place: a move out of the box would leave a copy behind.
        std::mem::swap(&mut self.open, &mut next_open);
        self.previous_open = Some((next_open, keep_until));
        self.seal = self.seal.next();
        self.next_open = None;
        self.phase = !self.phase;
        self.sealed = 0;
        self.first_sealed = None;
        self.first_opened = None;
        self.acked_in_phase = false;
        #[cfg(test)]
        {
            self.phases += 1;
        }
    }

    fn counted(&mut self, opened: Option<(usize, Opened)>) -> Option<(usize, Opened)> {
        if opened.is_none() {
            self.failed += 1;
        }
        opened
    }

    #[cfg(test)]
    pub(super) fn phases(&self) -> u32 {
        self.phases
    }

    #[cfg(any(test, fuzzing, feature = "testing"))]
    pub(super) fn renew_after(&mut self, packets: u64) {
        self.renew_after = packets;
    }

    /// Pretends that `failed` packets did not open.
    #[cfg(any(test, fuzzing))]
    pub(super) fn fail(&mut self, failed: u64) {
        self.failed = failed;
    }

    /// Pretends that `sealed` packets were sealed in this phase.
    #[cfg(any(test, fuzzing))]
    pub(super) fn wear(&mut self, sealed: u64) {
        self.sealed = sealed;
    }
}

fn open_with(key: &mut OpenKey, number: PacketNumber, header: &[u8], sealed: &mut [u8]) -> Option<usize> {
    key.open(number, header, sealed).ok().map(|payload| payload.len())
}

impl Connection {
    /// Returns how long the peer's old key is kept after a renewal.
    pub(super) fn old_key_time(&self) -> Duration {
        self.probe_timeout() * OLD_KEY_PROBE_TIMEOUTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secure::HandshakeSecrets;
    use zeroize::Zeroizing;

    // spec-test: KEY-5
    #[test]
    fn the_key_before_is_wiped_when_its_time_is_over() {
        let secrets =
            HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]));
        let (mut client, mut server) =
            (KeyPhases::new(secrets.client_keys()), KeyPhases::new(secrets.server_keys()));
        let keep = Duration::from_secs(1);
        let carry = |client: &mut KeyPhases, server: &mut KeyPhases, now, number| {
            let mut packet = b"payload".to_vec();
            let tag = client.seal(PacketNumber(number), b"head", &mut packet);
            packet.extend(tag);
            server.open(now, keep, client.phase(), PacketNumber(number), b"head", &mut packet).unwrap()
        };
        assert_eq!(carry(&mut client, &mut server, Timestamp::ZERO, 1), (7, Opened::Known));
        client.renew(Timestamp::ZERO, keep);
        assert_eq!(carry(&mut client, &mut server, Timestamp::ZERO, 2), (7, Opened::Renewed));
        server.release_idle_memory(Timestamp::from_millis(999));
        assert!(server.previous_open.is_some());
        // The client's own renewal has no answer yet, so the end of its old key is unknown.
        client.release_idle_memory(Timestamp::from_millis(5_000));
        assert!(client.previous_open.is_some());
        assert_eq!(carry(&mut client, &mut server, Timestamp::from_millis(1_000), 3), (7, Opened::Known));
        assert!(server.previous_open.is_none());
    }

    // spec-test: KEY-6
    #[test]
    fn a_key_is_exhausted_after_2_to_the_36_packets_that_did_not_open() {
        let secrets =
            HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]));
        let mut keys = KeyPhases::new(secrets.server_keys());
        keys.failed = (1 << 36) - 1;
        assert!(!keys.is_exhausted());
        let mut garbage = [0; 40];
        let opened =
            keys.open(Timestamp::ZERO, Duration::ZERO, false, PacketNumber(1), b"head", &mut garbage);
        assert_eq!(opened, None);
        assert!(keys.is_exhausted());
    }
}
