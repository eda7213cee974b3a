# SPDX-License-Identifier: BSD-3-Clause
"""Secondary processes: they see the port of the primary, and leave it as it was."""
import os
import pathlib
import random
import re
import signal
import time

import pytest

from failover import DEVICE
from hv import BUILD, App, Host, Program, lcores, until

COUNT = 2000


class Primary(App):
    """mp_fwd, which forwards on one queue and sets the port up for the others."""
    binary = BUILD / "test" / "e2e" / "mp_fwd"

    def do(self, line):
        self.type(line)
        return self.expect(f"(?s)(.*?)done {line}\\r?\\n")[1]

    def quit(self):
        self.type("quit")
        assert self.wait() == 0, self.text
        self.forget()


class Secondary(Program):
    """mp_fwd beside a primary."""
    do = Primary.do

    def __init__(self, host, primary, queues, queue, eal=()):
        super().__init__([Primary.binary, *primary.plugins, *lcores(1), "--no-pci",
                          "--no-telemetry", "--proc-type=secondary", "--file-prefix",
                          primary.prefix, *eal, "--", queues, queue],
                         {"HV_VMBUS_SOCKET": str(host.socket)})
        self.expect("ready")

    def quit(self):
        self.type("quit")
        assert self.wait() == 0, self.text


def stats(process):
    return {k: int(v) for k, v in re.findall(r"(\w+) (\d+)", process.do("stats"))}


def processes(run, host, huge_dir, queues, queue):
    """A primary on one queue, and the function that starts a secondary on another."""
    first = run(Primary, host, str(queues), str(queue),
                memory=["--huge-dir", huge_dir, "-m", "128"], cores=0)
    first.expect("ready")
    return first, lambda q: run(Secondary, host, first, str(queues), str(q))


def flows(host, count=1000):
    """Traffic comes back on every flow, whichever queue it takes: nothing waits in a ring."""
    before = host.port()["received"]
    until(lambda: host.port()["received"] > before + count, "frames back")
    until(lambda: host.port()["outstanding"] < 100, "frames of all queues")


def forwards(process, count=1000):
    before = stats(process)["received"]
    until(lambda: stats(process)["received"] > before + count, "frames of its queue")


def test_symmetric(huge_dir, run):
    """Three processes, a queue each: every frame comes back; all see the same statistics."""
    host = run(Host, nics=[f"queues=4,port=gen:count={COUNT},rate=20k,flows=64,start=command,"
                           "expect=return"])
    first, second = processes(run, host, huge_dir, 3, 0)
    others = [second(1), second(2)]
    for n in range(2):
        assert host.command("start", nic=0)["ok"]
        until(lambda n=n: host.port()["received"] == (n + 1) * COUNT, "all frames back")
        seen = [stats(p) for p in (first, *others)]
        assert {s["ipackets"] for s in seen} == {s["opackets"] for s in seen} == \
            {(n + 1) * COUNT}
        assert all(s["received"] == s["sent"] > 0 for s in seen)
        assert sum(s["received"] for s in seen) == (n + 1) * COUNT
    for p in others:
        p.quit()
    first.quit()
    host.end()


def test_without_the_port(huge_dir, run):
    """A process that has left the port out has nothing to do, and is not waited for."""
    host = run(Host, nics=["queues=4,port=gen:rate=20k,flows=64,verify=count"])
    first, second = processes(run, host, huge_dir, 2, 0)
    other = second(1)
    third = run(Secondary, host, first, "2", "1", eal=("-b", DEVICE))
    assert "ports 0" in third.do("ports")
    for _ in range(2):
        flows(host)
        first.do("restart")
    flows(host)
    assert "does not answer" not in first.text
    for process in (third, other, first):
        process.quit()
    host.end()


def test_restart_of_the_primary(huge_dir, run):
    """Stopped, started, opened anew with another MTU: a secondary forwards on by itself."""
    host = run(Host, nics=["queues=4,port=gen:rate=20k,flows=64,verify=count"])
    first, second = processes(run, host, huge_dir, 2, 0)
    other = second(1)
    for line in ("restart", "mtu 1600", "restart", "mtu 1700", "mtu 1500"):
        flows(host)
        first.do(line)
    before = stats(other)["received"]
    flows(host)
    assert stats(other)["received"] > before
    assert host.port()["damaged"] == 0
    # The port goes away under it; it lives on without.
    assert "ports 1" in other.do("ports")
    first.do("close")
    assert "ports 0" in other.do("ports")
    other.quit()
    first.quit()
    host.end()


def test_attached_at_any_time(huge_dir, run):
    """A secondary starts while the port is stopped, and while there is no session with the host,
    which answers slowly here: it forwards as soon as the port does.
    """
    host = run(Host, "--reply-delay", "100", "--wait", "event", "--no-monitor",
               nics=["queues=2,overflow=drop,port=gen:rate=20k,flows=64,verify=count"])
    first, second = processes(run, host, huge_dir, 2, 0)
    first.do("stop")
    other = second(1)
    assert stats(other)["received"] == 0
    first.do("start")
    forwards(other)
    other.quit()
    for last in (1605, 1615, 1625, 1635):  # a busy machine may be too late for the first of them
        for mtu in range(last - 4, last + 1):
            first.type(f"mtu {mtu}")
        first.expect(f"done mtu {last - 4}")
        other = second(1)
        early = f"done mtu {last}" not in first.text
        first.expect(f"done mtu {last}")
        forwards(other)
        other.quit()
        if early:
            break
    assert early
    first.quit()
    host.end()


