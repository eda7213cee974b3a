# SPDX-License-Identifier: BSD-3-Clause
"""RSS: key, table and hash types reach the host, the spread follows them, restarts keep them."""
import re
import socket
import struct

import pytest

from console import Console, cycle, queues_of
from hv import Host, until
from test_queues import reta

FLOWS = 256
PER_FLOW = 10
COUNT = FLOWS * PER_FLOW
GEN = f"port=gen:count={COUNT},rate=100k,flows={FLOWS},start=command,expect=return"
DEFAULT_KEY = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b4"
                            "77cb2da38030f20c6a42b73bbeac01fa")
KEY = bytes(range(0x11, 0x11 + 40))
# NDIS: what the hash is made of.
TOEPLITZ, IPV4, TCP4, IPV6, TCP6, UDP4, UDP6 = 1, 0x100, 0x200, 0x400, 0x1000, 0x4000, 0x8000


def toeplitz(key, data):
    """The definition: the key's 32 bits at each set bit of the data."""
    bits = int.from_bytes(key, "big")
    value = 0
    for n in range(8 * len(data)):
        if data[n // 8] >> (7 - n % 8) & 1:
            value ^= bits >> (8 * len(key) - 32 - n) & 0xFFFFFFFF
    return value


def flow_bytes(flow, ports):
    """Addresses and ports of hv-host's IPv4 flows, as they enter the hash."""
    data = struct.pack(">II", 0xC6120000 + flow + 1, 0xC6130000 + 1)
    return data + (struct.pack(">HH", 1024 + flow * 13 % 48000, 50000 + flow % 1000)
                   if ports else b"")


def spread(key, queues, ports, table=None):
    """Frames that each queue gets of COUNT."""
    table = table or [i % queues for i in range(128)]
    counts = dict.fromkeys(range(queues), 0)
    for flow in range(FLOWS):
        counts[table[toeplitz(key, flow_bytes(flow, ports)) % len(table)]] += PER_FLOW
    return counts


def rss(host):
    return host.command("rss", nic=0)["rss"]


def test_vector():
    """Microsoft's: 66.9.149.187:2794 to 161.142.100.80:1766."""
    data = socket.inet_aton("66.9.149.187") + socket.inet_aton("161.142.100.80")
    assert toeplitz(DEFAULT_KEY, data) == 0x323E8FC2
    assert toeplitz(DEFAULT_KEY, data + struct.pack(">HH", 2794, 1766)) == 0x51CCC178


@pytest.mark.parametrize("proto, option, ports", [
    ("tcp", "--rss-ip", False), ("udp", "--rss-ip", False), ("udp", "--rss-udp", True)])
def test_spread(run, proto, option, ports):
    """Each queue gets exactly the flows that the hash function gives it."""
    host = run(Host, nics=[f"queues=8,{GEN},proto={proto}"])
    app = run(Console, host, option, "--forward-mode=macswap", queues=4)
    cycle(host, app, COUNT)
    assert queues_of(host) == spread(DEFAULT_KEY, 4, ports)
    assert bytes.fromhex(rss(host)["key"]) == DEFAULT_KEY
    xstats = app.xstats()
    assert {q: xstats[f"rx_q{q}_packets"] for q in range(4)} == queues_of(host)
    app.quit()
    host.end()


def test_key(run):
    """Another key, while the port runs: the host has it, and the spread follows."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--rss-udp", "--forward-mode=macswap", queues=4)
    assert DEFAULT_KEY.hex().upper() in app.do("show port 0 rss-hash key")
    app.do(f"port config 0 rss-hash-key ipv4-udp {KEY.hex()}")
    assert KEY.hex().upper() in app.do("show port 0 rss-hash key")
    assert bytes.fromhex(rss(host)["key"]) == KEY
    cycle(host, app, COUNT)
    assert queues_of(host) == spread(KEY, 4, True)
    # A key of another length is refused, and changes nothing.
    app.do(f"port config 0 rss-hash-key ipv4-udp {KEY[:20].hex()}")
    assert bytes.fromhex(rss(host)["key"]) == KEY
    app.quit()
    host.end()


def test_reta(run):
    """Another table, while the port runs."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--rss-udp", "--forward-mode=macswap", queues=4)
    table = [3, 1, 1, 3] * 32
    reta(app, [3, 1, 1, 3])
    assert rss(host)["table"] == table
    shown = app.do("show port 0 rss reta 128 (0xffffffffffffffff,0xffffffffffffffff)")
    assert re.findall(r"hash index=(\d+), queue=(\d+)", shown) == \
        [(str(i), str(q)) for i, q in enumerate(table)]
    cycle(host, app, COUNT)
    assert queues_of(host) == spread(DEFAULT_KEY, 4, True, table)
    # A queue that is not there is refused, and changes nothing.
    app.do("port config 0 rss reta (0,4)")
    assert rss(host)["table"] == table
    app.quit()
    host.end()


