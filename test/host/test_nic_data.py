# SPDX-License-Identifier: BSD-3-Clause
"""RNDIS of the synthetic NIC: objects, indications, frames both ways, offloads, hostile sends."""
import random
import struct

import nicguest as ng
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

NOT_SUPPORTED, INVALID_DATA, GENERIC = 0xC00000BB, 0xC0010015, 0xC0000001
MACS = dict(src="00:15:5d:00:00:01", dst="02:00:00:00:00:01")


def frame(i=0, size=60):
    return bytes(Ether(**MACS, type=0x88B5) / Raw(struct.pack("<I", i))).ljust(size, b"\xa5")


def tcp4(payload=b"x" * 40, **kw):
    return Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2", id=7, **kw) / TCP(
        sport=1000, dport=80, seq=100, flags="PA") / Raw(payload)


def udp4(payload=b"x" * 40):
    return Ether(**MACS) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=5, dport=6) / Raw(payload)


def tcp6(payload=b"x" * 40):
    return Ether(**MACS) / IPv6(src="fd00::1", dst="fd00::2") / TCP(
        sport=1000, dport=80, seq=100, flags="PA") / Raw(payload)


def udp6(payload=b"x" * 40):
    return Ether(**MACS) / IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=5, dport=6) / Raw(payload)


