# SPDX-License-Identifier: BSD-3-Clause
"""The kernel's ABI for programs that know no other: test/peer, and our own uio back end on it."""
import os
import signal
import subprocess

import pytest
from test_bus import BUILD, ROOT, host  # noqa: F401 (a fixture)
from control import control
from test_client import App

PEER = ROOT / "test" / "peer"
KERNELS = ["6.12.59", "6.12.58", "6.12.52"]
DELAY = {"HVPEER_RING_DELAY_MS": "30"}


class Peer(App):
    def __init__(self, h, argv, env=None):
        self.log = ""
        self.proc = subprocess.Popen(
            [PEER / "run-peer", "--socket", h.path, "--", *argv],
            env=dict(os.environ, HV_BUILD=str(BUILD), **(env or {})), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)


@pytest.fixture
def peer():
    started = []

    def start(h, *argv, **env):
        started.append(Peer(h, argv, env))
        return started[-1]
    yield start
    for p in started:
        if p.proc.poll() is None:
            p.proc.terminate()
        p.proc.communicate()


@pytest.fixture
def app(peer, tmp_path):
    def start(h, *steps, **env):
        return peer(h, BUILD / "test" / "host" / "bus_echo", "--no-pci", "--no-telemetry", "-l",
                    "0", "--log-level=bus.hv_vmbus:debug", "--no-huge", "-m", "64", "--", *steps,
                    RUNTIME_DIRECTORY=str(tmp_path), **DELAY, **env)
    return start


def abi(peer, h, *steps, commands=(), **env):
    p = peer(h, "/usr/bin/python3", PEER / "abi.py", *steps, **env)
    for word in commands:
        p.until(f"{word}\n")
        control(h, cmd=word, nic=0, **({"n": 2} if word == "subs" else {}))
        p.go()
    p.end()
    assert p.log.count("ok ") == len(steps)


def test_tree_and_maps(host, peer):  # noqa: F811
    h = host()
    abi(peer, h, "tree", "maps", "tree")
    h.end()


@pytest.mark.parametrize("knob", [(), ("--wait", "event"), ("--no-event-fd",)], ids=str)
def test_events(host, peer, knob):  # noqa: F811
    h = host(*knob)
    abi(peer, h, "events", "events")
    h.end()


@pytest.mark.parametrize("knob", [(), ("--no-signal-fd",)], ids=str)
def test_no_monitor(host, peer, knob):  # noqa: F811
    h = host("--no-monitor", "--wait", "event", *knob)
    abi(peer, h, "unmonitored")
    h.end()


def test_subchannels(host, peer):  # noqa: F811
    h = host("--sub-order", "reverse")
    abi(peer, h, "subchannels", commands=("subs", "subs"), **DELAY)
    h.end()


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels(host, peer, kernel):  # noqa: F811
    h = host()
    abi(peer, h, "kernel_masks", commands=("subs",), HVPEER_KERNEL=kernel)
    h.end()


@pytest.mark.parametrize("knob", [(), ("--no-event-fd",)], ids=str)
@pytest.mark.parametrize("kernel", KERNELS)
def test_interrupts(host, peer, kernel, knob):  # noqa: F811
    """Of all channels; or the kernel ends, and with it the process, at that of a sub-channel."""
    h = host(*knob)
    p = peer(h, "/usr/bin/python3", PEER / "abi.py", "interrupts", HVPEER_KERNEL=kernel)
    p.until("subs\n")
    control(h, cmd="subs", nic=0, n=2)
    p.go()
    p.until("a sub-channel's\n")
    log = p.end(0 if kernel == "6.12.59" else -signal.SIGABRT)
    assert ("kernel panic" in log) == (kernel != "6.12.59")
    h.end()


def test_rescind(host, peer):  # noqa: F811
    h = host()
    abi(peer, h, "rescind", commands=("rescind", "offer"))
    h.end()


# --- our uio back end -----------------------------------------------------------------------------


def test_uio_echo(host, app):  # noqa: F811
    h = host()
    log = app(h, "open", "echo=5000", "intr", "close", "open", "echo=100", "intr").end()
    assert "back end uio" in log
    h.end()


@pytest.mark.parametrize("knob", [
    ("--no-monitor",), ("--no-monitor", "--no-signal-fd"), ("--wait", "event"),
    ("--wait", "event", "--no-monitor"), ("--no-event-fd",)], ids=" ".join)
def test_uio_host_knobs(host, app, knob):  # noqa: F811
    h = host(*knob)
    app(h, "open", "echo=500", "intr", "close", "open", "intr").end()
    h.end()


@pytest.mark.parametrize("monitor", [(), ("--no-monitor",)], ids=str)
def test_uio_subchannels(host, app, monitor):  # noqa: F811
    h = host("--sub-order", "random", "--sub-delay", "10", *monitor)
    a = app(h, "open", "line", "sub=3", "sub=1", "sub=2", "echo=300", "close", "open", "line",
            "sub=1", "echo=10")
    for n in (3, 1):
        a.until("open: ok")
        control(h, cmd="subs", nic=0, n=n)
        a.go()
    a.end()
    h.end()


def with_subs(h, a, n):
    a.until("open: ok")
    control(h, cmd="subs", nic=0, n=n)
    a.go()
    return a


@pytest.mark.parametrize("knob", [
    (), ("--no-monitor",), ("--wait", "event"), ("--no-event-fd",)], ids=" ".join)
def test_uio_interrupts(host, app, knob):  # noqa: F811
    """Of every channel, also when the device is opened again."""
    h = host(*knob)
    a = app(h, "open", "line", "sub=1", "sub=2", "intr", "echo=100", "intr", "close", "open",
            "line", "sub=2", "intr", "echo=100")
    for _ in range(2):
        with_subs(h, a, 2)
    a.end()
    h.end()


@pytest.mark.parametrize("kernel", KERNELS[1:])
@pytest.mark.parametrize("knob", [(), ("--wait", "event")], ids=" ".join)
def test_uio_old_kernel(host, app, kernel, knob):  # noqa: F811
    """Interrupts of the first channel; those of another are refused, and none is risked."""
    h = host(*knob)
    a = app(h, "open", "intr", "line", "sub=1", "echo=100", "intr", "echo=100",
            HVPEER_KERNEL=kernel)
    log = with_subs(h, a, 1).end(1)
    assert "intr: Operation not supported" in log
    assert "6.1.159, 6.12.59 or 6.19" in log
    h.end()


def test_uio_remove_and_probe(host, app):  # noqa: F811
    h = host("--nic", "y")
    app(h, "open", "echo=10", "remove", "probe", "open", "echo=10", "remove").end()
    h.end()


def test_uio_rescind(host, app):  # noqa: F811
    h = host()
    a = app(h, "open", "line", "sub=1", "echo=10", "gone", "remove", "line", "probe", "open",
            "echo=10")
    a.until("open: ok")
    control(h, cmd="subs", nic=0, n=1)
    a.go()
    a.until("echo=10: ok")
    control(h, cmd="rescind", nic=0)
    a.until("remove: ok")
    control(h, cmd="offer", nic=0)
    a.until("is /dev/uio")
    a.go()
    a.end()
    h.end()


def test_uio_open_refused(host, app):  # noqa: F811
    h = host("--open-status", "1")
    assert "the host refused to open the channel" in app(h, "open").end(1)
    h.end()
