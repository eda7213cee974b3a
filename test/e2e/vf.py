# SPDX-License-Identifier: BSD-3-Clause
"""net_hvtestvf, the VF of failover tests: probe it, talk to it, see what it was configured to."""
import socket

from hv import BUILD, SLOW, until

PLUGIN = BUILD / "test" / "vf" / "librte_net_hvtestvf.so"
MAC = "00:15:5D:00:00:0{}"  # of hv-host's NICs, from 1
NIC = "hv_vmbus:68766e00-6574-4e76-8000-00155d00000{}"


class Vf:
    """The device net_hvtestvf0 of a test's directory."""

    def __init__(self, tmp, nic=1, name="net_hvtestvf0", **args):
        self.path = tmp / f"{name}.ctl"
        self.name = name
        self.args = {"mac": MAC.format(nic), "ctl": self.path, **args}
        self.nic = NIC.format(nic)

    def devargs(self):
        return ",".join([self.name, *(f"{k}={v}" for k, v in self.args.items() if v != "")])

    def by_application(self):
        """EAL's arguments: probed at the start, as a PCI function is."""
        return ["-d", PLUGIN, "--vdev", self.devargs(), "-a", f"{self.nic},vf={self.name}"]

    def by_driver(self):
        """EAL's arguments: probed by our driver when the host tells of it."""
        return ["-d", PLUGIN, "-a", f"{self.nic},vf={self.devargs()}"]

    def do(self, command):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind("")  # an address of the kernel's choice, for the answer
            s.settimeout(SLOW)
            s.sendto(command.encode(), str(self.path))
            return s.recv(4096).decode()

    def state(self):
        return dict(line.split("=", 1) for line in self.do("state").splitlines())


def path(host, nic=0):
    return host.stats()["nics"][nic]["data_path"]


def wait_path(host, wanted, nic=0):
    until(lambda: path(host, nic) == wanted, f"data path {wanted}")


def add(host, serial=1, nic=0):
    """The host associates a VF."""
    assert host.command("vf", nic=nic, action="plug", serial=serial)["ok"]


def to_vf(host, serial=1, nic=0):
    """The same, and the guest takes it."""
    add(host, serial, nic)
    wait_path(host, "vf", nic)


def remove(host, app, nic=0):
    """The host withdraws it; the guest has given it up."""
    assert host.command("vf", nic=nic, action="unplug")["ok"]
    app.expect(rf"port {nic}: VF \d+ is given up")
    wait_path(host, "synthetic", nic)


def said(app, text, count=1):
    """Wait until a text has come so often, wherever."""
    until(lambda: app.text.count(text) >= count, text)