def fold(data):
    data += bytes(len(data) % 2)
    s = sum(struct.unpack(f">{len(data) // 2}H", data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


# --- objects --------------------------------------------------------------------------------------

def test_objects(nichost):
    h = nichost("queues=4,speed=25000000000")
    g = h.guest().up(mtu=9014)
    for oid, value in [(0x10102, 0), (0x10103, 0), (0x10104, 0), (0x10105, 9000), (0x1010F, 9000),
                       (0x10106, 9000), (0x10107, 250000000), (0x10108, 262144), (0x10109, 262144),
                       (0x1010A, 9014), (0x1010B, 9014), (0x10111, 9014), (0x1010C, 0x155D),
                       (0x1010E, 0), (0x10113, 0x24D), (0x10114, 0), (0x10115, 0xFFFFFFFF),
                       (0x1010104, 0)]:
        assert g.query(oid) == (0, struct.pack("<I", value)), hex(oid)
    mac = bytes.fromhex("00155d000001")
    assert g.query(0x1010101) == g.query(0x1010102) == (0, mac)
    assert len(g.query(0x10110)[1]) == len(g.query(0x10116)[1]) == 2
    assert g.query(0x10206) == (0, struct.pack("<2Q", 25 * 10**9, 25 * 10**9))
    status, link = g.query(0x10207)
    assert status == 0 and struct.unpack("<BBH3I2Q2I", link) == (0x80, 1, 40, 1, 2, 0, 25 * 10**9,
                                                                 25 * 10**9, 0, 0)
    status, oids = g.query(ng.OID_LIST)
    assert status == 0 and ng.OID_RSS in struct.unpack(f"<{len(oids) // 4}I", oids)
    assert g.query(ng.OID_RSS_CAPS) == (0, struct.pack("<2BH3IH", 0x88, 2, 18, 0x1B01, 4, 4, 128))
    for oid in (0x10112, 0x1010103, 0x20216, 0x20101, 0x10208, 0xDEADBEEF):
        assert g.query(oid) == (NOT_SUPPORTED, b""), hex(oid)
    assert g.set(0x1010103, bytes(6)) == NOT_SUPPORTED
    assert g.set(0x10118, bytes(20)) == 0
    h.end()


@pytest.mark.parametrize("version, rev, size", [(ng.V4, 2, 144), (ng.V5, 3, 156), (ng.V61, 3, 156)])
def test_offload_objects(nichost, version, rev, size):
    h = nichost()
    g = h.guest().up(version)
    status, caps = g.query(ng.OID_HWCAPS, bytes(size))
    assert status == 0 and len(caps) == size
    assert struct.unpack_from("<2BH", caps) == (0xA7, rev, size)
    assert struct.unpack_from("<8I", caps, 4) == (2, 0x155, 2, 0x155, 2, 0x55, 2, 0x55)
    assert struct.unpack_from("<7I", caps, 80) == (2, 0xF53C, 2, 2, 0xF53C, 2, 5)
    assert g.query(ng.OID_CURRENT)[1] == caps, "all that is offered is on"
    # TX only, off, RX only, unchanged, both; LSOv2 IPv4 off.
    params = struct.pack("<2BH12BI8B", 0x80, 3, 28, 2, 1, 3, 0, 4, 0, 0, 1, 0, 0, 0, 0, 0, *bytes(8))
    assert g.set(ng.OID_OFFLOAD, params) == 0
    status, now = g.indication()
    assert status == 0x40020006 and now == g.query(ng.OID_CURRENT)[1] and len(now) == size
    assert struct.unpack_from("<8I", now, 4) == (2, 0x101, 2, 0x41, 2, 0x55, 2, 0x55)
    assert struct.unpack_from("<6I", now, 80) == (0, 0, 0, 2, 0xF53C, 2)
    h.end()


@pytest.mark.parametrize("params", [
    struct.pack("<2BH24B", 0x81, 3, 28, *bytes(24)), struct.pack("<2BH24B", 0x80, 0, 28, *bytes(24)),
    struct.pack("<2BH24B", 0x80, 3, 19, *bytes(24)), struct.pack("<2BH24B", 0x80, 3, 29, *bytes(24)),
    struct.pack("<2BH24B", 0x80, 3, 28, 5, *bytes(23)), b"\x80\x03\x1c\x00"])
def test_bad_offload_parameters(nichost, params):
    h = nichost()
    g = h.guest().up()
    before = g.query(ng.OID_CURRENT)
    assert g.set(ng.OID_OFFLOAD, params) == INVALID_DATA
    assert g.query(ng.OID_CURRENT) == before
    h.end()


def test_lsov1_is_not_supported(nichost):
    h = nichost()
    g = h.guest().up()
    params = struct.pack("<2BH24B", 0x80, 3, 28, *bytes(5), 2, *bytes(18))
    assert g.set(ng.OID_OFFLOAD, params) == NOT_SUPPORTED
    h.end()


def test_config_parameter(nichost):
    h = nichost()
    g = h.guest().up()

    def param(name, value):
        name, value = name.encode("utf-16le"), value.encode("utf-16le")
        return struct.pack("<5I", 20, len(name), 2, 20 + len(name), len(value)) + name + value
    assert g.set(0x1021B, param("NetworkAddress", "00155d112233")) == 0
    assert g.set(0x1021B, param("NetworkAddress", "ee155d112233")) == INVALID_DATA
    assert g.query(ng.OID_MAC)[1] == bytes.fromhex("00155d000001")
    assert g.set(0x1021B, param("*LsoV2IPv4", "0")) == 0
    assert struct.unpack_from("<I", g.query(ng.OID_CURRENT)[1], 80)[0] == 0
    assert g.set(0x1021B, struct.pack("<5I", 20, 4000, 2, 20, 4)) == INVALID_DATA
    h.end()


# --- control -----------------------------------------------------------------------------------------

def test_keepalive_any_order(nichost):
    h = nichost()
    g = h.guest().up()
    for _ in range(50):
        kind, r = g.control(8, b"")
        assert kind == 0x80000008 and struct.unpack_from("<I", r, 12)[0] == 0
    h.end()


def test_control_slots_run_out(nichost):
    """16 replies may be unacknowledged; the others follow when slots come back."""
    h = nichost()
    g = h.guest().up()
    held = []
    for i in range(20):
        g.rndis(struct.pack("<3I", 8, 12, 1000 + i))
    while True:
        p = g.ch.read(0.3)
        if p is None:
            break
        if p.type == ng.XFER:
            held.append(p)
    assert len(held) == 16
    assert h.cmd("link", state="down")["ok"]
    for p in held:
        g.ch.complete(p)
    got = []
    while len(got) < 5:
        p = g.ch.read()
        got.append(g.message(p)[:12])
        g.ch.complete(p)
    assert [struct.unpack_from("<I", m, 8)[0] for m in got[:4]] == [1016, 1017, 1018, 1019]
    assert struct.unpack("<3I", got[4])[0] == 7
    h.end()


def test_control_flood_fails_messages(nichost):
    h = nichost()
    g = h.guest().up()
    failed, n = 0, 0
    at = g.pages(1) * ng.PAGE
    while failed == 0 and n < 6000:
        n += 1
        msg = struct.pack("<3I", 8, 12, n)
        tid = g.rndis(msg, [g.gpa(msg, at)])
        failed = g.completion(tid) == ng.FAILURE
    assert failed and n * 20 > 90000
    h.end("rndis.flood")


@pytest.mark.parametrize("msg, rule", [
    (struct.pack("<6I", 2, 24, 1, 1, 0, 0x4000), "rndis.initialize-twice"),
    (struct.pack("<3I", 6, 12, 1), "rndis.type"),
    (struct.pack("<5I", 7, 20, 0x4001000B, 0, 0), "rndis.type"),
    (struct.pack("<7I", 9, 28, 1, ng.OID_FILTER, 0, 20, 0), "rndis.type"),
    (struct.pack("<3I", 99, 12, 1), "rndis.type"),
    (struct.pack("<3I", 4, 12, 1), "rndis.short"),
    (struct.pack("<7I", 5, 28, 1, ng.OID_FILTER, 4, 20, 0), "rndis.short"),
    (struct.pack("<7I", 5, 28, 1, ng.OID_FILTER, 0xFFFFFFFF, 20, 0), "rndis.short"),
    (struct.pack("<2I", 8, 8), "rndis.short"),
    (struct.pack("<3I", 8, 4, 1), "rndis.length"),
    (struct.pack("<3I", 8, 0xFFFFFFFF, 1), "rndis.length"),
    (b"\x08\x00\x00\x00", "rndis.short"),
])
def test_fatal_control(nichost, msg, rule):
    h = nichost()
    g = h.guest().up()
    g.rndis(msg)
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end(rule)


def test_control_on_subchannel_fails(nichost):
    h = nichost()
    g = h.guest().up()
    g.subchannels(1)
    tid = g.rndis(struct.pack("<3I", 8, 12, 1), ch=g.subs[1])
    assert g.completion(tid, g.subs[1]) == ng.FAILURE
    h.end("rndis.sub-channel")


def test_link_indications(nichost):
    h = nichost()
    g = h.guest().up()
    assert g.ch.read(0.1) is None, "none at the start"
    for state, status in [("down", 0x4001000C), ("up", 0x4001000B)]:
        assert h.cmd("link", state=state)["ok"]
        assert g.indication() == (status, b"")
        assert g.query(ng.OID_CONNECT) == (0, bytes(4)), "the query never says so"
    assert h.cmd("network-change")["ok"]
    assert g.indication() == (0x40010018, b"")
    assert h.cmd("speed", bps=40 * 10**9)["ok"]
    assert g.indication() == (0x40010013, struct.pack("<I", 400000000))
    assert g.query(ng.OID_SPEED) == (0, struct.pack("<I", 400000000))
    h.end()


def test_link_toggle_is_slow(nichost):
    h = nichost()
    g = h.guest().up()
    assert h.cmd("link", state="toggle")["ok"]
    assert g.indication() == (0x4001000C, b"")
    assert g.ch.read(2) is None
    p = g.ch.read(6)
    assert struct.unpack_from("<3I", g.message(p))[2] == 0x4001000B
    h.end()


def test_speed_message_of_old_hosts(nichost):
    h = nichost("speed-msg-short=yes")
    g = h.guest().up()
    h.cmd("speed", bps=10**9)
    m = g.message(g.ch.read())
    assert len(m) == 24 and struct.unpack_from("<6I", m) == (7, 20, 0x40010013, 4, 12, 10**7)
    h.end()


# --- frames to the guest --------------------------------------------------------------------------------

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
                                        ("ranges=375,slot-size=400", 375)])
