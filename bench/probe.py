#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""How long a probe takes on hv-host, from opening the channel until the link is known."""
import argparse
import pathlib
import re
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "test/e2e"))

from hv import Host, TestpmdHv  # noqa: E402

LINE = re.compile(r"sections of \d+, \d+ queues, (\d+) us")


def probe(host):
    app = TestpmdHv(host, "--forward-mode=rxonly",
                    eal=["--log-level=pmd.net.hvnetvsc:info"])
    try:
        us = int(app.expect(LINE).group(1))
        app.expect("Forwarding")
        app.end()
    finally:
        app.kill()
    return us / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=20)
    starts = parser.parse_args().starts
    with tempfile.TemporaryDirectory(prefix="hv-probe.") as tmp:
        host = Host(pathlib.Path(tmp), nics=["port=sink"])
        try:
            ms = [probe(host) for _ in range(starts)]
            host.end()
        finally:
            host.kill()
    print(f"probe to link-up: median {statistics.median(ms):.1f} ms, "
          f"{min(ms):.1f} to {max(ms):.1f} in {starts} starts (target: 100 ms)")


if __name__ == "__main__":
    main()
