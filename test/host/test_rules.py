# SPDX-License-Identifier: BSD-3-Clause
"""Rules of the protocol, broken one by one; and that no rule is without a test and a sentence."""
import pathlib
import re
import struct

import nicguest as ng
import pytest
import vmu
from nicframes import frame, lso, pseudo, seeded, tcp4
from test_bus import SCATTERED, ready
from test_bus import host  # noqa: F401 (a fixture)

ROOT = pathlib.Path(__file__).resolve().parents[2]


# --- vmbus-user: datagrams --------------------------------------------------------------------

def hung_up(guest):
    with pytest.raises(ConnectionError):
        guest.wait(vmu.ACK)


def datagram(path):
    return vmu.Guest(path, hello=False)


def too_short(path):
    g = datagram(path)
    g.sock.send(b"VMU")
    hung_up(g)


def too_long(path):
    g = datagram(path)
    g.sock.send(bytes(600))
    g.send(vmu.HELLO, struct.pack("<4IQ64s", 1, 0, 2, 0, 0, b"pytest"))
    g.wait(vmu.HELLO_ACK)


def before_hello(path):
    assert datagram(path).mem_add(0x100000, vmu.PAGE) == 71  # EPROTO


def second_hello(path):
    g = vmu.Guest(path)
    g.send(vmu.HELLO, struct.pack("<4IQ64s", 1, 0, 2, 0, 0, b"pytest"))
    hung_up(g)


def post(size, kind, body):
    def what(path):
        g = vmu.Guest(path)
        assert g.acked(vmu.POST, struct.pack("<4I", 1, kind, size, 0) + body) == 5
    return what


def unknown_connection(path):
    g = vmu.Guest(path)
    assert g.acked(vmu.SIGNAL, struct.pack("<I2H", 0x7777, 0, 0)) == 18


def unknown_memory(path):
    assert vmu.Guest(path).mem_del(0x40000000, vmu.PAGE) != 0


@pytest.mark.parametrize("rule, what", [
    ("vmu.short", too_short), ("vmu.too-long", too_long), ("vmu.before-hello", before_hello),
    ("vmu.hello", second_hello), ("vmu.post-size", post(100, 1, bytes(8))),
    ("vmu.post-type", post(8, 2, bytes(8))), ("vmu.signal-unknown", unknown_connection),
    ("mem.del", unknown_memory)])
def test_datagrams(host, rule, what):  # noqa: F811
    h = host()
    what(h.path)
    h.end(rule)


# --- VMBus: control messages ------------------------------------------------------------------

def test_message_before_contact(host):  # noqa: F811
    h = host()
    assert vmu.Guest(h.path).post(struct.pack("<2I", 3, 0)) == 0
    h.end("vmbus.before-contact")


def test_one_monitor_page(host):  # noqa: F811
    h = host()
    assert vmu.Guest(h.path).contact(5, 3, monitor=(0x100000, 0)) == 0
    h.end("vmbus.monitor-page")


def test_doorbell_of_no_channel(host):  # noqa: F811
    h = host()
    g = vmu.Guest(h.path)
    assert g.contact(5, 3, monitor=(0x100000, 0x101000)) == 1 and g.offers() == [1]
    for page in range(2):
        struct.pack_into("<2I", g.mem, page * vmu.PAGE, 0xF, 0)
        struct.pack_into("<I", g.mem, page * vmu.PAGE + 8 + 3 * 8, 1 << 31)  # group 3, bit 31
    g.send(vmu.SIGNAL, struct.pack("<I2H", g.conns[1], 0, 0))
    assert ng.until(lambda: struct.unpack_from("<I", g.mem, vmu.PAGE + 32)[0] == 0)
    h.end("monitor.unknown")


def offers_twice(g):
    g.post(struct.pack("<2I", 3, 0))


def opened_twice(g):
    assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32) == 0
    g.post(struct.pack("<7I120x", 5, 0, 1, 1, 0x10, 0, 32))


def one_id_twice(g):
    assert g.gpadl(1, 0x10, [0x100, 0x101]) == 0
    assert g.gpadl(1, 0x10, [0x102, 0x103]) != 0


