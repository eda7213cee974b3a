# SPDX-License-Identifier: BSD-3-Clause
"""Link: state, speed and network changes reach the application by its LSC callback."""
import pytest

from console import Console
from hv import Host, UioTestpmd, until

EVENT = "Port 0: link state change event"
FLAPS = 200


class UioConsole(UioTestpmd, Console):
    """testpmd's prompt, on the uio back end."""


CONSOLES = pytest.mark.parametrize("console", [Console, UioConsole])


def link(app):
    info = app.info()
    return info["Link status"], info["Link speed"]


def events(app, n):
    until(lambda: app.text.count(EVENT) >= n, f"{n} link state events")


@CONSOLES
def test_up_and_down(run, console):
    """Nobody polls a queue: forwarding is not started."""
    host = run(Host)
    app = run(console, host)
    assert link(app) == ("up", "10 Gbps")
    for n in range(3):
        host.command("link", nic=0, state="down")
        events(app, 2 * n + 1)
        assert link(app)[0] == "down"
        host.command("link", nic=0, state="up")
        events(app, 2 * n + 2)
        assert link(app) == ("up", "10 Gbps")
    assert app.text.count(EVENT) == 6
    app.quit()
    host.end()


@pytest.mark.parametrize("nic", ["", "speed-msg-short=yes,"])
def test_speed(run, nic):
    host = run(Host, nics=[f"speed=1000000000,{nic}port=sink"])
    app = run(Console, host)
    assert link(app) == ("up", "1 Gbps")
    for n, (bps, told) in enumerate(((40_000_000_000, "40 Gbps"), (100_000_000_000, "100 Gbps"))):
        host.command("speed", nic=0, bps=bps)
        events(app, n + 1)
        assert link(app) == ("up", told)
    app.quit()
    host.end()


def test_network_change(run):
    """Another network behind the same link: down and up, so that addresses are renewed; but nothing
    behind one that is down.
    """
    host = run(Host)
    app = run(Console, host)
    host.command("network-change", nic=0)
    events(app, 2)
    assert link(app)[0] == "up"
    host.command("link", nic=0, state="down")
    for _ in range(2):
        host.command("network-change", nic=0)
    events(app, 3)
    host.command("link", nic=0, state="up")
    events(app, 4)
    assert link(app)[0] == "up"
    assert app.text.count(EVENT) == 4
    app.quit()
    host.end()


def test_under_traffic(run):
    """A link that is down loses frames, but the port forwards on when it is up again."""
    host = run(Host, nics=["queues=4,port=gen:rate=20k,verify=count"])
    app = run(Console, host, "--forward-mode=macswap", queues=2)
    app.do("start")
    for n in range(2):
        before = host.port()["received"]
        until(lambda: host.port()["received"] > before + 500, "traffic")
        host.command("link", nic=0, state="down")
        events(app, 2 * n + 1)
        host.command("link", nic=0, state="up")
        events(app, 2 * n + 2)
    # More than the driver notes at a time: each is told, and the last holds.
    for _ in range(FLAPS):
        host.command("link", nic=0, state="down")
        host.command("link", nic=0, state="up")
    host.command("link", nic=0, state="down")
    events(app, 2 * FLAPS + 5)
    assert link(app)[0] == "down"
    host.command("link", nic=0, state="up")
    events(app, 2 * FLAPS + 6)
    assert link(app)[0] == "up"
    before = host.port()["received"]
    until(lambda: host.port()["received"] > before + 500, "traffic")
    assert app.text.count(EVENT) == 2 * FLAPS + 6
    app.quit()
    host.end()


def test_set_down(run):
    """The application takes the link down: no frame is received until it is up again."""
    host = run(Host, nics=["port=gen:rate=20k,verify=count"])
    app = run(Console, host, "--forward-mode=rxonly")
    app.do("start")
    until(lambda: app.stats()["RX-packets"] > 500, "traffic")
    app.do("set link-down port 0")
    assert link(app)[0] == "down"
    assert host.command("filter", nic=0)["filter"] == 0
    app.do("set link-up port 0")
    assert link(app)[0] == "up"
    before = app.stats()["RX-packets"]
    until(lambda: app.stats()["RX-packets"] > before + 500, "traffic")
    app.quit()
    host.end()
