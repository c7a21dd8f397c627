//! [`TokenLedger`]: limits each token to one connection, whichever worker its packets reach.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::TokenId;
use crate::base::UnixTime;
use crate::base::sync::{Mutex, MutexGuard};

/// Maximum number of half-open connections of one token at a time. Spec: TOK-6.
pub const HALF_OPEN_PER_TOKEN: u8 = 2;

/// Time that the ledger remembers a token after its expiry, so that handshakes begun before can finish.
const GRACE: Duration = Duration::from_secs(30);

const STRIPES: usize = 16;

/// The tokens that are making, or have made, their connection. Shared by all workers of a process.
///
/// Forgets a token after it has expired and none of its handshakes is under way. When full, it refuses new
/// tokens and evicts none, so that no flood can make a spent token usable again. It also keeps the process's
/// wall time, which never runs backwards; otherwise a token forgotten as expired could become valid again.
pub struct TokenLedger {
    stripes: [Mutex<Stripe>; STRIPES],
    capacity_per_stripe: usize,
    wall_millis: AtomicU64,
}

impl TokenLedger {
    /// Creates a ledger for about `capacity` tokens: those of the last ten minutes and those in use.
    pub fn new(capacity: usize) -> Self {
        Self {
            stripes: std::array::from_fn(|_| Mutex::default()),
            capacity_per_stripe: capacity.div_ceil(STRIPES).max(1),
            wall_millis: AtomicU64::new(0),
        }
    }

    /// Advances the wall time to `wall`; returns the latest wall time that any worker has passed in.
    pub fn advance(&self, wall: UnixTime) -> UnixTime {
        let before = self.wall_millis.fetch_max(wall.as_millis(), Ordering::Relaxed);
        UnixTime::from_millis(before.max(wall.as_millis()))
    }

    /// Returns the state of the token, or `None` if the ledger does not remember it.
    pub fn use_of(&self, id: &TokenId) -> Option<TokenUse> {
        self.stripe(id).tokens.get(id).map(|token| token.state)
    }

    /// Returns true if the token has made its connection.
    // spec: TOK-6
    pub fn is_spent(&self, id: &TokenId) -> bool {
        self.use_of(id) == Some(TokenUse::Spent)
    }

    /// Reserves one of the token's half-open connections, the second one only if the address `is_proven`.
    ///
    /// # Errors
    /// [`LedgerError`]; whether and how often the token is in use is then unchanged.
    // spec: TOK-6, HSK-11
    pub fn reserve(
        &self,
        id: &TokenId,
        expires: UnixTime,
        now: UnixTime,
        is_proven: bool,
    ) -> Result<(), LedgerError> {
        let mut stripe = self.stripe(id);
        stripe.forget(now);
        let full = stripe.tokens.len() >= self.capacity_per_stripe;
        let end = expires + GRACE;
        let Some(token) = stripe.tokens.get_mut(id) else {
            if full {
                return Err(LedgerError::Full);
            }
            stripe.tokens.insert(id.clone(), Remembered { state: TokenUse::HalfOpen(1), end });
            stripe.by_end.push(Reverse((end, ByEnd(id.clone()))));
            return Ok(());
        };
        // Two tokens of one id are the backend's mistake, and at most one of them connects.
        token.end = token.end.max(end);
        match &mut token.state {
            TokenUse::Spent => Err(LedgerError::Spent),
            TokenUse::HalfOpen(1..) if !is_proven => Err(LedgerError::Unproven),
            TokenUse::HalfOpen(count) if *count >= HALF_OPEN_PER_TOKEN => Err(LedgerError::HalfOpen),
            TokenUse::HalfOpen(count) => {
                *count += 1;
                Ok(())
            }
        }
    }

    /// Releases a half-open connection that did not become a connection.
    pub fn release(&self, id: &TokenId) {
        if let Some(Remembered { state: TokenUse::HalfOpen(count), .. }) = self.stripe(id).tokens.get_mut(id)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// Spends the token; returns true only for the first of its half-open connections.
    // spec: TOK-6
    pub fn spend(&self, id: &TokenId) -> bool {
        match self.stripe(id).tokens.get_mut(id) {
            Some(token) if token.state != TokenUse::Spent => {
                token.state = TokenUse::Spent;
                true
            }
            _ => false,
        }
    }

    /// Returns the number of remembered tokens.
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().tokens.len()).sum()
    }

    /// Returns true if no token is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn stripe(&self, id: &TokenId) -> MutexGuard<'_, Stripe> {
        let hash = crc32fast::hash(id.as_str().as_bytes());
        let at = usize::try_from(hash).unwrap_or(0) % STRIPES;
        let stripe = self.stripes.get(at).expect("invariant: taken modulo their number");
        stripe.lock()
    }
}

