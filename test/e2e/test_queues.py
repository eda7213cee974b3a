# SPDX-License-Identifier: BSD-3-Clause
"""Numbers of queues, and each by itself: start, stop, deferred start, late channels."""
import re

import pytest

from console import Console, cycle, queues_of
from hv import BUILD, App, Host, until
from test_errors import GUID

COUNT = 2000
GEN = f"port=gen:count={COUNT},rate=100k,flows=256,proto=mix,ipv6=50,start=command,expect=return"


def reta(console, queues, size=128):
    """Spread the table over some queues."""
    for first in range(0, size, 8):  # what one line of testpmd takes
        entries = ",".join(f"({i},{queues[i % len(queues)]})"
                           for i in range(first, min(first + 8, size)))
        answer = console.do(f"port config 0 rss reta {entries}")
        assert "fail" not in answer.lower() and "error" not in answer.lower(), answer


def queue_state(console, kind, queue):
    return re.search(r"(?i)queue state: (\w+)",
                     console.do(f"show {kind} info 0 {queue}")).group(1)


@pytest.mark.parametrize("rx, tx", [(3, 3), (8, 8), (4, 2), (2, 4), (4, 1)])
def test_counts(run, rx, tx):
    """Every number of queues forwards, also when there are more of one kind."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, f"--rxq={rx}", f"--txq={tx}", "--forward-mode=macswap", cores=2)
    # testpmd has streams for pairs of queues only, or for the first if there are no pairs.
    streams = min(rx, tx)
    if rx > streams:
        reta(app, range(streams))
    cycle(host, app, COUNT)
    assert set(queues_of(host)) == set(range(max(rx, tx)))
    assert {q for q, n in queues_of(host).items() if n} == set(range(streams))
    app.quit()
    host.end()


def test_one_way(run):
    """No receive queue, then no transmit queue, then as before: what is left works."""
    host = run(Host, nics=["queues=4,port=gen:rate=5k,flows=64,verify=no"])
    app = run(Console, host, "--rxq=0", "--txq=2", "--forward-mode=txonly", cores=1)
    commands = {"txonly": ("port config all txq 2", "port config all rxq 0"),
                "rxonly": ("port config all rxq 2", "port config all txq 0")}
    for mode in ("txonly", "rxonly", "txonly"):
        app.restart(f"set fwd {mode}", *commands[mode])
        app.do("clear port stats all", "clear port xstats all", "start")
        counted = "RX-packets" if mode == "rxonly" else "TX-packets"
        until(lambda c=counted: app.stats()[c] > 500, counted)
        # Frames that no queue takes do not stop those that go out.
        if mode == "txonly":
            until(lambda: app.xstats()["rx_untaken_packets"] > 500, "frames thrown away")
        app.do("stop")
        x = app.xstats()
        assert {name[:2] for name in x if re.match("[rt]x_q", name)} == {mode[:2]}
        assert set(queues_of(host)) == {0, 1}
        assert host.command("rss", nic=0)["rss"]["enabled"] == (mode == "rxonly")
    app.quit()
    host.end()


class FewerQueues(App):
    binary = BUILD / "test" / "e2e" / "fewer_queues"


@pytest.mark.parametrize("nic, args, held", [
    ("queues=4", [], 1), ("queues=4,grant=0", ["again"], 0)])
def test_other_numbers_while_the_host_is_slow(run, nic, args, held):
    """What a queue of before still has in the host's hands is not given to another one: with fewer
    queues, and with more behind one that had all sections."""
    host = run(Host, nics=[f"{nic},tx-delay=6000,port=sink"])
    app = run(FewerQueues, host, *args)
    assert app.wait() == 0, app.text
    assert f"transmit queue {held}: the host still holds packets" in app.text
    app.forget()
    host.end()


def test_most(run):
    """64 queues, the most that the driver has."""
    host = run(Host, nics=[f"queues=64,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", "--txd=64", "--rxd=64",
              "--total-num-mbufs=32768", queues=64, memory=["--no-huge", "-m", "512",
                                                            "--no-shconf"])
    cycle(host, app, COUNT)
    assert len(queues_of(host)) == 64
    app.quit()
    host.end()


def test_stop_and_start(run):
    """A stopped queue gets nothing more; started again it forwards on. Nothing is lost."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", queues=4)
    cycle(host, app, COUNT)
    before = queues_of(host)
    assert all(before.values())
    reta(app, [0, 1, 3])
    app.do("port 0 rxq 2 stop", "port 0 txq 2 stop")
    assert queue_state(app, "rxq", 2) == queue_state(app, "txq", 2) == "stopped"
    assert queue_state(app, "rxq", 1) == queue_state(app, "txq", 1) == "started"
    cycle(host, app, COUNT, COUNT)
    after = queues_of(host)
    assert after[2] == before[2] and all(after[q] > before[q] for q in (0, 1, 3))
    reta(app, range(4))
    app.do("port 0 rxq 2 start", "port 0 txq 2 start")
    assert queue_state(app, "rxq", 2) == queue_state(app, "txq", 2) == "started"
    cycle(host, app, COUNT, 2 * COUNT)
    assert queues_of(host)[2] > after[2]
    app.quit()
    host.end()


