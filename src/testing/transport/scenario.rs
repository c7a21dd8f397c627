//! The parameters of a run, and how a seed draws them.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::base::Timestamp;
use crate::link::{Blackhole, Impairments, Marks};
use crate::rudp::{CongestionControl, ConnectionConfig};

/// Parameters of a run.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Number of the server's workers.
    pub workers: u8,
    /// Paths, with one client each.
    pub paths: Vec<Path>,
    /// For the server's end of each connection.
    pub server: ConnectionConfig,
    /// For the clients' ends.
    pub client: ConnectionConfig,
    /// Start of the virtual clock.
    pub start: Timestamp,
    /// Time for which both ends send before the paths become good and the run is judged.
    pub busy: Duration,
    /// Mean time from a client's connect to its crash or the close by either end; `None` = all stay.
    pub life: Option<Duration>,
    /// Mean time between naps, in which one client or one worker does nothing.
    pub naps: Option<Duration>,
    /// Mean time between jumps of the clock, as on a machine that slept.
    pub jumps: Option<Duration>,
    /// Mean time between an attacker's datagrams.
    pub attacks: Option<Duration>,
    /// Mean time between a client's changes of address.
    pub address_changes: Option<Duration>,
    /// Mean time between changes of the paths' MTUs.
    pub mtu_changes: Option<Duration>,
    /// Whether clients must prove their address with a cookie.
    pub cookies: bool,
    /// Share of connections that the server refuses.
    pub refused: f64,
}

/// A client's path to the server.
#[derive(Debug, Clone)]
pub struct Path {
    /// Client to server.
    pub up: Impairments,
    /// Server to client.
    pub down: Impairments,
    /// Mean time between the times at which an end sends.
    pub pace: Duration,
}

impl Scenario {
    /// Returns the scenario that `seed` draws: from a good path to the worst that is promised to work.
    pub fn drawn(seed: u64) -> Self {
        let rng = &mut StdRng::seed_from_u64(seed ^ 0x7363_656e_6172_696f);
        let idle = Duration::from_millis(pick(rng, &[1_500, 3_000, 5_000]));
        let paths: Vec<Path> = (0..rng.random_range(1..=5)).map(|_| Path::drawn(rng, idle)).collect();
        let mut scenario = Self {
            workers: rng.random_range(1..=3),
            paths,
            server: draw_config(rng, idle),
            client: draw_config(rng, idle),
            start: draw_start(rng),
            busy: millis(rng, 2_000..8_000),
            life: maybe(rng, 0.6, |rng| millis(rng, 500..8_000)),
            naps: maybe(rng, 0.25, |rng| millis(rng, 300..3_000)),
            jumps: maybe(rng, 0.25, |rng| millis(rng, 300..3_000)),
            attacks: maybe(rng, 0.3, |rng| millis(rng, 2..30)),
            address_changes: maybe(rng, 0.3, |rng| millis(rng, 200..3_000)),
            cookies: rng.random_bool(0.3),
            refused: if rng.random_bool(0.1) { 0.3 } else { 0.0 },
            mtu_changes: maybe(rng, 0.4, |rng| millis(rng, 300..4_000)),
        };
        for link in scenario.paths.iter_mut().flat_map(|path| [&mut path.up, &mut path.down]) {
            if rng.random_bool(0.5) {
                link.marks = pick(rng, &[Marks::Keep, Marks::Clear, Marks::Drop, Marks::Congest]);
                link.mark_after = maybe(rng, 0.5, |rng| millis(rng, 1..20));
            }
        }
        scenario
    }

    /// Returns two clients that stay and send all the time on paths that lose little. No connection may end,
    /// whatever else happens to it.
    pub fn steady() -> Self {
        let link = Impairments {
            loss: 0.05,
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(5),
            reorder: 0.02,
            ..Impairments::default()
        };
        let path = Path { up: link.clone(), down: link, pace: Duration::from_millis(10) };
        let config = ConnectionConfig { idle_timeout: Duration::from_secs(5), ..ConnectionConfig::default() };
        Self {
            workers: 3,
            paths: vec![path.clone(), path],
            server: config,
            client: config,
            start: Timestamp::from_millis(1_000),
            busy: Duration::from_secs(4),
            life: None,
            naps: None,
            jumps: None,
            attacks: None,
            address_changes: None,
            mtu_changes: None,
            cookies: false,
            refused: 0.0,
        }
    }

