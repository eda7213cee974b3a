# SPDX-License-Identifier: BSD-3-Clause
"""What ethdev offers, driven by an unmodified testpmd and checked in the host."""
import json
import mmap
import pathlib
import re
import subprocess

import pytest

from hv import PLUGINS, Host, Testpmd, TestpmdHv, until

GEN = "port=gen:rate=2000,size=64,verify=count"


def start(run, nic=GEN, *args, host_args=(), port=True, **more):
    host = run(Host, *host_args, nics=[nic])
    app = run(Testpmd, host, *args, interactive=True, **more)
    app.expect("testpmd>")
    if port:
        assert "Port 0: " in app.text, app.text
    return host, app


def ask(app, command):
    """A command's output: what comes before the answer to a command that does not exist."""
    at = len(app.text)
    app.type(command)
    app.type("end-of-answer")
    until(lambda: "Command not found" in app.text[at:], f"end of \"{command}\"")
    app.seen = len(app.text)
    return app.text[at:]


def nic(host):
    return host.stats()["nics"][0]


def quit_both(host, app):
    app.type("quit")
    assert app.wait() == 0, app.text
    app.forget()
    host.end()


def counters(app):
    text = ask(app, "show port xstats 0")
    return {k: int(v) for k, v in re.findall(r"^(\w+): (\d+)\r?$", text, re.M)}


def forward(host, app):
    """Traffic flows: some more frames than before come back."""
    app.type("set fwd macswap")
    app.type("start")
    before = host.port()["received"]
    until(lambda: host.port()["received"] > before + 500, "frames forwarded")
    app.type("stop")
    app.expect("Accumulated forward statistics")


@pytest.mark.parametrize("version, name", [
    ("1", "NVSP 1 NDIS 6.1"), ("2", "NVSP 2 NDIS 6.1"), ("4", "NVSP 4 NDIS 6.1"),
    ("5", "NVSP 5 NDIS 6.30"), ("6", "NVSP 6 NDIS 6.30"), ("6.1", "NVSP 6.1 NDIS 6.30")])
def test_versions(run, version, name):
    host, app = start(run, f"nvsp-max={version},{GEN}")
    assert f"Firmware-version: {name}" in ask(app, "show port info 0").replace("\r", "")
    forward(host, app)
    quit_both(host, app)


@pytest.mark.parametrize("knobs", [
    "refuse-send=2", "section-size=64", "section-size=65537", "max-packets=1", "align=8",
    "slot-size=1728", "ids=high,scatter=yes", "msg-size=old", "send-table=bug,nvsp-max=6",
    "send-table=early", "send-table=none", "lso4=0,lso6=0,tx-csum4=0,tx-csum6=0,rx-csum=no",
    "rss-entries=0", "rss-entries=100", "reply-delay=20", "tx-fail-every=7", "max-transfer=2000",
    "vf=7,vf-when=init"])
def test_host_variants(run, knobs):
    """The driver takes what the host is, and reports nothing invalid."""
    host, app = start(run, f"{knobs},{GEN}", "--rxq=2", "--txq=2")
    forward(host, app)
    got = counters(app)
    assert [k for k in got if k.startswith("invalid_") and got[k] != 0] == []
    quit_both(host, app)


def test_refused_receive_buffer(run):
    host = run(Host, nics=["refuse-recv=2,port=sink"])
    app = run(Testpmd, host, interactive=True)
    app.expect("receive buffer of .* refused")
    app.kill()
    host.end()


@pytest.mark.parametrize("version, works", [("2", True), ("1", True), ("5", False)])
def test_old_receive_buffer(run, version, works):
    """Hosts up to NVSP 2 take 15 MiB at most: they are asked again with as much, others are not."""
    host = run(Host, nics=[f"nvsp-max={version},recv-max=15,{GEN}"])
    app = run(Testpmd, host, interactive=True)
    if works:
        app.expect("testpmd>")
        forward(host, app)
        quit_both(host, app)
    else:
        app.expect("receive buffer of .* refused")
        app.kill()
        host.end()


@pytest.mark.parametrize("host_args, knobs, channels", [
    ((), "grant=2", 3), ((), "grant=0", 1),
    (("--sub-order", "reverse", "--sub-delay", "20"), "", 4), (("--sub-limit", "1"), "", 2)])
def test_sub_channels(run, host_args, knobs, channels):
    """Fewer than asked for, out of order, late, or never offered: it runs with what it got."""
    host, app = start(run, ",".join(filter(None, [knobs, GEN])), "--rxq=4", "--txq=4",
                      host_args=host_args)
    forward(host, app)
    got = counters(app)
    used = [q for q in range(4) if got[f"rx_q{q}_packets"] != 0]
    assert used == list(range(channels))
    quit_both(host, app)


