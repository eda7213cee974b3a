# SPDX-License-Identifier: BSD-3-Clause
"""Frames of the guest: forms of a send, its rules, checksums, LSO; hostile guests."""
import random
import struct

import nicguest as ng
import pytest
from nicframes import frame, lso, pseudo, seeded, segments, tcp4, tcp6, udp4, udp6
from scapy.layers.inet import IP, TCP, IPOption
from scapy.layers.inet6 import IPv6


# --- frames of the guest ----------------------------------------------------------------------

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


def test_header_over_a_page_boundary(nichost):
    """Older Linux makes two ranges of it; they follow each other, so it is one."""
    h = nichost()
    g = h.guest().up()
    msg = ng.packet(frame(), ng.ppi(8, 1))
    at = g.pages(2) * ng.PAGE + ng.PAGE - 30
    ranges = [g.gpa(msg[:30], at), g.gpa(msg[30:], at + 30)]
    assert g.completion(g.rndis(b"", ranges, 0)) == 1 and h.taken(1)[0][0] == frame()
    h.end()


def test_header_over_a_page_boundary_refused(nichost):
    """As OpenVMM: two ranges are two."""
    h = nichost("header-pages=split")
    g = h.guest().up()
    msg = ng.packet(frame(), ng.ppi(8, 1))
    at = g.pages(2) * ng.PAGE + ng.PAGE - 30
    ranges = [g.gpa(msg[:30], at), g.gpa(msg[30:], at + 30)]
    assert g.completion(g.rndis(b"", ranges, 0)) == ng.FAILURE
    h.end("tx.header-split")


def test_frame_above_the_mtu(nichost):
    """Two tags may be in it: those that do not travel beside it."""
    h = nichost()
    g = h.guest().up()
    assert g.completion(g.section_send(0, [ng.packet(frame(1, 1523))])) == ng.FAILURE
    assert g.completion(g.section_send(1, [ng.packet(frame(1, 1522))])) == 1
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
    assert h.cmd("stall", queue=0)["ok"]  # the host reads both at once, however long we take
    tids = [g.section_send(4, [ng.packet(frame(i))]) for i in range(2)]
    assert h.cmd("resume", queue=0)["ok"]
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


@pytest.mark.parametrize("resume", [1, 256])
def test_all_sends_outstanding(nichost, resume):
    """1024 of a queue, then its ring is not read until enough are completed."""
    h = nichost(f"tx-resume={resume}")
    g = h.guest().up()
    assert h.cmd("room", frames=0)["ok"]
    raw = ng.packet(frame(0, 60))
    ranges = [g.gpa(raw)]
    for _ in range(1025):
        g.rndis(b"", ranges, 0)
    assert ng.until(lambda: h.stats()["queues"][0]["tx_deferred"] == 1024)
    assert g.ch.pending()
    assert h.cmd("room", frames=255)["ok"]
    assert all(g.ch.read().type == ng.COMP for _ in range(255))
    assert ng.until(lambda: not g.ch.pending(), 20 if resume == 1 else 0.1) == (resume == 1)
    assert h.cmd("room", frames=2000)["ok"]
    assert ng.until(lambda: not g.ch.pending())
    h.end()


def test_revoke_with_sends_waiting(nichost):
    h = nichost()
    g = h.guest().up()
    assert h.cmd("room", frames=0)["ok"]
    g.section_send(0, [ng.packet(frame())])
    g.rndis(ng.packet(frame()), channel=0)
    assert ng.until(lambda: h.stats()["queues"][0]["tx_deferred"] == 2)
    g.nvsp(103, 0xCAFE, flags=0)
    g.nvsp(106, 0, flags=0)
    assert g.ch.idle()
    h.end()


# --- offloads of the guest --------------------------------------------------------------------

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
    assert struct.unpack_from("<I", caps, 8)[0] == 0x100
    assert struct.unpack_from("<I", caps, 80)[0] == 0
    f = tcp4()
    raw, l4 = seeded(f, pseudo(f))
    g.completion(g.section_send(0, [ng.packet(raw, ng.ppi(0, 5 | l4 << 16))]))
    h.end("tx.csum-not-offered")


