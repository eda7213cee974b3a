# SPDX-License-Identifier: BSD-3-Clause
"""Where hosts differ, and what none should do: options and commands."""
import struct

import nicguest as ng
import pytest
from nicframes import frame
from test_rndis import INVALID_DATA, NOT_SUPPORTED

MAC = bytes.fromhex("00155d000001")
GROUP, OTHER = bytes.fromhex("01005e000001"), bytes.fromhex("020000000009")


# --- objects ----------------------------------------------------------------------------------

def test_statistics(nichost):
    h = nichost("queues=8,filter=any")
    g = h.guest().up()
    to = [MAC, b"\xff" * 6, GROUP, GROUP]
    for dst in to:
        h.inject(dst + frame()[6:])
    assert len(g.frames(4)) == 4
    for i, dst in enumerate(to[:3]):
        assert g.completion(g.section_send(i, [ng.packet(dst + frame()[6:])])) == ng.SUCCESS
    for oid, value in [(0x20101, 3), (0x20102, 4), (0x20103, 0), (0x20104, 0), (0x20105, 0),
                       (0x20201, 60), (0x20202, 1), (0x20203, 60), (0x20204, 1), (0x20205, 60),
                       (0x20206, 1), (0x20207, 60), (0x20208, 1), (0x20209, 120), (0x2020A, 2),
                       (0x2020B, 60), (0x2020C, 1), (0x2020D, 0), (0x2020E, 0), (0x20219, 240),
                       (0x2021A, 180), (0x2021B, 0), (0x2021C, 0), (0x1020101, 0), (0x1020207, 0)]:
        assert g.query(oid, bytes(8)) == (0, struct.pack("<Q", value)), hex(oid)
        assert g.query(oid, bytes(4)) == (0, struct.pack("<I", value)), hex(oid)
    assert g.query(0x2021D) == (0, struct.pack("<2BHI4Q", 0x80, 1, 40, 0, 0, 0, 0, 0))
    h.end()


def test_names_and_small_objects(nichost):
    h = nichost()
    g = h.guest().up()
    assert g.query(0x20216) == (0, "Network Adapter".encode("utf-16-le"))
    assert g.query(0x1021A) == (0, "hv-host".encode("utf-16-le"))
    assert g.query(0x10209) == (0, struct.pack("<2BH2I", 0x80, 1, 12, 0, 1))
    assert g.query(0x1010105) == (0, bytes(4))
    assert g.query(0x1021C) == (0, bytes(4)) and g.set(0x1021C, b"\x64\0\0\0") == 0
    assert g.query(0x1021C) == (0, b"\x64\0\0\0")
    for oid in (0x1010F, 0x10112, 0x10208):
        assert g.set(oid, bytes(8)) == 0, hex(oid)
    for oid in (0xFC01020E, 0xFC01020F, 0xDEADBEEF, 0x1010103):
        assert g.query(oid) == (NOT_SUPPORTED, b""), hex(oid)
    assert g.set(0x1010103, GROUP) == NOT_SUPPORTED
    h.end()


def test_multicast_list(nichost):
    h = nichost("mcast-list=2")
    g = h.guest().up()
    assert g.query(0x1010104) == (0, struct.pack("<I", 2))
    other = b"\x01" + OTHER[1:]
    assert g.set(0x1010103, GROUP) == 0 and g.query(0x1010103) == (0, GROUP)
    assert g.set(0x1010208, other) == 0 and g.set(0x1010208, other) == 0xC000009A
    assert g.query(0x1010103) == (0, GROUP + other)
    assert g.set(0x1010209, GROUP) == 0 and g.query(0x1010103) == (0, other)
    assert g.set(0x1010103, OTHER) == INVALID_DATA and g.set(0x1010103, bytes(5)) == 0xC0010014
    h.end()


@pytest.mark.parametrize("filter, passed", [
    (0x1, [MAC]), (0x2, [GROUP]), (0x4, [GROUP, b"\x33\x33" + bytes(4)]), (0x8, [b"\xff" * 6]),
    (0x20, [MAC, OTHER, GROUP, b"\x33\x33" + bytes(4), b"\xff" * 6])])
def test_filter_by_address(nichost, filter, passed):
    h = nichost("filter=mac,mcast-list=4")
    g = h.guest().up(filter=0)
    assert g.set(0x1010103, GROUP) == 0
    assert g.set(ng.OID_FILTER, struct.pack("<I", filter)) == 0
    for dst in (MAC, OTHER, GROUP, b"\x33\x33" + bytes(4), b"\xff" * 6):
        h.inject(dst + frame()[6:])
    assert [f[:6] for f, _ in g.frames(len(passed))] == passed
    assert g.ch.read(0.05) is None and h.stats()["rx_filtered"] == 5 - len(passed)
    h.end()


def network_address(text):
    name, value = "NetworkAddress".encode("utf-16-le"), text.encode("utf-16-le")
    return struct.pack("<5I", 20, len(name), 2, 20 + len(name), len(value)) + name + value


@pytest.mark.parametrize("option, text, status, now", [
    ("ignore", "0a0b0c0d0e0f", 0, MAC), ("ignore", "aa0b0c0d0e0f", INVALID_DATA, MAC),
    ("refuse", "0a0b0c0d0e0f", NOT_SUPPORTED, MAC), ("allow", "0a0b0c0d0e0f", 0, None),
    ("allow", "0b0b0c0d0e0f", INVALID_DATA, MAC), ("allow", "0a0b0c", INVALID_DATA, MAC)])
