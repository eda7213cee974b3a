# SPDX-License-Identifier: BSD-3-Clause
"""Frames handed out in the receive buffer (rx_extmbuf_enable=1)."""
from console import Console, cycle
from hv import Host, until
from test_checksum_tso import GUID

ARGS = ["-a", f"hv_vmbus:{GUID},rx_extmbuf_enable=1,tx_copybreak=64,rndis_timeout=2000"]
COUNT = 3000


def external(app):
    return sum(n for k, n in app.xstats().items() if k.endswith("_external"))


def test_forward(run):
    """All frames come back, the short copied, the long where they were; also over restarts."""
    host = run(Host, nics=["queues=4,slots=512,ranges=7,"
                           f"port=gen:count={COUNT},rate=50k,flows=64,size=60-1514,"
                           "start=command,expect=return"])
    app = run(Console, host, "--forward-mode=macswap", queues=2, eal=ARGS)
    for n in range(3):
        cycle(host, app, COUNT, n * COUNT)
        app.restart()
    assert 0 < external(app) < 3 * COUNT
    assert "external buffers" in app.do("show rxq info 0 0")
    app.quit()
    host.end()


def test_received_only(run):
    """Freed at once: the host has all its slots back, and nobody polls for that."""
    host = run(Host, nics=[f"slots=64,port=gen:count={COUNT},size=1514,start=command"])
    app = run(Console, host, "--forward-mode=rxonly", eal=ARGS)
    app.do("start")
    host.command("start", nic=0)
    until(lambda: app.stats()["RX-packets"] == COUNT, "all frames")
    app.do("stop")
    assert external(app) > 0
    app.quit()
    host.end()
