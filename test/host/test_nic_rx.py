# SPDX-License-Identifier: BSD-3-Clause
"""Frames to the guest: layout, slots, completions, checksums, RSS."""
import random
import struct

import nicguest as ng
import pytest
from nicframes import MACS, flows, frame, tcp4, tcp6, toeplitz, udp4, udp6
from scapy.layers.inet import ICMP, IP
from scapy.layers.l2 import Ether

INVALID_DATA = 0xC0010015


# --- frames to the guest ----------------------------------------------------------------------

def test_receive_layout(nichost):
    h = nichost()
    g = h.guest().up()
    h.inject(frame())
    p = g.ch.read()
    assert (p.type, p.flags, p.kind, p.u32(4), p.u32(8)) == (ng.XFER, 1, 107, 0, ng.NO_SECTION)
    assert struct.unpack_from("<H", p.ext)[0] == 0xCAFE and p.tid == 16
    assert p.ranges == [(g.slot_size, 16 * g.slot_size)]
    m = g.message(p)
    assert struct.unpack_from("<11I", m) == (1, g.slot_size, 248, 60, 0, 0, 0, 36, 16, 0, 0)
    assert m[256:316] == frame()
    g.ch.complete(p)
    h.inject(frame(), flags=1, tci=5)
    p = g.ch.read()
    # The checksum's record comes first.
    assert struct.unpack_from("<11I", g.message(p))[7:9] == (36, 32)
    assert struct.unpack_from("<8I", g.message(p), 44) == (16, 0, 12, 0, 16, 6, 12, 5 << 4)
    g.ch.complete(p)
    h.end()


def test_filter_holds_frames(nichost):
    h = nichost()
    g = h.guest().up(filter=0)
    for i in range(3):
        h.inject(frame(i))
    assert g.ch.read(0.1) is None and h.stats()["port"]["waiting"] == 3
    g.set(ng.OID_FILTER, struct.pack("<I", 1))
    assert [f for f, _ in g.frames(3)] == [frame(i) for i in range(3)]
    g.set(ng.OID_FILTER, bytes(4))
    h.inject(frame(9))
    assert g.ch.read(0.1) is None
    h.end()


@pytest.mark.parametrize("opts, most", [("ranges=1", 1), ("ranges=8", 8), ("ranges-exact=32", 32),
                                        ("ranges-exact=375,flush-us=1000000,slot-size=400", 375)])
def test_ranges_per_packet(nichost, opts, most):
    h = nichost(f"hold-rx=yes,{opts}")
    g = h.guest().up()
    n = min(2 * most, 128) if most < 375 else most
    for i in range(n):
        h.inject(frame(i))
    assert h.cmd("resume-rx")["ok"]
    got, sizes = [], []
    while len(got) < n:
        p = g.ch.read()
        assert p is not None and len(p.ranges) <= most
        sizes.append(len(p.ranges))
        got += [ng.parse(g.message(p, i))[0] for i in range(len(p.ranges))]
        g.ch.complete(p)
    assert got == [frame(i) for i in range(n)]
    assert max(sizes) == most
    if "exact" in opts:
        assert set(sizes) == {most}
    h.end()


@pytest.mark.parametrize("opts", ["ids=random", "ids=high", "ids=slot,scatter=yes",
                                  "ids=random,scatter=yes,msg-len=exact,data-offset=0"])
def test_ids_and_slots(nichost, opts):
    h = nichost(opts)
    g = h.guest().up()
    seen, offs = set(), []
    for i in range(200):
        h.inject(frame(i))
        p = g.ch.read()
        f, _ = ng.parse(g.message(p))
        assert f == frame(i)
        seen.add(p.tid)
        offs.append(p.ranges[0][1])
        g.ch.complete(p)
    assert "random" not in opts or len(seen) == 200
    h.end()


def test_slots_run_out_and_come_back(nichost):
    h = nichost("slots=40")
    g = h.guest().up()
    for i in range(60):
        h.inject(frame(i))
    held, got = [], []
    while len(got) < 24:
        held.append(g.ch.read())
        got += [ng.parse(g.message(held[-1], i))[0] for i in range(len(held[-1].ranges))]
    assert g.ch.read(0.1) is None and h.stats()["port"]["waiting"] == 36
    random.Random(1).shuffle(held)
    for p in held:
        g.ch.complete(p, status=random.choice([1, 2]))
    while len(got) < 60:
        got += [f for f, _ in g.frames(1)]
    assert got == [frame(i) for i in range(60)]
    h.end()


