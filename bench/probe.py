#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""How long a port takes on hv-host, from opening its channel until its link is up, by parts."""
import argparse
import pathlib
import re
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "test/e2e"))

from hv import CPUS, Host, TestpmdHv  # noqa: E402

SHARED = re.compile(r"(\d+) bytes shared in (\d+) us")
SESSION = re.compile(r"(\d+) us \(channel (\d+), NVSP (\d+), RNDIS (\d+)\)")
CONFIGURED = re.compile(r"configured, (\d+) us")
STARTED = re.compile(r"started, link up, (\d+) us")
LOGS = ["--log-level=pmd.net.hvnetvsc:info", "--log-level=bus.hv_vmbus:debug"]


def times(host, queues):
    """Microseconds by part, in the order in which they pass."""
    app = TestpmdHv(host, "--forward-mode=rxonly", f"--rxq={queues}", f"--txq={queues}", eal=LOGS)
    try:
        app.expect("Forwarding")
        app.end()
    finally:
        app.kill()
    _, *parts = map(int, SESSION.search(app.text).groups())
    shared = sum(int(us) for _, us in SHARED.findall(app.text[:app.text.index(" us (channel")]))
    return {"sharing memory": shared, "rest of the channel": parts[0] - shared,
            "NVSP": parts[1], "RNDIS": parts[2],
            "configure": int(CONFIGURED.search(app.text).group(1)),
            "start": int(STARTED.search(app.text).group(1))}


def row(name, us):
    ms = [n / 1000 for n in us]
    return f"{name:<20} median {statistics.median(ms):6.1f} ms, {min(ms):.1f} to {max(ms):.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--queues", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hv-probe.") as tmp:
        # Not on the CPU on which the application probes.
        host = Host(pathlib.Path(tmp), nics=["port=sink"], cpu=CPUS[-1])
        try:
            runs = [times(host, args.queues) for _ in range(args.starts)]
            host.end()
        finally:
            host.kill()
    for part in runs[0]:
        print(row(part, [run[part] for run in runs]))
    print(row("probe to link-up", [sum(run.values()) for run in runs]),
          f"in {args.starts} starts (target: 100 ms)")


if __name__ == "__main__":
    main()
