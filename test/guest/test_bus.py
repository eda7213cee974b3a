# SPDX-License-Identifier: BSD-3-Clause
"""Linux's hv_vmbus against the host's bus: every version, offers, unload, reboot, crash."""
import guest as g
import pytest

KERNELS = ["6.1", "6.12"]
SMOKE = pytest.mark.smoke
VERSIONS = [pytest.param("5.3", marks=SMOKE), "5.2", "5.1", "5.0", "4.1", "4.0", "3.0", "2.4"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_version(start, kernel, version):
    _, guest = start("--nic", "x", "--vmbus-max", version, program="hv-host-echo",
                     kernel=kernel)
    guest.run("modprobe hv_vmbus")
    guest.until("an offer", "ls /sys/bus/vmbus/devices/*/class_id")
    assert "{f8615163-df3e-46c5-913f-f2d2f965ed0e}" in guest.run(
        "cat /sys/bus/vmbus/devices/*/class_id")
    assert f"Vmbus version:{version}" in guest.console()
    guest.run("rmmod hv_vmbus")


def bus(guest, version="5.3"):
    guest.run("modprobe hv_vmbus")
    guest.until("an offer", "ls /sys/bus/vmbus/devices/*/class_id")
    assert f"Vmbus version:{version}" in guest.console()


@pytest.mark.parametrize("kernel", KERNELS)
def test_reload(start, kernel):
    _, guest = start("--nic", "x", program="hv-host-echo", kernel=kernel)
    for _ in range(10):
        bus(guest)
        guest.run("rmmod hv_vmbus")


@pytest.mark.parametrize("kernel", KERNELS)
def test_reboot(start, kernel):
    host, guest = start("--nic", "x", program="hv-host-echo", kernel=kernel, cpus=2,
                        reboot=True)
    bus(guest)
    guest.send("reboot -f")
    guest.booted()
    bus(guest)
    assert host.stats()["guests"] == 1


@pytest.mark.parametrize("kernel", KERNELS)
def test_panic(start, kernel):
    host, guest = start("--nic", "x", program="hv-host-echo", kernel=kernel, cpus=2,
                        reboot=True)
    bus(guest)
    guest.send("echo c > /proc/sysrq-trigger")
    guest.booted()
    assert "guest 1 says: " in host.tail()
    bus(guest)


def test_host_is_gone(start):
    """A guest outlives its host; QEMU says so."""
    host, guest = start("--nic", "x", program="hv-host-echo")
    bus(guest)
    host.end()
    guest.run("true")
    assert "the host hung up" in (guest.dir / "qemu.log").read_text()


def test_two_guests(start, tmp_path):
    host, first = start("--nic", "x", "--nic", "x", "--nics-per-guest", "1",
                        program="hv-host-echo")
    with g.Guest(tmp_path, host, "6.12") as second:
        bus(first)
        bus(second)
        ids = [x.run("ls /sys/bus/vmbus/devices") for x in (first, second)]
        assert ids[0] != ids[1] and host.stats()["guests"] == 2
