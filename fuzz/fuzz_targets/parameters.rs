//! Any configuration at either end, sent truthfully in a handshake or falsified. Everything that is accepted
//! is in its range, honest ends deliver a message of each mode, and false ones deliver it or close.
// spec-test: HSK-9
#![no_main]

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use rallypoint::base::{ConnectionId, StreamId, Wire};
use rallypoint::rudp::{CongestionControl, ConnectionConfig, Payload, SendError};
use rallypoint::secure::{Binding, Initiator, Psk, Responder};
use rallypoint::wire::{Delivery, TransportParameters};
use rallypoint_fuzz::{CLIENT, Input, Pair, SERVER};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Maximum message length, to save time.
const LENGTH: usize = 8_000;
/// A message's cost beyond its bytes. Spec: REL-12.
const OVERHEAD_BYTES: usize = 64;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let configs = [config(&mut input), config(&mut input)];
    let mut told = configs.map(|config| config.parameters());
    // Only sometimes, because it takes most of the time.
    if input.below(16) == 0 {
        assert_eq!(shake_hands(told), told, "what is told is heard");
    }
    let honest = input.bool();
    if !honest {
        for told in &mut told {
            let bytes = changed(told.to_bytes(), &mut input);
            let Ok(false_ones) = TransportParameters::from_bytes(bytes.clone()) else { return };
            assert!(bytes.starts_with(&false_ones.to_bytes()), "what is accepted is in its range");
            *told = false_ones;
        }
    }
    let mut pair = Pair::new(configs, told);
    while !input.is_empty() {
        send(&mut pair, told, &mut input);
        pair.settle(Duration::from_secs(3_600));
    }
    let closed = pair.ends.iter().any(|end| end.closed.is_some());
    assert!(!honest || !closed, "honest ends have no reason to close");
});

fn config(input: &mut Input) -> ConnectionConfig {
    let mut size = || usize::try_from(input.number()).unwrap_or(usize::MAX);
    let (link_datagram_bytes, max_datagram_bytes, max_message_bytes) = (size(), size(), size());
    let (receive_buffer_bytes, send_buffer_bytes, unreliable_buffer_bytes) = (size(), size(), size());
    let mut time = || match input.number() {
        u64::MAX => Duration::MAX,
        micros => Duration::from_micros(micros),
    };
    ConnectionConfig {
        idle_timeout: time(),
        keepalive: time(),
        max_ack_delay: time(),
        link_datagram_bytes,
        max_datagram_bytes,
        max_message_bytes,
        receive_buffer_bytes,
        send_buffer_bytes,
        unreliable_buffer_bytes,
        repair_bytes_per_second: input.number(),
        congestion_control: input.pick(&[CongestionControl::Delay, CongestionControl::NewReno]),
    }
}

/// Returns the parameters that the ends receive from each other in a real handshake.
fn shake_hands([client, server]: [TransportParameters; 2]) -> [TransportParameters; 2] {
    let (mut rng, psk) = (StdRng::seed_from_u64(3), Psk::new([4; 32]));
    let binding = Binding { protocol_id: 5, server: "server", token: b"token" };
    let (mut initiator, hello) = Initiator::start(binding, &psk, &client, &mut rng);
    let (responder, of_client) =
        Responder::read(binding, &psk, &hello, &mut rng).expect("what is told is in its range");
    let (ack, _) = responder.answer(ConnectionId(6), &server).expect("the client's key is good");
    let of_server = initiator.finish(&ack).expect("what is told is in its range").parameters;
    [of_client, of_server]
}

/// Returns `bytes` with up to three of them replaced.
fn changed(bytes: Bytes, input: &mut Input) -> Bytes {
    let mut bytes = bytes.to_vec();
    for _ in 0..input.below(4) {
        let at = input.below(bytes.len());
        bytes[at] = input.byte();
    }
    bytes.into()
}

/// Sends a message of each mode in each direction, either as large or as small as possible.
fn send(pair: &mut Pair, told: [TransportParameters; 2], input: &mut Input) {
    let largest = input.bool();
    let key = 7;
    for from in [CLIENT, SERVER] {
        for delivery in [
            Delivery::Unreliable,
            Delivery::Sequenced { key },
            Delivery::ReliableUnordered,
            Delivery::ReliableOrdered,
            Delivery::ReliableLatest { key },
        ] {
            let max = pair.ends[from].connection.max_payload_bytes(delivery);
            let room = told[1 - from].receive_buffer_bytes as usize;
            assert!(max + OVERHEAD_BYTES <= room, "the peer has room for the largest");
            let payload = Payload::from(Bytes::from(vec![0; max + 1]));
            let too_large = pair.ends[from].connection.send(pair.now, StreamId(1), delivery, payload);
            assert!(matches!(too_large, Err(SendError::TooLarge { .. } | SendError::Closed)));
            let _ = pair.send(from, StreamId(1), delivery, if largest { max.min(LENGTH) } else { 4 });
        }
    }
}
