# SPDX-License-Identifier: BSD-3-Clause
"""SIGINT and SIGTERM end every program within two seconds, with statistics."""
import json
import pathlib
import signal
import sys

import pytest

from hv import Host, Program, Testpmd, TestpmdHv, until

SIGNALS = pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
PROGRAMS = pytest.mark.parametrize("program, told", [(Testpmd, "Forward statistics for port 0"),
                                                     (TestpmdHv, "cyc/pkt")])


@SIGNALS
@PROGRAMS
def test_program(run, program, told, sig):
    host = run(Host, nics=["port=gen:rate=50k"])
    app = run(program, host, "--forward-mode=macswap")
    until(lambda: host.port()["received"] > 1000, "traffic")
    app.end_soon(sig)
    assert told in app.text
    host.end_soon(sig)
    assert host.result()["nics"][0]["port"]["received"] > 1000


@SIGNALS
@PROGRAMS
@pytest.mark.parametrize("nics", [1, 3])
def test_host_stands_still(run, program, told, nics, sig):
    """A host that does not answer holds nobody up, however many of its NICs are in use."""
    host = run(Host, nics=["queues=4,port=gen:rate=50k"] * nics)
    app = run(program, host, "--forward-mode=macswap", "--rxq=4", "--txq=4",
              memory=["--no-huge", "-m", "512", "--no-shconf"])
    until(lambda: host.port()["received"] > 1000, "traffic")
    host.proc.send_signal(signal.SIGSTOP)
    try:
        app.end_soon(sig)  # 60 s and more were it to wait
    finally:
        host.proc.send_signal(signal.SIGCONT)
    assert told in app.text
    host.end_soon(sig)


@SIGNALS
def test_host_first(run, sig):
    """The host ends in order while a guest is connected."""
    host = run(Host, nics=["port=gen:rate=50k,verify=count"])
    app = run(TestpmdHv, host, "--forward-mode=macswap")
    until(lambda: host.port()["received"] > 1000, "traffic")
    host.end_soon(sig)
    json.loads(host.json.read_text())
    app.expect("removal event")
    assert app.wait() == 1  # its only port has gone


@SIGNALS
def test_no_traffic(run, sig):
    host = run(Host, nics=["port=sink"])
    app = run(TestpmdHv, host, interactive=True)
    app.expect("testpmd-hv> ")
    app.end_soon(sig)
    host.end_soon(sig)


@SIGNALS
def test_host_alone(run, sig):
    run(Host, nics=["port=gen"]).end_soon(sig)


START_HOST = """
import pathlib, signal, sys
sys.path.insert(0, sys.argv[1])
import hv
host = hv.Host(pathlib.Path(sys.argv[2]))
print("host", host.proc.pid, flush=True)
signal.pause()
"""


def runs(pid):
    try:
        return ") Z " not in pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_killed_test(run, tmp):
    """A test that is killed leaves no busy-polling program behind."""
    test = run(Program, [sys.executable, "-c", START_HOST, pathlib.Path(__file__).parent, tmp])
    pid = test.expect(r"host (\d+)\s")[1]
    assert runs(pid)
    test.kill()
    until(lambda: not runs(pid), "the end of hv-host")
