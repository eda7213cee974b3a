# SPDX-License-Identifier: BSD-3-Clause
"""What goes wrong says what was wrong, ends in order, and leaves nothing behind."""
import json
import os
import pathlib
import signal
import socket

import pytest

from hv import Host, Testpmd, TestpmdHv, until

GUID = "68766e00-6574-4e76-8000-00155d000001"  # of hv-host's first NIC
PROGRAMS = pytest.mark.parametrize("program", [Testpmd, TestpmdHv])


def fails(app, *messages):
    """It finds no port, says all of this, and ends; dpdk-testpmd stays without ports until told."""
    until(lambda: "Press enter to exit" in app.text or app.proc.poll() is not None, "a decision")
    if app.proc.poll() is None:
        assert "No probed ethernet devices" in app.text, app.text
        app.type("")
        assert app.wait() == 0, app.text
    else:
        assert app.wait() > 0, app.text
    for message in messages:
        assert message in app.text, f"no \"{message}\" in:\n{app.text}"
    app.forget()


@PROGRAMS
def test_no_socket(run, tmp, program):
    fails(run(program, tmp / "none.sock"), str(tmp / "none.sock"), "No such file")


@PROGRAMS
def test_stale_socket(run, tmp, program):
    path = tmp / "stale.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(str(path))
    fails(run(program, path), str(path), "Connection refused")
    path.unlink()


def test_stale_socket_is_replaced(run, tmp):
    """A host that was killed does not keep the next one from starting."""
    first = run(Host)
    first.kill()
    assert first.socket.exists()
    host = run(Host)
    app = run(TestpmdHv, host, "--duration=1")
    assert app.wait() == 0
    host.end()


@PROGRAMS
def test_host_killed(run, program):
    """The application survives; its port reports removal."""
    host = run(Host, nics=["port=gen:rate=100k"])
    app = run(program, host, "--forward-mode=macswap", interactive=program is Testpmd)
    if program is Testpmd:
        app.expect("testpmd> ")
        app.type("start")
    until(lambda: host.port()["received"] > 1000, "traffic")
    host.kill()
    if program is Testpmd:
        app.expect("device removal event")
        app.expect("Now total ports is 0")
        app.type("show port summary all")
        app.expect("Number of available ports: 0")
        app.type("quit")
        assert app.wait() == 0, app.text
    else:
        app.expect("device removal event")
        assert app.wait() == 1, app.text
        assert "no port is left" in app.text and "cyc/pkt" in app.text


def test_other_port_goes_on(run, tmp):
    """One host of two dies: the NIC of the other forwards on."""
    capture_port = ["--vdev", "net_null0,no-rx=1"]
    host = run(Host, nics=["port=gen:rate=20k"])
    app = run(TestpmdHv, host, "--forward-mode=macswap", f"--json={tmp}/j", interactive=True,
              eal=capture_port)
    app.expect("testpmd-hv> ")
    app.type("start")
    app.expect("Forwarding")
    host.kill()
    app.expect("device removal event")
    app.expect("closed")
    app.type("show port info all")
    app.expect("closed")
    app.expect("net_null.*started|started")
    app.type("stop")
    app.expect("all +")
    app.type("quit")
    assert app.wait() == 0
    assert sorted(p["removed"] for p in json.loads((tmp / "j").read_text())["ports"]) == \
        [False, True]


@PROGRAMS
def test_vmbus_version(run, program):
    host = run(Host, "--vmbus-min", "9.0", "--vmbus-max", "9.9")
    fails(run(program, host), "version")
    host.end()


@PROGRAMS
def test_nvsp_version(run, program):
    """The host accepts no version that the driver offers."""
    host = run(Host, nics=["nvsp-min=6.1,port=sink"])
    fails(run(program, host, eal=["-a", f"hv_vmbus:{GUID},nvsp=4"]), "NVSP")
    host.end()


@PROGRAMS
def test_refused_receive_buffer(run, program):
    host = run(Host, nics=["refuse-recv=3,port=sink"])
    fails(run(program, host), "receive buffer")
    host.end()


@PROGRAMS
def test_refused_send_buffer(run, program):
    """Nothing fails: every packet is sent from where it lies."""
    host = run(Host, nics=["refuse-send=3,port=gen:rate=5k,count=500"])
    app = run(program, host, "--forward-mode=macswap")
    until(lambda: host.port()["received"] == 500, "all frames back")
    assert "send buffer" in app.text
    app.end()
    host.end()


