# SPDX-License-Identifier: BSD-3-Clause
"""Defects of Debian's net_netvsc, seen on hv-host: what doc/defects.rst calls measured.

The driver is unmodified, on test/peer. A test here fails where the defect is not seen: then what
the page says of it, and what the test of ours stands against, would not be known any more.
"""
import re
import signal
import time

import pytest

import vf
from console import ANY_PROMPT, Console
from hv import Host, until
from test_filters import GROUP, PLAIN, PROMISCUOUS, host_filter
from test_stock import Stock

OTHER = "vmbus:00000000-0000-0000-0000-000000000001"
UDP = 0x1000 | 0x2000 | 0x4000  # NDIS hash types


class StockConsole(Stock):
    """testpmd's prompt over the stock driver."""
    do, stats, info, restart = Console.do, Console.stats, Console.info, Console.restart

    def __init__(self, host, *args, queues=1, **more):
        super().__init__(host, f"--rxq={queues}", f"--txq={queues}", "--no-flush-rx", *args,
                         how=["-i"], **more)
        self.expect(ANY_PROMPT)

    def pool(self, name):
        """How many elements are in a mempool, caches and all."""
        text = re.search(rf"(?s)mempool <{name}.*?>@.*?no statistics", self.do("dump_mempool"))[0]
        return sum(int(n) for n in re.findall(r"(?:total_cache|common_pool)_count=(\d+)", text))


def breaking(run, nic):
    """A host whose rules the driver breaks, as a consequence."""
    host = run(Host, nics=[nic])
    host.verdict = 3
    return host


def test_settings(run):
    """B5, B9, B30, B31, B34, B35: filters, allow list, link, statistics, MTU."""
    host = run(Host)
    app = run(StockConsole, host, eal=["-a", OTHER])
    assert "net_netvsc" in app.info()["Driver name"]  # B9: it was not allowed
    assert host_filter(host) == PROMISCUOUS
    app.restart()
    assert host_filter(host) == PLAIN and app.info()["Promiscuous mode"] == "enabled"  # B5
    app.do("set promisc 0 off", f"mcast_addr add 0 {GROUP}")
    assert host_filter(host) == PLAIN  # B34
    assert "Invalid argument" in app.do("clear port xstats 0")  # B31
    app.do("start")
    host.command("speed", nic=0, bps=40_000_000_000)
    host.command("link", nic=0, state="down")
    app.expect("link state change event")
    app.do("stop")
    info = app.info()
    assert (info["Link status"], info["Link speed"]) == ("up", "10 Gbps")  # B30
    assert "Set MTU failed" in app.do("port stop 0", "port config mtu 0 1400")  # B35
    host.end()


def test_offloads(run):
    """B6 and B33: no checksums of what is sent, no hashes of UDP, though it offers both."""
    host = run(Host, nics=["queues=8,port=sink"])
    app = run(StockConsole, host, "--tx-offloads=0xe", "--rx-offloads=0xe", queues=4)
    assert host.command("offload", nic=0)["offload"]["tx_csum"] == 0
    assert "configured:0x20" in app.do("port config all rss udp")
    assert host.command("rss", nic=0)["rss"]["hash_info"] & UDP == 0
    host.end()


def test_queue_state(run):
    """B7: testpmd takes its queues for stopped, and receives nothing."""
    host = run(Host, nics=["port=gen:rate=1000,verify=no"])
    app = run(StockConsole, host, "--forward-mode=rxonly", peer=())
    app.do("start")
    until(lambda: host.port()["sent"] > 200, "frames")
    assert re.search(r"RX-packets: 0 .*RX-total: 0", app.do("stop"))
    host.end()


def test_no_monitor(run):
    """B8: a NIC whose channels have no monitor id is not found."""
    host = run(Host, "--no-monitor")
    app = run(Stock, host)
    app.expect("No probed ethernet devices")
    host.end()


def test_no_answer(run):
    """B10: it waits, and SIGTERM does not end it."""
    host = run(Host, nics=["reply-delay=60000,port=sink"])
    app = run(Stock, host)
    until(lambda: host.stats()["nics"][0]["sessions"], "a session")
    app.proc.send_signal(signal.SIGTERM)
    time.sleep(1)
    assert app.proc.poll() is None


def test_vf_meanwhile(run):
    """B11: its probe fails because the host tells of a VF during it."""
    host = breaking(run, "reply-delay=3,vf=7,vf-when=init,port=sink")
    app = run(Stock, host)
    app.expect("unexpected NVS resp 0x80")
    app.expect("No probed ethernet devices")
    # What it ends with has no meaning to the host, which is asked before the program goes.
    until(lambda: host.command("violations")["violations"] == {"nvsp.order": 1}, "its verdict")


