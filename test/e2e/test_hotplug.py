# SPDX-License-Identifier: BSD-3-Clause
"""Devices and memory that come at run time: another host's NIC, memory that is not DPDK's."""
import pytest

from hv import Host, Testpmd
from test_ethdev import GEN, ask, forward, quit_both

NIC = "hv_vmbus:68766e00-6574-4e76-8000-00155d00000{}"


def test_socket_at_run_time(run, tmp):
    """A host that the application knew nothing of when it started."""
    app = run(Testpmd, None, interactive=True)
    app.expect("testpmd>")
    assert "Number of available ports: 0" in ask(app, "show port summary all")
    assert "cannot connect" in ask(app, f"port attach {NIC.format(1)},socket={tmp}/none")
    host = run(Host, nics=[GEN])
    assert "unknown" not in ask(app, f"port attach {NIC.format(1)},socket={host.socket}")
    ask(app, "port start 0")
    forward(host, app)
    ask(app, "port stop 0")
    assert "Port 0 is closed" in ask(app, "port detach 0").replace("Ports", "Port 0 is closed")
    quit_both(host, app)


@pytest.mark.parametrize("kind", ["anon", "xmem"])
def test_external_memory(run, kind):
    """It is said that the host cannot reach it; frames that are copied go through."""
    host = run(Host, nics=[GEN])
    app = run(Testpmd, host, f"--mp-alloc={kind}", interactive=True)
    app.expect("testpmd>")
    assert "external memory at" in app.text
    forward(host, app)
    quit_both(host, app)
