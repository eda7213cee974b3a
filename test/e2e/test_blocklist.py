# SPDX-License-Identifier: BSD-3-Clause
"""Allowed and blocked devices: what EAL is told decides which NICs become ports (DTS blocklist)."""
import re

import pytest

from console import Console
from hv import Host

NICS = 3


def device(n):
    """The bus's name of hv-host's n-th NIC."""
    return f"hv_vmbus:68766e00-6574-4e76-8000-00155d{n + 1:06x}"


@pytest.mark.parametrize("flag, named, ports", [
    (None, [], 3), ("-b", [1], 2), ("-b", [0, 2], 1), ("-a", [1], 1), ("-a", [0, 2], 2)])
def test_ports(run, flag, named, ports):
    host = run(Host, nics=["port=sink"] * NICS)
    app = run(Console, host, eal=[a for n in named for a in (flag, device(n))])
    shown = app.do("show port summary all")
    assert f"Number of available ports: {ports}" in shown
    found = {int(n, 16) - 1 for n in re.findall(r"(?i)00:15:5d:00:00:(\w\w)", shown)}
    assert found == (set(named) if flag == "-a" else set(range(NICS)) - set(named))
    app.quit()
    host.end()
