#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""The numbers of the design, each against its neighbours: what chose them.

    bench/sweep.py              instructions per packet, also on a busy machine
    bench/sweep.py --cycles     TSC cycles per packet, or what else shows it, on a quiet one:
                                rounds interleaved

A number is compiled in: the driver is built once for each value, in build/sweep. Results go into
sweep.json of the output directory, instructions and cycles of earlier runs are kept; --doc writes
doc/performance_sweeps.inc from it.
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess

import report
import rows
from count import count
from guest import BUILD, ROOT, Bench, end_in_order

SWEEP = ROOT / "build" / "sweep"
PLUGINS = ["lib/vmbus/librte_bus_hv_vmbus.so.23",
           "drivers/net/hvnetvsc/librte_net_hvnetvsc.so.23"]


class Sweep:
    """values of a macro, or, without one, of the burst. cases: (mode, size, ranges), or, where
    frames a second are counted, (mode, size, burst)."""

    def __init__(self, name, macro, values, chosen, cases, timed_only=False, unit="cycles"):
        self.name, self.macro, self.values, self.chosen = name, macro, values, chosen
        self.cases, self.timed_only, self.unit = cases, timed_only, unit


NEVER = 1 << 30  # more than a ring has

SWEEPS = [
    Sweep("burst", None, [1, 4, 8, 16, 32, 64, 128], 32,
          [("rx", 60, 1), ("rx", 60, 8), ("tx", 60, 1), ("tx", 1514, 1)]),
    Sweep("slots fetched ahead", "HVN_RX_AHEAD", [1, 2, 4, 8, 16], 4,
          [("rx", 60, 1), ("rx", 60, 8), ("rx", 1514, 8)], timed_only=True),
    Sweep("frames fetched ahead from message to message", "HVN_RX_FAR", [8, 16, 32], 16,
          [("rx", 60, 8), ("rx", 60, 32)], timed_only=True),
    Sweep("completions owed at most while frames are left", "HVN_RX_DEFER", [1, 4, 16, 64], 16,
          [("rx", 60, 1), ("rx", 60, 8)]),
    Sweep("completions written together at most", "HVN_ACKS_MAX", [16, 64, 256], 64,
          [("rx", 60, 1), ("rx", 60, 8)]),
    Sweep("messages in flight before completions are looked for", "HVN_TX_RECLAIM",
          [8, 32, 64, 128, 256], 64, [("tx", 60, 1), ("tx", 1514, 1)]),
    Sweep("bytes up to which a packet is copied (1: none is)", "HVN_TX_COPYBREAK", [1, 1600], 1600,
          [("tx", size, 1) for size in (60, 128, 256, 512, 1024, 1514)]),
    Sweep(f"bytes that the host has not read when messages wait for packets ({NEVER}: none does)",
          "HVN_TX_BEHIND", [1024, 2048, 4096, 16384, NEVER], 4096,
          [("forward", 60, burst) for burst in (1, 4, 16, 32)], timed_only=True,
          unit="frames a second"),
]


