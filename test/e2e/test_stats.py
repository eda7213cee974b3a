# SPDX-License-Identifier: BSD-3-Clause
"""Statistics: basic, extended and per queue ones agree with each other and with the host's."""
import signal

import pytest

from console import Console, cycle, queues_of
from hv import Host, until

COUNT = 3000
GUID = "68766e00-6574-4e76-8000-00155d000001"  # of hv-host's first NIC
GEN = (f"queues=4,port=gen:count={COUNT},rate=50k,size=92-1514,flows=64,proto=mix,ipv6=50,"
       "start=command,expect=return")
QUEUES = range(3)


def check(host, app, rounds):
    """All counters after some rounds since they were reset, of which the host knows the last."""
    basic, x = app.stats(), app.xstats()
    total = rounds * COUNT
    assert basic["RX-packets"] == basic["TX-packets"] == total
    assert basic["RX-missed"] == basic["RX-errors"] == basic["RX-nombuf"] == 0
    assert basic["TX-errors"] == 0
    for way, here in (("rx", "RX"), ("tx", "TX")):
        for unit in ("packets", "bytes"):
            queues = [x[f"{way}_q{q}_{unit}"] for q in QUEUES]
            assert sum(queues) == basic[f"{here}-{unit}"]
    assert not [n for n in x if n.startswith("invalid_") and x[n] != 0]
    return basic, x


def test_counts(run):
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap", queues=3)
    cycle(host, app, COUNT)
    basic, x = check(host, app, 1)
    for q, n in queues_of(host).items():
        assert x[f"rx_q{q}_packets"] == n
    for q, n in queues_of(host, "tx_frames").items():
        assert x[f"tx_q{q}_packets"] == n
    assert basic["RX-bytes"] == basic["TX-bytes"] == host.port()["sent_bytes"] == \
        host.port()["from_guest_bytes"]
    app.quit()
    host.end()


def test_reset(run):
    """Either reset zeroes both kinds; what comes later is counted from there."""
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap", queues=3)
    for n, command in enumerate(("clear port stats 0", "clear port xstats 0")):
        cycle(host, app, COUNT, 2 * n * COUNT)
        app.do(command)
        assert set(app.stats().values()) == {0}
        x = app.xstats()
        assert {x[f"{w}_q{q}_{u}"] for w in ("rx", "tx") for q in QUEUES
                for u in ("packets", "bytes")} == {0}
        cycle(host, app, COUNT, (2 * n + 1) * COUNT)
        check(host, app, 1)
        app.do(command)
    app.quit()
    host.end()


def test_restart(run):
    """A restart of the port counts on."""
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap", queues=3)
    for n in range(3):
        cycle(host, app, COUNT, n * COUNT)
        check(host, app, n + 1)
        app.restart()
    app.quit()
    host.end()


def counted(x):
    """Packets and bytes of every queue; completions still come in at a stop."""
    return {name: n for name, n in x.items() if name.endswith(("_packets", "_bytes"))}


def test_queues_anew(run):
    """Queues set up anew, fewer or more of them, count on where those before them ended."""
    host = run(Host, nics=[GEN])
    app = run(Console, host, "--forward-mode=macswap", queues=3)
    cycle(host, app, COUNT)
    before = counted(check(host, app, 1)[1])
    app.restart("port config all rxd 256", "port config all txd 256")
    assert counted(check(host, app, 1)[1]) == before
    app.do("stop", "port stop 0", "port 0 rxq 1 setup", "port 0 txq 2 setup")
    assert counted(check(host, app, 1)[1]) == before
    app.do("port config all rxq 1", "port config all txq 1")
    app.do("port start 0")
    cycle(host, app, COUNT, COUNT)
    stats = app.stats()
    assert stats["RX-packets"] == stats["TX-packets"] == 2 * COUNT
    app.restart("port config all rxq 3", "port config all txq 3")
    _, x = check(host, app, 2)
    assert [x[f"rx_q{q}_packets"] - before[f"rx_q{q}_packets"] for q in QUEUES] == [COUNT, 0, 0]
    app.do("clear port stats 0")
    assert set(app.stats().values()) == {0}
    app.restart("port config all rxd 512")
    assert set(app.stats().values()) == {0}
    app.quit()
    host.end()


