# SPDX-License-Identifier: BSD-3-Clause
"""Open vSwitch with DPDK, Debian's and unchanged, switches frames between two ports of ours."""
import os
import re
import subprocess

import capture
from hv import CPUS, ROOT, SLOW, Host, Program, Testpmd, becomes, listens, until

OVS = ROOT / "build" / "ovs" / "usr"  # scripts/ovs.sh
FRAMES = 500  # fit a ring: OVS drops what does not
MAC = "00:15:5d:00:00:0{}"  # of hv-host's NICs; by the name ethdev finds devices of some buses only


def places(tmp):
    return {f"OVS_{name}DIR": str(tmp) for name in ("RUN", "LOG", "DB", "SYSCONF")}


class Daemon(Program):
    """One of OVS's; all it writes is below a directory of the test."""

    def __init__(self, tmp, path, *args, **env):
        assert (OVS / path).exists(), f"no {OVS / path}: run make setup"
        self.ctl = tmp / f"{OVS.joinpath(path).name}.ctl"
        super().__init__([OVS / path, *args, f"--unixctl={self.ctl}"], {**places(tmp), **env})

    def exit(self, tmp):
        ovs(tmp, "ovs-appctl", "-t", self.ctl, "exit")
        self.ended(0)


class Switch(Daemon):
    """The one with EAL inside, which leaves a directory."""
    forget = Testpmd.forget

    def __init__(self, tmp, *args, **env):
        self.prefix = tmp.name
        super().__init__(tmp, "lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk", *args, **env)

    def kill(self):
        super().kill()
        self.forget()


def ovs(tmp, tool, *args):
    """What a tool of OVS says."""
    done = subprocess.run([OVS / "bin" / tool, *map(str, args)], capture_output=True, text=True,
                          env={**os.environ, **places(tmp)}, timeout=SLOW)
    assert done.returncode == 0, f"{tool} {args}: {done.stderr}"
    return done.stdout


def test_switch(run, tmp):
    """Both ways, every frame as it was; OVS counts as many, and no error."""
    frames = [capture.make(count=FRAMES, seed=seed) for seed in (1, 2)]
    for i in range(2):
        capture.write(tmp / f"in{i}.pcap", frames[i])
    host = run(Host, nics=[f"hold-rx=yes,port=dpdk:net_pcap{i},rx_pcap={tmp}/in{i}.pcap,"
                           f"tx_pcap={tmp}/out{i}.pcap" for i in range(2)])

    socket = tmp / "db.sock"
    ovs(tmp, "ovsdb-tool", "create", tmp / "db", OVS / "share/openvswitch/vswitch.ovsschema")
    database = run(Daemon, tmp, "sbin/ovsdb-server", tmp / "db", f"--remote=punix:{socket}")
    until(lambda: listens(socket), "the database")
    # EAL takes no --in-memory beside --no-huge; OVS adds it unless told --legacy-mem.
    eal = [*Testpmd.plugins, "--no-huge", "--legacy-mem", "-m", "512", "--no-shconf", "--no-pci",
           "--no-telemetry", "--file-prefix", tmp.name]
    vsctl = ["ovs-vsctl", f"--db=unix:{socket}", f"--timeout={SLOW}"]
    ovs(tmp, *vsctl, "--no-wait", "init", "--", "set", "Open_vSwitch", ".",
        "other_config:dpdk-init=true", "other_config:per-port-memory=true",
        f"other_config:pmd-cpu-mask={1 << CPUS[-1]:#x}",
        f'other_config:dpdk-extra="{" ".join(map(str, eal))}"')

    # A datapath "dummy" is the one in user space, without interfaces in the system's name space.
    switch = run(Switch, tmp, f"unix:{socket}", "--enable-dummy",
                 HV_VMBUS_SOCKET=str(host.socket))
    switch.expect("DPDK Enabled - initialized")
    ovs(tmp, *vsctl, "add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=dummy",
        "fail_mode=secure",
        *(word for i in range(2) for word in
          ("--", "add-port", "br0", f"p{i}", "--", "set", "Interface", f"p{i}", "type=dpdk",
           f'options:dpdk-devargs="class=eth,mac={MAC.format(i + 1)}"',
           f"ofport_request={i + 1}")))
    for i in range(2):
        assert ovs(tmp, *vsctl, "get", "Interface", f"p{i}", "error") == "[]\n", switch.text
        ovs(tmp, "ovs-ofctl", "add-flow", "br0", f"in_port={i + 1},actions=output:{2 - i}")
    for i in range(2):
        host.command("resume-rx", nic=i)
    for i in range(2):
        until(lambda i=i: host.port(i)["from_guest_frames"] >= FRAMES, f"frames out of port {i}")

    def counted():
        return re.findall(r"port \d: p\d \(dpdk.*\n +RX packets:(\d+) errors:0 dropped:0 .*\n"
                          r" +TX packets:(\d+) errors:0 dropped:0 ",
                          ovs(tmp, "ovs-appctl", "-t", switch.ctl, "dpctl/show", "-s"))
    becomes(counted, [(str(FRAMES), str(FRAMES))] * 2)
    switch.exit(tmp)
    database.exit(tmp)
    host.end()
    for i in range(2):
        # In which order it sends frames of several rules that came in one burst is its business.
        assert sorted(capture.read(tmp / f"out{i}.pcap")) == \
            sorted(data for _, data in frames[1 - i])
