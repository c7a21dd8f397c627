//! What do the parts cost individually: bytes, seals, a connection, the table, a fan-out?
//!
//! `cargo bench --bench micro [-- FILTER]`, under a minute. The reported time is time on a core. Compare only
//! figures of one run, or use `--save-baseline` and `--baseline`; figures of other machines and times are not
//! comparable.

#![allow(clippy::cast_precision_loss, clippy::indexing_slicing, missing_docs)]

mod busy;
mod rooms;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};
use rallypoint::base::{
    ConnectionId, EventNumber, MemberId, PacketNumber, ShortBytes, StreamId, Timestamp, Truncated, Writer,
};
use rallypoint::rudp::{Connection, ConnectionConfig, Event, Payload, Role};
use rallypoint::secure::HandshakeSecrets;
use rallypoint::wire::command::Join;
use rallypoint::wire::event::write_message_head;
use rallypoint::wire::frame::{Ack, Frame, Message, MessageHead, Place, read_frames, write_frames};
use rallypoint::wire::{Body, Command, Delivery, LeaveReason, Reason, SessionEvent, StreamKind};
use rand::SeedableRng;
use rand::rngs::StdRng;
use zeroize::Zeroizing;

use busy::Watch;
use rooms::{NOW, Nowhere, at, broadcast, create, entrant, gather, increment, message, table, user};

criterion_group! {
    name = all;
    config = Criterion::default()
        .with_measurement(OnCore)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50);
    targets = codec, seal, connection, session_table, fanout
}
criterion_main!(all);

/// Real time, minus the time that other processes had the core.
struct OnCore;

impl Measurement for OnCore {
    type Intermediate = Watch;
    type Value = Duration;

    fn start(&self) -> Watch {
        Watch::start()
    }

