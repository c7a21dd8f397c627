"""Bytes to values: README.md, "How bytes are written"."""


class Refused(Exception):
    """The bytes are not the canonical form of a legal value (WIR-3)."""


class Reader:
    """Takes values from the front of a byte string."""

    def __init__(self, data):
        self.data = bytes(data)
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def take(self, length):
        if length > self.left():
            raise Refused(f"{length} bytes wanted, {self.left()} left")
        self.at += length
        return self.data[self.at - length : self.at]

    def rest(self):
        return self.take(self.left())

    def end(self):
        if self.left():
            raise Refused(f"{self.left()} bytes too many")

    def uint(self, length):
        return int.from_bytes(self.take(length), "big")

    def u8(self):
        return self.uint(1)

    def u16(self):
        return self.uint(2)

    def u32(self):
        return self.uint(4)

    def u64(self):
        return self.uint(8)

    def i64(self):
        return int.from_bytes(self.take(8), "big", signed=True)

    def hex(self, length):
        return self.take(length).hex()

    def varint(self, low=0, high=2**62 - 1):
        first = self.u8()
        length = 1 << (first >> 6)
        value = int.from_bytes(bytes([first & 0x3F]) + self.take(length - 1), "big")
        shortest = 1 if value < 1 << 6 else 2 if value < 1 << 14 else 4 if value < 1 << 30 else 8
        if length != shortest:
            raise Refused(f"{value} in {length} bytes, {shortest} would do")
        return within(value, low, high)

    def varint_u32(self, low=0):
        return self.varint(low, 2**32 - 1)

    def prefixed(self, low, high):
        return self.take(self.varint(low, high))

    def text(self, low, high):
        try:
            return self.prefixed(low, high).decode("utf-8")
        except UnicodeDecodeError:
            raise Refused("not UTF-8") from None


def within(value, low, high):
    """`value`, when it is in its range."""
    if not low <= value <= high:
        raise Refused(f"{value} is not in {low}..{high}")
    return value


def one_of(value, table, what):
    """What `table` has for `value`."""
    if value not in table:
        raise Refused(f"unknown {what} {value}")
    return table[value]
