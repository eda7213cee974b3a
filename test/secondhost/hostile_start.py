# SPDX-License-Identifier: BSD-3-Clause
"""Hosts that answer a driver's start wrongly: T10 and T21 to T60 of doc/hostile_inputs.rst.

Each is (name, settings of a NIC, verdict): the driver must refuse the device ("fails"), run it
("up"), or may do either; it must survive all.
"""
import struct

from . import netvsp, objects, ring, rndis

FAILS, UP, EITHER = "fails", "up", "either"


def completes(*fields, size=40):
    """A completion with these words; shorter or longer than it should be."""
    body = struct.pack(f"<{len(fields)}I", *fields).ljust(size, b"\0")[:size]
    return lambda ident: [ring.encode(ring.COMPLETION, ident, body)]


def raw_completion(body):
    """A completion with a body that is no number of words: lengths count in words of 8 bytes."""
    return lambda ident: [ring.encode(ring.COMPLETION, ident, body)]


def init(*replies):
    return {"replies": {netvsp.INIT_COMPLETE: replies[0]}}


def recv(*fields, size=40):
    return {"replies": {netvsp.RECV_BUF_COMPLETE: completes(102, *fields, size=size)}}


def send(*fields, size=40):
    return {"replies": {netvsp.SEND_BUF_COMPLETE: completes(105, *fields, size=size)}}


def answers(oid, make, **more):
    return {"answers": {oid: make}, **more}


def query(status, length, offset, data, size=None):
    """A query's answer whose words do not fit its bytes."""
    def make(request):
        body = struct.pack("<IIII", request, status, length, offset) + data
        raw = rndis.message(rndis.QUERY | rndis.REPLY, body)
        return [raw if size is None else raw[:4] + struct.pack("<I", size) + raw[8:]]
    return make


def refuses(oid, kind=rndis.QUERY, status=rndis.NOT_SUPPORTED, **more):
    """A host that does not know an OID."""
    return answers(oid, lambda r: [rndis.query_reply(r, status) if kind == rndis.QUERY
                                   else rndis.set_reply(r, status)], **more)


def rescinded(bus, channel):
    bus.rescind(channel)


def patched(data, at, value):
    return data[:at] + value + data[at + len(value):]


OFFLOAD = objects.offload()
MAC = rndis.PERMANENT_MAC
HARDWARE = rndis.OFFLOAD_HARDWARE
RSS = rndis.RSS_CAPABILITIES
MAC_BYTES = bytes.fromhex("00155d010203")


def initialized(max_packets=8, max_transfer=0xEFFFFFFF, alignment=3, status=0, length=52):
    def make(request):
        raw = rndis.initialize_reply(request, status, max_packets, max_transfer, alignment)
        return [raw[:4] + struct.pack("<I", length) + raw[8:length]]
    return answers(None, make)


def mixed_up(request):
    """Answers to others, answers of another kind, and then the right one."""
    return [rndis.query_reply(request + 1000, 0, b"\xFF" * 6), rndis.set_reply(request),
            struct.pack("<II", rndis.QUERY | rndis.REPLY, 8),
            rndis.query_reply(request, 0, MAC_BYTES), rndis.query_reply(request, 0, b"\xFF" * 6)]


