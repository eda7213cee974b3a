# SPDX-License-Identifier: BSD-3-Clause
"""What a burst may have of instructions that lock, counted where they are executed."""
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import count  # noqa: E402

# (locks: each channel lock once; fences: each index published, where the host may be waiting;
# the first of the idle polls finds out that it is one)
MOST = {"rx": (2, 2), "tx": (1.1, 1), "idle": (0.1, 0.1)}


@pytest.mark.parametrize("mode", MOST)
def test_no_burst_locks_more_than_it_has_locks(mode):
    _, locks, fences = count.count(mode, 60, 1, 32, 64)
    assert locks <= MOST[mode][0] and fences <= MOST[mode][1]
    # A counter that finds nothing would be no counter.
    assert mode == "idle" or (locks >= 1 and fences >= 1)
