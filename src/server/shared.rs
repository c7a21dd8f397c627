//! State that the workers of one server share. Every part has its own locks. At most two are held at once,
//! only in these orders: a stripe of the session table and then the table's `parked`; a stripe of the table
//! or of the directory and then a mailbox, which is always the last.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tracing::{debug, error, info};

use super::config;
use super::counters::{Totals, WorkerCounters};
use super::directory::{Directory, DirectoryLimits};
use super::limits::{Limits, size};
use super::mail::{Mail, Word};
use super::mailbox::Mailboxes;
use super::newcomer::{Admit, Gatekeeper, Newcomer};
use super::observer::{Observe, ServerEvent};
use super::population::Population;
use crate::base::sync::{AtomicU64, AtomicUsize};
use crate::base::{SessionId, Timestamp, UserId, WorkerId};
use crate::secure::TokenLedger;
use crate::session::SessionTable;
use crate::wire::Reason;

/// Log target of connects and disconnects, so that a filter can leave them out.
const CONNECTIONS: &str = "rallypoint::connections";
/// Log target of what happens to sessions. A user within the limits may begin and end several a second.
const SESSIONS: &str = "rallypoint::sessions";

/// The state that all workers share.
pub struct Shared {
    /// The sessions.
    pub sessions: SessionTable,
    /// The users.
    pub directory: Directory,
    /// The mailboxes of the workers.
    pub mailboxes: Mailboxes,
    /// Number of users that each worker serves.
    pub population: Population,
    /// The tokens in use.
    pub ledger: Arc<TokenLedger>,
    /// The server's limits.
    pub limits: Limits,
    /// Decides who may connect; `None` admits everyone.
    admit: Option<Box<Gatekeeper>>,
    /// Receives the server's events, if set.
    observe: Option<Box<Observe>>,
    counters: Box<[WorkerCounters]>,
    /// Latest end of the drain in µs; [`u64::MAX`] while the server serves.
    drain_until: AtomicU64,
    /// Accepted decisions of the operator that no worker has carried out yet.
    decisions: AtomicUsize,
    /// Number of workers that drain.
    draining: AtomicUsize,
    /// Number of those that have nobody left to notify.
    drained: AtomicUsize,
}

/// Stripes per worker, of the sessions and of the users; together they are a power of two.
///
/// With `w` workers, each of which holds a lock for a share `f` of its time, a command finds its stripe
/// locked with a probability of `(w - 1) * f / stripes`: below `f / 64`, however many workers there are. A
/// command holds its stripe for 0.1 to 0.3 µs of the microseconds that it costs (`benches/table.rs`), so `f`
/// is at most a tenth, and one command in 640 waits. More stripes need more cache: 128 bytes each.
const STRIPES_PER_WORKER: usize = 64;

/// Tokens that the ledger remembers for each connection that the server may hold: within ten minutes a user
/// may connect more than once.
const TOKENS_PER_CONNECTION: usize = 4;
/// Minimum number of tokens that the ledger remembers: users of a small server reconnect as well.
const MIN_TOKENS: usize = 65_536;

impl Shared {
    /// Creates the state of a server with `workers` workers, before anyone has connected.
    pub fn new(limits: Limits, workers: u8, rng: &mut StdRng) -> Self {
        let stripes = STRIPES_PER_WORKER * usize::from(workers.max(1)).next_power_of_two();
        let tokens = size(limits.max_connections).saturating_mul(TOKENS_PER_CONNECTION);
        Self {
            sessions: SessionTable::new(stripes, workers, config::sessions(&limits), StdRng::from_rng(rng)),
            directory: Directory::new(stripes, DirectoryLimits::from(&limits)),
            mailboxes: Mailboxes::new(workers, size(limits.mailbox_capacity)),
            ledger: Arc::new(TokenLedger::new(tokens.max(MIN_TOKENS))),
            counters: (0..workers).map(|_| WorkerCounters::default()).collect(),
            drain_until: AtomicU64::new(u64::MAX),
            decisions: AtomicUsize::new(0),
            draining: AtomicUsize::new(0),
            drained: AtomicUsize::new(0),
            population: Population::new(workers),
            admit: None,
            observe: None,
            limits,
        }
    }