STARTS = [
    ("T10 rescinded while opening", {"on_open": rescinded}, FAILS),
    ("T21 INIT_COMPLETE of 8 bytes", init(completes(2, 1, size=8)), FAILS),
    ("T21 RECV_BUF answer of 16 bytes", recv(1, 1, 0, size=16), FAILS),
    ("T21 SEND_BUF answer of 8 bytes", send(1, size=8), EITHER),
    ("T22 empty completion of INIT", init(raw_completion(b"")), FAILS),
    ("T23 RECV_BUF answered as SEND_BUF",
     {"replies": {netvsp.RECV_BUF_COMPLETE: completes(105, 1, 6144)}}, FAILS),
    ("T24 no section", recv(1, 0), FAILS),
    ("T24 two sections", recv(1, 2, 0, 1806, 100, 180600), FAILS),
    ("T24 section at 4096", recv(1, 1, 4096, 1806, 100, 184696), FAILS),
    ("T24 slots of 0 bytes", recv(1, 1, 0, 0, 100, 0), FAILS),
    ("T24 slots of 67 bytes", recv(1, 1, 0, 67, 100, 6700), FAILS),
    ("T24 size by count overflows", recv(1, 1, 0, 0x10000, 0x10000, 0), FAILS),
    ("T24 more than the buffer", recv(1, 1, 0, 1806, 0x7FFFFFFF, 0), FAILS),
    ("T24 no slots", recv(1, 1, 0, 1806, 0, 0), FAILS),
    ("T25 sections of 0", send(1, 0), EITHER),
    ("T25 sections of 4", send(1, 4), EITHER),
    ("T25 sections of 6145", send(1, 6145), EITHER),
    ("T25 sections larger than the buffer", send(1, 0x7FFFFFFC), EITHER),
    ("T25 sections of 4 GiB - 1", send(1, 0xFFFFFFFF), EITHER),
    ("T50 other answers, then the right one, twice", answers(MAC, mixed_up), UP),
    ("T50 an answer larger than any copy",
     answers(MAC, lambda r: [rndis.query_reply(r, 0, b"\x02" * 1500)]), EITHER),
    ("T50 an answer of 12 bytes", answers(MAC, lambda r: [
        rndis.message(rndis.QUERY | rndis.REPLY, struct.pack("<I", r))]), FAILS),
    ("T51 more than wanted", answers(MAC, query(0, 60, 16, MAC_BYTES * 10)), EITHER),
    ("T51 offset 4", answers(MAC, query(0, 6, 4, MAC_BYTES)), FAILS),
    ("T51 offset 2^32 - 4", answers(MAC, query(0, 6, 0xFFFFFFFC, MAC_BYTES)), FAILS),
    ("T51 length 2^32 - 1", answers(MAC, query(0, 0xFFFFFFFF, 16, MAC_BYTES)), FAILS),
    ("T51 behind the message", answers(MAC, query(0, 6, 4000, MAC_BYTES)), FAILS),
    ("T51 success without data", answers(MAC, query(0, 0, 0, b"")), FAILS),
    ("T51 message length 2^31", answers(MAC, query(0, 6, 16, MAC_BYTES, 1 << 31)), FAILS),
    ("T52 link status of 2 bytes",
     answers(rndis.MEDIA_STATUS, query(0, 2, 16, b"\0\0")), EITHER),
    ("T54 hardware capabilities of another type",
     {"offload": patched(OFFLOAD, 0, b"\xA8")}, EITHER),
    ("T54 revision 0", {"offload": patched(OFFLOAD, 1, b"\0")}, EITHER),
    ("T54 size 111", {"offload": patched(OFFLOAD, 2, b"\x6F\0")}, EITHER),
    ("T54 size 65535", {"offload": patched(OFFLOAD, 2, b"\xFF\xFF")}, EITHER),
    ("T54 20 bytes", {"offload": OFFLOAD[:20]}, EITHER),
    ("T55 no queues", answers(RSS, lambda r: [
        rndis.query_reply(r, 0, objects.rss_capabilities(0, 128))], queues=4), UP),
    ("T55 65535 queues, no table", answers(RSS, lambda r: [
        rndis.query_reply(r, 0, objects.rss_capabilities(65535, 0))], queues=4), UP),
    ("T55 table of 300", answers(RSS, lambda r: [
        rndis.query_reply(r, 0, objects.rss_capabilities(4, 300))], queues=4), UP),
    ("T55 4 bytes", answers(RSS, lambda r: [rndis.query_reply(r, 0, b"\x88\2\4\0")], queues=4), UP),
    ("T56 alignment 2^32", initialized(alignment=32), EITHER),
    ("T56 alignment 2^(2^32 - 1)", initialized(alignment=0xFFFFFFFF), EITHER),
    ("T56 no packets", initialized(max_packets=0), EITHER),
    ("T56 2^32 - 1 packets", initialized(max_packets=0xFFFFFFFF), UP),
    ("T56 transfer of 0", initialized(max_transfer=0), UP),
    ("T56 transfer of 60", initialized(max_transfer=60), UP),
    ("T56 INITIALIZE refused", initialized(status=0xC0000001), FAILS),
    ("T56 INITIALIZE_CMPLT of 20 bytes", initialized(length=20), FAILS),
    ("T59 MAC of zeros", answers(MAC, query(0, 6, 16, bytes(6))), EITHER),
    ("T59 multicast MAC", answers(MAC, query(0, 6, 16, b"\xFF" * 6)), EITHER),
    ("T60 frame size 60", answers(rndis.FRAME_SIZE, query(0, 4, 16, b"\x3C\0\0\0")), UP),
    ("T60 frame size 2^32 - 1", answers(rndis.FRAME_SIZE, query(0, 4, 16, b"\xFF" * 4)), UP),
    # Not hostile, but less than usual
    ("no frame size", refuses(rndis.FRAME_SIZE), UP),
    ("no link speed", refuses(rndis.LINK_SPEED), UP),
    ("no link status", refuses(rndis.MEDIA_STATUS, status=rndis.FAILURE), UP),
    ("no RSS", refuses(RSS, queues=4), UP),
    ("no offload capabilities", refuses(HARDWARE), UP),
    ("no offloads in force", refuses(rndis.OFFLOAD_CURRENT), UP),
    ("no offload parameters", refuses(rndis.OFFLOAD_PARAMETERS, rndis.SET), UP),
    ("requests are completed behind the next one", {"complete_late": True}, UP),
]
