# SPDX-License-Identifier: BSD-3-Clause
"""A port with a VF in software: the host's end, the application's end, and what became of frames.

The generator's frames go to the application, which sends them back: each crosses both directions,
and hv-host knows by flow and number what was lost, came twice or out of order, whichever path it
took.
"""
import vf
from hv import Host, until

DEVICE = "hv_vmbus:68766e00-6574-4e76-8000-00155d000001"
RATE = "4k,burst=16"  # what waits while a busy machine does not run us must fit the rings
BAD = ("lost", "duplicated", "reordered", "damaged", "late", "outstanding")


def memif(sock, role):
    return f"net_memif0,role={role},socket-abstract=no,socket={sock}"


def vhost(sock):
    """Another kind of VF than memif: the ends of hv-host and of the application."""
    return f"net_vhost0,iface={sock}", f"net_virtio_user0,path={sock}"


class VfHost(Host):
    """hv-host with a NIC whose VF is a memif, or the other end of another device."""

    def __init__(self, tmp, *args, queues=1, assoc="vf=1", rate=RATE, port="", leg=None, **more):
        self.wire = tmp / "vf.sock"
        ends = leg(self.wire) if leg else [memif(self.wire, r) for r in ("server", "client")]
        leg, self.vf = ends
        nic = ",".join(o for o in (
            f"queues={queues}", assoc, f"vf-leg=(dpdk:{leg})",
            f"port=gen:rate={rate},flows=64,start=command,verify=count{port}") if o)
        super().__init__(tmp, *args, nics=[nic], **more)

    @property
    def device(self):
        """What an application allows, for EAL."""
        return ["-a", f"{DEVICE},vf={self.vf}"]

    def removable(self, tmp):
        """The same in front of a VF that can vanish; EAL's arguments, and the VF."""
        one = vf.Vf(tmp, inner=self.vf.translate({44: "+", 61: ":"}))
        return one.by_driver(), one

    def nic(self):
        return self.stats()["nics"][0]

    def assoc(self, action, **args):
        answer = self.command("vf", nic=0, action=action, **args)
        assert answer["ok"], answer

    def wait_path(self, path):
        until(lambda: self.nic()["data_path"] == path, f"data path {path}")

    def wait_frames(self, count):
        """So many more frames come back."""
        start = self.port()["received"]
        until(lambda: self.port()["received"] >= start + count, f"{count} frames back")

    def wait_on_vf(self, count=200):
        """Frames leave the guest through its VF."""
        self.wait_path("vf")
        start = self.nic()["vf_from_guest"]
        until(lambda: self.nic()["vf_from_guest"] >= start + count, f"{count} frames by the VF")

    def wait_on_synthetic(self, count=200):
        self.wait_path("synthetic")
        start = self.synthetic()
        until(lambda: self.synthetic() >= start + count, f"{count} frames without the VF")

    def go_and_return(self):
        """From the VF to the rings and back, twice, under traffic."""
        for serial in (2, 3):
            self.wait_on_vf()
            self.assoc("unplug")
            self.wait_on_synthetic()
            self.assoc("plug", serial=serial)
        self.wait_on_vf()

    def synthetic(self):
        """Frames that the guest sent through its rings."""
        return sum(q["tx_frames"] for q in self.nic()["queues"])

    def settle(self, silence=20):
        """Stop the generator; what is missing of everything when all is back, or when nothing came
        for so many seconds."""
        self.command("stop", nic=0)

        def quiet():
            port = self.port()
            return port["waiting"] == 0 and (port["outstanding"] == 0 or
                                             port["silence_ns"] > silence * 1e9)
        until(quiet, "no more frames")
        port = self.port()
        return {k: port[k] for k in BAD}


NOTHING = dict.fromkeys(BAD, 0)
