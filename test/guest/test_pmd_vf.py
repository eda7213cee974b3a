# SPDX-License-Identifier: BSD-3-Clause
"""A VF under our driver: a PCI card of the guest, bound to uio_pci_generic, comes and goes."""
import guest as g
import pytest
import vf as v
from pmd import KERNELS, LOG, UIO, dpdk_testpmd, port, stop, wait_open

CARD = f"0000:00:{v.SLOT:02x}.0"
RATE = 1000    # frames per second, of each size
BAD = ("lost", "duplicated", "reordered", "damaged", "late", "other")


@pytest.fixture
def forwarder(dpdk, tmp_path):
    """forwarder(kernel, model) -> (VF, host, guest): frames of the host go in and come back."""
    def begin(kernel, model, mac=None, eal=""):
        vf = v.Vf(tmp_path, model, mac=mac)
        host, guest = dpdk(f"{vf.leg},port=gen:rate={RATE},start=command,size=60-1514,flows=16,"
                           "verify=count", kernel=kernel, qemu=vf.qemu)
        guest.run("modprobe uio_pci_generic")
        line = dpdk_testpmd("macswap", seconds=1000, more="--no-flush-rx", eal=eal)
        guest.start(f"{line} > {LOG} 2>&1")
        wait_open(host)
        host.command("start", nic=0)
        return vf, host, guest
    return begin


def plug(vf, host, guest):
    """The host's word, the card, and what an administrator of DPDK does with a card."""
    vf.attach(host, guest)
    at = f"/sys/bus/pci/devices/{CARD}"
    guest.until("the card", f"test -d {at}")
    # Linux 6.12 has virtio-pci built in, and gives it the card.
    guest.run(f"test ! -e {at}/driver || echo {CARD} > {at}/driver/unbind; "
              f"echo uio_pci_generic > {at}/driver_override; "
              f"echo {CARD} > /sys/bus/pci/drivers_probe; test -d {at}/uio")


def passed(host, frames=1000):
    """So many frames more have come back."""
    before = port(host)["received"]
    g.wait_for("traffic", lambda: port(host)["received"] >= before + frames)


def all_back(host):
    """The generator stops: everything it sent is back, once and undamaged."""
    host.command("stop", nic=0)
    g.wait_for("the last frames", lambda: port(host)["received"] == port(host)["sent"],
               timeout=60)
    got = port(host)
    assert [got[k] for k in BAD] == [0] * len(BAD), got


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("model", ["virtio-net-pci", "vmxnet3"])
def test_switch(forwarder, kernel, model):
    """Found by its serial, confirmed by its MAC address, used, given back; twice; all in order."""
    vf, host, guest = forwarder(kernel, model)
    for times in (1, 2):
        passed(host)
        before = vf.counts(host)
        plug(vf, host, guest)
        g.wait_for("the path is the VF's", lambda: vf.used(host))
        passed(host)
        used = vf.counts(host)
        for way in ("rx", "tx"):
            assert used[f"vf_{way}"] - before[f"vf_{way}"] >= 500, used
        host.command("vf", nic=0, action="unplug")
        guest.until("our driver let go of it",
                    f"test $(grep -c 'Port 1 is closed' {LOG}) = {times}")
        vf.unplug(guest)
        passed(host)
        after = vf.counts(host)
        assert after["synthetic_rx"] - used["synthetic_rx"] >= 500
        assert after["synthetic_tx"] - used["synthetic_tx"] >= 500
    all_back(host)
    total, sent = vf.counts(host), port(host)["sent"]
    print(f"{sent} frames; {total}")
    for way in ("rx", "tx"):
        assert total[f"vf_{way}"] + total[f"synthetic_{way}"] == sent
    stop(guest)
    log = guest.run(f"cat {LOG}")
    assert log.count(f"VF is port 1, {CARD}") == 2, log


@pytest.mark.parametrize("kernel", KERNELS)
def test_other_mac(forwarder, kernel):
    """A card in the right slot with another MAC address is not the VF."""
    vf, host, guest = forwarder(kernel, "virtio-net-pci", mac="00:15:5d:00:00:77")
    plug(vf, host, guest)
    guest.until("a refusal", f"grep 'no port with this MAC address' {LOG}")
    passed(host)
    assert not vf.used(host)
    all_back(host)
    assert vf.counts(host)["vf_rx"] == vf.counts(host)["vf_tx"] == 0
    stop(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_arguments(forwarder, kernel):
    """What EAL was given for the card holds when it comes: that it is left to vDPA."""
    eal = f"-a {CARD},vdpa=1 -a hv_vmbus:$(basename {UIO})"
    vf, host, guest = forwarder(kernel, "virtio-net-pci", eal=eal)
    plug(vf, host, guest)
    guest.until("the card", f"grep 'VF {CARD} cannot be probed yet' {LOG}")
    passed(host)
    assert not vf.used(host)
    all_back(host)
    stop(guest)


@pytest.mark.parametrize("kernel", KERNELS)
def test_found_by_mac(forwarder, kernel):
    """
    A serial that names no slot: the function is found by the address of its network interface. That
    belongs to the kernel's driver here, so the card cannot be used; the synthetic path goes on.
    """
    vf, host, guest = forwarder(kernel, "vmxnet3")
    guest.run("modprobe vmxnet3")
    vf.attach(host, guest, serial=v.SLOT + 1000)
    guest.until("the function", f"grep 'VF {CARD} cannot be probed yet' {LOG}")
    passed(host)
    assert not vf.used(host)
    all_back(host)
    stop(guest)
