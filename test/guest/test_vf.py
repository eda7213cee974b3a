# SPDX-License-Identifier: BSD-3-Clause
"""Accelerated networking in Linux: a VF comes and goes, hv_netvsc's data path follows."""
import re

import guest as g
import net
import pytest
import vf as v

KERNELS = ["6.1", "6.12"]
BLOCKS = 600    # of 100 kB each, one every 20 ms


@pytest.fixture
def cable(start, tmp_path):
    """cable(kernel) -> (VF, host, guest, interfaces): the first NIC may get a VF."""
    def begin(kernel):
        vf = v.Vf(tmp_path, "vmxnet3")
        host, guest = start("--nic", f"{vf.leg},port=pair:1", "--nic", "port=pair:0",
                            kernel=kernel, cpus=2, memory=512, qemu=vf.qemu)
        guest.run("modprobe vmxnet3")
        return vf, host, guest, net.join(guest)
    return begin


def plug(vf, host, guest, dev):
    vf.attach(host, guest)
    g.wait_for("the path is the VF's", lambda: vf.used(host))
    guest.until("carrier of the VF", f"ip -n a link show master {dev} | grep -q LOWER_UP")


@pytest.mark.parametrize("kernel", KERNELS)
def test_hotplug(cable, kernel):
    """The kernel pairs by serial and PCI slot; every frame is counted on the path it took."""
    vf, host, guest, names = cable(kernel)
    for _ in range(2):
        before = vf.counts(host)
        net.ping_both(guest)
        mid = vf.counts(host)
        assert mid["vf_tx"] == before["vf_tx"] and mid["vf_rx"] == before["vf_rx"]
        plug(vf, host, guest, names[0])
        assert f"{names[0]}: VF registering" in guest.console()
        mid = vf.counts(host)
        net.ping_both(guest)
        after = vf.counts(host)
        # 40 requests or replies each way
        assert after["vf_tx"] - mid["vf_tx"] >= 40 and after["vf_rx"] - mid["vf_rx"] >= 40
        assert after["synthetic_rx"] == mid["synthetic_rx"]
        vf.detach(host, guest)
        guest.until("no VF", f"! ip -n a link show master {names[0]} | grep -q .")
    net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_tcp_survives(cable, kernel):
    """A TCP connection and a ping live through two arrivals and departures of the VF."""
    vf, host, guest, names = cable(kernel)
    guest.run("head -c 100000 /dev/urandom > /tmp/block; mkfifo /tmp/idle")
    guest.start("sleep 1000 > /tmp/idle")
    guest.start("ip netns exec b nc -l -p 7000 < /tmp/idle | sha256sum > /tmp/sum; "
                "touch /tmp/done")
    guest.until("a listener", "ip netns exec b netstat -ltn | grep -q :7000")
    guest.run(f"echo 'i=0; while test $i -lt {BLOCKS}; do cat /tmp/block; usleep $1; "
              "i=$((i + 1)); done' > /tmp/feed")
    guest.start(f"ip netns exec a ping -q -i 0.05 -W 5 -c 100000 {net.ADDR['b']} > /tmp/ping")
    guest.start(f"sh /tmp/feed 20000 | ip netns exec a nc {net.ADDR['b']} 7000")
    for _ in range(2):
        plug(vf, host, guest, names[0])
        guest.run("sleep 3")
        vf.detach(host, guest)
        guest.run("sleep 1")
    assert guest.status("test -e /tmp/done")[0] != 0, "the transfer ended too early"
    guest.until("the end", "test -e /tmp/done", timeout=300)
    assert guest.run("cat /tmp/sum") == guest.run("sh /tmp/feed 0 | sha256sum")
    guest.run("kill -INT $(pidof ping)")
    summary = guest.until("ping's summary", "grep transmitted /tmp/ping")
    sent, got = map(int, re.search(r"(\d+) packets transmitted, (\d+) packets",
                                   summary).groups())
    assert sent > 100 and got > 0
    counts = vf.counts(host)
    assert counts["vf_tx"] > 0 and counts["vf_rx"] > 0 and counts["synthetic_tx"] > 0
    print(f"ping: {sent - got} of {sent} lost; {counts}")
