# SPDX-License-Identifier: BSD-3-Clause
"""What a hostile host sends to a running driver: T1 to T58 of doc/hostile_inputs.rst.

Each is (name, f(attacker), what counts it, status of its completions). The driver must go on.
A counter is an extended statistic that must rise; None: nothing has to be counted.
"""
import struct

from . import control, frames, netvsp, ring, rndis
from .socket_server import ACK, EVENT_FD, HEADER, MAGIC, SIGNAL_FD, SINT, SINT_EVENT, SINT_MESSAGE

FRAME = frames.ethernet(0x88B5, b"hostile" * 20)


class Attacker:
    """The tools; all of it happens under the host's lock."""

    def __init__(self, host, nic):
        self.host = host
        self.nic = nic
        self.partition = host.partition
        self.bus = host.partition.bus

    @property
    def session(self):
        return self.nic.session

    @property
    def channel(self):
        return self.nic.channels[0]

    def put(self, packet):
        self.nic.put(self.channel, packet)

    def slot(self, content):
        """Write into a free slot; its offset in the buffer."""
        slot = self.session.free.pop(0)
        self.session.free.append(slot)
        self.session.recv.write(slot * self.session.slot, content)
        return slot, slot * self.session.slot

    def message(self, content, length=None, kind=0):
        """One range with this RNDIS message."""
        slot, offset = self.slot(content)
        self.session.free.remove(slot)
        self.nic.transfer(self.channel, [slot],
                          [(len(content) if length is None else length, offset)], kind)

    def ranges(self, ranges, kind=0, ident=None):
        self.nic.transfer(self.channel, [], ranges, kind, ident=ident or 0xABCD0000)

    def transfer(self, payload=None, offset8=None, set_id=0xCAFE, count=1, kind=0, extension=None):
        """A transfer-page packet that nobody can complete."""
        _, offset = self.slot(rndis.received(rndis.OPENVMM, self.session.slot, FRAME, ())[1])
        if payload is None:
            payload = struct.pack("<IIII", netvsp.RNDIS, kind, 0xFFFFFFFF, 0).ljust(40, b"\0")
        if extension is None:
            extension = struct.pack("<HHIII", set_id, 0, count, self.session.slot, offset)
        packet = bytearray(ring.encode(ring.XFER_PAGES, 0xBAD, payload, extension, True))
        if offset8 is not None:
            packet[2:4] = struct.pack("<H", offset8)
        self.put(bytes(packet))

    def completion(self, ident, status=1, size=40, kind=netvsp.RNDIS_COMPLETE):
        body = struct.pack("<II", kind, status).ljust(size, b"\0")[:size]
        self.put(ring.encode(ring.COMPLETION, ident, body))

    def bus_message(self, kind, *words, tail=b"", cut=None):
        raw = struct.pack(f"<II{len(words)}I", kind, 0, *words) + tail
        self.partition.message(0, raw[:cut])

    def datagram(self, kind, body, magic=MAGIC, length=None):
        head = HEADER.pack(magic, kind, 0, len(body) if length is None else length, 77)
        self.partition.sock.send(head + body)


def packet(frame=FRAME, info=b"", **over):
    """An RNDIS PACKET; over: words that are wrong."""
    f = {"type": 1, "length": 44 + len(info) + len(frame), "offset": 36 + len(info),
         "size": len(frame), "oob": 0, "oob_size": 0, "oob_count": 0,
         "ppi": 36 if info else 0, "ppi_size": len(info), "handle": 0, "reserved": 0, **over}
    return struct.pack("<11I", *f.values()) + info + frame


def rnd(counter="invalid_rndis", status=2, **over):
    def attack(a):
        a.message(packet(**over))
    return attack, counter, status


def ppis(info, counter="invalid_rndis", status=2):
    def attack(a):
        a.message(packet(info=info))
    return attack, counter, status


def record(size, kind, at, data=b""):
    return struct.pack("<III", size, kind, at) + data


def rsc(*pieces):
    """Coalesced pieces of one packet: flags of each; None: a frame of its own."""
    def attack(a):
        ranges = []
        for flags in pieces:
            info = b"" if flags is None else rndis.ppi(rndis.PACKET_ID,
                                                       struct.pack("<BBH", 1, flags, 7))
            content = packet(info=info)
            ranges.append((len(content), a.slot(content)[1]))
        a.ranges(ranges)
    return attack, None, None


