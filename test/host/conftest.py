# SPDX-License-Identifier: BSD-3-Clause
import json
import os
import pathlib
import socket
import subprocess
import time

import nicguest
import pytest
from control import TIED, end_all

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))


class NicHost:
    """hv-host with one NIC whose port the test scripts."""

    def __init__(self, path, nic, *args):
        self.path, self.json = path / "s", path / "j"
        self.proc = subprocess.Popen([*TIED, BUILD / "host" / "hv-host-script", "--socket",
                                      self.path, "--json", self.json, "--wait", "event", "--nic",
                                      nic, *args],
                                     stdout=subprocess.DEVNULL)
        self.ctl = socket.socket(socket.AF_UNIX)
        self.ctl.settimeout(30)
        self.judged = False

    def connect(self):
        assert nicguest.until(self.connected, 30)
        self.lines = self.ctl.makefile("rb")

    def connected(self):
        assert self.proc.poll() is None, "the host did not start"
        return self.ctl.connect_ex(f"{self.path}.ctl") == 0

    def cmd(self, cmd, **fields):
        self.ctl.sendall(json.dumps({"cmd": cmd, "nic": 0, **fields}).encode() + b"\n")
        return json.loads(self.lines.readline())

    def stats(self):
        return self.cmd("stats")["stats"]["nics"][0]

    def violations(self):
        """A test that asks judges them itself."""
        self.judged = True
        return self.cmd("violations")["violations"]

    def inject(self, frame, **fields):
        assert self.cmd("inject", frame=frame.hex(), **fields)["ok"]

    def taken(self, n, seconds=20):
        """n frames the guest sent: (bytes, flags, tci)."""
        got, end = [], time.monotonic() + seconds
        while len(got) < n and time.monotonic() < end:
            got += self.cmd("taken")["frames"]
        return [(bytes.fromhex(f), flags, tci) for f, flags, tci in got]

    def guest(self, **kw):
        return nicguest.Nic(self.path, **kw)

    def end(self, *rules):
        """Stop it: exactly these rules were broken."""
        assert self.proc.poll() is None, "the host died"
        assert set(self.violations()) == set(rules)
        self.proc.terminate()
        assert self.proc.wait(30) == (3 if rules else 0)


@pytest.fixture
def nichost(tmp_path):
    started = []

    def start(nic="queues=8", *args):
        started.append(NicHost(tmp_path, nic, *args))
        started[-1].connect()
        return started[-1]
    yield start
    end_all(started, lambda h: h.end(*(h.violations() if h.judged else ())),
            lambda h: h.ctl.close())
