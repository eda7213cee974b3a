# SPDX-License-Identifier: BSD-3-Clause
"""rte_flow: rules go to the VF, are remembered while it is away, and come back with it."""
import re

import pytest

import vf
from console import Console
from hv import Host, until

COUNT = 500
DROP = "flow create 0 ingress pattern eth / ipv4 / end actions count / drop / end"
SEEN = "flow create 0 ingress pattern eth / end actions count / end"


@pytest.fixture
def trio(run, tmp):
    """A host with a wire to the VF, a console that sends back what it gets, and the VF."""
    wire = f"socket-abstract=no,socket={tmp}/vf.sock"
    host = run(Host, nics=[f"vf-leg=(dpdk:net_memif0,role=server,{wire}),"
                           f"port=gen:count={COUNT},rate=20k,start=command"])
    one = vf.Vf(tmp, inner="net_memif0")
    app = run(Console, host, "--forward-mode=macswap",
              eal=["--vdev", f"net_memif0,role=client,{wire}", *one.by_application()])
    vf.to_vf(host)
    yield host, app, one
    app.quit()
    host.end()


def send(host, app, dropped=0):
    """The generator's frames: all come back, or so many are dropped by rule 0 by then."""
    host.command("clear", nic=0)
    app.do("start")
    host.command("start", nic=0)
    if dropped:
        until(lambda: hits(app, 0) == dropped, "dropped by the rule")
    else:
        until(lambda: host.port()["received"] == COUNT, "all back")
    app.do("stop")
    assert host.port()["received"] == (0 if dropped else COUNT)
    host.command("clear", nic=0)


def hits(app, rule):
    found = re.search(r"hits: (\d+)", app.do(f"flow query 0 {rule} count"))
    return int(found[1])


def test_rules(trio):
    """In force on the VF, and on the next one; not on the synthetic path, which is said."""
    host, app, one = trio
    send(host, app)
    assert "created" in app.do(DROP)
    assert "created" in app.do(SEEN)
    assert one.state()["flows"] == "2"
    send(host, app, COUNT)
    vf.remove(host, app)
    vf.said(app, "2 flow rules are not offloaded")
    assert one.state()["flows"] == "0"
    assert "not offloaded now" in app.do("flow query 0 0 count")
    assert "rule 0: not offloaded" in app.do("flow dump 0 all")
    send(host, app)
    vf.to_vf(host, 2)
    vf.said(app, "2 of 2 flow rules are offloaded")
    assert "rule 1: offloaded to the VF" in app.do("flow dump 0 all")
    send(host, app, 2 * COUNT)  # what the first VF counted is not forgotten
    assert "destroyed" in app.do("flow destroy 0 rule 0")
    assert one.state()["flows"] == "1"
    send(host, app)
    app.do("flow flush 0")
    assert one.state()["flows"] == "0"


def test_refused(trio):
    """What the VF refuses is refused; so is everything that nobody could carry out."""
    host, app, one = trio
    assert "only drop, count" in app.do("flow validate 0 ingress pattern eth / end "
                                        "actions queue index 0 / end")
    one.do("fail flow 95")
    assert "told to fail" in app.do(DROP)
    one.do("fail flow 0")
    assert "cannot be isolated" in app.do("flow isolate 0 1")
    assert "created" in app.do(DROP)
    vf.remove(host, app)
    assert "has no flow rules" in app.do(DROP)
    assert "has no flow rules" in app.do(DROP.replace("create", "validate"))
    # A VF that does not take it back is used; the rule stays, and says so.
    one.do("fail flow 95")
    vf.to_vf(host, 2)
    vf.said(app, "does not take a flow rule: told to fail")
    assert "not offloaded" in app.do("flow dump 0 all")
    one.do("fail flow 0")
    vf.remove(host, app)
    vf.to_vf(host, 3)
    vf.said(app, "1 of 1 flow rules are offloaded")
    vf.remove(host, app)
    assert "destroyed" in app.do("flow destroy 0 rule 0")
