# SPDX-License-Identifier: BSD-3-Clause
"""Debian's own net_netvsc on hv-host: a second opinion of the host, and of test/peer.

The driver is unmodified; its plug-in directory is searched as always, ours are not loaded.
"""
import itertools
import os
import shutil
import signal

import pytest

from hv import DPDK_TESTPMD, ROOT, Host, Program, lcores, until

_prefix = itertools.count()
NETVSC = "librte_net_netvsc.so.23"


class Stock(Program):
    """dpdk-testpmd with net_netvsc; --queue-state because of its stopped queues."""

    def __init__(self, host, *args, cores=1, eal=(), how=("-a",), peer=("--queue-state",)):
        self.prefix = f"hv-stock-{os.getpid()}-{next(_prefix)}"
        super().__init__([ROOT / "test/peer/run-peer", "--socket", host.socket, *peer,
                          "--", DPDK_TESTPMD, "-d", NETVSC, *lcores(cores + 1), "--no-huge",
                          "-m", "256", "--no-shconf", "--no-pci", "--no-telemetry",
                          "--file-prefix", self.prefix, *eal, "--", "--total-num-mbufs=16384",
                          f"--nb-cores={cores}", *how, *args])

    def end(self, sig=signal.SIGINT, status=0):
        self.proc.send_signal(sig)
        assert self.wait() == status, self.text

    def kill(self):
        super().kill()
        shutil.rmtree(f"/var/run/dpdk/{self.prefix}", ignore_errors=True)


@pytest.fixture
def stock(run):
    """A host and the stock driver on it; the driver's own bugs are no failure of the host."""
    def start(nic, *args, host=(), **more):
        h = run(Host, *host, nics=[nic])
        return h, run(Stock, h, *args, **more)
    return start


@pytest.mark.parametrize("queues", [1, 4])
@pytest.mark.parametrize("size", [60, 1514])
def test_macswap(stock, queues, size):
    """Paced, because the driver drops what it cannot forward at once; nothing is damaged."""
    h, app = stock(f"queues=8,port=gen:rate=1000,size={size},start=command,"
                   "verify=count", "--forward-mode=macswap", f"--rxq={queues}",
                   f"--txq={queues}")
    app.expect("packets/burst=")
    h.command("start", nic=0)
    until(lambda: h.port()["received"] >= 500, "frames back")
    app.end()
    port = h.port()
    assert port["damaged"] == 0 and port["duplicated"] == 0, port
    h.end()


def test_rxonly(stock):
    h, app = stock("port=gen", "--forward-mode=rxonly")
    until(lambda: h.port()["sent"] > 20000, "frames")
    app.end()
    assert "RX-packets: 0 " not in app.text
    h.end()


def test_txonly(stock):
    h, app = stock("port=sink:verify=no", "--forward-mode=txonly")
    until(lambda: h.port()["from_guest_frames"] > 20000, "frames")
    app.end()
    h.end()


@pytest.mark.parametrize("version", ["5.3", "4.0"])
def test_versions(stock, version):
    h, app = stock("port=gen", "--forward-mode=rxonly", host=("--vmbus-max", version))
    until(lambda: h.port()["sent"] > 1000, "frames")
    app.end()
    h.end()