def test_ranges_per_packet(nichost, opts, most):
    h = nichost(f"hold-rx=yes,{opts}")
    g = h.guest().up()
    n = min(2 * most, 128 if "375" not in opts else 600)
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
    assert max(sizes) == min(most, 256)
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
    assert g.set(ng.OID_OFFLOAD, struct.pack("<2BH24B", 0x80, 3, 28, 2, 2, 2, 2, 2, *bytes(19))) == 0
    g.indication()
    h.inject(bytes(tcp4()))
    assert g.frames(1)[0][1][0] == 0
    h.end()


@pytest.mark.parametrize("tid", [0, 3, 16, 17, 35, 36, 1 << 32, 1 << 63, 0xFFFFFFFFFFFFFFFF])
def test_completion_of_nothing(nichost, tid):
    h = nichost()
    g = h.guest().up()
    g.ch.send(struct.pack("<2I", 108, 1), tid, 0, ng.COMP)
    if tid == 1 << 63:
        assert g.ch.idle()            # of a VF association: harmless
        h.end()
        return
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


# --- queues ---------------------------------------------------------------------------------------------

def toeplitz(data, key=ng.KEY):
    k, h = int.from_bytes(key, "big"), 0
    for i in range(len(data) * 8):
        if data[i // 8] & 0x80 >> i % 8:
            h ^= k >> (len(key) * 8 - 32 - i) & 0xFFFFFFFF
    return h


def test_toeplitz_known_answers():
    """Microsoft's verification suite."""
    data = bytes([66, 9, 149, 187, 161, 142, 100, 80]) + struct.pack(">2H", 2794, 1766)
    assert toeplitz(data) == 0x51CCC178 and toeplitz(data[:8]) == 0x323E8FC2


def flows(n):
    rnd = random.Random(3)
    for i in range(n):
        make = rnd.choice([tcp4, udp4, tcp6, udp6])
        f = make(struct.pack("<I", i))
        l3, l4 = f.getlayer(1), f.getlayer(2)
        l4.sport, l4.dport = rnd.randrange(65536), rnd.randrange(65536)
        if make in (tcp4, udp4):
            l3.src = f"10.1.{rnd.randrange(256)}.{rnd.randrange(256)}"
            kind = 0x200 if make == tcp4 else 0x4000
            data = bytes(l3)[12:20]
        else:
            l3.src = f"fd00::{rnd.randrange(65536):x}"
            kind = 0x1000 if make == tcp6 else 0x8000
            data = bytes(l3)[8:40]
        yield bytes(f), toeplitz(data + struct.pack(">2H", l4.sport, l4.dport)), kind | 1


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


# --- frames of the guest -------------------------------------------------------------------------------

def test_send_forms(nichost):
    """Section, GPA-direct of one and several ranges, and a header in the section."""
    h = nichost()
    g = h.guest().up()
    f = frame(7, 1514)
    msg = ng.packet(f)
    tids = [g.section_send(3, [msg]), g.rndis(msg, channel=0)]
    parts = [msg[:100], msg[100:101], msg[101:]]
    tids.append(g.rndis(b"", [g.gpa(p) for p in parts], 0))
    at = g.sendb + 5 * 6144
    g.g.mem[at:at + 44] = msg[:44]
    tids.append(g.rndis(b"", [g.gpa(f)], 0, 5, 44))
    assert [g.completion(t) for t in tids] == [1] * 4
    assert [x[0] for x in h.taken(4)] == [f] * 4
    h.end()


def test_scattered_pages(nichost):
    h = nichost()
    g = h.guest().up(mtu=9014)
    f = bytes(random.Random(2).randbytes(9000))
    msg = ng.packet(f)
    pages = [g.pages(1) for _ in range(5)][::-1]
    off, at, left = 500, 500, msg
    for page in pages:
        n = min(4096 - at, len(left))
        g.g.mem[page * 4096 + at:page * 4096 + at + n] = left[:n]
        left, at = left[n:], 0
    pfns = [0x100 + p for p in pages][:(off + len(msg) + 4095) // 4096]
    ext = struct.pack(f"<2I{len(pfns)}Q", len(msg), off, *pfns)
    assert g.completion(g.rndis(b"", [ext], 0)) == 1
    assert h.taken(1)[0][0] == f
    h.end()


def test_aggregation(nichost):
    h = nichost()
    g = h.guest().up()
    msgs = [ng.packet(frame(i, 61 + i), pad=-(61 + i + 44) % 8) for i in range(8)]
    assert g.completion(g.section_send(0, msgs)) == 1
    assert [f for f, _, _ in h.taken(8)] == [frame(i, 61 + i) for i in range(8)]
    h.end()


@pytest.mark.parametrize("n, pad, rule", [(9, 0, "tx.packets"), (2, 4, "tx.align")])
def test_aggregation_beyond_the_offer(nichost, n, pad, rule):
    h = nichost()
    g = h.guest().up()
    msgs = [ng.packet(frame(i, 60), pad=pad) for i in range(n)]
    assert g.completion(g.section_send(0, msgs)) == 1 and len(h.taken(n)) == n
    h.end(rule)


def test_vlan_send(nichost):
    h = nichost()
    g = h.guest().up()
    for tci in (0, 5, 4095, 0xE123, 0x1001):
        v = (tci & 0xFFF) << 4 | (tci >> 12 & 1) << 3 | tci >> 13
        g.completion(g.section_send(0, [ng.packet(frame(), ng.ppi(6, v))]))
        assert h.taken(1) == [(frame(), 1, tci)]
    h.end()


@pytest.mark.parametrize("over, rule", [
    (dict(data_len=0), "tx.rndis"), (dict(data_len=61), "tx.rndis"),
    (dict(data_off=37), "tx.rndis"), (dict(data_off=0xFFFFFFF0), "tx.rndis"),
    (dict(data_off=35), "tx.rndis"), (dict(len=103), "tx.rndis"), (dict(len=105), "tx.rndis"),
    (dict(len=0), "tx.rndis"), (dict(len=0xFFFFFFFF), "tx.rndis"),
    (dict(oob=1), "tx.rndis"), (dict(oob_len=4), "tx.rndis"), (dict(oob_count=1), "tx.rndis"),
    (dict(vc=1), "tx.rndis"), (dict(ppi_off=36, ppi_len=200), "tx.rndis"),
    (dict(ppi_off=36, ppi_len=16), "tx.rndis"), (dict(data_len=13), "tx.frame-short"),
])
def test_bad_packet_fails_only_itself(nichost, over, rule):
    h = nichost()
    g = h.guest().up()
    for _ in range(2):
        assert g.completion(g.section_send(0, [ng.packet(frame(1)[:60], **over)])) == ng.FAILURE
    assert g.completion(g.section_send(0, [ng.packet(frame(2))])) == 1
    assert h.taken(1) == [(frame(2), 0, 0)]
    h.end(rule)


def test_one_bad_packet_fails_all(nichost):
    h = nichost()
    g = h.guest().up()
    msgs = [ng.packet(frame(1, 68)), ng.packet(frame(2, 68), data_len=2000)]
    assert g.completion(g.section_send(0, msgs)) == ng.FAILURE
    msgs = [ng.packet(frame(1, 68)), struct.pack("<3I", 8, 12, 1)]
    assert g.completion(g.section_send(1, msgs)) == ng.FAILURE
    assert h.taken(1, 0.1) == []
    h.end("tx.rndis")


def test_header_in_two_ranges(nichost):
    h = nichost()
    g = h.guest().up()
    msg = ng.packet(frame(), ng.ppi(8, 1))
    for cut in (20, 44, 59):
        tid = g.rndis(b"", [g.gpa(msg[:cut]), g.gpa(msg[cut:])], 0)
        assert g.completion(tid) == ng.FAILURE
    assert g.completion(g.rndis(b"", [g.gpa(msg[:60]), g.gpa(msg[60:])], 0)) == 1
    h.end("tx.header-split")


def test_frame_above_the_mtu(nichost):
    h = nichost()
    g = h.guest().up()
    assert g.completion(g.section_send(0, [ng.packet(frame(1, 1519))])) == ng.FAILURE
    assert g.completion(g.section_send(1, [ng.packet(frame(1, 1514))])) == 1
    h.end("tx.frame-size")


def test_memory_that_is_not_there(nichost):
    h = nichost()
    g = h.guest().up()
    for pfn in (0, 0x100 + 1024, 1 << 40, (1 << 64) - 1, (1 << 52) - 1):
        ext = struct.pack("<2IQ", 100, 0, pfn)
        assert g.completion(g.rndis(b"", [ext], 0)) == ng.FAILURE
    h.end("tx.gpa-memory")


@pytest.mark.parametrize("ext", [
    struct.pack("<2I", 0, 0), struct.pack("<2I", 0, 1), struct.pack("<2I2IQ", 0, 2, 100, 0, 0x100),
    struct.pack("<2I2IQ", 0, 1, 0, 0, 0x100), struct.pack("<2I2IQ", 0, 1, 100, 4096, 0x100),
    struct.pack("<2I2IQ", 0, 1, 5000, 0, 0x100), struct.pack("<2I2IQ", 0, 0xFFFFFFFF, 8, 0, 0x100),
    struct.pack("<2I2IQ", 0, 1, 0xFFFFFFFF, 0, 0x100)])
def test_bad_range_list(nichost, ext):
    h = nichost()
    g = h.guest().up()
    g.ch.send(struct.pack("<4I", 107, 0, ng.NO_SECTION, 0) + bytes(24), 5, 1, ng.GPA, ext)
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end(*(["tx.gpa-list"] + (["tx.ranges"] if ext[4:8] == b"\xff" * 4 else [])))


def test_send_rules(nichost):
    h = nichost()
    g = h.guest().up()
    tid = g.section_send(0, [ng.packet(frame())], flags=0)
    assert g.completion(tid) == ng.FAILURE
    assert g.completion(g.rndis(b"", [], 0, 0, 0)) == ng.FAILURE
    at = g.sendb
    g.g.mem[at:at + 104] = ng.packet(frame())
    assert g.completion(g.rndis(b"", [], 1, 0, 104)) == 1
    assert g.completion(g.section_send(0, [ng.packet(frame(0, 60))] * 60)) == 1
    h.end("nvsp.no-rc", "tx.empty", "nvsp.channel-type", "tx.section-len", "tx.packets")


def test_section_reused_too_early(nichost):
    h = nichost("tx-delay=300")
    g = h.guest().up()
    tids = [g.section_send(4, [ng.packet(frame(i))]) for i in range(2)]
    assert [g.completion(t) for t in tids] == [1, 1]
    h.end("tx.section-busy")


def test_slow_completions_keep_order(nichost):
    h = nichost("tx-delay=100")
    g = h.guest().up()
    tids = [g.section_send(i, [ng.packet(frame(i))]) for i in range(8)]
    assert len(h.taken(8)) == 8
    assert [g.ch.read().tid for _ in tids] == tids
    h.end()


def test_every_third_send_fails(nichost):
    h = nichost("tx-fail-every=3")
    g = h.guest().up()
    got = [g.completion(g.section_send(0, [ng.packet(frame(i))])) for i in range(9)]
    assert got == [1, 1, 2] * 3 and len(h.taken(6)) == 6
    h.end()


def test_port_without_room(nichost):
    """Sends wait in order; receive completions behind them are read all the same."""
    h = nichost("slots=20")
    g = h.guest().up()
    assert h.cmd("room", frames=3)["ok"]
    tids = [g.section_send(i, [ng.packet(frame(i * 2 + j, 68)) for j in range(2)])
            for i in range(4)]
    for i in range(12):
        h.inject(frame(100 + i))
        assert g.frames(1)[0][0] == frame(100 + i)
    assert len(h.taken(3)) == 3
    done = [p.tid for p in g.events if p.type == ng.COMP]
    assert done[-1:] == tids[:1]
    assert h.cmd("room", frames=100)["ok"]
    assert [f for f, _, _ in h.taken(5)] == [frame(i, 68) for i in range(3, 8)]
    assert [g.completion(t) for t in tids[1:]] == [1, 1, 1]
    h.end()


# --- offloads of the guest ------------------------------------------------------------------------------

def pseudo(f, with_len=True):
    ip = f.getlayer(1)
    l4 = bytes(ip.payload)
    proto = 6 if TCP in f else 17
    n = len(l4) if with_len else 0
    if IPv6 in f:
        return fold(bytes(ip)[8:40] + struct.pack(">2I", n, proto))
    return fold(bytes(ip)[12:20] + struct.pack(">2H", proto, n))


def seeded(f, seed):
    raw, l4 = bytearray(bytes(f)), 14 + (40 if IPv6 in f else 20)
    at = l4 + (16 if TCP in f else 6)
    raw[at:at + 2] = struct.pack(">H", seed)
    return bytes(raw), l4


@pytest.mark.parametrize("make", [tcp4, udp4, tcp6, udp6])
@pytest.mark.parametrize("offset", [True, False])
def test_send_checksum(nichost, make, offset):
    h = nichost()
    g = h.guest().up()
    for size in (1, 10, 41, 1000):
        f = make(random.Random(size).randbytes(size))
        raw, l4 = seeded(f, pseudo(f))
        v = (2 if IPv6 in f else 1) | (4 if TCP in f else 8) | (l4 << 16 if offset else 0)
        for channel in range(2):
            msg = ng.packet(raw + bytes(5 * channel), ng.ppi(0, v))
            tid = g.section_send(0, [msg]) if channel else g.rndis(
                b"", [g.gpa(msg[:60]), g.gpa(msg[60:])], 0)
            assert g.completion(tid) == 1
            assert h.taken(1)[0][0] == bytes(f) + bytes(5 * channel)
    h.end()


def test_send_ip_checksum(nichost):
    h = nichost()
    g = h.guest().up()
    f = tcp4()
    raw, l4 = seeded(f, pseudo(f))
    raw = raw[:24] + bytes(2) + raw[26:]
    assert g.completion(g.section_send(0, [ng.packet(raw, ng.ppi(0, 1 | 4 | 16 | l4 << 16))])) == 1
    assert h.taken(1)[0][0] == bytes(f)
    h.end()


@pytest.mark.parametrize("v, ok, rule", [
    (4 | 34 << 16, 2, "tx.csum-family"), (2 | 4 | 34 << 16, 2, "tx.csum-family"),
    (1 | 4 | 33 << 16, 2, "tx.csum-offset"), (1 | 4 | 500 << 16, 2, "tx.csum-offset"),
    (1 | 8 | 34 << 16, 1, "tx.csum-offset"), (1 | 4 | 16 | 34 << 16, 1, "tx.csum-ip-not-zero")])
def test_bad_checksum_request(nichost, v, ok, rule):
    h = nichost()
    g = h.guest().up()
    f = tcp4()
    raw, _ = seeded(f, pseudo(f))
    assert g.completion(g.section_send(0, [ng.packet(raw, ng.ppi(0, v))])) == ok
    h.end(rule)


def test_wrong_seed(nichost):
    h = nichost()
    g = h.guest().up()
    raw, l4 = seeded(tcp4(), 0x1234)
    assert g.completion(g.section_send(0, [ng.packet(raw, ng.ppi(0, 5 | l4 << 16))])) == 1
    assert h.taken(1)[0][0] != bytes(tcp4()), "the adapter computes with the seed it was given"
    h.end("tx.csum-seed")


def test_checksum_not_offered(nichost):
    h = nichost("tx-csum4=1,tx-csum6=0,lso4=0")
    g = h.guest().up()
    caps = g.query(ng.OID_HWCAPS)[1]
    assert struct.unpack_from("<I", caps, 8)[0] == 0x100 and struct.unpack_from("<I", caps, 80)[0] == 0
    f = tcp4()
    raw, l4 = seeded(f, pseudo(f))
    g.completion(g.section_send(0, [ng.packet(raw, ng.ppi(0, 5 | l4 << 16))]))
    h.end("tx.csum-not-offered")


def lso(f, mss, version=1):
    """A frame as the guest must give it, and its request."""
    raw, l4 = seeded(f, pseudo(f, False))
    raw = bytearray(raw)
    if IPv6 in f:
        raw[18:20] = bytes(2)
    else:
        raw[16:18] = raw[24:26] = bytes(2)
    return bytes(raw), mss | l4 << 20 | version << 30 | (IPv6 in f) << 31


def segments(f, mss):
    data, out = bytes(f[TCP].payload), []
    for i in range(0, len(data), mss):
        s = f.copy()
        s[TCP].remove_payload()
        s = s / Raw(data[i:i + mss])
        s[TCP].seq += i
        last = i + mss >= len(data)
        s[TCP].flags = "PA" if last else "A"
        if IP in s:
            s[IP].id += i // mss
            del s[IP].len, s[IP].chksum
        else:
            del s[IPv6].plen
        del s[TCP].chksum
        out.append(bytes(s))
    return out


@pytest.mark.parametrize("make", [tcp4, tcp6])
@pytest.mark.parametrize("size, mss", [(3000, 1460), (1461, 1460), (2920, 1460), (60000, 1440),
                                       (500, 100)])
def test_lso(nichost, make, size, mss):
    h = nichost()
    g = h.guest().up()
    f = make(random.Random(size).randbytes(size))
    raw, v = lso(f, mss)
    msg = ng.packet(raw, ng.ppi(6, 5 << 4) + ng.ppi(2, v))
    tid = g.rndis(b"", [g.gpa(msg[:140]), g.gpa(msg[140:])], 0)
    assert g.completion(tid) == 1
    want = segments(f, mss)
    got = h.taken(len(want))
    assert [x[0] for x in got] == want and {x[1:] for x in got} == {(1, 5)}
    h.end()


@pytest.mark.parametrize("change, ok, rule", [
    (lambda raw, v: (raw, v & ~(1 << 30)), 2, "tx.lso-version"),
    (lambda raw, v: (raw, v & ~0xFFFFF), 2, "tx.lso-mss"),
    (lambda raw, v: (raw, v & ~0x3FF00000), 2, "tx.lso-offset"),
    (lambda raw, v: (raw, v | 0x3FF00000), 2, "tx.lso-offset"),
    (lambda raw, v: (raw, v | 1 << 31), 2, "tx.lso-offset"),
    (lambda raw, v: (raw[:46] + b"\xf0" + raw[47:60], v), 2, "tx.lso-offset"),
    (lambda raw, v: (raw[:16] + b"\x0b\xb8" + raw[18:], v), 1, "tx.lso-ip-not-zero"),
    (lambda raw, v: (raw[:50] + b"\x12\x34" + raw[52:], v), 1, "tx.lso-seed"),
    (lambda raw, v: (raw, v & ~0xFFFFF | 3000), 1, "tx.lso-segments")])
def test_bad_lso(nichost, change, ok, rule):
    h = nichost()
    g = h.guest().up()
    raw, v = change(*lso(tcp4(bytes(3000)), 1460))
    msg = ng.packet(raw, ng.ppi(2, v))
    assert g.completion(g.rndis(msg, channel=0)) == ok
    h.end(rule)


# --- hostile ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(6))
def test_hostile_guest(nichost, seed):
    """Well formed packets with any bytes changed: the host lives and serves the next guest."""
    rnd = random.Random(seed)
    h = nichost("slots=60,scatter=yes,ids=random")
    for _ in range(12):
        g = h.guest(pages=2048)
        g.up()
        for _ in range(60):
            f = rnd.choice([tcp4, udp4, tcp6, udp6])(rnd.randbytes(rnd.randrange(1, 1200)))
            ppis = b"".join(ng.ppi(rnd.choice([0, 2, 6, 8, 9, 0x80000001]), rnd.getrandbits(32))
                            for _ in range(rnd.randrange(4)))
            msg = bytearray(ng.packet(bytes(f), ppis))
            for _ in range(rnd.randrange(3)):
                msg[rnd.randrange(min(len(msg), 108))] = rnd.choice([0, 1, 255, rnd.randrange(256)])
            try:
                what = rnd.randrange(5)
                if what == 0:
                    g.rndis(b"", [g.gpa(msg, 0x400000)], rnd.randrange(2))
                elif what == 1:
                    ext = bytearray(struct.pack("<2I2IQ", 0, 1, len(msg), 0, 0x500))
                    ext[rnd.randrange(24)] ^= 1 << rnd.randrange(8)
                    g.ch.send(struct.pack("<4I", 107, 0, ng.NO_SECTION, 0) + bytes(24), 1, 1,
                              ng.GPA, bytes(ext))
                elif what == 2:
                    g.section_send(rnd.randrange(10), [msg])
                elif what == 3:
                    g.ch.send(rnd.randbytes(4) * 10, rnd.getrandbits(6), rnd.randrange(2),
                              rnd.choice([6, 9, 0xB]), bytes(8 * rnd.randrange(1, 4)))
                else:
                    h.inject(bytes(f))
            except AssertionError:
                break                        # the channel died, as it should
            for _ in range(3):
                p = g.ch.read(0)
                if p is not None and p.type == ng.XFER and rnd.randrange(8):
                    try:
                        g.ch.complete(p)
                    except AssertionError:
                        break
        g.g.sock.close()
    good = h.guest().up()
    h.cmd("hold-rx")
    assert good.completion(good.section_send(0, [ng.packet(frame(1))])) == 1
    assert h.violations()
    h.proc.terminate()
    assert h.proc.wait(5) == 3
