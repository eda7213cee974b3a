# SPDX-License-Identifier: BSD-3-Clause
"""lib/vmbus against hv-host-echo: a DPDK application (bus_echo.c) on the bus hv_vmbus."""
import os
import pathlib
import signal
import socket
import subprocess

import pytest
from control import control
from test_bus import BUILD, Host, host  # noqa: F401 (a fixture)

GUID = "0000000%d-0000-0000-0000-000000000000"
NO_HUGE = ("--no-huge", "-m", "64")


class App:
    def __init__(self, tmp_path, steps, eal=NO_HUGE, env=None):
        self.log = ""
        env = dict(os.environ, RUNTIME_DIRECTORY=str(tmp_path), **(env or {}))
        self.proc = subprocess.Popen(
            [BUILD / "test" / "host" / "bus_echo", "--no-pci", "--no-telemetry", "-l", "0",
             "--log-level=bus.hv_vmbus:debug", *eal, "--", *steps],
            env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            bufsize=0)  # communicate() knows nothing of what until() would leave in a buffer

    def until(self, text):
        """Read its output up to a line with this text."""
        for line in map(bytes.decode, self.proc.stdout):
            self.log += line
            if text in line:
                return
        raise AssertionError(f"no '{text}' in:\n{self.log}")

    def go(self):
        self.proc.stdin.write(b"\n")

    def end(self, status=0):
        out, _ = self.proc.communicate(timeout=60)
        self.log += out.decode()
        assert self.proc.returncode == status, self.log
        return self.log


@pytest.fixture
def app(tmp_path):
    started = []

    def start(where, *steps, **more):
        env = {} if where is None else {"HV_VMBUS_SOCKET": str(getattr(where, "path", where))}
        started.append(App(tmp_path, steps, env=env, **more))
        return started[-1]
    yield start
    for a in started:
        if a.proc.poll() is None:
            a.proc.kill()
        a.proc.communicate()


@pytest.mark.parametrize("version", ["5.3", "5.0", "4.1", "4.0", "3.0", "2.4"])
def test_echo(host, app, version):  # noqa: F811
    h = host("--vmbus-max", version)
    log = app(h, "open", "echo=5000", "close", "open", "echo=100", "intr").end()
    assert f"VMBus {version}" in log
    h.end()


@pytest.mark.parametrize("knob", [
    ("--no-monitor",), ("--no-monitor", "--no-signal-fd"), ("--no-event-fd",),
    ("--wait", "event"), ("--wait", "event", "--no-monitor"), ("--reply-delay", "20"),
    ("--unload-delay", "500"), ("--no-dedicated",)], ids=" ".join)
def test_host_knobs(host, app, knob):  # noqa: F811
    h = host(*knob)
    app(h, "open", "echo=500", "intr", "close", "open", "intr").end()
    h.end()


@pytest.mark.parametrize("order", ["forward", "reverse", "random"])
def test_subchannels(host, app, order):  # noqa: F811
    h = host("--sub-order", order, "--sub-delay", "30")
    a = app(h, "open", "line", "sub=3", "sub=1", "sub=2", "echo=300", "close", "open", "line",
            "sub=1", "echo=10")
    for n in (3, 1):
        a.until("open: ok")
        control(h, cmd="subs", nic=0, n=n)
        a.go()
    a.end()
    h.end()


def test_two_devices(host, app):  # noqa: F811
    h = host("--nic", "y")
    log = app(h, "open", "echo=1000").end()
    assert log.count("probe 0000000") == 2 and log.count("remove 0000000") == 2
    h.end()


@pytest.mark.parametrize("option, args, probed", [
    (f"-b=hv_vmbus:{GUID % 1}", "-", [2]),
    (f"-b=vmbus:{GUID % 2}", "-", [1]),
    (f"-a=hv_vmbus:{GUID % 2},x=1", "x=1", [2]),
    (f"-a=vmbus:{{{GUID % 1}}},x=1,y=2", "x=1,y=2", [1]),
    (f"-a=hv_vmbus:{GUID % 7}", None, []),
    ("-b=hv_vmbus:deadbeef-0000-0000-0000-000000000000", "-", [1, 2])])
def test_allow_and_block(host, app, option, args, probed):  # noqa: F811
    h = host("--nic", "y")
    log = app(h, "open", "echo=10", eal=(*NO_HUGE, *option.split("=", 1))).end()
    assert [f"probe {GUID % i}" in log for i in (1, 2)] == [i in probed for i in (1, 2)]
    assert log.count(f"args={args}\n") == len(probed)
    h.end()