@PROGRAMS
def test_no_memory_left(run, program):
    """A host shares so much memory with a guest, and no more: 25 NICs may exhaust it."""
    host = run(Host, "--gpadl-limit", "16")
    fails(run(program, host), "does not take 32505856 bytes of memory")
    host.end()


@PROGRAMS
def test_channel_refused(run, program):
    host = run(Host, "--open-status", "5")
    fails(run(program, host), "does not open channel 0")
    host.end()


@PROGRAMS
def test_two_applications(run, program):
    """The second finds no NIC left, says so, and does not disturb the first."""
    host = run(Host, nics=["port=gen:rate=5k"])
    first = run(TestpmdHv, host, "--forward-mode=macswap", "--tx-retries=1000000")
    until(lambda: host.port()["received"] > 500, "traffic")
    fails(run(program, host), "offers no device", "another application has them")
    before = host.port()["received"]
    until(lambda: host.port()["received"] > before + 500, "traffic of the first goes on")
    first.end()
    host.end()


@PROGRAMS
@pytest.mark.parametrize("args, messages", [
    ("what=1", ['device arguments "what=1": known are', "ring_size="]),
    ("rx_copybreak=many", ["device argument rx_copybreak=many: a number from"]),
    ("ring_size=4097", ["device argument ring_size=4097"]),
    ("mac=00:15:5d", ["device argument mac=00:15:5d: not a MAC address"]),
])
def test_wrong_devargs(run, program, args, messages):
    """An unknown key, and known ones with values they cannot have: each names what was wrong."""
    host = run(Host)
    fails(run(program, host, eal=["-a", f"hv_vmbus:{GUID},{args}"]), *messages)
    host.end()


@PROGRAMS
def test_unknown_device(run, program):
    """The only device that is allowed does not exist."""
    host = run(Host)
    name = "hv_vmbus:00000000-0000-0000-0000-000000000001"
    fails(run(program, host, eal=["-a", name]), f"-a {name}: no such device")
    host.end()


@PROGRAMS
def test_no_hugepages(run, tmp, program):
    """Neither hugepages nor --no-huge; where some can be had, more than there are."""
    pages = pathlib.Path("/sys/kernel/mm/hugepages").glob("*/free_hugepages")
    free = any(int(path.read_text()) != 0 for path in pages) and \
        " hugetlbfs " in pathlib.Path("/proc/mounts").read_text()
    host = run(Host)
    fails(run(program, host, memory=["-m", str(1 << 24)] if free else []),
          "Cannot init memory" if free else "hugepage")
    host.end()


@pytest.mark.parametrize("args, message", [
    ([], "--socket PATH is missing"),
    (["--socket", "/tmp", "--nic", "port=sink"], "/tmp"),
    (["--socket", "TMP/s", "--nic", "what=1"], "unknown key"),
    (["--socket", "TMP/s", "--nic", "queues=0"], "queues=0"),
    (["--socket", "TMP/s", "--nic", "port=none"], "none"),
    (["--socket", "TMP/s", "--nic", "port=dpdk:net_nothing0"], "net_nothing0"),
    (["--socket", "TMP/s", "--nic", "port=gen:size=5"], "size=5"),
    (["--socket", "TMP/s", "--what"], "--what"),
])
def test_host_options(run, tmp, args, message):
    from hv import HV_HOST, Program
    host = run(Program, [HV_HOST, *(a.replace("TMP", str(tmp)) for a in args)])
    assert host.wait() == 1, host.text
    assert message in host.text, host.text
    assert list(tmp.iterdir()) == []


def test_killed_application(run):
    """A guest that dies at any moment costs the host nothing: the next one finds its NIC."""
    host = run(Host, nics=["port=gen:rate=50k,verify=count"])
    for _ in range(3):
        app = run(TestpmdHv, host, "--forward-mode=macswap")
        app.expect("Forwarding")
        os.kill(app.proc.pid, signal.SIGKILL)
        app.wait()
        until(lambda: host.stats()["guests"] == 0, "the guest's end")
    app = run(TestpmdHv, host, "--forward-mode=macswap", "--duration=1")
    assert app.wait() == 0
    host.end()
