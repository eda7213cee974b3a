# SPDX-License-Identifier: BSD-3-Clause
"""MTU and jumbo frames; packets in chains of small mbufs."""
import re

import pytest

import capture
from console import Console, cycle
from hv import Host, Testpmd, until
from second import NicConfig, rig  # noqa: F401 (rig is a fixture)
from test_vlan import Wire

COUNT = 400
LONGEST = "Maximum configurable length of RX packet"
# A transmit queue has descriptors for all it sends: testpmd drops what finds none.
CHAINS = ["--tx-offloads=0x8000", "--txd=4096"]
BIG = ["--no-huge", "-m", "512", "--no-shconf"]


def gen(size, nic=""):
    return f"{nic}port=gen:count={COUNT},rate=20k,size={size},start=command,expect=return"


@pytest.mark.parametrize("mbuf", [384, 512, 1024])
def test_scatter(run, tmp, mbuf):
    """A frame that does not fit one mbuf is a chain, and is sent as one frame again."""
    frames = capture.make(count=COUNT, seed=mbuf)
    wire = Wire(run, tmp, frames, f"--mbuf-size={mbuf}", "--enable-scatter",
                *CHAINS, queues=2)
    assert "scattered packets: on" in wire.app.do("show rxq info 0 0")
    capture.check(frames, wire.forward(), lambda data: data)


def test_chain(run, tmp):
    """As many mbufs as needed, no more: frames around what one, two and three hold."""
    room = 512
    lengths = [n * room + more for n in (1, 2) for more in (-1, 0, 1, 4, 5)] + [1514]
    frames = [(0, bytes(12) + b"\x88\xb5" + bytes(n - 14)) for n in lengths]
    wire = Wire(run, tmp, frames, f"--mbuf-size={room + 128}", "--enable-scatter", mode="rxonly")
    wire.app.do("set verbose 1", "start")
    wire.host.command("resume-rx", nic=0)
    until(lambda: wire.app.text.count("ol_flags:") == len(frames), "all frames")
    found = re.findall(r"length=(\d+) - nb_segs=(\d+)", wire.app.text)
    assert [(int(n), int(segs)) for n, segs in found] == [(n, -(-n // room)) for n in lengths]
    wire.app.quit()
    wire.host.end()


def test_too_small(run):
    """Without scatter, mbufs smaller than a frame are refused with a reason."""
    host = run(Host)
    app = run(Console, host)
    app.do("port stop 0", "port config mtu 0 9000")
    wanted = "larger mbufs or the offload RTE_ETH_RX_OFFLOAD_SCATTER"
    assert wanted in app.do("port start 0"), "the queues are as before"
    assert wanted in app.do("port config all rxq 1", "port start 0"), "they are set up anew"
    app.quit()
    host.end()


@pytest.mark.parametrize("args", [("--max-pkt-len=9014", "--mbuf-size=9728"),
                                  ("--max-pkt-len=9014", "--enable-scatter",
                                   *CHAINS)])
def test_jumbo_at_start(run, args):
    host = run(Host, nics=[gen("9014")])
    app = run(Console, host, *args, "--forward-mode=macswap", "--total-num-mbufs=8192", queues=2,
              memory=BIG)
    assert app.info()["MTU"] == "9000"
    cycle(host, app, COUNT)
    app.quit()
    host.end()


def test_mtu(run):
    """Up and down while the port is stopped; each time the host is told, and a restart keeps it."""
    host = run(Host, nics=[gen("60-1514")])
    app = run(Console, host, "--mbuf-size=9728", "--total-num-mbufs=8192",
              "--forward-mode=macswap", queues=2, memory=BIG)
    assert "Error" not in app.do("port stop 0")
    app.do("port start 0")
    for n, mtu in enumerate((9000, 4000, 1500)):
        app.restart(f"port config mtu 0 {mtu}")
        app.restart()
        assert app.info()["MTU"] == str(mtu)
        assert host.stats()["nics"][0]["frame_size"] == mtu + 14
        cycle(host, app, COUNT, n * COUNT)
    app.quit()
    host.end()


def test_mtu_of_the_host(run):
    """More than the host has is refused, and the MTU stays: what it has shows only by asking."""
    host = run(Host, nics=[gen("60", "mtu-max=4014,")])
    app = run(Console, host, "--mbuf-size=9728", "--total-num-mbufs=8192",
              "--forward-mode=macswap", memory=BIG)
    assert app.info()[LONGEST] == "9216"
    app.do("port stop 0")
    assert "fail" in app.do("port config mtu 0 9000").lower()
    assert app.info()["MTU"] == "1500"
    app.do("port start 0")
    cycle(host, app, COUNT)
    app.restart("port config mtu 0 4000")
    assert app.info()["MTU"] == "4000" and app.info()[LONGEST] == "9216"
    cycle(host, app, COUNT, COUNT)
    app.quit()
    host.end()


def test_mtu_that_is_known(run):
    """NVSP 1 has no message to ask for more than the host's frame size: it is the most there is."""
    host = run(Host, nics=[gen("60", "nvsp-max=1,")])
    app = run(Console, host, "--forward-mode=macswap")
    assert app.info()[LONGEST] == "1514"
    app.do("port stop 0")
    assert "> device max MTU (1500)" in app.do("port config mtu 0 1501")
    app.do("port start 0")
    cycle(host, app, COUNT)
    app.quit()
    host.end()


def test_less_than_the_least(rig):  # noqa: F811
    """A host with less than the least that can be asked for: the port starts with that."""
    r = rig(NicConfig(mtu=1400), cls=Console).up()
    info = r.program.info()
    assert info["MTU"] == "1400" and info[LONGEST] == "1414"
    r.program.quit()
    r.host.verdict()


def test_mtu_of_the_host_at_start(run):
    """The same, asked for by configuration."""
    host = run(Host, nics=[gen("60", "mtu-max=4014,")])
    app = run(Testpmd, host, "--mbuf-size=9728", "--max-pkt-len=9014", memory=BIG)
    assert app.wait() != 0 and "gives an MTU of 1500, not 9000" in app.text, app.text
    app.forget()
    host.end()


def test_running(run):
    """A port that runs refuses, and forwards on."""
    host = run(Host, nics=[gen("60")])
    app = run(Console, host, "--forward-mode=macswap")
    assert "fail" in app.do("port config mtu 0 1400").lower()
    cycle(host, app, COUNT)
    app.quit()
    host.end()


def test_largest(run):
    """The most that hosts have: an MTU of 9202."""
    host = run(Host, nics=[gen("9216", "mtu-max=9216,")])
    app = run(Console, host, "--mbuf-size=9728", "--total-num-mbufs=8192",
              "--forward-mode=macswap", memory=BIG)
    app.restart("port config mtu 0 9202")
    assert app.info()["MTU"] == "9202"
    assert host.stats()["nics"][0]["frame_size"] == 9216
    cycle(host, app, COUNT)
    app.quit()
    host.end()
