# SPDX-License-Identifier: BSD-3-Clause
"""Frames handed out in the receive buffer (rx_extmbuf_enable=1)."""
import re

import pytest

from console import Console, cycle
from hv import BUILD, NO_HUGE, App, Host, until
from test_checksum_tso import GUID
from test_link import UioConsole

ARGS = ["-a", f"hv_vmbus:{GUID},rx_extmbuf_enable=1,tx_copybreak=64,rndis_timeout=2000"]
COUNT = 3000


def external(app):
    return sum(n for k, n in app.xstats().items() if k.endswith("_external"))


def test_forward(run):
    """All frames come back, the short copied, the long where they were; also over restarts."""
    host = run(Host, nics=["queues=4,slots=512,ranges=7,"
                           f"port=gen:count={COUNT},rate=50k,flows=64,size=60-1514,"
                           "start=command,expect=return"])
    app = run(Console, host, "--forward-mode=macswap", queues=2, eal=ARGS)
    for n in range(3):
        cycle(host, app, COUNT, n * COUNT)
        app.restart()
    assert 0 < external(app) < 3 * COUNT
    assert "external buffers" in app.do("show rxq info 0 0")
    app.quit()
    host.end()


@pytest.mark.parametrize("where, why", [("uio", "the kernel's receive buffer"),
                                        ("physical", "I/O addresses are physical")])
def test_not_possible(huge_dir, run, where, why):
    """Without addresses for other devices frames are copied, which is said."""
    host = run(Host, nics=[f"port=gen:count={COUNT},rate=50k,size=1514,start=command,"
                           "expect=return"])
    memory = ["--huge-dir", huge_dir, "-m", "256"] if where == "physical" else NO_HUGE
    app = run(UioConsole if where == "uio" else Console, host, "--forward-mode=macswap",
              eal=[*ARGS, *(["--iova-mode=pa"] if where == "physical" else [])], memory=memory)
    assert f"frames are copied all the same: {why}" in app.text
    cycle(host, app, COUNT)
    assert external(app) == 0
    app.quit()
    host.end()


def test_received_only(run):
    """Freed at once: the host has all its slots back, and nobody polls for that."""
    host = run(Host, nics=[f"slots=64,port=gen:count={COUNT},size=1514,start=command"])
    app = run(Console, host, "--forward-mode=rxonly", eal=ARGS)
    # Who frees an mbuf without a look at it would never give the slot back: nobody is asked to.
    assert "MBUF_FAST_FREE" not in app.do("show port 0 tx_offload capabilities")
    app.do("start")
    host.command("start", nic=0)
    until(lambda: app.stats()["RX-packets"] == COUNT, "all frames")
    app.do("stop")
    assert external(app) > 0
    app.quit()
    host.end()


class HoldRx(App):
    """An application that keeps frames."""
    binary = BUILD / "test" / "e2e" / "hold_rx"

    def do(self, line):
        self.type(line)
        return self.expect(f"(?s)(.*?)done {line}\\r?\\n")[1]

    def hold(self, host, n):
        """The next frames; told before they come, since those before the command are sent back."""
        self.type(f"hold {n}")
        assert host.command("start", nic=0)["ok"]
        self.expect(f"done hold {n}\\r?\\n")

    def check(self, held):
        """How many of the frames held are in the receive buffer; none has changed."""
        found = re.search(r"held (\d+) external (\d+) damaged (\d+)", self.do("check"))
        assert int(found[1]) == held and int(found[3]) == 0, found[0]
        return int(found[2])

    def none_held(self):
        until(lambda: "missing 0" in self.do("pool"), "all mbufs back")

    def quit(self):
        self.type("quit")
        assert self.wait() == 0, self.text
        self.forget()


def slots_used(host):
    return host.stats()["nics"][0]["slots_used"]


def holder(run, queues=1):
    """Slots for 60 frames, half of which may be held; a generator that starts by command."""
    host = run(Host, nics=["queues=4,slots=60,ranges=3,port=gen:size=700-1514,rate=20k,flows=64,"
                           "count=400,start=command,verify=count"])
    app = run(HoldRx, host, str(queues), eal=ARGS)
    app.expect("ready")
    return host, app


@pytest.mark.parametrize("queues", [1, 3])
def test_held_and_sent_back(run, queues):
    """Up to the quota and far beyond; sent back out of the receive buffer every byte is right."""
    host, app = holder(run, queues)
    for n in range(3):
        app.hold(host, 250)
        external = app.check(250)
        assert 0 < external <= 30
        until(lambda n=n: host.port()["received"] == 400 * n + 150, "the rest of the frames")
        # The last frame held may share its message, of at most 3, with some that were sent back.
        until(lambda e=external: e <= slots_used(host) <= e + 2, "slots of what is not held")
        app.do("send")
        until(lambda n=n: host.port()["received"] == 400 * (n + 1), "all frames back")
        until(lambda: slots_used(host) == 0, "all slots back")
        app.none_held()
    assert host.port()["lost"] == host.port()["duplicated"] == host.port()["damaged"] == 0
    app.quit()
    host.end()


@pytest.mark.parametrize("again", ["restart", "mtu 1600"])
@pytest.mark.parametrize("end", ["send", "free"])
def test_held_over_a_restart(run, again, end):
    """Stopped and started, or with another session: what is held stays, traffic goes on."""
    host, app = holder(run)
    for n, line in enumerate((again, "mtu 1500")):
        app.hold(host, 100)
        assert app.check(100) > 0
        app.do("stop")
        app.check(100)
        app.do(line)
        before = host.port()["received"]
        assert host.command("start", nic=0)["ok"]
        until(lambda b=before: host.port()["received"] > b + 200, "frames of the new start")
        app.check(100)
        app.do(end)
        app.none_held()
    until(lambda: slots_used(host) == 0, "all slots back")
    assert host.port()["damaged"] == 0
    assert host.stats()["nics"][0]["sessions"] == (1 if again == "restart" else 3)
    app.quit()
    host.end()


@pytest.mark.parametrize("rescind", [False, True])
def test_held_when_the_port_is_closed(run, rescind):
    """Frames of a port that is gone are still whole, and can be freed."""
    host, app = holder(run)
    app.hold(host, 100)
    assert app.check(100) > 0
    if rescind:
        assert host.command("rescind", nic=0)["ok"]
        app.check(100)
    app.do("close")
    assert app.check(100) > 0
    app.do("free")
    app.none_held()
    app.quit()
    host.end()
