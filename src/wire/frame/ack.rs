//! ACK: the packets that arrived.
//!
//! ```text
//! type 0x08..0x0f: bit 0x01 = largest has 4 bytes, bit 0x02 = runs follow, bit 0x04 = repaired ones follow
//! largest (2 | 4) | delay (1, ×256 µs) | [ runs (varint) | first − 1 (varint) | (gap − 1, run − 1)… ]
//!     | [ repaired (varint) | lag (1)… ]
//! ```

use std::time::Duration;

use smallvec::SmallVec;

use super::lags::{self, Lags};
use crate::base::codec::varint_len;
use crate::base::{DecodeError, Reader, Truncated, Writer};

/// Acknowledges packets received in the other direction. Spec: ACK-2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ack {
    /// The largest acknowledged packet number; 16 or 32 bits.
    pub largest: Truncated,
    /// Time that the sender of this ack held the largest packet, in steps of 256 µs; 255 means that or more.
    pub delay: u8,
    /// Numbers below: the length of the run that ends with the largest, then older runs. `None` is the clean
    /// form: the largest and all of the [`CLEAN_ACK_NUMBERS`] − 1 before it arrived.
    pub runs: Option<(u64, SmallVec<[AckRun; 4]>)>,
    /// Packets that did not arrive but whose messages a REPAIR recovered, as lags below the largest; up to
    /// [`MAX_REPAIRED`]. Spec: ACK-11.
    pub repaired: Lags,
}

/// A run of received numbers below a gap of missing ones. Runs go from newer to older.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckRun {
    /// Number of missing packets, at least 1.
    pub gap: u64,
    /// Number of received packets below them, at least 1.
    pub run: u64,
}

/// Number of packets that an ack without runs acknowledges, as far as they exist.
pub const CLEAN_ACK_NUMBERS: u64 = 256;

/// Maximum number of runs in an ack, not counting the first.
pub const MAX_ACK_RUNS: usize = 32;

/// Maximum number of repaired packets in an ack.
pub const MAX_REPAIRED: usize = 16;

/// Longest gap or run.
const MAX_RUN: u64 = 1 << 16;

const TYPE: u8 = 0x08;
const WIDE: u8 = 0x01;
const RUNS: u8 = 0x02;
const REPAIRED: u8 = 0x04;
const DELAY_STEP_MICROS: u16 = 256;

impl Ack {
    /// Returns the delay as encoded.
    pub fn delay_of(held: Duration) -> u8 {
        u8::try_from(held.as_micros() / u128::from(DELAY_STEP_MICROS)).unwrap_or(u8::MAX)
    }

    /// Returns the time that the largest packet was held.
    pub fn held(&self) -> Duration {
        Duration::from_micros(u64::from(self.delay) * u64::from(DELAY_STEP_MICROS))
    }

    pub(super) fn read(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        let largest = Truncated::read_16_or_32(reader, kind & WIDE != 0, "largest acked")?;
        let delay = reader.u8("ack delay")?;
        let runs = if kind & RUNS == 0 { None } else { Some(read_runs(reader)?) };
        let repaired = if kind & REPAIRED == 0 { Lags::new() } else { lags::read(reader, MAX_REPAIRED)? };
        Ok(Self { largest, delay, runs, repaired })
    }

    pub(super) fn encoded_len(&self) -> usize {
        let run_bytes = |AckRun { gap, run }: &AckRun| varint_len(gap - 1) + varint_len(run - 1);
        let runs = self.runs.as_ref().map_or(0, |(first, runs)| {
            let older: usize = runs.iter().map(run_bytes).sum();
            varint_len(runs.len() as u64) + varint_len(first - 1) + older
        });
        let repaired = if self.repaired.is_empty() { 0 } else { 1 + self.repaired.len() };
        1 + self.largest.encoded_len() + 1 + runs + repaired
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let wide = if self.largest.is_wide() { WIDE } else { 0 };
        let runs = if self.runs.is_some() { RUNS } else { 0 };
        let repaired = if self.repaired.is_empty() { 0 } else { REPAIRED };
        writer.u8(TYPE | wide | runs | repaired);
        self.largest.write(writer);
        writer.u8(self.delay);
        if let Some((first, runs)) = &self.runs {
            writer.varint(runs.len() as u64);
            writer.varint(first - 1);
            for AckRun { gap, run } in runs {
                writer.varint(gap - 1);
                writer.varint(run - 1);
            }
        }
        if !self.repaired.is_empty() {
            lags::write(&self.repaired, writer);
        }
    }
}

fn read_runs(reader: &mut Reader) -> Result<(u64, SmallVec<[AckRun; 4]>), DecodeError> {
    let count = reader.count("ack runs", 0, MAX_ACK_RUNS)?;
    let first = read_run(reader)?;
    let mut runs = SmallVec::new();
    for _ in 0..count {
        runs.push(AckRun { gap: read_run(reader)?, run: read_run(reader)? });
    }
    Ok((first, runs))
}

fn read_run(reader: &mut Reader) -> Result<u64, DecodeError> {
    Ok(reader.varint_in::<u64>("ack run", 0, MAX_RUN - 1)? + 1)
}