def part_of_a_page(g):
    g.post(struct.pack("<4I2H2IQ", 8, 0, 1, 0x10, 16, 1, vmu.PAGE, 8, 0x100))
    assert struct.unpack_from("<I", g.message(10), 16)[0] != 0


@pytest.mark.parametrize("rule, what", [
    ("vmbus.offers-twice", offers_twice), ("channel.open-twice", opened_twice),
    ("gpadl.id", one_id_twice), ("gpadl.range", part_of_a_page)])
def test_messages(host, rule, what):  # noqa: F811
    h = host()
    what(ready(h))
    h.end(rule)


def test_modify_of_an_old_bus(host):  # noqa: F811
    h = host()
    g = vmu.Guest(h.path)
    assert g.contact(4, 0) == 1 and g.offers() == [1]
    g.post(struct.pack("<4I", 22, 0, 1, 1))
    h.end("channel.modify-version")


# --- rings ------------------------------------------------------------------------------------

def test_ring_without_its_feature(host):  # noqa: F811
    h = host()
    g = ready(h)
    assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32, feature=0) == 0
    h.end("ring.feature")


def keepalive(g):
    """The host looks at the headers when it is told something, or before it sleeps."""
    g.rndis(struct.pack("<3I", 8, 12, 77))


@pytest.mark.parametrize("mode", ["poll", "event"])
@pytest.mark.parametrize("ring, word, value", [
    ("out", 1, 64), ("inn", 0, 64), ("inn", 3, 64), ("inn", 16, 0)])
def test_word_of_the_host(nichost, ring, word, value, mode):
    """Written by the guest: told once, left as it is, and the host goes on."""
    h = nichost("queues=8", "--wait", mode)
    g = h.guest().up()
    at = getattr(g.ch, ring) // 4 + word
    assert g.ch.idle() and g.ch.words[at] != value
    g.ch.words[at] = value
    if mode == "poll":
        keepalive(g)
    assert ng.until(h.violations)
    if word in (3, 16):
        assert g.query(ng.OID_MAC)[0] == 0 and g.ch.words[at] == value
    assert h.violations() == {"ring.owner": 1}
    h.end("ring.owner")


