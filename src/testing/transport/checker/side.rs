//! One end of one connection, from opening to its single close.

use std::time::Duration;

use crate::base::Timestamp;
use crate::rudp::Closed;
use crate::wire::CloseCode;

/// The checker's knowledge of an end.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) state: State,
    /// The code and reason with which its owner closed it.
    pub(super) said: Option<(CloseCode, String)>,
    /// When it was last given a packet that must open: intact and newer than all before.
    pub(super) heard: Option<Timestamp>,
    pub(super) newest: Option<u64>,
    /// When it last sent a packet.
    pub(super) spoke: Option<Timestamp>,
    /// The sender of packets it received is uncertain, because its address was another's before.
    pub(super) is_ambiguous: bool,
    /// It reported a timeout.
    pub(super) timed_out: bool,
    /// It crashed before its close was complete.
    pub(super) is_cut_short: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Unborn,
    Open,
    Closed,
    /// Its process crashed.
    Gone,
}

impl Side {
    /// Records a packet that it was given, the `number`th that its peer sent.
    pub(super) fn heard(&mut self, now: Timestamp, number: u64) {
        if self.newest.is_none_or(|newest| number > newest) {
            self.newest = Some(number);
            self.heard = Some(now);
        }
    }

    /// Returns why the end may not report `closed`, `peer` being the other end; `None` if it may.
    pub(super) fn objection(
        &self,
        now: Timestamp,
        idle: Duration,
        closed: &Closed,
        peer: &Self,
    ) -> Option<String> {
        match closed {
            Closed::Violation(violation) => Some(format!("accuses its peer: {violation}")),
            Closed::KeyLimit(limit) => Some(format!("came to a limit of the keys: {limit}")),
            Closed::Local { code, reason } => {
                let said = self.said.as_ref() == Some(&(*code, reason.clone()));
                (!said).then(|| format!("closed itself ({code}: {reason}), unasked"))
            }
            Closed::ByPeer { code, reason } => {
                let said = peer.said.as_ref() == Some(&(*code, reason.clone()));
                (!said)
                    .then(|| format!("was closed with {code}: {reason}, but its peer said {:?}", peer.said))
            }
            Closed::TimedOut if self.is_ambiguous || peer.timed_out => None,
            Closed::TimedOut => {
                let early = self.heard.filter(|heard| *heard + idle > now)?;
                Some(format!("timed out, but heard its peer at {early:?}"))
            }
        }
    }
}
