# SPDX-License-Identifier: BSD-3-Clause
"""NVSP of the synthetic NIC: versions, order, buffers, sub-channels, VF; what breaks a channel."""
import struct

import nicguest as ng
import pytest
from nicframes import tcp4

ALL = [ng.V1, ng.V2, ng.V4, ng.V5, ng.V6, ng.V61]


@pytest.mark.parametrize("version", ALL)
def test_bring_up(nichost, version):
    h = nichost()
    g = h.guest().handshake(version)
    assert g.slot_size == 256 + 1514 + 36 and g.slots == ng.RECV_PAGES * ng.PAGE // g.slot_size
    assert g.section == 6144
    status, major, minor, flags, medium, packets, size, align, _, _ = g.rndis_init()
    assert (status, major, minor, flags, medium) == (0, 1, 0, 1, 0)
    assert (packets, size, align) == (8, 0xEFFFFFFF, 3)
    assert g.query(ng.OID_MAC) == (0, bytes.fromhex("00155d000001"))
    assert h.stats()["nvsp_version"] == version
    h.end()


@pytest.mark.parametrize("version", ALL)
def test_message_size(nichost, version):
    """The answer to INIT is short, what follows has 40 bytes from 6.1 on."""
    h = nichost()
    g = h.guest()
    r = g.init(version)
    assert len(r.payload) == 32 and (r.u32(8), r.u32(12)) == (34, 1)
    assert r.u32(4) == (2 if version == ng.V1 else 0xFFFFFFFF)
    if version > ng.V1:
        g.config()
    g.ndis()
    r = g.recv_buf()
    assert len(r.payload) == (40 if version == ng.V61 else 32)
    # One section: offset, size and number of its slots, where they end.
    assert [r.u32(i) for i in range(8, 28, 4)] == [1, 0, 1806, ng.RECV_PAGES * ng.PAGE // 1806,
                                                   r.u32(16) * r.u32(20)]
    h.end()


@pytest.mark.parametrize("version, size", [(ng.V5, 32), (ng.V6, 32), (ng.V61, 40)])
def test_message_size_on_every_channel(nichost, version, size):
    """Completions and received frames, on the primary and on a sub-channel."""
    h = nichost("queues=2")
    g = h.guest().up(version)
    g.subchannels(1)
    g.ch.read()
    assert g.rss([0]) == 0
    for ch, to in ((g.ch, 0), (g.subs[1], 1)):
        assert g.rss([to]) == 0
        tid = g.section_send(0, [ng.packet(bytes(60))], ch)
        p = ch.read()
        assert (p.type, p.tid, len(p.payload)) == (ng.COMP, tid, size)
        h.inject(bytes(tcp4()))
        p = ch.read()
        assert (p.type, len(p.payload)) == (ng.XFER, size)
        ch.complete(p)
    h.end()


@pytest.mark.parametrize("option, size", [("old", 32), ("new", 40)])
def test_message_size_option(nichost, option, size):
    h = nichost(f"msg-size={option}")
    g = h.guest()
    assert len(g.init().payload) == size
    g.config()
    g.ndis()
    assert len(g.recv_buf().payload) == size
    h.end()


@pytest.mark.parametrize("top", range(6))
def test_version_downgrade(nichost, top):
    """What is above, below, or between versions is refused and may be followed by another."""
    names = ["1", "2", "4", "5", "6", "6.1"]
    h = nichost(f"nvsp-max={names[top]},nvsp-min={names[max(top - 1, 0)]}")
    g = h.guest()
    for version in (*ALL[:top - 1 if top else 0], *ALL[top + 1:], 0, 1, 0x30001, 0x30003, 0x50001,
                    0x60002, 0x70000, 0xFFFFFFFF):
        r = g.init(version)
        assert (r.kind, r.u32(8), r.u32(12)) == (2, 34, 0), hex(version)
        assert h.stats()["state"] == "init" and h.stats()["nvsp_version"] == 0
    # The second version of the message means nothing.
    assert g.ask(1, ALL[top], 0xDEADBEEF).u32(12) == ng.SUCCESS
    assert h.stats()["nvsp_version"] == ALL[top] and h.stats()["state"] == "config"
    g.nvsp(1, ALL[top], ALL[top])
    assert dead(h, g)
    h.end("nvsp.order")


