# SPDX-License-Identifier: BSD-3-Clause
"""Initial file systems: what is kept of them."""
import os
import subprocess
import sys

import guest as g

MAKE_AND_DIE = """
import os, pathlib, signal, sys
import image
made = image.with_dpdk(image.kernel("6.1"), pathlib.Path(sys.argv[1]))
assert os.path.getsize(made) > 1000000
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_run_leaves_nothing(tmp_path):
    """The drivers under test are in no file of the cache once the run was killed."""
    root = g.image.kernel("6.1").root
    (tmp_path / root.name).symlink_to(root)
    done = subprocess.run([sys.executable, "-c", MAKE_AND_DIE, g.BUILD], cwd=g.image.HERE,
                          env={**os.environ, "HV_GUEST_CACHE": str(tmp_path)},
                          capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    assert [p.name for p in tmp_path.iterdir()] == [root.name]
