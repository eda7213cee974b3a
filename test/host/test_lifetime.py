# SPDX-License-Identifier: BSD-3-Clause
"""Nothing outlives what it belongs to: memory, channels, descriptors of a hostile guest."""
import mmap
import os
import signal
import socket
import struct
import time

import nicguest as ng
import pytest
import vmu
from test_bus import SCATTERED, host, ready  # noqa: F401 (a fixture)
from control import control
from test_processes import huge_dir  # noqa: F401 (a fixture)

# Freed memory is neither kept nor left as it was: what is used after its end is noticed.
PERTURB = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=1"}


class Stopped:
    """The host stands still: what happens meanwhile reaches it in one batch."""

    def __init__(self, proc):
        self.proc = proc

    def __enter__(self):
        self.proc.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.proc.pid, os.WSTOPPED | os.WNOWAIT)

    def __exit__(self, *_):
        self.proc.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("kind", [101, 104])
def test_buffer_of_another_channel(nichost, kind):
    """A buffer's GPADL belongs to the channel, or it could be taken away under it."""
    h = nichost("queues=8", "--nic", "queues=8")
    g = h.guest()
    other = [struct.unpack_from("<I", m, 184)[0] for m in g.g.msgs if m[0] == 1]
    g.init()
    g.config()
    page = g.pages(64)
    pfns = [ng.GPA_BASE // ng.PAGE + page + i for i in range(64)]
    assert g.g.gpadl(3 - g.relid, 0x900, pfns) == 0, other
    g.nvsp(kind, 0x900, 0xCAFE)
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end("nvsp.buffer-gpadl")


@pytest.mark.parametrize("kind", [101, 104])
def test_ring_as_buffer(nichost, kind):
    """One GPADL serves as rings or as one buffer."""
    h = nichost()
    g = h.guest()
    g.init()
    g.config()
    g.nvsp(kind, g.ch.gpadl, 0xCAFE)
    assert ng.until(lambda: h.stats()["queues"][0]["failed"])
    h.end("nvsp.buffer-gpadl")


def test_buffer_as_ring(nichost):
    h = nichost()
    g = h.guest().up()
    r = g.ask(133, 1, 1)
    assert r.u32(8) == 1
    offer = g.g.message(1)
    relid = struct.unpack_from("<I", offer, 184)[0]
    assert g.g.open(relid, 0x102, 16) != 0
    h.end("channel.open-ring")


def test_teardown_of_a_buffer_in_use_waits(nichost):
    h = nichost("hold-rx=yes")
    g = h.guest().up()
    g.g.post(struct.pack("<4I", 11, 0, g.relid, 0x102))
    for i in range(20):
        h.inject(b"\xff" * 60)
    assert h.cmd("resume-rx")["ok"]
    assert len(g.frames(20)) == 20
    assert not any(m[0] == 12 for m in g.g.msgs)
    g.g.post(struct.pack("<3I", 7, 0, g.relid))
    g.g.message(12)
    h.end("gpadl.in-use")


def test_released_before_it_is_answered(host):  # noqa: F811
    """The answers are late, or do not come at all: the guest's pages are given back already."""
    h = host("--reply-delay", "100", "--unload-delay", "60000")
    g = ready(h)

    def mapped():
        with open(f"/proc/{h.proc.pid}/maps") as f:
            return sum("memfd:guest" in line for line in f)
    before = mapped()
    for end in ([struct.pack("<3I", 7, 0, 1), struct.pack("<4I", 11, 0, 1, 0x10)],
                [struct.pack("<2I", 16, 0)]):
        assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32) == 0
        assert mapped() >= before + len(SCATTERED) - 1
        for message in end:
            g.post(message)
        assert mapped() == before
    assert g.mem_del(0x100000, 256 * vmu.PAGE) == 0 and mapped() == 0
    h.end()


def test_doorbell_of_a_channel_that_ends(host):  # noqa: F811
    """The message that ends a channel and its doorbell come in one batch."""
    h = host("--no-monitor", "--wait", "event", env=PERTURB)
    g = vmu.Guest(h.path, features=1, keep_fds=True)
    assert g.contact(5, 3) == 1 and g.offers() == [1]
    assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32) == 0
    bell, = g.fds
    time.sleep(0.05)  # asleep
    with Stopped(h.proc):
        g.send(vmu.POST, struct.pack("<4I", g.conn, 1, 8, 0) + struct.pack("<2I", 16, 0))
        os.write(bell, struct.pack("<Q", 1))
    g.message(17)
    os.close(bell)
    h.end()