def test_capabilities_are_never_refused(nichost):
    h = nichost()
    g = h.guest().up(caps=0xFFFFFFFFFFFFFFFF)
    assert g.query(ng.OID_MAC)[0] == 0
    h.end()


@pytest.mark.parametrize("mtu, used", [(1514, 1514), (9216, 9216), (1513, 1514), (9217, 1514),
                                       (0, 1514), (0xFFFFFFFF, 1514)])
def test_mtu(nichost, mtu, used):
    h = nichost()
    g = h.guest().handshake(mtu=mtu)
    assert g.slot_size == 256 + used + 36
    g.rndis_init()
    assert g.query(ng.OID_FRAME_SIZE) == (0, struct.pack("<I", used - 14))
    h.end()


def test_configuration_completions_are_empty(nichost):
    h = nichost()
    g = h.guest()
    g.init()
    for fields in [(125, 1514, 0, 0, 0), (100, 6, 30)]:
        r = g.ask(*fields)
        assert r.type == ng.COMP and r.payload == b""
    h.end()


def test_no_send_buffer(nichost):
    h = nichost()
    g = h.guest().up(send=False)
    tid = g.rndis(ng.packet(bytes(60)), channel=0)
    assert g.completion(tid) == 1 and len(h.taken(1)) == 1
    h.end()


def test_reopen_after_revoke_and_close(nichost):
    h = nichost()
    g = h.guest()
    for _ in range(3):
        g.up()
        h.inject(bytes(64))
        assert len(g.frames(1)) == 1
        assert g.set(ng.OID_FILTER, bytes(4)) == 0
        g.rndis(struct.pack("<3I", 3, 12, 99))
        g.nvsp(103, 0xCAFE, flags=0)
        g.nvsp(106, 0, flags=0)
        assert h.stats()["state"] == "revoked" or ng.until(
            lambda: h.stats()["state"] == "revoked")
        g.g.post(struct.pack("<3I", 7, 0, g.relid))
        for ident in range(0x101, g.next_gpadl + 1):
            g.g.post(struct.pack("<4I", 11, 0, g.relid, ident))
            g.g.message(12)
        g.next_page, g.next_gpadl = 0, 0x100
        del g.ctl
        g.ch = g.channel(g.relid)
        assert g.ch.status == 0
    h.end()


def test_close_at_any_step(nichost):
    """A partial handshake leaves nothing behind."""
    h = nichost()
    g = h.guest()
    for steps in range(6):
        for step in [g.init, g.config, g.ndis, g.recv_buf, g.send_buf, g.rndis_init][:steps]:
            step()
        g.g.post(struct.pack("<3I", 7, 0, g.relid))
        for ident in range(0x101, g.next_gpadl + 1):
            g.g.post(struct.pack("<4I", 11, 0, g.relid, ident))
        g.next_page, g.next_gpadl = 0, 0x100
        g.ch = g.channel(g.relid)
    g.up()
    h.end()


def test_guest_comes_back(nichost):
    h = nichost()
    for _ in range(3):
        g = h.guest().up()
        h.inject(bytes(64))
        assert len(g.frames(1)) == 1
        g.g.sock.close()
        assert ng.until(lambda: h.cmd("stats")["stats"]["guests"] == 0)
    h.end()


def dead(h, g):
    """The host does not read this channel any more."""
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    g.ch.send(bytes(40), 1, 0)
    return g.ch.read(0.1) is None and g.ch.pending()


def nothing(g):
    pass


def handshake(g):
    g.handshake()


def configured(g):
    g.init()
    g.config()
    g.ndis()


def ready(g):
    g.up()


