# SPDX-License-Identifier: BSD-3-Clause
"""A VF that fails, lacks something or goes in an unusual way: the port never fails."""
import errno
import re

import pytest

import vf
from console import Console
from hv import Host, until

EVENT = "Port 0: link state change event"
# What test suites written for net_netvsc wait for.
PROBED = "HN_DRIVER: netvsc_hotplug_retry(): Found matching MAC address, adding device net_hvtest"
# The operation, and why the VF is left alone; or None: it is used all the same.
FAILING = [
    ("info", "it does not describe itself"),
    ("configure", "it cannot be configured as the port is"),
    ("mtu", "it refuses the port's MTU"),
    ("rxq", "its queues cannot be set up"),
    ("txq", "its queues cannot be set up"),
    ("start", "it does not start"),
    ("promisc", None),
    ("allmulti", None),
    ("rss", None),
    ("reta", None),
    ("stats", None),
]
# What a VF lacks, what is said of it, and whether it is used.
LACKING = [
    ({"queues": 1}, "is not used: it has fewer queues than the port uses", False),
    ({"mtu": 1400}, "is not used: its largest MTU is below the port's", False),
    ({"txcap": 0}, "is not used: it lacks the transmit offload MULTI_SEGS", False),
    ({"rxcap": 0}, "is not used: it does not strip VLAN tags", False),
    ({"fail": "probe:19"}, "cannot be probed yet: No such device", False),
    ({"rss": 0}, "has no RSS: it chooses the queues itself", True),
    ({"reta": 0}, "has another kind of RSS: it chooses the queues itself", True),
    ({"desc": 64}, "data path switched to VF", True),
    ({"rmv": 0}, "data path switched to VF", True),
]


