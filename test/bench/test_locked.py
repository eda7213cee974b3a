# SPDX-License-Identifier: BSD-3-Clause
"""What a burst may have of instructions that lock, counted where they are executed."""
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import count  # noqa: E402

# (locks: 64, which make a thread the favourite, each of the two; fences: each index
# published, where the host may be waiting; the first of the idle polls finds out that it is one)
ROUNDS = 640
MOST = {"rx": (2 * 64 / ROUNDS, 2), "tx": (64 / ROUNDS + 1 / 16 + 0.01, 1), "idle": (0.1, 0.1)}


@pytest.mark.parametrize("mode", MOST)
def test_no_burst_locks_where_nobody_else_comes(mode):
    _, locks, fences = count.count(mode, 60, 1, 32, ROUNDS)
    assert locks <= MOST[mode][0] and fences <= MOST[mode][1]
    # A counter that finds nothing would be no counter.
    assert mode == "idle" or (locks > 0 and fences >= 1)