@pytest.mark.parametrize("before, message, rule", [
    (nothing, dict(fields=(100, 6, 30)), "nvsp.order"),
    (nothing, dict(fields=(107, 0, ng.NO_SECTION, 0)), "nvsp.order"),
    (nothing, dict(fields=(103, 0xCAFE)), "nvsp.order"),
    (nothing, dict(fields=(108, 1)), "nvsp.type"),
    (configured, dict(fields=(107, 0, ng.NO_SECTION, 0)), "nvsp.order"),
    (nothing, dict(fields=(999,)), "nvsp.type"),
    (nothing, dict(fields=(2, 1, 1)), "nvsp.type"),
    (nothing, dict(fields=(), size=0), "nvsp.short"),
    (nothing, dict(fields=(1,), size=8), "nvsp.short"),
    (handshake, dict(fields=(1, ng.V61, ng.V61)), "nvsp.order"),
    (handshake, dict(fields=(125, 1514, 0, 0, 0)), "nvsp.order"),
    (handshake, dict(fields=(100, 6, 30)), "nvsp.order"),
    (handshake, dict(fields=(101, 0x102, 0xCAFE)), "nvsp.order"),
    (handshake, dict(fields=(104, 0x103, 0)), "nvsp.order"),
    (handshake, dict(fields=(133, 1, 1)), "nvsp.order"),
    (handshake, dict(fields=(129, 1)), "nvsp.order"),
    (ready, dict(fields=(1, ng.V61, ng.V61)), "nvsp.order"),
    (ready, dict(fields=(125, 1514, 0, 0, 0)), "nvsp.order"),
    (ready, dict(fields=(104, 0x103, 0)), "nvsp.order"),
    (ready, dict(fields=(128, 1, 1)), "nvsp.type"),
    (ready, dict(fields=(107, 0, 1000, 64)), "tx.section"),
    (ready, dict(fields=(107, 0, 10, 6144)), "tx.section"),
    (ready, dict(fields=(107, 0, 0, 0xFFFFFFFF)), "tx.section"),
])
def test_fatal_message(nichost, before, message, rule):
    h = nichost()
    g = h.guest()
    before(g)
    g.nvsp(*message["fields"], size=message.get("size", 40))
    assert dead(h, g)
    h.end(rule)


def test_version_gates(nichost):
    for version, fields in [(ng.V1, (125, 1514, 0, 0, 0)), (ng.V2, (129, 1)), (ng.V4, (133, 1, 1)),
                            (ng.V4, (131, 0, 0))]:
        h = nichost()
        g = h.guest()
        if version == ng.V1:
            g.init(version)
        else:
            g.up(version)
        g.nvsp(*fields)
        assert dead(h, g)
        h.end("nvsp.version" if version == ng.V1 else "nvsp.type")


def test_completion_before_anything(nichost):
    h = nichost()
    g = h.guest()
    g.ch.send(struct.pack("<2I", 108, 1), 1, 0, ng.COMP)
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end("rx.complete-id")


def test_answer_waits_for_room(nichost):
    """A request is read when its answer has room: no full ring loses it, or ends the channel."""
    h = nichost()
    g = h.guest().up()
    fill_ring(h)
    tid = g.nvsp(131, 0, ng.OID_MAC)
    assert not ng.until(lambda: not g.ch.pending(), 0.1)
    assert [p.tid for p in drain(g, 1)] == [tid]
    h.end()


def test_recv_buffer_before_config(nichost):
    h = nichost()
    g = h.guest()
    g.init()
    _, gpadl = g.buffer(8)
    g.nvsp(101, gpadl, 0xCAFE)
    assert dead(h, g)
    h.end("nvsp.order")


@pytest.mark.parametrize("kind", [101, 104])
def test_unknown_gpadl(nichost, kind):
    h = nichost()
    g = h.guest()
    g.init()
    g.config()
    g.nvsp(kind, 0x9999, 0xCAFE)
    assert dead(h, g)
    h.end("nvsp.buffer-gpadl")


