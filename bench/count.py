#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Instructions per packet of the data path on a channel in plain memory: exact, in seconds.

    bench/count.py [FILTER]

Also the locked instructions and fences of a round: a receive burst, a transmit burst, or both.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))
HVCOUNT = BUILD / "bench" / "hvcount"
CASES = [("rx", size, ranges, 32) for size in (60, 1514) for ranges in (1, 8, 32)] + \
    [("tx", size, 1, 32) for size in (60, 512, 1514)] + \
    [("tx", 60, 1, 4), ("fwd", 60, 8, 32), ("fwd", 1514, 8, 32), ("fwd", 60, 1, 32),
     ("idle", 60, 1, 32)]

# A bus lock, or what the compiler makes of a full fence.
LOCKED = re.compile(r"^\s*([0-9a-f]+):\s+(lock (cmpxchg|xadd|add|sub|or|and|inc|dec|bt)|xchg .*\("
                    r"|mfence)")
FENCE = re.compile(r"lock or[lq] +\$0x0,(-?0x[0-9a-f]+)?\(%rsp\)|mfence")


def executed(text, program):
    """{address: how often} of a program's own instructions, from callgrind's dump of each."""
    count, address, mine, skip, names = {}, 0, False, False, {}
    for line in text.splitlines():
        m = re.match(r"ob=\((\d+)\)(?: (.*))?$", line)
        if m:
            names.setdefault(m.group(1), m.group(2))
            mine = names[m.group(1)] == str(program)
            continue
        m = re.match(r"cob=\((\d+)\) (.*)$", line)
        if m:
            names.setdefault(m.group(1), m.group(2))
        elif line.startswith("calls="):
            skip = True  # the next line is the callee's cost, at the address of the call
        else:
            m = re.match(r"(0x[0-9a-f]+|[+-]\d+|\*) \S+ (\d+)$", line)
            if not m:
                continue
            at = m.group(1)
            if at != "*":
                address = int(at, 16) if at.startswith("0x") else address + int(at)
            if mine and not skip:
                count[address] = count.get(address, 0) + int(m.group(2))
            skip = False
    return count


def locked(text, program):
    """(locked instructions, fences) that were executed."""
    count = executed(text, program)
    code = subprocess.run(["objdump", "-d", "--no-show-raw-insn", program], capture_output=True,
                          text=True, check=True).stdout.splitlines()
    where = {int(m.group(1), 16) for m in (re.match(r"\s+([0-9a-f]+):", s) for s in code) if m}
    # Where callgrind has the program: all it executed has to be instructions.
    base = next((b for b in (0, 0x108000, 0x109000, 0x400000)
                 if all(a - b in where for a in count)), None)
    if base is None:
        raise SystemExit(f"count: {program} is not where callgrind has it")
    out = [0, 0]
    for line in code:
        m = LOCKED.match(line)
        if m:
            out[bool(FENCE.search(line))] += count.get(int(m.group(1), 16) + base, 0)
    return tuple(out)


def count(mode, size, ranges, burst, rounds=2000, hvcount=HVCOUNT):
    """Instructions per packet, or per poll; and locked ones and fences per round."""
    with tempfile.TemporaryDirectory(prefix="hv-count.") as tmp:
        out = pathlib.Path(tmp) / "cg"
        run = subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", "--toggle-collect=hvn_rx_burst",
             "--toggle-collect=hvn_tx_burst", "--dump-instr=yes", f"--callgrind-out-file={out}",
             hvcount, mode, str(size), str(ranges), str(burst), str(rounds)],
            capture_output=True, text=True, check=True)
        text = out.read_text()
    total = int(re.search(r"^(?:totals|summary): (\d+)", text, re.M).group(1))
    locks, fences = locked(text, hvcount)
    return total / int(run.stdout.split()[-1]), locks / rounds, fences / rounds


def main():
    pattern = sys.argv[1] if len(sys.argv) > 1 else "."
    print(f"{'':32} {'per packet':>12} {'locked/round':>13} {'fences/round':>13}")
    for case in CASES:
        name = "{} {} B, {} ranges, burst {}".format(*case)
        if re.search(pattern, name):
            n, locks, fences = count(*case)
            print(f"{name:32} {n:12.1f} {locks:13.2f} {fences:13.2f}", flush=True)


if __name__ == "__main__":
    main()
