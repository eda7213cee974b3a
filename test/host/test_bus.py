# SPDX-License-Identifier: BSD-3-Clause
"""The host's bus: negotiation, GPADLs, channels, hostile messages."""
import json
import os
import pathlib
import struct
import subprocess
import time

import pytest
import vmu
from control import TIED, control, end_all, listens
from nicguest import until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))


class Host:
    def __init__(self, tmp_path, *args, env=None):
        self.path, self.json = tmp_path / "s", tmp_path / "j"
        self.proc = subprocess.Popen([*TIED, BUILD / "host" / "hv-host-echo", "--socket",
                                      self.path, "--json", self.json, "--nic", "x", *args],
                                     env=dict(os.environ, **(env or {})))
        end = time.monotonic() + 60
        while not listens(self):
            assert self.proc.poll() is None and time.monotonic() < end
            time.sleep(0.01)

    def end(self, *rules):
        """Stop it: exactly these rules were broken."""
        assert self.proc.poll() is None, "the host died"
        self.proc.terminate()
        status = self.proc.wait(30)
        assert set(json.loads(self.json.read_text())["violations"]) == set(rules)
        assert status == (3 if rules else 0)


@pytest.fixture
def host(tmp_path):
    started = []

    def start(*args, **kw):
        started.append(Host(tmp_path, *args, **kw))
        return started[-1]
    yield start
    end_all(started)


@pytest.mark.parametrize("v", [(2, 4), (3, 0), (4, 0), (4, 1), (5, 0), (5, 1), (5, 2), (5, 3)])
def test_version(host, v):
    h = host()
    g = vmu.Guest(h.path)
    assert g.contact(*v) == 1 and g.offers() == [1]
    h.end()


def test_version_refused(host):
    h = host("--vmbus-max", "4.1")
    g = vmu.Guest(h.path)
    assert g.contact(5, 3) is None and g.contact(4, 1) == 1
    h.end()


def ready(h):
    g = vmu.Guest(h.path)
    assert g.contact(5, 3) == 1 and g.offers() == [1]
    return g


SCATTERED = [0x100 + (i * 7) % 64 for i in range(64)]


def test_open_echo_reopen(host):
    h = host()
    g = ready(h)
    for _ in range(2):
        for i in range(64):
            g.mem[i * vmu.PAGE:(i + 1) * vmu.PAGE] = bytes(vmu.PAGE)
        assert g.gpadl(1, 0x10, SCATTERED) == 0
        assert g.open(1, 0x10, 32) == 0
        # A packet in the first data page of the ring, which is the list's second.
        at = (SCATTERED[1] - 0x100) * vmu.PAGE
        g.mem[at:at + 32] = struct.pack("<4HQQQ", 6, 2, 3, 0, 7, 0x1122334455667788, 0)
        struct.pack_into("<I", g.mem, 0, 32)
        back = (SCATTERED[32] - 0x100) * vmu.PAGE
        assert until(lambda: struct.unpack_from("<I", g.mem, back)[0] == 32)
        data = (SCATTERED[33] - 0x100) * vmu.PAGE
        assert struct.unpack_from("<QQ", g.mem, data + 8) == (7, 0x1122334455667788)
        g.post(struct.pack("<3I", 7, 0, 1))
        g.post(struct.pack("<4I", 11, 0, 1, 0x10))
        assert struct.unpack_from("<I", g.message(12), 8)[0] == 0x10
    g.post(struct.pack("<2I", 16, 0))
    g.message(17)
    h.end()


def test_gpadl_outside_memory(host):
    h = host()
    assert ready(h).gpadl(1, 0x10, [0x100, 0x999999]) != 0
    h.end("gpadl.pages")


def test_gpadl_too_many_pfns(host):
    h = host()
    assert ready(h).gpadl(1, 0x10, [0x100, 0x101, 0x102], count=2) != 0
    h.end("gpadl.too-many-pfns")