/// Reason why a token may not begin another connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// It has already made its connection.
    #[error("token was used")]
    Spent,
    /// It is making one, and a second one needs a proven address.
    #[error("token has a half-open connection, and this address has not proved itself")]
    Unproven,
    /// It has the maximum number of half-open connections.
    #[error("token has {HALF_OPEN_PER_TOKEN} half-open connections")]
    HalfOpen,
    /// The ledger has no room for another token.
    #[error("token ledger is full")]
    Full,
}

#[derive(Default)]
struct Stripe {
    tokens: HashMap<TokenId, Remembered>,
    /// Each token once, with its end at that time, which may have become later.
    by_end: BinaryHeap<Reverse<(UnixTime, ByEnd)>>,
}

struct Remembered {
    state: TokenUse,
    /// When it is forgotten.
    end: UnixTime,
}

/// State of a token.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum TokenUse {
    /// Number of its handshakes that wait for their clients.
    HalfOpen(u8),
    /// It has made its connection.
    Spent,
}

/// A token's id, ordered as text.
#[derive(PartialEq, Eq)]
struct ByEnd(TokenId);

impl Ord for ByEnd {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for ByEnd {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Stripe {
    /// Forgets tokens that expired [`GRACE`] ago or earlier. Those with a handshake under way are kept for
    /// another while: the wall clock may have been put forward, which ends no handshake.
    fn forget(&mut self, now: UnixTime) {
        while self.by_end.peek().is_some_and(|Reverse((end, _))| *end <= now) {
            let Some(Reverse((_, ByEnd(id)))) = self.by_end.pop() else { return };
            let end = match self.tokens.get(&id) {
                Some(token) if token.end > now => token.end,
                Some(Remembered { state: TokenUse::HalfOpen(1..), .. }) => now + GRACE,
                _ => {
                    self.tokens.remove(&id);
                    continue;
                }
            };
            self.by_end.push(Reverse((end, ByEnd(id))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::sync::model;

    fn id(text: &str) -> TokenId {
        TokenId::new(text).unwrap()
    }

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    // spec-test: TOK-6
    #[test]
    fn a_token_is_spent_once() {
        let ledger = TokenLedger::new(100);
        assert!(!ledger.spend(&id("a")), "never reserved");
        ledger.reserve(&id("a"), at(60), at(0), true).unwrap();
        assert!(!ledger.is_spent(&id("a")));
        assert!(ledger.spend(&id("a")));
        assert!(ledger.is_spent(&id("a")));
        assert!(!ledger.spend(&id("a")));
        assert_eq!(ledger.reserve(&id("a"), at(60), at(1), true), Err(LedgerError::Spent));
        ledger.release(&id("a"));
        assert!(ledger.is_spent(&id("a")), "the end of another half-open does not make it fresh");
    }

    /// A backend that uses an id twice, against TOK-2.
    // spec-test: TOK-6
    #[test]
    fn a_token_whose_id_was_used_before_is_remembered_until_its_own_end() {
        let ledger = TokenLedger::new(100);
        ledger.reserve(&id("a"), at(100), at(50), true).unwrap();
        ledger.release(&id("a"));
        ledger.reserve(&id("a"), at(500), at(60), true).unwrap();
        assert!(ledger.spend(&id("a")));
        for now in [129, 130, 529] {
            assert_eq!(ledger.reserve(&id("a"), at(500), at(now), true), Err(LedgerError::Spent), "{now}");
        }
        assert_eq!(ledger.reserve(&id("a"), at(900), at(530), true), Ok(()), "it is forgotten");
    }

    // spec-test: TOK-6, HSK-11
    #[test]
    fn a_third_half_open_is_refused_until_one_ends() {
        let ledger = TokenLedger::new(100);
        ledger.reserve(&id("a"), at(60), at(0), false).unwrap();
        assert_eq!(ledger.reserve(&id("a"), at(60), at(0), false), Err(LedgerError::Unproven));
        ledger.reserve(&id("a"), at(60), at(0), true).unwrap();
        assert_eq!(ledger.reserve(&id("a"), at(60), at(0), false), Err(LedgerError::Unproven));
        assert_eq!(ledger.reserve(&id("a"), at(60), at(0), true), Err(LedgerError::HalfOpen));
        assert_eq!(ledger.reserve(&id("b"), at(60), at(0), true), Ok(()));
        ledger.release(&id("a"));
        assert_eq!(ledger.reserve(&id("a"), at(60), at(0), true), Ok(()));
    }

    // spec-test: TOK-6
    #[test]
    fn a_full_ledger_refuses_and_forgets_only_what_has_ended() {
        let ledger = TokenLedger::new(1);
        let mut kept: Vec<TokenId> = (0..200).map(|number| id(&format!("t{number}"))).collect();
        kept.retain(|id| match ledger.reserve(id, at(60), at(0), true) {
            Ok(()) => ledger.spend(id),
            refused => {
                assert_eq!(refused, Err(LedgerError::Full));
                false
            }
        });
        assert!(kept.len() < 200);
        assert_eq!(ledger.len(), kept.len());
        for id in &kept {
            assert_eq!(ledger.reserve(id, at(60), at(89), true), Err(LedgerError::Spent));
        }
        for id in &kept {
            assert_eq!(ledger.reserve(id, at(200), at(90), true), Ok(()), "60 s and the grace are over");
        }
        assert_eq!(ledger.len(), kept.len());
    }

    /// The wall clock is put forward by an hour, while two handshakes are under way.
    // spec-test: TOK-6
    #[test]
    fn a_token_with_a_handshake_under_way_is_not_forgotten_until_the_handshake_has_ended() {
        let ledger = TokenLedger::new(1_000);
        let made = [id("spent"), id("released")];
        made.iter().for_each(|id| assert_eq!(ledger.reserve(id, at(60), at(0), true), Ok(())));
        // Each stripe forgets when something is reserved in it.
        let reserve_others = |now: u64| {
            for other in 0..200 {
                let other = id(&format!("{other} at {now}"));
                ledger.reserve(&other, at(now), at(now), true).unwrap();
                ledger.release(&other);
            }
        };
        reserve_others(3_600);
        assert!(ledger.spend(&made[0]), "it is the first of its handshakes");
        ledger.release(&made[1]);
        reserve_others(3_629);
        assert!(made.iter().all(|id| ledger.use_of(id).is_some()));
        reserve_others(3_660);
        assert!(made.iter().all(|id| ledger.use_of(id).is_none()));
    }

    #[test]
    fn its_wall_time_never_runs_backwards() {
        let ledger = TokenLedger::new(1);
        assert_eq!(ledger.advance(at(10)), at(10));
        assert_eq!(ledger.advance(at(9)), at(10));
        assert_eq!(ledger.advance(at(11)), at(11));
    }

    /// Workers reserve, confirm and release half-open connections in any order; another one is begun
    /// afterwards.
    // spec-test: TOK-6
    #[test]
    fn of_many_workers_one_spends_and_no_half_open_is_lost_or_counted_twice() {
        model::check(200, || {
            let ledger = Arc::new(TokenLedger::new(100));
            let spends = [true, true, false].map(|confirms| {
                let ledger = Arc::clone(&ledger);
                shuttle::thread::spawn(move || {
                    if ledger.reserve(&id("a"), at(60), at(0), true).is_err() {
                        return None;
                    }
                    let won = confirms && ledger.spend(&id("a"));
                    ledger.release(&id("a"));
                    Some(won)
                })
            });
            let done = spends.map(|worker| worker.join().unwrap());
            let won = done.iter().filter(|won| **won == Some(true)).count();
            let confirmed = done.iter().take(2).any(Option::is_some);
            assert_eq!(won, usize::from(confirmed), "{done:?}");
            let again = ledger.reserve(&id("a"), at(60), at(1), true);
            assert_eq!(again, if confirmed { Err(LedgerError::Spent) } else { Ok(()) }, "{done:?}");
        });
    }
}