def test_truncated_memory_of_a_guest_that_leaves(host, capfd):  # noqa: F811
    """The fault is noticed when the guest is gone: it is reported, and as that guest's."""
    h = host("--wait", "event", env=PERTURB)
    g = ready(h)
    assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32) == 0
    time.sleep(0.05)  # asleep: the next thing that happens is the hang-up
    os.ftruncate(g.memfd, 0)
    g.sock.close()
    assert ng.until(lambda: control(h, cmd="stats")["stats"]["guests"] == 0)
    h.end("mem.truncated")
    assert "violation mem.truncated: guest 1:" in capfd.readouterr().err


def test_control_client_that_does_not_read(nichost):
    """It gets its replies when it reads; nobody waits for it."""
    h = nichost()
    n = 2000
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(f"{h.path}.ctl")
        s.sendall(b'{"cmd": "stats"}\n' * n)
        for _ in range(3):
            assert h.cmd("version")["ok"]
        with s.makefile("rb") as f:
            for _ in range(n):
                assert f.readline().startswith(b'{"stats"')
    h.end()


@pytest.mark.parametrize("mode", ["poll", "event"])
def test_reset(nichost, mode):
    """Once RESET is answered, the guest's memory is its own again: nobody writes or reads there."""
    h = nichost("queues=8", "--wait", mode)
    g = h.guest().up()
    g.subchannels(2)
    for fill in (0, 0xFF):
        h.inject(b"\xff" * 60)
        assert len(g.frames(1)) == 1
        assert g.g.acked(vmu.RESET) == 0
        size = len(g.g.mem)
        g.g.mem[:] = bytes([fill]) * size
        assert h.stats()["state"] == "closed"
        time.sleep(0.05)
        assert g.g.mem[:] == bytes([fill]) * size
        g.g.mem[:] = bytes(size)
        g.g.conn, g.next_page, g.next_gpadl = 1, 0, 0x100
        g.g.msgs.clear()
        g.g.conns.clear()
        assert g.g.contact(5, 3) == 1
        g.relid = g.g.offers()[0]
        g.ch = g.channel(g.relid)
        del g.ctl
        g.up()
    h.end()


def test_truncated_hugepages(host, huge_dir):  # noqa: F811
    """A GPADL of hugepages that are scattered is mapped a second time; the file is cut."""
    h = host("--wait", "event")
    g = vmu.Guest(h.path)
    fd = os.open(huge_dir / "mem", os.O_RDWR | os.O_CREAT)
    size = 2 << 20
    os.ftruncate(fd, 4 * size)
    mem = mmap.mmap(fd, 4 * size)
    mem[:] = bytes(4 * size)
    mem[size + 64] = 1  # the ring's feature bit
    base = 0x40000000
    assert g.mem_add(base, 4 * size, fd=fd) == 0
    assert g.contact(5, 3) == 1 and g.offers() == [1]
    # Two whole hugepages, the second one first.
    pfns = [base // vmu.PAGE + (1024 - 512 + i if i < 512 else i - 512) for i in range(1024)]
    assert g.gpadl(1, 0x10, pfns) == 0
    assert g.open(1, 0x10, 512) == 0
    mem.close()
    os.ftruncate(fd, 0)
    os.close(fd)
    assert ng.until(lambda: "mem.truncated" in control(h, cmd="violations")["violations"])
    h.end("mem.truncated")


def test_pages_scattered_inside_hugepages(host, huge_dir):  # noqa: F811
    """Right of the guest to ask, beyond what this host can map: refused, no rule broken."""
    h = host()
    g = vmu.Guest(h.path)
    with open(huge_dir / "mem", "wb+") as f:
        os.ftruncate(f.fileno(), 2 << 20)
        assert g.mem_add(0x40000000, 2 << 20, fd=f.fileno()) == 0
        assert g.contact(5, 3) == 1 and g.offers() == [1]
        assert g.gpadl(1, 0x10, [0x40003, 0x40001]) == 0xC000009A
        assert g.gpadl(1, 0x11, [0x40001, 0x40002, 0x40003]) == 0
    h.end()
