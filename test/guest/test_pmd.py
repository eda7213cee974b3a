# SPDX-License-Identifier: BSD-3-Clause
"""Our driver in a guest: the real sysfs and /dev/uioN, stock plug-ins installed beside ours."""
import re

import guest as g
import pytest

KERNELS = ["6.1", "6.12"]
FRAMES = 20000
UIO = "/sys/bus/vmbus/devices/*1"


@pytest.fixture
def dpdk(start):
    """dpdk(NIC, kernel) -> (host, guest): the NIC belongs to uio_hv_generic."""
    def begin(*nics, kernel, cpus=2, bind=True, options=(), **guest_args):
        args = [*options, *(a for n in nics for a in ("--nic", n))]
        image = g.image.with_dpdk(g.image.kernel(kernel), g.BUILD)
        host, guest = start(*args, kernel=kernel, cpus=cpus, memory=1024, initrd=image,
                            **guest_args)
        guest.run("modprobe hv_netvsc; modprobe uio_hv_generic; "
                  "echo 128 > /proc/sys/vm/nr_hugepages; mount -t hugetlbfs h /dev/hugepages")
        guest.until("netdevs", f"test $(ls -d /sys/class/net/eth* | wc -l) = {len(nics)}")
        for i in range(len(nics) if bind else 0):
            guest.run(f"hv-devbind --bind uio_hv_generic eth{i}")
        # testpmd ends at the end of its input.
        guest.run("mkfifo /tmp/idle")
        guest.start("sleep 100000 > /tmp/idle")
        return host, guest
    return begin


def testpmd(mode, *, seconds=10, queues=1, cpus=2, more=""):
    return (f"timeout -s INT {seconds} dpdk-testpmd -l 0-{cpus - 1} --legacy-mem -- "
            f"--forward-mode={mode} --rxq={queues} --txq={queues} --total-num-mbufs=20000 {more} "
            "< /tmp/idle")


def totals(out):
    """(received, sent) of all ports as testpmd sums them up at its end."""
    last = out.split("Accumulated forward statistics for all ports")[1]
    return tuple(int(re.search(rf"{d}-packets: (\d+)", last)[1]) for d in ("RX", "TX"))


