//! Known answers, worked by hand: datagrams of 1,200 bytes on a path of 40 ms.

use super::*;

/// Also where a `usize` has 32 bits, of which the product of the largest window has more.
#[test]
fn a_part_of_the_largest_window_is_no_overflow() {
    let times = [Duration::from_secs(3_600), Duration::from_micros(1)];
    assert_eq!(scaled(MAX_WINDOW_BYTES, times[1], times[0]), 0);
    assert_eq!(scaled(MAX_WINDOW_BYTES, times[0], times[0]), MAX_WINDOW_BYTES);
    assert_eq!(scaled(1_000, Duration::from_millis(40), Duration::from_millis(10)), 4_000);
    assert_eq!(scaled(1, times[1], Duration::ZERO), 1);
}

/// What the peer holds back makes the window no larger than any may be.
// spec-test: REL-8
#[test]
fn the_largest_window_has_16_mebibytes_beyond_slow_start_too() {
    let mut path = Path::past_slow_start();
    assert!(path.controller.window_bytes() > path.controller.window);
    path.controller.set_window(usize::MAX);
    assert_eq!(path.controller.window_bytes(), 16_777_216);
}

struct Path {
    now: Timestamp,
    controller: ShortQueue,
}

impl Path {
    fn new() -> Self {
        Self {
            now: Timestamp::ZERO,
            controller: ShortQueue::new(Timestamp::ZERO, 1_200, Duration::from_millis(40)),
        }
    }

    /// One round of `packets`, of which each takes `rtt`.
    fn round(&mut self, packets: usize, rtt: u64, app_limited: bool) -> usize {
        let (sent_at, rtt) = (self.now, Duration::from_millis(rtt));
        self.now += rtt;
        for _ in 0..packets {
            let acked = Acked { bytes: 1_200, sent_at, rtt: Some(rtt), app_limited };
            self.controller.on_acked(self.now, &acked);
        }
        self.controller.window
    }

    /// Leaves slow start with 24,000 bytes: 12,000, doubled twice, halved.
    fn past_slow_start() -> Self {
        let mut path = Self::new();
        assert_eq!(path.round(10, 40, false), 24_000);
        assert_eq!(path.round(20, 40, false), 48_000);
        assert_eq!(path.round(3, 80, false), 24_000);
        path.controller.delay.without_noise();
        path
    }

    fn lose(&mut self, packets: u32) -> usize {
        self.lose_unbound(packets, false)
    }

    fn lose_unbound(&mut self, packets: u32, app_limited: bool) -> usize {
        let lost = Lost { packets, newest_sent_at: self.now, app_limited, persistent: false };
        self.controller.on_lost(self.now, &lost);
        self.controller.window
    }
}

#[test]
fn slow_start_ends_with_half_the_window_when_the_queue_grows() {
    Path::past_slow_start();
}

#[test]
fn below_the_target_the_window_grows_faster_each_round_up_to_a_32nd_of_it() {
    let mut path = Path::past_slow_start();
    path.controller.delay.with_latest(None);
    path.controller.round.shortest = None;
    path.controller.window = 90_000;
    assert_eq!(path.round(1, 40, false), 91_200);
    assert_eq!(path.round(1, 40, false), 93_600, "one datagram, then two");
    assert_eq!(path.round(1, 40, false), 96_000, "75 datagrams at first: not three");
}

/// 40 datagrams in 40 ms, but a peer acks the 16th. Of those of 400 ms 4 leave in 40.
#[test]
fn what_waits_for_its_ack_to_leave_is_in_no_queue() {
    let mut path = Path::past_slow_start();
    path.controller.window = 48_000;
    path.round(1, 40, false);
    assert_eq!(path.controller.window_bytes(), path.controller.window + 16 * 1_200);
    path.controller.delay.with_latest(Some(Duration::from_millis(400)));
    assert_eq!(path.controller.window_bytes(), path.controller.window * 44 / 40);
}

/// 65 ms on a path of 40: 25 of queue, 20 above the target of 5. 24,000 × 0.8 × 20 / 65 = 5,907. Three samples of one
/// queue, as many as end slow start, are no more.
#[test]
fn above_the_target_it_shrinks_in_proportion_to_the_excess() {
    for samples in [1, 3] {
        let mut path = Path::past_slow_start();
        path.controller.delay.with_latest(None);
        path.controller.round.shortest = None;
        let window = path.round(samples, 65, false);
        assert!((24_000 - 5_908..=24_000 - 5_900).contains(&window), "{samples}: {window}");
        assert!(!path.controller.is_in_slow_start());
    }
}

