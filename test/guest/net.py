# SPDX-License-Identifier: BSD-3-Clause
"""Two NICs of one guest, joined by a cable in hv-host, each in its own network name space."""
import re

ADDR = {"a": "10.9.0.1", "b": "10.9.0.2"}


def cable(**keys):
    """hv-host's arguments for the two NICs, with the same further keys."""
    more = "".join(f"{k.replace('_', '-')}={v}," for k, v in keys.items())
    return "--nic", f"{more}port=pair:1", "--nic", f"{more}port=pair:0"


def mac(index):
    return f"00:15:5d:00:00:{index:02x}"


def load(guest, nics=2):
    """Load the driver; the names of its interfaces, by the index of the NIC in hv-host."""
    guest.run("modprobe hv_netvsc")
    guest.until("netdevs", f"test $(ls -d /sys/bus/vmbus/devices/*/net/* | wc -l) = {nics}")
    names = {}
    for path in guest.run("ls -d /sys/bus/vmbus/devices/*/net/*").split():
        name = path.rsplit("/", 1)[1]
        names[guest.run(f"cat {path}/address").strip()] = name
    return [names[m] for m in sorted(names)]


def join(guest):
    """Name spaces a and b with an interface of the cable each; names of the interfaces."""
    names = load(guest)
    for ns, dev in zip("ab", names):
        guest.run(f"ip netns add {ns}; ip link set {dev} netns {ns}; "
                  f"ip netns exec {ns} sysctl -qw net.ipv6.conf.all.disable_ipv6=1; "
                  f"ip -n {ns} addr add {ADDR[ns]}/24 dev {dev}; "
                  f"ip -n {ns} link set lo up; ip -n {ns} link set {dev} up")
    for ns, dev in zip("ab", names):
        guest.until(f"carrier of {dev}", f"ip -n {ns} link show {dev} | grep -q LOWER_UP")
    return names


def ping(guest, ns="a", count=20, size=56, to=None, options=""):
    """All echo requests are answered."""
    to = to or ADDR["b" if ns == "a" else "a"]
    out = guest.run(f"ip netns exec {ns} ping -q -i 0.02 -c {count} -s {size} -W 5 {options} "
                    f"{to}", timeout=30 + count)
    found = re.search(r"(\d+) packets transmitted, (\d+) packets received", out)
    assert found and int(found[1]) == int(found[2]) == count, out


def ping_both(guest, **kw):
    ping(guest, "a", **kw)
    ping(guest, "b", **kw)
