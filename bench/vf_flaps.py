#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Switch the data path to the VF and back under traffic, N times; what it cost, and what is left.

    bench/vf_flaps.py [--flaps 1000] [--rate 20000] [--queues 1] [--surprise] [--json F]

A flap takes the VF away and brings it back. hv-host sends frames with sequence numbers, the
application sends them back. "Blackout" is CSIT's: packets lost, divided by the rate offered.
Without --surprise nothing may be lost: the exit status is 0 only then, and if nothing leaked.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "e2e"))

# pylint: disable=wrong-import-position
from failover import VfHost  # noqa: E402
from hv import CPUS, TestpmdHv  # noqa: E402

WARM_UP = 5  # flaps before resources are counted: pools and caches fill


def resources(program):
    """What a leak would make grow: descriptors, threads, memory mappings, resident kilobytes."""
    proc = pathlib.Path(f"/proc/{program.proc.pid}")
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return {"fds": len(os.listdir(proc / "fd")), "threads": int(status["Threads"]),
            "maps": len((proc / "maps").read_text().splitlines()),
            "rss_kb": int(status["VmRSS"].split()[0])}


def numbers(port):
    return {k: port[k] for k in ("sent", "received", "lost", "missed", "duplicated", "reordered",
                                 "longest_gap_ns")}


class Bench:
    """A host, an application with a VF, and flaps."""

    def __init__(self, opt, tmp):
        self.opt = opt
        self.host = VfHost(tmp, queues=opt.queues, rate=opt.rate)
        eal, self.vf = self.host.removable(tmp) if opt.surprise else (self.host.device, None)
        self.app = TestpmdHv(self.host, "--forward-mode=macswap", f"--rxq={opt.queues}",
                             f"--txq={opt.queues}", "--tx-retries=100000",
                             f"--json={tmp}/app.json", eal=eal, cpus=CPUS[-1:],
                             cores=min(opt.queues, 2))
        self.json = tmp / "app.json"
        self.series = []

    def kill(self):
        self.app.kill()
        self.host.kill()

    def measure(self, what):
        """Do something in a quiet moment; what hv-host saw of it."""
        before = self.host.port()
        self.host.command("reset-stats", nic=0)
        start = time.monotonic()
        what()
        self.host.wait_frames(64)
        now = numbers(self.host.port())
        now["outstanding_before"] = before["outstanding"]
        now["seconds"] = time.monotonic() - start
        return now

    def away(self):
        if self.vf is not None:
            # Named by the user and still associated, it is probed again at once.
            self.vf.do("rmv")
            self.app.expect("data path switched to synthetic")
            return
        self.host.assoc("remove")
        self.host.wait_on_synthetic(32)
        self.app.expect(r"VF \d+ is given up")

    def back(self, serial):
        if self.vf is not None:
            self.app.expect("data path switched to VF")
        else:
            self.host.assoc("add", serial=serial)
        self.host.wait_on_vf(32)

    def run(self):
        host, app = self.host, self.app
        app.expect("Forwarding")
        host.command("start", nic=0)
        host.wait_on_vf()
        first = None
        for n in range(self.opt.flaps):
            if n == WARM_UP:
                first = resources(app)
            away = self.measure(self.away)
            back = self.measure(lambda serial=n + 2: self.back(serial))
            self.series.append((away, back))
            if (n + 1) % 100 == 0:
                print(f"  {n + 1} flaps", file=sys.stderr, flush=True)
        left = host.settle()
        last = resources(app)
        app.end()
        host.end()
        return self.report(left, first or last, last)

    def report(self, left, first, last):
        with open(self.json, encoding="ascii") as f:
            app = json.load(f)
        rate = float(str(self.opt.rate).split(",", maxsplit=1)[0].replace("k", "000"))
        total = {"flaps": self.opt.flaps, "rate": rate, "queues": self.opt.queues,
                 "surprise": self.opt.surprise, "resources_first": first, "resources_last": last,
                 "dropped_by_application": app["total"]["dropped"]}
        for name, which in (("away", 0), ("back", 1)):
            part = [f[which] for f in self.series]
            for key in ("lost", "duplicated", "reordered", "missed"):
                total[f"{name}_{key}"] = sum(p[key] for p in part)
            gaps = sorted(p["longest_gap_ns"] / 1e6 for p in part)
            dark = sorted(p["lost"] / rate * 1e3 for p in part)
            total[f"{name}_gap_ms"] = [statistics.median(gaps), gaps[-1]]
            total[f"{name}_blackout_ms"] = [statistics.median(dark), dark[-1]]
        total["outstanding"] = left["outstanding"]
        return total


def leaked(total):
    first, last = total["resources_first"], total["resources_last"]
    # A flap may be under way in one place or another: a descriptor or two, never one for each.
    # net_memif itself keeps 29 kB of every transmit queue it releases (DPDK 22.11).
    own_kb = 8192 + 40 * total["flaps"] * total["queues"]
    return last["threads"] > first["threads"] or last["fds"] > first["fds"] + 2 or \
        last["maps"] > first["maps"] + 16 or last["rss_kb"] > first["rss_kb"] + own_kb


def show(total):
    for way, text in (("away", "VF to synthetic"), ("back", "synthetic to VF")):
        gap, dark = total[f"{way}_gap_ms"], total[f"{way}_blackout_ms"]
        print(f"{text}: {total['flaps']} switches, lost {total[f'{way}_lost']}, duplicated "
              f"{total[f'{way}_duplicated']}, out of order {total[f'{way}_reordered']}; longest gap"
              f" median {gap[0]:.2f} ms, max {gap[1]:.2f} ms; blackout median {dark[0]:.2f} ms, "
              f"max {dark[1]:.2f} ms")
    print("before:", total["resources_first"], "after:", total["resources_last"])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flaps", type=int, default=1000)
    parser.add_argument("--rate", default="20000", help="packets a second, as of a gen port")
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--surprise", action="store_true", help="the device goes first")
    parser.add_argument("--json", help="write the figures, and each flap's, to a file")
    opt = parser.parse_args()
    tmp = pathlib.Path(tempfile.mkdtemp(prefix="hv-failover."))
    bench = None
    try:
        bench = Bench(opt, tmp)
        total = bench.run()
        show(total)
        if opt.json:
            with open(opt.json, "w", encoding="ascii") as f:
                json.dump({"total": total, "flaps": bench.series}, f, indent=1)
    finally:
        if bench is not None:
            bench.kill()
        shutil.rmtree(tmp)
    bad = any(total[f"{w}_{k}"] for w in ("away", "back") for k in ("duplicated", "reordered"))
    if not opt.surprise:
        bad = bad or total["away_lost"] or total["back_lost"] or total["outstanding"]
    if leaked(total):
        print("a resource grew")
        bad = True
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
