#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Plot the rate at which frames come back through three failovers: bench/vf_plot.py OUT.png"""
import pathlib
import shutil
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "test" / "e2e"))

# pylint: disable=wrong-import-position
from failover import VfHost  # noqa: E402
from hv import CPUS, TestpmdHv  # noqa: E402

RATE = 20000
STEP = 0.05  # seconds


def sample(host, until, series):
    while not until.is_set():
        nic = host.nic()
        series.append((time.monotonic(), nic["port"]["received"], nic["vf_from_guest"]))
        time.sleep(STEP)


def run(tmp):
    """Series of (seconds, frames back, of them by the VF) and the times of what was done."""
    host = VfHost(tmp, rate=RATE)
    app = None
    series, marks, done = [], [], threading.Event()
    try:
        app = TestpmdHv(host, "--forward-mode=macswap", "--tx-retries=100000", eal=host.device,
                        cpus=CPUS[-1:])
        app.expect("Forwarding")
        host.command("start", nic=0)
        host.wait_on_vf()
        thread = threading.Thread(target=sample, args=(host, done, series))
        thread.start()
        for serial in (2, 3, 4):
            time.sleep(1)
            marks.append(time.monotonic())
            host.assoc("unplug")
            time.sleep(1)
            host.assoc("plug", serial=serial)
            host.wait_on_vf()
        time.sleep(1)
        done.set()
        thread.join()
        app.end()
    finally:
        done.set()
        if app is not None:
            app.kill()
        host.kill()
    return series, marks


def main():
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    tmp = pathlib.Path(tempfile.mkdtemp(prefix="hv-plot."))
    try:
        series, marks = run(tmp)
    finally:
        shutil.rmtree(tmp)
    start = series[0][0]
    pairs = list(zip(series, series[1:]))
    when = [b[0] - start for a, b in pairs]
    every = [(b[1] - a[1]) / (b[0] - a[0]) / 1e3 for a, b in pairs]
    by_vf = [(b[2] - a[2]) / (b[0] - a[0]) / 1e3 for a, b in pairs]
    fig, axes = pyplot.subplots(figsize=(9, 3.2))
    axes.plot(when, every, label="back at hv-host", color="tab:blue")
    axes.plot(when, by_vf, label="of these by the VF", color="tab:orange", linewidth=1)
    for i, mark in enumerate(marks):
        axes.axvline(mark - start, color="grey", linestyle=":",
                     label="VF withdrawn" if i == 0 else None)
    axes.set_xlabel("seconds")
    axes.set_ylabel("thousand packets/s")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right")
    fig.tight_layout()
    fig.savefig(sys.argv[1], dpi=100)


if __name__ == "__main__":
    main()
