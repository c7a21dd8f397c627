//! Measures each impairment alone.

use rand::SeedableRng;

use super::*;

const COUNT: u64 = 100_000;

fn link(impairments: Impairments) -> Link {
    Link::new(impairments, StdRng::seed_from_u64(11))
}

/// Sends `COUNT` numbered datagrams, one each millisecond. Returns number, send time and arrival of each.
fn run(link: &mut Link) -> Vec<(u64, Timestamp, Arrival)> {
    (0..COUNT)
        .flat_map(|number| {
            let now = Timestamp::from_millis(number);
            let arrivals = link.carry(now, Ecn::Ect0, Bytes::copy_from_slice(&number.to_be_bytes()));
            arrivals.into_iter().map(move |arrival| (number, now, arrival))
        })
        .collect()
}

fn share(count: u64) -> f64 {
    count as f64 / COUNT as f64
}

#[test]
fn without_impairments_all_arrive_at_once_and_as_they_are() {
    for (number, now, arrival) in run(&mut link(Impairments::default())) {
        assert_eq!(
            arrival,
            Arrival { at: now, ecn: Ecn::Ect0, datagram: Bytes::copy_from_slice(&number.to_be_bytes()) }
        );
    }
}

#[test]
fn the_same_seed_means_the_same_fate() {
    let harsh = Impairments {
        loss: 0.2,
        burst: 3.0,
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(20),
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.1,
        ..Impairments::default()
    };
    assert_eq!(run(&mut link(harsh.clone())), run(&mut link(harsh)));
}

#[test]
fn loss_is_the_share_asked_for_and_counted() {
    let mut lossy = link(Impairments { loss: 0.05, burst: 3.0, ..Impairments::default() });
    let arrived = u64::try_from(run(&mut lossy).len()).unwrap();
    let counts = lossy.counts();
    assert!((share(counts.lost) - 0.05).abs() < 0.005, "{counts:?}");
    assert_eq!((counts.offered, counts.delivered), (COUNT, arrived));
    assert_eq!(counts.lost + counts.delivered, COUNT);
    assert_eq!(counts.offered_bytes, COUNT * 8);
}

#[test]
fn delay_is_exact_and_jitter_adds_up_to_its_bound_in_order() {
    let (delay, jitter) = (Duration::from_millis(20), Duration::from_micros(900));
    let mut jittery = link(Impairments { delay, jitter, ..Impairments::default() });
    let extra: Vec<Duration> =
        run(&mut jittery).into_iter().map(|(_, now, arrival)| arrival.at.since(now + delay)).collect();
    assert!(extra.iter().all(|extra| *extra <= jitter));
    let mean = extra.iter().sum::<Duration>() / u32::try_from(extra.len()).unwrap();
    assert!(mean.abs_diff(jitter / 2) < Duration::from_micros(20), "{mean:?}");
}

#[test]
fn jitter_beyond_the_spacing_keeps_the_order() {
    let mut jittery = link(Impairments { jitter: Duration::from_millis(30), ..Impairments::default() });
    assert!(run(&mut jittery).is_sorted_by_key(|(_, _, arrival)| arrival.at));
}

#[test]
fn a_share_arrives_twice_and_never_before_it_was_sent() {
    let mut doubling = link(Impairments { duplicate: 0.1, ..Impairments::default() });
    let arrivals = run(&mut doubling);
    assert!((share(arrivals.len() as u64 - COUNT) - 0.1).abs() < 0.005);
    assert_eq!(doubling.counts().duplicated, arrivals.len() as u64 - COUNT);
    assert!(arrivals.iter().all(|(_, now, arrival)| arrival.at >= *now));
}

#[test]
fn a_share_is_overtaken_by_later_ones() {
    let mut reordering = link(Impairments { reorder: 0.05, ..Impairments::default() });
    let mut arrivals = run(&mut reordering);
    arrivals.sort_by_key(|(_, _, arrival)| arrival.at);
    let mut newest = 0;
    let mut late = 0;
    for (number, ..) in arrivals {
        late += u64::from(number < newest);
        newest = newest.max(number);
    }
    let held = reordering.counts().reordered;
    assert!((share(held) - 0.05).abs() < 0.005, "{held}");
    assert!(late * 10 > held * 9, "{late} of {held} held back were overtaken");
}

