#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Measure drivers side by side: the same hv-host, CPUs and traffic, rounds interleaved.

Each measurement is a fresh host and a fresh guest process. The stock driver (net_netvsc, as
Debian ships it) and ours both run on the kernel's uio ABI as test/peer plays it; the floor is
a bare loop (hvfloor). Writes bench.json, bench.md and bench.png.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import report

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))
HVBENCH, HVFLOOR = BUILD / "bench" / "hvbench", BUILD / "bench" / "hvfloor"
RUN_PEER = ROOT / "test" / "peer" / "run-peer"
OURS = [BUILD / "lib" / "vmbus" / "librte_bus_hv_vmbus.so.23",
        BUILD / "drivers" / "net" / "hvnetvsc" / "librte_net_hvnetvsc.so.23"]
STOCK = "librte_net_netvsc.so.23"
INSTRUCTION_PACKETS = 6400
IDLE_SECONDS = 2


class Row:
    """One kind of traffic. nic: what the host does; args: what the guest does."""

    def __init__(self, name, nic, args, side, floor=None, value="cycles_per_packet", unit="cycles"):
        self.name, self.nic, self.args, self.side, self.floor = name, nic, args, side, floor
        self.value, self.unit = value, unit


IDLE = Row("idle poll", "port=sink", ["--mode", "idle"], "rx", value="cycles_per_empty_poll")


def rows():
    out = []
    for size in (60, 128, 512, 1514):
        for ranges in (1, 8, 32):
            exact = f"ranges-exact={ranges},flush-us=1000" if ranges > 1 else "ranges=1"
            out.append(Row(f"rx {size} B, {ranges} ranges",
                           f"{exact},port=gen:size={size},verify=no", ["--mode", "rx"], "rx",
                           ["rx", str(size)]))
    for size in (60, 128, 512, 1514):
        out.append(Row(f"tx {size} B", "port=sink:verify=no",
                       ["--mode", "tx", "--size", str(size)], "tx", ["tx", str(size)]))
    for size in (60, 1514):
        out.append(Row(f"forward {size} B",
                       f"ranges-exact=8,flush-us=1000,port=gen:size={size},verify=no",
                       ["--mode", "fwd"], "both"))
    out.append(IDLE)
    for p in ("p50", "p99", "p9999"):
        out.append(Row(f"latency {p}", "port=echo", ["--mode", "latency", "--size", "128"],
                       "latency", value=p, unit="ns"))
    out.append(Row("memory", "port=sink", ["--mode", "restart"], "heap", value="heap_bytes",
                   unit="KiB"))
    for what in ("probe", "stop", "start"):
        out.append(Row(f"restart: {what}", "port=sink", ["--mode", "restart"], "restart",
                       value=what, unit="ms"))
    return out


