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
    """Every byte behind the addresses; a flow keeps its order."""
    frames = capture.make(count=FRAMES, seed=queues)
    capture.write(tmp / "in.pcap", frames)
    host = run(Host, nics=[f"hold-rx=yes,port=dpdk:net_pcap0,rx_pcap={tmp}/in.pcap",
                           f"port=dpdk:net_pcap1,infinite_rx=0,tx_pcap={tmp}/out.pcap"])
    app = run(Console, host, "--forward-mode=mac", queues=queues)
    app.do("start")
    host.command("resume-rx", nic=0)
    until(lambda: host.port(1)["from_guest_frames"] >= FRAMES, "all frames at the other port")
    assert host.port(0)["from_guest_frames"] == 0
    app.quit()
    host.end()
    capture.check(frames, [behind(d) for d in capture.read(tmp / "out.pcap")], behind)
