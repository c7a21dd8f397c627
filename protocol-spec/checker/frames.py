"""Frames: frames.md."""

from .reader import Reader, Refused, one_of, within

MODES = {
    0: "unreliable",
    1: "sequenced",
    2: "reliable_unordered",
    3: "reliable_ordered",
    4: "reliable_latest",
}
KEYED = ("sequenced", "reliable_latest")


def frames(payload):
    """All frames of an opened packet, as the vectors write them."""
    reader = Reader(payload)
    found = [frame(reader)]
    while reader.left():
        if len(found) == 1_024:
            raise Refused("a packet has 1,024 frames at most")
        found.append(frame(reader))
    return found


def frame(reader):
    kind = reader.u8()
    if kind == 0x01:
        return {"type": "ping"}
    if kind in (0x02, 0x03):
        return {"type": "path_challenge" if kind == 0x02 else "path_response", "data": reader.hex(8)}
    if kind == 0x04:
        return {"type": "close", "code": reader.varint(0, 16_383), "reason": reader.text(0, 128)}
    if kind == 0x05:
        return repair(reader)
    if kind == 0x06:
        return padding(reader)
    if kind == 0x07:
        return {"type": "ce_count", "count": reader.varint(0, 2**62 - 1)}
    if 0x08 <= kind <= 0x0F:
        return ack(kind, reader)
    if 0x20 <= kind <= 0x3F:
        return message(kind, reader)
    if 0x40 <= kind <= 0x5F:
        return fragment(kind, reader)
    raise Refused(f"unknown frame type {kind:#x}")


def padding(reader):
    zeros = reader.rest()
    if any(zeros):
        raise Refused("padding that is not zeros")
    return {"type": "padding", "zeros": len(zeros)}


def repair(reader):
    return {"type": "repair", "lags": lags(reader, 4), "symbol": reader.hex(reader.varint(3, 514))}


def lags(reader, most):
    found = []
    for _ in range(reader.varint(1, most)):
        lag = reader.u8()
        if lag <= (found[-1] if found else 0):
            raise Refused("lags that do not ascend")
        found.append(lag)
    return found


def ack(kind, reader):
    largest = number(reader, 32 if kind & 0x01 else 16)
    found = {"type": "ack", "largest": largest, "delay": reader.u8(), "runs": None}
    if kind & 0x02:
        count = reader.varint(0, 32)
        first = run(reader)
        found["runs"] = {"first": first, "then": [{"gap": run(reader), "run": run(reader)} for _ in range(count)]}
    found["repaired"] = lags(reader, 16) if kind & 0x04 else []
    return found


def run(reader):
    return reader.varint(0, 65_535) + 1


def number(reader, bits):
    return {"bits": bits, "value": reader.uint(bits // 8)}


def delivery(mode, reader):
    name = one_of(mode, MODES, "delivery mode")
    return {"mode": name, "key": reader.u16()} if name in KEYED else {"mode": name}


def message(kind, reader):
    found = {"type": "message"}
    if kind & 0x07 == 0:
        if kind & 0x08:
            raise Refused("a number's width without a number")
        found["delivery"] = {"mode": "unreliable"}
    else:
        found["stream"] = reader.varint_u32()
        found["number"] = number(reader, 32 if kind & 0x08 else 8)
        found["delivery"] = delivery(kind & 0x07, reader)
    found["payload"] = payload(kind, reader).hex()
    return found


def fragment(kind, reader):
    mode = within(kind & 0x07, 2, 4)
    found = {"type": "fragment", "stream": reader.varint_u32(), "number": number(reader, 32 if kind & 0x08 else 8)}
    found["delivery"] = delivery(mode, reader)
    count = found["count"] = reader.varint(2, 1_024)
    total = found["total"] = reader.varint(count, 1_048_576)
    index = found["index"] = reader.varint(0, count - 1)
    unit = -(-total // count)
    last = total - unit * (count - 1)
    if last < 1:
        raise Refused("nothing remains for the last fragment")
    data = payload(kind, reader)
    if len(data) != (last if index == count - 1 else unit):
        raise Refused("a fragment of another length")
    found["payload"] = data.hex()
    return found


def payload(kind, reader):
    if kind & 0x10:
        return reader.rest()
    data = reader.take(reader.varint(0, 65_535))
    if not reader.left():
        raise Refused("the last frame has a length")
    return data
