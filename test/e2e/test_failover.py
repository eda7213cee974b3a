# SPDX-License-Identifier: BSD-3-Clause
"""The data path between the synthetic NIC and a VF, under traffic."""
import re

import pytest

import vf
from console import Console, back, cycle
from failover import NOTHING, VfHost, vhost
from hv import CPUS, Testpmd, TestpmdHv, becomes, until
from telemetry import Telemetry

EVENT = "Port 0: link state change event"
APPS = [Testpmd, TestpmdHv]
FLAPS = 20


@pytest.fixture
def start(run, tmp):
    """start(queues, ...): a host, an application that sends back what it gets, and traffic."""
    def begin(app=Testpmd, queues=1, removable=False, telemetry=False, **more):
        host = run(VfHost, queues=queues, **more)
        eal, host.device_vf = host.removable(tmp) if removable else (host.device, None)
        program = run(app, host, "--forward-mode=macswap", f"--rxq={queues}", f"--txq={queues}",
                      eal=eal, cores=min(queues, 2), cpus=CPUS[-1:], telemetry=telemetry)
        if app is Console:
            program.do("start")
        else:
            program.expect("Forwarding|packets/burst=")
        host.command("start", nic=0)
        return host, program
    return begin


def lost_with_vf(host, app):
    """All that is missing went into a VF and never came out of it, or the application threw it away
    because a VF that was about to go took nothing; how much."""
    port = host.settle()
    assert port == {**NOTHING, "lost": port["lost"]}
    telemetry = Telemetry(app)

    def counted():
        stats, ext, nic = telemetry.ask("/ethdev/stats,0"), telemetry.ask("/ethdev/xstats,0"), \
            host.nic()
        by_ring = [sum(q[k] for q in nic["queues"]) for k in ("rx_frames", "tx_frames")]
        by_vf = [nic["vf_to_guest"] - ext["vf_rx_packets"],
                 ext["vf_tx_packets"] - nic["vf_from_guest"]]
        return {"by no ring": [stats["ipackets"] - ext["vf_rx_packets"] - by_ring[0],
                               stats["opackets"] - ext["vf_tx_packets"] - by_ring[1]],
                "from nowhere": [n for n in by_vf if n < 0],
                "lost": sum(by_vf) + stats["ipackets"] - stats["opackets"]}

    becomes(counted, {"by no ring": [0, 0], "from nowhere": [], "lost": port["lost"]})
    return port["lost"]


def finish(host, app):
    """On the VF or long without: a memif that is closed while it connects can crash."""
    assert host.settle() == NOTHING
    app.end()
    host.end()


def finish_lossy(host, app):
    """The same when a VF took with it what it held."""
    port = host.settle(0.5)
    assert port == {**NOTHING, "lost": port["lost"], "outstanding": port["outstanding"]}
    app.end()
    host.end()


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("app", APPS, ids=["dpdk-testpmd", "testpmd-hv"])
def test_planned(start, app, queues):
    """Both ways and back: no frame is lost, none comes twice, in order; the program is told."""
    host, program = start(app, queues)
    host.go_and_return()
    vf.said(program, "link state change event: up" if app is TestpmdHv else EVENT, 5)
    assert program.text.count(EVENT) == 5
    if app is TestpmdHv:
        assert re.findall("data path (VF|synthetic)$", program.text.replace("\r", ""), re.M) == \
            ["VF", "synthetic", "VF", "synthetic", "VF"]
    finish(host, program)


def test_vhost(start):
    """The same with another kind of VF: virtio, whose back end is hv-host's vhost device."""
    host, app = start(leg=vhost)
    for serial in (2, 3):
        host.wait_on_vf()
        host.assoc("unplug")
        app.expect("is given up")
        host.wait_on_synthetic()
        host.assoc("plug", serial=serial)
    host.wait_on_vf()
    finish(host, app)


def test_flaps(start):
    """Again and again; statistics are the sum of both paths and miss nothing."""
    host, app = start(Console)
    app.do("set promisc all off")
    last = 0
    for serial in range(2, FLAPS + 2):
        host.wait_on_vf(32)
        host.assoc("unplug")
        host.wait_on_synthetic(32)
        now = app.stats()["RX-packets"]
        assert now >= last, "statistics went back"
        last = now
        host.assoc("plug", serial=serial)
    host.wait_on_vf()
    assert host.settle() == NOTHING
    sent = host.port()["sent"]
    becomes(lambda: [app.stats()[k] for k in ("RX-packets", "TX-packets")], [sent, sent])
    stats, xstats = app.stats(), app.xstats()
    assert stats["RX-missed"] == stats["RX-errors"] == stats["TX-errors"] == 0
    assert xstats["path_switches_to_vf"] == FLAPS + 1
    assert xstats["path_switches_planned"] == FLAPS and xstats["path_switches_surprise"] == 0
    assert xstats["path_is_vf"] == 1
    by_vf = host.nic()
    assert xstats["vf_rx_packets"] == by_vf["vf_to_guest"]
    assert xstats["vf_tx_packets"] == by_vf["vf_from_guest"]
    app.quit()
    host.end()


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("app", APPS, ids=["dpdk-testpmd", "testpmd-hv"])
def test_surprise(start, app, queues):
    """The device is gone without a word: what its rings held is lost, and nothing else."""
    host, program = start(app, queues, removable=True, telemetry=True)
    for _ in range(3):
        host.wait_on_vf()
        assert host.device_vf.do("rmv") == "ok"
        program.expect("data path switched to synthetic")
        program.expect("is given up")
        # Named by the user and still associated, it is probed again at once.
        program.expect("data path switched to VF")
    host.wait_on_vf()
    lost = lost_with_vf(host, program)
    assert host.port()["blackout_ns"] == lost * 1e9 / 4000
    program.end()
    host.end()


