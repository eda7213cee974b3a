# SPDX-License-Identifier: BSD-3-Clause
"""Our driver in a guest: the real sysfs and /dev/uioN, stock plug-ins installed beside ours."""
import re

import guest as g
import pytest
from pmd import KERNELS, LOG, UIO, Console, dpdk_testpmd, port, stop, totals, txonly, wait_open

FRAMES = 20000


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("queues", [1, 4])
def test_txonly(dpdk, kernel, queues):
    """What testpmd counts as sent is what the host received, undamaged."""
    host, guest = dpdk("port=sink", kernel=kernel, cpus=4)
    out = txonly(host, guest, queues=queues, cpus=3, more="--nb-cores=2")
    _, sent = totals(out)
    assert sent > 0 and port(host)["from_guest_frames"] == sent
    # What DPDK's own bus driver says of a NIC that another bus has.
    assert "already registered" in out


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("mode", [pytest.param("io", marks=pytest.mark.smoke), "macswap"])
def test_forward(dpdk, kernel, mode):
    """Every frame of the host goes in by one NIC and out by the other, once and undamaged."""
    host, guest = dpdk(f"port=gen:rate=4000,count={FRAMES},start=command,size=60-1514,flows=16",
                       "port=sink", kernel=kernel)
    guest.start(dpdk_testpmd(mode, seconds=60, more="--no-flush-rx"))
    wait_open(host, 2)
    host.command("start", nic=0)
    g.wait_for("all frames", lambda: port(host, 1)["received"] == FRAMES)
    got = port(host, 1)
    assert [got[k] for k in ("lost", "duplicated", "reordered", "damaged", "late", "other")] == \
        [0] * 6, got
    stop(guest)


# Routes of the frames of hv-host's generator; they leave where they came in.
ROUTES = ("echo R198.19.0.0/16 0 > /tmp/v4; "
          "echo R2001:0002:0000:0000:0000:0000:0000:0000/48 0 > /tmp/v6")
L3FWD = "l3fwd -l 0-1 -- -p 1 -P '--config=(0,0,1)' --rule_ipv4=/tmp/v4 --rule_ipv6=/tmp/v6"


@pytest.mark.parametrize("program, command", [
    ("dpdk-testpmd", dpdk_testpmd("macswap", seconds=1000)), ("l3fwd", f"{ROUTES}; {L3FWD}")],
    ids=["testpmd", "l3fwd"])
def test_huge_pages_of_1g(dpdk, program, command):
    """All of DPDK's memory is one page of 1 GB: both directions cross it undamaged."""
    host, guest = dpdk("port=gen:rate=2000,size=60-1514,verify=count", kernel=KERNELS[-1],
                       memory=2560, append="hugepagesz=1G hugepages=1")
    guest.run("echo 0 > /proc/sys/vm/nr_hugepages; umount /dev/hugepages; "
              "mount -t hugetlbfs -o pagesize=1G h /dev/hugepages")
    guest.start(command)
    g.wait_for("frames back", lambda: port(host)["received"] > 1000)
    free = "/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages"
    assert guest.run(f"cat {free}").strip() == "0"
    stop(guest, program)
    assert port(host)["damaged"] == 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_restarts(dpdk, kernel):
    """20 starts without a module reloaded; the host sees a new session each time."""
    host, guest = dpdk("port=sink", kernel=kernel)
    for _ in range(20):
        assert totals(txonly(host, guest))[1] > 0
    assert host.stats()["nics"][0]["sessions"] >= 20


@pytest.mark.parametrize("kernel", KERNELS)
def test_killed(dpdk, kernel):
    host, guest = dpdk("port=sink", kernel=kernel)
    for _ in range(3):
        txonly(host, guest, signal="KILL")
    before = port(host)["from_guest_frames"]
    _, sent = totals(txonly(host, guest))
    assert port(host)["from_guest_frames"] == before + sent


