# SPDX-License-Identifier: BSD-3-Clause
"""Packet types: told by layers, to an application that asks, and to no other."""
import re

import pytest
from scapy.all import ARP, ICMP, IP, SCTP, TCP, UDP, Dot1AD, Dot1Q, Ether, IPOption, IPv6, Raw

import capture
from hv import until
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
    (HEAD / Dot1AD(vlan=5) / Dot1Q(vlan=6) / V4 / UDP(), "L2_ETHER_QINQ L3_IPV4 L4_UDP"),
]


def types(run, tmp, *commands):
    """What the mbufs say: a list of layers for each packet."""
    frames = [(n, bytes(p / Raw(bytes(64)))) for n, (p, _) in enumerate(PACKETS)]
    wire = Wire(run, tmp, frames, mode="rxonly")
    wire.app.do(*commands, "set verbose 1", "start")
    wire.host.command("resume-rx", nic=0)
    until(lambda: wire.app.text.count("ol_flags:") == len(frames), "all packets printed")
    found = re.findall(r"hw ptype: ([\w ]+?) *- sw ptype", wire.app.text)
    wire.app.quit()
    wire.host.end()
    return found


def test_all(run, tmp):
    """testpmd turns them off at its start, unless told otherwise; then it wants them all."""
    assert types(run, tmp, "set port 0 ptype_mask 0xfff") == [t for _, t in PACKETS]


def test_some(run, tmp):
    """Only the layers asked for."""
    layers = [" ".join(t.split()[:1]) for _, t in PACKETS]
    assert types(run, tmp, "set port 0 ptype_mask 0x00f") == layers


@pytest.mark.parametrize("commands", [(), ("show port 0 ptypes",),
                                      ("set port 0 ptype_mask 0xfff",
                                       "set port 0 ptype_mask 0")])
def test_none(run, tmp, commands):
    """An application that has said it wants none gets none, also if it asks which there are."""
    assert set(types(run, tmp, *commands)) <= {"", "L2_UNKNOWN", "UNKNOWN", "L2_UNKNOWN L3_UNKNOWN"}