    /// Returns the idle timeout of connections: the smaller of both ends'.
    pub(super) fn idle_timeout(&self) -> Duration {
        self.server.idle_timeout.min(self.client.idle_timeout)
    }

    /// Whether a connection must not time out while its peer lives, because losing enough packets for that is
    /// practically impossible.
    pub(super) fn must_live(&self) -> bool {
        let idle = self.idle_timeout();
        let is_good = |path: &Path| {
            let has_two_holes = path.up.blackhole.is_some() && path.down.blackhole.is_some();
            !has_two_holes && [&path.up, &path.down].iter().all(|link| is_survivable(link, idle))
        };
        let stays = self.address_changes.is_none_or(|mean| mean >= Duration::from_secs(1));
        stays && self.naps.is_none() && self.jumps.is_none() && self.paths.iter().all(is_good)
    }

    /// Whether, in addition, an end that closes always reaches its peer in the few seconds in which it tries.
    pub(super) fn must_tell(&self) -> bool {
        let has_hole = |path: &Path| [&path.up, &path.down].iter().any(|link| link.blackhole.is_some());
        self.must_live() && !self.paths.iter().any(has_hole)
    }
}

impl Path {
    fn drawn(rng: &mut StdRng, idle: Duration) -> Self {
        let (up, down) = (draw_link(rng, idle), draw_link(rng, idle));
        Self { up, down, pace: millis(rng, 2..40) }
    }
}

/// Whether enough packets get through within each idle timeout, even by a pessimistic estimate: a silent end
/// sends a dozen packets in that time.
fn is_survivable(link: &Impairments, idle: Duration) -> bool {
    let is_clean = link.loss == 0.0 && link.corrupt == 0.0 && link.rate.is_none();
    let is_fair = link.loss <= 0.1 && link.burst <= 1.5 && link.rate.is_none_or(|rate| rate >= 1_000_000);
    match link.blackhole {
        // A probe arrives after its end, and before the next one begins.
        Some(Blackhole { every, lasting }) => {
            is_clean && lasting + PROBES_COME <= idle && every >= lasting + PROBES_COME
        }
        None => is_fair && idle >= Duration::from_secs(3),
    }
}

/// Longer than the time between two probes of a silent end on any path that is drawn.
const PROBES_COME: Duration = Duration::from_millis(1_200);

fn draw_link(rng: &mut StdRng, idle: Duration) -> Impairments {
    let longest_hole = idle.saturating_sub(Duration::from_millis(150));
    let (slowest, worst) = (pick(rng, &[1_000, 20_000, 120_000]), pick(rng, &[0.05, 0.3]));
    let mut link = Impairments {
        delay: Duration::from_micros(rng.random_range(100..slowest)),
        queue: millis(rng, 10..300),
        ..Impairments::default()
    };
    if rng.random_bool(0.2) {
        return link;
    }
    link.rate = maybe(rng, 0.25, |rng| pick(rng, &[400_000, 2_000_000, 20_000_000]));
    link.mtu = maybe(rng, 0.3, draw_mtu);
    link.blackhole = maybe(rng, 0.2, |rng| draw_hole(rng, longest_hole));
    if rng.random_bool(0.6) {
        link.loss = rng.random_range(0.0..worst);
        link.burst = pick(rng, &[1.0, 1.0, 2.0, 6.0]);
    }
    if rng.random_bool(0.5) {
        link.jitter = millis(rng, 1..40);
    }
    for share in [&mut link.duplicate, &mut link.reorder, &mut link.corrupt] {
        if rng.random_bool(0.35) {
            *share = rng.random_range(0.0..0.15);
        }
    }
    link
}

/// Returns an MTU of an Ethernet or of a tunnel over one; occasionally a larger one.
pub(super) fn draw_mtu(rng: &mut StdRng) -> usize {
    if rng.random_bool(0.2) { rng.random_range(1_500..9_300) } else { rng.random_range(1_200..1_500) }
}

/// Returns a hole of milliseconds to `longest`, with all orders of magnitude equally likely.
fn draw_hole(rng: &mut StdRng, longest: Duration) -> Blackhole {
    let lasting = longest.mul_f64(0.003f64.powf(rng.random_range(0.0..1.0)));
    Blackhole { every: lasting + millis(rng, 400..2_500), lasting }
}

