# SPDX-License-Identifier: BSD-3-Clause
"""A recovery, and what the application has set, calls or is told while it goes on."""
import re
import signal
import time

from console import ANY_PROMPT, Console
from hv import Host, until
from second import NicConfig, rig  # noqa: F401 (a fixture)
from test_hotplug import NIC
from test_link import EVENT, link
from test_recovery import (BEGINS, FAILS, FLOW, RxIntr, corrupt, corrupt_while_away,
                           recovered, refuse, sleep_through, traffic)
from test_multiprocess import processes


def test_mac_address(run):
    """The host has the address that the application has set, not only ethdev."""
    host = run(Host, nics=["mac=F2:15:5D:AA:BB:CC,mac-change=allow,port=sink"])
    app = run(Console, host)
    app.do("mac_addr set 0 02:15:5D:00:00:99")
    for times in (1, 2):
        corrupt(host, app)
        recovered(app, times)
        assert host.stats()["nics"][0]["mac"].upper() == "02:15:5D:00:00:99"
    assert app.info()["MAC address"] == "02:15:5D:00:00:99"
    assert "spoofing" not in app.text
    app.quit()
    host.kill()


def test_link_of_next_session(run):
    """That it is another one than before raises the event, as no message tells of it."""
    host = run(Host, nics=["port=sink"])
    app = run(Console, host)
    host.command("link", nic=0, state="down")
    until(lambda: app.text.count(EVENT) == 1, "link state event")
    assert link(app)[0] == "down"
    host.command("link", nic=0, state="up")
    host.command("link", nic=0, state="down")
    until(lambda: app.text.count(EVENT) == 3, "link state events")
    corrupt(host, app)
    recovered(app)
    state = link(app)[0]
    assert app.text.count(EVENT) == (4 if state == "up" else 3), state
    app.quit()
    host.kill()


def test_stop_while_host_is_silent(run):
    """A stop that comes while a recovery ends the old session does not wait for the new one."""
    host = run(Host, nics=[f"reply-delay=300,{FLOW}"])  # so that it falls silent before it is done
    app = run(Console, host, "--forward-mode=macswap",
              eal=["-a", f"{NIC.format(1)},nvsp_timeout=30000,rndis_timeout=30000,"
                   "stop_timeout=2000"])
    app.do("start")
    traffic(host)
    host.command("stall", nic=0)  # what was sent is waited for
    corrupt(host, app)
    app.expect(BEGINS)
    time.sleep(0.5)
    app.do("stop")
    app.type("port stop 0")
    until(lambda: host.stats()["nics"][0]["sessions"] == 2, "another session")
    host.proc.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    app.expect("Done")
    took = time.monotonic() - start
    host.proc.send_signal(signal.SIGCONT)
    assert took < 10, app.text
    app.expect(ANY_PROMPT)
    until(lambda: "rror" not in app.do("port start 0"), "start")
    app.do("start")
    traffic(host)
    app.do("stop")
    app.quit()
    host.kill()


def test_stop_before_a_silent_host_is_asked(run):
    """Nor does one that comes while the host holds up the end of the old session."""
    host = run(Host, nics=[f"queues=2,{FLOW}"])
    app = run(Console, host, "--forward-mode=macswap", queues=2,
              eal=["-a", f"{NIC.format(1)},stop_timeout=2000"])
    app.do("start")
    assert host.command("rescind", nic=0, channel=1)["ok"]
    until(lambda: BEGINS in app.text, "recovery")
    host.proc.send_signal(signal.SIGSTOP)
    time.sleep(0.5)
    app.do("stop")
    start = time.monotonic()
    app.do("port stop 0")
    took = time.monotonic() - start
    host.proc.send_signal(signal.SIGCONT)
    assert took < 5, app.text
    until(lambda: "rror" not in app.do("port start 0"), "start")
    app.do("start")
    traffic(host, 2)
    app.do("stop")
    app.quit()
    host.end()


def test_stop_while_an_lcore_is_waited_for(run):
    """There is nothing to recover then: the host is not asked in a hurry that is over."""
    host, app = corrupt_while_away(run)
    app.expect(BEGINS)
    time.sleep(0.5)
    assert "Done" in app.do("port stop 0")
    assert "rror" not in app.do("port start 0", "start")
    traffic(host)
    assert FAILS not in app.text and "cannot be opened again" not in app.text
    app.do("stop")
    app.quit()
    host.kill()


def test_asleep_and_lost(rig):
    """Who sleeps when a recovery fails is woken, and told that there is nothing to sleep for."""
    r = rig(NicConfig(queues=2), cls=RxIntr, args=("2", "1"))
    r.program.expect("ready")
    until(r.program.is_idle, "sleep")
    refuse(r)
    # In whatever order the two threads say so; who is not woken says nothing of it after 20 s.
    until(lambda: "not supported" in r.program.text, "its end")
    assert r.program.wait() == 1, r.program.text
    assert "cannot be opened again" in r.program.text
    r.program.forget()
    assert r.host.error is None, r.host.error


def test_nothing_is_waited_for_in_a_broken_ring(run):
    """Completions that were to come in it never do."""
    host = run(Host, nics=[f"queues=2,{FLOW}"])
    app = run(Console, host, "--forward-mode=macswap", queues=2,
              eal=["-a", f"{NIC.format(1)},stop_timeout=8000"])
    app.do("start")
    for times in range(1, 5):
        traffic(host, 2)
        corrupt(host, app, times % 2)
        recovered(app, times)
    assert max(int(us) for us in re.findall(r"recovered, (\d+) us", app.text)) < 4_000_000
    app.do("stop")
    app.quit()
    host.kill()


def test_removed_before_recovery(huge_dir, run):
    """A device that goes before its port is recovered is not recovered, again and again."""
    host = run(Host, nics=[f"queues=2,{FLOW}"])
    app, _ = processes(run, host, huge_dir, 2, 0)
    until(lambda: host.port()["received"] > 100, "frames back")
    corrupt(host, app)
    app.expect("recovered")
    corrupt(host, app)
    assert host.command("rescind", nic=0)["ok"]
    app.expect("took the device away")
    time.sleep(4)
    assert app.text.count("cannot be opened again") <= 1, app.text
    app.quit()
    host.kill()


def test_asleep_without_a_channel(run):
    """A queue that has none is woken once by a recovery, and its descriptor is quiet again."""
    gen = "gen:rate=200,burst=1,count=200,flows=32,start=command,verify=no"
    host = run(Host, nics=[f"grant=1,port={gen}"])
    app = run(RxIntr, host, "4", "200")
    sleep_through(host, app, 200)
    assert int(re.search(r"stale (\d+)", app.text)[1]) < 20, app.text
    host.kill()