@pytest.mark.parametrize("kernel", KERNELS)
def test_secondary(dpdk, kernel):
    """
    Another process sends by the second queue: a sub-channel's ring, mapped by it alone. It goes on
    after a restart of the primary's port; once it is killed, the primary does.
    """
    host, guest = dpdk("queues=2,port=sink", kernel=kernel)

    def sends(queue):
        def count():
            return host.stats()["nics"][0]["queues"][queue]["tx_frames"]
        before = count()
        g.wait_for(f"frames by queue {queue}", lambda: count() > before)

    def both(proc):
        return {"queues": 2, "more": f"--num-procs=2 --proc-id={proc}"}
    app = Console(guest, "txonly", eal="-m 128", **both(0))
    app.do("start")
    sends(0)
    guest.start(dpdk_testpmd("txonly", seconds=1000, eal="--proc-type=secondary", **both(1)) +
                " > /tmp/second 2>&1")
    sends(1)
    for line in ("stop", "port stop 0", "port start 0", "start"):
        app.do(line)
    sends(0)
    sends(1)
    second = guest.run("grep -l proc-type=secondary $(printf '/proc/%s/cmdline ' "
                       "$(pidof dpdk-testpmd))").split("/")[2]
    guest.run(f"kill -KILL {second}")
    guest.until("the end of the secondary", f"! test -e /proc/{second}")
    sends(0)
    app.quit()


def watch_interrupts(host, guest, driver, **more):
    """Forward with two queues; (masks, interrupts counted in two seconds) of both channels."""
    app = Console(guest, "macswap", queues=2, more="--no-flush-rx", **more)
    assert f"Driver name: {driver}" in app.do("show port info 0")
    app.do("start")
    look = f"cat {UIO}/channels/*/in_mask; echo -; cat {UIO}/channels/*/interrupts"
    back = port(host)["received"]
    _, first = guest.run(f"sleep 2; {look}").split("-")
    masks, second = guest.run(f"sleep 2; {look}").split("-")
    assert port(host)["received"] > back + 1000
    app.quit()
    return masks.split(), [int(b) - int(a) for a, b in zip(first.split(), second.split())]


@pytest.mark.parametrize("kernel", KERNELS)
def test_recovery(dpdk, kernel):
    """The host spoils a ring: under way, testpmd's device is closed and opened, and sends again."""
    host, guest = dpdk("queues=2,port=sink", kernel=kernel)
    app = Console(guest, "txonly", queues=2)
    app.do("start")

    def sends():
        def counts():
            return [q["tx_frames"] for q in host.stats()["nics"][0]["queues"] if q["open"]]
        before = counts()
        g.wait_for("frames by both queues", lambda: len(before) == len(counts()) == 2 and
                   all(b > a for a, b in zip(before, counts())))

    for queue in (0, 1):
        sends()
        # It writes no completion over the wrong index then.
        assert host.command("stall", nic=0, queue=queue)["ok"]
        assert host.command("ring-word", nic=0, queue=queue, ring="rx", word="write", value=3)["ok"]
        guest.until("a recovery",
                    f"test $(grep -c 'recovery successful' {LOG}) = {queue + 1}", timeout=60)
    sends()
    assert host.stats()["nics"][0]["sessions"] >= 3
    app.quit()


@pytest.mark.parametrize("kernel", KERNELS)
def test_interrupt_masks(dpdk, kernel):
    """
    While it polls, every channel is masked and the kernel counts no interrupt. With the stock
    driver, in the same guest, it does.
    """
    host, guest = dpdk("port=gen:rate=2000,flows=16,verify=count", kernel=kernel)
    ours = watch_interrupts(host, guest, "net_hvnetvsc")
    stock = watch_interrupts(host, guest, "net_netvsc", stock=True)
    print(f"{kernel}: in_mask and interrupts, ours {ours}, stock {stock}")
    assert ours == (["1", "1"], [0, 0])
    assert "0" in stock[0] and max(stock[1]) > 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_rx_interrupts(dpdk, kernel):
    """
    A program sleeps until the interrupt of a queue, one of two, wakes it: it has every frame. The
    second queue alone: nothing but the interrupt of a sub-channel tells of its frames; then both.
    """
    host, guest = dpdk(*(f"port=gen:rate=100,count=1000,flows={n},start=command,verify=no"
                         for n in (1, 16)), kernel=kernel)
    for nic, device in enumerate(guest.run("ls /sys/bus/vmbus/devices").split()):
        # Plug-ins need one another, and testpmd's search path, which names them, is its own.
        guest.start("env LD_LIBRARY_PATH=$(echo /usr/lib/*/dpdk/pmds-*) rx_intr --legacy-mem -l 0 "
                    f"-a hv_vmbus:{device} -- 2 1000 > {LOG} 2>&1")
        guest.until("its start", f"grep ready {LOG} || {{ cat {LOG}; false; }}", timeout=120)
        host.command("start", nic=nic)
        g.wait_for("half of the frames", lambda nic=nic: port(host, nic)["sent"] >= 500)
        look = f"cat /sys/bus/vmbus/devices/{device}/channels/*/interrupts"
        told = [int(n) for n in guest.run(look).split()]
        guest.until("its end", "! pidof rx_intr")
        log = guest.run(f"cat {LOG}")
        frames, sleeps = re.search(r"frames (\d+) sleeps (\d+)", log).groups()
        assert int(frames) == 1000 and int(sleeps) > 100, log
        assert "in vain" not in log
        used = [q["rx_frames"] > 0 for q in host.stats()["nics"][nic]["queues"]]
        print(f"{kernel}: {sleeps} sleeps, interrupts {told}, queues {used}")
        assert used == [nic == 1, True]
        assert told[1] > 50 and (told[0] > 50 or nic == 0)


