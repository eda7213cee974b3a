# SPDX-License-Identifier: BSD-3-Clause
"""Forwarding between two ports: what comes in at one leaves by the other (DTS l2fwd)."""
import pytest

import capture
from console import Console
from hv import Host, until

FRAMES = 600


def behind(frame):
    """What is behind the addresses, which the forwarder writes."""
    return frame[12:]


@pytest.mark.parametrize("queues", [1, 2, 4])
def test_integrity(run, tmp, queues):
    """Both receive at once. Every byte behind the addresses; a flow keeps its order."""
    frames = [capture.make(count=FRAMES, seed=queues + port) for port in range(2)]
    for port in range(2):
        capture.write(tmp / f"in{port}.pcap", frames[port])
    host = run(Host, nics=[f"hold-rx=yes,port=dpdk:net_pcap{port},rx_pcap={tmp}/in{port}.pcap,"
                           f"tx_pcap={tmp}/out{port}.pcap" for port in range(2)])
    app = run(Console, host, "--forward-mode=mac", queues=queues)
    app.do("start")
    for port in range(2):
        host.command("resume-rx", nic=port)
    until(lambda: all(host.port(port)["from_guest_frames"] >= FRAMES for port in range(2)),
          "all frames at the other port")
    app.quit()
    host.end()
    for port in range(2):
        capture.check(frames[1 - port],
                      [behind(d) for d in capture.read(tmp / f"out{port}.pcap")], behind)