#[test]
fn a_stream_that_the_window_does_not_bind_keeps_the_initial_window() {
    let mut path = Path::new();
    (0..1_000).for_each(|round| assert_eq!(path.round(1, 40 + round % 100, true), 12_000));
}

/// 500,000 bytes from a transfer; then 50 datagrams a round arrive, and as many are lost. 42,000 = 60,000 less 30 %.
// spec-test: REL-8
#[test]
fn congestion_takes_back_a_window_that_binds_nothing() {
    let mut path = Path::past_slow_start();
    path.controller.set_window(500_000);
    (0..2).for_each(|_| _ = path.round(50, 40, true));
    assert_eq!(path.lose_unbound(50, true), 42_000);
    assert_eq!(path.lose_unbound(50, true), 42_000, "once a round");
    for _ in 0..20 {
        path.round(5, 40, true);
        path.lose_unbound(5, true);
    }
    assert_eq!(path.controller.window, 12_000, "a thin stream keeps the initial window");
    let newest_sent_at = path.now + Duration::from_millis(1);
    path.controller.set_window(500_000);
    (0..2).for_each(|_| _ = path.round(50, 40, true));
    path.controller.on_marked(path.now, &Marked { newest_sent_at, app_limited: true });
    assert_eq!(path.controller.window, 48_000, "four fifths of what arrives, for a mark");
}

#[test]
fn one_loss_in_a_hundred_is_not_congestion_but_one_in_twenty_is() {
    let mut path = Path::past_slow_start();
    let before = path.controller.window;
    for _ in 0..20 {
        path.round(99, 40, false);
        path.lose(1);
    }
    let grown = path.controller.window;
    assert!(grown > before);
    for _ in 0..20 {
        path.round(50, 40, false);
        path.lose(3);
    }
    assert!(path.controller.window < grown);
}

/// 24,000 bytes after slow start: four fifths of it a round, four datagrams at the end.
// spec-test: ECN-6
#[test]
fn marks_shrink_the_window_once_a_round_and_leave_four_datagrams() {
    let mut path = Path::past_slow_start();
    let mark = |path: &mut Path, app_limited| {
        let newest_sent_at = path.now;
        path.now += Duration::from_millis(1);
        path.controller.on_marked(path.now, &Marked { newest_sent_at, app_limited });
        path.controller.window
    };
    (0..2).for_each(|_| _ = path.round(20, 40, true));
    path.controller.window = 24_000;
    assert_eq!(mark(&mut path, true), 24_000, "as much arrived: it is not this end that fills the queue");
    assert_eq!(mark(&mut path, false), 19_200);
    assert_eq!(mark(&mut path, false), 19_200, "the same round");
    assert_eq!(path.lose(20), 19_200, "losses count as the same congestion");
    for _ in 0..20 {
        path.round(1, 40, true);
        mark(&mut path, false);
    }
    assert_eq!(path.controller.window, 4_800);
}

// spec-test: ECN-6
#[test]
fn a_mark_ends_slow_start_with_half_the_window() {
    let mut path = Path::new();
    path.round(10, 40, false);
    let marked = Marked { newest_sent_at: path.now, app_limited: false };
    path.controller.on_marked(path.now, &marked);
    assert_eq!(path.controller.window, 12_000);
    assert!(!path.controller.is_in_slow_start());
}

#[test]
fn it_competes_beside_a_flow_that_keeps_the_queue_full_until_the_queue_drains() {
    let mut path = Path::past_slow_start();
    (0..30).for_each(|_| {
        path.controller.delay.without_noise();
        let packets = path.controller.window_bytes() / 1_200;
        path.round(packets, 120, false);
    });
    assert!(matches!(path.controller.mode, Mode::Competing(_)));
    path.round(1, 40, false);
    path.round(1, 40, false);
    assert!(matches!(path.controller.mode, Mode::Delay));
}

/// One round of all that may be under way, on a line that has a packet for 12 ms.
fn slow_round(path: &mut Path, queue: u64) -> usize {
    path.controller.delay.without_noise();
    let packets = path.controller.window_bytes() / 1_200;
    path.round(packets, 40.max(packets as u64 * 12 + queue), false);
    path.controller.window_bytes()
}