def test_teardown_of_open_ring_waits_for_close(host):
    h = host()
    g = ready(h)
    assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32) == 0
    g.post(struct.pack("<4I", 11, 0, 1, 0x10))
    assert not any(m[0] == 12 for m in g.msgs)
    g.post(struct.pack("<3I", 7, 0, 1))
    g.message(12)
    h.end("gpadl.in-use")


@pytest.mark.parametrize("msg, rule", [
    (struct.pack("<2I", 99, 0), "vmbus.unknown-message"),
    (struct.pack("<2I", 5, 0), "vmbus.short"),
    (struct.pack("<7I120x", 5, 0, 4000, 1, 1, 0, 1), "vmbus.unknown-relid"),
    (struct.pack("<7I120x", 5, 0, 1, 1, 77, 0, 1), "channel.open-ring"),
    (struct.pack("<3I", 7, 0, 1), "channel.close"),
    (struct.pack("<3I", 13, 0, 1), "channel.released"),
    (struct.pack("<4IQ", 9, 0, 0, 5, 1), "gpadl.body-unknown"),
    (struct.pack("<4I", 11, 0, 1, 5), "gpadl.unknown"),
])
def test_hostile_message(host, msg, rule):
    h = host()
    g = ready(h)
    assert g.post(msg) == 0
    h.end(rule)


def test_wrong_connection(host):
    h = host()
    assert ready(h).post(struct.pack("<2I", 3, 0), conn=9) == 18
    h.end("vmbus.connection-id")


def test_many_regions_and_overlap(host):
    h = host()
    g = vmu.Guest(h.path)
    for i in range(1100):
        assert g.mem_add(0x40000000 + i * 2 * vmu.PAGE, vmu.PAGE) == 0
    assert g.mem_add(0x40000000, 2 * vmu.PAGE) == 17
    assert g.mem_del(0x40000000, vmu.PAGE) == 0
    h.end("mem.add")


def test_truncated_memory(host):
    h = host()
    g = ready(h)
    assert g.gpadl(1, 0x10, SCATTERED) == 0 and g.open(1, 0x10, 32) == 0
    os.ftruncate(g.memfd, 0)
    assert until(lambda: control(h, cmd="violations")["violations"])
    h.end("mem.truncated")


def test_bad_magic_hangs_up_and_others_live(host):
    h = host("--nic", "y", "--nics-per-guest", "1")
    a, b = vmu.Guest(h.path), vmu.Guest(h.path)
    a.send(vmu.HELLO, magic=1)
    with pytest.raises(ConnectionError):
        a.wait(vmu.ACK)
    assert b.contact(5, 3) == 1 and len(b.offers()) == 1
    h.end("vmu.header")


def test_refusals_are_errors(host):
    """NTSTATUS of the class "error"; what Windows calls success is none."""
    h = host("--gpadl-limit", "1")
    g = ready(h)
    assert g.gpadl(1, 0x10, [0x999999]) == 0xC000000D
    assert g.gpadl(1, 0x11, list(range(0x100, 0x100 + 257))) == 0xC000009A
    h.end("gpadl.pages")


@pytest.mark.parametrize("v", [(2, 4), (5, 3)])
def test_rescinded_device_comes_back(host, v):
    h = host()
    g = vmu.Guest(h.path)
    assert g.contact(*v) == 1 and g.offers() == [1]
    g.msgs.clear()
    control(h, cmd="rescind", nic=0)
    assert struct.unpack_from("<I", g.message(2), 8)[0] == 1
    control(h, cmd="offer", nic=0)
    g.post(struct.pack("<3I", 13, 0, 1))
    assert struct.unpack_from("<H", g.message(1), 180)[0] == 0
    h.end()


def test_late_replies_hold_nothing_else_up(host):
    """A hypercall's result and other acknowledgements do not wait for control messages."""
    h = host("--reply-delay", "60000")
    g = vmu.Guest(h.path)
    assert g.post(struct.pack("<4I3Q", 14, 0, 0x50003, 0, 2, 0, 0), 4) == 0
    assert g.mem_add(0x40000000, vmu.PAGE) == 0
    h.end()
