//! How much a peer's server takes: sessions of 8 at 30 Hz, more and more of them.

use super::job::{Figures, Job};
use super::workload::Workload;
use crate::error::{Error, Result};

/// Deliveries may be so late at the 99th percentile, in microseconds.
const LATEST_US: f64 = 50_000.0;
/// So many must arrive, of those that were sent.
const LEAST_RATIO: f64 = 0.999;
/// So many must be sent, of those that were planned: else the load is what is at its end.
const LEAST_SENT: f64 = 0.99;
/// Sessions at most, and steps.
const MAX_SESSIONS: usize = 1_000;
const MAX_STEPS: usize = 12;
/// Steps from the last that went well, after the first that did not.
const FINE: [f64; 2] = [1.3, 1.69];

/// Doubles the sessions until a step goes wrong, then takes finer ones. What the largest that went well
/// measured, and how late deliveries were with half of its sessions.
///
/// # Errors
/// When not even the first step goes well.
pub fn play(job: &Job) -> Result<Figures> {
    let (mut sessions, members) = Workload::Saturation.shape();
    let most = MAX_SESSIONS.min(job.peer.max_clients() / members);
    let mut best: Option<(usize, Figures)> = None;
    let mut limit = "the bench's own bound".to_owned();
    for _ in 0..MAX_STEPS {
        match step(job, sessions) {
            Ok(figures) => best = Some((sessions, figures)),
            Err(why) => {
                limit = why.to_string();
                break;
            }
        }
        if sessions == most {
            break;
        }
        sessions = (sessions * 2).min(most);
    }
    let (coarse, _) = best.as_ref().ok_or_else(|| Error::bound(&limit))?;
    let coarse = *coarse;
    for factor in FINE {
        let sessions = (coarse as f64 * factor).round() as usize;
        if coarse == most || sessions > most {
            break;
        }
        match step(job, sessions) {
            Ok(figures) => best = Some((sessions, figures)),
            Err(_) => break,
        }
    }
    let (sessions, mut figures) = best.ok_or_else(|| Error::bound(&limit))?;
    figures.insert("sessions".to_owned(), sessions as f64);
    let half = Job { sessions: Some((sessions / 2).max(1)), ..*job }.play()?;
    if let Some(p99) = half.get("p99_us") {
        figures.insert("p99_at_half_us".to_owned(), *p99);
    }
    Ok(figures)
}

/// One number of sessions; an error when it did not go well.
fn step(job: &Job, sessions: usize) -> Result<Figures> {
    let figures = Job { sessions: Some(sessions), ..*job }.play()?;
    let of = |name: &str| figures.get(name).copied().unwrap_or(0.0);
    if of("ratio") < LEAST_RATIO {
        return Err(Error::bound(format_args!("{sessions} sessions: a ratio of {:.4}", of("ratio"))));
    }
    if of("p99_us") > LATEST_US {
        return Err(Error::bound(format_args!("{sessions} sessions: p99 of {:.0} us", of("p99_us"))));
    }
    if of("sent_ratio") < LEAST_SENT {
        return Err(Error::bound(format_args!("{sessions} sessions: the load sent too little")));
    }
    Ok(figures)
}
