//! One end of one connection: its life from opening to the one close.

use std::time::Duration;

use crate::base::Timestamp;
use crate::rudp::Closed;
use crate::wire::CloseCode;

/// What is known of an end.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) state: State,
    /// What its owner closed it with.
    pub(super) said: Option<(CloseCode, String)>,
    /// When it was last given a packet that must open: intact and newer than all before.
    pub(super) heard: Option<Timestamp>,
    pub(super) newest: Option<u64>,
    /// When a packet of it last left.
    pub(super) spoke: Option<Timestamp>,
    /// Who sent what it heard cannot be told: its address was another's before.
    pub(super) is_ambiguous: bool,
    /// It said that it heard nothing of its peer for too long.
    pub(super) timed_out: bool,
    /// It crashed before its end was done.
    pub(super) is_cut_short: bool,
}

/// Where an end stands in its life.
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
    /// It was given a packet, the `number`th that its peer sent.
    pub(super) fn heard(&mut self, now: Timestamp, number: u64) {
        if self.newest.is_none_or(|newest| number > newest) {
            self.newest = Some(number);
            self.heard = Some(now);
        }
    }

    /// Why the end may not be told `closed`, `peer` being the other one; `None` when it may.
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