@pytest.mark.parametrize("queues", [1, 2])
def test_missed(run, queues):
    """Frames that nobody takes are dropped for the host's sake, and counted: none is left out."""
    host = run(Host, nics=[f"queues=2,ranges=1,port=gen:count={COUNT},size=64,flows=64,"
                           "start=command,verify=no"])
    app = run(Console, host, "--forward-mode=rxonly", queues=queues,
              eal=["-a", f"hv_vmbus:{GUID},ring_size=16384"])
    host.command("start", nic=0)
    # A host that waits for the room of one queue does not serve the others.
    until(lambda: all(app.xstats()[f"rx_q{q}_dropped"] > 0 for q in range(queues)),
          "frames dropped", 20)
    app.do("start")

    def all_seen():
        stats = app.stats()
        return stats["RX-packets"] + stats["RX-missed"] == COUNT

    until(all_seen, "all frames")
    assert app.xstats()["rx_missed_errors"] == app.stats()["RX-missed"] < COUNT
    app.quit()
    host.end()


def test_missed_of_a_stopped_queue(run):
    """The same of a queue that is stopped while others receive."""
    host = run(Host, nics=[f"queues=2,ranges=1,port=gen:count={COUNT},size=64,flows=64,"
                           "start=command,verify=no"])
    app = run(Console, host, "--forward-mode=rxonly", queues=2,
              eal=["-a", f"hv_vmbus:{GUID},ring_size=16384"])
    app.do("port 0 rxq 1 stop", "start")
    host.command("start", nic=0)

    def all_seen():
        stats = app.stats()
        return stats["RX-packets"] + stats["RX-missed"] == COUNT

    until(all_seen, "all frames", 20)
    x = app.xstats()
    assert x["rx_untaken_packets"] > 0  # the others came faster than the lcore was
    assert x["rx_untaken_packets"] + x["rx_q0_dropped"] == app.stats()["RX-missed"]
    assert app.stats()["RX-packets"] == app.xstats()["rx_q0_packets"] > 0
    app.quit()
    host.end()


def test_of_the_port(run):
    """What was refused stays counted when its channel is closed; a reset starts at zero."""
    host = run(Host, nics=["queues=4,port=sink"])
    app = run(Console, host, "--forward-mode=rxonly", queues=2)
    app.do("start")

    def refused(n):
        until(lambda: app.xstats()["invalid_packet_type"] == n, f"{n} packets refused")

    for n in (1, 2):
        assert host.command("raw", nic=0, queue=n - 1, type=0x33, payload="00" * 8)["ok"]
        refused(n)
    app.restart("port config all rxq 3", "port config all txq 3")
    refused(2)
    app.do("clear port xstats 0")
    x = app.xstats()
    assert not [n for n in x if n.startswith(("invalid_", "path_", "vf_")) and x[n] != 0]
    app.do("start")
    assert host.command("raw", nic=0, queue=2, type=0x33, payload="00" * 8)["ok"]
    refused(1)
    app.restart("port reset 0")
    refused(1)
    app.quit()
    host.end()


def test_nobody_asks_the_host(run, tmp):
    """What applications call at any time needs no answer of the host; the host sees none of it."""
    trace = tmp / "trace"
    host = run(Host, "--trace", trace, nics=["queues=4,port=sink"])
    app = run(Console, host, "--forward-mode=rxonly", queues=2)
    app.do("start")
    until(lambda: host.stats()["nics"][0]["slots_used"] == 0, "all completions")
    before = trace.read_text()
    assert "SET" in before
    for command in ("show port info 0", "show port summary all", "show port stats 0",
                    "show port xstats 0", "show port 0 fec capabilities", "show rxq info 0 0",
                    "show port 0 rss reta 128 (0xffffffffffffffff,0xffffffffffffffff)",
                    "show port 0 rss-hash key", "show port 0 macs", "clear port stats 0"):
        app.do(command)
    assert trace.read_text() == before
    app.do("set promisc 0 off")  # this one does, so the trace shows what there is
    assert trace.read_text() != before
    app.quit()
    host.end()


def test_no_question_goes_to_the_host(run):
    """Info, statistics and the link as it is are told while the host stands still."""
    host = run(Host, nics=["port=sink"])
    # Were one to ask the host, it would wait for ten minutes.
    app = run(Console, host,
              eal=["-a", f"hv_vmbus:{GUID},nvsp_timeout=600000,rndis_timeout=600000"])
    host.proc.send_signal(signal.SIGSTOP)
    try:
        assert app.info()["Link status"] == "up"
        assert app.stats()["RX-packets"] == 0
        assert app.xstats()["rx_q0_packets"] == 0
        assert "up" in app.do("show port summary 0")
    finally:
        host.proc.send_signal(signal.SIGCONT)
    app.quit()
    host.end()
