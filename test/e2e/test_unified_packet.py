# SPDX-License-Identifier: BSD-3-Clause
"""Packet types: told by layers, to an application that asks, and to no other."""
import re

import pytest
from scapy.all import ARP, ICMP, IP, SCTP, TCP, UDP, Dot1AD, Dot1Q, Ether, IPOption, IPv6
from scapy.all import IPv6ExtHdrDestOpt, Raw

import capture
import vf
from console import Console
from hv import Host, until
from test_vlan import Wire

HEAD = Ether(src="02:00:00:00:00:01", dst=capture.NIC_MAC)
V4, V6 = IP(src="10.0.0.1", dst="10.0.0.2"), IPv6(src="fd00::1", dst="fd00::2")
# What DPDK calls the layers of a packet.
PACKETS = [
    (HEAD / V4 / TCP(), "L2_ETHER L3_IPV4 L4_TCP"),
    (HEAD / V4 / UDP(), "L2_ETHER L3_IPV4 L4_UDP"),
    (HEAD / V4 / SCTP(), "L2_ETHER L3_IPV4 L4_SCTP"),
    (HEAD / V4 / ICMP(), "L2_ETHER L3_IPV4"),
    (HEAD / IP(src="10.0.0.1", dst="10.0.0.2", options=[IPOption(b"\x01" * 4)]) / UDP(),
     "L2_ETHER L3_IPV4_EXT L4_UDP"),
    (HEAD / IP(src="10.0.0.1", dst="10.0.0.2", frag=10, proto=17), "L2_ETHER L3_IPV4 L4_FRAG"),
    (HEAD / V6 / TCP(), "L2_ETHER L3_IPV6 L4_TCP"),
    (HEAD / V6 / UDP(), "L2_ETHER L3_IPV6 L4_UDP"),
    (HEAD / ARP(), "L2_ETHER"),
    (HEAD / Dot1Q(vlan=5) / V4 / UDP(), "L2_ETHER_VLAN L3_IPV4 L4_UDP"),
    (HEAD / IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrDestOpt() / UDP(),
     "L2_ETHER L3_IPV6_EXT L4_UDP"),
    # DPDK 22.11 looks for L2_ETHER_MPLS and never finds it: the driver does not promise it.
    (Ether(src=HEAD.src, dst=HEAD.dst, type=0x8847) / Raw(b"\0\0\1\x40"), "L2_ETHER"),
    (HEAD / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V4 / UDP(), "L2_ETHER_QINQ L3_IPV4 L4_UDP"),
]


def types(run, tmp, *commands):
    """What the mbufs say: a list of layers for each packet."""
    frames = [(n, bytes(p / Raw(bytes(64)))) for n, (p, _) in enumerate(PACKETS)]
    wire = Wire(run, tmp, frames, mode="rxonly")
    wire.app.do(*commands, "set verbose 1", "start")
    wire.host.command("resume-rx", nic=0)
    until(lambda: wire.app.text.count("ol_flags:") == len(frames), "all packets printed")
    found = [re.search(r"hw ptype: ([\w ]+?) *- sw ptype|$", text)[1] or ""
             for text in wire.app.text.split("ol_flags:")[:-1]]
    wire.app.quit()
    wire.host.end()
    return found


def test_all(run, tmp):
    """testpmd turns them off at its start, unless told otherwise; then it wants them all."""
    assert types(run, tmp, "set port 0 ptype_mask 0xfff") == [t for _, t in PACKETS]


@pytest.mark.parametrize("mask", [0x00f, 0x0f0, 0xf00, 0x0ff, 0xf0f, 0xff0])
def test_some(run, tmp, mask):
    """The layers asked for, and no others."""
    wanted = [f"L{n + 2}" for n in range(3) if mask >> 4 * n & 0xf]
    found = [{layer for layer in t.split() if not layer.endswith("UNKNOWN")}
             for t in types(run, tmp, f"set port 0 ptype_mask {mask:#05x}")]
    assert found == [{layer for layer in t.split() if layer[:2] in wanted} for _, t in PACKETS]


@pytest.mark.parametrize("commands", [(), ("show port 0 ptypes",),
                                      ("set port 0 ptype_mask 0xfff",
                                       "set port 0 ptype_mask 0")])
def test_none(run, tmp, commands):
    """An application that has said it wants none gets none, also if it asks which there are."""
    assert set(types(run, tmp, *commands)) <= {"", "L2_UNKNOWN", "UNKNOWN", "L2_UNKNOWN L3_UNKNOWN"}


def test_vf(run, tmp):
    """What can be told is listed, and told of a VF's frames too, whatever its driver tells."""
    wire = f"socket-abstract=no,socket={tmp}/vf.sock"
    host = run(Host, nics=[f"vf-leg=(dpdk:net_memif0,role=server,{wire}),"
                           "port=gen:count=3,start=command,verify=no"])
    one = vf.Vf(tmp, inner="net_memif0")
    app = run(Console, host, "--forward-mode=rxonly",
              eal=["--vdev", f"net_memif0,role=client,{wire}", *one.by_application()])
    vf.to_vf(host)
    listed = app.do("show port 0 ptypes").split()
    assert {layer for _, t in PACKETS for layer in t.split()} <= set(listed)
    app.do("set port 0 ptype_mask 0x0ff", "set verbose 1", "start")
    host.command("start", nic=0)
    until(lambda: app.text.count("ol_flags:") == 3, "all packets printed")
    assert app.text.count("hw ptype: L2_ETHER L3_IPV4 ") == 3
    vf.remove(host, app)
    app.quit()
    host.end()