def test_killed(huge_dir, run):
    """A secondary that owns the first channel is killed anywhere: the primary works on.

    At this rate it is inside a burst most of the time, so that it often dies holding a lock.
    """
    host = run(Host, nics=["queues=2,overflow=drop,port=gen:flows=64,verify=count"])
    first, second = processes(run, host, huge_dir, 2, 1)
    rng = random.Random(2)
    for _ in range(8):
        other = second(0)
        before = stats(other)["received"]
        until(lambda p=other, n=before: stats(p)["received"] > n, "frames of its queue")
        time.sleep(rng.uniform(0, 0.02))  # anywhere
        other.kill()
        first.do("promisc")
        before = stats(first)["received"]
        until(lambda n=before: stats(first)["received"] > n, "frames of the primary's queue")
        first.do("renew 0")
    first.do("restart")
    other = second(0)
    before = stats(other)["received"]
    until(lambda: stats(other)["received"] > before + 1000, "frames of the renewed queue")
    other.quit()
    first.quit()
    assert host.port()["damaged"] == 0
    host.end()


def stopped(pid):
    """A signal is sent before it is taken."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/stat")
    return all(t.read_text().rpartition(")")[2].split()[0] == "T" for t in tasks)


@pytest.mark.parametrize("line, queue, where", [
    ("restart", 0, "loop"), ("mtu 1600", 1, "loop"), ("close", 0, "loop"),
    ("restart", 0, "rx"), ("restart", 1, "tx"), ("mtu 1600", 0, "tx"), ("close", 0, "rx")])
def test_asleep(huge_dir, run, line, queue, where):
    """A secondary sleeps in its loop, or inside a burst with the locks of its channel: the primary
    restarts, reopens or closes its port all the same, and forwards meanwhile. Awake again, the
    secondary forwards on, or just ends.
    """
    host = run(Host, nics=["queues=2,overflow=drop,port=gen:rate=20k,flows=64,verify=count"])
    first, second = processes(run, host, huge_dir, 2, 1 - queue)
    other = second(queue)
    forwards(other, 100)
    sleep = "sleep" if where == "loop" else f"sleep {where}"
    other.type(sleep)
    until(lambda: stopped(other.proc.pid), "every thread is stopped")
    forwards(first, 100)
    first.do(line)
    if line != "close":
        forwards(first, 100)
    assert ("is left to it" in first.text) == (where != "loop")
    os.kill(other.proc.pid, signal.SIGCONT)
    other.expect(f"done {sleep}")
    if line != "close":
        first.do("restart")
        forwards(other, 100)
        forwards(first, 100)
    other.quit()
    first.quit()
    assert host.port()["damaged"] == 0
    host.end()


def test_asleep_beside_another(huge_dir, run):
    """One secondary sleeps while the port is opened anew: another one follows all the same,
    whichever of the two would be told first.
    """
    host = run(Host, "--wait", "event", "--no-monitor",
               nics=["queues=3,overflow=drop,port=gen:rate=20k,flows=64,verify=count"])
    first, second = processes(run, host, huge_dir, 3, 0)
    others = [second(1), second(2)]
    for asleep, awake in (others, others[::-1]):
        asleep.type("sleep")
        until(lambda p=asleep: stopped(p.proc.pid), "every thread is stopped")
        first.do("mtu 1600")
        forwards(awake, 100)
        os.kill(asleep.proc.pid, signal.SIGCONT)
        asleep.expect("done sleep")
        forwards(asleep, 100)
        first.do("mtu 1500")
        for process in (first, *others):
            forwards(process, 100)
    for process in (*others, first):
        process.quit()
    assert host.port()["damaged"] == 0
    host.end()


def test_primary_killed(huge_dir, run):
    """The primary is killed under a secondary: that polls on, finds nothing, and ends when told to.
    The host sees the end; meanwhile another primary has the NIC.
    """
    host = run(Host, nics=["queues=2,overflow=drop,port=gen:rate=20k,flows=64,verify=count"])
    first, second = processes(run, host, huge_dir, 2, 1)
    other = second(0)
    forwards(other)
    first.kill()
    until(lambda: host.stats()["guests"] == 0, "the end of the primary")
    until(lambda: stats(other)["received"] == stats(other)["received"], "an empty ring")
    last = stats(other)["received"]
    again, second = processes(run, host, huge_dir, 2, 0)
    third = second(1)
    for process in (again, third):
        forwards(process)
    assert stats(other)["received"] == last
    for process in (other, third, again):
        process.quit()
    assert host.port()["damaged"] == 0
    host.end()