def test_deferred_start(run):
    """Queues marked so stay stopped at the start of the port, and are started by hand."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", queues=2)
    app.restart("port 0 rxq 1 deferred_start on", "port 0 txq 1 deferred_start on")
    assert queue_state(app, "rxq", 1) == queue_state(app, "txq", 1) == "stopped"
    assert queue_state(app, "rxq", 0) == queue_state(app, "txq", 0) == "started"
    app.do("port 0 rxq 1 start", "port 0 txq 1 start")
    assert queue_state(app, "rxq", 1) == queue_state(app, "txq", 1) == "started"
    cycle(host, app, COUNT)
    app.restart("port 0 rxq 1 deferred_start off", "port 0 txq 1 deferred_start off")
    assert queue_state(app, "rxq", 1) == queue_state(app, "txq", 1) == "started"
    cycle(host, app, COUNT, COUNT)
    app.quit()
    host.end()


def test_other_numbers(run):
    """Configured with more queues and with fewer, up and down: all frames come back each time."""
    host = run(Host, nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", queues=1)
    for n, queues in enumerate((4, 8, 1, 2, 8, 3)):
        app.restart(f"port config all rxq {queues}", f"port config all txq {queues}")
        cycle(host, app, COUNT, n * COUNT)
        assert set(queues_of(host)) == set(range(queues))
        assert host.command("rss", nic=0)["rss"]["enabled"] == (queues > 1)
    app.quit()
    host.end()


@pytest.mark.parametrize("sizes", [(64, 64), (4096, 4096), (100, 333)])
def test_descriptors(run, sizes):
    """Ring sizes that are taken as they are."""
    host = run(Host, nics=[f"queues=2,{GEN}"])
    app = run(Console, host, f"--rxd={sizes[0]}", f"--txd={sizes[1]}", "--forward-mode=macswap",
              "--total-num-mbufs=32768", queues=2, memory=["--no-huge", "-m", "512",
                                                           "--no-shconf"])
    for kind, size in zip(("rxq", "txq"), sizes):
        answer = app.do(f"show {kind} info 0 1")
        assert re.search(rf"Number of [RT]XDs: {size}\b", answer), answer
    cycle(host, app, COUNT)
    app.quit()
    host.end()


@pytest.mark.parametrize("nic, host_args, channels", [
    ("queues=8,grant=0", (), 1),
    ("queues=8,grant=2", ("--sub-order", "reverse"), 3),
    ("queues=8", ("--sub-delay", "300"), 4),
    ("queues=8", ("--sub-order", "random", "--sub-delay", "100"), 4),
    ("queues=8", ("--sub-limit", "2"), 3),
    ("queues=8,send-table=none", (), 4),
    ("queues=8,send-table=bug", (), 4),
])
def test_subchannels(run, nic, host_args, channels):
    """Fewer channels than asked for, late ones, missing ones: four queues forward all the same."""
    host = run(Host, *host_args, nics=[f"{nic},{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", queues=4)
    cycle(host, app, COUNT)
    assert set(queues_of(host)) == set(range(channels))
    app.restart()
    cycle(host, app, COUNT, COUNT)
    app.quit()
    host.end()


def test_channels_that_come_late(run):
    """Offered when the driver has given up waiting: the next start takes them, in this session."""
    host = run(Host, "--sub-delay", "600000", nics=[f"queues=8,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", queues=4)
    app.restart()  # nothing has come: nothing is waited for again
    cycle(host, app, COUNT)
    assert set(queues_of(host)) == {0}
    for n, channels in enumerate(((3,), (1, 2))):
        for channel in channels:
            assert host.command("offer", nic=0, channel=channel)["ok"]
            assert not host.command("offer", nic=0, channel=channel)["ok"]  # it is there
        app.restart()
        assert app.text.count("channels late") == n + 1, app.text
        cycle(host, app, COUNT, (n + 1) * COUNT)
    assert set(queues_of(host)) == {0, 1, 2, 3} and all(queues_of(host).values())
    assert host.stats()["nics"][0]["sessions"] == 1
    app.quit()
    host.end()


def test_runtime_setup(run):
    """A stopped queue is set up anew, with another size, while the others run."""
    host = run(Host, nics=[f"queues=4,{GEN}"])
    app = run(Console, host, "--forward-mode=macswap", queues=3)
    cycle(host, app, COUNT)
    app.do("port 0 rxq 1 stop", "port 0 txq 1 stop", "port config 0 rxq 1 ring_size 333",
           "port config 0 txq 1 ring_size 222")
    for kind, size in (("rxq", 333), ("txq", 222)):
        answer = app.do(f"port 0 {kind} 1 setup")
        assert "fail" not in answer.lower(), answer
        assert re.search(rf"Number of [RT]XDs: {size}\b", app.do(f"show {kind} info 0 1"))
    app.do("port 0 rxq 1 start", "port 0 txq 1 start")
    cycle(host, app, COUNT, COUNT)
    assert all(n > 0 for n in queues_of(host).values())
    app.quit()
    host.end()


def test_descriptor_state(run):
    """Status and counts of descriptors follow what waits; cleaning up gives back what is done."""
    descs = 64
    host = run(Host, nics=["port=gen:count=40,start=command,verify=count"])
    app = run(Console, host, "--forward-mode=rxonly", f"--txd={descs}",
              eal=["-a", f"hv_vmbus:{GUID},tx_copybreak=0"])  # it reads all in place

    def status(way, n):
        return re.search(r"Desc status = (\w+)|status=(\w+)|(DONE|AVAILABLE|USED|FULL|UNAVAIL\w*)",
                         app.do(f"show port 0 {way} 0 desc {n} status"))[0]

    def used():
        return int(re.search(r"= *(\d+)", app.do("show port 0 rxq 0 desc used count"))[1])

    def cleaned(most):
        return int(re.search(r"mbuf nums: (\d+)", app.do(f"port cleanup 0 txq 0 {most}"))[1])

    assert used() == 0 and "AVAIL" in status("rxq", 0)
    host.command("start", nic=0)
    until(lambda: used() == 40, "frames in the ring")
    assert "DONE" in status("rxq", 39) and "AVAIL" in status("rxq", 40)
    assert "DONE" in status("txq", 0) and "DONE" in status("txq", descs - 1)
    app.do("start")
    until(lambda: used() == 0, "frames received")
    # Packets that the host holds, as many as there are descriptors; then it is done with them.
    app.do("stop")
    host.command("stall", nic=0)
    app.do("set fwd txonly", "start")
    until(lambda: app.stats()["TX-packets"] == descs, "all descriptors used")
    app.do("stop")
    assert "FULL" in status("txq", 0) and "FULL" in status("txq", descs - 1)
    assert cleaned(0) == 0
    host.command("resume", nic=0)
    until(lambda: "DONE" in status("txq", descs - 1), "sends completed")
    assert "DONE" in status("txq", 0)
    assert [cleaned(10), cleaned(0), cleaned(0)] == [10, descs - 10, 0]
    # Numbers that the queue does not have.
    for queue, n in (("rxq", 60000), ("txq", descs)):
        assert re.search("(?i)invalid|error|fail",
                         app.do(f"show port 0 {queue} 0 desc {n} status"))
    app.quit()
    host.end()


def test_burst_mode(run):
    """Which path, and how frames are copied, is told for each queue."""
    host = run(Host)
    app = run(Console, host)
    for kind in ("rxq", "txq"):
        assert re.search(r"Burst mode: .*synthetic.*-byte copies", app.do(f"show {kind} info 0 0"))
    app.quit()
    host.end()
