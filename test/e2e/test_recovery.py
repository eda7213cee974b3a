# SPDX-License-Identifier: BSD-3-Clause
"""A port whose channels fail recovers by itself, under traffic, and says so."""
import os
import re
import signal
import time

import pytest

from console import Console, cycle, queues_of
from failover import VfHost, vhost
from hv import Host, UioTestpmd, until
from second import rig  # noqa: F401 (a fixture)
from secondhost import hostile_packets, hostile_start, netvsp
from test_interrupts import RxIntr, UioRxIntr
from test_multiprocess import flows, forwards, processes, stopped
from test_second_host_hostile import alive, leave, start

COUNT = 2000
GEN = f"port=gen:count={COUNT},rate=100k,flows=256,proto=mix,ipv6=50,start=command,expect=return"
FLOW = "port=gen:rate=4k,burst=16,flows=64,verify=count"
BEGINS, ENDS, FAILS = (f"error {what} event" for what in
                       ("recovering", "recovery successful", "recovery failed"))


class UioConsole(UioTestpmd, Console):
    """testpmd's prompt on the uio back end."""


def corrupt(host, app, queue=0):
    """The host writes an index that no ring has, and nothing else before the driver has seen it."""
    seen = app.text.count("wrote nonsense")
    assert host.command("hold-rx", nic=0)["ok"]
    reply = host.command("ring-word", nic=0, queue=queue, ring="rx", word="write", value=3)
    assert reply["ok"], reply
    until(lambda: app.text.count("wrote nonsense") > seen, "the driver has seen it")
    assert host.command("resume-rx", nic=0)["ok"]


def refuse(r):
    """The second host does the same, and gives no other session."""
    spoil = dict(hostile_packets.FATAL)["T12 write index behind the ring"]
    with r.host.lock:
        r.nic.config.replies[netvsp.RECV_BUF_COMPLETE] = hostile_start.completes(102, 2, 0)
        spoil(hostile_packets.Attacker(r.host, r.nic))


def recovered(app, times=1):
    until(lambda: app.text.count(ENDS) == times, "recovery")
    assert app.text.count(BEGINS) == times and FAILS not in app.text


def traffic(host, queues=1):
    """Frames come back, and every queue has a part in it."""
    before = queues_of(host)
    received = host.port()["received"]
    until(lambda: host.port()["received"] > received + COUNT, "frames back")
    until(lambda: all(n > before.get(q, 0) for q, n in queues_of(host).items()), "all queues")
    assert len(queues_of(host)) == queues