@pytest.mark.parametrize("entries", [16, 100, 256])
def test_reta_size(run, entries):
    """The host's size, whatever it is: by default, and set to the last entry."""
    host = run(Host, nics=[f"queues=8,rss-entries={entries},{GEN}"])
    app = run(Console, host, "--rss-udp", "--forward-mode=macswap", queues=4)
    assert app.info()["Redirection table size"] == str(entries)
    assert rss(host)["table"] == [i % 4 for i in range(entries)]
    reta(app, [3, 1, 2], entries)
    table = [[3, 1, 2][i % 3] for i in range(entries)]
    assert rss(host)["table"] == table
    shown = app.do(f"show port 0 rss reta {entries} "
                   f"({','.join(['0xffffffffffffffff'] * -(-entries // 64))})")
    assert [int(q) for q in re.findall(r", queue=(\d+)", shown)][:entries] == table
    cycle(host, app, COUNT)
    assert queues_of(host) == spread(DEFAULT_KEY, 4, True, table)
    app.quit()
    host.end()


def test_types(run):
    """The types of hash that ethdev knows become the host's, UDP too; none: all to queue 0."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", queues=4)
    for n, (name, wanted) in enumerate((("ip", IPV4 | IPV6), ("udp", UDP4 | UDP6),
                                        ("tcp", TCP4 | TCP6),
                                        ("all", IPV4 | IPV6 | UDP4 | UDP6 | TCP4 | TCP6))):
        app.do(f"port config all rss {name}")
        assert rss(host)["hash_info"] == wanted | TOEPLITZ, name
        cycle(host, app, COUNT, n * COUNT)
    app.do("port config all rss none")
    before = queues_of(host)
    cycle(host, app, COUNT, 4 * COUNT)
    after = queues_of(host)
    assert {q: after[q] - before[q] for q in after} == {0: COUNT, 1: 0, 2: 0, 3: 0}
    app.quit()
    host.end()


def test_restart(run):
    """Key, table and types survive a restart of the port and another MTU."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--rss-udp", "--forward-mode=macswap", queues=4)
    app.do(f"port config 0 rss-hash-key ipv4-udp {KEY.hex()}")
    reta(app, [2, 0, 3, 1])
    wanted = rss(host)
    for n, between in enumerate(((), ("port config mtu 0 1600",), ("port reset 0",))):
        app.restart(*between)
        if between == ("port reset 0",):  # testpmd configures the port with its own types anew
            wanted["hash_info"] |= UDP6
        assert rss(host) == wanted, between
        cycle(host, app, COUNT, n * COUNT)
    assert queues_of(host) == {q: 3 * n for q, n in
                               spread(KEY, 4, True, [2, 0, 3, 1] * 32).items()}
    app.quit()
    host.end()


def test_mbufs(run):
    """The hash is in the mbuf, and the queue is the one that it selects."""
    host = run(Host, nics=[f"queues=8,port=gen:count={FLOWS},rate=50k,flows={FLOWS},"
                           "start=command,verify=no"])
    app = run(Console, host, "--rss-udp", "--forward-mode=rxonly", queues=4)
    app.do("set verbose 1", "start")
    host.command("start", nic=0)
    until(lambda: app.text.count("RSS hash=") == FLOWS, "all packets printed")
    app.do("stop")  # the last to its end
    found = re.findall(r"RSS hash=0x(\w+) - RSS queue=0x(\w+)", app.text)
    hashes = [toeplitz(DEFAULT_KEY, flow_bytes(f, True)) for f in range(FLOWS)]
    assert sorted((int(h, 16), int(q, 16)) for h, q in found) == \
        sorted((h, h % 128 % 4) for h in hashes)
    app.quit()
    host.end()


def test_reta_stopped(run):
    """Another table while the port is stopped: the host has it once the port runs."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--rss-udp", "--forward-mode=macswap", queues=4)
    app.do("port stop 0")
    reta(app, [3, 1, 1, 3])
    app.do("port start 0")
    table = [3, 1, 1, 3] * 32
    assert rss(host)["table"] == table
    cycle(host, app, COUNT)
    assert queues_of(host) == spread(DEFAULT_KEY, 4, True, table)
    app.quit()
    host.end()


def test_reta_of_all_queues(run):
    """64 queues: each is in the table, is told back, and receives what the table gives it."""
    host = run(Host, nics=[f"queues=64,{GEN}"])
    app = run(Console, host, "--rss-udp", "--forward-mode=macswap", "--txd=64", "--rxd=64",
              "--total-num-mbufs=32768", queues=64,
              memory=["--no-huge", "-m", "512", "--no-shconf"])
    order = list(range(63, -1, -1))
    reta(app, order)
    assert rss(host)["table"] == order * 2
    shown = app.do("show port 0 rss reta 128 (0xffffffffffffffff,0xffffffffffffffff)")
    assert [int(q) for q in re.findall(r", queue=(\d+)", shown)] == order * 2
    cycle(host, app, COUNT)
    assert queues_of(host) == spread(DEFAULT_KEY, 64, True, order * 2)
    app.quit()
    host.end()
