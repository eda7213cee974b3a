#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Switch the data path to the VF and back under traffic, N times; what it cost, and what is left.

    bench/vf_flaps.py [--flaps 1000] [--rate 20000] [--queues 1] [--surprise] [--json F]

A flap takes the VF away and brings it back; behind each way, nothing is switched for as long, which
shows what gaps the machine has by itself. hv-host sends frames with sequence numbers, the
application sends them back. "Blackout" is CSIT's: packets lost, divided by the rate offered.
The exit status is 0 if nothing was lost, or with --surprise nothing that was not in the VF's
rings, if nothing leaked, if no call of a burst function took longer than 50 ms without that the
system had taken the processor away meanwhile, and if statistics are exact. HV_BUILD names the
build.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "e2e"))

# pylint: disable=wrong-import-position
from cpu_waits import CpuWaits  # noqa: E402
from failover import VfHost  # noqa: E402
from hv import BUILD, CPUS, TestpmdHv  # noqa: E402
from telemetry import Telemetry  # noqa: E402
from vf_resources import grown, held  # noqa: E402

WARM_UP = 5  # flaps before resources are counted
STALL_US = 50000  # a burst that takes longer is one that waits


WAYS = ("away", "back", "still away", "still back")
LIMIT_MS = 10  # gaps beyond it are counted, and those that waits for a processor do not explain


def numbers(port):
    return {k: port[k] for k in ("sent", "received", "lost", "missed", "duplicated", "reordered",
                                 "longest_gap_ns", "blackout_ns")}


def summary(series, ways=("away", "back")):
    """Sums, and median and maximum of gap and blackout, of a list of what was measured each way."""
    total = {}
    for which, name in enumerate(ways):
        part = [f[which] for f in series]
        for key in ("lost", "duplicated", "reordered", "missed"):
            total[f"{name}_{key}"] = sum(p[key] for p in part)
        gaps = sorted(p["longest_gap_ns"] / 1e6 for p in part)
        dark = sorted(p["blackout_ns"] / 1e6 for p in part)
        total[f"{name}_gap_ms"] = [statistics.median(gaps), gaps[-1]]
        total[f"{name}_gaps_beyond"] = sum(g > LIMIT_MS for g in gaps)
        total[f"{name}_gaps_unexplained"] = sum(
            p["longest_gap_ns"] - p["waited_ns"] > LIMIT_MS * 1e6 for p in part)
        total[f"{name}_blackout_ms"] = [statistics.median(dark), dark[-1]]
    return total


def measure(host, what, waits):
    """Do something in a quiet moment; what hv-host saw of it."""
    before = host.port()
    host.command("reset-stats", nic=0)
    start = time.monotonic()
    waited = waits.ns()
    what()
    host.wait_frames(64)
    now = numbers(host.port())
    now["waited_ns"] = waits.ns() - waited
    now["outstanding_before"] = before["outstanding"]
    now["seconds"] = time.monotonic() - start
    return now