    /// Returns the counters of all workers.
    pub fn totals(&self) -> Totals {
        Totals::of(self.sessions.len() as u64, self.counters.iter())
    }

    /// Returns the counters of one worker.
    pub fn counters(&self, worker: WorkerId) -> &WorkerCounters {
        self.counters.get(usize::from(worker.0)).expect("invariant: made for every worker")
    }

    /// Lets `admit` decide who may connect.
    pub(super) fn admitting_by(self, admit: Option<Box<Gatekeeper>>) -> Self {
        Self { admit, ..self }
    }

    /// Sends the server's events to `observe`.
    pub(super) fn observed_by(self, observe: Option<Box<Observe>>) -> Self {
        Self { observe, ..self }
    }

    /// Passes an event to the log and to the surrounding program. A panic of the latter is logged and ends
    /// nothing.
    pub fn tell(&self, event: &ServerEvent<'_>) {
        // Ids and reasons are text from others. As values they are quoted and escaped, so that none can forge
        // a log line.
        match event {
            ServerEvent::SessionBegan { session, kind, owner } => {
                info!(target: SESSIONS, %session, kind = kind.0, owner = owner.as_str(), "session began");
            }
            ServerEvent::SessionEnded { session, why, .. } => {
                info!(target: SESSIONS, %session, why = why.name(), "session ended");
            }
            ServerEvent::MemberJoined { session, member, user } => {
                debug!(target: SESSIONS, %session, member = member.0, user = user.as_str(), "joined");
            }
            ServerEvent::MemberLeft { session, member, user, why } => {
                let (user, why) = (user.as_str(), why.name());
                debug!(target: SESSIONS, %session, member = member.0, user, why, "left");
            }
            ServerEvent::Connected { user, address, .. } => {
                info!(target: CONNECTIONS, user = user.as_str(), %address, "connected");
            }
            ServerEvent::Disconnected { user, why, code, .. } => {
                let (user, why, code) = (user.as_str(), why.name(), code.name());
                info!(target: CONNECTIONS, user, why, code, "disconnected");
            }
        }
        if let Some(observe) = &self.observe
            && panic::catch_unwind(AssertUnwindSafe(|| observe(event))).is_err()
        {
            error!("`observe` has panicked");
        }
    }

    /// Returns whether a newcomer with a valid token may connect. If the application's code panics, the
    /// newcomer is denied; the connections of all others continue.
    pub fn admits(&self, newcomer: &Newcomer<'_>) -> Admit {
        let Some(admit) = &self.admit else { return Admit::Yes };
        panic::catch_unwind(AssertUnwindSafe(|| admit(newcomer))).unwrap_or_else(|_| {
            error!(user = newcomer.user.as_str(), "`admit` has panicked: the user is not let in");
            Admit::Denied
        })
    }

    /// Makes a worker end the session; false if it does not exist, or if the server drains: sessions keep
    /// their last state then.
    pub fn close_session(&self, session: SessionId, reason: Reason) -> bool {
        self.decide(session, || {
            self.sessions.look_at(session).map(|_| Mail::CloseSession { session, reason })
        })
    }

    /// Makes a worker remove the user from the session; false if the user is not in it, or if the server
    /// drains.
    pub fn remove_member(&self, session: SessionId, user: &UserId, reason: Reason) -> bool {
        self.decide(session, || {
            let members = self.sessions.members(session)?;
            let is_there = members.iter().any(|member| member.user == *user);
            is_there.then(|| Mail::RemoveMember { session, user: user.clone(), reason })
        })
    }

    /// Posts a decision about a session, unless there is none or the server drains. While the drain has time
    /// left, no worker begins it before the decision is carried out: that is counted before the drain is
    /// looked for, and a worker looks for the drain before it looks at the count.
    fn decide(&self, session: SessionId, decision: impl FnOnce() -> Option<Mail>) -> bool {
        self.decisions.fetch_add(1, Ordering::SeqCst);
        let decision = if self.drain_until().is_none() { decision() } else { None };
        match decision {
            Some(mail) => self.post_for(session, mail),
            None => {
                self.decided();
                return false;
            }
        }
        true
    }

