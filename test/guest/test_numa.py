# SPDX-License-Identifier: BSD-3-Clause
"""
A guest with two NUMA nodes. Linux gives the first channel of each NIC to a processor of the next
node, and that processor's node is the NIC's: of two NICs one is on node 1.
"""
import re

import pytest
from pmd import KERNELS, Console, port, txonly

# Newer machine types want memory in a backend per node; the host is given one.
TWO_NODES = ["-machine", "pc-i440fx-5.0", "-numa", "node,nodeid=0,cpus=0,mem=512",
             "-numa", "node,nodeid=1,cpus=1,mem=512"]
ONE_NODE = "--socket-mem=128,0"
REFUSED = "no memory on NUMA node 1, which is the device's"
CALLER = "--no-numa --socket-num=0"    # testpmd's own memory


@pytest.fixture(params=KERNELS)
def second(dpdk, request):
    """(host, guest, name of the NIC that is on node 1)"""
    host, guest = dpdk("port=sink", "port=sink", kernel=request.param, bind=False,
                       qemu=TWO_NODES)
    (path,) = guest.run("grep -lx 1 /sys/bus/vmbus/devices/*/numa_node").split()
    name = path.split("/")[-2]
    guest.run(f"hv-devbind --bind uio_hv_generic $(ls /sys/bus/vmbus/devices/{name}/net)")
    return host, guest, name


def heaps(app):
    """Of each node: (bytes, number) of what DPDK has allocated."""
    found = re.findall(r"^Socket \d+:.* alloc: ([\d.]+)\(.*count alloc: (\d+)",
                       app.do("dump_socket_mem"), re.M)
    return [(float(size) * 2 ** 20, int(n)) for size, n in found]


def growth(guest, name, aware):
    """How many bytes more each node has when two queues were set up for node 0 and started."""
    app = Console(guest, "io", queues=2, eal=f"-a hv_vmbus:{name},numa_aware={aware}",
                  more="--disable-device-start --ring-numa-config='(0,3,0)'")
    assert "Connect to socket: 1" in app.do("show port info 0")
    before = heaps(app)
    app.do("port start 0")
    after = heaps(app)
    app.quit()
    return [b[0] - a[0] for a, b in zip(before, after)]


def test_placement(second):
    """
    Queues are on the device's node, or with numa_aware=0 where the application says. ethdev's own
    16 KB are where the caller is. Without memory on the device's node there is no port, or one
    with all its memory elsewhere.
    """
    host, guest, name = second
    for aware in (0, 1):
        grown = growth(guest, name, aware)
        assert grown[aware] > 500000 and grown[1 - aware] < 50000, (aware, grown)

    # testpmd itself does not go on without any port, nor without memory on a processor's node.
    app = Console(guest, "io", eal=f"-a hv_vmbus:{name} --vdev=net_null0 {ONE_NODE}", more=CALLER,
                  cpus=1)
    assert REFUSED in app.log() and "probe failed: Cannot allocate memory" in app.log()
    before = heaps(app)
    assert REFUSED in app.do(f"port attach hv_vmbus:{name}")
    assert before and heaps(app) == before
    app.quit()
    assert "Bye..." in app.log()

    txonly(host, guest, nic=1, eal=f"-a hv_vmbus:{name},numa_aware=0 {ONE_NODE}", more=CALLER,
           cpus=1)
    assert port(host, 1)["from_guest_frames"] > 0
