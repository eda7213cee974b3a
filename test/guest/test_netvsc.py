# SPDX-License-Identifier: BSD-3-Clause
"""Linux's hv_netvsc against the host's NIC: what the unmodified driver of two kernels does."""
import pathlib

import guest as g
import net
import pytest

KERNELS = ["6.1", "6.12"]
SMOKE = pytest.mark.smoke
NVSP = [pytest.param("6.1", marks=SMOKE), "6", "5", "4", "2", "1"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("nvsp", NVSP)
def test_nvsp_version(start, kernel, nvsp):
    host, guest = start(*net.cable(nvsp_max=nvsp), kernel=kernel)
    net.join(guest)
    net.ping_both(guest)
    net.ping_both(guest, size=1472)
    guest.run("rmmod hv_netvsc")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("version", ["5.3", "5.2", "5.1", "5.0", "4.1", "4.0", "3.0", "2.4"])
def test_vmbus_version(start, kernel, version):
    _, guest = start(*net.cable(), "--vmbus-max", version, kernel=kernel)
    net.join(guest)
    net.ping_both(guest)
    assert f"Vmbus version:{version}" in guest.console()
    guest.run("rmmod hv_netvsc hv_vmbus")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("queues", [1, 2, 4])
def test_queues(start, kernel, queues):
    """The RETA names every queue, and flows arrive on every queue."""
    host, guest = start(*net.cable(queues=queues), kernel=kernel, cpus=queues)
    names = net.join(guest)
    out = guest.run(f"ip netns exec b ethtool -l {names[1]}")
    assert f"Combined:\t{queues}" in out.split("Current")[1], out
    if queues > 1:
        table = guest.run(f"ip netns exec b ethtool -x {names[1]}")
        for q in range(queues):
            assert f" {q} " in table, table
        # Flows differ in the address: Toeplitz of the addresses spreads them.
        for i in range(10, 42):
            guest.run(f"ip -n a addr add 10.9.0.{i}/24 dev {names[0]}")
        for i in range(10, 42):
            guest.run(f"ip netns exec a ping -q -c 1 -W 5 -I 10.9.0.{i} {net.ADDR['b']}")
        used = [q for q in range(queues) if int(guest.run(
            f"ip netns exec b ethtool -S {names[1]} | sed -n 's/ *rx_queue_{q}_packets: //p'"))]
        assert used == list(range(queues))
    net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_change_queues(start, kernel):
    host, guest = start(*net.cable(), kernel=kernel, cpus=4)
    names = net.join(guest)
    for n in (1, 3, 4, 2):
        guest.run(f"ip netns exec a ethtool -L {names[0]} combined {n}")
        assert f"Combined:\t{n}" in guest.run(
            f"ip netns exec a ethtool -l {names[0]}").split("Current")[1]
        net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_mtu(start, kernel):
    host, guest = start(*net.cable(), kernel=kernel, cpus=2)
    names = net.join(guest)
    for mtu in (9000, 1500, 9000, 1500):
        for ns, dev in zip("ab", names):
            guest.run(f"ip -n {ns} link set {dev} mtu {mtu}")
        net.ping_both(guest, size=mtu - 28)


@pytest.mark.parametrize("kernel", KERNELS)
def test_vlan(start, kernel):
    _, guest = start(*net.cable(), kernel=kernel)
    names = net.join(guest)
    guest.run("modprobe 8021q")
    for ns, dev, host in zip("ab", names, (1, 2)):
        guest.run(f"ip -n {ns} link add link {dev} name v type vlan id 100; "
                  f"ip -n {ns} addr add 10.8.0.{host}/24 dev v; ip -n {ns} link set v up")
    net.ping(guest, to="10.8.0.2", size=1400)
    net.ping(guest, to="10.8.0.2")
    # A frame of another VLAN, or of none, is not this interface's.
    guest.run("ip -n b link set v down")
    code, _ = guest.status("ip netns exec a ping -q -c 2 -W 1 10.8.0.2")
    assert code != 0
    net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_promiscuous(start, kernel):
    host, guest = start(*net.cable(), kernel=kernel)
    names = net.join(guest)
    host_filter = host.command("filter", nic=0)["filter"]
    guest.run(f"ip -n a link set {names[0]} promisc on")
    g.wait_for("a promiscuous filter", lambda: host.command("filter", nic=0)["filter"] & 0x20)
    guest.run(f"ip -n a link set {names[0]} promisc off")
    g.wait_for("the filter of before",
               lambda: host.command("filter", nic=0)["filter"] == host_filter)
    net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_tcp_copy(start, kernel):
    """Checksums, segmentation and receive buffers under load: 100 MB arrive unchanged."""
    host, guest = start(*net.cable(), kernel=kernel, cpus=2, memory=768)
    names = net.join(guest)
    features = guest.run(f"ip netns exec a ethtool -k {names[0]}")
    assert "tcp-segmentation-offload: on" in features and "rx-checksumming: on" in features
    guest.run("head -c 100000000 /dev/urandom > /tmp/in", timeout=120)
    # The listener's input stays open: nc shuts its side down at the end of it.
    guest.run("mkfifo /tmp/idle")
    guest.start("sleep 1000 > /tmp/idle")
    guest.start("ip netns exec b nc -l -p 7000 < /tmp/idle > /tmp/out; touch /tmp/done")
    guest.until("a listener", "ip netns exec b netstat -ltn | grep -q :7000")
    guest.run(f"ip netns exec a nc {net.ADDR['b']} 7000 < /tmp/in", timeout=300)
    guest.until("the end", "test -e /tmp/done")
    sums = guest.run("sha256sum /tmp/in /tmp/out").split()
    assert sums[0] == sums[2]


@pytest.mark.parametrize("kernel", KERNELS)
def test_reload(start, kernel):
    _, guest = start(*net.cable(), kernel=kernel, cpus=2)
    for i in range(10):
        net.join(guest)
        net.ping_both(guest, count=3)
        guest.run("rmmod hv_netvsc; ip netns del a; ip netns del b")
        if i % 2:
            guest.run("rmmod hv_vmbus")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("how", ["reboot -f", "echo c > /proc/sysrq-trigger"])
def test_restart(start, kernel, how):
    host, guest = start(*net.cable(), kernel=kernel, cpus=2, reboot=True)
    net.join(guest)
    guest.start(f"ip netns exec a ping -q -i 0.01 -c 100000 {net.ADDR['b']}")
    guest.send(how)
    guest.booted()
    net.join(guest)
    net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_unmapped_before_unload_is_answered(start, tmp_path, kernel):
    """A kernel that crashed under traffic may reuse its pages once UNLOAD is answered."""
    trace = tmp_path / "trace"
    host, guest = start(*net.cable(), "--unload-delay", "10000", "--trace", trace, kernel=kernel,
                        cpus=2, reboot=True)

    def pages():
        maps = pathlib.Path(f"/proc/{host.proc.pid}/maps").read_text()
        return sum("memfd:" in line for line in maps.splitlines())

    before = pages()
    net.join(guest)
    guest.start(f"ip netns exec a ping -q -i 0.01 -c 100000 {net.ADDR['b']}")
    assert pages() > before
    guest.send("echo c > /proc/sysrq-trigger")
    g.wait_for("UNLOAD, and its pages given back",
               lambda: "UNLOAD" in trace.read_text() and pages() == before)
    guest.qmp("query-status")    # events come with answers
    assert "RESET" not in [e["event"] for e in guest.qmp.events], "the answer was already there"
    guest.booted()
    net.join(guest)
    net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_link(start, kernel):
    host, guest = start(*net.cable(), kernel=kernel)
    names = net.join(guest)
    up = f"ip -n a link show {names[0]} | grep -q LOWER_UP"
    for _ in range(2):
        host.command("link", nic=0, state="down")
        guest.until("no carrier", f"! {up}")
        host.command("link", nic=0, state="up")
        guest.until("carrier", up)
        net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_rescind(start, kernel):
    host, guest = start(*net.cable(), kernel=kernel, cpus=2)
    net.join(guest)
    for _ in range(3):
        host.command("rescind", nic=0)
        guest.until("one device less", "test $(ls /sys/bus/vmbus/devices | wc -l) = 1")
        host.command("offer", nic=0)
        guest.until("the device again", "test $(ls /sys/bus/vmbus/devices | wc -l) = 2")
        dev = guest.until("its netdev", "ls /sys/class/net | grep eth").split()[0]
        guest.run(f"ip link set {dev} netns a; ip -n a addr add {net.ADDR['a']}/24 dev {dev}; "
                  f"ip -n a link set {dev} up")
        guest.until("carrier", f"ip -n a link show {dev} | grep -q LOWER_UP")
        net.ping_both(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_eight_nics(start, kernel):
    args = [a for i in range(8) for a in ("--nic", f"port=pair:{i ^ 1}")]
    host, guest = start(*args, kernel=kernel, memory=1024)
    names = net.load(guest, 8)
    for i, dev in enumerate(names):
        guest.run(f"ip netns add n{i}; ip link set {dev} netns n{i}; "
                  f"ip -n n{i} addr add 10.{i // 2}.0.{i % 2 + 1}/24 dev {dev}; "
                  f"ip -n n{i} link set {dev} up")
    for i in range(8):
        guest.until("the peer", f"ip netns exec n{i} ping -q -c 1 -W 1 "
                    f"10.{i // 2}.0.{2 - i % 2}")
    assert all(n["queues"][0]["tx_frames"] for n in host.stats()["nics"])
