/* What Rust needs of ENet's structures, so that their layout stays with ENet's header. */
#include <enet/enet.h>

/* A server on a free port of loopback. */
ENetHost *peers_enet_listen(size_t peers)
{
    ENetAddress address;
    address.port = 0;
    if (enet_address_set_host_ip(&address, "127.0.0.1") != 0)
        return NULL;
    return enet_host_create(&address, peers, 1, 0, 0);
}

/* The port that a host is bound to. */
int peers_enet_port(ENetHost *host)
{
    ENetAddress address;
    if (enet_socket_get_address(host->socket, &address) != 0)
        return -1;
    return address.port;
}

/* A client that connects to a port of loopback. */
ENetHost *peers_enet_connect(int port)
{
    ENetAddress address;
    ENetHost *host = enet_host_create(NULL, 1, 1, 0, 0);
    if (host == NULL)
        return NULL;
    address.port = (enet_uint16) port;
    if (enet_address_set_host_ip(&address, "127.0.0.1") != 0 || enet_host_connect(host, &address, 1, 0) == NULL) {
        enet_host_destroy(host);
        return NULL;
    }
    return host;
}

/* Turns the throttle of both ends of a connection off: it begins open, and may open but not close. */
void peers_enet_keep_open(ENetHost *host, size_t peer)
{
    enet_peer_throttle_configure(&host->peers[peer], ENET_PEER_PACKET_THROTTLE_INTERVAL, ENET_PEER_PACKET_THROTTLE_SCALE, 0);
}

/* A peer is given up no sooner than after so long without an ack. */
void peers_enet_set_timeout(ENetHost *host, size_t peer, uint32_t least_ms)
{
    enet_peer_timeout(&host->peers[peer], 0, least_ms, 0);
}

int peers_enet_socket(ENetHost *host)
{
    return host->socket;
}

/* UDP payload that has passed since the last call, both ways; the host counts it in 32 bits. */
void peers_enet_take_traffic(ENetHost *host, uint64_t *datagrams, uint64_t *bytes)
{
    *datagrams = (uint64_t) host->totalSentPackets + host->totalReceivedPackets;
    *bytes = (uint64_t) host->totalSentData + host->totalReceivedData;
    host->totalSentPackets = host->totalReceivedPackets = 0;
    host->totalSentData = host->totalReceivedData = 0;
}

/* What has happened: 0 nothing, 1 a peer is there, 2 one is gone, 3 a packet, less than 0 a failure. */
int peers_enet_next(ENetHost *host, uint32_t wait_ms, int only_queued, ENetPacket **packet, size_t *peer)
{
    ENetEvent event;
    int result = only_queued ? enet_host_check_events(host, &event) : enet_host_service(host, &event, wait_ms);
    if (result <= 0)
        return result;
    *peer = (size_t) (event.peer - host->peers);
    *packet = event.packet;
    switch (event.type) {
    case ENET_EVENT_TYPE_CONNECT:
        return 1;
    case ENET_EVENT_TYPE_DISCONNECT:
        return 2;
    case ENET_EVENT_TYPE_RECEIVE:
        return 3;
    default:
        return 0;
    }
}

const uint8_t *peers_enet_bytes(const ENetPacket *packet, size_t *length)
{
    *length = packet->dataLength;
    return packet->data;
}

/* A reliable packet of one reference, which the caller gives back with peers_enet_release. */
ENetPacket *peers_enet_packet(const uint8_t *bytes, size_t length)
{
    ENetPacket *packet = enet_packet_create(bytes, length, ENET_PACKET_FLAG_RELIABLE);
    if (packet != NULL)
        packet->referenceCount = 1;
    return packet;
}

/* Queues a packet for a peer, which takes a reference of its own. */
int peers_enet_send(ENetHost *host, size_t peer, ENetPacket *packet)
{
    return enet_peer_send(&host->peers[peer], 0, packet);
}

void peers_enet_release(ENetPacket *packet)
{
    if (--packet->referenceCount == 0)
        enet_packet_destroy(packet);
}

/* A received packet has no references. */
void peers_enet_destroy(ENetPacket *packet)
{
    enet_packet_destroy(packet);
}

int peers_enet_start(void)
{
    return enet_initialize();
}

void peers_enet_flush(ENetHost *host)
{
    enet_host_flush(host);
}

void peers_enet_end(ENetHost *host)
{
    enet_host_destroy(host);
}
