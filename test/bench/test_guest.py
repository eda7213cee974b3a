# SPDX-License-Identifier: BSD-3-Clause
"""A measurement that hangs costs the benchmark one value, not the run."""
import os
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import guest  # noqa: E402
import report  # noqa: E402

# Writes the id of a child that outlives it, then its result if it has one, and stays.
HANGS = "sleep 1000 & echo $! > {0}/child; {1}; sleep 1000"


def gone(pid):
    """Dead, or dead and not yet asked for by whoever adopted it."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_process_that_does_not_end_is_killed_with_its_children(tmp_path, monkeypatch):
    class Popen(subprocess.Popen):
        """It has its child when it is constructed: before its time begins."""
        def __init__(self, *args, **more):
            super().__init__(*args, **more)
            end = time.monotonic() + 60
            while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
                assert time.monotonic() < end
                time.sleep(0.01)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    with pytest.raises(guest.Failure, match="did not end"):
        guest.run(["sh", "-c", HANGS.format(tmp_path, ":")], os.environ, 1)
    pid = (tmp_path / "child").read_text().strip()
    end = time.monotonic() + 60
    while not gone(pid) and time.monotonic() < end:
        time.sleep(0.01)
    assert gone(pid)


def test_a_result_counts_although_the_process_does_not_end(tmp_path, monkeypatch):
    monkeypatch.setattr(guest, "END_GRACE", 0.1)
    write = f"echo '{{}}' > {tmp_path}/r"
    _, ended = guest.run(["sh", "-c", HANGS.format(tmp_path, write)], os.environ, 60,
                         tmp_path / "r")
    assert not ended


def test_a_failed_process_is_a_failure_with_its_words():
    with pytest.raises(guest.Failure, match="no such NIC"):
        guest.run(["sh", "-c", "echo no such NIC; exit 1"], os.environ, 60)


def test_report_of_rounds_with_holes(tmp_path):
    data = {"machine": {"cpu": "x", "cpus": 2, "kernel": "k", "dpdk": "22", "commit": "c",
                        "host_cpu": 0, "guest_cpu": 1, "load": 0.0},
            "rounds": 2, "seconds": 1, "took": 2.0, "ping_cycles": [],
            "units": {"a": "cycles", "b": "cycles", "c": "cycles"},
            "values": {"a": {"stock": [None, 10], "ours": [4, None], "floor": [2, 2]},
                       "b": {"ours": [4, 4]}, "c": {}},
            "incidents": [{"row": "a", "driver": "stock", "what": "did not end", "round": 1},
                          {"row": "a", "driver": "ours", "what": "status 1", "round": 2}]}
    report.write(data, tmp_path)
    text = (tmp_path / "bench.md").read_text()
    assert "| a | cycles | 10 (10..10) | 4 (4..4) |  |  | 2 (2..2) | 0.20 (0.20..0.20) | " \
        "2.00 (2.00..2.00) | stock 1, ours 1 |" in text
    report.document(data, tmp_path, tmp_path / "none")
    assert "stock 1, ours 1" in (tmp_path / "performance_run.inc").read_text()


CALLGRIND = """\
fn=(1) hvb_rx_burst
3 10
+1 2
calls=7 +3
* 500
fn=(2) hvn_rx_burst
3 400
cfn=(3) memcpy
calls=1 1
1 100
fn=(3)
1 100
totals: 512
"""


def test_what_ethdev_costs_is_told_from_what_the_driver_does():
    assert guest.costs(CALLGRIND) == (512, 12)
