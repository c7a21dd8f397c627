//! [`Job`]: one peer in one load: server, relay, load, and what they used.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::child::Child;
use super::workload::{BULK_SIZE, Times, Workload};
use crate::error::{Error, Result};
use crate::load::{CONNECT_NANOS, Spec};
use crate::peer::{Counts, Peer};
use crate::sys;

/// One peer in one load.
#[derive(Debug, Clone, Copy)]
pub struct Job {
    /// Whose server and clients.
    pub peer: Peer,
    /// What they do.
    pub workload: Workload,
    /// Sessions, where they are not the workload's own.
    pub sessions: Option<usize>,
    /// For how long.
    pub times: Times,
    /// Where all chance comes from.
    pub seed: u64,
}

/// What a run measures, by name; what a peer cannot tell is not there.
pub type Figures = BTreeMap<String, f64>;

/// The core of servers, and that of loads and relays.
const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
/// How long a child may take to start, or to answer.
const START: Duration = Duration::from_secs(10);
/// How long a load may take beyond connecting and its counted time.
const SLACK: Duration = Duration::from_secs(30);

/// What a child has used.
struct Used {
    at: u64,
    server_cpu: u64,
    load_cpu: u64,
    counts: Option<Counts>,
}

impl Job {
    /// Plays it.
    ///
    /// # Errors
    /// What made it fail.
    pub fn play(&self) -> Result<Figures> {
        let (sessions, members) = self.workload.shape();
        let sessions = self.sessions.unwrap_or(sessions);
        if sessions * members > self.peer.max_clients() {
            return Err(Error::bound(format_args!("its server takes {} clients", self.peer.max_clients())));
        }
        let before = self.resident_without_clients()?;
        let mut server = self.server(sessions * members)?;
        let (home, extra) = listening(&server)?;
        let relay = self.relay(home)?;
        let reached = relay.as_ref().map_or(Ok(home), |relay| listening(relay).map(|(addr, _)| addr))?;
        let (plan, lean) = (self.workload.plan(self.times), self.workload.wants_lean_clients());
        let spec = Spec {
            peer: self.peer,
            server: reached,
            home,
            extra,
            sessions,
            members,
            plan,
            lean,
            seed: self.seed,
        };
        let mut args = vec!["load".to_owned()];
        args.push(serde_json::to_string(&spec).map_err(Error::while_doing("writing a load's plan"))?);
        args.extend(["--core".to_owned(), LOAD_CORE.to_string()]);
        let load = Child::start("load", &args)?;
        let connect = Duration::from_nanos(CONNECT_NANOS) + SLACK;
        load.expect("mark begin", connect + Duration::from_millis(self.times.warmup_ms))?;
        let first = used(&mut server, &load)?;
        load.expect("mark end", SLACK + Duration::from_millis(self.times.counted_ms))?;
        let last = used(&mut server, &load)?;
        let after = resident(&server)?;
        let result = load.expect("result", SLACK)?;
        let result: Value = serde_json::from_str(&result).map_err(Error::while_doing("reading a result"))?;
        let mut figures = cost(&first, &last, number(&result, "/arrivals"));
        let mut set = |name: &str, value: Option<f64>| {
            value.map(|value| figures.insert(name.to_owned(), value));
        };
        set("server_rss_mib", Some(after / 1_048_576.0));
        set("rss_per_connection_kib", before.map(|it| (after - it) / 1_024.0 / spec.clients() as f64));
        for (name, path) in FIGURES {
            set(name, number(&result, path));
        }
        let ratio = |a: &str, b: &str| Some(number(&result, a)? / number(&result, b).filter(|b| *b > 0.0)?);
        set("ratio", ratio("/inbox/delivered", "/expected"));
        set("sent_ratio", ratio("/sent", "/planned"));
        let seconds = (last.at - first.at) as f64 / 1e9;
        let a_second = number(&result, "/arrivals").map(|arrivals| arrivals / seconds);
        set("deliveries_per_s", a_second);
        let of_core = figures.get("server_cpu_share").copied().filter(|share| *share > 0.0);
        let at_full_core = a_second.zip(of_core).map(|(a_second, share)| a_second / share);
        figures.extend(at_full_core.map(|it| ("deliveries_per_full_core".to_owned(), it)));
        let mut set = |name: &str, value: Option<f64>| {
            value.map(|value| figures.insert(name.to_owned(), value));
        };
        if self.workload == Workload::Bulk {
            set("mb_per_s", a_second.map(|it| it * BULK_SIZE as f64 / 1e6));
        }
        if let Some(why) = result.pointer("/inbox/first_trouble").and_then(Value::as_str)
            && !self.peer.may_lose()
        {
            return Err(Error::while_doing("the load")(why));
        }
        Ok(figures)
    }

