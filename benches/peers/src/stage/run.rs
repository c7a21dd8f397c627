//! A whole run: the peers alternate, so that other activity on the machine affects all alike.

use super::job::Job;
use super::saturation;
use super::workload::{Times, Workload};
use crate::error::Result;
use crate::peer::Peer;
use crate::report::{Outcome, Report};

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The peers.
    pub peers: Vec<Peer>,
    /// The workloads.
    pub workloads: Vec<Workload>,
    /// Number of repetitions of the whole run.
    pub repetitions: usize,
    /// Counted time of a load, in milliseconds.
    pub counted_ms: u64,
    /// Uncounted time before that, in milliseconds.
    pub warmup_ms: u64,
    /// Seed of all random choices.
    pub seed: u64,
}

/// Plays all workloads on all peers; a peer that fails is reported as failed. `save` gets the results so far
/// after each step, because a run may be interrupted.
///
/// # Errors
/// Those of `save`.
pub fn run(options: &Options, note: impl Fn(&str), save: impl Fn(&Report) -> Result<()>) -> Result<Report> {
    let mut report = Report::new(options);
    for repetition in 0..options.repetitions {
        for workload in &options.workloads {
            for peer in options.peers.iter().filter(|peer| workload.is_for(**peer)) {
                let job = Job {
                    peer: *peer,
                    workload: *workload,
                    sessions: None,
                    times: Times { warmup_ms: options.warmup_ms, counted_ms: options.counted_ms },
                    seed: options.seed + repetition as u64,
                };
                let played = match workload {
                    Workload::Saturation | Workload::Workers { .. } => saturation::play(&job),
                    _ => job.play(),
                };
                let outcome: Outcome = played.map_err(|error| error.to_string());
                let said = outcome.as_ref().err().map_or("done", String::as_str);
                note(&format!(
                    "{}/{} {workload} {}: {said}",
                    repetition + 1,
                    options.repetitions,
                    peer.name()
                ));
                report.add(*workload, *peer, outcome);
                save(&report)?;
            }
        }
    }
    report.finish();
    save(&report)?;
    Ok(report)
}
