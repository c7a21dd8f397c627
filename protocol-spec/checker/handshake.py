"""A whole handshake, both ends of it: handshake.md."""

import hashlib

from . import crypto, frames, packets
from .reader import Reader


def prologue(protocol_id, server, token):
    """HSK-2."""
    server_hash = hashlib.sha256(server.encode()).digest()
    return protocol_id.to_bytes(8, "big") + b"\x01" + server_hash + hashlib.sha256(token).digest()


def accept(vector):
    """The server's steps 4 and 6: token and Noise message 1. Gives the HELLO, the state and the parameters."""
    protocol_id = int(vector["protocol_id"])
    hello = packets.clear(protocol_id, bytes.fromhex(vector["hello"]), {})
    token = bytes.fromhex(hello["token"])
    claims = crypto.claims(crypto.open_token(bytes.fromhex(vector["token_key"]), token.decode()))
    noise = crypto.Noise(prologue(protocol_id, vector["server"], token), bytes.fromhex(claims["psk"]))
    message = bytes.fromhex(hello["noise"])
    noise.public(message[:32])
    parameters = noise.open(message[32:])
    whole(packets.parameters, parameters)
    return hello, noise, parameters


def run(vector):
    """The handshake from both ends, made anew from the private keys; gives what both know afterwards."""
    protocol_id = int(vector["protocol_id"])
    client, server = (bytes.fromhex(vector[f"{end}_ephemeral"]) for end in ("client", "server"))
    hello, noise, client_parameters = accept(vector)
    first = bytes.fromhex(hello["noise"])
    expect("the client's ephemeral", first[:32], crypto.x25519_public(client))

    # The client's message, sealed again: it must come out the same.
    token = bytes.fromhex(hello["token"])
    claims = crypto.claims(crypto.open_token(bytes.fromhex(vector["token_key"]), token.decode()))
    expect("the server's name", claims["aud"], vector["server"])
    again = crypto.Noise(prologue(protocol_id, vector["server"], token), bytes.fromhex(claims["psk"]))
    again.public(first[:32])
    expect("noise message 1", again.seal(client_parameters), first[32:])

    ack = packets.clear(protocol_id, bytes.fromhex(vector["hello_ack"]), {})
    expect("the echo", bytes.fromhex(ack["echo"]), first[:8])
    second = bytes.fromhex(ack["noise"])
    expect("the server's ephemeral", second[:32], crypto.x25519_public(server))
    noise.public(second[:32])
    shared = crypto.x25519(client, second[:32])
    expect("the shared secret", shared, crypto.x25519(server, first[:32]))
    noise.mix_key(shared)
    reader = Reader(noise.open(second[32:]))
    connection = reader.u32()
    server_parameters = reader.data[reader.at :]
    whole(packets.parameters, server_parameters)

    k1, k2 = noise.split()
    check_first_packet(vector["client_packet"], noise.h, k1, connection)
    check_first_packet(vector["server_packet"], noise.h, k2, None)
    return {
        "connection": connection,
        "cookie": hello["cookie"],
        "client_parameters": client_parameters.hex(),
        "server_parameters": server_parameters.hex(),
        "handshake_hash": noise.h.hex(),
        "k1": k1.hex(),
        "k2": k2.hex(),
    }


def check_first_packet(text, handshake_hash, secret, connection):
    """A PING with number 0."""
    packet = bytes.fromhex(text)
    header, length = packets.sealed_header(packet, connection is not None)
    expect("the connection id", header["connection"], connection)
    keys = crypto.direction_keys(handshake_hash, secret)
    opened = crypto.open_packet(keys, 0, packet[:length], packet[length:])
    expect("the frames", frames.frames(opened), [{"type": "ping"}])


def whole(read, data):
    reader = Reader(data)
    value = read(reader)
    reader.end()
    return value


def expect(what, found, wanted):
    if found != wanted:
        raise AssertionError(f"{what}: found {found}, wanted {wanted}")
