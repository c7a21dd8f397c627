//! Sends at a rate, each client at its own random phase, regardless of how late deliveries are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::inbox::{histogram, micros};
use super::{Clients, Inbox, Marks, Plan, Spec};
use crate::error::{Error, Result};
use crate::message::{Kind, MAX_BYTES, Stamp};
use crate::sys;

/// Number of messages that are sent before arrivals are handled.
const SENDS_A_TURN: usize = 64;
/// Time before the first message.
const LEAD_NANOS: u64 = 50_000_000;

/// Runs the plan, and returns its result.
///
/// # Errors
/// When the clients cannot continue.
pub fn run(spec: &Spec, clients: &mut dyn Clients, inbox: &Inbox) -> Result<Value> {
    let Plan::Paced { rate_hz, size, warmup_ms, counted_ms, patience_ms } = spec.plan else {
        return Err(Error::bound("not a paced plan"));
    };
    let period = (1_000_000_000.0 / rate_hz) as u64;
    let mut rng = StdRng::seed_from_u64(spec.seed);
    let start = sys::nanos() + LEAD_NANOS;
    let mut marks = Marks::new(start, warmup_ms, counted_ms);
    let mut queue: BinaryHeap<Reverse<(u64, usize)>> =
        (0..spec.clients()).map(|client| Reverse((start + rng.random_range(0..period), client))).collect();
    let mut late = histogram()?;
    let (mut body, mut sent) = ([0; MAX_BYTES], 0_u64);
    let body = body.get_mut(..size).ok_or_else(|| Error::bound("a message is too long"))?;
    while !marks.pass(sys::nanos(), inbox) {
        for _ in 0..SENDS_A_TURN {
            let now = sys::nanos();
            let Some(&Reverse((due, client))) = queue.peek() else { break };
            if due > now {
                break;
            }
            queue.pop();
            queue.push(Reverse((due + period, client)));
            let kind = if marks.is_counting() { Kind::Counted } else { Kind::Early };
            Stamp { kind, sender: client as u32, sent_nanos: now }.write(body);
            clients.send(client, body)?;
            if marks.is_counting() {
                sent += 1;
                late.saturating_record(now - due);
            }
        }
        let due = queue.peek().map_or(u64::MAX, |Reverse((due, _))| *due);
        clients.turn(due.min(marks.next()))?;
    }
    let expected = sent * spec.members as u64;
    settle(clients, inbox, expected, patience_ms * 1_000_000)?;
    let planned = spec.clients() as f64 * rate_hz * counted_ms as f64 / 1_000.0;
    Ok(json!({
        "sent": sent,
        "planned": planned,
        "expected": expected,
        "arrivals": marks.arrivals(inbox),
        "late": micros(&late),
        "inbox": inbox.report(),
    }))
}

/// Waits until all messages have arrived, or none arrives any more.
fn settle(clients: &mut dyn Clients, inbox: &Inbox, expected: u64, patience: u64) -> Result<()> {
    let (mut seen, mut since) = (inbox.delivered(), sys::nanos());
    loop {
        let (delivered, now) = (inbox.delivered(), sys::nanos());
        if delivered != seen {
            (seen, since) = (delivered, now);
        }
        if delivered >= expected || now - since >= patience {
            return Ok(());
        }
        clients.turn(now + 10_000_000)?;
    }
}
