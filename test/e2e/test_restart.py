# SPDX-License-Identifier: BSD-3-Clause
"""Restarts of the port: many of them, and under traffic."""
from console import Console, back, cycle
from hv import Host

COUNT = 200


def test_twenty(run):
    """Each time all frames come back, and the host's memory is the guest's again."""
    host = run(Host, nics=[f"queues=4,port=gen:count={COUNT},rate=50k,start=command,"
                           "expect=return"])
    app = run(Console, host, "--forward-mode=macswap", queues=3)
    for n in range(20):
        cycle(host, app, COUNT, n * COUNT)
        app.restart()
    app.quit()
    host.end()


def test_under_traffic(run):
    """Stopped while frames arrive: what waits meanwhile is received after the start."""
    host = run(Host, nics=["queues=4,port=gen:rate=20k,verify=count"])
    app = run(Console, host, "--forward-mode=macswap", queues=3)
    for _ in range(5):
        app.do("start")
        back(host, host.port()["received"] + 500)
        app.restart()
    app.quit()
    host.end()
