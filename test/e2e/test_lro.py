# SPDX-License-Identifier: BSD-3-Clause
"""LRO: what the host coalesced (RSC) is one packet, in a chain of mbufs where it has to be."""
import re

import pytest

import vf
from console import Console, cycle
from hv import Host, until

COUNT = 400
LRO = "--rx-offloads=0x10"  # RTE_ETH_RX_OFFLOAD_TCP_LRO
ROOM = ["--no-huge", "-m", "512", "--no-shconf"]


def gen(size, pieces, nic="", count=COUNT):
    return (f"queues=2,rsc=yes,{nic}port=gen:count={count},rate=20k,proto=tcp,ipv6=50,size={size},"
            f"rsc={pieces},start=command")


def offload(host):
    return host.command("offload", nic=0)["offload"]


@pytest.mark.parametrize("size, pieces, mbuf", [("1000-1514", 3, 2176), ("9014", 7, 2176),
                                                ("9014", 32, 1152), ("2000", 2, 384)])
def test_coalesced(run, size, pieces, mbuf):
    """Every byte comes back, however many pieces and mbufs a packet has: for all of them a transmit
    queue has descriptors, since testpmd drops what finds none.
    """
    host = run(Host, nics=[gen(size, pieces) + ",expect=return"])
    app = run(Console, host, LRO, "--forward-mode=macswap", f"--mbuf-size={mbuf}",
              "--max-pkt-len=9014", "--enable-scatter", "--tx-offloads=0x8000", "--txd=4096",
              queues=2, memory=ROOM)
    assert offload(host)["rsc4"] and offload(host)["rsc6"]
    cycle(host, app, COUNT)
    nic = host.stats()["nics"][0]
    assert nic["rx_no_rsc"] == 0
    x = app.xstats()
    assert x["invalid_rsc"] == 0 and x["rx_q0_packets"] + x["rx_q1_packets"] == COUNT
    app.quit()
    host.end()


def test_mbuf(run):
    """The flag, and the size of the segments that were coalesced."""
    host = run(Host, nics=[gen(1254, 3, count=6) + ",verify=no"])
    app = run(Console, host, LRO, "--forward-mode=rxonly")
    app.do("set verbose 1", "start")
    host.command("start", nic=0)
    until(lambda: app.text.count("ol_flags:") == 6, "all packets printed")
    app.do("stop")  # the last to its end
    assert app.text.count("RTE_MBUF_F_RX_LRO") == 6
    # 54 bytes of headers over IPv4, 74 over IPv6.
    assert re.findall(r"length=(\d+)", app.text) == ["1254"] * 6
    app.quit()
    host.end()


def test_only_where_asked(run):
    """The host coalesces while a port with LRO runs, and never without."""
    host = run(Host, nics=[gen(600, 2) + ",verify=count"])
    app = run(Console, host, "--forward-mode=macswap")
    assert "TCP_LRO" in app.do("show port 0 rx_offload capabilities")
    assert not offload(host)["rsc4"]
    app.restart("port config 0 rx_offload tcp_lro on")
    assert offload(host)["rsc4"] and offload(host)["rsc6"]
    app.restart("port config 0 rx_offload tcp_lro off")
    assert not offload(host)["rsc4"]
    host.command("start", nic=0)
    until(lambda: host.stats()["nics"][0]["rx_no_rsc"] == 2 * COUNT, "the host refuses pieces")
    app.quit()
    host.end()


@pytest.mark.parametrize("most, coalesces", [(65535, True), (9000, False)])
def test_most(run, most, coalesces):
    """The host takes no limit: where the application has one, each segment is a packet."""
    host = run(Host, nics=["rsc=yes,port=sink"])
    app = run(Console, host, LRO, f"--max-lro-pkt-size={most}")
    assert offload(host)["rsc4"] == offload(host)["rsc6"] == coalesces
    assert (f"limit of {most} bytes" in app.text) != coalesces
    app.quit()
    host.end()


def test_vf(run, tmp):
    """A VF has another limit, and another least one."""
    host = run(Host, nics=["rsc=yes,port=sink"])
    app = run(Console, host, LRO, eal=vf.Vf(tmp).by_application())
    vf.to_vf(host)
    app.quit()
    host.end()


@pytest.mark.parametrize("nic", ["", "rsc=yes,nvsp-max=6,"])
def test_not_offered(run, nic):
    host = run(Host, nics=[f"{nic}port=sink"])
    app = run(Console, host)
    assert "TCP_LRO" not in app.do("show port 0 rx_offload capabilities")
    app.quit()
    host.end()