@pytest.fixture
def pair(run, tmp):
    """A host, a console with a VF that was there at its start, and the VF."""
    host = run(Host, nics=["queues=2,port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, queues=2, eal=one.by_application())
    yield host, app, one
    app.quit()
    host.end()


def test_every_operation(pair):
    """Each fails in turn; the port is as before, and the VF is used when it works again."""
    host, app, one = pair
    for n, (op, why) in enumerate(FAILING):
        one.do(f"fail {op} {errno.EIO if why else errno.ENOTSUP}")
        vf.add(host, serial=n)
        if why is None:
            vf.wait_path(host, "vf")
        else:
            app.expect(f"is not used: {why}")
            app.expect("is given up")
            assert vf.path(host) == "synthetic"
        one.do(f"fail {op} 0")
        if why is None:
            vf.remove(host, app)
        else:
            host.command("vf", nic=0, action="unplug")
            app.expect("withdraws")
        vf.to_vf(host, serial=100 + n)
        vf.remove(host, app)
    assert "RX-packets" in app.do("show port stats 0")


def test_told(pair):
    """One link event for each switch, whoever wanted it; the link stays up."""
    host, app, one = pair
    for n in range(3):
        vf.to_vf(host, n)
        vf.said(app, EVENT, 4 * n + 1)
        one.do("recovering")
        vf.said(app, EVENT, 4 * n + 2)
        one.do("recovered")
        vf.said(app, EVENT, 4 * n + 3)
        assert app.info()["Link status"] == "up"
        vf.remove(host, app)
        vf.said(app, EVENT, 4 * n + 4)
    assert app.text.count(EVENT) == 12


def test_not_told(run, tmp):
    """An application that wants no link events gets none of a switch either."""
    host = run(Host, nics=["port=sink"])
    app = run(Console, host, "--no-lsc-interrupt", eal=vf.Vf(tmp).by_driver())
    vf.to_vf(host)
    vf.remove(host, app)
    app.info()
    assert EVENT not in app.text
    app.quit()
    host.end()


def test_what_it_lacks(run, tmp):
    """Used if it can carry the port's configuration; else left alone with one line."""
    host = run(Host, nics=["queues=2,port=sink"] * len(LACKING))
    vfs = [vf.Vf(tmp, n + 1, f"net_hvtestvf{n}", **args)
           for n, (args, _, _) in enumerate(LACKING)]
    app = run(Console, host, "--tx-offloads=0x8000", "--enable-hw-vlan-strip", queues=2,
              eal=[a for one in vfs for a in one.by_driver()],
              memory=["--no-huge", "-m", "640", "--no-shconf"])
    for n, (args, line, used) in enumerate(LACKING):
        vf.add(host, 1, n)
        app.expect(f"port {n}: .*{line}")
        if used:
            vf.wait_path(host, "vf", n)
        else:
            assert vf.path(host, n) == "synthetic"
        told = [t for t in app.text.splitlines() if f"port {n}: " in t and line in t]
        assert len(told) == 1, (args, told)
        assert "Link status: up" in app.do(f"show port info {n}")
    app.quit()
    host.end()


@pytest.mark.parametrize("op", ["stop", "close"])
def test_does_not_go(run, tmp, op):
    """A VF that cannot be stopped or closed keeps nobody from going on."""
    host = run(Host, nics=["queues=2,port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, queues=2, eal=one.by_driver())
    vf.to_vf(host)
    one.do(f"fail {op} 5")
    vf.remove(host, app)
    vf.to_vf(host, 2)
    vf.remove(host, app)
    app.restart()
    app.quit()
    host.end()


def test_removal_interrupt(run, tmp):
    """The VF is gone at once, and comes back as long as the host says it is there."""
    host = run(Host, nics=["queues=2,port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, queues=2, eal=one.by_driver())
    vf.to_vf(host)
    app.expect(re.escape(PROBED))
    for _ in range(3):
        one.do("rmv")
        app.expect("data path switched to synthetic")
        app.expect("is given up")
        app.expect(re.escape(PROBED))
        app.expect("data path switched to VF")
    vf.remove(host, app)
    app.quit()
    host.end()


def test_gone_without_interrupt(run, tmp):
    """A driver that does not tell: its link and is_removed do."""
    host = run(Host, nics=["queues=2,port=sink"])
    one = vf.Vf(tmp, rmv=0)
    app = run(Console, host, queues=2, eal=one.by_driver())
    vf.to_vf(host)
    one.do("gone")
    app.expect("data path switched to synthetic")
    app.expect("is given up")
    app.expect("data path switched to VF")
    app.quit()
    host.end()


def test_recovery(pair):
    """A reset in place: the VF is kept, and not used meanwhile; unless it fails."""
    host, app, one = pair
    vf.to_vf(host)
    one.do("recovering")
    vf.wait_path(host, "synthetic")
    # A link that comes back in the middle of the reset does not end it.
    one.do("link down")
    one.do("link up")
    app.do("set promisc 0 off")
    assert one.state()["promisc"] == "1"  # not asked while it resets
    assert vf.path(host) == "synthetic"
    one.do("recovered")
    vf.wait_path(host, "vf")
    assert one.state()["promisc"] == "0"
    assert "given up" not in app.text
    one.do("recovering")
    vf.wait_path(host, "synthetic")
    one.do("failed")
    app.expect("is given up")


def test_link(pair):
    """No link: kept, not used; over a restart too."""
    host, app, one = pair
    vf.to_vf(host)
    until(lambda: app.xstats()["path_is_vf"] == 1, "transmission by it")
    one.do("link down")
    vf.wait_path(host, "synthetic")
    assert app.info()["Link status"] == "up"  # the port's own
    xstats = app.xstats()
    assert (xstats["path_switches_planned"], xstats["path_switches_surprise"]) == (0, 1)
    app.restart()
    until(lambda: one.state()["started"] == "1", "the VF runs")
    one.do("link up")
    vf.wait_path(host, "vf")
    assert "given up" not in app.text


def test_stopped_port(pair):
    """The host does not deliver to the VF of a port that is stopped."""
    host, app, one = pair
    vf.to_vf(host)
    for _ in range(2):
        app.do("port stop 0")
        assert vf.path(host) == "synthetic"
        assert one.state()["started"] == "0"
        app.do("port start 0")
        vf.wait_path(host, "vf")