class Bench:
    def __init__(self, opt):
        self.opt = opt
        cpus = sorted(os.sched_getaffinity(0))
        self.host_cpu, self.cpu = cpus[0], cpus[1 % len(cpus)]
        self.count = 0
        self.idle = {}  # instructions of an empty poll

    def eal(self, prefix):
        return ["--lcores", f"0@{self.cpu}", "--no-huge", "-m", "512", "--no-shconf", "--no-pci",
                "--no-telemetry", "--log-level=*:error", "--file-prefix", prefix]

    def guest(self, driver, row, tmp, prefix, more):
        """Command line and environment of a guest, and where its result is."""
        env = dict(os.environ, HV_BUILD=str(BUILD))
        sock = tmp / "s"
        if driver == "floor":
            env["HV_VMBUS_SOCKET"] = str(sock)
            return [HVFLOOR, *self.eal(prefix), "--", *row.floor, str(self.opt.seconds), "8"], env
        plug = [STOCK] if driver == "stock" else OURS
        program = [HVBENCH, *[a for p in plug for a in ("-d", p)], *self.eal(prefix), "--",
                   *row.args, "--json", tmp / "r", *more]
        return [RUN_PEER, "--socket", sock, "--for", "hvbench", "--", *program], env

    def once(self, driver, row, instructions=False):
        """One measurement: hvbench's result, or instructions per packet."""
        tmp = pathlib.Path(tempfile.mkdtemp(prefix="hv-bench."))
        self.count += 1
        prefix = f"hv-bench-{os.getpid()}-{self.count}"
        nic = row.nic.replace("port=gen:", "port=gen:rate=3200,burst=32,") if instructions \
            else row.nic
        host = subprocess.Popen([BUILD / "host" / "hv-host", "--socket", tmp / "s", "--cpu",
                                 str(self.host_cpu), "--json", tmp / "j", "--nic", nic],
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            end = time.monotonic() + 10
            while not (tmp / "s.ctl").exists() and time.monotonic() < end:
                time.sleep(0.01)
            if instructions:
                return self.instructions(driver, row, tmp, prefix)
            more = ["--seconds", str(self.opt.seconds)]
            argv, env = self.guest(driver, row, tmp, prefix, more)
            out = run(argv, env, 60 + 2 * self.opt.seconds)
            if driver == "floor":
                return json.loads(out.strip().splitlines()[-1])
            return json.loads((tmp / "r").read_text())
        finally:
            host.send_signal(signal.SIGTERM)
            _, err = host.communicate(timeout=10)
            # The stock driver breaks rules; ours and the floor must not.
            if host.returncode and driver != "stock":
                raise SystemExit(f"bench: {row.name}: the host ended with status "
                                 f"{host.returncode}:\n{err}")
            shutil.rmtree(tmp)
            shutil.rmtree(f"/var/run/dpdk/{prefix}", ignore_errors=True)

    def instructions(self, driver, row, tmp, prefix):
        """Count in the burst calls alone: repeatable on a noisy machine.

        Frames come in groups of a burst, at a rate that a driver 50 times slower than usual
        takes: net_netvsc never leaves a burst while the host is faster. What the polls in
        between cost is known from the row "idle poll" and subtracted.
        """
        idle = row.name == "idle poll"
        limit = ["--seconds", str(IDLE_SECONDS)] if idle else \
            ["--packets", str(INSTRUCTION_PACKETS), "--seconds", "0"]
        argv, env = self.guest(driver, row, tmp, prefix, [*limit, "--warmup", "0"])
        at = argv.index(HVBENCH)
        argv[at:at] = ["valgrind", "-q", "--tool=callgrind", "--toggle-collect=hvb_rx_burst",
                       "--toggle-collect=hvb_tx_burst", f"--callgrind-out-file={tmp}/cg"]
        run(argv, env, 300)
        total = int(re.search(r"^(?:totals|summary): (\d+)", (tmp / "cg").read_text(),
                              re.M).group(1))
        result = json.loads((tmp / "r").read_text())
        side = result["tx" if row.side == "tx" else "rx"]
        if idle:
            self.idle[driver] = total / side["bursts"]
            return self.idle[driver]
        if driver not in self.idle and side["empty"] != 0:
            self.once(driver, IDLE, True)
        total -= side["empty"] * self.idle.get(driver, 0)
        return total / side["packets"]


def run(argv, env, seconds):
    try:
        done = subprocess.run([str(a) for a in argv], env=env, timeout=seconds, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        raise SystemExit(f"bench: no end after {seconds} s: {' '.join(map(str, argv))}") \
            from None
    if done.returncode != 0:
        raise SystemExit(f"bench: {argv[0]} failed with status {done.returncode}:\n"
                         f"{' '.join(map(str, argv))}\n{done.stdout}{done.stderr}")
    return done.stdout


def value(row, result):
    if row.side == "heap":
        return result["heap_bytes"] / 1024
    if row.side in ("latency", "restart"):
        return result["latency_ns" if row.side == "latency" else "restart_ms"][row.value]
    if "rx" not in result:  # the floor
        return result["cycles_per_packet"]
    if row.side == "both":
        return result["rx"][row.value] + result["tx"][row.value]
    return result[row.side][row.value]


def overload(bench, opt, capacity):
    """Offer parts and multiples of what our driver takes: who delivers what, who drops."""
    out = []
    for factor in (0.5, 0.8, 1, 1.5, 2, 3, 5):
        rate = int(capacity * factor)
        row = Row(f"offered {factor} x", f"overflow=drop,ranges=8,port=gen:rate={rate},verify=no",
                  ["--mode", "rx"], "rx")
        for driver in ("stock", "ours"):
            results = [bench.once(driver, row) for _ in range(1)]
            results.sort(key=lambda r: r["rx"]["packets"] / r["seconds"])
            r = results[len(results) // 2]
            out.append({"offered": rate, "factor": factor, "driver": driver,
                        "delivered": r["rx"]["packets"] / r["seconds"],
                        "driver_dropped": (r["imissed"] + r["ierrors"]) / r["seconds"]})
    return out


def machine(bench):
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    version = run(["pkg-config", "--modversion", "libdpdk"], None, 10).strip()
    return {"cpu": model.group(1) if model else platform.machine(),
            "cpus": len(os.sched_getaffinity(0)), "host_cpu": bench.host_cpu,
            "guest_cpu": bench.cpu, "kernel": platform.release(), "dpdk": version,
            "load": os.getloadavg()[0], "commit": subprocess.run(
                ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True,
                text=True, check=False).stdout.strip()}


def ping(bench):
    return float(run([BUILD / "bench" / "hvping", str(bench.host_cpu), str(bench.cpu)], None, 60))


def measure(bench, opt, chosen):
    """{row: {driver: [value, ...]}}, rounds outside, drivers inside."""
    values = {row.name: {} for row in chosen}
    shared = {}  # one run serves all rows with the same command
    pings = []
    for n in range(opt.rounds):
        pings.append(ping(bench))
        shared.clear()
        for row in chosen:
            drivers = ["stock", "ours"] if n % 2 == 0 else ["ours", "stock"]
            for driver in drivers + (["floor"] if row.floor else []):
                key = (driver, row.nic, tuple(row.args))
                if key not in shared or driver == "floor":
                    shared[key] = bench.once(driver, row)
                v = value(row, shared[key])
                if v == 0 and row.unit == "cycles":
                    raise SystemExit(f"bench: {row.name}, {driver}: no packets in "
                                     f"{opt.seconds} s: is the machine busy? use --seconds")
                values[row.name].setdefault(driver, []).append(v)
            print(f"round {n + 1}/{opt.rounds}, CPUs {pings[-1]:.0f} cycles apart, {row.name}: " +
                  ", ".join(f"{d} {v[-1]:.1f}" for d, v in values[row.name].items()), flush=True)
    return values, pings


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
    parser.add_argument("--rows", default=".", help="regular expression, of rows to measure")
    parser.add_argument("--instructions", action="store_true",
                        help="also count instructions per packet, with valgrind: slow")
    parser.add_argument("--no-overload", action="store_true")
    parser.add_argument("--output", type=pathlib.Path, default=BUILD / "bench")
    opt = parser.parse_args()
    chosen = [r for r in rows() if re.search(opt.rows, r.name)]
    if not chosen:
        parser.error(f"no row matches {opt.rows}")
    bench = Bench(opt)
    if bench.cpu == bench.host_cpu:
        sys.exit("bench: two CPUs are needed, one for the host and one for the guest")
    data = {"machine": machine(bench), "rounds": opt.rounds, "seconds": opt.seconds}
    data["values"], data["ping_cycles"] = measure(bench, opt, chosen)
    data["units"] = {r.name: r.unit for r in chosen}
    data["instructions"] = {}
    if opt.instructions:
        for row in chosen:
            if row.unit == "cycles":
                data["instructions"][row.name] = {
                    d: bench.once(d, row, True) for d in ("stock", "ours")}
                print(f"instructions, {row.name}: {data['instructions'][row.name]}", flush=True)
    if not opt.no_overload:
        row = Row("capacity", "ranges=8,port=gen:verify=no", ["--mode", "rx"], "rx")
        r = bench.once("ours", row)
        data["overload"] = overload(bench, opt, r["rx"]["packets"] / r["seconds"])
    report.write(data, opt.output)


if __name__ == "__main__":
    main()