/// The least window is a queue there. Then somebody else comes.
#[test]
fn who_is_alone_on_a_slow_line_competes_with_nobody_for_long_and_with_somebody_at_once() {
    let mut path = Path::past_slow_start();
    path.controller.set_window(0);
    let windows: Vec<_> = (0..60).map(|_| slow_round(&mut path, 0)).collect();
    assert!(windows.iter().all(|window| *window < 40_000), "{windows:?}");
    let is_competing = |path: &Path| matches!(path.controller.mode, Mode::Competing(_));
    assert!(path.controller.alone.holds(path.now) && !is_competing(&path));
    for _ in 0..200 {
        slow_round(&mut path, 0);
        assert!(!is_competing(&path), "nobody came");
    }
    assert!((0..30).any(|_| {
        slow_round(&mut path, 150);
        is_competing(&path)
    }));
}

/// Beside a flow that has more of the queue each round.
#[test]
fn who_gets_more_of_a_slow_line_by_competing_goes_on() {
    let mut path = Path::past_slow_start();
    path.controller.set_window(0);
    let mut windows = Vec::new();
    for round in 0..60 {
        windows.push(slow_round(&mut path, 150 + 2 * round));
        assert!(!path.controller.alone.holds(path.now));
    }
    assert!(windows.iter().any(|window| *window > 20_000), "{windows:?}");
}

/// What is found lost later of the same outage leaves the threshold and the window as they are.
#[test]
fn an_outage_that_is_noticed_twice_is_one() {
    let mut path = Path::past_slow_start();
    path.controller.set_window(200_000);
    let mut lost = Lost { packets: 50, newest_sent_at: path.now, app_limited: false, persistent: true };
    path.controller.on_lost(path.now, &lost);
    let threshold = path.controller.slow_start_threshold;
    assert!(threshold >= 100_000, "{threshold}");
    for persistent in [true, false] {
        lost.persistent = persistent;
        path.controller.on_lost(path.now, &lost);
        assert_eq!((path.controller.window, path.controller.slow_start_threshold), (4_800, threshold));
    }
}

/// 500,000 bytes that a thin stream does not use: after its losses half of that is found again in slow start.
#[test]
fn a_window_that_was_taken_back_is_found_again_in_slow_start() {
    let mut path = Path::past_slow_start();
    (0..3).for_each(|_| _ = path.round(2, 40, true));
    path.controller.set_window(500_000);
    path.lose_unbound(5, true);
    assert_eq!((path.controller.window, path.controller.slow_start_threshold), (12_000, 250_000));
    (0..30).for_each(|_| _ = path.round(1, 40, true));
    path.controller.delay.without_noise();
    path.controller.loss = LossShare::over(LOSS_PACKETS);
    for packets in [10, 20, 40, 80] {
        path.round(packets, 40, false);
    }
    assert!(path.controller.window > 150_000, "{}", path.controller.window);
    let lost = Lost { packets: 5, newest_sent_at: path.now, app_limited: true, persistent: true };
    let half = path.controller.window / 2;
    path.controller.on_lost(path.now, &lost);
    assert_eq!((path.controller.window, path.controller.slow_start_threshold), (4_800, half));
}

#[test]
fn persistent_congestion_leaves_four_datagrams_and_slow_start() {
    let mut path = Path::past_slow_start();
    let lost = Lost { packets: 1, newest_sent_at: path.now, app_limited: true, persistent: true };
    let half = path.controller.window / 2;
    assert!(path.controller.window_bytes() / 2 > half, "more is in flight while acks are delayed");
    path.controller.on_lost(path.now, &lost);
    assert_eq!((path.controller.window, path.controller.slow_start_threshold), (4_800, half.max(4_800)));
    assert!(path.controller.is_in_slow_start() || half < 4_800);
}

/// Rounds of all that may be under way, on a line of 20 Mbit/s without other flows, until `end`. Returns the
/// packets that arrive from `begin` on.
fn arrive(path: &mut Path, base: u64, begin: u64, end: u64) -> usize {
    let mut arrived = 0;
    while path.now < Timestamp::from_millis(end) {
        let packets = path.controller.window_bytes() / 1_200;
        if path.now >= Timestamp::from_millis(begin) {
            arrived += packets;
        }
        path.round(packets, base.max(packets as u64 * 1_200 / 2_500), false);
    }
    arrived
}