def test_reset_in_place(start):
    """The VF's driver resets it: meanwhile frames go without it, and only what it held is lost."""
    host, app = start(removable=True, telemetry=True)
    for _ in range(3):
        host.wait_on_vf()
        host.device_vf.do("recovering")
        app.expect("data path switched to synthetic")
        host.wait_on_synthetic()
        host.device_vf.do("recovered")
        app.expect("data path switched to VF")
    host.wait_on_vf()
    assert "given up" not in app.text
    lost_with_vf(host, app)
    app.end()
    host.end()


def test_another_driver(start):
    """The function comes back with another driver, with the first one, then nobody has it."""
    host, app = start(removable=True, telemetry=True)
    for name in ("net_hvothervf", "net_hvtestvf"):
        host.wait_on_vf()
        host.device_vf.do(f"driver {name}")
        host.device_vf.do("rmv")
        app.expect("is given up")
        app.expect("data path switched to VF")
        assert host.device_vf.state()["driver"] == name
    host.wait_on_vf()
    host.device_vf.do("driver none")
    host.device_vf.do("rmv")
    app.expect("is given up")
    app.expect("cannot be probed yet")
    host.wait_on_synthetic()
    lost_with_vf(host, app)
    app.end()
    host.end()


def test_surprise_when_full(start):
    """What the VF had no room for is lost with it, and does not come late by the next one."""
    host, app = start(Console, removable=True, telemetry=True)
    host.wait_on_vf()
    app.do("stop")
    until(lambda: host.nic()["vf_leg"]["unsent"] != 0, "more than the VF holds")
    host.device_vf.do("rmv")
    app.expect("is given up")
    app.expect("data path switched to VF")
    app.do("start")
    host.wait_on_vf()
    lost_with_vf(host, app)
    app.quit()
    host.end()


def test_nobody_polls(run):
    """A planned switch while the application does something else: it gets all frames later."""
    host = run(VfHost, port=",count=300")
    app = run(Console, host, "--forward-mode=macswap", eal=host.device)
    host.wait_path("vf")
    cycle(host, app, 300)
    assert host.nic()["vf_to_guest"] == 300
    host.command("start", nic=0)
    until(lambda: host.nic()["vf_to_guest"] == 600, "more frames are in the VF")
    host.assoc("unplug")
    app.expect("is given up")
    app.do("start")
    back(host, 600)
    assert host.settle() == NOTHING
    app.quit()
    host.end()


def more(host, total):
    """Frames that wait for the application."""
    host.command("start", nic=0)
    until(lambda: host.port()["sent"] == total, "frames wait")


def test_nobody_polls_to_and_back(run):
    """The same of switches to a VF and back, twice: the ring's frames from before each come first.

    The VF takes frames before it is polled, which a memif does not.
    """
    host = run(VfHost, port=",count=60", assoc="", leg=vhost)
    app = run(Console, host, "--forward-mode=macswap", eal=host.device)
    cycle(host, app, 60)
    more(host, 120)
    for serial in (1, 2):
        host.assoc("plug", serial=serial)
        app.expect("switched to VF")
        more(host, 60 + 120 * serial)
        host.assoc("unplug")
        app.expect("is given up")
        more(host, 120 + 120 * serial)
    assert host.nic()["vf_to_guest"] == 120
    app.do("start")
    back(host, 360)
    assert host.settle() == NOTHING
    app.quit()
    host.end()


def test_nobody_polls_unconfirmed(run):
    """The host turns to the VF and back and says neither: frames have their order all the same."""
    host = run(VfHost, port=",count=60", assoc="", leg=vhost)
    app = run(Console, host, "--forward-mode=macswap",
              eal=["-a", host.device[1].replace(",vf=", ",nvsp_timeout=2000,vf=")])
    cycle(host, app, 60)
    more(host, 120)
    host.assoc("lose", count=100)
    host.assoc("plug", serial=1)
    app.expect("did not confirm the switch to the VF path")
    more(host, 180)
    host.assoc("unplug")
    app.expect("is given up")
    more(host, 240)
    assert host.nic()["vf_to_guest"] == 60
    host.assoc("lose", count=0)
    app.do("start")
    back(host, 240)
    assert host.settle() == NOTHING
    app.quit()
    host.end()


