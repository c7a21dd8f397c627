//! Variable-length integers, truncated numbers, transport parameters.

use bytes::Bytes;
use rallypoint::base::{Wire, Writer, number};
use rallypoint::wire::TransportParameters;
use serde_json::json;

use super::{Vectors, read_all, unhex, written};

/// The examples of RFC 9000 A.1, the smallest and largest value of each length, and non-canonical encodings.
// spec-test: WIR-2, WIR-3
#[test]
fn varints() {
    let mut vectors = Vectors::new("varints");
    let examples = [
        ("RFC 9000 A.1, 8 bytes", 151_288_809_941_952_652, "c2197c5eff14e88c"),
        ("RFC 9000 A.1, 4 bytes", 494_878_333, "9d7f3e7d"),
        ("RFC 9000 A.1, 2 bytes", 15_293, "7bbd"),
        ("RFC 9000 A.1, 1 byte", 37, "25"),
        ("smallest", 0, "00"),
        ("largest of 1 byte", 63, "3f"),
        ("smallest of 2 bytes", 64, "4040"),
        ("largest of 2 bytes", 16_383, "7fff"),
        ("smallest of 4 bytes", 16_384, "80004000"),
        ("largest of 4 bytes", 1_073_741_823, "bfffffff"),
        ("smallest of 8 bytes", 1_073_741_824, "c000000040000000"),
        ("largest", (1 << 62) - 1, "ffffffffffffffff"),
    ];
    for (name, value, bytes) in examples {
        assert_eq!(written(|writer| writer.varint(value)), unhex(bytes));
        assert_eq!(read_all(&unhex(bytes), |reader| reader.varint("integer")), Ok(value));
        vectors.good(name, &unhex(bytes), json!(value.to_string()));
    }
    let refused = [
        ("37 in 2 bytes, allowed by RFC 9000 but not here", "4025"),
        ("63 in 4 bytes", "8000003f"),
        ("16383 in 8 bytes", "c000000000003fff"),
        ("cut", "9d7f3e"),
        ("nothing", ""),
        ("a byte too many", "2500"),
    ];
    for (name, bytes) in refused {
        let error = read_all(&unhex(bytes), |reader| reader.varint("integer")).unwrap_err();
        vectors.bad(name, &unhex(bytes), error);
    }
    vectors.settle();
}

// spec-test: PKT-8, ACK-2
#[test]
fn truncated_numbers() {
    let mut vectors = Vectors::new("numbers");
    let mut expand = |name: &str, expected: u64, value: u64, bits: u32, full: u64| {
        assert_eq!(number::expand(expected, value, bits), full, "{name}");
        vectors.push(json!({
            "name": name, "expected": expected.to_string(), "bits": bits, "value": value,
            "number": full.to_string(),
        }));
    };
    expand("RFC 9000 A.3", 0xa82f_30eb, 0x9b32, 16, 0xa82f_9b32);
    expand("the first packet", 0, 0, 16, 0);
    expand("ahead, before any", 0, 0x7fff, 16, 0x7fff);
    expand("far ahead, before any: nothing is below 0", 0, 0xffff, 16, 0xffff);
    expand("next window", 0xfffe, 0x0001, 16, 0x1_0001);
    expand("window before", 0x1_0001, 0xfffe, 16, 0xfffe);
    expand("half a window above", 0x1_0000, 0x8000, 16, 0x1_8000);
    expand("half a window below is half a window above", 0x1_8000, 0x0000, 16, 0x2_0000);
    expand("just inside below", 0x1_8000, 0x0001, 16, 0x1_0001);
    expand("a message, 8 bits", 300, 0x20, 8, 0x120);
    expand("a message, 8 bits, behind", 256, 0xfe, 8, 254);
    expand("32 bits", 0x1_0000_0000, 0xffff_fff0, 32, 0xffff_fff0);
    expand("32 bits, ahead", 0xffff_ffff, 5, 32, 0x1_0000_0005);
    vectors.settle();
}

// spec-test: HSK-9, HSK-17
#[test]
fn transport_parameters() {
    let mut vectors = Vectors::new("parameters");
    let ordinary = TransportParameters {
        idle_timeout_ms: 10_000,
        max_ack_delay_ms: 10,
        max_datagram_bytes: 1_472,
        max_message_bytes: 1 << 20,
        receive_buffer_bytes: 4 << 20,
    };
    let smallest = TransportParameters {
        idle_timeout_ms: 1_000,
        max_ack_delay_ms: 0,
        max_datagram_bytes: 1_200,
        max_message_bytes: 1_200,
        receive_buffer_bytes: 1 << 16,
    };
    let largest = TransportParameters {
        idle_timeout_ms: 600_000,
        max_ack_delay_ms: 65,
        max_datagram_bytes: 65_507,
        max_message_bytes: 1 << 20,
        receive_buffer_bytes: 1 << 30,
    };
    let none = &[][..];
    let good = [
        ("ordinary", ordinary, none),
        ("smallest", smallest, none),
        ("largest", largest, none),
        ("two extensions", ordinary, &[3, 0, 0x40, 0x80, 2, 7, 7]),
    ];
    for (name, value, extensions) in good {
        let bytes = Bytes::from([&value.to_bytes()[..], extensions].concat());
        assert_eq!(TransportParameters::from_bytes(bytes.clone()), Ok(value));
        vectors.good(
            name,
            &bytes,
            json!({
                "idle_timeout_ms": value.idle_timeout_ms,
                "max_ack_delay_ms": value.max_ack_delay_ms,
                "max_datagram_bytes": value.max_datagram_bytes,
                "max_message_bytes": value.max_message_bytes,
                "receive_buffer_bytes": value.receive_buffer_bytes,
            }),
        );
    }
    let fields = |values: [u64; 5]| {
        written(|writer: &mut Writer| values.into_iter().for_each(|value| writer.varint(value)))
    };
    let refused = [
        ("idle timeout below its range", fields([999, 10, 1_472, 1_200, 65_536])),
        ("idle timeout above its range", fields([600_001, 10, 1_472, 1_200, 65_536])),
        ("ack delay above its range", fields([1_000, 66, 1_472, 1_200, 65_536])),
        ("datagram below its range", fields([1_000, 10, 1_199, 1_200, 65_536])),
        ("datagram above its range", fields([1_000, 10, 65_508, 1_200, 65_536])),
        ("message below its range", fields([1_000, 10, 1_472, 1_199, 65_536])),
        ("message above its range", fields([1_000, 10, 1_472, 1_048_577, 65_536])),
        ("receive buffer below its range", fields([1_000, 10, 1_472, 1_200, 65_535])),
        ("receive buffer above its range", fields([1_000, 10, 1_472, 1_200, (1 << 30) + 1])),
    ];
    for (name, bytes) in refused {
        vectors.bad(name, &bytes, TransportParameters::from_bytes(bytes.clone()).unwrap_err());
    }
    let extensions = [
        ("an extension without a length", &[0][..]),
        ("an extension that is cut off", &[0, 2, 7]),
        ("an extension twice", &[4, 0, 4, 0]),
        ("extensions in another order", &[4, 0, 3, 0]),
        ("an extension of 64 bytes", &[&[4, 0x40, 64][..], &[7; 64]].concat()),
    ];
    for (name, extensions) in extensions {
        let bytes = Bytes::from([&ordinary.to_bytes()[..], extensions].concat());
        vectors.bad(name, &bytes, TransportParameters::from_bytes(bytes.clone()).unwrap_err());
    }
    vectors.settle();
}
