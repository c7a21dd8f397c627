//! Events that are reported to a trace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::*;

/// The part of an event that the tests examine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    Started,
    /// Its number, and the stream and number of each message in it.
    Sent(u64, Vec<(u32, u64)>),
    /// Its number, and the acked runs in it.
    Received(u64, Vec<(u64, u64)>),
    Dropped(PacketDropped),
    Lost(u64),
    Spurious(u64),
    /// The repaired packet.
    Repaired(u64),
    /// The packets that a REPAIR covers.
    RepairSent(Vec<u64>),
    Metrics(Metrics),
    LossTimer(Option<Timestamp>),
    Probe(u32),
    KeyUpdated(bool),
    DatagramSize(usize),
    /// Number of a packet that arrived marked CE.
    Congested(u64),
    /// The count in a packet that arrived.
    CeCount(u64),
    Ecn(EcnState),
    Closed,
}

pub(super) type Log = Arc<Mutex<Vec<(Timestamp, Seen)>>>;

struct Recorder(Log);

impl Trace for Recorder {
    fn event(&mut self, now: Timestamp, event: &TraceEvent<'_>) {
        let mut log = self.0.lock().unwrap();
        let seen = match *event {
            TraceEvent::Started => Seen::Started,
            TraceEvent::PacketSent { number, frames, .. } => {
                for frame in frames {
                    if let TracedFrame::Repair { packets, .. } = frame {
                        log.push((now, Seen::RepairSent(packets.to_vec())));
                    }
                }
                Seen::Sent(number.0, frames.iter().filter_map(place).collect())
            }
            TraceEvent::PacketReceived { number, ecn, frames, .. } => {
                if ecn == Ecn::Ce {
                    log.push((now, Seen::Congested(number.0)));
                }
                for frame in frames {
                    if let TracedFrame::CeCount { count } = frame {
                        log.push((now, Seen::CeCount(*count)));
                    }
                }
                Seen::Received(number.0, frames.iter().flat_map(acked).collect())
            }
            TraceEvent::PacketDropped { why, .. } => Seen::Dropped(why),
            TraceEvent::PacketLost { number } => Seen::Lost(number.0),
            TraceEvent::LossWasSpurious { number } => Seen::Spurious(number.0),
            TraceEvent::PacketRepaired { number, .. } => Seen::Repaired(number.0),
            TraceEvent::MetricsUpdated(metrics) => Seen::Metrics(metrics),
            TraceEvent::LossTimerUpdated { due } => Seen::LossTimer(due),
            TraceEvent::Probe { count } => Seen::Probe(count),
            TraceEvent::KeyUpdated { by_peer } => Seen::KeyUpdated(by_peer),
            TraceEvent::EcnStateUpdated { state } => Seen::Ecn(state),
            TraceEvent::DatagramSizeUpdated { bytes } => Seen::DatagramSize(bytes),
            TraceEvent::Closed(_) => Seen::Closed,
        };
        log.push((now, seen));
    }
}

fn place(frame: &TracedFrame) -> Option<(u32, u64)> {
    match frame {
        TracedFrame::Message { place: Some(place), .. } => Some((place.stream.0, place.number)),
        _ => None,
    }
}

fn acked(frame: &TracedFrame) -> Vec<(u64, u64)> {
    match frame {
        TracedFrame::Ack { runs, .. } => runs.to_vec(),
        _ => Vec::new(),
    }
}

pub(super) fn traced(pair: &mut Pair, end: usize) -> Log {
    let log = Log::default();
    pair.ends[end].set_trace(pair.now, Box::new(Recorder(Arc::clone(&log))));
    log
}

pub(super) fn seen(log: &Log) -> Vec<(Timestamp, Seen)> {
    log.lock().unwrap().clone()
}

/// Returns the packets that carried message `number` of [`STREAM`], in order.
fn carriers(log: &Log, number: u64) -> Vec<u64> {
    let carries = |seen| match seen {
        (_, Seen::Sent(packet, places)) if places.contains(&(STREAM.0, number)) => Some(packet),
        _ => None,
    };
    seen(log).into_iter().filter_map(carries).collect()
}

#[test]
fn a_trace_names_the_loss_and_the_packet_that_made_it_good() {
    let config = ConnectionConfig { repair_bytes_per_second: 0, ..ConnectionConfig::default() };
    let mut pair = Pair::with_config(3, config);
    let (began, log) = (pair.now, traced(&mut pair, CLIENT));
    for n in 0..20u8 {
        pair.send(CLIENT, Delivery::ReliableOrdered, &[n]);
        pair.run(Duration::from_millis(30));
    }
    let dark = pair.now;
    pair.dark_until = dark + Duration::from_millis(1);
    pair.send(CLIENT, Delivery::ReliableOrdered, &[20]);
    pair.run(Duration::from_millis(4));
    pair.send(CLIENT, Delivery::ReliableOrdered, &[21]);
    pair.run(SECOND);

    let events = seen(&log);
    assert_eq!(events[0], (began, Seen::Started));
    assert!(events.is_sorted_by_key(|(at, _)| *at));
    let [lost, again] = carriers(&log, 20)[..] else { panic!("message 20 is not sent twice: {events:?}") };
    let losses = events.iter().filter(|(_, seen)| matches!(seen, Seen::Lost(_)));
    let [(at, named)] = losses.collect::<Vec<_>>()[..] else { panic!("not one loss: {events:?}") };
    assert_eq!(*named, Seen::Lost(lost));
    // Announced in advance by the loss timer.
    assert!(events.contains(&(dark + Duration::from_millis(44), Seen::LossTimer(Some(*at)))), "{events:?}");
    let resent = events.iter().find(|(_, seen)| matches!(seen, Seen::Sent(packet, _) if *packet == again));
    assert_eq!(resent.unwrap().0, *at, "it leaves as soon as it is known to be lost");
    assert!(again > lost);
}

