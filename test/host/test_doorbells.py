# SPDX-License-Identifier: BSD-3-Clause
"""Signals a guest owes, and those it must not send; the host's interrupt mask."""
import struct
import time

import nicguest as ng
import pytest
import vmu
from control import control
from test_bus import SCATTERED, host, ready  # noqa: F401 (a fixture)

EVENT = ("--wait", "event")


def keepalive(g):
    """A message that is answered, without waiting."""
    msg = struct.pack("<4I", 8, 12, 77, 0)[:12]
    g.rndis(msg)


def test_missing_doorbell(nichost):
    """A guest that never signals: nothing is read before the grace, and that is a broken rule."""
    h = nichost("queues=8", *EVENT, "--signal-grace", "50")
    g = h.guest().up()
    g.ch.rings = False

    def caught():
        """A host that happens to be awake needs no signal: once more."""
        keepalive(g)
        assert ng.until(lambda: not g.ch.pending())
        while (p := g.ch.read(0.02)) is not None:
            if p.type == ng.XFER:
                g.ch.complete(p)
        return h.violations()
    assert ng.until(caught)
    h.end("ring.signal-missing")


def test_no_doorbell_no_service(nichost):
    """As a real host, if asked to be one."""
    h = nichost("queues=8", *EVENT, "--signal-grace", "0")
    g = h.guest().up()
    assert g.ch.idle()
    time.sleep(0.02)  # the host falls asleep
    g.ch.rings = False

    def left():
        """A host that happens to be awake needs no signal: once more."""
        while (p := g.ch.read(0.02)) is not None:
            if p.type == ng.XFER:
                g.ch.complete(p)
        keepalive(g)
        if ng.until(lambda: not g.ch.pending(), 0.5):
            return False
        # It runs: one of these turns would have read it.
        return h.stats() and h.stats() and g.ch.pending()
    assert ng.until(left)
    g.g.signal(g.relid)
    assert ng.until(lambda: not g.ch.pending())
    h.end()


def test_late_doorbell(nichost):
    """A thread that comes to its signal late has done nothing wrong."""
    h = nichost("queues=8", *EVENT)
    g = h.guest().up()
    g.ch.late = 0.01
    for _ in range(10):
        time.sleep(0.01)
        keepalive(g)
        while (p := g.ch.read(0.05)) is not None:
            if p.type == ng.XFER:
                g.ch.complete(p)
    h.end()


@pytest.mark.parametrize("mode", [("--wait", "poll"), EVENT])
def test_superfluous_doorbells(nichost, mode):
    """Sleeping often does not explain signals that nothing was sent with, but for the free one."""
    h = nichost("queues=8", *mode)
    g = h.guest().up()
    time.sleep(0.2)
    # More than packets were sent before, each of which may have explained one.
    for _ in range(40):
        g.g.signal(g.relid)
    assert ng.until(lambda: h.stats()["queues"][0]["superfluous"] >= 10)
    assert ng.until(lambda: h.violations())
    h.end("ring.signal-superfluous")


def test_free_doorbell(host):  # noqa: F811
    """Without a monitor a guest learns by a doorbell what that unmasks; by one."""
    h = host("--no-monitor", "--wait", "poll")
    g = ready(h)
    assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32) == 0
    assert g.acked(vmu.SIGNAL, struct.pack("<I2H", g.conns[1], 0, 0)) == 0
    assert not control(h, cmd="violations")["violations"]
    g.signal(1)
    assert ng.until(lambda: control(h, cmd="violations")["violations"])
    h.end("ring.signal-superfluous")


