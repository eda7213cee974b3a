# SPDX-License-Identifier: BSD-3-Clause
"""A VF for a guest: an emulated PCI card, plugged and unplugged by QMP.

hv-host has the other end of its wire, as the NIC's vf-leg; so both paths lead to the same port.
"""
import guest as g
import net

SLOT = 5    # of the PCI bus; what VF association calls the serial


class Vf:
    def __init__(self, tmp, model, nic=0, mac=None):
        self.model, self.nic, self.mac = model, nic, mac or net.mac(nic + 1)
        self.here, self.there = tmp / "leg", tmp / "card"

    @property
    def leg(self):
        """A key of hv-host's --nic."""
        return f"vf-leg=(dgram:{self.here},{self.there})"

    @property
    def qemu(self):
        return ["-netdev", f"dgram,id=wire,local.type=unix,local.path={self.there},"
                f"remote.type=unix,remote.path={self.here}"]

    def attach(self, host, guest, serial=SLOT):
        """The host announces it, and it is in its slot."""
        host.command("vf", nic=self.nic, action="plug", serial=serial)
        self.plug(guest)

    def plug(self, guest):
        guest.qmp("device_add", driver=self.model, id="card", netdev="wire", addr=str(SLOT),
                  mac=self.mac, romfile="")

    def detach(self, host, guest):
        """Planned: the host takes the data path back before the card goes."""
        host.command("vf", nic=self.nic, action="unplug")
        g.wait_for("the path is synthetic", lambda: not self.used(host))
        self.unplug(guest)

    def unplug(self, guest):
        guest.qmp("device_del", id="card")
        # The guest ejects it when it finds the time: under traffic, on a busy machine, late.
        g.wait_for("the card is gone", lambda: self._deleted(guest), timeout=g.BOOT_TIMEOUT)

    def _deleted(self, guest):
        guest.qmp("query-status")    # events come with answers
        gone = [e for e in guest.qmp.events if e["event"] == "DEVICE_DELETED"]
        guest.qmp.events = [e for e in guest.qmp.events if e not in gone]
        return any(e["data"].get("device") == "card" for e in gone)

    def used(self, host):
        return host.stats()["nics"][self.nic]["data_path"] == "vf"

    def counts(self, host):
        """Frames of the guest by path, and frames for it by path."""
        nic = host.stats()["nics"][self.nic]
        return {"synthetic_tx": sum(q["tx_frames"] for q in nic["queues"]),
                "synthetic_rx": sum(q["rx_frames"] for q in nic["queues"]),
                "vf_tx": nic["vf_from_guest"], "vf_rx": nic["vf_to_guest"]}
