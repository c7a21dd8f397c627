//! [`Phase`]: where a session is in its life.
//!
//! | phase | its members | who enters | counts in the table | follows |
//! |---|---|---|---|---|
//! | active | some, or the creator enters | is admitted | yes | empty, when the last one leaves; ended |
//! | empty | none | is admitted, until its idle time is over | yes | active; claimed; ended |
//! | claimed | none | gets `busy` | as the new session | empty, if that is refused; replaced; ended |
//! | replaced | none | gets `no_such_session` | no | ended, by the keeper of its stripe |
//! | ended | none | | | the table removes it in the same turn |
//!
//! Every phase that is followed by *ended* may also be ended early: by the owner or the operator. An empty
//! session is claimed while another one, which is to take its place, is being created.

use crate::base::Timestamp;
use crate::wire::ErrorCode;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Active,
    /// Until this time.
    Empty(Timestamp),
    /// As an empty session, until this time.
    Claimed(Timestamp),
    /// Since this time.
    Replaced(Timestamp),
    Ended,
}

impl Phase {
    /// A user enters.
    pub(super) fn enter(&mut self) {
        *self = Self::Active;
    }

    /// The last member has left.
    pub(super) fn empty(&mut self, until: Timestamp) {
        *self = Self::Empty(until);
    }

    /// Another session is to take the place of this one, if it is empty. Returns true if it was.
    pub(super) fn claim(&mut self) -> bool {
        let Self::Empty(until) = *self else { return false };
        *self = Self::Claimed(until);
        true
    }

    /// The session that claimed this one was created, or refused.
    pub(super) fn settle_claim(&mut self, now: Timestamp, created: bool) {
        if let Self::Claimed(until) = *self {
            *self = if created { Self::Replaced(now.min(until)) } else { Self::Empty(until) };
        }
    }

    pub(super) fn end(&mut self) {
        *self = Self::Ended;
    }

    /// Returns when the session ends because it is empty.
    pub(super) fn idle_ends(self) -> Option<Timestamp> {
        match self {
            Self::Empty(ends) | Self::Claimed(ends) | Self::Replaced(ends) => Some(ends),
            Self::Active | Self::Ended => None,
        }
    }

    /// Checks that a user may enter, even if nothing has ended the session yet.
    ///
    /// # Errors
    /// `no_such_session`; `busy` while it is undecided whether another session takes its place.
    // spec: SES-5, SES-16
    pub(super) fn check(self, now: Timestamp) -> Result<(), ErrorCode> {
        match self {
            Self::Empty(ends) | Self::Claimed(ends) if ends <= now => Err(ErrorCode::NoSuchSession),
            Self::Replaced(_) | Self::Ended => Err(ErrorCode::NoSuchSession),
            Self::Claimed(_) => Err(ErrorCode::Busy),
            Self::Active | Self::Empty(_) => Ok(()),
        }
    }

    /// Returns true if the session counts in the table, false if another one counts in its place.
    pub(super) fn is_counted(self) -> bool {
        !matches!(self, Self::Claimed(_) | Self::Replaced(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    // spec-test: SES-5
    #[test]
    fn an_empty_session_can_be_entered_until_its_time_is_over() {
        let mut phase = Phase::Active;
        assert_eq!((phase.idle_ends(), phase.claim()), (None, false));
        phase.empty(at(10));
        assert_eq!((phase.idle_ends(), phase.check(at(9))), (Some(at(10)), Ok(())));
        assert_eq!(phase.check(at(10)), Err(ErrorCode::NoSuchSession));
        phase.enter();
        assert_eq!((phase.idle_ends(), phase.check(at(10))), (None, Ok(())));
    }

    // spec-test: SES-5, SES-16
    #[test]
    fn a_claim_is_withdrawn_or_ends_the_session() {
        let mut phase = Phase::Empty(at(10));
        assert!(phase.claim() && !phase.claim() && !phase.is_counted());
        assert_eq!(
            [9, 10].map(|now| phase.check(at(now))),
            [ErrorCode::Busy, ErrorCode::NoSuchSession].map(Err)
        );
        phase.settle_claim(at(5), false);
        assert_eq!((phase, phase.is_counted()), (Phase::Empty(at(10)), true));
        phase.claim();
        phase.settle_claim(at(5), true);
        assert_eq!((phase.idle_ends(), phase.is_counted()), (Some(at(5)), false));
        assert_eq!(phase.check(at(5)), Err(ErrorCode::NoSuchSession));
        phase.settle_claim(at(6), false);
        assert_eq!(phase, Phase::Replaced(at(5)), "it was settled before");
    }
}