    /// Notes that a decision has been carried out, and its mail posted. A drain that waited for it begins.
    pub fn decided(&self) {
        let one_less = |decisions: usize| decisions.checked_sub(1);
        let before = self.decisions.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        if before == Ok(1) && self.drain_until().is_some() {
            self.wake_all();
        }
    }

    /// Returns true while a decision that was accepted has not been carried out.
    pub fn has_decisions(&self) -> bool {
        self.decisions.load(Ordering::SeqCst) > 0
    }

    /// Lets the drain begin without the decisions: the worker that has them may have failed.
    pub fn give_up_decisions(&self) {
        let _ = self.decisions.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |_| Some(0));
    }

    /// Any worker can handle it; the session's id selects one, so that the work is spread.
    fn post_for(&self, session: SessionId, mail: Mail) {
        let workers = self.mailboxes.workers().len() as u64;
        let worker = u8::try_from(session.0 % workers.max(1)).map(WorkerId).unwrap_or_default();
        if let Some(mailbox) = self.mailboxes.get(worker) {
            mailbox.post(mail);
            mailbox.wake();
        }
    }

    /// Makes the user's worker end the user's connection; false if the user has none.
    pub fn kick(&self, user: &UserId, reason: Reason) -> bool {
        let Some(connection) = self.directory.live(user) else { return false };
        if let Some(mailbox) = self.mailboxes.get(connection.worker()) {
            mailbox.post(Mail::ToUser { connection, word: Word::Kicked(reason) });
            mailbox.wake();
        }
        true
    }

    /// Makes every worker notify its clients of the shutdown, and stop once all clients have confirmed or at
    /// `until`. A later call can only shorten the time.
    pub fn drain(&self, until: Timestamp) {
        // Never `u64::MAX`: `Timestamp::MAX` is one less.
        self.drain_until.fetch_min(until.as_micros(), Ordering::SeqCst);
        self.wake_all();
    }

    /// Counts one more worker that drains and no longer sends users to other workers. The last one wakes all
    /// workers, which may then be done.
    pub fn begin_drain(&self) {
        // Pairs with `all_drain`: a worker that sees the last increment also sees the mail posted before it.
        let before = self.draining.fetch_add(1, Ordering::AcqRel);
        if before + 1 == self.mailboxes.workers().len() {
            self.wake_all();
        }
    }

    /// Returns true once every worker drains.
    pub fn all_drain(&self) -> bool {
        self.draining.load(Ordering::Acquire) >= self.mailboxes.workers().len()
    }

    /// Counts one more worker that has nobody left to notify. The last one wakes all workers, which then end.
    pub fn end_drain(&self) {
        let before = self.drained.fetch_add(1, Ordering::AcqRel);
        if before + 1 == self.mailboxes.workers().len() {
            self.wake_all();
        }
    }

    /// Returns true once no worker has anybody left to notify.
    pub fn all_drained(&self) -> bool {
        self.drained.load(Ordering::Acquire) >= self.mailboxes.workers().len()
    }

    fn wake_all(&self) {
        for worker in self.mailboxes.workers() {
            if let Some(mailbox) = self.mailboxes.get(worker) {
                mailbox.wake();
            }
        }
    }

    /// Returns the latest end of the drain; `None` while the server serves.
    pub fn drain_until(&self) -> Option<Timestamp> {
        let until = self.drain_until.load(Ordering::SeqCst);
        (until != u64::MAX).then(|| Timestamp::from_micros(until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_follow_from_the_workers() {
        let stripes = |workers| {
            Shared::new(Limits::default(), workers, &mut StdRng::seed_from_u64(1)).sessions.stripes()
        };
        assert_eq!([1, 2, 3, 16, 255].map(stripes), [64, 128, 256, 1_024, 16_384]);
    }

    #[test]
    fn a_drain_can_only_be_shortened() {
        let shared = Shared::new(Limits::default(), 2, &mut StdRng::seed_from_u64(1));
        assert_eq!(shared.drain_until(), None);
        shared.drain(Timestamp::from_millis(20));
        shared.drain(Timestamp::from_millis(30));
        assert_eq!(shared.drain_until(), Some(Timestamp::from_millis(20)));
        shared.drain(Timestamp::ZERO);
        assert_eq!(shared.drain_until(), Some(Timestamp::ZERO));
    }
}
