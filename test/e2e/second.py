# SPDX-License-Identifier: BSD-3-Clause
"""A program against the second host (test/secondhost)."""
import sys

import pytest

import hv

sys.path.insert(0, str(hv.ROOT / "test"))

from secondhost.config import BusConfig, NicConfig  # noqa: E402
from secondhost.control import VERSIONS  # noqa: E402
from secondhost.host import SecondHost  # noqa: E402

__all__ = ["BusConfig", "NicConfig", "VERSIONS", "Rig", "rig"]


@pytest.fixture
def rig(tmp, run):
    """rig(nic, ...): a second host and dpdk-testpmd; both end with the test."""
    rigs = []

    def start(*nics, **more):
        rigs.append(Rig(tmp, run, *nics, name=f"second{len(rigs)}", **more))
        return rigs[-1]

    yield start
    for r in rigs:
        r.close()


class Rig:
    """A host and a testpmd that sends back what it receives; judged when it ends."""

    def __init__(self, tmp, run, *nics, bus=None, args=(), cls=hv.Testpmd, name="second", **more):
        self.host = SecondHost(tmp / f"{name}.sock", *nics, bus=bus)
        self.host.__enter__()
        try:
            self.program = run(cls, self.host, *args, **more)
        except BaseException:
            self.host.__exit__()
            raise

    @property
    def nic(self):
        return self.host.nic

    def up(self, nic=None):
        """Wait until it receives."""
        nic = nic or self.nic
        self.host.until(lambda: nic.session is not None and nic.session.control.filter
                        or self.program.proc.poll() is not None, "a packet filter")
        assert self.program.proc.poll() is None, self.program.text
        return self

    def echo(self, frames, per_message=1, queue=0, expect=None):
        """Frames to the guest come back, all and unchanged and in order."""
        expect = expect or [f[0] if isinstance(f, tuple) else f for f in frames]
        nic = self.nic
        with self.host.lock:
            before = len(nic.sent)
            nic.receive(frames, per_message, queue)
        self.host.until(lambda: len(nic.sent) >= before + len(expect)
                        or self.program.proc.poll() is not None,
                        f"{len(expect)} frames back")
        with self.host.lock:
            sent = [s.tagged for s in nic.sent[before:]]
        if sent != expect:
            first = next(i for i, (a, b) in enumerate(zip(sent, expect)) if a != b)
            assert sent[first] == expect[first], f"frame {first} of {len(expect)}"
        assert len(sent) == len(expect)

    def idle(self):
        """Nothing of a reception or transmission is outstanding."""
        nic = self.nic
        self.host.until(lambda: nic.session is None or not nic.session.busy
                        and not nic.session.tx_ids, "completions")

    def end(self, status=0):
        self.program.end(status=status)
        self.host.verdict()

    def close(self):
        self.program.kill()
        self.host.__exit__()