def build(sweep, value):
    """Directory of hvcount and plug-ins with that value; None: those there are."""
    macro = sweep.macro
    if macro is None or value == sweep.chosen:
        return None
    out = SWEEP / f"{macro}={value}"
    arg = f"-Dc_args=-D{macro}={value}"
    if not (SWEEP / "build" / "build.ninja").exists():
        subprocess.run(["meson", "setup", SWEEP / "build", arg], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    else:
        subprocess.run(["meson", "configure", SWEEP / "build", arg], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", SWEEP / "build", "bench/hvcount", *PLUGINS], check=True,
                   stdout=subprocess.DEVNULL)
    out.mkdir(parents=True, exist_ok=True)
    for f in ["bench/hvcount", *PLUGINS]:
        shutil.copy2(SWEEP / "build" / f, out)
    return out


def label(case):
    mode, size, ranges = case
    if mode == "forward":
        return f"forward {size} B, bursts of {ranges}"
    return f"{mode} {size} B" + (f", {ranges} ranges" if mode == "rx" else "")


def instructions(sweep):
    """{case: {value: instructions per packet}}"""
    out = {label(c): {} for c in sweep.cases}
    for value in sweep.values:
        where = build(sweep, value)
        hvcount = where / "hvcount" if where else BUILD / "bench" / "hvcount"
        for mode, size, ranges in sweep.cases:
            n = count(mode, size, ranges, value if sweep.macro is None else 32, 1000,
                      hvcount=hvcount)[0]
            out[label((mode, size, ranges))][str(value)] = n
            print(f"{sweep.name} = {value}: {label((mode, size, ranges))}: {n:.1f}", flush=True)
    return out


def row_of(case):
    mode, size, last = case
    if mode == "forward":
        return rows.forward_small(size, last)
    return rows.rx(size, last, gen="port=gen:") if mode == "rx" else rows.tx(size)


def timed(sweep, bench, rounds):
    """{case: {value: [cycles per packet, or frames a second, of each round]}}"""
    out = {label(c): {str(v): [] for v in sweep.values} for c in sweep.cases}
    for value in sweep.values:
        where = build(sweep, value)
        if where is not None:
            bench.plugins[str(value)] = [where / pathlib.Path(f).name for f in PLUGINS]
        else:
            bench.plugins[str(value)] = bench.plugins["ours"]
    for n in range(rounds):
        for case in sweep.cases:
            row = row_of(case)
            for value in sweep.values if n % 2 == 0 else sweep.values[::-1]:
                this = row
                if sweep.macro is None:
                    this = rows.Row(row.name, row.nic, row.args + ["--burst", str(value)], row.side)
                result = bench.once(str(value), this)
                v = this.of(result) if result is not None else None
                if v is not None and row.unit == "frames":
                    v /= bench.seconds
                if v is not None:
                    out[label(case)][str(value)].append(v)
        print(f"{sweep.name}, round {n + 1}/{rounds}: " + json.dumps(
            {c: {v: round(x[-1], 1) for v, x in by.items() if x} for c, by in out.items()}),
            flush=True)
    return out


HEADS = {"instructions": "instructions per packet", "cycles": "cycles per packet; median (least)",
         "frames a second": "thousands of frames a second; median (least to most)"}


def spread(x, unit):
    if unit == "cycles":
        return f"{statistics.median(x):.0f} ({min(x):.0f})"
    x = [v / 1000 for v in x]
    return f"{statistics.median(x):.0f} ({min(x):.0f} to {max(x):.0f})"


def document(data):
    text = []
    for sweep in SWEEPS:
        got = data.get(sweep.name, {})
        for unit in ("instructions", sweep.unit):
            if unit not in got:
                continue
            lines = []
            for case, by_value in got[unit].items():
                cells = [case]
                for v in sweep.values:
                    x = by_value.get(str(v))
                    if isinstance(x, list):
                        cells.append(spread(x, unit) if x else "")
                    else:
                        cells.append(f"{x:.1f}" if x else "")
                lines.append(cells)
            head = [f"**{v}**" if v == sweep.chosen else str(v) for v in sweep.values]
            text += [f"{sweep.name[0].upper()}{sweep.name[1:]}"
                     f"{f' (``{sweep.macro}``)' if sweep.macro else ''}, {HEADS[unit]}:", "",
                     report.rst_table([""] + head, lines)]
    (ROOT / "doc" / "performance_sweeps.inc").write_text(
        report.LICENCE.replace("report.py", "sweep.py") + "\n".join(text))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("filter", nargs="?", default=".", help="regular expression, of sweeps")
    parser.add_argument("--cycles", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2)
    parser.add_argument("--doc", action="store_true")
    parser.add_argument("--output", type=pathlib.Path, default=BUILD / "bench")
    opt = parser.parse_args()
    end_in_order()
    path = opt.output / "sweep.json"
    data = json.loads(path.read_text()) if path.exists() else {}
    bench = Bench(opt.seconds)
    for sweep in SWEEPS:
        if not re.search(opt.filter, sweep.name):
            continue
        if opt.cycles:
            got = {sweep.unit: timed(sweep, bench, opt.rounds)}
        elif sweep.timed_only:
            continue
        else:
            got = {"instructions": instructions(sweep)}
        data.setdefault(sweep.name, {}).update(got)
        path.write_text(json.dumps(data, indent=1))
    if opt.doc:
        document(data)


if __name__ == "__main__":
    main()
