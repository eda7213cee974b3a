# SPDX-License-Identifier: BSD-3-Clause
"""The MAC address: the host's, and another one where the host allows it."""
from console import Console
from hv import Host
from test_hotplug import NIC


def test_set(run):
    """Accepted by the host, it is the port's; refused, nothing changes."""
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


def of_host(host):
    return host.stats()["nics"][0]["mac"].upper()


def test_survives(run):
    """A restart, another MTU and a reset: the host has the address, not only the port."""
    host = run(Host, nics=["mac=F2:15:5D:AA:BB:CC,mac-change=allow,port=sink"])
    app = run(Console, host)
    app.do("mac_addr set 0 02:15:5D:00:00:99")
    assert of_host(host) == "02:15:5D:00:00:99"
    for commands in ((), ("port config mtu 0 1600",), ("port reset 0",)):
        app.restart(*commands)
        assert app.info()["MAC address"] == of_host(host) == "02:15:5D:00:00:99", commands
    assert "spoofing" not in app.text
    assert host.stats()["nics"][0]["sessions"] == 3
    app.quit()
    host.end()


def test_ignored(run):
    """The host says yes and does nothing: the log tells, and nothing is said of its own address."""
    host = run(Host, nics=["mac=02:15:5D:AA:BB:CC,mac-change=ignore,port=sink"])
    app = run(Console, host)
    app.restart()
    assert "goes on with" not in app.text
    app.do("mac_addr set 0 02:15:5D:00:00:99")
    assert of_host(host) == "02:15:5D:AA:BB:CC" and "goes on with 02:15:5D:AA:BB:CC" in app.text
    app.quit()
    host.end()


def test_refused(run):
    """Nothing is said at a start, which sets the address again; another one is refused."""
    host = run(Host, nics=["mac=F2:15:5D:AA:BB:CC,mac-change=refuse,port=sink"])
    app = run(Console, host)
    app.restart()
    assert "refuses" not in app.text
    assert "spoofing" in app.do("mac_addr set 0 02:15:5D:00:00:99")
    assert app.info()["MAC address"] == of_host(host) == "F2:15:5D:AA:BB:CC"
    app.quit()
    host.end()


def test_chosen(run):
    """Of two NICs the one with the address of the devarg is taken, by the version of another."""
    host = run(Host, nics=["port=sink"] * 2)
    args = "mac=00:15:5d:00:00:02,nvsp=0x50000"
    app = run(Console, host, eal=[a for n in (1, 2) for a in ("-a", f"{NIC.format(n)},{args}")])
    assert "Number of available ports: 1\n" in app.do("show port summary all")
    info = app.info()
    assert info["MAC address"] == "00:15:5D:00:00:02"
    assert info["Firmware-version"].startswith("NVSP 5 ")
    assert [nic["sessions"] for nic in host.stats()["nics"]] == [1, 1]
    app.quit()
    host.end()