#[test]
fn the_numbers_sent_ascend_and_acks_name_only_them() {
    let mut pair = Pair::new(5);
    (pair.loss, pair.reorder) = (0.1, 0.1);
    let (client, server) = (traced(&mut pair, CLIENT), traced(&mut pair, SERVER));
    for n in 0..300u32 {
        for from in [CLIENT, SERVER] {
            pair.send(from, Delivery::ReliableOrdered, &n.to_be_bytes());
        }
        pair.run(Duration::from_millis(10));
    }
    for (end, log) in [(CLIENT, &client), (SERVER, &server)] {
        let mut sent: Vec<u64> = Vec::new();
        for (_, seen) in seen(log) {
            match seen {
                Seen::Sent(number, _) => {
                    assert!(sent.last().is_none_or(|last| *last < number));
                    sent.push(number);
                }
                Seen::Received(_, runs) => {
                    let known = |number: &u64| sent.binary_search(number).is_ok();
                    assert!(runs.iter().all(|(first, last)| first <= last && known(last)), "{runs:?}");
                }
                _ => {}
            }
        }
        let count = |wanted: fn(&Seen) -> bool| seen(log).iter().filter(|(_, seen)| wanted(seen)).count();
        let stats = pair.ends[end].stats();
        assert_eq!(sent.len() as u64, stats.packets_sent);
        assert_eq!(count(|seen| matches!(seen, Seen::Received(..))) as u64, stats.packets_received);
        assert_eq!(count(|seen| matches!(seen, Seen::Lost(_))) as u64, stats.packets_lost);
        assert_eq!(count(|seen| matches!(seen, Seen::RepairSent(_))) as u64, stats.repairs_sent);
        assert_eq!(count(|seen| matches!(seen, Seen::Repaired(_))) as u64, stats.packets_repaired);
        assert!(stats.packets_lost > 0 && stats.repairs_sent > 0 && stats.packets_repaired > 0, "{stats:?}");
    }
}

#[test]
fn a_probe_the_estimates_and_the_close_are_told() {
    let mut pair = Pair::new(2);
    let log = traced(&mut pair, CLIENT);
    pair.run(SECOND);
    pair.dark_until = pair.now + Duration::from_millis(1);
    pair.send(CLIENT, Delivery::ReliableOrdered, b"tail");
    pair.run(Duration::from_millis(200));
    let events = seen(&log);
    assert!(events.iter().any(|(_, seen)| *seen == Seen::Probe(1)), "{events:?}");
    let metrics = events.iter().rev().find_map(|(_, seen)| match seen {
        Seen::Metrics(metrics) => Some(*metrics),
        _ => None,
    });
    let metrics = metrics.unwrap();
    assert_eq!((metrics.min_rtt, metrics.probes), (Some(Duration::from_millis(40)), 0));
    assert_eq!(metrics.queued_bytes, 0);

    let now = pair.now;
    pair.ends[CLIENT].close(now, CloseCode::None, "bye");
    assert_eq!(seen(&log).last(), Some(&(now, Seen::Closed)));
}

#[test]
fn new_keys_are_told_at_both_ends() {
    let mut pair = Pair::new(4);
    let (client, server) = (traced(&mut pair, CLIENT), traced(&mut pair, SERVER));
    pair.run(SECOND);
    pair.ends[CLIENT].keys.renew_after(1);
    pair.send(CLIENT, Delivery::ReliableOrdered, b"x");
    pair.run(Duration::from_millis(20));
    pair.flush();
    for (log, by_peer) in [(&client, false), (&server, true)] {
        let updates: Vec<Seen> = seen(log)
            .into_iter()
            .map(|(_, seen)| seen)
            .filter(|seen| matches!(seen, Seen::KeyUpdated(_)))
            .collect();
        assert_eq!(updates, [Seen::KeyUpdated(by_peer)]);
    }
}

#[test]
fn a_packet_without_effect_is_told_and_a_quiet_connection_tells_nothing() {
    let mut pair = Pair::new(6);
    let log = traced(&mut pair, SERVER);
    assert_eq!(seen(&log), []);
    let now = pair.now;
    let dropped = pair.ends[SERVER]
        .handle_packet(now, CLIENT_ADDRESS.into(), BytesMut::from(&[0x40; 40][..]))
        .unwrap_err();
    assert_eq!(seen(&log), [(now, Seen::Started), (now, Seen::Dropped(dropped))]);
}

