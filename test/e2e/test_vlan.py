# SPDX-License-Identifier: BSD-3-Clause
"""VLAN tags: stripped or left, inserted, two of them; the host carries the outer one apart."""
import re

import pytest

import capture
from console import Console
from hv import Host, until

FRAMES = 500
QUEUES = 2


def is_tagged(data):
    return data[12:14] == b"\x81\x00"


def untagged(data):
    """Without the outer 802.1Q tag."""
    return data[:12] + data[16:] if is_tagged(data) else data


def tagged(tci):
    return lambda data: data[:12] + b"\x81\x00" + tci.to_bytes(2, "big") + data[12:]


@pytest.fixture(scope="module")
def mixed():
    """A capture in which no two frames become equal without their tag, up to the MTU's."""
    found, known = [], set()
    for flow, data in capture.make(count=2 * FRAMES, seed=8021):
        if untagged(data) not in known:
            known.add(untagged(data))
            found.append((flow, data))
    return found[:FRAMES]


class Wire:
    """hv-host between two capture files, and a console whose guest forwards from one to the other.

    Frames are kept back until the console is ready.
    """

    def __init__(self, run, tmp, frames, *args, nic="", mode="io", queues=1, **more):
        self.sink = tmp / "out.pcap"
        capture.write(tmp / "in.pcap", frames)
        self.frames = frames
        self.count = len(frames)
        self.host = run(Host, nics=[f"{nic}hold-rx=yes,port=dpdk:net_pcap0,"
                                    f"rx_pcap={tmp}/in.pcap,tx_pcap={self.sink}"])
        self.app = run(Console, self.host, f"--forward-mode={mode}", *args, queues=queues,
                       **more)

    def pass_all(self):
        """Every frame goes to the guest and comes back."""
        self.app.do("start")
        self.host.command("resume-rx", nic=0)
        until(lambda: self.host.port()["from_guest_frames"] >= self.count, "all frames back")

    def forward(self):
        """What comes out."""
        self.pass_all()
        return self.end()

    def end(self):
        self.app.quit()
        self.host.end()
        return capture.read(self.sink)


@pytest.mark.parametrize("args", [("--enable-hw-vlan-strip",), ()])
def test_strip(run, tmp, mixed, args):
    """Stripped, the outer 802.1Q tag is not in the packet; else it is where it was."""
    wire = Wire(run, tmp, mixed, *args, queues=QUEUES)
    out = wire.forward()
    capture.check(mixed, out, untagged if args else lambda data: data)


def test_strip_while_running(run, tmp, mixed):
    wire = Wire(run, tmp, mixed)
    wire.app.do("vlan set strip on 0")
    assert "strip on" in wire.app.do("show port info 0")
    capture.check(mixed, wire.forward(), untagged, in_order=True)


def test_strip_off_while_running(run, tmp, mixed):
    wire = Wire(run, tmp, mixed, "--enable-hw-vlan-strip")
    wire.app.do("vlan set strip off 0")
    assert "strip off" in wire.app.do("show port info 0")
    capture.check(mixed, wire.forward(), lambda data: data, in_order=True)


def test_strip_survives_restart(run, tmp, mixed):
    wire = Wire(run, tmp, mixed)
    wire.app.do("vlan set strip on 0")
    wire.app.restart("port config all rxq 2", "port config all txq 2")
    assert "strip on" in wire.app.do("show port info 0")
    capture.check(mixed, wire.forward(), untagged)


def test_tag_is_in_the_mbuf(run, tmp, mixed):
    """Stripped, it stands beside the packet: identifier, priority and all."""
    wire = Wire(run, tmp, mixed, "--enable-hw-vlan-strip", mode="rxonly")
    wire.app.do("set verbose 1", "start")
    wire.host.command("resume-rx", nic=0)
    until(lambda: wire.app.text.count("ol_flags:") >= FRAMES, "all packets printed")
    tags = [int.from_bytes(d[14:16], "big") for _, d in mixed if is_tagged(d)]
    assert tags
    assert [int(t, 16) for t in re.findall(r"VLAN tci=0x(\w+)", wire.app.text)] == tags
    wire.app.quit()
    wire.host.end()


@pytest.mark.parametrize("nic", ["", "vlan-strip=no,"])
def test_insert(run, tmp, mixed, nic):
    """A tag is put in front of what is there: over one, two, or none."""
    wire = Wire(run, tmp, mixed, nic=nic, mode="macswap")
    wire.app.restart("tx_vlan set 0 0x123")
    out = wire.forward()
    insert = tagged(0x123)
    capture.check(mixed, out, lambda data: insert(capture.swapped(data)), in_order=True)
    vlan = sum(q["tx_vlan"] for q in wire.host.result()["nics"][0]["queues"])
    assert vlan == len(mixed)


def test_insert_two(run, tmp, mixed):
    """QinQ: the outer tag goes beside the frame, the inner one in it."""
    wire = Wire(run, tmp, mixed, mode="macswap")
    wire.app.restart("tx_vlan set 0 0x123 0x456")
    inner, outer = tagged(0x123), tagged(0x456)
    capture.check(mixed, wire.forward(),
                  lambda data: outer(inner(capture.swapped(data))), in_order=True)


def test_exchange(run, tmp, mixed):
    """Stripped on the way in, another tag on the way out."""
    wire = Wire(run, tmp, mixed, "--enable-hw-vlan-strip", mode="macswap")
    wire.app.restart("tx_vlan set 0 0xfff")
    insert = tagged(0xFFF)
    capture.check(mixed, wire.forward(),
                  lambda data: insert(untagged(capture.swapped(data))), in_order=True)


def test_not_offered(run):
    """What the NIC cannot do is refused, not ignored."""
    host = run(Host)
    app = run(Console, host)
    app.do("vlan set filter on 0")
    assert "filter off" in app.do("show port info 0")
    app.quit()
    host.end()
