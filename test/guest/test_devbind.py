# SPDX-License-Identifier: BSD-3-Clause
"""hv-devbind on real kernels: what it refuses, and a kernel that has no driver_override."""
import guest as g
import pytest
from pmd import KERNELS, Console, port, totals, txonly

UIO = "uio_hv_generic"

# The device's directory without driver_override, everything else as it is in /sys.
NO_OVERRIDE = """
mkdir -p /tmp/sys/bus/vmbus/devices/{nic};
for f in class_id channels monitor_id net uio driver; do
ln -s /sys/bus/vmbus/devices/{nic}/$f /tmp/sys/bus/vmbus/devices/{nic}/$f; done;
ln -s /sys/bus/vmbus/drivers /tmp/sys/bus/vmbus/drivers; ln -s /sys/class /tmp/sys/class
"""


@pytest.mark.parametrize("kernel", KERNELS)
def test_new_id(dpdk, kernel):
    """Without driver_override the NIC's class is added to uio_hv_generic, once, and back."""
    host, guest = dpdk("port=sink", kernel=kernel, bind=False)
    nic = guest.run("ls /sys/bus/vmbus/devices").strip()
    guest.run(NO_OVERRIDE.format(nic=nic).strip().replace("\n", " "))
    for _ in range(2):
        out = guest.run(f"HV_DEVBIND_SYSFS=/tmp/sys hv-devbind --bind {UIO} eth0")
        assert f"{nic} {UIO} uio0" in out
        out = guest.run(f"HV_DEVBIND_SYSFS=/tmp/sys hv-devbind --bind hv_netvsc {nic}")
        assert f"{nic} hv_netvsc" in out
        guest.until("the interface", "test -d /sys/class/net/eth0")
        # Nothing was said of this device alone.
        assert guest.run(f"cat /sys/bus/vmbus/devices/{nic}/driver_override").strip() == "(null)"
    guest.run(f"HV_DEVBIND_SYSFS=/tmp/sys hv-devbind --bind {UIO} {nic}")
    _, sent = totals(txonly(host, guest))
    assert sent > 0 and port(host)["from_guest_frames"] == sent
    # The module goes although a NIC is bound to it, and comes back.
    guest.run(f"rmmod {UIO} && ! ls /dev/uio0 && modprobe {UIO}")
    guest.run(f"HV_DEVBIND_SYSFS=/tmp/sys hv-devbind --bind {UIO} {nic} && ls /dev/uio0")
    _, more = totals(txonly(host, guest))
    assert more > 0 and port(host)["from_guest_frames"] == sent + more


@pytest.mark.parametrize("kernel", KERNELS)
def test_in_use(dpdk, kernel):
    """Neither an interface that is up nor a device that an application polls is taken away."""
    host, guest = dpdk("port=sink", kernel=kernel)
    nic = guest.run("ls /sys/bus/vmbus/devices").strip()
    app = Console(guest, "txonly")
    app.do("start")
    pid = guest.run("pidof dpdk-testpmd").strip()
    code, out = guest.status(f"hv-devbind --bind hv_netvsc {nic}")
    assert code == 1 and f"/dev/uio0 is open in process {pid}" in out
    assert f"used by pid {pid}" in guest.run("hv-devbind")
    assert guest.status(f"rmmod {UIO}")[0] != 0
    before = port(host)["from_guest_frames"]
    g.wait_for("traffic", lambda: port(host)["from_guest_frames"] > before)
    app.quit()
    guest.run(f"hv-devbind --bind hv_netvsc {nic}")
    guest.until("the interface", "ip link set eth0 up && ip link show eth0 | grep -q LOWER_UP")
    code, out = guest.status(f"hv-devbind --bind {UIO} eth0")
    assert code == 1 and "interface eth0 is up" in out