def test_overflow_drop(nichost):
    h = nichost("slots=20,overflow=drop")
    g = h.guest().up()
    for i in range(10):
        h.inject(frame(i))
    assert ng.until(lambda: h.stats()["rx_overflow"] == 6)
    h.end()


def test_full_ring_blocks_and_resumes(nichost):
    """The host waits with a pending size and needs no more than the freed room."""
    h = nichost("ranges=1")
    g = h.guest(pages=4096)
    g.handshake(recv=1024)
    g.rndis_init()
    g.set(ng.OID_FILTER, b"\1\0\0\0")
    total = 2000
    h.inject(frame(), count=total)
    assert ng.until(lambda: g.ch.words[g.ch.inn // 4 + 3] >= g.ch.size // 4), "no pending size"
    assert h.stats()["port"]["waiting"] > 0
    assert len(g.frames(total)) == total
    assert g.ch.read(0.05) is None and g.ch.words[g.ch.inn // 4 + 3] == 0
    h.end()


def test_ring_spare(nichost):
    """So much of the ring stays free."""
    free = {}
    for spare in (0, None, 20000):
        h = nichost("ranges=1" + (f",ring-spare={spare}" if spare is not None else ""))
        g = h.guest(pages=4096).up(recv=1024)
        h.inject(frame(), count=2000)
        assert ng.until(lambda: g.ch.words[g.ch.inn // 4 + 3])
        free[spare] = g.ch.free()
        assert len(g.frames(2000)) == 2000
        h.end()
    # Less than a packet below, as the last one found so much.
    assert free[0] < 1000 and 1900 < free[None] < 2200 and 20000 <= free[20000] < 22000


def test_vlan_receive(nichost):
    h = nichost()
    g = h.guest().up()
    plain = frame(5, 80)
    for tci in (0, 1, 100, 4095, 0x2005, 0x1007, 0xFFFF):
        h.inject(plain, flags=1, tci=tci)
        tagged = plain[:12] + struct.pack(">2H", 0x8100, tci) + plain[12:]
        h.inject(tagged)
        ppi = (tci & 0xFFF) << 4 | (tci >> 12 & 1) << 3 | tci >> 13
        for f, ppis in g.frames(2):
            assert f == plain and ppis[6] == ppi
    h.end()


def test_vlan_not_stripped_and_qinq(nichost):
    h = nichost("vlan-strip=no")
    g = h.guest().up()
    tagged = frame()[:12] + b"\x81\x00\x00\x07" + frame()[12:]
    h.inject(tagged)
    assert g.frames(1) == [(tagged, {0: 0})]
    h.end()


def test_too_long_a_frame_is_lost(nichost):
    h = nichost()
    g = h.guest().up()
    h.inject(frame(1, 1600))
    h.inject(frame(2))
    assert g.frames(1)[0][0] == frame(2) and h.stats()["rx_too_big"] == 1
    h.end()


@pytest.mark.parametrize("make, good, bad", [(tcp4, 0x28, 0x21), (udp4, 0x30, 0x22),
                                             (tcp6, 0x08, 0x01), (udp6, 0x10, 0x02)])
def test_receive_checksums(nichost, make, good, bad):
    h = nichost()
    g = h.guest().up()
    for size in (1, 40, 41, 1000):
        f = bytearray(bytes(make(bytes(random.Random(size).randbytes(size)))))
        h.inject(f + bytes(3))            # padding does not matter
        f[-1] ^= 0x10
        h.inject(f)
        assert [p[0] for _, p in g.frames(2)] == [good, bad]
    h.inject(bytes(make()), flags=2 | 0x10)   # the port knows better
    assert g.frames(1)[0][1][0] == bad
    h.end()


def test_receive_ip_checksum_and_others(nichost):
    h = nichost()
    g = h.guest().up()
    f = bytearray(bytes(tcp4()))
    f[24] ^= 1
    h.inject(f)
    h.inject(bytes(tcp4(flags="MF")))
    h.inject(bytes(Ether(**MACS) / IP(dst="10.0.0.2") / ICMP()))
    h.inject(frame())
    assert [p[0] for _, p in g.frames(4)] == [0x04, 0x20, 0x20, 0]
    # Off by the guest: nothing is said.
    assert g.set(ng.OID_OFFLOAD, struct.pack("<2BH5B19x", 0x80, 3, 28, *[2] * 5)) == 0
    g.indication()
    h.inject(bytes(tcp4()))
    assert g.frames(1)[0][1][0] == 0
    h.end()


@pytest.mark.parametrize("tid", [0, 3, 16, 17, 35, 36, 1 << 32, 1 << 63, 0xFFFFFFFFFFFFFFFF])
def test_completion_of_nothing(nichost, tid):
    h = nichost()
    g = h.guest().up()
    g.ch.send(struct.pack("<2I", 108, 1), tid, 0, ng.COMP)
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end("rx.complete-id")


@pytest.mark.parametrize("payload, rule", [(struct.pack("<2I", 107, 1), "rx.complete-type"),
                                           (b"", "rx.complete-short")])
def test_bad_completion(nichost, payload, rule):
    h = nichost()
    g = h.guest().up()
    h.inject(frame())
    p = g.ch.read()
    g.ch.send(payload, p.tid, 0, ng.COMP)
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end(rule)


def test_duplicate_completion(nichost):
    h = nichost()
    g = h.guest().up()
    h.inject(frame())
    p = g.ch.read()
    g.ch.complete(p)
    g.ch.complete(p)
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end("rx.complete-id")


# --- queues -----------------------------------------------------------------------------------

def test_toeplitz_known_answers():
    """Microsoft's verification suite."""
    data = bytes([66, 9, 149, 187, 161, 142, 100, 80]) + struct.pack(">2H", 2794, 1766)
    assert toeplitz(data) == 0x51CCC178 and toeplitz(data[:8]) == 0x323E8FC2


def test_rss_spreads(nichost):
    h = nichost("queues=4")
    g = h.guest().up()
    g.subchannels(3)
    g.ch.read()
    table = [random.Random(5).randrange(4) for _ in range(128)]
    assert g.rss(table) == 0
    channels = {0: g.ch, **g.subs}
    want = {i: [] for i in range(4)}
    for f, value, info in flows(100):
        h.inject(f)
        want[table[value % 128]].append((f, value, info))
    for i, ch in channels.items():
        got = g.frames(len(want[i]), ch)
        assert [(f, p[8], p[9]) for f, p in got] == want[i]
    # Without ports; to the primary when nothing is hashed; off again.
    h.inject(frame())
    assert g.frames(1)[0][0] == frame() and 8 not in g.frames(0)
    assert g.rss([0], flags=0x10) == 0
    h.inject(bytes(tcp4()))
    assert 8 not in g.frames(1)[0][1]
    h.end()


def test_rss_types_and_short_table(nichost):
    h = nichost("queues=2")
    g = h.guest().up()
    g.subchannels(1)
    g.ch.read()
    assert g.rss([1, 1, 1], hash_info=0x101) == 0
    h.inject(bytes(tcp4()))
    f, ppis = g.frames(1, g.subs[1])[0]
    assert (ppis[8], ppis[9]) == (toeplitz(f[26:34]), 0x101)
    h.inject(bytes(tcp6()))
    assert len(g.frames(1)) == 1, "no type for IPv6"
    h.end()


@pytest.mark.parametrize("table, key, status", [
    ([4], ng.KEY, INVALID_DATA), ([], ng.KEY, INVALID_DATA), ([0], ng.KEY[:39], INVALID_DATA),
    ([0], b"", INVALID_DATA)])
def test_rss_refused(nichost, table, key, status):
    h = nichost("queues=4")
    g = h.guest().up()
    assert g.rss(table, key) == status and not h.cmd("rss")["rss"]["enabled"]
    h.end("rndis.object")


def test_rss_table_longer_than_the_hosts(nichost):
    """It is cut; flags that call a part unchanged mean nothing; hash 0 switches it off."""
    h = nichost("queues=4")
    g = h.guest().up()
    g.subchannels(3)
    g.ch.read()
    assert g.rss([1] * 100 + [2] * 28 + [3] * 128, flags=0x0E) == 0
    assert h.cmd("rss")["rss"]["table"] == [1] * 100 + [2] * 28
    assert g.rss([3], flags=0x0E) == 0 and h.cmd("rss")["rss"]["table"] == [3] * 128
    assert g.rss([3], hash_info=0) == 0 and not h.cmd("rss")["rss"]["enabled"]
    h.end()


def test_rss_changes_with_frames_on_their_way(nichost):
    """They are completed on the channel that they came by, whatever the table says by then."""
    h = nichost("queues=3,slots=30")
    g = h.guest().up()
    g.subchannels(2)
    g.ch.read()
    assert g.rss([1]) == 0
    h.inject(bytes(tcp4()), count=4)
    held = []
    while sum(len(p.ranges) for p in held) < 4:
        held.append(g.subs[1].read())
    assert g.rss([0]) == 0
    for p in held:
        g.subs[1].complete(p)
    assert ng.until(lambda: h.stats()["slots_used"] == 0)
    h.inject(bytes(tcp4()), count=40)
    assert len(g.frames(40)) == 40
    h.end()


def test_rss_to_a_closed_channel(nichost):
    h = nichost()
    g = h.guest().up()
    assert g.rss([0, 1]) == 0
    h.end("rss.channel-closed")


def test_completion_on_wrong_channel(nichost):
    h = nichost()
    g = h.guest().up()
    g.subchannels(1)
    g.ch.read()
    h.inject(frame())
    g.subs[1].complete(g.ch.read())
    assert ng.until(lambda: h.stats()["queues"][1]["failed"])
    assert g.query(ng.OID_MAC)[0] == 0
    h.end("rx.complete-channel")


# --- coalesced segments -----------------------------------------------------------------------

RSC_ON = struct.pack("<2BH18x2B4x", 0x80, 3, 28, 2, 2)


def inject_pieces(h, pieces):
    h.cmd("hold-rx")
    for i, p in enumerate(pieces):
        h.inject(p, flags=(0x40 if i == 0 else 0) | (0x80 if i + 1 < len(pieces) else 0))
    h.cmd("resume-rx")


def test_rsc(nichost):
    h = nichost("rsc=yes")
    g = h.guest().up(caps=0xAC)
    caps = g.query(ng.OID_HWCAPS)[1]
    assert caps[144:146] == b"\1\1" and g.query(ng.OID_CURRENT)[1][144:146] == b"\0\0"
    assert g.set(ng.OID_OFFLOAD, RSC_ON) == 0
    assert g.indication()[1][144:146] == b"\1\1"
    h.inject(frame(1))
    assert 0x80000001 not in g.frames(1)[0][1]
    pieces = [bytes(tcp4()), b"b" * 500, b"c" * 700]
    inject_pieces(h, pieces)
    p = g.ch.read()
    assert len(p.ranges) == 3, "all pieces in one packet"
    got = [ng.parse(g.message(p, i)) for i in range(3)]
    assert [f for f, _ in got] == pieces
    assert [ppis[0x80000001] for _, ppis in got] == [0x0301, 0x0101, 0x0501]
    assert 0 in got[0][1] and set(got[1][1]) == {0x80000001}
    g.ch.complete(p)
    h.end()


@pytest.mark.parametrize("caps, version", [(0x2C, ng.V61), (0xAC, ng.V6)])
def test_no_rsc_without_the_capability(nichost, caps, version):
    h = nichost("rsc=yes")
    g = h.guest().up(version, caps=caps)
    assert g.set(ng.OID_OFFLOAD, RSC_ON) == 0
    assert g.indication()[1][144:146] == b"\0\0"
    inject_pieces(h, [bytes(tcp4()), b"b" * 500])
    h.inject(frame(2))
    assert g.frames(1)[0][0] == frame(2) and h.stats()["rx_no_rsc"] == 2
    h.end()


# --- what no faithful host does ---------------------------------------------------------------

def test_faults(nichost):
    h = nichost("mangle=1,slots=600,slot-size=400")
    g = h.guest().up()
    assert h.cmd("raw", type=7, flags=1, tid=99, ext="fecafeca01000000" + "00" * 8,
                 payload="6b000000")["ok"]
    p = g.ch.read()
    assert (p.type, p.tid, p.kind, p.ranges) == (ng.XFER, 99, 107, [(0, 0)])
    assert h.cmd("poke", offset=400, bytes="0102ff")["ok"]
    assert g.g.mem[g.recv + 400:g.recv + 403] == b"\1\2\xff"
    assert not h.cmd("poke", offset=1 << 30, bytes="00")["ok"]
    for i in range(100):
        h.inject(frame(i))
        g.ch.complete(g.ch.read())
    assert h.stats()["mangled"] == 100
    assert h.cmd("ring-word", ring="rx", word="write", value=0x7FFFFFF1)["ok"]
    assert g.ch.words[g.ch.inn // 4] == 0x7FFFFFF1
    h.end()
