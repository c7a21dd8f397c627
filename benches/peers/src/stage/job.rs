//! [`Job`]: one peer in one load.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use super::cast::{Cast, listening, resident};
use super::child::Child;
use super::results::Results;
use super::workload::{BULK_SIZE, Times, Workload};
use crate::error::{Error, Result};
use crate::load::{CONNECT_NANOS, Spec};
use crate::peer::Peer;
use crate::sys;

/// One peer in one load.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// The peer whose server and clients run.
    pub peer: Peer,
    /// The workload that they run.
    pub workload: Workload,
    /// Number of sessions, if it is not the workload's own.
    pub sessions: Option<usize>,
    /// Durations of the load.
    pub times: Times,
    /// Seed of all random choices.
    pub seed: u64,
}

/// Figures of a run by name; figures that a peer cannot report are absent.
pub type Figures = BTreeMap<String, f64>;

/// The first core of the servers.
const SERVER_CORE: usize = 0;
/// Time that a load may take beyond connecting and its counted time.
const SLACK: Duration = Duration::from_secs(30);

impl Job {
    /// Runs the job.
    ///
    /// # Errors
    /// The reason for its failure.
    pub fn play(&self) -> Result<Figures> {
        let (sessions, members) = self.shape();
        if sessions * members > self.max_clients() {
            return Err(Error::bound(format_args!("its server takes {} clients", self.max_clients())));
        }
        let before = self.resident_without_clients()?;
        let mut cast = self.cast()?;
        cast.wait("mark ready", Duration::from_nanos(CONNECT_NANOS) + SLACK)?;
        cast.loads.iter_mut().try_for_each(|load| load.tell("begin"))?;
        cast.wait("mark begin", SLACK + Duration::from_millis(self.times.warmup_ms))?;
        let first = cast.used()?;
        cast.wait("mark end", SLACK + Duration::from_millis(self.times.counted_ms))?;
        let last = cast.used()?;
        let after = cast.resident()?;
        let results = Results::of(&cast.loads, SLACK)?;
        let mut figures = cast.cost(&first, &last, results.sum("/arrivals"));
        let a_second = figures.get("deliveries_per_s").copied();
        let mut set = |name: &str, value: Option<f64>| {
            value.map(|value| figures.insert(name.to_owned(), value));
        };
        if self.workload == Workload::Bulk {
            set("mb_per_s", a_second.map(|it| it * BULK_SIZE as f64 / 1e6));
        }
        set("server_rss_mib", Some(after / 1_048_576.0));
        set("rss_per_connection_kib", before.map(|it| (after - it) / 1_024.0 / (sessions * members) as f64));
        set("deliveries", results.sum("/inbox/delivered"));
        set("lost", results.sum("/lost"));
        set("ratio", results.ratio("/inbox/delivered", "/expected"));
        set("sent_ratio", results.ratio("/sent", "/planned"));
        for (name, path) in TIMES {
            set(name, results.greatest(path));
        }
        match results.trouble() {
            Some(why) if !self.peer.may_lose() => Err(Error::while_doing("the load")(why)),
            _ => Ok(figures),
        }
    }

    /// Returns the maximum number of clients of all servers together.
    pub fn max_clients(&self) -> usize {
        self.peer.max_clients() * self.workload.workers()
    }

    /// Returns the number of sessions, and of members in each.
    fn shape(&self) -> (usize, usize) {
        let (sessions, members) = self.workload.shape();
        (self.sessions.unwrap_or(sessions), members)
    }

    /// Starts the servers and their loads, whose clients connect and then wait for the signal to begin.
    fn cast(&self) -> Result<Cast> {
        let ((sessions, members), workers) = (self.shape(), self.workload.workers());
        let (processes, cores_each) = if self.peer.has_workers() { (1, workers) } else { (workers, 1) };
        let clients = sessions.div_ceil(processes) * members;
        let server = |number| self.server(clients, SERVER_CORE + number * cores_each, cores_each);
        let servers = (0..processes).map(server).collect::<Result<Vec<_>>>()?;
        let homes = servers.iter().map(listening).collect::<Result<Vec<_>>>()?;
        let relay = homes.first().map_or(Ok(None), |(home, _)| self.relay(*home))?;
        let relayed = relay.as_ref().map(listening).transpose()?;
        let cores = self.load_cores()?;
        let count = cores.len().min(sessions);
        let load = |number: usize, core: usize, (home, extra): (SocketAddr, String)| {
            let (first, end) = (sessions * number / count, sessions * (number + 1) / count);
            let spec = Spec {
                peer: self.peer,
                server: relayed.as_ref().map_or(home, |(addr, _)| *addr),
                home,
                extra,
                first_session: first,
                sessions: end - first,
                members,
                plan: self.workload.plan(self.times),
                lean: self.workload.wants_lean_clients(),
                seed: self.seed + number as u64,
            };
            let text = serde_json::to_string(&spec).map_err(Error::while_doing("writing a load's plan"))?;
            Child::start("load", &["load", &text, "--core", &core.to_string()].map(str::to_owned))
        };
        let loads = cores.zip(homes.into_iter().cycle()).take(count).enumerate();
        let loads = loads.map(|(number, (core, home))| load(number, core, home)).collect::<Result<_>>()?;
        Ok(Cast { servers, relay, loads })
    }

    /// Starts a server on `cores` cores from `core` on, with room for `clients` clients.
    fn server(&self, clients: usize, core: usize, cores: usize) -> Result<Child> {
        let [clients, core, cores] = [clients, core, cores].map(|number| number.to_string());
        let args = ["server", self.peer.name(), "--clients", &clients, "--core", &core, "--cores", &cores];
        Child::start("server", &args.map(str::to_owned))
    }

    /// Returns the cores of the loads, which are the last ones.
    ///
    /// # Errors
    /// When the servers leave none.
    fn load_cores(&self) -> Result<Range<usize>> {
        let all = sys::cores().map_err(Error::io("counting cores"))?;
        let left = all.saturating_sub(SERVER_CORE + self.workload.workers());
        if left == 0 {
            return Err(Error::bound(format_args!("{all} cores leave none for the load")));
        }
        Ok(all - left.min(self.workload.loads())..all)
    }

    /// Returns the resident memory of a server without clients, if the workload measures memory. That server
    /// has room for one client, because some peers allocate everything for all clients before the first
    /// connects.
    fn resident_without_clients(&self) -> Result<Option<f64>> {
        if !matches!(self.workload, Workload::Idle { .. }) {
            return Ok(None);
        }
        let server = self.server(1, SERVER_CORE, 1)?;
        listening(&server)?;
        resident(&server).map(Some)
    }

    /// Starts a relay on the path to the server, if the workload has one.
    fn relay(&self, server: SocketAddr) -> Result<Option<Child>> {
        let Workload::Loss { percent } = self.workload else { return Ok(None) };
        let mut args: Vec<String> =
            ["relay", "--listen", "127.0.0.1:0", "--upstream"].map(str::to_owned).into();
        args.push(server.to_string());
        args.extend(["--delay", "20ms", "--loss"].map(str::to_owned));
        args.push(format!("{percent}%"));
        args.extend(["--seed".to_owned(), self.seed.to_string()]);
        Child::start("relay", &args).map(Some)
    }
}

/// Times that the loads report.
const TIMES: [(&str, &str); 5] = [
    ("p50_us", "/inbox/latency/p50"),
    ("p99_us", "/inbox/latency/p99"),
    ("p999_us", "/inbox/latency/p999"),
    ("max_us", "/inbox/latency/max"),
    ("send_late_p99_us", "/late/p99"),
];
