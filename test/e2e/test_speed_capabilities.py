# SPDX-License-Identifier: BSD-3-Clause
"""What a port says of its speed is the host's (DTS speed_capabilities); devices are listed."""
import re

from console import Console
from hv import Host


def test_speed_and_device(run):
    """Two ports of different speed; 'show device info' finds their devices on the bus."""
    host = run(Host, nics=["speed=25000000000,port=sink", "speed=1000000000,port=sink"])
    app = run(Console, host)
    for port, told in ((0, "25 Gbps"), (1, "1 Gbps")):
        assert f"Link speed: {told}" in app.do(f"show port info {port}")
    answer = app.do("show device info all")
    names = re.findall(r"(?m)device name: ([0-9a-f-]+)", answer, re.I)
    assert len(names) == len(set(names)) == 2, answer
    assert answer.count("net_hvnetvsc") == 2, answer
    for port, name in enumerate(names):
        assert f"Device name: {name}" in app.do(f"show port info {port}")
        one = app.do(f"show device info {name}")
        assert re.findall(r"(?m)device name: ([0-9a-f-]+)", one, re.I) == [name], one
    app.quit()
    host.end()
