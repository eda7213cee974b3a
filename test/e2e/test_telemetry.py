# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's telemetry socket: what a port tells of itself, also while it is taken down and up."""
import threading

from console import ANY_PROMPT, Console, cycle, queues_of
from hv import Host, until
from second import NicConfig, rig  # noqa: F401 (rig is a fixture)
from telemetry import Telemetry

COUNT = 2000
GEN = f"queues=64,port=gen:count={COUNT},rate=100k,flows=64,start=command,expect=return"
ON = {"telemetry": True, "memory": ["--no-huge", "-m", "256"]}


def test_answers(run):
    """Info, queues, path and counters agree with the host."""
    host = run(Host, nics=[GEN, "port=sink"])
    app = run(Console, host, "--forward-mode=macswap", "--port-topology=loop", queues=3, **ON)
    t = Telemetry(app)
    assert t.ask("/hvnetvsc/list") == [0, 1]
    info = t.ask("/hvnetvsc/info,0")
    assert info["version"] == "NVSP 6.1 NDIS 6.30" and info["state"] == "running"
    assert info["mac"].lower() == "00:15:5d:00:00:01" and info["mtu"] == 1500
    assert info["channels"] == 3 and info["link"] == "up" and info["link_mbps"] == 10000
    assert info["rss"] == "on" and info["rsc"] == "off" and info["reta_size"] == 128
    cycle(host, app, COUNT)
    queues = t.ask("/hvnetvsc/queues,0")
    assert {n: (q["rx"], q["tx"]) for n, q in queues.items()} == \
        {n: ("started", "started") for n in "012"}
    assert list(t.ask("/hvnetvsc/queues,0,2")) == ["2"]
    stats = t.ask("/hvnetvsc/stats,0")
    for q, n in queues_of(host).items():
        assert stats[f"rx_q{q}_packets"] == stats[f"tx_q{q}_packets"] == n
    path = t.ask("/hvnetvsc/path,0")
    assert path["transmit"] == path["receive"] == "synthetic" and path["associated"] == "no"
    assert path["switches_to_vf"] == 0
    app.do("port 0 rxq 2 stop")
    assert [q["rx"] for q in t.ask("/hvnetvsc/queues,0").values()] == \
        ["started", "started", "stopped"]
    app.do("port stop all")
    assert t.ask("/hvnetvsc/info,0")["state"] == "stopped"
    # ethdev's own, made of the same: and the dump that a person reads.
    dump = t.ask("/ethdev/dump_priv,0")
    assert "NVSP 6.1" in dump and "channel 2" in dump
    app.do("port close 0")
    assert t.ask("/hvnetvsc/list") == [1]
    for command in ("info,0", "info", "info,x", "info,77", "stats,0", "queues,9", "path,-1"):
        assert t.ask(f"/hvnetvsc/{command}") is None, command
    app.quit()
    host.end()


def test_removed(run):
    """The state of a port that the host took away; then it is gone."""
    host = run(Host, nics=["port=sink"])
    app = run(Console, host, **ON)
    t = Telemetry(app)
    host.command("rescind", nic=0)
    app.expect("removal event")
    until(lambda: t.ask("/hvnetvsc/list") == [], "the port is gone")
    app.quit()
    host.end()


def restart_until(app, numbers, enough):
    """With each of these numbers of queues, and by a reset; again where that is soon done."""
    def round_of_restarts():
        for queues in numbers:
            app.restart(f"port config all rxq {queues}", f"port config all txq {queues}")
        app.restart("port reset 0")
        return enough()

    until(round_of_restarts, "answers")


def test_while_ports_come_and_go(run):
    """Questions never end, while the port is stopped, reconfigured and started."""
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap", queues=2, **ON)
    done, answers = threading.Event(), []

    def ask():
        t = Telemetry(app)
        while not done.is_set():
            answers.extend(t.ask(f"/hvnetvsc/{what},0") for what in
                           ("info", "queues", "path", "stats"))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        restart_until(app, (8, 1, 24, 2), lambda: len(answers) > 20)
    finally:
        done.set()
        thread.join()
    assert all(a is not None for a in answers)
    app.quit()
    host.end()


def test_ethdev_while_ports_come_and_go(run):
    """ethdev's statistics, which its own thread asks for: they never go back meanwhile."""
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap", queues=2, **ON)
    cycle(host, app, COUNT)
    done, seen = threading.Event(), []

    def ask():
        t = Telemetry(app)
        while not done.is_set():
            basic, x = t.ask("/ethdev/stats,0"), t.ask("/ethdev/xstats,0")
            t.ask("/hvnetvsc/stats,0")
            if x:  # ethdev counts queues first, and gives up if there are others then
                seen.append(x["rx_good_packets"])
            if basic:
                seen.append(basic["ipackets"])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        restart_until(app, (8, 1, 24, 2, 3, 1, 16, 2), lambda: len(seen) > 20)
        asked = len(seen)
        app.do("port stop 0", "port close 0")
    finally:
        done.set()
        thread.join()
    assert set(seen[:asked]) == {COUNT}, seen
    app.quit()
    host.end()


def test_during_close(rig):  # noqa: F811
    """The host takes its time to let go of a port that closes: questions do not wait for it."""
    nic = f"hv_vmbus:{NicConfig.instance},stop_timeout=60000"
    r = rig(NicConfig(queues=2), cls=Console, queues=2, eal=["-a", nic], **ON).up()
    app, bus, asked = r.program, r.host.bus, []
    t = Telemetry(app)
    app.do("port stop 0")
    assert list(t.ask("/hvnetvsc/queues,0")) == ["0", "1"]
    assert "channel 1" in t.ask("/ethdev/dump_priv,0")
    stats = t.ask("/hvnetvsc/stats,0")
    with r.host.lock:
        bus._teardown = asked.append
    app.type("port close 0")
    r.host.until(lambda: asked, "the driver waits for memory that the host has")
    assert t.ask("/hvnetvsc/list") == [0] and t.ask("/hvnetvsc/queues,0") == {}
    assert t.ask("/hvnetvsc/info,0")["state"] == "closed"
    assert t.ask("/hvnetvsc/path,0") is not None
    assert t.ask("/hvnetvsc/stats,0").keys() == stats.keys()
    dump = t.ask("/ethdev/dump_priv,0")
    assert "closed" in dump and "channel" not in dump
    with r.host.lock:
        del bus._teardown
        for message in asked:
            bus._teardown(message)
    app.expect(ANY_PROMPT)
    assert t.ask("/hvnetvsc/list") == []
    app.quit()
    r.host.verdict()
