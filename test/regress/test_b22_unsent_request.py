# SPDX-License-Identifier: BSD-3-Clause
"""B22: a control message that net_netvsc could not send blocks all later ones (EBUSY)."""
from console import Console
from hv import Host, until

NIC = "hv_vmbus:68766e00-6574-4e76-8000-00155d000001"
PROMISCUOUS = 0x20


def filter_of(host):
    return host.stats()["nics"][0]["filter"]


def test_ring_full(run):
    """No room for it in a ring that the host does not read; when it reads again, all is well."""
    host = run(Host, nics=["port=sink:verify=no"])
    app = run(Console, host, "--forward-mode=txonly",
              eal=["-a", f"{NIC},rndis_timeout=300,ring_size=65536"])
    assert filter_of(host) & PROMISCUOUS
    app.do("start")
    until(lambda: host.port()["from_guest_frames"] > 1000, "traffic")
    assert host.command("stall", nic=0, queue=0)["ok"]
    for _ in range(6):  # more than there are buffers for requests
        app.do("set promisc 0 off")
        app.do("set promisc 0 on")
    assert filter_of(host) & PROMISCUOUS
    assert host.command("resume", nic=0, queue=0)["ok"]
    before = host.port()["from_guest_frames"]
    until(lambda: host.port()["from_guest_frames"] > before + 1000, "traffic again")
    app.do("set promisc 0 off")
    until(lambda: not filter_of(host) & PROMISCUOUS, "the filter changes")
    app.do("set promisc 0 on")
    until(lambda: filter_of(host) & PROMISCUOUS, "and back")
    app.do("stop")
    app.quit()
    host.end()
