//! Sends when something arrives: a window of one message makes round trips, a larger one bulk.

use serde_json::{Value, json};

use super::{Clients, Inbox, Marks, Plan, Spec};
use crate::error::{Error, Result};
use crate::message::{Kind, MAX_BYTES, Stamp};
use crate::sys;

/// After so long without an arrival, what is under way is taken for lost.
const LOST_NANOS: u64 = 500_000_000;
/// Times that this may happen.
const MAX_LOSSES: u64 = 20;

/// Runs the plan; what came of it.
///
/// # Errors
/// When the client cannot go on, or too much is lost.
pub fn run(spec: &Spec, clients: &mut dyn Clients, inbox: &Inbox) -> Result<Value> {
    let Plan::Window { window, size, warmup_ms, counted_ms } = spec.plan else {
        return Err(Error::bound("not a plan with a window"));
    };
    let mut body = [0; MAX_BYTES];
    let body = body.get_mut(..size).ok_or_else(|| Error::bound("a message is too long"))?;
    let mut marks = Marks::new(sys::nanos(), warmup_ms, counted_ms);
    let (mut sent, mut lost, mut losses) = (0_u64, 0_u64, 0_u64);
    let (mut seen, mut since) = (0, sys::nanos());
    loop {
        let now = sys::nanos();
        if marks.pass(now, inbox) {
            break;
        }
        let arrived = inbox.arrivals();
        if arrived != seen {
            (seen, since) = (arrived, now);
        } else if now - since >= LOST_NANOS && sent > arrived + lost {
            losses += 1;
            if losses > MAX_LOSSES {
                return Err(Error::bound("too many messages were lost"));
            }
            (lost, since) = (sent - arrived, now);
        }
        while sent.saturating_sub(arrived + lost) < window {
            let kind = if marks.is_counting() { Kind::Counted } else { Kind::Early };
            Stamp { kind, sender: 0, sent_nanos: sys::nanos() }.write(body);
            clients.send(0, body)?;
            sent += 1;
        }
        clients.turn(marks.next().min(now + 50_000_000))?;
    }
    Ok(json!({ "arrivals": marks.arrivals(inbox), "lost": lost, "inbox": inbox.report() }))
}
