# SPDX-License-Identifier: BSD-3-Clause
"""B10: net_netvsc waits for the answer to an NVSP message for ever, and takes no signal."""
from console import Console
from hv import Host
from test_ethdev import GEN, forward

NIC = "hv_vmbus:68766e00-6574-4e76-8000-00155d000001"


def test_no_answer(run):
    """A request for sub-channels that the host does not read fails; the next one works."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", eal=["-a", f"{NIC},rndis_timeout=5000"])
    app.do("port stop 0")
    assert host.command("stall", nic=0, queue=0)["ok"]
    answer = app.do("port config all rxq 4", "port config all txq 4", "port start 0")
    assert "Connection timed out" in answer or "Fail" in answer, answer
    assert "Fail" not in app.do("port start 0")
    forward(host, app)
    app.quit()
    host.end()