def test_mac_change(nichost, option, text, status, now):
    h = nichost(f"mac-change={option}")
    g = h.guest().up()
    assert g.set(0x1021B, network_address(text)) == status
    assert g.query(0x1010102) == (0, now or bytes.fromhex(text))
    assert g.query(0x1010101) == (0, MAC)
    h.end()


def test_reset_answered(nichost):
    h = nichost("reset=answer")
    g = h.guest().up()
    assert g.completion(g.rndis(struct.pack("<3I", 6, 12, 0))) == ng.SUCCESS
    p = g.events.pop() if g.events else g.ch.read()
    assert g.message(p) == struct.pack("<4I", 0x80000006, 16, 0, 0)
    g.ch.complete(p)
    assert g.query(ng.OID_MAC)[0] == 0
    h.end()


@pytest.mark.parametrize("offset", [12, 20, 40])
def test_send_table_offset(nichost, offset):
    h = nichost(f"table-offset={offset}")
    g = h.guest().up()
    assert g.subchannels(3) == 3
    p = g.ch.read()
    assert (p.kind, p.u32(4), p.u32(8)) == (134, 16, offset)
    assert struct.unpack_from("<16I", p.payload, offset) == (0, 1, 2, 3) * 4
    h.end()


# --- when and in what order --------------------------------------------------------------------

@pytest.mark.parametrize("when", ["init", "config"])
def test_vf_before_rndis(nichost, when):
    h = nichost(f"vf=4,vf-when={when}")
    g = h.guest()
    g.init()
    if when == "config":
        assert g.ch.read(0.05) is None
        g.config()
    p = g.ch.read()
    assert (p.kind, p.u32(4), p.u32(8), p.tid) == (128, 1, 4, 1 << 63)
    h.end()


def test_ring_use(nichost):
    """Received frames fill no more of the ring than they may."""
    h = nichost("ranges=1,ring-use=1024")
    g = h.guest().up()
    h.inject(frame(), count=100)
    assert ng.until(lambda: g.ch.words[g.ch.inn // 4 + 3] != 0)
    assert g.ch.size - g.ch.free() <= 1024
    assert len(g.frames(100)) == 100
    h.end()


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
def test_serve_order(nichost, order):
    """Across channels nothing is promised; within one everything is."""
    h = nichost("queues=4", "--serve-order", order, "--seed", "7")
    g = h.guest().up()
    g.subchannels(2)
    tids = {i: [g.section_send(3 * i + k, [ng.packet(frame(k))], ch) for k in range(3)]
            for i, ch in [(0, g.ch), *g.subs.items()]}
    for i, ch in [(0, g.ch), *g.subs.items()]:
        got = []
        while len(got) < 3:
            p = ch.read()
            got += [p.tid] if p.type == ng.COMP else []
        assert got == tids[i]
    h.end()


# --- what no faithful host does ----------------------------------------------------------------

def test_indications_of_any_kind(nichost):
    h = nichost()
    g = h.guest().up()
    assert h.cmd("indicate")["ok"]
    status, now = g.indication()
    assert status == 0x40020006 and now == g.query(ng.OID_CURRENT)[1]
    assert h.cmd("indicate", status=0x40010012, bytes="0102")["ok"]
    assert g.indication() == (0x40010012, b"\1\2")
    assert not h.cmd("indicate", status=1, bytes="0")["ok"]
    h.end()


@pytest.mark.parametrize("ring, word, at", [
    ("tx", "write", 0), ("tx", "read", 1), ("tx", "pending", 3), ("rx", "write", 0),
    ("rx", "read", 1), ("rx", "mask", 2), ("rx", "pending", 3), ("rx", "feature", 16)])
def test_ring_words(nichost, ring, word, at):
    """T11, T12, T19, T20 of doc/hostile_inputs.rst: any value in any word."""
    h = nichost("queues=8", "--wait", "poll", "--no-strict")
    g = h.guest()
    base = g.ch.out if ring == "tx" else g.ch.inn
    assert h.cmd("ring-word", ring=ring, word=word, value=0xDEADBEE8)["ok"]
    assert g.ch.words[base // 4 + at] == 0xDEADBEE8
    assert not h.cmd("ring-word", ring=ring, word="none", value=0)["ok"]
    # The host may find what it wrote itself.
    assert h.proc.poll() is None
    h.proc.terminate()
    assert h.proc.wait(30) == 0


@pytest.mark.parametrize("kind, size", [(1, None), (99, 300), (1, 8)])
def test_bus_messages_of_any_kind(nichost, kind, size):
    """T2 to T5, T8 and T9: type, length and content of a control message are the test's."""
    h = nichost()
    g = h.guest()
    msg = struct.pack("<3I", 0x7777, 0, 4711)
    fields = {} if size is None else {"size": size}
    assert h.cmd("bus-raw", bytes=msg.hex(), type=kind, **fields)["ok"]
    body = g.g.wait_body(0x7777)
    assert struct.unpack_from("<4I", body) == (0, 2, kind, len(msg) if size is None else size)
    assert body[16:] == msg
    assert not h.cmd("bus-raw", bytes="00" * 241)["ok"]
    h.end()


def test_nic_must_be_named(nichost):
    h = nichost("queues=8", "--nic", "queues=8")
    h.ctl.sendall(b'{"cmd": "link", "state": "down"}\n')
    assert b'"ok":false' in h.lines.readline()
    assert h.cmd("link", state="down")["ok"]
    h.end()


def test_target_processor(nichost):
    h = nichost()
    g = h.guest()
    g.g.post(struct.pack("<4I", 22, 0, g.relid, 2))
    assert ng.until(lambda: h.violations())
    g.up()
    h.end("channel.target-vp")
