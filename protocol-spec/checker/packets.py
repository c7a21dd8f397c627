"""Packets and the bodies of the handshake's: packets.md, handshake.md."""

import zlib

from .reader import Reader, Refused, one_of, within


def clear(protocol_id, packet, reject_codes):
    """A clear packet of this version."""
    reader = Reader(packet)
    if reader.take(2) != b"RP":
        raise Refused("another magic")
    version, kind, crc = reader.u8(), reader.u8(), reader.u32()
    if zlib.crc32(protocol_id.to_bytes(8, "big") + packet[:4] + packet[8:]) != crc:
        raise Refused("checksum")
    if version != 1:
        raise Refused("another version")
    kinds = {1: hello, 2: hello_ack, 3: retry, 4: lambda r: reject(r, reject_codes)}
    found = one_of(kind, kinds, "kind")(reader)
    reader.end()
    return found


def hello(reader):
    if reader.left() != 1_192:
        raise Refused("a HELLO has 1,200 bytes")
    token = reader.take(within(reader.u16(), 1, 900))
    cookie_length = reader.u8()
    if cookie_length not in (0, 24):
        raise Refused("a cookie has 24 bytes")
    cookie = reader.hex(24) if cookie_length else None
    noise = reader.hex(within(reader.u16(), 48, 160))
    if any(reader.rest()):
        raise Refused("padding is zero")
    return {"packet": "hello", "token": token.hex(), "cookie": cookie, "noise": noise}


def hello_ack(reader):
    echo = reader.hex(8)
    within(reader.left(), 48, 104)
    return {"packet": "hello_ack", "echo": echo, "noise": reader.rest().hex()}


def retry(reader):
    return {"packet": "retry", "echo": reader.hex(8), "cookie": reader.hex(24)}


def reject(reader, codes):
    echo = reader.hex(8)
    code = one_of(reader.u8(), codes, "reject code")
    return {"packet": "reject", "echo": echo, "code": code, "version": reader.u8()}


def parameters(reader):
    """Transport parameters (HSK-9), and behind them extensions (HSK-17), which say nothing to this version."""
    found = {
        "idle_timeout_ms": reader.varint(1_000, 600_000),
        "max_ack_delay_ms": reader.varint(0, 65),
        "max_datagram_bytes": reader.varint(1_200, 65_507),
        "max_message_bytes": reader.varint(1_200, 1_048_576),
        "receive_buffer_bytes": reader.varint(65_536, 2**30),
    }
    lowest = 0
    while reader.left():
        lowest = reader.varint(lowest) + 1
        reader.prefixed(0, 63)
    return found


def sealed_header(packet, from_client):
    """Flags, connection id and truncated number of a sealed packet, and where its seal begins."""
    reader = Reader(packet)
    flags = reader.u8()
    if not flags & 0x80 or flags & 0x1F:
        raise Refused("flags")
    found = {"key_phase": bool(flags & 0x40), "connection": reader.u32() if from_client else None}
    bits = 32 if flags & 0x20 else 16
    found["number"] = {"bits": bits, "value": reader.uint(bits // 8)}
    if reader.left() < 16:
        raise Refused("no room for a tag")
    return found, reader.at


def expand(expected, value, bits):
    """The number closest to `expected` with these low bits; on a tie the larger (PKT-8)."""
    window = 1 << bits
    base = expected - expected % window + value
    candidates = [n for n in (base - window, base, base + window) if n >= 0]
    return min(candidates, key=lambda n: (abs(n - expected), -n))