#[test]
fn a_share_arrives_with_one_to_three_bits_flipped() {
    let mut noisy = link(Impairments { corrupt: 0.1, ..Impairments::default() });
    let flipped: Vec<u32> = run(&mut noisy)
        .into_iter()
        .map(|(number, _, arrival)| {
            let received = u64::from_be_bytes(arrival.datagram[..].try_into().unwrap());
            (received ^ number).count_ones()
        })
        .filter(|bits| *bits > 0)
        .collect();
    assert!((share(flipped.len() as u64) - 0.1).abs() < 0.005);
    assert_eq!(noisy.counts().corrupted, flipped.len() as u64);
    assert!(flipped.iter().all(|bits| (1..=3).contains(bits)));
}

#[test]
fn a_limited_rate_carries_its_rate_and_drops_the_rest() {
    // 8 + 28 bytes each millisecond are 288 kbit/s; half of that passes.
    let mut slow =
        link(Impairments { rate: Some(144_000), queue: Duration::from_millis(50), ..Impairments::default() });
    let arrivals = run(&mut slow);
    assert!((share(arrivals.len() as u64) - 0.5).abs() < 0.005);
    assert_eq!(slow.counts().queue_full + slow.counts().delivered, COUNT);
    assert!(arrivals.iter().all(|(_, now, arrival)| arrival.at.since(*now) <= Duration::from_millis(52)));
}

#[test]
fn a_queue_marks_what_waits_long_if_its_sender_takes_notice() {
    // 36 bytes at 288 kbit/s take a millisecond: the sixth datagram waits 5 ms.
    let (rate, mark_after) = (Some(288_000), Some(Duration::from_millis(4)));
    let mut line = link(Impairments { rate, mark_after, ..Impairments::default() });
    let mut carry = |ecn| line.carry(Timestamp::ZERO, ecn, Bytes::from_static(&[0; 8]))[0].ecn;
    (0..5).for_each(|_| assert_eq!(carry(Ecn::Ect0), Ecn::Ect0));
    assert_eq!([Ecn::Ect0, Ecn::Ect1, Ecn::NotEct].map(carry), [Ecn::Ce, Ecn::Ce, Ecn::NotEct]);
    assert_eq!(line.counts().congested, 2);
}

#[test]
fn marks_are_kept_cleared_dropped_or_congested() {
    let arrive = |marks| {
        let mut link = link(Impairments { marks, ..Impairments::default() });
        let mut carry = |ecn| link.carry(Timestamp::ZERO, ecn, Bytes::new()).first().map(|it| it.ecn);
        [Ecn::NotEct, Ecn::Ect0, Ecn::Ce].map(&mut carry)
    };
    let plain = Some(Ecn::NotEct);
    assert_eq!(arrive(Marks::Keep), [plain, Some(Ecn::Ect0), Some(Ecn::Ce)]);
    assert_eq!(arrive(Marks::Clear), [plain; 3]);
    assert_eq!(arrive(Marks::Drop), [plain, None, None]);
    assert_eq!(arrive(Marks::Congest), [plain, Some(Ecn::Ce), Some(Ecn::Ce)]);
}

#[test]
fn the_mtu_is_the_longest_that_passes() {
    let mut narrow = link(Impairments { mtu: Some(1_200), ..Impairments::default() });
    assert_eq!(narrow.carry(Timestamp::ZERO, Ecn::Ect0, vec![0; 1_200].into()).len(), 1);
    assert_eq!(narrow.carry(Timestamp::ZERO, Ecn::Ect0, vec![0; 1_201].into()).len(), 0);
    assert_eq!(narrow.counts().too_long, 1);
}

#[test]
fn a_blackhole_comes_every_so_often_and_ends() {
    let (every, lasting) = (Duration::from_millis(1_000), Duration::from_millis(100));
    let mut holed =
        link(Impairments { blackhole: Some(Blackhole { every, lasting }), ..Impairments::default() });
    let passed: Vec<u64> = run(&mut holed).into_iter().map(|(number, ..)| number).collect();
    let expected: Vec<u64> = (0..COUNT).filter(|ms| *ms < 1_000 || ms % 1_000 >= 100).collect();
    assert_eq!(passed, expected);
    assert_eq!(holed.counts().blackholed, COUNT - expected.len() as u64);
}