def with_vf(run, tmp, *args, nic="port=sink", **more):
    """A host; an application that has a VF besides; and the VF."""
    one = vf.Vf(tmp, **more)
    host = run(Host, nics=[nic])
    return host, run(StockConsole, host, *args,
                     eal=["-d", vf.PLUGIN, "--vdev", one.devargs()]), one


def test_vf_without_interrupt(run, tmp):
    """B12: beside a VF that tells of no removal the NIC does not start."""
    _, app, _ = with_vf(run, tmp, "--disable-device-start", nic="vf=7,port=sink", rmv=0)
    vf.said(app, "found matching VF port 1")
    assert "does not support rmv" in (text := app.do("port start 0")) and "Fail" in text


def test_vf_too_early(run, tmp):
    """B13: the host switches to a VF that was never started."""
    host, app, one = with_vf(run, tmp, "--disable-device-start", nic="vf=7,port=sink")
    vf.said(app, "found matching VF port 1")
    vf.wait_path(host, "vf")
    assert one.state()["started"] == "0"


def test_vf_started(run, tmp):
    """B14: a VF that the application has started is attached and never used."""
    host, app, one = with_vf(run, tmp)
    app.do("start")
    vf.add(host, 7)
    vf.said(app, "found matching VF port 1")
    time.sleep(1)
    assert vf.path(host) == "synthetic" and one.state()["started"] == "1"


@pytest.mark.parametrize("nic, args, verdict", [
    ("queues=8,grant=0,port=gen:rate=1k,verify=no", ("--rxq=4", "--txq=4"), 3),
    ("mangle=4,port=gen:rate=20k,size=60-1514,verify=no", (), 0),
])
def test_crash(run, nic, args, verdict):
    """B23, B19: fewer channels than asked for, and damaged messages."""
    host = run(Host, "--seed", "1", nics=[nic])
    host.verdict = verdict
    assert run(Stock, host, "--forward-mode=rxonly", *args).wait() == -signal.SIGSEGV


def test_other_numbers(run):
    """B24: it asks for sub-channels a second time, and the port does not start."""
    host = breaking(run, "queues=8,port=sink")
    app = run(StockConsole, host, queues=2)
    app.do("port stop 0", "port config all rxq 4", "port config all txq 4")
    app.type("port start 0")
    until(lambda: "nvsp.subchannel-twice" in host.command("violations")["violations"], "a request")
    time.sleep(1)
    assert "Done" not in app.text[app.seen:]


def test_small_mbufs(run):
    """B25: frames that do not fit one mbuf are errors."""
    host = run(Host, nics=["port=gen:count=100,size=1514,start=command,verify=no"])
    app = run(StockConsole, host, "--mbuf-size=1152", "--forward-mode=rxonly")
    app.do("start")
    host.command("start", nic=0)
    until(lambda: app.stats()["RX-errors"] == 100, "errors")
    assert app.stats()["RX-packets"] == 0
    host.end()


def test_many_at_once(run):
    """B4, B27: it takes all that is in the ring, drops what it has no room for, and counts it."""
    host = run(Host, nics=["port=gen:count=2000,start=command,verify=no"])
    app = run(StockConsole, host, "--forward-mode=rxonly")
    host.command("start", nic=0)
    until(lambda: host.port()["sent"] == 2000, "frames in the ring")
    app.do("start")
    until(lambda: app.stats()["RX-packets"] == 2000, "all")
    assert app.stats()["RX-missed"] > 1000
    host.end()


def dropped(app):
    """What testpmd threw away, so far."""
    return int(re.search(r"TX-dropped: +(\d+)", app.do("show fwd stats all"))[1])


def test_stall(run):
    """B1: a host that does not read for a while costs descriptors, for ever."""
    host = run(Host, nics=["port=sink:verify=no"])
    app = run(StockConsole, host, "--forward-mode=txonly", "--txd=4096")
    assert app.pool("hn_txd") == 4096
    app.do("start")
    until(lambda: app.stats()["TX-packets"] > 0, "frames")
    host.command("stall", nic=0, queue=0)
    before = dropped(app)
    until(lambda: dropped(app) > before, "a full ring")
    host.command("resume", nic=0)
    # Nothing is sent any more; who receives takes back what was completed.
    app.do("stop", "set fwd rxonly", "start")
    sent = host.port()["from_guest_frames"]
    until(lambda: app.stats()["TX-packets"] == sent, "all completions")
    app.do("stop")
    assert app.pool("hn_txd") < 4096
    host.end()