def test_reconfigure(run):
    """Another number of queues and another MTU, several times over."""
    # testpmd polls as many receive queues as there are transmit queues: the others must not wait.
    host, app = start(run, "overflow=drop," + GEN, "--rxq=1", "--txq=1", "--mbuf-size=10240",
                      "--total-num-mbufs=4096", memory=["--no-huge", "-m", "512", "--no-shconf"])
    for rxq, txq, mtu in ((4, 4, 1500), (2, 3, 9000), (8, 1, 9202), (1, 8, 68), (3, 3, 1500)):
        ask(app, "port stop 0")
        ask(app, f"port config all rxq {rxq}")
        ask(app, f"port config all txq {txq}")
        assert "Fail" not in ask(app, "port start 0")
        ask(app, "port stop 0")
        assert "fail" not in ask(app, f"port config mtu 0 {mtu}").lower()
        assert "Fail" not in ask(app, "port start 0")
        info = ask(app, "show port info 0").replace("\r", "")
        assert f"Current number of RX queues: {rxq}\n" in info
        assert f"MTU: {mtu}\n" in info
        assert nic(host)["frame_size"] == max(mtu, 1500) + 14
        forward(host, app)
    quit_both(host, app)


def test_filter_survives(run):
    """Promiscuous and allmulticast modes reach the host and stay over restarts."""
    host, app = start(run, GEN)
    promiscuous, directed, broadcast, all_multicast = 0x20, 0x1, 0x8, 0x4
    assert nic(host)["filter"] == promiscuous
    ask(app, "set promisc 0 off")
    assert nic(host)["filter"] == directed | broadcast
    ask(app, "set allmulti 0 on")
    assert nic(host)["filter"] == directed | broadcast | all_multicast
    ask(app, "port stop 0")
    assert nic(host)["filter"] == 0
    ask(app, "port start 0")
    assert nic(host)["filter"] == directed | broadcast | all_multicast
    ask(app, "set allmulti 0 off")
    ask(app, "mcast_addr add 0 01:00:5e:00:00:05")
    assert nic(host)["filter"] == directed | broadcast | all_multicast
    ask(app, "mcast_addr remove 0 01:00:5e:00:00:05")
    assert nic(host)["filter"] == directed | broadcast
    ask(app, "set promisc 0 on")
    ask(app, "port stop 0")
    ask(app, "port config mtu 0 1600")
    ask(app, "port start 0")
    assert nic(host)["filter"] == promiscuous
    quit_both(host, app)


def test_link(run):
    """Nobody polls, and yet the application hears of the link."""
    host, app = start(run, "port=sink")

    def status(want):
        until(lambda: re.search(want, ask(app, "show port summary 0")), want)

    status(r"up +10 Gbps")
    host.command("link", nic=0, state="down")
    app.expect("link state change event")
    status(r"down +None")
    host.command("link", nic=0, state="up")
    app.expect("link state change event")
    status(r"up +10 Gbps")
    host.command("speed", nic=0, bps=40000000000)
    app.expect("link state change event")
    status(r"up +40 Gbps")
    host.command("network-change", nic=0)
    app.expect("link state change event")
    app.expect("link state change event")
    status(r"up +40 Gbps")
    ask(app, "set link-down port 0")
    status(r"down +None")
    assert nic(host)["filter"] == 0
    ask(app, "set link-up port 0")
    status(r"up +40 Gbps")
    quit_both(host, app)


def test_link_speed_short(run):
    """Hosts before Windows Server 2022 forget the speed in the message's length."""
    host, app = start(run, "speed-msg-short=yes,port=sink")
    host.command("speed", nic=0, bps=25000000000)
    until(lambda: re.search("up +25 Gbps", ask(app, "show port summary 0")), "25 Gbps")
    quit_both(host, app)


def test_queue_start_stop(run):
    host, app = start(run, GEN, "--rxq=2", "--txq=2")
    forward(host, app)
    ask(app, "port 0 rxq 1 stop")
    ask(app, "port 0 txq 1 stop")
    before = counters(app)
    app.type("start")
    until(lambda: counters(app)["rx_q0_packets"] > before["rx_q0_packets"] + 500, "queue 0")
    app.type("stop")
    app.expect("Accumulated forward statistics")
    after = counters(app)
    assert after["rx_q1_packets"] == before["rx_q1_packets"]
    assert after["tx_q1_packets"] == before["tx_q1_packets"]
    ask(app, "port 0 rxq 1 start")
    ask(app, "port 0 txq 1 start")
    app.type("start")
    until(lambda: counters(app)["tx_q1_packets"] > after["tx_q1_packets"] + 500, "queue 1")
    app.type("stop")
    app.expect("Accumulated forward statistics")
    quit_both(host, app)


