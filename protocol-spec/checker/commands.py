"""Commands and results: commands.md."""

from . import fields
from .frames import delivery
from .reader import Reader, Refused, one_of


class Malformed(Exception):
    """A command that is refused, and how it is answered (CMD-3): `reply` as the vectors write it."""

    def __init__(self, reply, why):
        super().__init__(why)
        self.reply = reply


def command(data, on_slot):
    """A command that came on stream 0 or, `on_slot`, on the stream of a session."""
    reader = Reader(data)
    try:
        kind = reader.u8()
    except Refused as refusal:
        raise Malformed("close", str(refusal)) from None
    if on_slot and kind in (0x20, 0x21):
        return hot(kind, reader)
    return request(kind, reader, on_slot)


def request(kind, reader, on_slot):
    try:
        number = reader.varint_u32()
    except Refused as refusal:
        raise Malformed("close", str(refusal)) from None
    known = ON_SLOT if on_slot else ON_CONTROL
    if kind not in known:
        raise Malformed({"request": number, "code": "unknown_command"}, "unknown kind")
    name, read = known[kind]
    try:
        found = {"command": name, "request": number, **read(reader)}
        reader.end()
    except Refused as refusal:
        raise Malformed({"request": number, "code": code_of(refusal)}, str(refusal)) from None
    return found


def hot(kind, reader):
    data = reader.rest()
    if len(data) < 3:
        raise Malformed("close", "no counter")
    flags, counter = data[0], int.from_bytes(data[1:3], "big")
    try:
        return read_hot(kind, flags, counter, Reader(data[3:]))
    except Refused as refusal:
        raise Malformed({"counter": counter, "code": code_of(refusal)}, str(refusal)) from None


def read_hot(kind, flags, counter, reader):
    if flags & (0xF0 if kind == 0x20 else 0xF8):
        raise Refused("reserved flags")
    how = delivery(flags & 0x07, reader)
    found = {"command": "broadcast" if kind == 0x20 else "message", "delivery": how, "counter": counter}
    if kind == 0x20:
        found["to"] = "others" if flags & 0x08 else "all"
    else:
        members = found["members"] = fields.many(reader, 1, 1_024, Reader.varint_u32)
        increasing(members)
    found["payload"] = fields.payload(reader, how)
    return found


def code_of(refusal):
    """Some bounds have an error of their own."""
    return {
        fields.PayloadTooLarge: "payload_too_large",
        fields.PropertyTooLarge: "properties_too_large",
        fields.TooManyProperties: "too_many_properties",
    }.get(type(refusal), "malformed")


def increasing(values):
    if any(a >= b for a, b in zip(values, values[1:])):
        raise Refused("not strictly increasing")


def create(reader):
    settings = fields.settings(reader)
    count = reader.varint()
    if count > 256:
        raise fields.TooManyProperties(f"{count} properties")
    properties = [
        {"key": fields.key(reader), "value": fields.value(reader), "rule": fields.rule(reader)} for _ in range(count)
    ]
    increasing([p["key"].encode() for p in properties])
    return {"settings": settings, "properties": properties}


def join(reader):
    return one_of(
        reader.u8(),
        {0: lambda r: {"invite": fields.invite(r)}, 1: lambda r: {"session": fields.session(r)}},
        "join kind",
    )(reader)


def invite(reader):
    users = fields.many(reader, 1, 64, fields.user)
    if len(set(users)) != len(users):
        raise Refused("a user is named twice")
    return {
        "users": users,
        "ttl": reader.varint(1, 86_400),
        "hold_seat": one_of(reader.u8(), {0: False, 1: True}, "hold seat"),
        "note": reader.text(0, 256),
    }


def op(reader):
    kind = one_of(reader.u8(), {0: "set", 1: "delete", 2: "increment", 3: "compare_and_set"}, "operation")
    found = {"op": kind, "key": fields.key(reader)}
    if kind == "set":
        found |= {"value": fields.value(reader), "rule": fields.optional_rule(reader)}
    elif kind == "increment":
        found["delta"] = str(reader.i64())
    elif kind == "compare_and_set":
        found["expected"] = fields.optional_value(reader)
        found["value"] = fields.optional_value(reader)
        found["rule"] = fields.optional_rule(reader)
    return found


def nothing(_):
    return {}


ON_CONTROL = {
    0x01: ("create", create),
    0x02: ("join", join),
    0x03: ("decline", lambda r: {"invite": fields.invite(r), "reason": fields.reason(r)}),
    0x04: ("info", lambda r: {"session": fields.session(r)}),
    0x05: ("list_mine", nothing),
    0x06: ("list_invites", nothing),
}
ON_SLOT = {
    0x10: ("invite", invite),
    0x11: ("revoke", lambda r: {"number": r.varint_u32()}),
    0x12: ("leave", nothing),
    0x13: ("kick", lambda r: {"member": r.varint_u32(), "reason": fields.reason(r)}),
    0x14: ("transfer", lambda r: {"member": r.varint_u32()}),
    0x15: ("delete", lambda r: {"reason": fields.reason(r)}),
    0x16: ("set_properties", lambda r: {"ops": fields.many(r, 1, 256, op)}),
}


def result(errors):
    """A decoder of results, given the table of error codes."""

    def answer(reader):
        kinds = {0: lambda r: {"number": r.varint_u32()}, 1: lambda r: {"error": fields.code(r, errors)}}
        return one_of(reader.u8(), kinds, "answer kind")(reader)

    values = {
        0: ("empty", nothing),
        1: ("entered", lambda r: {"entered": entered(r)}),
        2: ("invited", lambda r: {"answers": fields.many(r, 1, 64, answer)}),
        3: ("revision", lambda r: {"revision": str(r.varint())}),
        4: ("info", info),
        5: ("sessions", lambda r: {"sessions": fields.many(r, 0, 1_024, membership)}),
        6: ("invites", lambda r: {"invites": fields.many(r, 0, 1_024, fields.invitation)}),
    }

    def read(reader):
        kind = one_of(reader.u8(), {0x40: "ok", 0x41: "error"}, "result kind")
        found = {"request": reader.varint_u32()}
        if kind == "error":
            return {**found, "error": fields.code(reader, errors)}
        name, fields_of = one_of(reader.u8(), values, "value kind")
        return {**found, "ok": {"kind": name, **fields_of(reader)}}

    return read


def entered(reader):
    return {"session": fields.session(reader), "slot": reader.varint_u32(), "member": reader.varint_u32()}


def membership(reader):
    return {"entered": entered(reader), "kind": reader.u16()}


def info(reader):
    return {
        "session": fields.session(reader),
        "settings": fields.settings(reader),
        "owner": reader.varint_u32(),
        "members": reader.varint_u32(),
        "open_invites": reader.varint_u32(),
        "revision": str(reader.varint()),
        "next": str(reader.varint(1)),
    }