#[test]
fn a_trace_is_told_how_large_datagrams_may_be() {
    let mut pair = Pair::new(3);
    let log = traced(&mut pair, CLIENT);
    pair.send(CLIENT, Delivery::ReliableOrdered, &[0; 4_000]);
    pair.run(SECOND);
    let sizes = |seen| if let (_, Seen::DatagramSize(bytes)) = seen { Some(bytes) } else { None };
    assert_eq!(seen(&log).into_iter().filter_map(sizes).collect::<Vec<_>>(), [1_452]);
}

#[test]
fn a_trace_tells_of_marks() {
    let congested: fn(Ecn) -> Option<Ecn> = |ecn| Some(if ecn == Ecn::NotEct { ecn } else { Ecn::Ce });
    for (mark, state) in [(congested, EcnState::Capable), (|_| Some(Ecn::NotEct), EcnState::Failed)] {
        let mut pair = Pair::new(3);
        pair.mark = mark;
        let log = traced(&mut pair, CLIENT);
        for _ in 0..20 {
            pair.send(CLIENT, Delivery::ReliableOrdered, b"state");
            pair.send(SERVER, Delivery::ReliableOrdered, b"state");
            pair.run(Duration::from_millis(30));
        }
        let (events, stats) = (seen(&log), pair.ends[CLIENT].stats());
        let states =
            events.iter().filter_map(|(_, seen)| if let Seen::Ecn(it) = seen { Some(*it) } else { None });
        assert_eq!(states.collect::<Vec<_>>(), [state]);
        let marked = events.iter().filter(|(_, seen)| matches!(seen, Seen::Congested(_))).count();
        assert_eq!((marked as u64, marked > 0), (stats.ce_received, state == EcnState::Capable));
        let told =
            events.iter().filter_map(|(_, seen)| if let Seen::CeCount(it) = seen { Some(*it) } else { None });
        assert_eq!(told.max().unwrap_or(0), stats.ce_told);
    }
}

/// Frames of the packets that an end has sent and received, by packet number.
type Frames = Arc<Mutex<[BTreeMap<u64, Vec<TracedFrame>>; 2]>>;

struct FrameRecorder(Frames);

impl Trace for FrameRecorder {
    fn event(&mut self, _: Timestamp, event: &TraceEvent<'_>) {
        let [sent, received] = &mut *self.0.lock().unwrap();
        match *event {
            TraceEvent::PacketSent { number, frames, .. } => sent.insert(number.0, frames.to_vec()),
            TraceEvent::PacketReceived { number, frames, .. } => received.insert(number.0, frames.to_vec()),
            _ => None,
        };
    }
}

#[test]
fn each_frame_is_told_as_what_it_is_at_both_ends() {
    let mut pair = Pair::new(7);
    let frames = [CLIENT, SERVER].map(|end| {
        let frames = Frames::default();
        pair.ends[end].set_trace(pair.now, Box::new(FrameRecorder(Arc::clone(&frames))));
        frames
    });
    let latest = Delivery::ReliableLatest { key: 3 };
    pair.send(CLIENT, Delivery::Unreliable, b"unreliable");
    pair.send(CLIENT, latest, &[0; 2_000]);
    pair.run(SECOND);
    pair.client_at = ([192, 0, 2, 1], 4_001).into();
    pair.send(CLIENT, Delivery::ReliableOrdered, b"moved");
    pair.run(SECOND);
    pair.ends[CLIENT].close(pair.now, CloseCode::None, "");
    pair.run(SECOND);

    let [client, server] = frames.map(|frames| std::mem::take(&mut *frames.lock().unwrap()));
    for ([sent, _], [_, received]) in [(&client, &server), (&server, &client)] {
        assert!(received.iter().all(|(number, frames)| sent[number] == *frames), "{sent:?} {received:?}");
    }
    let [at_client, at_server] = [client, server].map(|[_, received]| received.into_values().flatten());
    let [at_client, at_server]: [Vec<_>; 2] = [at_client.collect(), at_server.collect()];
    let place = TracedPlace { stream: STREAM, number: 0 };
    let parts = [(0, 1_000), (1, 1_000)].map(|(index, bytes)| TracedFrame::Fragment {
        place,
        delivery: latest,
        index,
        count: 2,
        bytes,
    });
    let unreliable = TracedFrame::Message { place: None, delivery: Delivery::Unreliable, bytes: 10 };
    let close = TracedFrame::Close { code: 0 };
    for frame in [&unreliable, &parts[0], &parts[1], &TracedFrame::PathResponse, &close] {
        assert!(at_server.contains(frame), "{frame:?} in {at_server:?}");
    }
    for frame in [&TracedFrame::PathChallenge, &close] {
        assert!(at_client.contains(frame), "{frame:?} in {at_client:?}");
    }
}