@pytest.mark.parametrize("pending", [4095, 1 << 20])
def test_room_that_never_is(nichost, pending):
    h = nichost("queues=8", "--wait", "poll")
    g = h.guest().up()
    g.ch.words[g.ch.out // 4 + 3] = pending
    keepalive(g)
    assert ng.until(h.violations)
    keepalive(g)
    assert ng.until(lambda: not g.ch.pending()) and h.violations() == {"ring.pending": 1}
    h.end("ring.pending")


def test_read_index_of_no_ring(nichost):
    h = nichost("queues=8", "--wait", "poll")
    g = h.guest().up()
    g.ch.words[g.ch.inn // 4 + 1] = 0x7FFFFFF1
    h.inject(frame())
    assert ng.until(h.violations) and h.stats()["queues"][0]["failed"]
    h.end("ring.corrupt")


# --- NVSP and RNDIS ---------------------------------------------------------------------------

def trailer(g):
    g.ch.raw(struct.pack("<4HQ3I", 6, 2, 7, 1, 5, 131, 0, 0) + bytes(28) + b"\1" * 8)
    assert g.completion_of(5).kind == 132


def completion_flags(g):
    rid = struct.pack("<4I", 8, 12, 77, 0)[:12]
    g.rndis(rid)
    while (p := g.ch.read()).type != ng.XFER:
        pass
    g.ch.send(struct.pack("<2I", 108, 1), p.tid, ng.RC, ng.COMP)
    assert g.query(ng.OID_MAC)[0] == 0, "it is read, and the channel lives"


def no_id(g):
    assert g.completion(g.section_send(0, [ng.packet(frame())], tid=0)) == ng.SUCCESS


def odd_frame(g):
    msg = ng.packet(b"\0" + frame(0, 60), data_off=37, data_len=60)
    assert g.completion(g.section_send(0, [msg])) == ng.SUCCESS


def subchannel_operation(g):
    assert g.ask(133, 2, 1).u32(4) == ng.FAILURE


def vc_handles(g):
    assert g.control(4, struct.pack("<4I", ng.OID_MAC, 0, 20, 1))[0] == 0x80000004
    assert g.control(5, struct.pack("<5I", ng.OID_FILTER, 4, 20, 1, 0xB))[0] == 0x80000005


def short_filter(g):
    assert g.set(ng.OID_FILTER, bytes(2)) != 0


def short_encapsulation(g):
    assert g.set(0x101010A, bytes(8)) != 0


def short_vlan_id(g):
    assert g.set(0x1021C, bytes(3)) != 0


def short_offloads(g):
    assert g.set(ng.OID_OFFLOAD, bytes(3)) != 0


def short_parameter(g):
    assert g.set(0x1021B, bytes(8)) != 0


def no_rss_object(g):
    assert g.rss([0], kind=0x80) == 0


def data_path(g):
    assert g.ask(129, 2).payload == b""


def revoked(g):
    """It ends the conversation, so there is nothing to wait for but this."""
    g.nvsp(103, 0xBEEF, flags=0)
    assert ng.until(lambda: not g.ch.pending())


def set_offset(g):
    kind, r = g.control(5, struct.pack("<6I", ng.OID_FILTER, 4, 24, 0, 0xB, 0xB))
    assert kind == 0x80000005 and struct.unpack_from("<I", r, 12)[0] == 0


def scattered(g):
    page = g.pages(1) * ng.PAGE
    ranges = [g.gpa(bytes(8), page + 16 * i) for i in range(260)]
    msg = ng.packet(frame(0, 60))
    assert g.completion(g.rndis(b"", [g.gpa(msg), *ranges], 0)) == ng.FAILURE


@pytest.mark.parametrize("rules, what", [
    (["nvsp.data-path"], data_path), (["nvsp.revoke"], revoked),
    (["rndis.set-offset"], set_offset), (["ring.trailer"], trailer),
    (["rx.complete-flags"], completion_flags), (["tx.id"], no_id),
    (["tx.data-offset"], odd_frame), (["nvsp.subchannel-op"], subchannel_operation),
    (["rndis.field"], vc_handles), (["rndis.object"], short_filter),
    (["rndis.object"], short_vlan_id), (["rndis.object"], short_encapsulation),
    (["rndis.object"], short_offloads),
    (["rndis.object"], short_parameter), (["rndis.object"], no_rss_object),
    (["tx.too-long", "tx.ranges"], scattered)])
def test_nic(nichost, rules, what):
    h = nichost()
    what(h.guest().up())
    h.end(*rules)


def test_id_of_an_outstanding_send(nichost):
    h = nichost("tx-delay=200")
    g = h.guest().up()
    assert h.cmd("stall", queue=0)["ok"]  # the host reads both at once, however long we take
    for section in range(2):
        g.section_send(section, [ng.packet(frame())], tid=4711)
    assert h.cmd("resume", queue=0)["ok"]
    for _ in range(2):
        assert g.completion(4711) == ng.SUCCESS
    h.end("tx.id")


def test_id_of_a_send_that_waits_for_the_port(nichost):
    h = nichost()
    g = h.guest().up()
    assert h.cmd("room", frames=0)["ok"]
    for section, tid in enumerate((4711, 4712, 4711)):
        g.section_send(section, [ng.packet(frame())], tid=tid)
    assert ng.until(lambda: h.stats()["queues"][0]["tx_deferred"] == 3)
    assert h.cmd("room", frames=9)["ok"]
    assert [g.ch.read().tid for _ in range(3)] == [4711, 4712, 4711]
    assert g.completion(g.section_send(0, [ng.packet(frame())], tid=4711)) == ng.SUCCESS
    assert h.violations() == {"tx.id": 1}
    h.end("tx.id")


def test_told_once(nichost):
    """However often a send is read: because the port has no room, in the ring, for its checksum."""
    h = nichost()
    g = h.guest().up()
    assert h.cmd("room", frames=0)["ok"]
    odd = [ng.packet(frame(i, 62)) for i in range(2)]  # the second one is not aligned
    raw, l4 = seeded(tcp4(), pseudo(tcp4()))
    tids = [g.section_send(0, odd), g.section_send(1, odd),
            g.section_send(2, [ng.packet(raw, ng.ppi(0, 5 | l4 << 16)), ng.packet(frame(0, 62))])]
    one = ng.packet(frame(0, 300))
    at = g.pages(1) * ng.PAGE
    cuts = [0, *range(44, len(one)), len(one)]
    ranges = [g.gpa(one[a:b], at + a) for a, b in zip(cuts, cuts[1:]) if a != b]
    tids.append(g.rndis(b"", ranges, 0))
    assert ng.until(lambda: h.stats()["queues"][0]["tx_deferred"] == 3) and g.ch.pending()
    assert g.ch.read(0.1) is None
    assert h.violations() == {"tx.align": 1, "tx.ranges": 1}
    assert h.cmd("room", frames=1)["ok"] and len(h.taken(1)) == 1
    assert h.cmd("room", frames=100)["ok"]
    assert [g.completion(t) for t in tids] == [ng.SUCCESS] * 4
    assert h.violations() == {"tx.align": 3, "tx.ranges": 1}
    h.end("tx.align", "tx.ranges")


def test_initialize_of_another_version(nichost):
    h = nichost()
    g = h.guest().handshake()
    assert g.control(2, struct.pack("<3I", 2, 0, 0x4000))[0] == 0x80000002
    h.end("rndis.field")


def test_query_before_initialize(nichost):
    h = nichost()
    assert h.guest().handshake().query(ng.OID_MAC)[0] == 0
    h.end("rndis.order")


def test_frame_before_initialize(nichost):
    h = nichost()
    g = h.guest().handshake()
    assert g.completion(g.section_send(0, [ng.packet(frame())])) == ng.SUCCESS
    h.end("rndis.order")


def test_message_in_pages(nichost):
    """What is not RNDIS travels in the ring itself."""
    h = nichost()
    g = h.guest().up()
    g.ch.send(struct.pack("<3I", 133, 1, 1) + bytes(28), 5, 1, ng.GPA,
              struct.pack("<2I", 0, 1) + g.gpa(bytes(8)))
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end("nvsp.packet-type")


@pytest.mark.parametrize("option, rule", [
    ("lso4=0", "tx.lso-not-offered"), ("lso4=2000", "tx.lso-size")])
def test_segmentation(nichost, option, rule):
    h = nichost(option)
    g = h.guest().up()
    raw, v = lso(tcp4(bytes(4000)), 1000)
    g.completion(g.rndis(ng.packet(raw, ng.ppi(2, v)), channel=0))
    h.end(rule)


def test_more_than_one_send_may_have(nichost):
    h = nichost("max-transfer=1000")
    g = h.guest().up()
    one = ng.packet(frame(0, 1508))
    assert g.completion(g.section_send(0, [one])) == ng.SUCCESS
    assert "tx.max-transfer" not in h.violations()
    assert g.completion(g.section_send(0, [one, one])) == ng.SUCCESS
    h.end("tx.max-transfer")


# --- all of them ------------------------------------------------------------------------------

LAYERS = "channel|gpadl|mem|monitor|nvsp|ring|rndis|rss|rx|tx|vmbus|vmu"
RULE = re.compile(rf'"((?:{LAYERS})\.[a-z0-9-]+)"')


def rules():
    return sorted({r for p in (ROOT / "host").rglob("*.c") for r in RULE.findall(p.read_text())})


def test_every_rule_is_broken_somewhere():
    tests = "".join(p.read_text() for d in ("host", "e2e", "peer")
                    for p in (ROOT / "test" / d).rglob("*.py"))
    assert [r for r in rules() if f'"{r}"' not in tests] == []


def test_every_rule_is_explained():
    """A family, as "tx.csum-...", stands for its members."""
    text = (ROOT / "doc" / "hv_host.rst").read_text()
    named = set(re.findall(rf"``((?:{LAYERS})\.[a-z0-9-]+(?:\.\.\.)?)``", text))
    families = tuple(n[:-3] for n in named if n.endswith("..."))
    assert [r for r in rules() if r not in named and not r.startswith(families)] == []
    assert [n for n in named if not n.endswith("...") and n not in rules()] == []