def indication(raw):
    return (lambda a: a.message(raw, kind=1)), None, None


def spans(*ranges, counter="invalid_range", status=2, kind=0):
    return (lambda a: a.ranges([r(a) if callable(r) else r for r in ranges], kind)), counter, status


def bus(kind, *words, **more):
    return (lambda a: a.bus_message(kind, *words, **more)), None, None


def nothing(attack):
    """Not completed, not counted."""
    return attack, None, None


def duplicate_offer(a):
    a.partition.message(0, a.bus.offer_message(a.channel))


def offer(relid, index=0, guid=control.NIC_CLASS.bytes_le):
    def attack(a):
        raw = bytearray(a.bus.offer_message(a.channel))
        raw[8:24] = guid
        raw[24:28] = struct.pack("<I", relid ^ 0x5A5A5A5A)
        raw[180:182] = struct.pack("<H", index)
        raw[184:188] = struct.pack("<I", relid)
        a.partition.message(0, bytes(raw))
    return attack, None, None


def same_slot_twice(a):
    content = packet()
    where = len(content), a.slot(content)[1]
    a.ranges([where, where], ident=1 << 40)
    a.ranges([where], ident=1 << 41)


def many_ranges(count):
    """More than the largest packet that a host sends has."""
    def attack(a):
        content = packet()
        where = struct.pack("<II", len(content), a.slot(content)[1])
        a.transfer(extension=struct.pack("<HHI", 0xCAFE, 0, count) + where * count)
    return attack


def changing(a):
    """Slots that change while the driver reads them."""
    for n in range(60):
        slot, offset = a.slot(packet(info=rndis.ppi(6, b"\0" * 4)))
        a.nic.transfer(a.channel, [], [(300, offset)], ident=0x77000 + n)
        for word in (8, 12, 28, 32, 44, 48, 52):
            a.session.recv.write(offset + word, struct.pack("<I", (n * 0x9E3779B1) & 0xFFFFFFFF))


def pending(value):
    """Garbage asks for signals at random: those are not the driver's fault."""
    def attack(a):
        a.channel.outbound.set(ring.PENDING, value)
        a.channel.outbound.crossings += 10
    return attack


def twice(a):
    """The id of a message that was completed already, and its neighbours."""
    last = a.nic.last_tx
    for ident in (last, last, last ^ 1, last ^ 1 << 32, last ^ 1 << 48):
        a.completion(ident)


def table(*words, tail=b""):
    return (lambda a: a.put(ring.encode(ring.INBAND, 0, struct.pack(f"<{len(words)}I", *words)
                                        + tail))), None, None


def inband(body):
    return (lambda a: a.put(ring.encode(ring.INBAND, 0, body))), None, None


