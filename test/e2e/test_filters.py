# SPDX-License-Identifier: BSD-3-Clause
"""Packet filters: what ethdev says is what the host has, whatever happens to the port."""
import re

import capture
from console import Console
from hv import Host, until

# NDIS packet filter bits.
DIRECTED, ALL_MULTICAST, BROADCAST, PROMISCUOUS = 0x1, 0x4, 0x8, 0x20
PLAIN = DIRECTED | BROADCAST
GROUP = "01:00:5E:00:00:0A"


def host_filter(host):
    return host.command("filter", nic=0)["filter"]


def survives(host, app, wanted):
    """A restart, another MTU, more queues, and a reset keep the filter; a stopped port has none."""
    assert host_filter(host) == wanted
    for between in ((), ("port config mtu 0 1600",), ("port config all rxq 4",
                                                      "port config all txq 4"), ("port reset 0",),
                    ("port config all rxq 1", "port config all txq 1")):
        app.do("port stop 0")
        assert host_filter(host) == 0
        app.do(*between, "port start 0")
        assert host_filter(host) == wanted, between


def test_promiscuous(run):
    host = run(Host)
    app = run(Console, host)
    assert "enabled" in app.info()["Promiscuous mode"]  # testpmd does this at its start
    survives(host, app, PROMISCUOUS)
    app.do("set promisc 0 off")
    survives(host, app, PLAIN)
    app.do("set promisc 0 on", "set allmulti 0 on", "set allmulti 0 off")
    assert host_filter(host) == PROMISCUOUS
    app.quit()
    host.end()


def test_allmulticast(run):
    host = run(Host)
    app = run(Console, host)
    app.do("set promisc 0 off", "set allmulti 0 on")
    survives(host, app, PLAIN | ALL_MULTICAST)
    app.do("set promisc 0 on", "set promisc 0 off")
    assert host_filter(host) == PLAIN | ALL_MULTICAST
    app.do("set allmulti 0 off")
    assert host_filter(host) == PLAIN
    app.quit()
    host.end()


def test_multicast_list(run):
    """The host has no list: one address means all groups, none means none."""
    host = run(Host)
    app = run(Console, host)
    app.do("set promisc 0 off", f"mcast_addr add 0 {GROUP}")
    survives(host, app, PLAIN | ALL_MULTICAST)
    app.do(f"mcast_addr remove 0 {GROUP}")
    assert host_filter(host) == PLAIN
    app.quit()
    host.end()


def test_frames(run, tmp):
    """A host that filters, as Windows: the frames that come are those that were asked for."""
    frames = [(0, bytes.fromhex(to.replace(":", "")) + bytes(6) + b"\x88\xb5" + bytes(46 + n))
              for n, to in enumerate((capture.NIC_MAC, "02:00:00:00:00:99", "FF:FF:FF:FF:FF:FF",
                                      GROUP))]
    capture.write(tmp / "in.pcap", frames)
    for settings, wanted in ((("set promisc 0 on",), [60, 61, 62, 63]),
                             (("set promisc 0 off",), [60, 62]),
                             (("set promisc 0 off", "set allmulti 0 on"), [60, 62, 63])):
        host = run(Host, nics=[f"filter=mac,hold-rx=yes,port=dpdk:net_pcap0,"
                               f"rx_pcap={tmp}/in.pcap,tx_pcap={tmp}/out.pcap"])
        app = run(Console, host, "--forward-mode=rxonly")
        app.do(*settings, "set verbose 1", "start")
        host.command("resume-rx", nic=0)
        until(lambda: host.stats()["nics"][0]["rx_filtered"] == len(frames) - len(wanted) and
              app.text.count("ol_flags:") >= len(wanted), "all frames")
        app.do("stop")
        assert [int(n) for n in re.findall(r"length=(\d+) ", app.text)] == wanted, settings
        app.quit()
        host.end()


def test_before_start(run):
    """What is set while the port is stopped is in force once it runs."""
    host = run(Host)
    app = run(Console, host)
    app.do("port stop 0", "set promisc 0 off", "set allmulti 0 on")
    assert host_filter(host) == 0
    app.do("port start 0")
    assert host_filter(host) == PLAIN | ALL_MULTICAST
    app.quit()
    host.end()