fn draw_config(rng: &mut StdRng, idle: Duration) -> ConnectionConfig {
    ConnectionConfig {
        idle_timeout: idle + pick(rng, &[Duration::ZERO, Duration::from_millis(700)]),
        keepalive: millis(rng, 100..2_000),
        max_ack_delay: Duration::from_millis(pick(rng, &[0, 5, 10, 25, 40, 65])),
        link_datagram_bytes: pick(rng, &[1_200, 1_452, 1_452, 9_216, 9_216]),
        max_datagram_bytes: pick(rng, &[1_200, 9_216, 9_216, 9_216]),
        max_message_bytes: pick(rng, &[4_000, 50_000, 400_000]),
        receive_buffer_bytes: pick(rng, &[1 << 16, 1 << 20]),
        send_buffer_bytes: pick(rng, &[20_000, 400_000, 1 << 20]),
        unreliable_buffer_bytes: pick(rng, &[2_000, 64 << 10]),
        congestion_control: pick(rng, &[CongestionControl::Delay, CongestionControl::NewReno]),
        renew_keys_after: pick(rng, &[30, 300, 1 << 22]),
        ..ConnectionConfig::default()
    }
}

/// Returns any time, usually an extreme one, near a change of the whole seconds that the server's clock also
/// counts.
fn draw_start(rng: &mut StdRng) -> Timestamp {
    let near = pick(rng, &[0, 0, 999_990, 1 << 32, u64::MAX / 2]);
    Timestamp::from_micros(near + rng.random_range(0..20))
}

fn pick<T: Copy>(rng: &mut StdRng, from: &[T]) -> T {
    let at = rng.random_range(0..from.len());
    *from.get(at).expect("invariant: drawn from the range")
}

fn maybe<T>(rng: &mut StdRng, chance: f64, draw: impl FnOnce(&mut StdRng) -> T) -> Option<T> {
    if rng.random_bool(chance) { Some(draw(rng)) } else { None }
}

fn millis(rng: &mut StdRng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A condition that is drawn too seldom is not tested.
    #[test]
    fn two_hundred_seeds_draw_everything_that_there_is() {
        let scenarios: Vec<Scenario> = (0..200).map(Scenario::drawn).collect();
        let links = || scenarios.iter().flat_map(|it| &it.paths).flat_map(|path| [&path.up, &path.down]);
        let is_any = |holds: fn(&Impairments) -> bool| links().filter(|link| holds(link)).count() > 20;
        assert!(is_any(|link| link.loss > 0.1) && is_any(|link| link.loss > 0.01 && link.burst > 1.0));
        assert!(is_any(|link| link.duplicate > 0.0) && is_any(|link| link.reorder > 0.0));
        assert!(is_any(|link| link.corrupt > 0.0) && is_any(|link| link.rate.is_some()));
        for marks in [Marks::Clear, Marks::Drop, Marks::Congest] {
            assert!(links().filter(|link| link.marks == marks).count() > 20, "{marks:?}");
        }
        assert!(is_any(|link| link.rate.and(link.mark_after).is_some()));
        assert!(is_any(|link| link.mtu.is_some()) && is_any(|link| link.blackhole.is_some()));
        assert!(is_any(
            |link| *link == Impairments { delay: link.delay, queue: link.queue, ..Impairments::default() }
        ));
        let times = |holds: fn(&Scenario) -> bool| scenarios.iter().filter(|it| holds(it)).count();
        assert!(times(|it| it.naps.is_some()) > 10 && times(|it| it.jumps.is_some()) > 10);
        assert!(times(|it| it.attacks.is_some()) > 10 && times(|it| it.life.is_some()) > 10);
        assert!(times(|it| it.mtu_changes.is_some()) > 20);
        assert!(times(|it| it.cookies) > 10 && times(|it| it.refused > 0.0) > 3);
        assert!(times(Scenario::must_live) > 3 && times(Scenario::must_tell) > 2);
        assert!(times(|it| it.start < Timestamp::from_millis(1)) > 10);
        assert!(times(|it| it.start > Timestamp::from_micros(u64::MAX / 4)) > 10);
    }
}