def others(app):
    """What each queue but the last received."""
    got = counters(app)
    return [got[f"rx_q{q}_packets"] for q in range(3)]


def others_rest(app):
    """Nothing waits in their rings."""
    return all("Used desc count = 0\n" in ask(app, f"show port 0 rxq {q} desc used count")
               for q in range(3))


def test_rss(run):
    """A RETA of one queue brings everything there, now and after a restart."""
    host, app = start(run, "rss-entries=64," + GEN, "--rxq=4", "--txq=4")
    assert "Redirection table size: 64" in ask(app, "show port info 0")
    for at in range(0, 64, 16):  # testpmd takes 128 characters
        ask(app, "port config 0 rss reta " + ",".join(f"({i},3)" for i in range(at, at + 16)))
    for restart in (False, True):
        if restart:
            ask(app, "port stop 0")
            ask(app, "port start 0")
        # Frames from before may still be in the rings of the other queues: they are taken first.
        ask(app, "start")
        until(lambda: others_rest(app), "frames of before taken")
        app.type("stop")
        app.expect("Accumulated forward statistics")
        ask(app, "clear port xstats 0")
        forward(host, app)
        assert counters(app)["rx_q3_packets"] > 500
        assert others(app) == [0, 0, 0]
    assert "hash index=5, queue=3" in ask(app, "show port 0 rss reta 64 (0x20)")
    key = "01" * 40
    ask(app, f"port config 0 rss-hash-key ipv4 {key}")
    assert key in ask(app, "show port 0 rss-hash key")
    quit_both(host, app)


def test_statistics(run):
    """Reset to zero without any side effect, and count alike in all places."""
    host, app = start(run, GEN)
    forward(host, app)
    got = counters(app)
    assert got["rx_good_packets"] == got["rx_q0_packets"] > 500
    assert got["tx_good_packets"] == got["tx_q0_packets"]
    assert got["rx_good_bytes"] == 64 * got["rx_good_packets"]
    ask(app, "clear port xstats 0")
    got = counters(app)
    assert got["rx_q0_packets"] == got["tx_q0_packets"] == got["rx_good_bytes"] == 0
    ask(app, "clear port stats 0")
    forward(host, app)
    assert counters(app)["tx_good_packets"] > 500
    quit_both(host, app)


def test_reset_and_detach(run):
    host, app = start(run, GEN)
    ask(app, "port stop 0")
    ask(app, "port reset 0")
    ask(app, "port start 0")
    forward(host, app)
    ask(app, "port stop 0")
    ask(app, "port close 0")
    assert "Number of available ports: 0" in ask(app, "show port summary all")
    quit_both(host, app)


def test_rescind(run):
    """The host takes the NIC away under traffic."""
    host, app = start(run, GEN)
    app.type("set fwd macswap")
    app.type("start")
    until(lambda: host.port()["received"] > 500, "traffic")
    host.command("rescind", nic=0)
    app.expect("device removal event")
    app.expect("Device is detached")
    assert "Number of available ports: 0" in ask(app, "show port summary all")
    quit_both(host, app)


def test_bring_up_waits_for_no_page(run):
    """
    Most of a probe would be the page faults of the buffers: another thread takes them meanwhile.
    """
    buffers = (31 + 15) << 20
    host = run(Host, nics=["port=sink"])
    app = run(TestpmdHv, host, "--mbufs=2048", interactive=True)
    app.expect("testpmd-hv> ")
    proc = pathlib.Path("/proc", str(app.proc.pid))

    def faults(thread):
        """Pages that a thread has had to wait for."""
        return int((thread / "stat").read_text().rsplit(")", 1)[1].split()[7])

    others = [t for t in (proc / "task").iterdir() if (t / "comm").read_text() == "hv-vmbus\n"]
    until(lambda: sum(map(faults, others)) * mmap.PAGESIZE >= buffers, "pages")
    assert faults(proc / "task" / proc.name) * mmap.PAGESIZE < buffers
    app.end()
    host.end()


def test_pmdinfo():
    """Debian's tool lists the plug-in with its kernel module and its device arguments."""
    done = subprocess.run(["dpdk-pmdinfo.py", str(PLUGINS[1])], check=True, capture_output=True)
    (info,) = json.loads(done.stdout)
    assert info["name"] == "net_hvnetvsc"
    assert "uio_hv_generic" in info["kmod"]
    assert "rx_copybreak=" in info["params"]
