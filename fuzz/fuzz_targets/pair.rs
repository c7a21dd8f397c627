//! Calls on two connections in any order, over a link that loses, repeats, reorders, changes, marks and
//! copies packets while the client moves. Nothing panics, every mode keeps its promise, and once the link is
//! good all reliable messages arrive or both ends report why not.
// spec-test: STR-2, REL-12, REL-13, REL-14, KEY-5
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use rallypoint::base::{Ecn, StreamId};
use rallypoint::rudp::{Closed, CongestionControl, ConnectionConfig};
use rallypoint::wire::{CloseCode, Delivery};
use rallypoint_fuzz::pair::{STREAMS, client_address};
use rallypoint_fuzz::{Input, Pair};

/// Maximum number of calls per input, because the counters are verified after each.
const CALLS: usize = 400;
/// Maximum number of packets in flight; the oldest are lost.
const PACKETS: usize = 256;

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let mut pair = begin(&mut input);
    for _ in 0..CALLS {
        if input.is_empty() {
            break;
        }
        call(&mut pair, &mut input);
        pair.drain();
        let excess = pair.packets.len().saturating_sub(PACKETS);
        pair.packets.drain(..excess);
    }
    // Long enough for a connection whose round trip takes seconds and that has no memory.
    pair.settle(Duration::from_secs(1_200));
    for end in &pair.ends {
        assert!(!matches!(end.closed, Some(Closed::Violation(_))), "neither breaks the protocol");
    }
});

fn begin(input: &mut Input) -> Pair {
    let mut config = || ConnectionConfig {
        max_ack_delay: Duration::from_millis(input.pick(&[0, 10, 100])),
        link_datagram_bytes: input.pick(&[1_452, 9_216]),
        max_message_bytes: 30_000,
        receive_buffer_bytes: input.pick(&[1 << 16, 1 << 20]),
        send_buffer_bytes: input.pick(&[5_000, 200_000]),
        unreliable_buffer_bytes: input.pick(&[500, 20_000]),
        repair_bytes_per_second: input.pick(&[0, 64 << 10]),
        congestion_control: input.pick(&[CongestionControl::Delay, CongestionControl::NewReno]),
        ..ConnectionConfig::default()
    };
    let configs = [config(), config()];
    let mut pair = Pair::new(configs, configs.map(|config| config.parameters()));
    for end in &mut pair.ends {
        end.connection.renew_keys_after(input.pick(&[1 << 22, 20, 100]));
        end.share_receive_budget(input.pick(&[usize::MAX, 0, 5_000]));
    }
    pair
}

fn call(pair: &mut Pair, input: &mut Input) {
    let op = input.byte();
    let end = usize::from(op >> 7);
    match op & 0x0f {
        0..=4 => send(pair, input, end),
        5 | 6 => {
            if let Some(at) = packet(pair, input) {
                let packet = pair.packets.remove(at);
                pair.deliver(packet);
            }
        }
        7 => {
            for packet in std::mem::take(&mut pair.packets) {
                pair.deliver(packet);
            }
        }
        8 => {
            if let Some(at) = packet(pair, input) {
                pair.packets.remove(at);
            }
        }
        9 => {
            if let Some(at) = packet(pair, input) {
                let copy = pair.packets[at].clone();
                pair.packets.push(copy);
            }
        }
        10 => {
            if let Some(at) = packet(pair, input) {
                let data = &mut pair.packets[at].data;
                let byte = input.below(data.len());
                data[byte] ^= 1 << (op >> 4 & 0x07);
            }
        }
        // A copy is sent from another address.
        11 => {
            if let Some(at) = packet(pair, input) {
                let mut copy = pair.packets[at].clone();
                copy.from = client_address(input.byte());
                pair.packets.push(copy);
            }
        }
        12 => pair.client_at = client_address(input.byte() & 0x07),
        13 => match input.byte() {
            255 => pair.ends[end].connection.close(pair.now, CloseCode::None, "enough"),
            // The first two streams stay open as long as their connection.
            byte => pair.finish(end, StreamId(2 + u32::from(byte) % (STREAMS - 1))),
        },
        14 => {
            if let Some(at) = packet(pair, input) {
                pair.packets[at].to.ecn = Ecn::from_bits(input.byte());
            }
        }
        _ => pair.wait(Duration::from_micros(u64::from(input.byte()) << (op >> 4))),
    }
}

fn send(pair: &mut Pair, input: &mut Input, end: usize) {
    let (mode, size) = (input.byte(), input.byte());
    let key = u16::from(mode >> 5);
    let delivery = match mode & 0x07 {
        0 => Delivery::Unreliable,
        1 => Delivery::Sequenced { key },
        2 | 3 => Delivery::ReliableUnordered,
        4 | 5 => Delivery::ReliableOrdered,
        _ => Delivery::ReliableLatest { key },
    };
    let stream = StreamId(u32::from(mode >> 3 & 0x03));
    let length = usize::from(size & 0x3f) << (2 * (size >> 6) + if size >> 6 == 3 { 3 } else { 0 });
    let _ = pair.send(end, stream, delivery, length);
}

fn packet(pair: &Pair, input: &mut Input) -> Option<usize> {
    (!pair.packets.is_empty()).then(|| input.below(pair.packets.len()))
}
