# SPDX-License-Identifier: BSD-3-Clause
"""What is set while a VF carries the port reaches it, and every VF after it."""
import re

import pytest

import vf
from console import Console
from hv import BUILD, App, Host, until
from test_queues import reta

KEY = "0123456789ABCDEF" * 5
GROUP = "01:00:5E:00:00:0A"
# A command, and what it makes of the VF.
CHANGES = [
    ("set promisc 0 off", {"promisc": "0"}),
    ("set allmulti 0 on", {"allmulti": "1"}),
    (f"mcast_addr add 0 {GROUP}", {"mc": GROUP}),
    ("vlan set strip on 0", {"strip": "1"}),
    (f"port config 0 rss-hash-key ipv4 {KEY}", {"key": KEY.lower()}),
    ("port config all rss udp", {"hf": "820"}),
    ("mac_addr set 0 00:15:5D:00:00:99", {"mac": "00:15:5D:00:00:99"}),
]


@pytest.fixture
def pair(run, tmp):
    """A host, a console whose port a VF carries, and the VF."""
    host = run(Host, nics=["queues=2,port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, queues=2, eal=one.by_application())
    vf.to_vf(host)
    yield host, app, one
    app.quit()
    host.end()


def has(one, wanted):
    state = one.state()
    assert {k: state[k] for k in wanted} == wanted, state


def test_changes(pair):
    """Each at once; all of them again after flaps and restarts."""
    host, app, one = pair
    wanted = {"mtu": "1500", "started": "1", "queues": "2"}
    has(one, {**wanted, "promisc": "1", "allmulti": "0", "strip": "0"})
    for command, result in CHANGES:
        app.do(command)
        has(one, result)
        wanted.update(result)
    reta(app, [1, 1, 0, 1])
    wanted["reta"] = ",".join(["1,1,0,1"] * 32)
    has(one, wanted)
    # A VF that knows nothing of all this.
    for serial in range(2, 4):
        vf.remove(host, app)
        vf.to_vf(host, serial)
        has(one, wanted)
    app.restart("port config mtu 0 1400")
    wanted["mtu"] = "1400"
    vf.wait_path(host, "vf")
    has(one, wanted)
    vf.remove(host, app)
    # What is changed meanwhile waits for it.
    app.do("set promisc 0 on", "set allmulti 0 off", f"mcast_addr remove 0 {GROUP}",
           "vlan set strip off 0")
    wanted.update(promisc="1", allmulti="0", mc="", strip="0")
    vf.to_vf(host, 9)
    has(one, wanted)


def test_queues(pair):
    """Another number of queues, and a queue set up anew while the port runs."""
    host, app, one = pair
    vf.said(app, "data path switched to VF")
    app.restart("port config all rxq 1", "port config all txq 1")
    until(lambda: one.state()["queues"] == "1", "one queue")
    vf.said(app, "data path switched to VF", 2)
    app.do("port 0 rxq 0 stop", "port 0 rxq 0 setup", "port 0 rxq 0 start")
    vf.said(app, "data path switched to VF", 3)


def test_cannot_follow(pair):
    """A VF that refuses a change is left, the change holds; another configuration, another try."""
    host, app, one = pair
    one.do("fail vlan 5")
    app.do("vlan set strip on 0")
    vf.said(app, "is not used any more: it refuses the port's VLAN offload")
    vf.said(app, "is given up")
    assert vf.path(host) == "synthetic"
    assert "strip on" in app.do("show port info 0")
    one.do("fail vlan 0")
    app.restart()
    vf.wait_path(host, "vf")
    one.do("fail mac 5")
    app.do("mac_addr set 0 00:15:5D:00:00:98")
    vf.said(app, "is not used any more: it refuses the port's MAC address")
    assert "00:15:5D:00:00:98" in app.info()["MAC address"]


class RefusedQueue(App):
    binary = BUILD / "test" / "e2e" / "refused_queue"


def test_refused_queue(run):
    """ethdev gives up a queue and refuses the new one: the VF goes on carrying the others."""
    host = run(Host, nics=["queues=2,vf=1,port=sink"])
    app = run(RefusedQueue, host, eal=["-a", f"{vf.NIC.format(1)},vf=net_null7"])
    assert app.wait() == 0, app.text
    assert re.findall(r"port 0: (\w+ queue \d) was never set up", app.text) == \
        ["receive queue 0", "receive queue 1", "receive queue 1", "transmit queue 1"]
    app.forget()
    host.end()


def test_link_down(pair):
    """Nothing is received by the VF either, until the link is up again."""
    host, app, _ = pair
    vf.said(app, "data path switched to VF")
    app.do("set link-down port 0")
    vf.wait_path(host, "synthetic")
    assert host.command("filter", nic=0)["filter"] == 0
    app.do("set link-up port 0")
    vf.wait_path(host, "vf")


def test_not_the_applications(pair):
    """The VF is no port of the application's: not counted, not polled, not to be taken."""
    host, app, one = pair
    vf.said(app, "data path switched to VF")
    assert "Configuring Port 1" not in app.text
    for _ in range(2):
        assert "Number of available ports: 1" in app.do("show port summary all")
        assert "ports=1 " in app.do("show config fwd")
        vf.remove(host, app)
        vf.to_vf(host, 2)
        vf.said(app, "data path switched to VF", 2)
