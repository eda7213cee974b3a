# SPDX-License-Identifier: BSD-3-Clause
"""A VF under a secondary process: it follows the path; dead or stopped, it holds up nobody."""
import os
import pathlib
import signal

import pytest

import vf
from console import Console
from hv import CPUS, Host, Program, until

PROCESSES = "--num-procs=2"


@pytest.fixture
def both(huge_dir, run, tmp):
    """A host, the primary, the secondary that sends, and the VF."""
    host = run(Host, nics=["queues=2,port=sink:verify=no"])
    one = vf.Vf(tmp)
    app = run(Console, host, PROCESSES, "--proc-id=0", queues=2,
              memory=["--huge-dir", huge_dir, "-m", "128"], eal=one.by_application())
    other = run(Program, [app.binary, *app.plugins, "-d", vf.PLUGIN, "--lcores",
                          f"0@{CPUS[0]},1@{CPUS[-1]}", "--no-pci", "--no-telemetry",
                          "--proc-type=secondary", "--file-prefix", app.prefix,
                          "-a", f"{one.nic},vf={one.name}", "--", PROCESSES, "--proc-id=1",
                          "--rxq=2", "--txq=2", "--forward-mode=txonly", "-i"],
                {"HV_VMBUS_SOCKET": str(host.socket)})
    other.expect("testpmd> ")
    other.type("start")
    other.expect("testpmd> ")
    sends(host, one, "synthetic")
    vf.to_vf(host)
    yield host, app, one, other
    app.quit()
    host.end()


def sends(host, one, path):
    """Wait until the secondary's frames come by a path."""
    def count():
        if path == "vf":
            return int(one.state()["secondary_tx"])
        return host.port()["from_guest_frames"]
    before = count()
    until(lambda: count() > before, f"the secondary sends by the {path} path")


def test_follows(both):
    host, app, one, other = both
    for serial in range(2, 5):
        sends(host, one, "vf")
        vf.remove(host, app)
        # The VF was stopped: nobody was inside it, nobody comes back.
        after = one.state()["secondary_tx"]
        sends(host, one, "synthetic")
        assert one.state()["secondary_tx"] == after
        vf.to_vf(host, serial)
    other.type("stop")
    other.expect("testpmd> ")
    other.type("quit")
    assert other.wait() == 0


def stopped(pid):
    """A signal is sent before it is taken."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/stat")
    return all(t.read_text().rpartition(")")[2].split()[0] == "T" for t in tasks)


def hang(host, one, other, sig):
    """The secondary gets a signal in the middle of a burst on the VF."""
    sends(host, one, "vf")
    one.do("hang")
    until(lambda: one.state()["hung"] == "1", "a burst that does not end")
    os.kill(other.proc.pid, sig)
    if sig == signal.SIGKILL:
        other.wait()
    else:
        until(lambda: stopped(other.proc.pid), "every thread is stopped")
    one.do("go")


def started(pid):
    """When, in ticks; what marks tell of it."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) % 511


def reuse(run, pid, other_than):
    """A process that lives on, and was started at another time, gets this id."""
    for _ in range(100):
        try:
            pathlib.Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        except OSError as e:
            pytest.skip(f"process ids cannot be chosen here: {e}")
        new = run(Program, ["sleep", "600"])
        if new.proc.pid == pid and started(pid) != other_than:
            return
        new.kill()
    raise AssertionError(f"no process got the id {pid}")


@pytest.mark.parametrize("reused", [False, True])
def test_killed(both, run, reused):
    """It ends in the middle of a burst; another process may get its id."""
    host, app, one, other = both
    start = started(other.proc.pid)
    hang(host, one, other, signal.SIGKILL)
    if reused:
        reuse(run, other.proc.pid, start)
    host.command("vf", nic=0, action="unplug")
    app.expect(f"process {other.proc.pid} ended in a burst on the VF")
    app.expect("is given up")
    vf.wait_path(host, "synthetic")
    assert "RX-packets" in app.do("show port stats 0")


@pytest.mark.parametrize("line", ["", "port config all rxd 256"])
def test_asleep(both, line):
    """It stops there for long: the path changes, and the port restarts with other queues; but what
    it uses of the VF is left to it, until it goes on.
    """
    host, app, one, other = both
    hang(host, one, other, signal.SIGSTOP)
    host.command("vf", nic=0, action="unplug")
    vf.wait_path(host, "synthetic")
    app.expect(f"process {other.proc.pid} is stopped in a burst on the VF")
    assert "RX-packets" in app.do("show port stats 0")
    if line:
        app.restart(line)
        assert "is left to it" in app.text
    vf.add(host, 2)
    app.expect("associates VF serial 2")
    # As it was it can be used again; for other queues it would have to be stopped.
    vf.wait_path(host, "synthetic" if line else "vf")
    assert one.state()["started"] == "1" and "given up" not in app.text
    os.kill(other.proc.pid, signal.SIGCONT)
    vf.wait_path(host, "vf")
    app.restart()
    sends(host, one, "vf")
    vf.remove(host, app)
    sends(host, one, "synthetic")
    other.type("stop")
    other.expect("testpmd> ")
    other.type("quit")
    assert other.wait() == 0