def port(host, nic=0):
    return host.stats()["nics"][nic]["port"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("queues", [1, 4])
def test_txonly(dpdk, kernel, queues):
    """What testpmd counts as sent is what the host received, undamaged."""
    host, guest = dpdk("port=sink", kernel=kernel, cpus=4)
    out = guest.run(testpmd("txonly", queues=queues, cpus=3, more="--nb-cores=2"), timeout=120)
    _, sent = totals(out)
    assert sent > 0 and port(host)["from_guest_frames"] == sent


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mode", [pytest.param("io", marks=pytest.mark.smoke), "macswap"])
def test_forward(dpdk, kernel, mode):
    """Every frame of the host goes in by one NIC and out by the other, once and undamaged."""
    host, guest = dpdk(f"port=gen:rate=4000,count={FRAMES},start=command,size=60-1514,flows=16",
                       "port=sink", kernel=kernel)
    guest.start(testpmd(mode, seconds=60, more="--no-flush-rx"))
    g.wait_for("both NICs open",
               lambda: all(host.command("filter", nic=i)["filter"] for i in (0, 1)))
    host.command("start", nic=0)
    g.wait_for("all frames", lambda: port(host, 1)["received"] == FRAMES)
    got = port(host, 1)
    assert [got[k] for k in ("lost", "duplicated", "reordered", "damaged", "late", "other")] == \
        [0] * 6, got
    guest.run("kill -INT $(pidof dpdk-testpmd)")
    guest.until("the end", "! pidof dpdk-testpmd")


@pytest.mark.parametrize("kernel", KERNELS)
def test_restarts(dpdk, kernel):
    """20 starts without a module reloaded; the host sees a new session each time."""
    host, guest = dpdk("port=sink", kernel=kernel)
    for _ in range(20):
        out = guest.run(testpmd("txonly", seconds=5), timeout=120)
        assert totals(out)[1] > 0
    assert host.stats()["nics"][0]["sessions"] >= 20


@pytest.mark.parametrize("kernel", KERNELS)
def test_killed(dpdk, kernel):
    host, guest = dpdk("port=sink", kernel=kernel)
    for _ in range(3):
        guest.status(testpmd("txonly").replace("-s INT 10", "-s KILL 8"), timeout=120)
        before = port(host)["from_guest_frames"]
        assert before > 0
    _, sent = totals(guest.run(testpmd("txonly"), timeout=120))
    assert port(host)["from_guest_frames"] == before + sent


@pytest.mark.parametrize("kernel", KERNELS)
def test_interrupt_masks(dpdk, kernel):
    """While it polls, every channel is masked and the kernel counts no interrupt."""
    host, guest = dpdk("port=echo", kernel=kernel)
    guest.start(testpmd("io", seconds=20, queues=2, more="--tx-first"))
    guest.until("a sub-channel", f"test $(ls -d {UIO}/channels/*/ring | wc -l) = 2")
    look = f"sleep 1; cat {UIO}/channels/*/in_mask; echo -; cat {UIO}/channels/*/interrupts"
    masks, first = guest.run("sleep 3; " + look).split("-")
    again, second = guest.run(look).split("-")
    assert set(masks.split()) == set(again.split()) == {"1"}
    assert first == second
    guest.until("the end", "! pidof dpdk-testpmd")


@pytest.mark.parametrize("kernel", KERNELS)
def test_back_to_the_kernel(dpdk, kernel):
    host, guest = dpdk("port=sink", kernel=kernel)
    guest.run(testpmd("txonly", seconds=5), timeout=120)
    guest.run("hv-devbind --bind hv_netvsc $(ls /sys/bus/vmbus/devices)")
    guest.until("the interface", "ip link set eth0 up && ip link show eth0 | grep -q LOWER_UP")
    code, out = guest.status("hv-devbind --bind uio_hv_generic eth0")
    assert code != 0 and "up" in out


@pytest.mark.parametrize("kernel", KERNELS)
def test_rescind(dpdk, kernel):
    """A NIC taken away under traffic: the application hears of it, its other NIC goes on."""
    host, guest = dpdk("port=gen:rate=2000,start=command", "port=gen:rate=2000,start=command",
                       kernel=kernel, append="page_poison=1")
    run = testpmd("rxonly", seconds=100, more="--no-flush-rx")
    guest.start(run + " > /tmp/testpmd 2>&1")
    g.wait_for("both NICs open",
               lambda: all(host.command("filter", nic=i)["filter"] for i in (0, 1)))
    for i in (0, 1):
        host.command("start", nic=i)
    g.wait_for("traffic", lambda: port(host, 0)["sent"] > 1000)
    host.command("rescind", nic=0)
    guest.until("one device less", "test $(ls /sys/bus/vmbus/devices | wc -l) = 1")
    before = port(host, 1)["sent"]
    g.wait_for("traffic of the other", lambda: port(host, 1)["sent"] > before + 1000)
    guest.run("kill -INT $(pidof dpdk-testpmd)")
    guest.until("the end", "! pidof dpdk-testpmd")
    assert "device removal" in guest.run("cat /tmp/testpmd")
    host.command("offer", nic=0)
    guest.until("the device again", "test $(ls /sys/bus/vmbus/devices | wc -l) = 2")


def test_no_monitor(dpdk):
    """Without a monitor page the doorbell is a write(); every frame still goes through."""
    host, guest = dpdk("port=sink", kernel="6.12", options=["--no-monitor"])
    _, sent = totals(guest.run(testpmd("txonly", seconds=8), timeout=120))
    assert sent > 0 and port(host)["from_guest_frames"] == sent


def test_no_monitor_refused(dpdk):
    """Linux 6.1 refuses such a channel; hv-devbind says what the kernel lacks."""
    _, guest = dpdk("port=sink", kernel="6.1", bind=False, options=["--no-monitor"])
    code, out = guest.status("hv-devbind --bind uio_hv_generic eth0")
    assert code == 1 and "no monitor page" in out and "given back to hv_netvsc" in out
    guest.until("the interface again", "ls -d /sys/class/net/eth0")