@pytest.mark.parametrize("form", ["socket=%s,q=4", "socket,path=%s,q=4"])
def test_socket_by_devargs(host, app, form):  # noqa: F811
    h = host()
    # EAL cuts a device's name after 63 characters.
    path = os.path.relpath(h.path) if "path=" not in form else h.path
    link = pathlib.Path("/tmp") / f"hv{os.getpid()}"
    try:
        if "path=" not in form:
            link.symlink_to(h.path.parent)
            path = link / "s"
        log = app(None, "open", "echo=10", eal=(*NO_HUGE, "-a", f"hv_vmbus:{form % path}")).end()
    finally:
        link.unlink(missing_ok=True)
    assert "args=q=4\n" in log
    h.end()


def test_rescind(host, app):  # noqa: F811
    h = host()
    a = app(h, "open", "echo=10", "gone", "remove", "line", "probe", "open", "echo=10")
    a.until("echo=10: ok")
    control(h, cmd="rescind", nic=0)
    a.until("remove: ok")
    control(h, cmd="offer", nic=0)
    a.until("the host offers a device")
    a.go()
    assert "args=again=1" in a.end()
    h.end()


def test_rescind_with_subchannels(host, app):  # noqa: F811
    h = host()
    a = app(h, "open", "line", "sub=1", "sub=2", "gone", "close", "remove")
    a.until("open: ok")
    control(h, cmd="subs", nic=0, n=3)
    a.go()
    a.until("sub=2: ok")
    control(h, cmd="rescind", nic=0)
    a.end()
    h.end()


def test_rescind_of_an_unopened_device(host, app):  # noqa: F811
    h = host()
    a = app(h, "gone", "remove", "line", "probe", "open", "echo=1")
    a.until("probe")
    control(h, cmd="rescind", nic=0)
    a.until("remove: ok")
    control(h, cmd="offer", nic=0)
    a.until("the host offers a device")
    a.go()
    a.end()
    h.end()


def test_remove_and_probe(host, app):  # noqa: F811
    h = host()
    app(h, "open", "echo=10", "remove", "probe", "open", "echo=10", "remove").end()
    h.end()


def test_host_killed(host, app, tmp_path):  # noqa: F811
    h = host()
    a = app(h, "open", "echo=10", "gone", "remove", "line", "probe", "open", "echo=10")
    a.until("echo=10: ok")
    h.proc.kill()
    h.proc.wait()
    a.until("remove: ok")
    assert "the host hung up" in a.log
    h.path.unlink()
    pathlib.Path(f"{h.path}.ctl").unlink()
    again = Host(tmp_path)
    try:
        a.go()
        a.end()
        again.end()
    finally:
        again.proc.kill()
        again.proc.wait()


def test_host_killed_while_opening(host, app):  # noqa: F811
    h = host("--lose", "OPENCHANNEL_RESULT")
    a = app(h, "open")
    a.until("probe")
    h.proc.send_signal(signal.SIGKILL)
    h.proc.wait()
    assert "No such device" in a.end(1)


def test_answers_lost(host, app):  # noqa: F811
    h = host("--lose", "GPADL_CREATED")
    assert "Connection timed out" in app(h, "open").end(1)
    h.end()


def test_open_refused(host, app):  # noqa: F811
    h = host("--open-status", "1")
    assert "the host does not open channel 0" in app(h, "open").end(1)
    h.end()


def test_no_socket(app, tmp_path):
    log = app(tmp_path / "none").end()
    assert log.count("start hv-host first") == 1 and "cannot connect: No such file" in log


def test_stale_socket(app, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.bind(str(tmp_path / "stale"))
    assert app(tmp_path / "stale").end().count("nobody listens on it") == 1


def test_no_vmbus_at_all(app):
    assert "VMBUS" not in app(None).end()


def test_two_applications(host, app):  # noqa: F811
    h = host()
    a = app(h, "open", "line")
    a.until("open: ok")
    assert "another application" in app(h, eal=(*NO_HUGE, "--file-prefix", "two")).end()
    a.go()
    a.end()
    h.end()


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_application_dies(host, app, sig):  # noqa: F811
    h = host()
    a = app(h, "open", "line")
    a.until("open: ok")
    a.proc.send_signal(sig)
    a.proc.wait()
    app(h, "open", "echo=10").end()
    h.end()


def test_two_hosts_one_guid(host, app, tmp_path):  # noqa: F811
    (tmp_path / "b").mkdir()
    first, second = host(), Host(tmp_path / "b")
    try:
        log = app(f"{first.path},{second.path}", "open", "echo=10").end()
        assert log.count("is there already, from another host") == 1
        second.end()
    finally:
        second.proc.kill()
        second.proc.wait()
    first.end()
