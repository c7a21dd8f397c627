"""Events: events.md."""

from . import fields
from .commands import increasing
from .frames import delivery
from .reader import one_of


def decoder(errors, leave_reasons, delete_reasons):
    """A decoder of events, given the tables of errors.md; it takes a reader and the kind of stream."""

    def numbered(name, read):
        return lambda reader: {"event": name, "number": str(reader.varint(1)), **read(reader)}

    def left(reader):
        member = reader.varint_u32()
        return {"member": member, "why": fields.code(reader, leave_reasons), "reason": fields.reason(reader)}

    def deleted(reader):
        return {"why": fields.code(reader, delete_reasons), "reason": fields.reason(reader)}

    def sent(mode):
        def read(reader):
            sender = reader.varint_u32()
            how = delivery(mode, reader)
            return {"event": "sent", "sender": sender, "delivery": how, "payload": fields.payload(reader, how)}

        return read

    def refused(reader):
        return {"event": "refused", "counter": reader.u16(), "code": fields.code(reader, errors)}

    on_slot = {
        0x50: snapshot,
        0x60: numbered("member_joined", lambda r: {"member": r.varint_u32(), "user": fields.user(r)}),
        0x61: numbered("member_left", left),
        0x62: numbered("owner_changed", lambda r: {"owner": r.varint_u32()}),
        0x63: numbered("properties_changed", properties_changed),
        0x64: numbered("message", message),
        0x65: numbered("receipt", lambda _: {}),
        0x66: numbered("session_deleted", deleted),
        **{0x70 + mode: sent(mode) for mode in range(5)},
        0x78: refused,
        0x79: lambda _: {"event": "lagging"},
    }

    def read(reader, is_slot):
        return one_of(reader.u8(), on_slot if is_slot else ON_CONTROL, "event kind")(reader)

    return read


def message(reader):
    sender = reader.varint_u32()
    return {"sender": sender, "payload": fields.payload(reader, {"mode": "reliable_ordered"})}


def properties_changed(reader):
    revision, member = str(reader.varint()), reader.varint_u32()
    return {"revision": revision, "member": member, "changes": fields.many(reader, 1, 256, change)}


def change(reader):
    kind = one_of(reader.u8(), {0: "created", 1: "set", 2: "deleted"}, "change")
    found = {"change": kind, "key": fields.key(reader)}
    if kind != "deleted":
        found["value"] = fields.value(reader)
    if kind == "created":
        found["rule"] = fields.rule(reader)
    return found


def snapshot(reader):
    found = {
        "event": "snapshot",
        "session": fields.session(reader),
        "settings": fields.settings(reader),
        "you": reader.varint_u32(),
        "owner": reader.varint_u32(),
        "next": str(reader.varint(1)),
        "members": fields.many(reader, 1, 1_024, lambda r: {"member": r.varint_u32(), "user": fields.user(r)}),
        "revision": str(reader.varint()),
        "properties": fields.many(reader, 0, 256, property_of),
    }
    increasing([m["member"] for m in found["members"]])
    increasing([p["key"].encode() for p in found["properties"]])
    return found


def property_of(reader):
    return {
        "key": fields.key(reader),
        "value": fields.value(reader),
        "rule": fields.rule(reader),
        "creator": reader.varint_u32(),
    }


def expired(reader):
    return {"event": "invite_expired", "invite": fields.invite(reader), "user": reader.text(0, 64) or None}


def declined(reader):
    invite = fields.invite(reader)
    return {
        "event": "invite_declined",
        "invite": invite,
        "user": fields.user(reader),
        "reason": fields.reason(reader),
    }


ON_CONTROL = {
    0x80: lambda r: {"event": "invited", "invitation": fields.invitation(r)},
    0x81: lambda r: {"event": "invite_revoked", "invite": fields.invite(r)},
    0x82: expired,
    0x83: declined,
    0x84: lambda _: {"event": "lagging"},
    0x85: lambda r: {"event": "rehomed", "connection_id": r.u32()},
}