    fn end(&self, watch: Watch) -> Duration {
        watch.on_core()
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, time: &Duration) -> f64 {
        time.as_nanos() as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A member's message.
const PAYLOAD: Bytes = Bytes::from_static(&[7; 64]);
const STREAM: StreamId = StreamId(1);

/// Measures encoding and decoding.
fn codec(criterion: &mut Criterion<OnCore>) {
    let mut group = criterion.benchmark_group("codec");
    let place = |number| Place { stream: STREAM, number: Truncated::bits8(number) };
    let told = |number| {
        let head = MessageHead::Numbered { place: place(number), delivery: Delivery::ReliableOrdered };
        Frame::Message(Message { head, payload: PAYLOAD })
    };
    let ack = Ack { largest: Truncated::bits16(9), delay: 1, runs: None, repaired: Default::default() };
    let frames = [Frame::Ack(ack), told(1), told(2)];
    both_ways(
        &mut group,
        "packet: ack, 2 messages",
        || {
            let mut writer = Writer::new();
            write_frames(&frames, &mut writer);
            writer.finish()
        },
        |bytes| read_frames(bytes).expect("as written"),
    );
    let command = Command::Broadcast(broadcast());
    both_ways(
        &mut group,
        "command: broadcast",
        || command.encode(),
        |bytes| Command::decode(StreamKind::Slot, bytes).expect("as written"),
    );
    let body = Body::new(Delivery::ReliableOrdered, PAYLOAD).expect("few bytes");
    let event = SessionEvent::Message { number: EventNumber(1_000), sender: MemberId(3), body };
    both_ways(
        &mut group,
        "event: message",
        || event.encode(),
        |bytes| SessionEvent::decode(bytes).expect("as written"),
    );
    group.finish();
}

fn both_ways<T>(
    group: &mut BenchmarkGroup<'_, OnCore>,
    name: &str,
    encode: impl Fn() -> Bytes,
    decode: impl Fn(Bytes) -> T,
) {
    let bytes = encode();
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function(BenchmarkId::new("encode", name), |bencher| bencher.iter(&encode));
    group.bench_function(BenchmarkId::new("decode", name), |bencher| {
        bencher.iter(|| decode(black_box(bytes.clone())));
    });
}

/// Measures the encryption of packets, in place.
fn seal(criterion: &mut Criterion<OnCore>) {
    let mut group = criterion.benchmark_group("seal");
    let (mut client, mut server) = (secrets().client_keys(), secrets().server_keys());
    let (number, header) = (PacketNumber(7), [0x80, 0, 7]);
    for size in [64, 256, 1_200] {
        let mut plain = vec![7; size];
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("seal", size), |bencher| {
            bencher.iter(|| server.seal.seal(number, &header, &mut plain));
        });
        let mut sealed = vec![7; size];
        let tag = server.seal.seal(number, &header, &mut sealed);
        sealed.extend(tag);
        group.bench_function(BenchmarkId::new("open", size), |bencher| {
            bencher.iter_batched_ref(
                || sealed.clone(),
                |sealed| client.open.open(number, &header, sealed).map(|plain| plain.len()),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Measures a message from one end to the other, and its acks.
fn connection(criterion: &mut Criterion<OnCore>) {
    let mut group = criterion.benchmark_group("connection");
    let mut pair = Pair::new();
    group.bench_function("64 bytes in order", |bencher| {
        bencher.iter(|| {
            pair.send(PAYLOAD.into());
            pair.receive();
        });
    });
    group.finish();
}

/// Measures commands to a table of 128 stripes and 1,024 sessions of 8, each to another session.
fn session_table(criterion: &mut Criterion<OnCore>) {
    let mut group = criterion.benchmark_group("table");
    let table = table(128, 1);
    let parties: Vec<_> = (0..1_024).map(|_| gather(&table, 8)).collect();
    // A step without a factor in common with their number reaches all of them.
    let mut turns = parties.iter().cycle().step_by(389);
    let mut next = || turns.next().expect("it never ends");
    let guest = user(8);
    group.bench_function("create, delete", |bencher| {
        bencher.iter(|| {
            let made =
                table.create(NOW, entrant(&guest, at(0)), create(), &mut Nowhere).expect("room for it");
            table.delete(NOW, made.member_ref(), Reason::none(), &mut Nowhere)
        });
    });
    group.bench_function("join, leave", |bencher| {
        let mut now = NOW;
        bencher.iter(|| {
            // Keeps away from every rate limit.
            now += Duration::from_secs(1);
            let session = next().session;
            let joined = table.join(now, entrant(&guest, at(0)), Join::Session(session), &mut Nowhere);
            let guest = joined.expect("a free seat").member_ref();
            table.leave(now, guest, LeaveReason::Left, &mut Nowhere)
        });
    });
    group.bench_function("broadcast", |bencher| {
        bencher.iter(|| {
            let party = next();
            table.broadcast(NOW, party.member(0), broadcast(), &mut Nowhere)
        });
    });
    group.bench_function("message", |bencher| {
        bencher.iter(|| {
            let party = next();
            let whisper = message(party.members[1]);
            table.message(NOW, party.member(0), whisper, &mut Nowhere)
        });
    });
    let ops = increment();
    group.bench_function("set properties", |bencher| {
        bencher.iter(|| {
            let party = next();
            table.set_properties(NOW, party.member(0), &ops, &mut Nowhere)
        });
    });
    group.finish();
}

/// Measures an event to all members: its head, and for each member a send and a sealed datagram. The clients'
/// work between two events, including acks, is not timed.
fn fanout(criterion: &mut Criterion<OnCore>) {
    let mut group = criterion.benchmark_group("fanout");
    for members in [8, 32, 64] {
        let mut pairs: Vec<Pair> = (0..members).map(|_| Pair::new()).collect();
        group.throughput(Throughput::Elements(members));
        group.bench_function(BenchmarkId::new("members", members), |bencher| {
            bencher.iter_custom(|events| {
                let mut writer = Writer::new();
                let (mut total, mut done) = (Duration::ZERO, 0);
                while done < events {
                    let (watch, started) = (Watch::start(), Instant::now());
                    writer.clear();
                    write_message_head(EventNumber(done), MemberId(1), &mut writer);
                    let head = ShortBytes::new(writer.as_slice()).expect("a head is short");
                    for pair in &mut pairs {
                        pair.send(Payload { head, body: PAYLOAD });
                    }
                    let time = started.elapsed();
                    // An event in which the thread lost its core does not count.
                    if watch.waited().is_zero() {
                        (total, done) = (total + time, done + 1);
                    }
                    pairs.iter_mut().for_each(Pair::receive);
                }
                total
            });
        });
    }
    group.finish();
}

/// A server's connection and its client's, without a network.
struct Pair {
    now: Timestamp,
    server: Connection,
    client: Connection,
    /// The server's message in flight.
    datagram: BytesMut,
    /// Messages that have not arrived.
    missing: usize,
}

const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 7_777);
const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 2], 4_000);
/// Time between two messages.
const PERIOD: Duration = Duration::from_millis(5);

impl Pair {
    fn new() -> Self {
        let config = ConnectionConfig::default();
        let end = |role, remote: ([u8; 4], u16), keys| {
            let rng = StdRng::seed_from_u64(1);
            let mut end = Connection::new(NOW, role, remote.into(), keys, config.parameters(), config, rng);
            end.open_stream(STREAM);
            end
        };
        Self {
            now: NOW,
            server: end(Role::Server, CLIENT, secrets().server_keys()),
            client: end(Role::Client { id: ConnectionId(7) }, SERVER, secrets().client_keys()),
            datagram: BytesMut::with_capacity(1_500),
            missing: 0,
        }
    }

    /// Lets the server send a message, which leaves its datagram ready.
    fn send(&mut self, payload: Payload) {
        self.now += PERIOD;
        self.server.send(self.now, STREAM, Delivery::ReliableOrdered, payload).expect("little is under way");
        self.missing += 1;
        self.datagram.clear();
        self.server.poll_transmit(self.now, &mut self.datagram);
    }

    /// Lets the client take the datagram, and both ends send their responses.
    fn receive(&mut self) {
        let Self { now, server, client, datagram, missing } = self;
        hand_over(*now, SERVER, client, BytesMut::from(datagram.as_ref()), missing);
        carry(*now, client, CLIENT, server, missing);
        carry(*now, server, SERVER, client, missing);
        assert_eq!(self.missing, 0, "nothing is lost");
    }
}

/// Carries the datagrams of an end at `address` to the other.
fn carry(
    now: Timestamp,
    from: &mut Connection,
    address: ([u8; 4], u16),
    to: &mut Connection,
    missing: &mut usize,
) {
    if from.poll_timeout().is_some_and(|due| due <= now) {
        from.handle_timeout(now);
    }
    let mut datagram = BytesMut::new();
    while from.poll_transmit(now, &mut datagram).is_some() {
        hand_over(now, address, to, datagram.split(), missing);
    }
}

fn hand_over(
    now: Timestamp,
    from: ([u8; 4], u16),
    to: &mut Connection,
    datagram: BytesMut,
    missing: &mut usize,
) {
    to.handle_packet(now, from.into(), datagram).expect("a datagram of the other end");
    while let Some(event) = to.poll_event() {
        *missing -= usize::from(matches!(event, Event::Message { .. }));
    }
}

fn secrets() -> HandshakeSecrets {
    HandshakeSecrets::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]), Zeroizing::new([3; 32]))
}