def detached(guest, times):
    """testpmd does that 100 ms after the event, in a thread of its own; until then no other may."""
    guest.until("the end of the port", f"test $(grep -c 'Device is detached' {LOG}) = {times}")


@pytest.mark.parametrize("kernel", KERNELS)
def test_rescind(dpdk, kernel):
    """
    A NIC taken away under traffic: the application hears of it, its other NIC goes on. When the
    host offers it again and it is bound again, the same process takes it.
    """
    gen = "port=gen:rate=2000,start=command"
    host, guest = dpdk(gen, gen, kernel=kernel, append="page_poison=1")
    first, other = guest.run("ls /sys/bus/vmbus/devices").split()
    app = Console(guest, "rxonly", more="--no-flush-rx")
    app.do("start")
    for i in (0, 1):
        host.command("start", nic=i)
    g.wait_for("traffic", lambda: port(host, 0)["sent"] > 1000)
    host.command("rescind", nic=0)
    guest.until("one device less", "test $(ls /sys/bus/vmbus/devices | wc -l) = 1")
    guest.until("the event", f"grep 'device removal' {LOG}")
    detached(guest, 1)
    before = port(host, 1)["sent"]
    g.wait_for("traffic of the other", lambda: port(host, 1)["sent"] > before + 1000)
    for times in (2, 3):
        host.command("offer", nic=0)
        # The kernel gives a new device to its own driver.
        guest.until("the device again", "ls -d /sys/class/net/eth*")
        guest.run(f"hv-devbind --bind uio_hv_generic {first}")
        app.do(f"port attach hv_vmbus:{first}")
        app.do("stop")
        app.do("port start all")
        app.do("start")
        before = port(host, 0)["sent"], port(host, 1)["sent"]
        g.wait_for("traffic of both", lambda: all(port(host, i)["sent"] > before[i] + 1000
                                                  for i in (0, 1)))
        host.command("rescind", nic=0)
        guest.until("one device less", "test $(ls /sys/bus/vmbus/devices | wc -l) = 1")
        detached(guest, times)
    app.quit()
    assert guest.run("ls /sys/bus/vmbus/devices").split() == [other]


@pytest.mark.parametrize("kernel", KERNELS)
def test_late_ring(dpdk, kernel):
    """Sub-channels come one by one, and their rings later still: all four queues are used."""
    host, guest = dpdk("port=sink", kernel=kernel, cpus=4,
                       options=["--sub-delay", "500", "--reply-delay", "200"])
    guest.start(f"while sleep 0.02; do for c in {UIO}/channels/*; do test -e $c/ring || "
                "echo $c; done; done > /tmp/late")
    out = guest.run(dpdk_testpmd("txonly", queues=4, cpus=3, seconds=20, more="--nb-cores=2"),
                    timeout=120)
    _, sent = totals(out)
    late = guest.run("sort -u /tmp/late | wc -l")
    assert int(late) == 3, "no ring was late"
    assert port(host)["from_guest_frames"] == sent
    used = [q["tx_frames"] > 0 for q in host.stats()["nics"][0]["queues"]]
    assert used.count(True) == 4, host.stats()["nics"][0]["queues"]


def test_no_monitor(dpdk):
    """Without a monitor page the doorbell is a write(); every frame still goes through."""
    host, guest = dpdk("port=sink", kernel="6.12", options=["--no-monitor"])
    _, sent = totals(guest.run(dpdk_testpmd("txonly", seconds=8), timeout=120))
    assert sent > 0 and port(host)["from_guest_frames"] == sent


def test_no_monitor_refused(dpdk):
    """Linux 6.1 refuses such a channel; hv-devbind says what the kernel lacks."""
    _, guest = dpdk("port=sink", kernel="6.1", bind=False, options=["--no-monitor"])
    code, out = guest.status("hv-devbind --bind uio_hv_generic eth0")
    assert code == 1 and "no monitor page" in out and "given back to hv_netvsc" in out
    guest.until("the interface again", "ls -d /sys/class/net/eth0")