def test_small_receive_buffer_is_refused(nichost):
    h = nichost()
    g = h.guest()
    g.init()
    g.config()
    assert g.recv_buf(7).u32(4) == ng.FAILURE
    h.end()


def test_short_message_is_ignored(nichost):
    """Windows answers nothing below 32 bytes; the channel lives."""
    h = nichost()
    g = h.guest()
    g.nvsp(1, ng.V61, ng.V61, size=24)
    assert g.ch.idle()
    g.up()
    h.end("nvsp.short")


def test_gpadl_in_use(nichost):
    h = nichost()
    g = h.guest().up()
    g.g.post(struct.pack("<4I", 11, 0, g.relid, 0x102))
    h.end("gpadl.in-use")


def test_corrupt_ring(nichost):
    h = nichost()
    g = h.guest().up()
    g.ch.words[g.ch.out // 4] = 0x7FFFFFF1
    assert ng.until(lambda: h.violations())
    h.end("ring.corrupt")


@pytest.mark.parametrize("raw, rule", [
    (struct.pack("<4HQ", 6, 1, 3, 0, 1) + bytes(16), "ring.descriptor"),
    (struct.pack("<4HQ", 6, 4, 3, 0, 1) + bytes(16), "ring.descriptor"),
    (struct.pack("<4HQ", 6, 2, 3, 2, 1) + bytes(16), "ring.descriptor"),
    (struct.pack("<4HQ", 6, 2, 60000, 0, 1) + bytes(16), "ring.corrupt"),
    (struct.pack("<4HQ", 6, 2, 1, 0, 1) + bytes(16), "ring.corrupt"),
    (struct.pack("<4HQ", 7, 3, 3, 0, 1) + bytes(16), "ring.packet-type"),
    (struct.pack("<4HQ", 8, 2, 3, 0, 1) + bytes(16), "ring.packet-type"),
])
def test_bad_descriptor(nichost, raw, rule):
    h = nichost()
    g = h.guest().up()
    g.ch.raw(raw)
    assert ng.until(lambda: h.violations())
    h.end(rule)


def test_trace(nichost, tmp_path):
    """Every message, in the format of the recorded conversations."""
    h = nichost("queues=2", "--trace", str(tmp_path / "t"))
    g = h.guest().up()
    h.inject(bytes(64))
    g.frames(1)
    g.completion(g.section_send(0, [ng.packet(bytes(60))]))
    h.end()
    lines = [line.split() for line in (tmp_path / "t").read_text().splitlines()]
    assert all(len(bytes.fromhex("".join(x[x.index(":") + 1:]))) == int(x[x.index(":") - 1][4:])
               for x in lines)
    seen = {tuple(x[1:4]) for x in lines}
    assert seen >= {("G>H", "RING", "INBAND"), ("H>G", "RING", "COMP"), ("G>H", "NVSP", "INIT"),
                    ("G>H", "NVSP", "NDIS_CONFIG"), ("G>H", "RING", "GPADIRECT"),
                    ("H>G", "RING", "XFERPAGES"), ("G>H", "RNDIS-CTL", "SET"),
                    ("G>H", "RNDIS-DATA", "PACKET"), ("H>G", "RNDIS-DATA", "PACKET"),
                    ("G>H", "VMBUS", "OPENCHANNEL")}


# --- sub-channels -----------------------------------------------------------------------------

def table(p):
    count, off = p.u32(4), p.u32(8)
    return list(struct.unpack_from(f"<{count}I", p.payload, off))


def test_subchannels(nichost):
    h = nichost("queues=4")
    g = h.guest().up()
    assert g.subchannels(3) == 3
    p = g.ch.read()
    assert (p.type, p.flags, p.tid, p.kind) == (ng.INBAND, 0, 0, 134)
    assert table(p) == [i % 4 for i in range(16)]
    for sub in g.subs.values():
        tid = g.section_send(0, [ng.packet(bytes(60))], sub)
        assert g.completion(tid, sub) == 1
    assert len(h.taken(3)) == 3
    h.end()


def test_order_of_subchannels(nichost):
    """They are offered in the order that is asked for; one by chance is neither."""
    seen = {}
    for order in ("forward", "reverse", "random"):
        h = nichost("queues=8", "--sub-order", order, "--seed", "1")
        g = h.guest().up()
        assert g.subchannels(7) == 7
        seen[order] = list(g.subs)
        h.end()
    assert seen["forward"] == seen["reverse"][::-1] == sorted(seen["random"]) == list(range(1, 8))
    assert seen["random"] not in (seen["forward"], seen["reverse"])


def test_table_comes_with_the_last_one(nichost):
    """Once all are open, and not before; the primary takes them along."""
    h = nichost("queues=4")
    g = h.guest().up()
    assert g.ask(133, 1, 2).u32(8) == 2
    relids = sorted(struct.unpack_from("<I", g.g.message(1), 184)[0] for _ in range(2))
    subs = [g.channel(relids[0])]
    assert g.ch.read(0.1) is None
    subs.append(g.channel(relids[1]))
    assert table(g.ch.read()) == [i % 3 for i in range(16)]
    g.g.post(struct.pack("<3I", 7, 0, g.relid))
    assert sorted(struct.unpack_from("<I", g.g.message(2), 8)[0] for _ in range(2)) == relids
    assert h.stats()["state"] == "closed" and not any(q["open"] for q in h.stats()["queues"])
    h.end()


@pytest.mark.parametrize("n, status, granted", [(0, 1, 0), (7, 1, 7), (8, 2, 0),
                                                (0xFFFFFFFF, 2, 0)])
def test_subchannel_count(nichost, n, status, granted):
    h = nichost("queues=8")
    g = h.guest().up()
    r = g.ask(133, 1, n)
    assert (r.kind, r.u32(4), r.u32(8)) == (133, status, granted)
    h.end()


def test_subchannels_need_slots(nichost):
    h = nichost("queues=64,slots=20")
    g = h.guest().up()
    assert g.ask(133, 1, 4).u32(4) == ng.FAILURE
    assert g.ask(133, 1, 3).u32(4) == ng.SUCCESS
    h.end()


def test_fewer_granted(nichost):
    h = nichost("queues=8,grant=2")
    g = h.guest().up()
    assert g.subchannels(5) == 2
    assert table(g.ch.read()) == [i % 3 for i in range(16)]
    h.end()


@pytest.mark.parametrize("option", ["early", "bug", "none"])
def test_send_table(nichost, option):
    h = nichost(f"send-table={option}")
    g = h.guest().up()
    assert g.ask(133, 1, 3).u32(8) == 3
    p = g.ch.read(0.2 if option == "none" else 20)
    if option == "none":
        assert p is None
    elif option == "bug":
        assert p.u32(8) != 40 and len(p.payload) == 104
        assert list(struct.unpack_from("<16I", p.payload, 40)) == [i % 4 for i in range(16)]
    else:
        assert table(p) == [i % 4 for i in range(16)]
    h.end()


def test_second_subchannel_request(nichost):
    h = nichost()
    g = h.guest().up()
    assert g.subchannels(2) == 2
    g.ch.read()
    r = g.ask(133, 1, 4)
    assert (r.u32(4), r.u32(8)) == (1, 2)
    assert table(g.ch.read())
    h.end("nvsp.subchannel-twice")


@pytest.mark.parametrize("fields", [(1, ng.V61, ng.V61), (133, 1, 1), (129, 1), (103, 0xCAFE)])
def test_request_on_subchannel(nichost, fields):
    h = nichost()
    g = h.guest().up()
    g.subchannels(1)
    g.subs[1].send(struct.pack(f"<{len(fields)}I", *fields) + bytes(40))
    assert ng.until(lambda: h.violations())
    g.ch.read()
    assert g.query(ng.OID_MAC)[0] == 0, "the other channels live"
    h.end("nvsp.sub-channel")


def test_oid_query_ex(nichost):
    h = nichost()
    g = h.guest().up()
    r = g.ask(131, 0, ng.OID_MAC)
    assert (r.kind, r.u32(4), r.u32(8)) == (132, 0xC00000BB, 0)
    h.end()


# --- VF ---------------------------------------------------------------------------------------

def assoc(g, allocated, serial, rc=1):
    p = g.events.pop(0) if g.events else g.ch.read()
    assert (p.kind, p.u32(4), p.u32(8), p.flags) == (128, allocated, serial, rc)
    return p


@pytest.mark.parametrize("complete", [False, True])
def test_vf_association(nichost, complete):
    h = nichost("vf=0")
    g = h.guest().up()
    p = assoc(g, 1, 0)
    assert p.tid == 1 << 63
    if complete:
        g.ch.send(b"", p.tid, 0, ng.COMP)
    for path in (1, 0, 1):
        r = g.ask(129, path)
        assert r.type == ng.COMP and r.payload == b""
        assert h.stats()["data_path"] == ("vf" if path else "synthetic")
    h.end()


@pytest.mark.parametrize("version, caps", [(ng.V2, 0x2C), (ng.V61, 0x28)])
def test_no_vf_for_this_guest(nichost, version, caps):
    h = nichost("vf=5")
    g = h.guest().up(version, caps=caps)
    assert g.ch.read(0.2) is None and not g.events
    h.end()


def test_vf_hotplug_and_surprise_removal(nichost):
    h = nichost("vf-rc=no")
    g = h.guest().up()
    for serial in (7, 9):
        assert h.cmd("vf", action="plug", serial=serial)["ok"]
        assoc(g, 1, serial, 0)
        g.ask(129, 1)
        assert h.cmd("vf", action="unplug")["ok"]
        p = g.ch.read()
        assert (p.kind, p.u32(4), p.tid, p.flags) == (129, 0, (1 << 63) + 1, 1)
        assoc(g, 0, serial, 0)
        assert g.ask(129, 0).payload == b"", "the late switch completes without effect"
    h.end()


def test_vf_replaced_without_a_withdrawal(nichost):
    """Removal and addition before the guest was told: two associations in a row."""
    h = nichost("vf-rc=no")
    g = h.guest().up()
    assert not h.cmd("vf", action="replace", serial=8)["ok"], "there is none to replace"
    assert h.cmd("vf", action="plug", serial=7)["ok"]
    assoc(g, 1, 7, 0)
    assert h.cmd("vf", action="replace", serial=8)["ok"]
    assoc(g, 1, 8, 0)
    h.end()


def test_vf_flaps(nichost):
    """Away and back, each time another one; the guest need not do anything for that."""
    h = nichost("vf=7")
    g = h.guest().up()
    assoc(g, 1, 7)
    assert h.cmd("vf", action="flap", count=3, ms=1)["ok"]
    for serial in (7, 8, 9):
        assoc(g, 0, serial)
        assoc(g, 1, serial + 1)
    assert g.ch.read(0.1) is None and h.stats()["vf_flaps"] == 0
    h.end()


def test_slow_and_second_switch(nichost):
    h = nichost("vf=1,switch-delay=5000")
    g = h.guest().up()
    assoc(g, 1, 1)
    first = g.nvsp(129, 1)
    assert g.ask(129, 0).payload == b"", "ignored while one is pending"
    assert h.stats()["data_path"] == "synthetic"
    p = g.ch.read()
    assert p.tid == first and h.stats()["data_path"] == "vf"
    h.end()


def test_switch_whose_completion_is_lost(nichost):
    """It is done all the same; the same request again has no effect, and is answered."""
    h = nichost("vf=1")
    g = h.guest().up()
    assoc(g, 1, 1)
    assert h.cmd("vf", action="lose")["ok"]
    g.nvsp(129, 1)
    assert ng.until(lambda: not g.ch.pending())
    assert g.ch.read(0.2) is None and h.stats()["data_path"] == "vf"
    assert g.ask(129, 1).payload == b"" and h.stats()["data_path"] == "vf"
    h.end()


def test_switch_that_fails(nichost):
    h = nichost("vf=1,switch-fail=yes")
    g = h.guest().up()
    assoc(g, 1, 1)
    g.ask(129, 1)
    p = g.ch.read()
    assert (p.kind, p.u32(4)) == (129, 0) and h.stats()["data_path"] == "synthetic"
    h.end()


def test_switch_without_vf_has_no_effect(nichost):
    h = nichost()
    g = h.guest().up()
    for path in (0, 1):
        assert g.ask(129, path).payload == b""
        assert h.stats()["data_path"] == "synthetic"
    g.nvsp(129, 1, flags=0)
    assert g.ch.idle()
    h.end()


def test_data_path_outlives_a_close(nichost):
    h = nichost("vf=3")
    g = h.guest().up()
    assoc(g, 1, 3)
    g.ask(129, 1)
    h.inject(bytes(64))
    assert g.ch.read(0.1) is None, "not through the synthetic path"
    g.g.post(struct.pack("<3I", 7, 0, g.relid))
    g.next_page, g.next_gpadl = 512, 0x200
    g.ch = g.channel(g.relid)
    del g.ctl
    g.up()
    assoc(g, 1, 3)
    assert h.stats()["data_path"] == "vf"
    g.ask(129, 0)
    assert len(g.frames(1)) == 1
    h.end()


def test_vf_association_completed_twice(nichost):
    h = nichost("vf=0")
    g = h.guest().up()
    p = assoc(g, 1, 0)
    g.ch.send(b"", p.tid, 0, ng.COMP)
    assert g.ch.idle()
    g.ch.send(struct.pack("<2I", 108, 1), p.tid, 0, ng.COMP)
    assert dead(h, g)
    h.end("rx.complete-id")


def fill_ring(h):
    """Packets nobody asked for, until not one more finds room."""
    while h.cmd("raw")["ok"]:
        pass


def drain(g, n):
    """What came behind those packets: n, or more."""
    got, last = [], False
    while not last:
        p = g.ch.read(20 if len(got) < n else 0.5)
        last = p is None
        if not last and (p.type, p.kind) != (ng.INBAND, None):
            got.append(p)
    return got


def test_vf_removed_while_a_switch_is_slow(nichost):
    """The switch ends with the VF, even if the guest can be told only later."""
    h = nichost("vf=1,switch-delay=60000")
    g = h.guest().up()
    assoc(g, 1, 1)
    tid = g.nvsp(129, 1)
    assert ng.until(lambda: not g.ch.pending())
    fill_ring(h)
    assert h.cmd("vf", action="unplug")["ok"]
    assert h.stats()["data_path"] == "synthetic"
    done, path, gone = drain(g, 3)
    assert (done.type, done.tid, done.payload) == (ng.COMP, tid, b"")
    assert (path.kind, path.u32(4)) == (129, 0) and (gone.kind, gone.u32(4)) == (128, 0)
    assert h.stats()["data_path"] == "synthetic"
    h.end()


def test_no_vf_message_is_lost(nichost):
    """A guest that reads nothing gets all of them later, or the change is refused."""
    h = nichost("vf-rc=no")
    g = h.guest().up()
    fill_ring(h)
    told = []
    for serial in range(40):
        if not h.cmd("vf", action="plug", serial=serial)["ok"]:
            break
        ng.until(lambda: h.stats()["vf"] == "advertised", 0.2)
        if h.stats()["vf"] != "advertised":
            break
        told.append((1, serial))
        if not h.cmd("vf", action="unplug")["ok"]:
            break
        told.append((0, serial))
    assert len(told) > 16
    got = [(p.u32(4), p.u32(8)) for p in drain(g, len(told))]
    assert got[:len(told)] == told
    h.end()
