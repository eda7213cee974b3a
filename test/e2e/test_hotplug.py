# SPDX-License-Identifier: BSD-3-Clause
"""Devices and memory that come at run time: another host's NIC, memory that is not DPDK's."""
import signal

import pytest

from hv import Host, Testpmd, UioTestpmd, until
from test_ethdev import GEN, ask, forward, quit_both

NIC = "hv_vmbus:68766e00-6574-4e76-8000-00155d00000{}"


def test_socket_at_run_time(run, tmp):
    """A host that the application knew nothing of when it started."""
    app = run(Testpmd, None, interactive=True)
    app.expect("testpmd>")
    assert "Number of available ports: 0" in ask(app, "show port summary all")
    assert "cannot connect" in ask(app, f"port attach {NIC.format(1)},socket={tmp}/none")
    host = run(Host, nics=[GEN])
    assert "unknown" not in ask(app, f"port attach {NIC.format(1)},socket={host.socket}")
    ask(app, "port start 0")
    forward(host, app)
    ask(app, "port stop 0")
    assert "Now total ports is 0" in ask(app, "port detach 0")
    quit_both(host, app)


@pytest.mark.parametrize("kind", ["anon", "xmem"])
def test_external_memory(run, kind):
    """It is said that the host cannot reach it; frames that are copied go through."""
    host = run(Host, nics=[GEN])
    app = run(Testpmd, host, f"--mp-alloc={kind}", interactive=True)
    app.expect("testpmd>")
    assert "external memory at" in app.text
    forward(host, app)
    quit_both(host, app)


@pytest.mark.parametrize("form", [NIC.format(1), NIC.format(1) + ",rx_copybreak=128"])
def test_offered_again(run, form):
    """Taken away and offered again: the same process attaches the NIC again, several times."""
    host = run(Host, nics=[GEN])
    app = run(Testpmd, host, interactive=True)
    app.expect("testpmd>")
    for _ in range(3):
        forward(host, app)
        assert host.command("rescind", nic=0)["ok"]
        app.expect("device removal event")
        app.expect("Device is detached")
        assert "Number of available ports: 0" in ask(app, "show port summary all")
        assert host.command("offer", nic=0)["ok"]
        until(lambda: "No such device" not in ask(app, f"port attach {form}") and
              "available ports: 1" in ask(app, "show port summary all"), "the port")
        ask(app, "port start 0")
    forward(host, app)
    quit_both(host, app)


@pytest.mark.parametrize("way", ["rescind", "kill", "kill in a reset"])
def test_gone_while_stopped(run, way):
    """A port that does not run is told of, and goes, as one that does; also while it opens."""
    host = run(Host, nics=[GEN])
    app = run(Testpmd, host, "--rxq=2", "--txq=2", interactive=True)
    app.expect("testpmd>")
    ask(app, "port stop 0")
    if way == "rescind":
        assert host.command("rescind", nic=0)["ok"]
    else:
        if way == "kill in a reset":
            host.proc.send_signal(signal.SIGSTOP)
            app.type("port reset 0")
            app.expect("Resetting ports")
        host.kill()
    app.expect("device removal event")
    app.expect("Device is detached")
    assert "timed out" not in app.text
    assert "Number of available ports: 0" in ask(app, "show port summary all")
    app.type("quit")
    assert app.wait() == 0, app.text
    app.forget()


@pytest.mark.parametrize("program", [Testpmd, UioTestpmd])
def test_offered_with_other_ids(run, program):
    """Relids, and what is derived from them, may be another device's when one comes back."""
    host = run(Host, nics=[GEN, GEN])
    app = run(program, host, interactive=True)
    app.expect("testpmd>")

    def relids():
        return [host.stats()["nics"][i]["queues"][0]["relid"] for i in range(2)]

    before = relids()
    for nic in range(2):
        assert host.command("rescind", nic=nic)["ok"]
        app.expect("Device is detached")
    for nic in (1, 0):
        assert host.command("offer", nic=nic)["ok"]
    for nic in range(2):
        until(lambda n=nic: "No such device" not in ask(app, f"port attach {NIC.format(n + 1)}") and
              f"available ports: {n + 1}" in ask(app, "show port summary all"), "the port")
        ask(app, f"port start {nic}")
    assert relids() == before[::-1]
    ask(app, "set fwd io")
    app.type("start")  # what one NIC gets goes out by the other
    until(lambda: min(host.port(i)["received"] for i in range(2)) > 500, "frames")
    app.type("stop")
    app.expect("Accumulated forward statistics")
    quit_both(host, app)


def test_two_hosts(run):
    """One application, two hosts: their NICs must have different GUIDs, which is said."""
    first, same = run(Host, nics=[GEN], name="a"), run(Host, nics=[GEN], name="b")
    other = run(Host, nics=[f"guid={NIC.format(2)[9:]},mac=00:15:5d:00:00:02,{GEN}"], name="c")
    sockets = ",".join(str(h.socket) for h in (first, same, other))
    app = run(Testpmd, sockets, interactive=True)
    app.expect("testpmd>")
    assert app.text.count("is there already, from another host") == 1
    assert "Number of available ports: 2" in ask(app, "show port summary all")
    app.type("set fwd io")
    app.type("start")  # what one host sends arrives at the other
    until(lambda: first.port()["received"] > 500 and other.port()["received"] > 500, "frames")
    app.type("stop")
    app.expect("Accumulated forward statistics")
    same.end()
    other.end()
    quit_both(first, app)
