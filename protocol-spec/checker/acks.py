"""Acks: written for what was opened, and checked when they come. frames.md, ACK-2 to ACK-11."""

from .packets import expand
from .streams import Violation

CLEAN_NUMBERS = 256
MAX_GAPS = 32
MAX_LAG = 255
MAX_REPAIRED = 16


def write(opened, repaired):
    """The ack of the packet numbers `opened`, delay 0, when none before is known to have arrived: 2 bytes for `largest`
    as long as ACK-5 lets it, clean where ACK-3 lets it, else all runs that it has room for."""
    largest = max(opened)
    is_wide = largest >= 1 << 15
    is_clean = opened == set(range(max(0, largest - CLEAN_NUMBERS + 1), largest + 1))
    lags = sorted(largest - number for number in repaired)
    lags = [lag for lag in lags if 1 <= lag <= MAX_LAG][:MAX_REPAIRED]
    kind = 0x08 | (0x01 if is_wide else 0) | (0 if is_clean else 0x02) | (0x04 if lags else 0)
    width = 4 if is_wide else 2
    found = bytes([kind]) + (largest % (1 << 8 * width)).to_bytes(width, "big") + b"\x00"
    if not is_clean:
        lengths = runs(opened)[: 1 + 2 * MAX_GAPS]
        found += varint(len(lengths) // 2) + b"".join(varint(length - 1) for length in lengths)
    if lags:
        found += varint(len(lags)) + bytes(lags)
    return found


def runs(numbers):
    """Lengths from the largest number down: of the first run, then of a gap and the run below it, again and again."""
    down = sorted(numbers, reverse=True)
    lengths = [1]
    for above, number in zip(down, down[1:]):
        if above - number == 1:
            lengths[-1] += 1
        else:
            lengths += [above - number - 1, 1]
    return lengths


def check(frame, sent, largest_acked):
    """Refuses an ack that names what was not sent (ACK-6); gives the largest number that was acked by now.

    A number left out that is settled with all below it may be named, since nobody need remember it. No vector does.
    """
    largest = expand(largest_acked, frame["largest"]["value"], frame["largest"]["bits"])
    named = {largest - lag for lag in frame["repaired"]}
    if frame["runs"] is None:
        named.update(range(max(0, largest - CLEAN_NUMBERS + 1), largest + 1))
    else:
        above = largest + 1
        for run in [{"gap": 0, "run": frame["runs"]["first"]}, *frame["runs"]["then"]]:
            top = above - run["gap"]
            above = top - run["run"]
            named.update(range(above, top))
    if not named <= sent:
        raise Violation("an ack of what was never sent")
    return max(largest_acked, largest)


def varint(value):
    """WIR-2, from the other side."""
    for bits, length in enumerate((1, 2, 4, 8)):
        if value < 1 << (8 * length - 2):
            return (value | bits << (8 * length - 2)).to_bytes(length, "big")
    raise ValueError(value)