def test_superfluous_while_the_host_waits_for_room(nichost):
    """Neither does a full ring explain any number of signals."""
    h = nichost("ranges=1")
    g = h.guest(pages=4096).up(recv=1024)
    h.inject(bytes(60), count=2000)
    assert ng.until(lambda: g.ch.words[g.ch.inn // 4 + 3])
    for _ in range(60):
        g.g.signal(g.relid)
    assert ng.until(lambda: h.stats()["queues"][0]["superfluous"] >= 20)
    assert ng.until(lambda: h.violations())
    h.end("ring.signal-superfluous")


def blocked(nichost, *grace):
    """A host that waits for room, and a guest that frees all of it and never signals."""
    h = nichost("ranges=1", *EVENT, *grace)
    g = h.guest(pages=4096).up(recv=1024)
    h.inject(bytes(60), count=2000)
    assert ng.until(lambda: g.ch.words[g.ch.inn // 4 + 3])
    assert h.stats()  # behind its look for room that came before it asked: that needs no signal
    g.ch.rings = False
    got = 0
    while g.ch.read(0.5):
        got += 1
    return h, g, got


def test_room_without_a_signal(nichost):
    """The host had to look for itself, and says so."""
    h, g, got = blocked(nichost)  # 5 s: what is signalled shall not come too late
    assert got > 100
    assert ng.until(lambda: h.violations())
    h.end("ring.signal-room")


def test_no_signal_no_frames(nichost):
    """As a real host: what waits for room waits for the signal."""
    h, g, got = blocked(nichost, "--signal-grace", "0")
    assert got < 2000 and h.stats()["port"]["waiting"] and g.ch.read(0.5) is None
    g.g.signal(g.relid)
    assert g.ch.read() is not None
    h.end()


def test_ring_headers_at_open(host):  # noqa: F811
    """The host masks its ring, waits for no room, and says that it looks at who does."""
    h = host("--wait", "poll")
    g = ready(h)
    pages, out, inn = [0x100 + i for i in range(8)], 0, 4 * vmu.PAGE
    struct.pack_into("<4I", g.mem, out, 0, 0, 0, 0)
    struct.pack_into("<4I", g.mem, inn, 0, 0, 1, 0x800)
    struct.pack_into("<I", g.mem, inn + 64, 0)
    assert g.gpadl(1, 0x10, pages) == 0 and g.open(1, 0x10, 4) == 0
    assert struct.unpack_from("<4I", g.mem, out) == (0, 0, 1, 0)
    assert struct.unpack_from("<4I", g.mem, inn) == (0, 0, 1, 0)
    assert struct.unpack_from("<I", g.mem, inn + 64)[0] & 1
    h.end()


def test_eventfd_counts_every_signal(host):  # noqa: F811
    h = host("--no-monitor", "--wait", "poll")
    g = vmu.Guest(h.path, features=1, keep_fds=True)
    assert g.contact(5, 3) == 1 and g.offers() == [1]
    assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32) == 0
    with open(g.fds[0], "wb", buffering=0) as bell:
        bell.write(struct.pack("<Q", 5))
    assert ng.until(lambda: control(h, cmd="violations")["violations"])
    h.end("ring.signal-superfluous")


@pytest.mark.parametrize("mode, value, fatal", [
    (("--wait", "poll"), 0, False), (EVENT, 1, True)])
def test_guest_writes_the_mask(nichost, mode, value, fatal):
    """The host's mask in the guest-to-host ring is the host's."""
    h = nichost("queues=8", *mode)
    g = h.guest().up()
    assert g.ch.idle()
    time.sleep(0.02)  # the host falls asleep, if it may

    def wrote():
        if g.ch.words[g.ch.out // 4 + 2] != value:
            g.ch.words[g.ch.out // 4 + 2] = value
        return h.violations()
    if fatal:
        assert ng.until(wrote)
    else:
        # It polls, and looks when it is told something; it leaves the mask alone.
        wrote()
        assert g.query(ng.OID_MAC)[0] == 0
        assert h.violations() == {"ring.mask": 1} and g.ch.words[g.ch.out // 4 + 2] == value
    assert ng.until(lambda: h.stats()["queues"][0]["failed"] == fatal)
    h.end("ring.mask")