XFER = "invalid_transfer"
ATTACKS = [
    ("T1 T15 T48 slots that change", changing, None, None),
    ("T2 message type 99", *bus(99, 1, 2, 3)),
    ("T2 message type 0", *bus(0)),
    ("T3 payload of 300 bytes", *nothing(lambda a: a.datagram(
        SINT_MESSAGE, struct.pack("<IIII", 0, SINT, 1, 300) + bytes(300)))),
    ("T3 payload shorter than its size", *nothing(lambda a: a.datagram(
        SINT_MESSAGE, struct.pack("<IIII", 0, SINT, 1, 240) + bytes(8)))),
    ("T4 OFFER of 100 bytes", *nothing(
        lambda a: a.partition.message(0, a.bus.offer_message(a.channel)[:100]))),
    *((f"T4 message {k} of 8 bytes", *bus(k)) for k in (2, 6, 10, 12, 15, 24)),
    ("T4 message of 3 bytes", *nothing(lambda a: a.partition.message(0, b"\1\0\0"))),
    ("T5 offer of relid 0", *offer(0)),
    ("T5 offer of relid 2048", *offer(2048)),
    ("T5 offer of relid 2^32 - 1", *offer(0xFFFFFFFF)),
    ("T5 rescind of relid 0, 5000, 2^32 - 1", *nothing(
        lambda a: [a.bus_message(2, r) for r in (0, 5000, 0xFFFFFFFF)])),
    ("T5 event of relid 0, 2047, 2^32 - 1", *nothing(
        lambda a: [a.partition.send(SINT_EVENT, struct.pack("<III", 0, SINT, r))
                   for r in (0, 2047, 0xFFFFFFFF)])),
    ("T6 offer of a SCSI controller", *offer(900, guid=bytes(range(16)))),
    ("T8 UNLOAD_RESPONSE", *bus(17)),
    ("T8 OPEN_RESULT", *bus(6, 1, 1, 0)),
    ("T8 OPEN_RESULT of nobody", *bus(6, 77, 77, 0)),
    ("T8 GPADL_CREATED", *bus(10, 1, 0xDEAD, 0)),
    ("T8 GPADL_TORNDOWN", *bus(12, 0xDEAD)),
    ("T8 VERSION_RESPONSE", *bus(15, 1, 1)),
    ("T8 ALLOFFERS_DELIVERED", *bus(4)),
    ("T9 offered twice", *nothing(duplicate_offer)),
    ("T27 sub-channel that nobody asked for", *offer(901, index=1)),
    ("T27 sub-channel 65535", *offer(902, index=0xFFFF)),
    ("socket: events for VPs and SINTs that do not exist", *nothing(
        lambda a: [a.datagram(SINT_EVENT, struct.pack("<III", v, s, 1))
                   for v, s in ((9999, 2), (0, 99), (0xFFFFFFFF, 0xFFFFFFFF))])),
    ("socket: descriptors that are none", *nothing(
        lambda a: [a.datagram(k, b"\1\0\0\0" * 3) for k in (EVENT_FD, SIGNAL_FD)])),
    ("socket: an ACK of nothing", *nothing(lambda a: a.datagram(ACK, bytes(4)))),
    ("T16 packet type 5", lambda a: a.put(ring.encode(5, 1, bytes(40))),
     "invalid_packet_type", None),
    ("T16 packet type 65535", lambda a: a.put(ring.encode(0xFFFF, 1, bytes(40))),
     "invalid_packet_type", None),
    ("T17 completion of 0", lambda a: a.completion(0), "invalid_completion", None),
    ("T17 completion of 2^64 - 1", lambda a: a.completion((1 << 64) - 1), None, None),
    ("T17 completion of a control id", lambda a: a.completion(1 << 63 | 999), None, None),
    ("T17 completed twice", twice, "invalid_completion", None),
    *((f"T19 pending size {v:#x}", pending(v), None, None) for v in (0xFFFFFFFF, 7, 1 << 31, 0)),
    ("T21 RNDIS completion of 0 bytes", lambda a: a.completion(5, size=0), "invalid_nvsp", None),
    ("T21 RNDIS completion of 4 bytes", lambda a: a.completion(5, size=4), None, None),
    ("T23 completion of type 105", lambda a: a.completion(5, kind=105), "invalid_nvsp", None),
    ("NVSP in-band without payload", *inband(b"")),
    ("NVSP in-band type 0, 999, INIT", *nothing(
        lambda a: [a.nic.notify(k) for k in (0, 999, 1, 107)])),
    ("T28 table of 2^32 - 1 entries", *table(134, 0xFFFFFFFF, 12, tail=bytes(64))),
    ("T28 table of 3 entries", *table(134, 3, 12, 0, 1, 2)),
    ("T28 table behind the message", *table(134, 16, 4000, tail=bytes(64))),
    ("T28 table offset overflows", *table(134, 16, 0xFFFFFFF0, tail=bytes(64))),
    ("T28 entries beyond the channels", *table(134, 16, 12, *[0xFFFFFFFF] * 16)),
    ("T29 VF association of 4 bytes", *inband(struct.pack("<I", 128))),
    ("T31 no payload", lambda a: a.transfer(payload=b""), XFER, None),
    ("T31 NVSP type 106", lambda a: a.transfer(payload=struct.pack("<II", 106, 0)), XFER, None),
    ("T31 payload at 16", lambda a: a.transfer(offset8=2), None, None),
    ("T31 payload inside the ranges", lambda a: a.transfer(offset8=3), XFER, None),
    ("T31 another buffer", lambda a: a.transfer(set_id=0xBEEF), XFER, None),
    ("T31 2^32 - 1 ranges", lambda a: a.transfer(count=0xFFFFFFFF), XFER, None),
    ("T31 2^29 ranges", lambda a: a.transfer(count=1 << 29), XFER, None),
    ("T31 two ranges, room for one", lambda a: a.transfer(count=2), XFER, None),
    ("T31 no range", lambda a: a.transfer(count=0), None, None),
    ("T31 RNDIS channel type 7", lambda a: a.transfer(kind=7), None, None),
    ("T32 range behind the buffer", *spans((100, 0xFFFFFF00))),
    ("T32 range across its end", *spans(lambda a: (1000, a.session.recv.size - 500))),
    ("T32 range of 2^32 - 1", *spans((0xFFFFFFFF, 4096))),
    ("T32 range ends at 2^32", *spans((0x1000, 0xFFFFF000))),
    ("T33 longer than a slot",
     *spans(lambda a: (a.session.slot + 8, 20 * a.session.slot))),
    ("T34 range of 0", *spans(lambda a: (0, 20 * a.session.slot), counter="invalid_rndis")),
    ("T34 range of 7", *spans(lambda a: (7, 20 * a.session.slot), counter="invalid_rndis")),
    ("T34 control range of 7", *spans(lambda a: (7, 20 * a.session.slot), kind=1)),
    ("T32 control range behind the buffer", *spans((100, 0xFFFFFF00), kind=1)),
    ("T35 the same slot twice", same_slot_twice, None, 1),
    ("T36 563 ranges", many_ranges(563), XFER, None),
    ("T36 5000 ranges", many_ranges(5000), XFER, None),
    ("T37 message of 7 bytes", *rnd(**{"length": 7})),
    ("T37 message longer than its range", *rnd(**{"length": 4096})),
    ("T37 message of 2^32 - 1", *rnd(**{"length": 0xFFFFFFFF})),
    ("T38 range of 43", *spans(lambda a: (43, a.slot(packet())[1]), counter="invalid_rndis")),
    ("T39 data behind the message", *rnd(offset=4000)),
    ("T39 data offset 2^32 - 8", *rnd(offset=0xFFFFFFF8)),
    ("T39 more data than there is", *rnd(size=1400)),
    ("T39 data of 2^32 - 1", *rnd(size=0xFFFFFFFF)),
    ("T40 no data", *rnd(size=0)),
    ("T40 13 bytes", *rnd(size=13, counter="rx_errors")),
    ("T41 data in the header", *rnd(offset=0)),
    ("T41 data in the PPIs", *rnd(info=rndis.ppi(6, bytes(4)), offset=36, counter=None,
                                  status=None)),
    ("T42 PPIs in the header", *rnd(info=rndis.ppi(6, bytes(4)), ppi=8, counter=None,
                                    status=None)),
    ("T42 PPIs behind the message", *rnd(ppi=4000, ppi_size=16, counter=None, status=None)),
    ("T42 PPIs of 8 bytes", *rnd(info=bytes(8), counter=None, status=None)),
    ("T42 PPIs of 2^32 - 4", *rnd(info=rndis.ppi(6, bytes(4)), ppi_size=0xFFFFFFFC, counter=None,
                                  status=None)),
    ("T43 PPI of 0 bytes", *ppis(record(0, 6, 12, bytes(4)), None, None)),
    ("T43 PPI of 8 bytes", *ppis(record(8, 6, 12, bytes(4)), None, None)),
    ("T43 PPI of 1000 bytes", *ppis(record(1000, 6, 12, bytes(4)), None, None)),
    ("T43 PPI of 2^32 - 4", *ppis(record(0xFFFFFFFC, 6, 12, bytes(4)), None, None)),
    ("T43 PPI of 17 bytes", *ppis(record(17, 6, 12, bytes(8)), None, None)),
    ("T43 PPI data at 4", *ppis(record(16, 6, 4, bytes(4)), None, None)),
    ("T43 PPI data at 16", *ppis(record(16, 6, 16, bytes(4)), None, None)),
    ("T43 PPI data at 2^32 - 1", *ppis(record(16, 6, 0xFFFFFFFF, bytes(4)), None, None)),
    *((f"T44 PPI {k:#x} of 12 bytes", *ppis(record(12, k, 12), None, None))
      for k in (0, 6, 8, 9, 0x80000001)),
    ("T45 two VLANs", *ppis(rndis.ppi(6, b"\x10\2\0\0") + rndis.ppi(6, b"\x20\2\0\0"), None, 1)),
    ("T46 VLAN with upper bits", *ppis(rndis.ppi(6, b"\xFF\xFF\xFF\xFF"), None, 1)),
    ("T47 RSC: middle without a first", *rsc(1)),
    ("T47 RSC: last without a first", *rsc(5)),
    ("T47 RSC: no last", *rsc(3, 1, 1)),
    ("T47 RSC: a frame in between", *rsc(3, None, 5)),
    ("T47 RSC: two firsts", *rsc(3, 3, 5)),
    ("T47 RSC: first and last", *rsc(7)),
    ("T47 RSC: more than 64 KiB", *rsc(3, *[1] * 498, 5)),
    ("T49 short IP headers", *nothing(lambda a: [a.message(packet(
        frame=frames.ethernet(0x0800, bytes([ihl]))[:n],
        info=rndis.ppi(0, struct.pack("<I", 0x120))))
        for ihl, n in ((0x45, 14), (0x45, 20), (0x41, 40), (0x4F, 40))])),
    ("T50 answers to no request", *nothing(lambda a: [a.message(m, kind=1) for m in (
        rndis.query_reply(0, 0, b"1234"), rndis.set_reply(77), rndis.query_reply(0xFFFFFFFF, 1),
        rndis.initialize_reply(1), struct.pack("<II", 0x80000004, 8))])),
    ("T53 indication of 12 bytes", *indication(struct.pack("<III", 7, 12, rndis.MEDIA_CONNECT))),
    ("T53 speed outside the range", *indication(
        rndis.message(7, struct.pack("<III", rndis.LINK_SPEED_CHANGE, 4, 4000)))),
    ("T53 speed at 2^32 - 4", *indication(
        rndis.message(7, struct.pack("<III", rndis.LINK_SPEED_CHANGE, 4, 0xFFFFFFFC)))),
    ("T53 speed of 2^32 - 1 bytes", *indication(
        rndis.message(7, struct.pack("<III", rndis.LINK_SPEED_CHANGE, 0xFFFFFFFF, 12) + bytes(4)))),
    ("T53 unknown status", *indication(rndis.indication(0x12345678, bytes(40)))),
    ("T53 offloads of 8 bytes", *indication(
        rndis.indication(rndis.OFFLOAD_CONFIG, b"\xA7\3\x9C\0" + bytes(4)))),
    ("T58 RNDIS type 77 as data", *rnd(type=77, counter=None, status=None)),
    ("T58 RNDIS type 77 as control", *indication(rndis.message(77, bytes(40)))),
    ("T58 a frame as control message", *indication(packet())),
    ("T58 HALT and RESET from the host", *nothing(
        lambda a: [a.message(rndis.message(k, bytes(4)), kind=1) for k in (3, 6)])),
]