def test_late(start):
    """The association comes long after the start."""
    host, app = start(assoc="")
    host.wait_on_synthetic()
    host.assoc("plug", serial=7)
    host.wait_on_vf()
    finish(host, app)


def test_slow_switch(start):
    """The host takes its time: no burst waits for it."""
    host, app = start(port="", assoc="vf=1,switch-delay=300", telemetry=True)
    host.wait_on_vf()
    path = Telemetry(app).ask("/hvnetvsc/path,0")
    assert path["transmit"] == "vf" and path["receive"] == "both" and path["serial"] == 1
    assert path["switch_longest_ns"] >= 300e6
    host.assoc("unplug")
    host.wait_on_synthetic()
    app.expect("data path switched to synthetic")
    switch = Telemetry(app).ask("/hvnetvsc/path,0")
    assert 0 < switch["switch_last_ns"] and switch["switch_longest_ns"] >= 300e6
    assert switch["switches_to_vf"] == switch["switches_planned"] == 1
    finish(host, app)


def test_failing_switch(start):
    """The host confirms, then says it did not work; it is tried again, and nothing is lost."""
    host, app = start(assoc="vf=1,switch-fail=yes")
    app.expect("data path switched to VF")
    app.expect("data path switched to VF")
    host.wait_on_synthetic()
    finish(host, app)


@pytest.mark.parametrize("way", ["to", "from"])
def test_lost_completion(start, way):
    """The host switches and does not say so: it is asked again, and frames flow meanwhile."""
    host, app = start(telemetry=True)
    host.wait_on_vf()
    if way == "to":
        host.assoc("unplug")
        host.wait_on_synthetic()
    host.assoc("lose")
    if way == "to":
        host.assoc("plug", serial=2)
        app.expect("the host did not confirm the switch to the VF path")
        app.expect("data path switched to VF")
        host.wait_on_vf()
    else:
        host.assoc("unplug")
        host.wait_on_synthetic()  # does not wait for the time-out
        assert "did not confirm" not in app.text
        app.expect("the host did not confirm the switch to the synthetic path")
        app.expect("data path switched to synthetic")
        host.wait_on_synthetic()
    assert Telemetry(app).ask("/ethdev/xstats,0")["path_switches_failed"] == 1
    finish(host, app)


def test_unsolicited(start):
    """The host turns to the synthetic path by itself; the VF is taken again later."""
    host, app = start(telemetry=True)
    for _ in range(3):
        host.wait_on_vf()
        assert host.command("switch-synthetic", nic=0)["ok"]
        host.wait_on_synthetic(32)
    host.wait_on_vf()
    xstats = Telemetry(app).ask("/ethdev/xstats,0")
    assert (xstats["path_switches_planned"], xstats["path_switches_surprise"]) == (3, 0)
    finish(host, app)


def lose_wire(host, app, action, **args):
    """Not under a burst: when its other end closes, DPDK's memif unmaps rings that are polled."""
    app.do("stop")
    host.assoc(action, **args)
    host.wait_path("synthetic")
    app.do("start")
    host.wait_on_synthetic()


@pytest.mark.parametrize("how", ["surprise", "cut"])
def test_wire(start, how):
    """Its wire is dead without a word, then it is withdrawn: what it held is lost, no more.

    A memif connects again when it is started, not before.
    """
    host, app = start(Console, telemetry=True)
    host.wait_on_vf()
    if how == "cut":
        lose_wire(host, app, "cut")
        host.assoc("mend")
        host.assoc("unplug")
    else:
        lose_wire(host, app, "unplug", kind="surprise", ms=300)
    app.expect("is given up")
    until(lambda: host.nic()["vf"] == "none", "the withdrawal")
    host.assoc("plug", serial=2)
    host.wait_on_vf()
    xstats = Telemetry(app).ask("/ethdev/xstats,0")
    assert (xstats["path_switches_planned"], xstats["path_switches_surprise"]) == (0, 1)
    finish_lossy(host, app)


def test_replaced_before_it_was_told(start):
    """Its wire is dead and another takes its place, which is not withdrawn in its stead."""
    host, app = start(Console)
    host.wait_on_vf()
    lose_wire(host, app, "unplug", kind="surprise", ms=60000)
    host.assoc("replace", serial=9)
    app.expect(r"associates VF serial 9")
    host.wait_on_vf()
    finish_lossy(host, app)


def test_replaced(start):
    """Another VF without a word of the first one's end."""
    host, app = start(telemetry=True)
    host.wait_on_vf()
    host.assoc("replace", serial=9)
    app.expect(r"associates VF serial 9")
    app.expect("data path switched to VF")
    host.wait_on_vf()
    lost_with_vf(host, app)
    app.end()
    host.end()