class Bench:
    """A host, an application with a VF, and flaps."""

    def __init__(self, opt, tmp):
        self.opt = opt
        self.host = VfHost(tmp, queues=opt.queues, rate=opt.rate)
        eal, self.vf = self.host.removable(tmp) if opt.surprise else (self.host.device, None)
        self.app = TestpmdHv(self.host, "--forward-mode=macswap", f"--rxq={opt.queues}",
                             f"--txq={opt.queues}", "--tx-retries=100000", "--time-bursts",
                             f"--json={tmp}/app.json", eal=eal, cpus=CPUS[-1:],
                             cores=opt.cores, telemetry=True)
        self.telemetry = self.waits = None
        self.warm_up = min(WARM_UP, opt.flaps - 1)
        self.json = tmp / "app.json"
        self.series = []
        self.lost = self.in_rings = 0

    def kill(self):
        self.app.kill()
        self.host.kill()

    def away(self):
        if self.vf is not None:
            # Named by the user and still associated, it is probed again at once.
            self.vf.do("rmv")
            self.app.expect("data path switched to synthetic")
            return
        self.host.assoc("unplug")
        self.host.wait_on_synthetic(32)
        self.app.expect(r"VF \d+ is given up")

    def back(self, serial):
        if self.vf is not None:
            self.app.expect("data path switched to VF")
        else:
            self.host.assoc("plug", serial=serial)
        self.host.wait_on_vf(32)

    def measure(self, what):
        """The same with and without a switch."""
        self.lost += self.host.port()["lost"]
        moved = measure(self.host, what, self.waits)
        self.lost += self.host.port()["lost"]
        return moved, measure(self.host, lambda: time.sleep(moved["seconds"]), self.waits)

    def run(self):
        host, app = self.host, self.app
        app.expect("Forwarding")
        host.command("start", nic=0)
        host.wait_on_vf()
        self.telemetry = Telemetry(app)
        self.waits = CpuWaits(host.proc.pid, app.proc.pid)
        first = None
        for n in range(self.opt.flaps):
            if n == self.warm_up:
                host.settle()
                first = held(app.proc.pid, self.telemetry)
                host.command("start", nic=0)
                host.wait_on_vf(32)
            away, still_away = self.measure(self.away)
            back, still_back = self.measure(lambda serial=n + 2: self.back(serial))
            self.series.append((away, back, still_away, still_back))
            if (n + 1) % 100 == 0:
                print(f"  {n + 1} flaps", file=sys.stderr, flush=True)
        left = host.settle()
        last = held(app.proc.pid, self.telemetry)
        self.lost += left["lost"] + left["outstanding"]
        exact = self.statistics()
        app.end()
        host.end()
        # UndefinedBehaviorSanitizer goes on; the others end the program with another status.
        assert "runtime error" not in app.text + host.text, app.text + host.text
        return self.report(first, last, exact)

    def statistics(self):
        """Pairs of what the application's port counted and what it should have."""
        port, ext = (self.telemetry.ask(f"/ethdev/{what},0") for what in ("stats", "xstats"))
        nic = self.host.nic()
        flaps = self.opt.flaps
        pairs = {"path_switches_to_vf": (ext["path_switches_to_vf"], flaps + 1)}
        if self.opt.surprise:
            # What the VF's rings lost was sent, and never received.
            self.in_rings = nic["vf_to_guest"] - ext["vf_rx_packets"] + \
                ext["vf_tx_packets"] - nic["vf_from_guest"]
            for way, rings in (("rx", "rx_frames"), ("tx", "tx_frames")):
                count = port["ipackets" if way == "rx" else "opackets"] - ext[f"vf_{way}_packets"]
                pairs[f"{way} by the ring"] = (count, sum(q[rings] for q in nic["queues"]))
            return {**pairs, "surprise": (ext["path_switches_surprise"], flaps)}
        for way, rings, leg in (("rx", "rx_frames", "vf_to_guest"),
                                ("tx", "tx_frames", "vf_from_guest")):
            pairs[f"{way} by the VF"] = (ext[f"vf_{way}_packets"], nic[leg])
            pairs[f"{way} in all"] = (port["ipackets" if way == "rx" else "opackets"],
                                      sum(q[rings] for q in nic["queues"]) + nic[leg])
        return {**pairs, "planned": (ext["path_switches_planned"], flaps),
                "missed": (port["imissed"] + port["ierrors"] + port["oerrors"], 0)}

    def report(self, first, last, exact):
        with open(self.json, encoding="ascii") as f:
            app = json.load(f)
        rate = float(str(self.opt.rate).split(",", maxsplit=1)[0].replace("k", "000"))
        total = {"flaps": self.opt.flaps, "rate": rate, "queues": self.opt.queues,
                 "surprise": self.opt.surprise,
                 "flaps_first": self.warm_up, "resources_first": first, "resources_last": last,
                 "sanitizer": "asan" in BUILD.name, "statistics": exact,
                 "dropped_by_application": app["total"]["dropped"],
                 "longest_burst_us": app["total"]["longest_burst_us"],
                 "longest_burst_not_interrupted_us":
                     app["total"]["longest_burst_not_interrupted_us"]}
        total.update(summary(self.series, WAYS))
        total["lost"], total["lost_in_vf_rings"] = self.lost, self.in_rings
        return total


def wrong(total):
    """What is not as it should be: a list of texts."""
    queues = (total["flaps"] - total["flaps_first"]) * total["queues"]
    # A sanitizer keeps what was freed for a while, and its own records.
    bad = [f"{k} grew" for k in grown(total["resources_first"], total["resources_last"], queues,
                                      resident=not total["sanitizer"])]
    bad += [f"{w} {k}" for w in WAYS for k in ("duplicated", "reordered") if total[f"{w}_{k}"]]
    if total["longest_burst_not_interrupted_us"] > STALL_US:
        bad.append("a burst waited")
    if total["lost"] > total["lost_in_vf_rings"] + total["dropped_by_application"]:
        bad.append("frames were lost")
    return bad + [f"{k}: {a}, expected {b}" for k, (a, b) in total["statistics"].items() if a != b]


def show_switches(total):
    for way, text in (("away", "VF to synthetic"), ("still away", "as long without a switch"),
                      ("back", "synthetic to VF"), ("still back", "as long without a switch")):
        if f"{way}_lost" not in total:
            continue
        gap, dark = total[f"{way}_gap_ms"], total[f"{way}_blackout_ms"]
        print(f"{text}: {total['flaps']} times, lost {total[f'{way}_lost']}, duplicated "
              f"{total[f'{way}_duplicated']}, out of order {total[f'{way}_reordered']}; longest gap"
              f" median {gap[0]:.2f} ms, max {gap[1]:.2f} ms, {total[f'{way}_gaps_beyond']} over "
              f"{LIMIT_MS} ms ({total[f'{way}_gaps_unexplained']} beyond what the threads waited "
              f"for a processor); blackout median {dark[0]:.2f} ms, max {dark[1]:.2f} ms")


def show(total):
    show_switches(total)
    print(f"lost in all: {total['lost']}; by the VF's rings: {total['lost_in_vf_rings']}, by the "
          f"application, whose VF took nothing: {total['dropped_by_application']}")
    print(f"longest burst: {total['longest_burst_us'] / 1e3:.2f} ms; of those that the system did "
          f"not interrupt: {total['longest_burst_not_interrupted_us'] / 1e3:.2f} ms")
    print("before:", total["resources_first"], "after:", total["resources_last"])
    print("statistics, counted and expected:", total["statistics"])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flaps", type=int, default=1000)
    parser.add_argument("--rate", default="20000", help="packets a second, as of a gen port")
    parser.add_argument("--queues", type=int, default=1)
    parser.add_argument("--surprise", action="store_true", help="the device goes first")
    parser.add_argument("--cores", type=int, default=1, help="of the application, on one CPU")
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
    bad = wrong(total)
    for text in bad:
        print("WRONG:", text)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
