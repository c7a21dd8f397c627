//! [`Cast`]: the processes of a job, and the resources they use.

use std::net::SocketAddr;
use std::time::Duration;

use super::child::Child;
use super::job::Figures;
use crate::error::{Error, Result};
use crate::peer::Counts;
use crate::sys;

/// The processes of a job.
pub struct Cast {
    /// One server, or several that share nothing.
    pub servers: Vec<Child>,
    /// The relay, if any, which ends with the others.
    #[expect(dead_code, reason = "is not asked for anything")]
    pub relay: Option<Child>,
    /// The loads, each with clients of one server.
    pub loads: Vec<Child>,
}

/// Resources that servers and loads have used by a point in time.
pub struct Used {
    at: u64,
    server_cpu: u64,
    load_cpu: u64,
    counts: Option<Counts>,
}

/// Time limit for a child to start, or to answer.
const START: Duration = Duration::from_secs(10);

impl Cast {
    /// Waits until each load has written a line that begins with `word`.
    ///
    /// # Errors
    /// When one fails or takes longer than `patience`.
    pub fn wait(&self, word: &str, patience: Duration) -> Result<()> {
        self.loads.iter().try_for_each(|load| load.expect(word, patience).map(drop))
    }

    /// Returns what has been used by now.
    ///
    /// # Errors
    /// When a process has ended or does not answer.
    pub fn used(&mut self) -> Result<Used> {
        let cpu = |children: &[Child]| {
            let times = children.iter().map(|child| sys::cpu_nanos(child.pid()));
            times.sum::<std::io::Result<u64>>().map_err(Error::io("reading a child's CPU time"))
        };
        let (at, server_cpu, load_cpu) = (sys::nanos(), cpu(&self.servers)?, cpu(&self.loads)?);
        let counts = self.servers.iter_mut().map(|server| {
            let counts = server.ask(START)?;
            serde_json::from_str::<Option<Counts>>(&counts).map_err(Error::while_doing("reading counts"))
        });
        let counts = counts.collect::<Result<Vec<_>>>()?.into_iter().flatten().reduce(|a, b| a + b);
        Ok(Used { at, server_cpu, load_cpu, counts })
    }

    /// Returns the resident memory of all servers.
    ///
    /// # Errors
    /// When one has ended.
    pub fn resident(&self) -> Result<f64> {
        self.servers.iter().map(resident).sum()
    }

    /// Returns what was used between two points in time, in total and per delivery.
    pub fn cost(&self, first: &Used, last: &Used, deliveries: Option<f64>) -> Figures {
        let mut figures = Figures::new();
        let time = (last.at - first.at) as f64;
        let server = (last.server_cpu - first.server_cpu) as f64;
        let load = (last.load_cpu - first.load_cpu) as f64;
        let mut set = |name: &str, value: f64| figures.insert(name.to_owned(), value);
        set("server_cpu_share", server / time);
        // Each load has its own core.
        set("load_cpu_share", load / time / self.loads.len() as f64);
        set("server_cpu_ms_per_s", server / time * 1_000.0);
        if let Some(deliveries) = deliveries.filter(|deliveries| *deliveries > 0.0) {
            set("deliveries_per_s", deliveries / time * 1e9);
            set("deliveries_per_full_core", deliveries / server * 1e9);
            set("server_cpu_us_per_delivery", server / 1_000.0 / deliveries);
            set("load_cpu_us_per_delivery", load / 1_000.0 / deliveries);
            if let (Some(first), Some(last)) = (first.counts, last.counts) {
                set("bytes_per_delivery", (last.bytes - first.bytes) as f64 / deliveries);
                // A peer over streams reports no datagrams.
                let datagrams = last.datagrams - first.datagrams;
                if datagrams > 0 {
                    set("datagrams_per_delivery", datagrams as f64 / deliveries);
                }
            }
        }
        figures
    }
}

/// Returns where a child listens, and the rest of its announcement.
///
/// # Errors
/// When it fails or takes too long.
pub fn listening(child: &Child) -> Result<(SocketAddr, String)> {
    let line = child.expect("listening on", START)?;
    let (addr, extra) = line.split_once(' ').unwrap_or((&line, ""));
    Ok((addr.parse().map_err(Error::while_doing("reading an address"))?, extra.to_owned()))
}

/// Returns the resident memory of a process in bytes.
///
/// # Errors
/// When it has ended.
pub fn resident(child: &Child) -> Result<f64> {
    let bytes = sys::resident_bytes(child.pid()).map_err(Error::io("reading a child's memory"))?;
    Ok(bytes as f64)
}