    /// The server, with room for so many clients.
    fn server(&self, clients: usize) -> Result<Child> {
        let (peer, clients, core) = (self.peer.name(), clients.to_string(), SERVER_CORE.to_string());
        let args = ["server", peer, "--clients", &clients, "--core", &core].map(str::to_owned);
        Child::start("server", &args)
    }

    /// What a server has resident that nobody has connected to, where the workload asks for memory. It has
    /// room for one client: some peers set up what they need for all of them before the first comes.
    fn resident_without_clients(&self) -> Result<Option<f64>> {
        if !matches!(self.workload, Workload::Idle { .. }) {
            return Ok(None);
        }
        let server = self.server(1)?;
        listening(&server)?;
        resident(&server).map(Some)
    }

    /// A relay on the way to the server, where the workload has one.
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

/// Figures that the load tells by itself.
const FIGURES: [(&str, &str); 7] = [
    ("deliveries", "/inbox/delivered"),
    ("p50_us", "/inbox/latency/p50"),
    ("p99_us", "/inbox/latency/p99"),
    ("p999_us", "/inbox/latency/p999"),
    ("max_us", "/inbox/latency/max"),
    ("send_late_p99_us", "/late/p99"),
    ("lost", "/lost"),
];

fn number(result: &Value, path: &str) -> Option<f64> {
    result.pointer(path).and_then(Value::as_f64)
}

/// Where a child listens, and what else it says then.
fn listening(child: &Child) -> Result<(SocketAddr, String)> {
    let line = child.expect("listening on", START)?;
    let (addr, extra) = line.split_once(' ').unwrap_or((&line, ""));
    Ok((addr.parse().map_err(Error::while_doing("reading an address"))?, extra.to_owned()))
}

fn resident(server: &Child) -> Result<f64> {
    let bytes = sys::resident_bytes(server.pid()).map_err(Error::io("reading the server's memory"))?;
    Ok(bytes as f64)
}

fn used(server: &mut Child, load: &Child) -> Result<Used> {
    let cpu = |child: &Child| sys::cpu_nanos(child.pid()).map_err(Error::io("reading a child's CPU time"));
    let (at, server_cpu, load_cpu) = (sys::nanos(), cpu(server)?, cpu(load)?);
    let counts = serde_json::from_str(&server.ask(START)?).map_err(Error::while_doing("reading counts"))?;
    Ok(Used { at, server_cpu, load_cpu, counts })
}

/// What was used between two moments, in all and for each delivery.
fn cost(first: &Used, last: &Used, deliveries: Option<f64>) -> Figures {
    let mut figures = Figures::new();
    let time = (last.at - first.at) as f64;
    let server = (last.server_cpu - first.server_cpu) as f64;
    let load = (last.load_cpu - first.load_cpu) as f64;
    let mut set = |name: &str, value: f64| figures.insert(name.to_owned(), value);
    set("server_cpu_share", server / time);
    set("load_cpu_share", load / time);
    set("server_cpu_ms_per_s", server / time * 1_000.0);
    if let Some(deliveries) = deliveries.filter(|deliveries| *deliveries > 0.0) {
        set("server_cpu_us_per_delivery", server / 1_000.0 / deliveries);
        set("load_cpu_us_per_delivery", load / 1_000.0 / deliveries);
        if let (Some(first), Some(last)) = (first.counts, last.counts) {
            set("bytes_per_delivery", (last.bytes - first.bytes) as f64 / deliveries);
            // None for a peer of streams.
            let datagrams = last.datagrams - first.datagrams;
            if datagrams > 0 {
                set("datagrams_per_delivery", datagrams as f64 / deliveries);
            }
        }
    }
    figures
}
