# SPDX-License-Identifier: BSD-3-Clause
"""Options of dpdk-testpmd: with each the traffic is right to the byte, or it says why not."""
import re
import signal

import pytest

import capture
from console import Console
from hv import Host, Testpmd, until
from test_vlan import Wire, is_tagged, mixed, tagged, untagged  # noqa: F401 (mixed is a fixture)

PEER = bytes.fromhex("020000000077")


def peer(data):
    return PEER + bytes.fromhex(capture.NIC_MAC.replace(":", "")) + data[12:]


# Options, the forward mode, and what becomes of a frame.
WORKS = [
    ("--burst=1 --rxd=64 --txd=64 --txfreet=1 --txrst=1 --rxfreet=1", "macswap", capture.swapped),
    ("--burst=512 --rxd=4096 --txd=4096 --txfreet=4000 --txrst=32 --rxfreet=64 --txpt=1 --rxpt=8",
     "macswap", capture.swapped),
    ("--txd=65 --txfreet=61 --rxd=65 --no-lsc-interrupt --no-rmv-interrupt", "macswap",
     capture.swapped),
    ("--eth-peer=0,02:00:00:00:00:77", "mac", peer),
    ("--max-pkt-len=1522 --hot-plug", "macswap", capture.swapped),
    ("--mp-alloc=xbuf", "macswap", capture.swapped),
    # The first of a list is what frames are received in.
    ("--mbuf-size=2176,400 --record-burst-stats", "macswap", capture.swapped),
    ("--mbuf-size=400,2176 --enable-scatter --tx-offloads=0x8000", "macswap", capture.swapped),
]


def tag0(data):
    """testpmd tells the driver to insert a tag, of which it was told nothing."""
    return tagged(0)(data)


def two_tags(data):
    """The same with two; the inner one is what stood in the mbuf, where the driver had put it."""
    inner = int.from_bytes(data[14:16], "big") if is_tagged(data) else 0
    return tag0(tagged(inner)(data))


# Offloads of either direction, one at a time, by name and bit; what becomes of a frame that is
# swapped. RSS_HASH needs RSS: two queues.
OFFLOADS = [
    (("VLAN_STRIP", 0x1), ("IPV4_CKSUM", 0x2), untagged),
    (("IPV4_CKSUM", 0x2), ("UDP_CKSUM", 0x4), bytes),
    (("UDP_CKSUM", 0x4), ("TCP_CKSUM", 0x8), bytes),
    (("TCP_CKSUM", 0x8), ("TCP_TSO", 0x20), bytes),
    (("TCP_LRO", 0x10), ("VLAN_INSERT", 0x1), tag0),
    (("SCATTER", 0x2000), ("QINQ_INSERT", 0x100), two_tags),
    (("RSS_HASH", 0x80000), ("MULTI_SEGS", 0x8000), bytes),
    ((None, 0), ("MBUF_FAST_FREE", 0x10000), bytes),
]
# Options that are refused, and what is said.
REFUSED = [
    ("--rxd=63", r"nb_rx_desc\(=63\), should be: <= 4096, >= 64"),
    ("--txd=4097", r"nb_tx_desc\(=4097\), should be: <= 4096, >= 64"),
    ("--txd=64 --txfreet=61", "tx_free_thresh 61 must be below 61"),
    ("--rx-offloads=0x20000", "0x20000"),  # TIMESTAMP
    ("--tx-offloads=0x10", "0x10"),  # SCTP_CKSUM
    ("--max-pkt-len=9217 --mbuf-size=10240", "(?i)max.*pkt|mtu"),
    ("--mbuf-size=200", "(?i)room|size"),
]


@pytest.mark.parametrize("options, mode, becomes", WORKS)
def test_works(run, tmp, mixed, options, mode, becomes):  # noqa: F811
    wire = Wire(run, tmp, mixed, *options.split(), mode=mode)
    # A full queue makes testpmd wait, not drop.
    wire.app.do(f"set fwd {mode} retry", "set burst tx delay 1 retry 10000000")
    capture.check(mixed, wire.forward(), becomes, in_order=True)


@pytest.mark.parametrize("rx, tx, becomes", OFFLOADS)
def test_offloads(run, tmp, mixed, rx, tx, becomes):  # noqa: F811
    """What is asked for alone is what the port has."""
    queues = 2 if rx[0] == "RSS_HASH" else 1
    wire = Wire(run, tmp, mixed, f"--rx-offloads={rx[1]:#x}", f"--tx-offloads={tx[1]:#x}",
                nic="rsc=yes,", mode="macswap", queues=queues)
    for way, wanted in (("rx", rx[0]), ("tx", tx[0])):
        told = wire.app.do(f"show port 0 {way}_offload configuration")
        assert re.findall(r"Port : *([A-Z0-9_]+)\n", told + "\n") == [wanted] * bool(wanted), told
    capture.check(mixed, wire.forward(), lambda data: becomes(capture.swapped(data)),
                  in_order=queues == 1)


@pytest.mark.parametrize("options, says", REFUSED)
def test_refused(run, options, says):
    host = run(Host)
    app = run(Testpmd, host, *options.split())
    assert app.wait() != 0 and re.search(says, app.text), app.text
    app.forget()
    host.end()


@pytest.mark.parametrize("topology, gets", [
    ("loop", (300, 500, 700)), ("chained", (700, 300, 500))])
def test_topology(run, topology, gets):
    """Each NIC gives another number of frames: where they come out says where they went."""
    host = run(Host, nics=[f"port=gen:count={n},rate=5k,flows=8,start=command"
                           for n in (300, 500, 700)])
    app = run(Console, host, f"--port-topology={topology}", "--forward-mode=io")
    app.do("start")
    for n in range(3):
        host.command("start", nic=n)
    until(lambda: tuple(host.port(n)["received"] for n in range(3)) == gets, f"{gets} frames")
    app.quit()
    host.end()


def test_statistics_now_and_then(run):
    """--stats-period: without a prompt, statistics while it forwards."""
    host = run(Host, nics=["port=gen:rate=2k,verify=count"])
    app = run(Testpmd, host, "--forward-mode=macswap", "--stats-period=1")
    for _ in range(2):
        app.expect(r"RX-packets: [1-9]\d*")
    app.end(signal.SIGINT)
    host.end()


def test_no_link_interrupt(run):
    """--no-lsc-interrupt: nobody is told, but who asks hears how it is."""
    host = run(Host)
    app = run(Console, host, "--no-lsc-interrupt")
    for state in ("down", "up"):
        assert host.command("link", nic=0, state=state)["ok"]
        until(lambda s=state: app.info()["Link status"] == s, state)
    assert "link state change event" not in app.text
    app.quit()
    host.end()
