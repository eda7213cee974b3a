# SPDX-License-Identifier: BSD-3-Clause
"""Secondary processes: they see the port of the primary, and leave it as it was."""
import re
import shutil
import subprocess

import pytest

from console import Console, cycle, queues_of
from hv import Host, Program

COUNT = 2000
PROC_INFO = shutil.which("dpdk-proc-info") or "dpdk-proc-info"


@pytest.fixture
def huge_dir(hugepages, tmp):
    """Files of hugepages, that another process can map."""
    where = tmp / "huge"
    where.mkdir()
    subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True)
        where.rmdir()


def secondary(run, app, host, *args):
    """dpdk-proc-info beside a console; what it prints."""
    info = run(Program, [PROC_INFO, *app.plugins, "--no-pci", "--no-telemetry",
                         "--file-prefix", app.prefix, "--", *args],
               {"HV_VMBUS_SOCKET": str(host.socket)})
    assert info.wait() == 0, info.text
    return info.text


def test_proc_info(huge_dir, run):
    """Statistics of a secondary are the primary's, again and again; traffic goes on."""
    host = run(Host, nics=[f"queues=4,port=gen:count={COUNT},rate=50k,start=command,"
                           "expect=return"])
    app = run(Console, host, "--forward-mode=macswap", queues=3,
              memory=["--huge-dir", huge_dir, "-m", "128"])
    for n in range(3):
        cycle(host, app, COUNT, n * COUNT)
        text = secondary(run, app, host, "--stats")
        for way in "RT":
            found = re.search(rf"{way}X-packets: +(\d+)", text)
            assert found and int(found[1]) == (n + 1) * COUNT, text
        text = secondary(run, app, host, "--xstats")
        for q, frames in queues_of(host).items():
            assert re.search(rf"rx_q{q}_packets: +{frames}\b", text), text
    app.quit()
    host.end()
