# SPDX-License-Identifier: BSD-3-Clause
"""Two NICs of one application: what happens to one is not said of the other, nor done to it."""
import re

from console import Console
from hv import Host, until
from telemetry import Telemetry
from vf import NIC

GEN = "port=gen:count={},rate=50k,flows=8,start=command,expect=return"
EVENT = "Port {}: link state change event"


def events(app):
    return [app.text.count(EVENT.format(port)) for port in (0, 1)]


def link(app, port):
    """(state, speed)"""
    told = dict(re.findall(r"(?m)^(Link \w+): (.*?) *$", app.do(f"show port info {port}")))
    return told["Link status"], told["Link speed"]


def test_devargs(run):
    """Each has its own device arguments, whichever is probed first."""
    for first, second in ((1, 2), (2, 1)):
        host = run(Host, nics=["port=sink"] * 2)
        rings = {first: 65536, second: 131072}
        app = run(Console, host, telemetry=True, memory=["--no-huge", "-m", "256"],
                  eal=[a for n, size in rings.items()
                       for a in ("-a", f"{NIC.format(n)},ring_size={size},nvsp=0x{4 + n}0000")])
        t = Telemetry(app)
        for port in t.ask("/hvnetvsc/list"):
            info = t.ask(f"/hvnetvsc/info,{port}")
            n = int(info["mac"][-1])
            assert info["version"].startswith(f"NVSP {4 + n} ")
            assert t.ask(f"/hvnetvsc/queues,{port}")["0"]["ring_bytes"] == rings[n]
        app.quit()
        host.end()


def test_link(run):
    """State and speed are the port's; the event is told of the port that it happened to."""
    host = run(Host, nics=["port=sink"] * 2)
    app = run(Console, host)
    speeds = [10, 10]
    for nic in (1, 0):
        told = events(app)
        told[nic] += 1
        host.command("link", nic=nic, state="down")
        until(lambda told=told: events(app) == told, "the port's event")
        assert [link(app, port)[0] for port in (nic, 1 - nic)] == ["down", "up"]
        told[nic] += 1
        host.command("link", nic=nic, state="up")
        until(lambda told=told: events(app) == told, "the port's event")
        assert [link(app, port) for port in (0, 1)] == [("up", f"{s} Gbps") for s in speeds]
        told[nic] += 1
        speeds[nic] = 25 * (nic + 1)
        host.command("speed", nic=nic, bps=speeds[nic] * 10**9)
        until(lambda told=told: events(app) == told, "the port's event")
        assert [link(app, port) for port in (0, 1)] == [("up", f"{s} Gbps") for s in speeds]
    app.do("set link-down port 1")
    assert [link(app, port)[0] for port in (0, 1)] == ["up", "down"]
    assert [host.command("filter", nic=nic)["filter"] != 0 for nic in (0, 1)] == [True, False]
    app.quit()
    host.end()


def test_counters(run):
    """Statistics, and what telemetry says, are the port's; a port is stopped and closed alone."""
    host = run(Host, nics=[GEN.format(n) for n in (2000, 3000)])
    app = run(Console, host, "--forward-mode=macswap", "--port-topology=loop", telemetry=True,
              memory=["--no-huge", "-m", "256"])
    t = Telemetry(app)
    app.do("start")
    for nic, count in enumerate((2000, 3000)):
        assert host.command("start", nic=nic)["ok"]
        until(lambda nic=nic, count=count: host.port(nic)["received"] == count, "all frames back")
        # Counted at the end of the burst: the host may have them before.
        until(lambda nic=nic, count=count:
              t.ask(f"/hvnetvsc/stats,{nic}")["tx_q0_packets"] == count, "all counted")
        assert t.ask(f"/hvnetvsc/stats,{nic}")["rx_q0_packets"] == count
        assert t.ask(f"/ethdev/stats,{nic}")["ipackets"] == count
        assert t.ask(f"/hvnetvsc/info,{nic}")["mac"].endswith(str(nic + 1))
    app.do("stop", "clear port stats 1")
    assert [t.ask(f"/ethdev/stats,{port}")["ipackets"] for port in (0, 1)] == [2000, 0]
    app.do("port stop 1")
    assert [t.ask(f"/hvnetvsc/info,{port}")["state"] for port in (0, 1)] == ["running", "stopped"]
    app.do("port close 1")
    assert t.ask("/hvnetvsc/list") == [0]
    app.do("start")
    assert host.command("start", nic=0)["ok"]
    until(lambda: host.port(0)["received"] == 4000, "all frames back")
    app.quit()
    host.end()


def test_removed(run):
    """The host takes the second one away: that is said of it, and the first works on."""
    host = run(Host, nics=["port=gen:rate=5k,flows=8", "port=sink"])
    app = run(Console, host, "--forward-mode=macswap", "--port-topology=loop")
    app.do("start")
    host.command("rescind", nic=1)
    assert app.expect(r"Port (\d): device removal event")[1] == "1"
    until(lambda: "Number of available ports: 1\n" in app.do("show port summary all"), "its end")
    before = host.port(0)["received"]
    until(lambda: host.port(0)["received"] > before + 500, "frames of the first port")
    app.quit()
    host.end()
