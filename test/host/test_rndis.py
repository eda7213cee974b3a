# SPDX-License-Identifier: BSD-3-Clause
"""RNDIS control of the synthetic NIC: objects, requests, indications."""
import struct
import time

import nicguest as ng
import pytest

NOT_SUPPORTED, INVALID_DATA = 0xC00000BB, 0xC0010015


# --- objects ----------------------------------------------------------------------------------

def test_objects(nichost):
    h = nichost("queues=4,speed=25000000000,oids=openvmm")
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
    # 0xFC01020E and F: connections are not offloaded.
    for oid in (0x10112, 0x1010103, 0x20216, 0x20101, 0x10208, 0xFC01020E, 0xFC01020F,
                0xDEADBEEF):
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
    params = struct.pack("<2BH8B16x", 0x80, 3, 28, 2, 1, 3, 0, 4, 0, 0, 1)
    assert g.set(ng.OID_OFFLOAD, params) == 0
    status, now = g.indication()
    assert status == 0x40020006 and now == g.query(ng.OID_CURRENT)[1] and len(now) == size
    assert struct.unpack_from("<8I", now, 4) == (2, 0x101, 2, 0x41, 2, 0x55, 2, 0x55)
    assert struct.unpack_from("<6I", now, 80) == (0, 0, 0, 2, 0xF53C, 2)
    h.end()


@pytest.mark.parametrize("params", [
    struct.pack("<2BH24x", 0x81, 3, 28), struct.pack("<2BH24x", 0x80, 0, 28),
    struct.pack("<2BH24x", 0x80, 3, 19), struct.pack("<2BH24x", 0x80, 3, 29),
    b"\x80\x03\x1c\x00", struct.pack("<2BHB23x", 0x80, 3, 28, 5)])
def test_bad_offload_parameters(nichost, params):
    h = nichost()
    g = h.guest().up()
    before = g.query(ng.OID_CURRENT)
    assert g.set(ng.OID_OFFLOAD, params) == INVALID_DATA
    assert g.query(ng.OID_CURRENT) == before
    h.end("rndis.object")


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
    h.end("rndis.object")


# --- control ----------------------------------------------------------------------------------

def test_keepalive_any_order(nichost):
    h = nichost()
    g = h.guest().up()
    for _ in range(50):
        kind, r = g.control(8, b"")
        assert kind == 0x80000008 and struct.unpack_from("<I", r, 12)[0] == 0
    h.end()


def test_before_initialize_and_after_halt(nichost):
    """KEEPALIVE and link indications come before; HALT changes nothing."""
    h = nichost()
    g = h.guest().handshake()
    assert g.control(8, b"")[0] == 0x80000008
    assert h.violations() == {"rndis.order": 1}
    assert h.cmd("link", state="down")["ok"] and g.indication() == (0x4001000C, b"")
    g.rndis_init()
    assert g.completion(g.rndis(struct.pack("<3I", 3, 12, 7))) == ng.SUCCESS
    assert g.query(ng.OID_MAC)[0] == 0 and h.stats()["state"] == "ready"
    g.rndis(struct.pack("<6I", 2, 24, 1, 1, 0, 0x4000))
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end("rndis.order", "rndis.initialize-twice")


@pytest.mark.parametrize("v4, v6, status", [
    ((2, 2, 14), (2, 2, 14), 0), ((1, 9, 9), (2, 2, 14), 0), ((2, 1, 14), (1, 0, 0), NOT_SUPPORTED),
    ((1, 0, 0), (2, 2, 18), NOT_SUPPORTED)])
def test_offload_encapsulation(nichost, v4, v6, status):
    """Ethernet without a tag, or off."""
    h = nichost()
    g = h.guest().up()
    obj = struct.pack("<2BH6I", 0xA8, 1, 28, *v4, *v6)
    assert g.set(0x101010A, obj) == status
    h.end()


def test_control_slots_run_out(nichost):
    """16 replies may be unacknowledged; the others follow when slots come back."""
    h = nichost()
    g = h.guest().up()
    for i in range(20):
        g.rndis(struct.pack("<3I", 8, 12, 1000 + i))
    got = [g.ch.read() for _ in range(20 + 16)]  # a completion for each
    assert g.ch.read(0.3) is None
    held = [p for p in got if p.type == ng.XFER]
    assert len(held) == 16 and {p.tid for p in held} == set(range(16))
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


@pytest.mark.parametrize("off, size", [(0xFFFFFFFF, 4), (20, 0xFFFFFFFF), (20, 64), (4, 4)])
def test_query_with_a_bad_buffer_is_answered(nichost, off, size):
    h = nichost()
    g = h.guest().up()
    kind, r = g.control(4, struct.pack("<4I", ng.OID_FRAME_SIZE, size, off, 0))
    assert kind == 0x80000004 and struct.unpack_from("<2I", r, 12) == (0xC0010015, 0)
    assert g.query(ng.OID_FRAME_SIZE)[0] == 0
    h.end("rndis.query-offset")


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
    start = time.monotonic()
    assert h.cmd("link", state="toggle")["ok"]
    assert g.indication() == (0x4001000C, b"")
    p = g.ch.read()
    assert time.monotonic() - start > 2
    assert struct.unpack_from("<3I", g.message(p))[2] == 0x4001000B
    h.end()


def test_speed_message_of_old_hosts(nichost):
    h = nichost("speed-msg-short=yes")
    g = h.guest().up()
    h.cmd("speed", bps=10**9)
    m = g.message(g.ch.read())
    assert len(m) == 24 and struct.unpack_from("<6I", m) == (7, 20, 0x40010013, 4, 12, 10**7)
    h.end()
