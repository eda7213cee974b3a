# SPDX-License-Identifier: BSD-3-Clause
"""Restarts of the port: many of them, and under traffic."""
import re
import signal

from console import ANY_PROMPT, Console, back, cycle
from hv import Host, until
from test_checksum_tso import GUID

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


def test_slow_host(run):
    """A queue set up anew while the host still has packets of it: not before it is done."""
    host = run(Host, nics=["port=sink"])
    app = run(Console, host, "--forward-mode=txonly", "--txpkts=1514", "--txd=64")
    assert host.command("stall", nic=0, queue=0)["ok"]
    app.do("start")
    until(lambda: app.stats()["TX-packets"] > 0, "packets sent")
    app.do("stop", "port 0 txq 0 stop", "port 0 txq 0 setup")
    assert "the host still holds packets of its predecessor" in app.text
    assert host.command("resume", nic=0, queue=0)["ok"]
    until(lambda: "Fail" not in app.do("port 0 txq 0 setup"), "the host's completions")
    before = app.stats()["TX-packets"]
    app.do("port 0 txq 0 start", "start")
    until(lambda: app.stats()["TX-packets"] > before, "packets sent again")
    app.do("stop")
    app.quit()
    host.end()


def allocated(app):
    """Megabytes of DPDK's heaps in use."""
    return float(re.search(r"Total .*alloc: ([\d.]+)\(", app.do("dump_socket_mem"))[1])


def test_memory_comes_back_late(run):
    """A port closes while its host stands still: what the host had is ours when it goes on."""
    host = run(Host, nics=["port=sink"])
    app = run(Console, host)
    app.do("port stop 0")
    before = allocated(app)
    host.proc.send_signal(signal.SIGSTOP)
    try:
        app.type("port close 0")
        for _ in range(3):  # receive buffer, send buffer, rings
            app.expect("lost until it does")
        app.expect(ANY_PROMPT)
        assert before - allocated(app) < 8
    finally:
        host.proc.send_signal(signal.SIGCONT)
    for _ in range(3):
        app.expect("gives memory back, late")
    until(lambda: before - allocated(app) > 45, "memory")
    app.quit()
    host.end()


def test_silent_for_a_while(run):
    """A reset that failed leaves a port that can be configured when the host is there again."""
    host = run(Host, nics=[f"queues=4,port=gen:count={COUNT},rate=50k,start=command,"
                           "expect=return"])
    short = "nvsp_timeout=1000,rndis_timeout=1000,stop_timeout=100"
    app = run(Console, host, "--forward-mode=macswap", queues=2,
              eal=["-a", f"hv_vmbus:{GUID},{short}"])
    app.do("port stop 0")
    before = app.info()
    host.proc.send_signal(signal.SIGSTOP)
    try:
        assert "Failed to reset port 0" in app.do("port reset 0")
    finally:
        host.proc.send_signal(signal.SIGCONT)
    for what in ("Max possible RX queues", "Max possible TX queues", "Redirection table size"):
        assert app.info()[what] == before[what] != "0"
    app.restart("port config all rxq 3", "port config all txq 3")
    cycle(host, app, COUNT)
    app.quit()
    host.end()
