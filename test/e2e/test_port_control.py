# SPDX-License-Identifier: BSD-3-Clause
"""A port's life, its listing, and its offloads (DTS port_control, smoke, rx_tx_offload)."""
import re

from console import Console, cycle
from hv import Host

COUNT = 500
GEN = f"queues=2,port=gen:count={COUNT},rate=20k,start=command,expect=return"


def test_start_stop_close(run):
    """It forwards when started, does not when stopped, and is gone when closed."""
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap")
    cycle(host, app, COUNT)
    app.do("port stop 0")
    assert host.command("filter", nic=0)["filter"] == 0
    assert "Not all ports were started" in app.do("start") or "stopped" in app.text
    app.do("port start 0")
    cycle(host, app, COUNT, COUNT)
    app.do("port stop 0", "port close 0")
    assert "Number of available ports: 0" in app.do("show port summary all")
    app.quit()
    host.end()


def test_listed(run):
    """Its device, its driver, and a frame that passes."""
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap")
    assert app.info()["Driver name"] == "net_hvnetvsc"
    assert app.info()["Device name"] == "68766e00-6574-4e76-8000-00155d000001"
    cycle(host, app, COUNT)
    app.quit()
    host.end()


def test_offloads(run):
    """Each can be switched for the port while it is stopped, and the port starts with it."""
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap")
    done = 0
    for way, name, shown in (("rx", "vlan_strip", "VLAN_STRIP"), ("rx", "scatter", "SCATTER"),
                             ("tx", "ipv4_cksum", "IPV4_CKSUM"),
                             ("tx", "multi_segs", "MULTI_SEGS"), ("tx", "tcp_tso", "TCP_TSO")):
        for state in ("on", "off"):
            app.restart(f"port config 0 {way}_offload {name} {state}")
            told = re.search(r"Port : +(.*)", app.do(f"show port 0 {way}_offload configuration"))
            assert (shown in (told[1] if told else "")) == (state == "on"), (name, state)
        cycle(host, app, COUNT, done)
        done += COUNT
    # One that it does not have is refused.
    app.do("port stop 0", "port config 0 rx_offload security on")
    assert re.search("(?i)not|fail|error|invalid", app.do("port start 0"))
    app.quit()
    host.end()
