# SPDX-License-Identifier: BSD-3-Clause
"""The MAC address: the host's, and another one where the host allows it."""
from console import Console
from hv import Host


def test_set(run):
    """Accepted by the host, it is the port's and survives a restart; refused, nothing changes."""
    host = run(Host, nics=["mac=00:15:5D:AA:BB:CC,port=sink"])
    app = run(Console, host)
    assert app.info()["MAC address"] == "00:15:5D:AA:BB:CC"
    app.do("mac_addr set 0 02:15:5D:00:00:99")
    assert app.info()["MAC address"] == "02:15:5D:00:00:99"
    # hv-host, as OpenVMM, refuses what does not begin with a digit.
    answer = app.do("mac_addr set 0 F2:15:5D:00:00:99")
    assert app.info()["MAC address"] == "02:15:5D:00:00:99"
    assert "spoofing" in answer
    # Groups are no address of a NIC; there is room for one.
    app.do("mac_addr set 0 01:00:5E:00:00:01")
    assert app.info()["MAC address"] == "02:15:5D:00:00:99"
    app.do("mac_addr add 0 02:15:5D:00:00:98")
    assert app.info()["Maximum number of MAC addresses"] == "1"
    app.quit()
    host.end()
