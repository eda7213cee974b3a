# SPDX-License-Identifier: BSD-3-Clause
"""Which VF belongs to which NIC: ports that share a device, serials, late and other devices."""
import pytest

import vf
from console import Console
from hv import Host, until


def attach(app, one):
    """By the application; again, if the driver was just trying itself, by the name alone."""
    until(lambda: "is attached" in app.do(f"port attach {one.devargs()}"), "the device is attached")


def test_two_on_one_device(run, tmp):
    """Each NIC gets the port with its address; the device goes with the last of them."""
    host = run(Host, nics=["port=sink", "port=sink"])
    one = vf.Vf(tmp, mac2=vf.MAC.format(2))
    other = vf.Vf(tmp, nic=2, mac=vf.MAC.format(1), mac2=vf.MAC.format(2))
    app = run(Console, host, eal=[*one.by_driver(), *other.by_driver()])
    vf.to_vf(host, 7, 0)
    vf.to_vf(host, 7, 1)  # the same function, hence the same serial
    vf.said(app, f"port 0: VF is port 2, {one.name}")
    vf.said(app, f"port 1: VF is port 3, {one.name}")
    # One leaves: the other's port is untouched, and the device too.
    for _ in range(2):
        vf.remove(host, app, 0)
        assert vf.path(host, 1) == "vf"
        assert one.state()["started"] == "0"
        vf.to_vf(host, 7, 0)
    vf.remove(host, app, 1)
    vf.remove(host, app, 0)
    until(lambda: not one.path.exists(), "the device is gone")
    # And comes again, in the other order.
    vf.to_vf(host, 8, 1)
    vf.to_vf(host, 8, 0)
    app.quit()
    host.end()


@pytest.mark.parametrize("how", ["by_application", "by_driver"])
def test_not_the_neighbours(run, tmp, how):
    """A device with the address of another of our NICs is that one's, whatever vf= says here."""
    host = run(Host, nics=["port=sink", "port=sink"])
    one = vf.Vf(tmp, nic=1, mac=vf.MAC.format(2))  # named by NIC 0, address of NIC 1
    app = run(Console, host, eal=[*getattr(one, how)(), "-a", vf.NIC.format(2)])
    for serial in range(2):
        vf.add(host, serial)
        app.expect("is not used: its device has no port with this MAC address")
        assert vf.path(host) == "synthetic"
        # What was probed for nothing is removed again.
        until(lambda: one.path.exists() == (how == "by_application"), "the device is as before")
        host.command("vf", nic=0, action="unplug")
        app.expect("withdraws")
    app.quit()
    host.end()


def test_unrelated(run, tmp):
    """A port that is no PCI function's is not the VF, whatever its address: it is the program's."""
    host = run(Host, nics=["port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, eal=["-d", vf.PLUGIN, "--vdev", one.devargs(), "-a", one.nic])
    for serial in range(2):
        vf.add(host, serial)
        app.expect("the host associates")
        ports = app.do("show port summary all")
        assert "Number of available ports: 2" in ports and one.name in ports
        assert vf.path(host) == "synthetic" and one.state()["started"] == "1"
        host.command("vf", nic=0, action="unplug")
        app.expect("withdraws")
    app.quit()
    host.end()


@pytest.mark.parametrize("event", ["rmv", "gone"])
def test_gone_behind_a_withdrawal(run, tmp, event):
    """As hosts do it: the association goes, then the function that EAL had probed; both return."""
    host = run(Host, nics=["port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, "--no-rmv-interrupt", eal=one.by_application())
    for serial in range(1, 4):
        vf.to_vf(host, serial)
        vf.remove(host, app)
        one.do(event)
        if event == "gone":
            vf.add(host, 100 + serial)  # told by nobody, it finds out itself
        app.expect(r"VF port \d+ has gone")
        until(lambda: not one.path.exists(), "the device is removed")
        attach(app, one)
        if event == "gone":
            vf.wait_path(host, "vf")
            vf.remove(host, app)
    app.quit()
    host.end()


@pytest.mark.parametrize("serial", [0, 1, 0xFFFFFFFF])
def test_before_the_start(run, tmp, serial):
    """The association comes with the session, in the middle of the handshake or long after."""
    for delay in (0, 300):
        host = run(Host, nics=[f"vf={serial}:{delay},port=sink"], name=f"hv{delay}")
        one = vf.Vf(tmp)
        app = run(Console, host, eal=one.by_driver())
        vf.wait_path(host, "vf")
        app.restart()
        vf.wait_path(host, "vf")
        app.quit()
        host.end()


def test_late_device(run, tmp):
    """Associated for long before there is a device, which another driver has then."""
    host = run(Host, nics=["port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, eal=["-d", vf.PLUGIN, "-a", f"{one.nic},vf={one.name},inner=none"])
    vf.add(host)
    app.expect("cannot be probed yet")
    assert vf.path(host) == "synthetic"
    attach(app, one)
    vf.wait_path(host, "vf")
    app.quit()
    host.end()


def test_returns_as_another(run, tmp):
    """Each time another driver's device, with other features and another address; then none."""
    host = run(Host, nics=["queues=2,port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, "--no-rmv-interrupt", queues=2, eal=one.by_application())
    vf.to_vf(host)
    for serial, more in enumerate(({"rss": 0, "mac": "02:00:00:00:00:77"}, {"rmv": 0, "mtu": 2000},
                                   {"reta": 0, "rxcap": 0}, {}), 5):
        vf.remove(host, app)
        one.do("rmv")
        app.expect(r"VF port \d+ has gone")
        other = vf.Vf(tmp, **more)
        attach(app, other)
        vf.to_vf(host, serial)
        assert other.state()["started"] == "1"
        assert other.state()["mac"].upper() == vf.MAC.format(1)
    one.do("rmv")
    app.expect("is given up")
    vf.wait_path(host, "synthetic")
    app.expect("cannot be probed yet")
    assert "given up" not in app.text[app.seen:]
    app.quit()
    host.end()


def test_replaced(run, tmp):
    """Another VF without a withdrawal of the first: given up, taken anew."""
    host = run(Host, nics=["port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, eal=one.by_driver())
    vf.to_vf(host, 1)
    for serial in (2, 3):
        assert host.command("vf", nic=0, action="replace", serial=serial)["ok"]
        app.expect("is given up")
        app.expect("data path switched to VF")
        vf.wait_path(host, "vf")
    app.quit()
    host.end()


def test_any_device(run):
    """Another driver's device: its own address, no removal interrupt, no RSS."""
    host = run(Host, nics=["queues=2,port=sink"])
    app = run(Console, host, queues=2, eal=["-a", f"{vf.NIC.format(1)},vf=net_null7,size=64"])
    for serial in range(3):
        vf.to_vf(host, serial)
        vf.remove(host, app)
    app.quit()
    host.end()