/// A radio link whose base station changes, a route around a failure: no queue has grown.
#[test]
fn a_path_that_becomes_longer_keeps_most_of_its_rate() {
    // At 240 ms the window that filled 40 ms is a sixth of what fills the line.
    for (longer, least) in [(8, 70), (15, 70), (20, 70), (30, 70), (60, 70), (200, 15)] {
        for step in [11_000, 12_600, 14_000, 15_900] {
            let mut path = Path::past_slow_start();
            arrive(&mut path, 40, 0, step);
            let end = step + 20_000;
            let arrived = arrive(&mut path, 40 + longer, step, end);
            let line = 20_000 * 2_500 / 1_200;
            let share = arrived * 100 / line;
            assert!(share >= least, "+{longer} ms at {step} ms: {share} % of the line");
        }
    }
}

/// 4 datagrams in each 40 ms are 120,000 bytes/s. Over 340 ms, and a quarter more: 51,000 bytes.
#[test]
fn a_stream_of_its_own_pace_keeps_it_on_a_path_that_becomes_longer() {
    let stepped = || {
        let mut path = Path::new();
        (0..200).for_each(|_| assert_eq!(path.round(4, 40, true), 12_000));
        assert_eq!(path.round(3, 340, false), 51_000, "in slow start");
        path
    };
    let mut path = stepped();
    (0..60).for_each(|round| assert!(path.round(20, 340, false) >= 51_000, "round {round}"));
    let mut path = stepped();
    path.controller.go_on_with(30_000);
    assert_eq!(path.round(20, 340, false), 51_000, "past slow start");
    path.lose(4);
    for _ in 0..6 {
        path.round(20, 340, false);
    }
    assert!(path.controller.window < 30_000, "a path that loses carries less: {}", path.controller.window);
}

/// After that time the line may be another's.
#[test]
fn a_stream_of_its_own_pace_is_forgotten_with_the_minimum() {
    let mut path = Path::new();
    for _ in 0..200 {
        path.round(4, 40, true);
    }
    let carries = |path: &Path| path.controller.carried.window(Duration::from_millis(340));
    assert_eq!(carries(&path), 51_000);
    let began = path.now;
    while path.now < began + Duration::from_secs(4) {
        path.round(1, 41, false);
    }
    assert_eq!(carries(&path), 51_000);
    while path.now < began + Duration::from_secs(12) {
        path.round(1, 41, false);
    }
    assert_eq!(carries(&path), 0);
}

// spec-test: REL-8
#[test]
fn after_persistent_congestion_the_path_may_be_longer() {
    let mut path = Path::past_slow_start();
    let lost = Lost { packets: 1, newest_sent_at: path.now, app_limited: false, persistent: true };
    path.controller.on_lost(path.now, &lost);
    path.round(1, 140, false);
    assert_eq!(path.controller.delay.of(Duration::from_millis(140)), Duration::ZERO);
}

/// A path of 40 ms that takes 60 whatever is sent, as when a radio link has grants every 20 ms.
#[test]
fn a_delay_that_reducing_does_not_take_away_is_first_taken_for_the_paths_own() {
    let mut path = Path::past_slow_start();
    let before = path.controller.window;
    // Every second round waits for the effect of the one before.
    let windows: Vec<usize> = (0..15).map(|_| path.round(10, 60, false)).collect();
    assert!(windows.iter().all(|window| (before / 2..=before).contains(window)), "{windows:?}");
    assert_eq!(windows.last(), Some(&before), "all is given back");
    assert!(path.controller.delay.target() >= Duration::from_millis(25));
    path.round(10, 60, false);
    assert!(path.round(10, 60, false) > before && matches!(path.controller.mode, Mode::Delay));
    // A longer one is another flow's.
    (0..17).for_each(|_| _ = path.round(10, 120, false));
    assert!(matches!(path.controller.mode, Mode::Competing(_)));
}

#[test]
fn a_window_reduced_by_a_fifth_should_take_a_fifth_of_the_round_trip() {
    let millis = Duration::from_millis;
    let vain = Vain { rounds: 1, window: 10_000, least: 5_000, queueing: millis(20).into() };
    let has_worked = |window, queueing| vain.has_worked(window, millis(40 + queueing), millis(queueing));
    assert!(has_worked(8_000, 14) && !has_worked(8_000, 15), "6 of 12 ms are enough");
    assert!(has_worked(10_000, 20) && !has_worked(10_000 - 1, 20));
    assert!(has_worked(12_000, 30), "it was not reduced");
    assert!(Vain::NONE.has_worked(0, millis(40), Duration::ZERO));
}
