#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Instructions per packet of the data path on a channel in plain memory: exact, in seconds.

    bench/count.py [FILTER]
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("HV_BUILD", ROOT / "build" / "gcc"))
CASES = [("rx", size, ranges, 32) for size in (60, 1514) for ranges in (1, 8, 32)] + \
    [("tx", size, 1, 32) for size in (60, 512, 1514)] + \
    [("tx", 60, 1, 4), ("fwd", 60, 8, 32), ("fwd", 1514, 8, 32), ("fwd", 60, 1, 32),
     ("idle", 60, 1, 32)]


def count(mode, size, ranges, burst, rounds=2000, out=None):
    """Instructions per packet, or per poll."""
    with tempfile.TemporaryDirectory(prefix="hv-count.") as tmp:
        out = out or f"{tmp}/cg"
        run = subprocess.run(
            ["valgrind", "-q", "--tool=callgrind", "--toggle-collect=hvn_rx_burst",
             "--toggle-collect=hvn_tx_burst", "--dump-instr=yes", f"--callgrind-out-file={out}",
             BUILD / "bench" / "hvcount", mode, str(size), str(ranges), str(burst), str(rounds)],
            capture_output=True, text=True, check=True)
        total = re.search(r"^(?:totals|summary): (\d+)", pathlib.Path(out).read_text(), re.M)
        return int(total.group(1)) / int(run.stdout.split()[-1])


def main():
    pattern = sys.argv[1] if len(sys.argv) > 1 else "."
    for case in CASES:
        name = "{} {} B, {} ranges, burst {}".format(*case)
        if re.search(pattern, name):
            print(f"{name:32} {count(*case):8.1f}", flush=True)


if __name__ == "__main__":
    main()