def index(which, field, value):
    return lambda a: getattr(a.channel, which).set(field, value)


def descriptor(off8, len8, kind=6):
    """A packet whose descriptor lies; published by hand, as put() would refuse."""
    def attack(a):
        packet_ = bytearray(ring.encode(kind, 1, bytes(40)))
        packet_[2:6] = struct.pack("<HH", off8, len8)
        a.put(bytes(packet_))

    return attack


# After these a ring cannot be trusted: the port is opened anew, or the packet is skipped.
FATAL = [
    ("T11 read index behind the ring", index("inbound", ring.READ, 1 << 24)),
    ("T11 read index 2^32 - 8", index("inbound", ring.READ, 0xFFFFFFF8)),
    ("T20 read index not a multiple of 8", index("inbound", ring.READ, 12)),
    ("T20 read index past the write index",
     lambda a: a.channel.inbound.set(ring.READ, (a.channel.inbound.at + 4096)
                                     % a.channel.inbound.size)),
    ("T12 write index behind the ring", index("outbound", ring.WRITE, 1 << 24)),
    ("T12 write index 2^32 - 8", index("outbound", ring.WRITE, 0xFFFFFFF8)),
    ("T12 write index not a multiple of 8", lambda a: a.channel.outbound.set(
        ring.WRITE, a.channel.outbound.at + 12)),
    ("T12 write index backwards", lambda a: a.channel.outbound.set(
        ring.WRITE, (a.channel.outbound.at - 64) % a.channel.outbound.size)),
    ("T13 packet of 0 words", descriptor(2, 0)),
    ("T13 packet of 1 word", descriptor(2, 1)),
    ("T13 packet longer than what is there", descriptor(2, 5000)),
    ("T13 packet longer than the ring", descriptor(2, 0xFFFF)),
    ("T14 payload at 0", descriptor(0, 7)),
    ("T14 payload behind the packet", descriptor(100, 7)),
    ("T14 transfer pages without extension", descriptor(2, 7, 7)),
]
