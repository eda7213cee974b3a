# SPDX-License-Identifier: BSD-3-Clause
"""The driver against hosts that lie: it survives each, counts what it must, and goes on."""
import re
import uuid

import pytest

import second
from console import Console
from secondhost import frames, hostile_packets, hostile_start, netvsp
from second import rig  # noqa: F401 (a fixture)


def nics(settings):
    """A NIC for each, told apart by their GUIDs and MAC addresses."""
    return [second.NicConfig(instance=uuid.UUID(int=0x5EC0 << 96 | i + 1), first_monitor=i,
                             mac=bytes.fromhex("00155d0102") + bytes([i + 1]), **s)
            for i, s in enumerate(settings)]


def start(rig, settings, *args, timeout=1500, **more):
    """One testpmd with all of them; each frame goes back where it came from."""
    configs = nics(settings)
    eal = [a for c in configs for a in ("-a", f"hv_vmbus:{c.instance},rndis_timeout={timeout}")]
    return rig(*configs, cls=Console, eal=eal, args=("--port-topology=loop", *args),
               memory=["--no-huge", "-m", str(128 + 64 * len(configs)), "--no-shconf"], **more)


def runs(nic):
    return nic.session is not None and nic.session.control.filter


def alive(r, nic, what, tries=1):
    """A frame of its own goes through; more tries: testpmd may just stop and start for another."""
    for left in range(tries - 1, -1, -1):
        r.frames = getattr(r, "frames", 0) + 1
        frame = frames.ethernet(0x88B6, b"are you there? %06d" % r.frames)
        with r.host.lock:
            nic.receive([frame])
        try:
            r.host.until(lambda: any(s.frame == frame for s in nic.sent[-200:])
                         or r.program.proc.poll() is not None, f"a frame back after {what}",
                         3 if left else 20)
            break
        except AssertionError as error:
            if not left:
                raise AssertionError(f"{error}\n{r.program.text}") from error
    assert r.program.proc.poll() is None, f"{what}: {r.program.text}"


def leave(r):
    """Each port may wait for its last answers."""
    r.program.type("quit")
    assert r.program.wait() == 0, r.program.text


GROUPS = [hostile_start.STARTS[i:i + 9] for i in range(0, len(hostile_start.STARTS), 9)]


@pytest.mark.parametrize("group", range(len(GROUPS)))
def test_start(rig, group):
    """Wrong answers to the start: the device is refused, or runs without what was wrong."""
    cases = GROUPS[group]
    r = start(rig, [settings for _, settings, _ in cases])
    r.program.do("start")
    result = []
    for (name, _, verdict), nic in zip(cases, r.host.nics):
        up = bool(runs(nic))
        if up:
            alive(r, nic, name)
        if verdict != hostile_start.EITHER and up != (verdict == hostile_start.UP):
            result.append(f"{name}: {'runs' if up else 'refused'}")
    r.program.do("stop")
    leave(r)
    assert result == [], r.program.text
    assert r.host.error is None, r.host.error


def test_more_granted(rig):
    """T26: more sub-channels than were asked for: the port does not start."""
    granted = {netvsp.SUBCHANNEL: hostile_start.completes(netvsp.SUBCHANNEL, 1, 9)}
    r = start(rig, [{"queues": 4, "replies": granted}], "--rxq=4", "--txq=4")
    assert "grants 9 sub-channels where 3 were asked for" in r.program.text
    leave(r)
    assert r.host.error is None, r.host.error


def test_running(rig):
    """Wrong packets, messages and frames to a running port."""
    r = start(rig, [{"slots": 2000}])
    r.program.do("start")
    nic = r.nic
    attacker = hostile_packets.Attacker(r.host, nic)
    alive(r, nic, "its start")
    wrong = []
    counted = r.program.xstats()
    for name, attack, counter, status in hostile_packets.ATTACKS:
        with r.host.lock:
            before = nic.rx_status.copy()
            attack(attacker)
        alive(r, nic, name)
        r.host.until(lambda: not nic.session.busy, f"completions after {name}", 20)
        now = r.program.xstats()
        if counter and now[counter] == counted[counter]:
            wrong.append(f"{name}: not counted in {counter}: " + str(
                {k: v - counted[k] for k, v in now.items() if "inv" in k and v != counted[k]}))
        if status and nic.rx_status[status] == before[status] + (status == 1):
            wrong.append(f"{name}: completed {nic.rx_status - before}, not {status}")
        counted = now
    r.program.do("stop")
    r.program.quit()
    assert wrong == [], "\n".join(wrong)
    assert r.host.error is None, r.host.error
    # Its own rules the driver keeps all the same.
    broken = [b for b in r.host.rules.broken if not re.search("our |guest's read index", b)]
    assert broken == [], "\n".join(broken)


HALVES = [hostile_packets.FATAL[::2], hostile_packets.FATAL[1::2]]


@pytest.mark.parametrize("half", [0, 1])
def test_rings(rig, half):
    """Rings that cannot be: the others go on, and the port does when it has recovered."""
    cases = HALVES[half]
    r = start(rig, [{}] * (len(cases) + 1), timeout=2000)
    r.program.do("start")
    honest = r.host.nics[-1]
    for (name, attack), nic in zip(cases, r.host.nics):
        alive(r, nic, "its start", tries=5)
        with r.host.lock:
            attack(hostile_packets.Attacker(r.host, nic))
            nic.receive(frames.mixed(40), 3)
        alive(r, honest, name, tries=5)
    for (name, _), nic in zip(cases, r.host.nics):
        alive(r, nic, name, tries=5)
    r.program.do("stop")
    r.program.do("show port stats all")
    leave(r)
    assert r.host.error is None, r.host.error