def test_lost_channel(run):
    """The host takes one channel of four: soon there are four again, and all frames come back."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", queues=4)
    cycle(host, app, COUNT)
    app.do("set promisc 0 off", "set allmulti 0 on")
    for times in (1, 2):
        assert host.command("rescind", nic=0, channel=2)["ok"]
        app.expect("host took channel 2 away: queue 2")
        recovered(app, times)
        cycle(host, app, COUNT, times * COUNT)
        assert all(queues_of(host)[q] for q in range(4))
    info = app.info()
    assert info["Promiscuous mode"] == "disabled" and info["Allmulticast mode"] == "enabled"
    assert app.xstats()["recoveries"] == 2
    app.quit()
    host.end()


@pytest.mark.parametrize("queue", [0, 1])
@pytest.mark.parametrize("cls", [Console, UioConsole])
def test_corrupt_ring(run, cls, queue):
    """Bursts are running on two lcores while the session is replaced."""
    host = run(Host, nics=[f"queues=2,{FLOW}"])
    app = run(cls, host, "--forward-mode=macswap", queues=2)
    app.do("start")
    traffic(host, 2)
    corrupt(host, app, queue)
    recovered(app)
    traffic(host, 2)
    app.do("stop")
    app.quit()
    host.kill()


def test_queues_stay_as_they_are(run):
    """What is stopped stays stopped, what was started later is started; MTU and RSS table stay."""
    host = run(Host, nics=["queues=4,port=sink"])
    app = run(Console, host, "--forward-mode=macswap", queues=3)
    app.do("port stop 0", "port config mtu 0 1700", "port 0 rxq 2 deferred_start on",
           "port 0 txq 2 deferred_start on", "port start 0", "port 0 rxq 2 start",
           "port 0 txq 2 start", "port config 0 rss reta (0,2),(1,0)", "port 0 rxq 1 stop")
    table = host.command("rss", nic=0)["rss"]["table"][:2]
    assert table == [2, 0]
    corrupt(host, app)
    recovered(app)
    states = [app.do(f"show {kind} info 0 {q}").lower().split("queue state: ")[1].split()[0]
              for kind in ("rxq", "txq") for q in range(3)]
    assert states == ["started", "stopped", "started", "started", "started", "started"]
    assert host.command("rss", nic=0)["rss"]["table"][:2] == table
    assert app.info()["MTU"] == "1700"
    app.quit()
    host.kill()


def corrupt_while_away(run):
    """A port whose lcore has polled, but does not when a ring breaks."""
    host = run(Host, nics=[FLOW])
    app = run(Console, host, "--forward-mode=macswap")
    app.do("start")
    traffic(host)
    app.do("stop")
    corrupt(host, app)
    return host, app


def test_lcore_away(run):
    """One that does not poll just now may be in a burst, without a processor; not for ever."""
    host, app = corrupt_while_away(run)
    recovered(app)
    assert int(re.search(r"recovered, (\d+) us", app.text)[1]) >= 2_000_000
    app.do("start")
    traffic(host)
    app.do("stop")
    app.quit()
    host.kill()


def test_stopped_port(run):
    """A port that is stopped is left alone; its next start does not use the broken session."""
    host = run(Host, nics=[FLOW])
    app = run(Console, host, "--forward-mode=macswap")
    app.do("port stop 0")
    corrupt(host, app)
    app.expect("wrote nonsense")
    app.do("port start 0", "start")
    traffic(host)
    assert BEGINS not in app.text
    app.do("stop")
    app.quit()
    host.kill()


def test_host_that_refuses(rig):
    """The application is told that it failed; once the host is willing again, a start succeeds."""
    r = start(rig, [{}])
    r.program.do("start")
    alive(r, r.nic, "its start")
    refuse(r)
    until(lambda: FAILS in r.program.text, "failure")
    assert r.program.text.count(BEGINS) == 1 and ENDS not in r.program.text
    with r.host.lock:
        r.nic.config.replies.clear()
    r.program.restart()
    r.program.do("start")
    alive(r, r.nic, "a restart")
    assert r.program.text.count(BEGINS) == 1
    r.program.do("stop")
    leave(r)
    assert r.host.error is None, r.host.error


def test_host_that_is_silent_for_a_while(run):
    """It is waited for, although it holds up the end of the old session, too."""
    host = run(Host, nics=[f"queues=2,{FLOW}"])
    app = run(Console, host, "--forward-mode=macswap", queues=2)
    app.do("start")
    assert host.command("rescind", nic=0, channel=1)["ok"]
    until(lambda: BEGINS in app.text, "recovery")
    host.proc.send_signal(signal.SIGSTOP)
    time.sleep(2)
    host.proc.send_signal(signal.SIGCONT)
    recovered(app)
    traffic(host, 2)
    app.do("stop")
    app.quit()
    host.end()


def sleep_through(host, app, count):
    """An application that sleeps gets all frames that come behind a recovery."""
    app.expect("ready")
    corrupt(host, app)
    app.expect("recovered")
    assert host.command("start", nic=0)["ok"]
    app.expect(f"frames {count}")
    assert app.wait() == 0, app.text
    app.forget()


@pytest.mark.parametrize("cls", [RxIntr, UioRxIntr])
def test_asleep(run, cls):
    """Who sleeps for a frame sleeps on the channels that come, without a call of its own."""
    gen = "gen:rate=200,burst=1,count=400,flows=32,start=command,verify=no"
    host = run(Host, nics=[f"queues=2,port={gen}"])
    app = run(cls, host, "2", "400")
    sleep_through(host, app, 400)
    host.kill()


def test_secondary(huge_dir, run):
    """A secondary process stops its bursts and follows into the new session."""
    host = run(Host, nics=[f"queues=2,{FLOW}"])
    first, another = processes(run, host, huge_dir, 2, 0)
    second = another(1)
    flows(host)
    corrupt(host, first, 1)
    first.expect("recovered")
    flows(host)
    forwards(first)
    forwards(second)
    second.quit()
    first.quit()
    host.kill()


@pytest.mark.parametrize("queue", [0, 1])
def test_deaf_secondary(huge_dir, run, queue):
    """A secondary polls on and takes no message: nothing is done under it, and that is said, with
    its name and no other one's, within a limited time. When it hears again a stop and a start are
    enough.
    """
    host = run(Host, nics=[f"queues=3,{FLOW}"])
    first, another = processes(run, host, huge_dir, 3, 1 - queue)
    second, third = another(queue), another(2)
    flows(host)
    first.do("deafen")
    for process in (second, third):
        process.expect("deaf")
    third.do("hear")
    corrupt(host, first, queue)
    first.expect("recovery of port 0 failed")
    assert first.text.count(f"process {second.proc.pid} uses queue {queue}") == 1
    assert first.text.count("nothing can be taken from it") == 1
    second.do("hear")
    first.do("restart")
    flows(host)
    for process in (first, second, third):
        forwards(process)
    for process in (third, second, first):
        process.quit()
    host.kill()


@pytest.mark.parametrize("asleep", [0, 1])
def test_asleep_beside_another(huge_dir, run, asleep):
    """A secondary is stopped between bursts: another one, whichever of the two is told first,
    leaves its bursts all the same, and the port recovers at the first try.
    """
    host = run(Host, nics=[f"queues=3,{FLOW}"])
    first, another = processes(run, host, huge_dir, 3, 0)
    others = [another(1), another(2)]
    flows(host)
    sleeper, awake = others[asleep], others[1 - asleep]
    sleeper.type("sleep")
    until(lambda: stopped(sleeper.proc.pid), "every thread is stopped")
    corrupt(host, first)
    first.expect("recovered")
    assert first.text.count("does not answer") == 2, "told of a stop and of a start"
    forwards(awake)
    os.kill(sleeper.proc.pid, signal.SIGCONT)
    sleeper.expect("done sleep")
    first.do("restart")
    flows(host)
    for process in (*others, first):
        forwards(process)
    for process in (*others, first):
        process.quit()
    host.kill()


def test_deaf_secondary_for_a_while(huge_dir, run):
    """It hears again soon: nobody has to do anything."""
    host = run(Host, nics=[f"queues=2,{FLOW}"])
    first, another = processes(run, host, huge_dir, 2, 0)
    second = another(1)
    flows(host)
    first.do("deafen")
    second.expect("deaf")
    corrupt(host, first, 1)
    first.expect("does not answer")
    second.do("hear")
    first.expect("recovered")
    flows(host)
    forwards(second)
    assert "failed" not in first.text and "taken from it" not in first.text
    second.quit()
    first.quit()
    host.kill()


def test_with_vf(run):
    """The VF is left for that time, and used again.

    It is stopped when the host may not have turned yet: a memif's other end can crash then.
    """
    host = run(VfHost, leg=vhost)
    app = run(Console, host, "--forward-mode=macswap", eal=host.device)
    app.do("start")
    host.command("start", nic=0)
    host.wait_path("vf")
    corrupt(host, app)
    recovered(app)
    host.wait_path("vf")
    received = host.port()["received"]
    until(lambda: host.port()["received"] > received + COUNT, "frames back")
    app.do("stop")
    app.quit()
    host.kill()
