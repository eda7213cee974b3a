# SPDX-License-Identifier: BSD-3-Clause
"""dpdk-testpmd in a guest, with our driver on the guest's NICs."""
import re

import guest as g

KERNELS = ["6.1", "6.12"]
UIO = "/sys/bus/vmbus/devices/*1"    # of the first NIC
LOG = "/tmp/testpmd"


def prepare(guest, nics=1, bind=True):
    """Hugepages, drivers, the NICs bound to uio_hv_generic."""
    guest.run("modprobe hv_netvsc; modprobe uio_hv_generic; "
              "echo 128 > /proc/sys/vm/nr_hugepages; mount -t hugetlbfs h /dev/hugepages")
    guest.until("netdevs", f"test $(ls -d /sys/class/net/eth* | wc -l) = {nics}")
    for i in range(nics if bind else 0):
        guest.run(f"hv-devbind --bind uio_hv_generic eth{i}")
    # testpmd ends at the end of its input.
    guest.run("mkfifo /tmp/idle")
    guest.start("sleep 100000 > /tmp/idle")


def dpdk_testpmd(mode, *, seconds=10, queues=1, cpus=2, more="", stdin="/tmp/idle", eal="",
                 stock=False):
    """Its command line; with the stock driver, if asked for."""
    # On one processor, the main thread sleeps while the other forwards.
    lcores = f"-l 0-{cpus - 1}" if cpus > 1 else "--lcores=0@0,1@0"
    env = ""
    if stock:
        eal += f" -b hv_vmbus:$(basename {UIO})"
        env = "env LD_PRELOAD=/lib/libhvqstate.so"
    return (f"timeout -s INT {seconds} {env} stdbuf -oL "
            f"dpdk-testpmd {lcores} --legacy-mem {eal} -- "
            f"--forward-mode={mode} --rxq={queues} --txq={queues} --total-num-mbufs=20000 {more} "
            f"< {stdin}")


def totals(out):
    """(received, sent) of all ports as testpmd sums them up at its end."""
    last = out.split("Accumulated forward statistics for all ports")[1]
    return tuple(int(re.search(rf"{d}-packets: (\d+)", last)[1]) for d in ("RX", "TX"))


def port(host, nic=0):
    return host.stats()["nics"][nic]["port"]


def wait_open(host, nics=1):
    """Every NIC receives: testpmd has started its ports."""
    g.wait_for("open NICs", lambda: all(host.command("filter", nic=i)["filter"]
                                        for i in range(nics)), timeout=120)


def stop(guest, program="dpdk-testpmd"):
    guest.run(f"kill -INT $(pidof {program})")
    ended(guest, program)


def ended(guest, program="dpdk-testpmd"):
    guest.until(f"the end of {program}", f"! pidof {program}", timeout=120)


def txonly(host, guest, signal="INT", nic=0, **more):
    """Let testpmd send until the host has something of it, then the signal; what it printed."""
    before = port(host, nic)["from_guest_frames"]
    guest.start(f"{dpdk_testpmd('txonly', seconds=1000, **more)} > {LOG} 2>&1")
    g.wait_for("frames", lambda: port(host, nic)["from_guest_frames"] > before, timeout=120)
    guest.run(f"kill -{signal} $(pidof dpdk-testpmd)")
    ended(guest)
    return guest.run(f"cat {LOG}")


class Console:
    """dpdk-testpmd -i in the background of a guest, its commands through a pipe."""

    def __init__(self, guest, mode, **more):
        self.guest = guest
        guest.run("rm -f /tmp/type; mkfifo /tmp/type")
        guest.start("sleep 100000 > /tmp/type")
        options = f"-i {more.pop('more', '')}"
        guest.start(f"{dpdk_testpmd(mode, seconds=1000, more=options, stdin='/tmp/type', **more)} "
                    f"> {LOG} 2>&1")
        self.prompts = 0
        self._prompt("")

    def log(self):
        return self.guest.run(f"cat {LOG}")

    def _prompt(self, line):
        """Wait for one prompt more."""
        self.prompts += 1
        self.guest.until(f"testpmd's prompt after \"{line}\"",
                         f"test $(grep -o 'testpmd> ' {LOG} | wc -l) -ge {self.prompts} || "
                         f"{{ tail -n 20 {LOG}; false; }}", timeout=120)

    def do(self, line):
        """Type a command; the log since then, when the next prompt is there."""
        before = len(self.log())
        self.guest.run(f"echo '{line}' > /tmp/type")
        self._prompt(line)
        return self.log()[before:]

    def quit(self):
        self.guest.run("echo quit > /tmp/type")
        ended(self.guest)
