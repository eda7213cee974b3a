#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measure drivers side by side: the same hv-host, CPUs and traffic, rounds interleaved.

Each measurement is a fresh host and a fresh guest process. The stock driver (net_netvsc, as
Debian ships it) and ours both run on the kernel's uio ABI as test/peer plays it; the floor is
a bare loop (hvfloor). Writes bench.json, bench.md and PNG plots, after every round: a run that is
cut off leaves the report of the rounds before. A process that does not end is killed, and counted.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import time

import report
from guest import BUILD, ROOT, Bench, Counter, Failure, end_in_order
from rows import IDLE, Row, rows

OVERLOAD = (0.5, 0.8, 1, 1.5, 2, 3, 5)


def dropped(result):
    """Frames that a driver took from the ring and threw away while it was measured."""
    return result["imissed"] + result["ierrors"] + result["rx_nombuf"]


def overload(bench, data):
    """Offer parts and multiples of what our driver takes: who delivers what, who drops."""
    if "capacity" not in data:
        row = Row("capacity", "ranges=8,port=gen:verify=no", ["--mode", "rx"], "rx")
        r = bench.once("ours", row)
        if r is None:
            return
        data["capacity"] = r["rx"]["packets"] / r["seconds"]
    for factor in OVERLOAD:
        rate = int(data["capacity"] * factor)
        row = Row(f"offered {factor} x", f"overflow=drop,ranges=8,port=gen:rate={rate},verify=no",
                  ["--mode", "rx"], "rx")
        for driver in ("stock", "ours"):
            r = bench.once(driver, row)
            if r is None:
                continue
            delivered = r["rx"]["packets"] / r["seconds"]
            lost = dropped(r) / r["seconds"]
            data.setdefault("overload", []).append(
                {"offered": rate, "factor": factor, "driver": driver, "delivered": delivered,
                 "driver_dropped": lost, "host_kept": max(0, rate - delivered - lost)})


def output(argv):
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def machine(bench):
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {"cpu": model.group(1) if model else platform.machine(),
            "cpus": len(os.sched_getaffinity(0)), "host_cpu": bench.host_cpu,
            "guest_cpu": bench.cpu, "kernel": platform.release(),
            "dpdk": output(["pkg-config", "--modversion", "libdpdk"]),
            "load": os.getloadavg()[0],
            "commit": output(["git", "-C", str(ROOT), "describe", "--always", "--dirty"])}


def measure_round(bench, data, chosen, n):
    """One value more for each row and driver, None if there is none."""
    shared = {}  # one run serves all rows with the same command
    try:
        data["ping_cycles"].append(bench.ping())
    except Failure as e:
        bench.incidents.append({"row": "ping", "driver": "", "what": str(e)})
    for row in chosen:
        drivers = row.drivers if n % 2 == 0 else row.drivers[::-1]
        for driver in drivers:
            key = (driver, row.nic, tuple(row.floor if driver == "floor" else row.args))
            if key not in shared or driver == "floor":
                shared[key] = bench.once(driver, row)
            value = row.of(shared[key]) if shared[key] is not None else None
            if value is None and shared[key] is not None:
                bench.note(driver, row, "no packets")
            if value is not None and driver != "floor":
                lost, got = dropped(shared[key]), shared[key]["rx"]["packets"]
                if lost > got / 1000:
                    bench.note(driver, row, f"dropped {lost} frames, delivered {got}")
            data["values"][row.name].setdefault(driver, []).append(value)
        last = {d: v[-1] for d, v in data["values"][row.name].items()}
        print(f"round {n + 1}, {row.name}: " +
              ", ".join(f"{d} {'-' if v is None else f'{v:.1f}'}" for d, v in last.items()),
              flush=True)


def measure(bench, opt, data, chosen):
    """Rounds outside, drivers inside, as many as the time allows."""
    start, longest = time.monotonic(), 0
    for n in range(opt.rounds):
        began = time.monotonic()
        if n != 0 and began - start + 1.1 * longest > opt.budget:
            print(f"bench: no time for round {n + 1} within {opt.budget} s")
            return
        measure_round(bench, data, chosen, n)
        for i in bench.incidents:
            i.setdefault("round", n + 1)
        longest = max(longest, time.monotonic() - began)
        data["rounds"] = n + 1
        if not opt.no_overload:
            overload(bench, data)
        data["took"] = time.monotonic() - start
        report.write(data, opt.output)
        print(f"round {n + 1}/{opt.rounds} took {time.monotonic() - began:.0f} s", flush=True)


def count_instructions(opt, chosen):
    counter = Counter(IDLE)
    path = opt.output / "instructions.json"
    out = json.loads(path.read_text()) if path.exists() else {}
    for row in chosen:
        if row.unit != "cycles":
            continue
        out[row.name] = {d: counter.once(d, row) for d in row.drivers if d != "floor"}
        print(f"instructions, {row.name}: {out[row.name]}", flush=True)
        path.write_text(json.dumps(out, indent=1))
    return not any(i["driver"] == "ours" for i in counter.incidents)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each measurement")
    parser.add_argument("--budget", type=float, default=900,
                        help="begin no round that may end after so many seconds (%(default)s)")
    parser.add_argument("--rows", default=".", help="regular expression, of rows to measure")
    parser.add_argument("--instructions", action="store_true",
                        help="count instructions with valgrind instead: slow, also exact on a busy "
                        "machine; rows into instructions.json")
    parser.add_argument("--no-overload", action="store_true")
    parser.add_argument("--output", type=pathlib.Path, default=BUILD / "bench")
    opt = parser.parse_args()
    chosen = [r for r in rows() if re.search(opt.rows, r.name)]
    if not chosen:
        parser.error(f"no row matches {opt.rows}")
    opt.output.mkdir(parents=True, exist_ok=True)
    end_in_order()
    bench = Bench(opt.seconds)
    if bench.cpu == bench.host_cpu:
        sys.exit("bench: two CPUs are needed, one for the host and one for the guest")
    if opt.instructions:
        sys.exit(0 if count_instructions(opt, chosen) else 1)
    data = {"machine": machine(bench), "rounds": 0, "seconds": opt.seconds,
            "units": {r.name: r.unit for r in chosen}, "values": {r.name: {} for r in chosen},
            "ping_cycles": [], "incidents": bench.incidents}
    measure(bench, opt, data, chosen)
    print(report.markdown(data))
    ours = [i for i in bench.incidents if i["driver"] not in ("stock", "")]
    sys.exit(f"bench: {len(ours)} measurements of ours went wrong" if ours else 0)


if __name__ == "__main__":
    main()
