#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The same flaps under Debian's dpdk-testpmd: net_netvsc, unmodified, beside net_hvnetvsc.

    bench/vf_stock.py [--rounds 5] [--rate 20000] [--driver stock|ours] [--json F]

net_netvsc runs on test/peer. Without a PCI bus it learns of a VF in one way only: a port with the
NIC's address exists when the host associates it. So the VF (net_hvtestvf in front of a memif) is
attached by testpmd's command; a planned flap is: the host withdraws the VF, its device vanishes, is
attached again, and the host associates it. In a surprise the device vanishes first. dpdk-testpmd
22.11 forgets none of the ports it attached and crashes behind 40: each round is a new process.
A driver that does not take its VF within 15 s is "stuck", which ends the round.
"""
import argparse
import collections
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from cpu_waits import CpuWaits
from guest import kill_started
from vf_flaps import ROOT, measure, show_switches, summary

# pylint: disable=wrong-import-position,wrong-import-order
import vf  # noqa: E402
from failover import VfHost, memif  # noqa: E402
from hv import CPUS, DPDK_TESTPMD, Program, Testpmd, lcores, until  # noqa: E402

PROMPT = "testpmd> "
PLANNED, SURPRISES = 20, 8  # in a round
STUCK = 15  # seconds
PEER = [ROOT / "test/peer/run-peer", "--queue-state", "--socket"]  # its queues say "stopped"


class Stuck(Exception):
    """The driver does not come back to its VF."""


class App(Program):
    """dpdk-testpmd with one of the drivers."""

    def __init__(self, driver, host, one):
        self.prefix = f"hv-stock-{os.getpid()}"
        stock = driver == "stock"
        launcher = [*PEER, host.socket, "--"] if stock else []
        plugins = ["-d", "librte_net_netvsc.so.23"] if stock else Testpmd.plugins
        device = [] if stock else ["-a", f"{one.nic},vf={one.name}"]
        super().__init__(
            [*launcher, DPDK_TESTPMD, *plugins, "-d", "librte_net_memif.so.23", "-d", vf.PLUGIN,
             *lcores(2, CPUS[-1:]), "--no-huge", "-m", "256", "--no-shconf", "--no-pci",
             "--no-telemetry", "--file-prefix", self.prefix, *device, "--",
             "--total-num-mbufs=16384", "--no-flush-rx", "--nb-cores=1", "-i",
             "--forward-mode=macswap", "--port-topology=loop"],
            {} if stock else {"HV_VMBUS_SOCKET": str(host.socket)})
        self.expect(PROMPT)

    def do(self, line):
        self.type(line)
        self.expect(PROMPT)

    def kill(self):
        if kill_started(self.proc):
            try:
                self.proc.wait(2)
            except subprocess.TimeoutExpired:
                pass
        super().kill()
        shutil.rmtree(f"/var/run/dpdk/{self.prefix}", ignore_errors=True)


class Flaps:
    """A host, a program, a VF that comes and goes."""

    def __init__(self, driver, tmp, rate):
        self.host = VfHost(tmp, assoc="", rate=rate)
        self.one = vf.Vf(tmp, inner="net_memif0")
        self.app = App(driver, self.host, self.one)
        self.serial = 0
        self.waits = None

    def kill(self):
        self.app.kill()
        self.host.kill()

    def attach(self):
        self.app.do(f"port attach {self.one.devargs()}")

    def vanish(self):
        self.one.do("rmv")

    def associate(self):
        self.serial += 1
        self.host.assoc("plug", serial=self.serial)
        end = time.monotonic() + STUCK
        while self.host.nic()["data_path"] != "vf":
            if time.monotonic() > end:
                raise Stuck
            time.sleep(0.01)
        self.host.wait_on_vf(32)

    def withdraw(self):
        self.host.assoc("unplug")
        self.host.wait_on_synthetic(32)

    def surprise(self):
        self.vanish()
        self.host.wait_on_synthetic(32)

    def flap(self, planned):
        """Figures of the way to the synthetic path and of the way back."""
        away = measure(self.host, self.withdraw if planned else self.surprise, self.waits)
        if planned:
            self.vanish()
        until(lambda: not self.one.path.exists(), "the device is removed")
        if not planned:
            self.host.assoc("unplug")
        self.attach()
        return away, measure(self.host, self.associate, self.waits)

    def run(self, series):
        self.app.do("start")
        self.app.do(f"port attach {memif(self.host.wire, 'client')}")
        self.attach()
        self.host.command("start", nic=0)
        self.associate()
        self.waits = CpuWaits(self.host.proc.pid, self.app.proc.pid)
        for planned, count in ((True, PLANNED), (False, SURPRISES)):
            for _ in range(count):
                series["planned" if planned else "surprise"].append(self.flap(planned))


def one_round(driver, rate, series):
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="hv-failover."))
    flaps = None
    try:
        flaps = Flaps(driver, tmp, rate)
        flaps.run(series)
    except Stuck:
        return "stuck"
    except (OSError, ValueError):
        # No answer: memif unmaps what hv-host is about to write to when the other end goes
        # before the host has turned from it.
        if flaps is None or flaps.host.proc.wait(10) != -signal.SIGSEGV:
            raise
        return "host's memif crashed"
    finally:
        if flaps is not None:
            flaps.kill()
        shutil.rmtree(tmp)
    return "done"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="of 20 flaps and 8 surprises")
    parser.add_argument("--rate", default="20000", help="packets a second, as of a gen port")
    parser.add_argument("--driver", action="append", choices=["stock", "ours"])
    parser.add_argument("--json", help="write the figures to a file")
    opt = parser.parse_args()
    result = {}
    for driver in opt.driver or ["stock", "ours"]:
        series = {"planned": [], "surprise": []}
        ends = collections.Counter(one_round(driver, opt.rate, series) for _ in range(opt.rounds))
        print(f"{driver}, rounds: {dict(ends)}", flush=True)
        result[f"{driver} rounds"] = ends
        for kind, part in series.items():
            if not part:
                continue
            total = {"flaps": len(part), **summary(part)}
            print(f"{driver}, {kind}")
            show_switches(total)
            result[f"{driver} {kind}"] = total
    if opt.json:
        with open(opt.json, "w", encoding="ascii") as f:
            json.dump(result, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
