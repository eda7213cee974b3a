# SPDX-License-Identifier: BSD-3-Clause
"""The data path between the synthetic NIC and a VF, under traffic."""
import re

import pytest

import vf
from console import Console
from failover import NOTHING, VfHost
from hv import CPUS, Testpmd, TestpmdHv

EVENT = "Port 0: link state change event"
APPS = [Testpmd, TestpmdHv]
FLAPS = 20
VF_RINGS = 2 * 1024  # frames: a memif has this many slots each way


@pytest.fixture
def start(run, tmp):
    """start(queues, ...): a host, an application that sends back what it gets, and traffic."""
    def begin(app=Testpmd, queues=1, removable=False, **more):
        host = run(VfHost, queues=queues, **more)
        eal, host.device_vf = host.removable(tmp) if removable else (host.device, None)
        program = run(app, host, "--forward-mode=macswap", f"--rxq={queues}", f"--txq={queues}",
                      eal=eal, cores=min(queues, 2), cpus=CPUS[-1:])
        if app is Console:
            program.do("start")
        else:
            program.expect("Forwarding|packets/burst=")
        host.command("start", nic=0)
        return host, program
    return begin


def finish(host, app):
    """On the VF or long without: a memif that is closed while it connects can crash."""
    assert host.settle() == NOTHING
    app.end()
    host.end()


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("app", APPS, ids=["dpdk-testpmd", "testpmd-hv"])
def test_planned(start, app, queues):
    """Both ways and back: no frame is lost, none comes twice, in order; the program is told."""
    host, program = start(app, queues)
    for serial in (2, 3):
        host.wait_on_vf()
        host.assoc("remove")
        host.wait_on_synthetic()
        host.assoc("add", serial=serial)
    host.wait_on_vf()
    vf.said(program, "link state change event: up" if app is TestpmdHv else EVENT, 5)
    assert program.text.count(EVENT) == 5
    if app is TestpmdHv:
        assert re.findall("data path (VF|synthetic)$", program.text.replace("\r", ""), re.M) == \
            ["VF", "synthetic", "VF", "synthetic", "VF"]
    finish(host, program)


def test_flaps(start):
    """Again and again; statistics are the sum of both paths and miss nothing."""
    host, app = start(Console)
    app.do("set promisc all off")
    last = 0
    for serial in range(2, FLAPS + 2):
        host.wait_on_vf(32)
        host.assoc("remove")
        host.wait_on_synthetic(32)
        now = app.stats()["RX-packets"]
        assert now >= last, "statistics went back"
        last = now
        host.assoc("add", serial=serial)
    host.wait_on_vf()
    assert host.settle() == NOTHING
    sent, stats, xstats = host.port()["sent"], app.stats(), app.xstats()
    assert stats["RX-packets"] == stats["TX-packets"] == sent
    assert stats["RX-missed"] == stats["RX-errors"] == stats["TX-errors"] == 0
    assert xstats["path_switches_to_vf"] == FLAPS + 1
    assert xstats["path_switches_planned"] == FLAPS and xstats["path_switches_surprise"] == 0
    assert xstats["path_is_vf"] == 1
    by_vf = host.nic()
    assert xstats["vf_rx_packets"] == by_vf["vf_to_guest"]
    assert xstats["vf_tx_packets"] == by_vf["vf_from_guest"]
    app.quit()
    host.end()


@pytest.mark.parametrize("app", APPS, ids=["dpdk-testpmd", "testpmd-hv"])
def test_surprise(start, app):
    """The device is gone without a word: what it held is lost, and nothing else."""
    host, program = start(app, removable=True)
    for _ in range(3):
        host.wait_on_vf()
        assert host.device_vf.do("rmv") == "ok"
        program.expect("data path switched to synthetic")
        program.expect("is given up")
        # Named by the user and still associated, it is probed again at once.
        program.expect("data path switched to VF")
    host.wait_on_vf()
    port = host.settle()
    assert port["lost"] <= 3 * VF_RINGS
    assert port == {**NOTHING, "lost": port["lost"]}
    program.end()
    host.end()


def test_late(start):
    """The association comes long after the start."""
    host, app = start(assoc="")
    host.wait_on_synthetic()
    host.assoc("add", serial=7)
    host.wait_on_vf()
    finish(host, app)


def test_slow_switch(start):
    """The host takes its time: no burst waits for it."""
    host, app = start(port="", assoc="vf=1,switch-delay=300")
    host.wait_on_vf()
    host.assoc("remove")
    host.wait_on_synthetic()
    finish(host, app)


def test_failing_switch(start):
    """The host confirms, then says it did not work; it is tried again, and nothing is lost."""
    host, app = start(assoc="vf=1,switch-fail=yes")
    app.expect("data path switched to VF")
    app.expect("data path switched to VF")
    host.wait_on_synthetic()
    finish(host, app)


def test_unsolicited(start):
    """The host turns to the synthetic path by itself; the VF is taken again later."""
    host, app = start()
    for _ in range(3):
        host.wait_on_vf()
        assert host.command("switch-synthetic", nic=0)["ok"]
        host.wait_on_synthetic(32)
    host.wait_on_vf()
    finish(host, app)


def test_replaced(start):
    """Another VF without a word of the first one's end."""
    host, app = start()
    host.wait_on_vf()
    host.assoc("replace", serial=9)
    app.expect(r"associates VF serial 9")
    app.expect("data path switched to VF")
    host.wait_on_vf()
    port = host.settle()
    assert port["lost"] <= 2 * VF_RINGS, "more than the first VF held"
    assert port == {**NOTHING, "lost": port["lost"]}
    app.end()
    host.end()