IP_OPTIONS, TCP_OPTIONS = ({"options": [IPOption(b"\x01" * 4)]},
                           {"tcp_options": [("Timestamp", (1, 2))]})


@pytest.mark.parametrize("mask, options, told", [
    (31, {**IP_OPTIONS, **TCP_OPTIONS}, False), (15, IP_OPTIONS, True), (15, TCP_OPTIONS, False),
    (23, IP_OPTIONS, False), (23, TCP_OPTIONS, True)])
def test_checksum_with_options(nichost, mask, options, told):
    """Those of IP and those of TCP have bits of their own."""
    h = nichost(f"tx-csum4={mask}")
    g = h.guest().up()
    f = tcp4(**options)
    raw, l4 = seeded(f, pseudo(f))
    assert g.completion(g.section_send(0, [ng.packet(raw, ng.ppi(0, 5 | l4 << 16))])) == 1
    h.end(*["tx.csum-not-offered"] * told)


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


@pytest.mark.parametrize("make", [tcp4, tcp6])
@pytest.mark.parametrize("flags", ["A", "FPA", "PAC", "FPAEC"])
def test_lso_flags_and_numbers(nichost, make, flags):
    """FIN and PSH on the last, CWR on the first; identification and sequence number wrap."""
    h = nichost()
    g = h.guest().up()
    f = make(random.Random(9).randbytes(5001))
    f[TCP].flags, f[TCP].seq = flags, 0xFFFFFFFF - 2000
    if make == tcp4:
        f[IP].id = 0xFFFE
    raw, v = lso(f, 1000)
    msg = ng.packet(raw, ng.ppi(2, v))
    assert g.completion(g.rndis(b"", [g.gpa(msg[:140]), g.gpa(msg[140:])], 0)) == 1
    want = segments(f, 1000)
    assert len(want) == 6 and [x[0] for x in h.taken(6)] == want
    h.end()


@pytest.mark.parametrize("change, rule", [
    (lambda raw, v: (raw[:20] + b"\x11" + raw[21:], v), "tx.lso-offset"),
    (lambda raw, v: (raw[:54] + raw[54:62] * 2 + raw[62:], v + (8 << 20)), "tx.lso-offset"),
    (lambda raw, v: (raw[:70] + b"\x12\x34" + raw[72:], v), "tx.lso-seed")])
def test_bad_lso6(nichost, change, rule):
    """Another protocol, or a header that is elsewhere: what is done is nonsense, and is noticed."""
    h = nichost()
    g = h.guest().up()
    raw, v = lso(tcp6(bytes(3000)), 1440)
    raw, v = change(raw, v)
    g.completion(g.rndis(ng.packet(raw, ng.ppi(2, v)), channel=0))
    h.end(rule)


def test_bad_checksum_request6(nichost):
    h = nichost()
    g = h.guest().up()
    f = udp6()
    raw, l4 = seeded(f, pseudo(f))
    g.completion(g.section_send(0, [ng.packet(raw, ng.ppi(0, 2 | 8 | (l4 + 8) << 16))]))
    h.end("tx.csum-offset")


@pytest.mark.parametrize("change, ok, rule", [
    (lambda raw, v: (raw[:23] + b"\x11" + raw[24:], v), 1, "tx.lso-offset"),
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


# --- hostile ----------------------------------------------------------------------------------

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
    assert h.proc.wait(30) == 3


def test_header_in_two_ranges_that_touch(nichost):
    """Two ranges are two, though one ends where the other starts in memory."""
    h = nichost()
    g = h.guest().up()
    msg, at = ng.packet(frame()), g.pages(1) * ng.PAGE
    tid = g.rndis(msg, [g.gpa(msg[:20], at), g.gpa(msg[20:], at + 20)], channel=0)
    assert g.completion(tid) == ng.FAILURE
    tid = g.rndis(msg, [g.gpa(msg[:44], at), g.gpa(msg[44:], at + 44)], channel=0)
    assert g.completion(tid) == ng.SUCCESS
    h.end("tx.header-split")
