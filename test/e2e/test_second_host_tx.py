# SPDX-License-Identifier: BSD-3-Clause
"""What the driver transmits, judged rule by rule by a host of another hand."""
import random
import re

import pytest

import hv
import second
from console import Console
from secondhost import config, frames
from second import rig  # noqa: F401 (a fixture)

DEVICE = f"hv_vmbus:{config.NicConfig.instance}"
BATCH = frames.mixed(200, seed=3)


@pytest.mark.parametrize("nic, devargs", [
    ({"alignment": 0, "max_packets": 1}, ""),
    ({"alignment": 5, "max_packets": 3}, ""),
    ({"alignment": 7, "max_packets": 64, "max_transfer": 4096}, "ring_size=16384"),
    ({"send_section": 1540, "alignment": 2}, "tx_copybreak=100"),
    ({"send_section": 256}, ""),
    ({"send_status": 2}, ""),
], ids=str)
def test_messages(rig, nic, devargs):
    """Whatever the host allows in a message and in a section: it gets no more."""
    r = rig(second.NicConfig(**nic), eal=["-a", f"{DEVICE},{devargs}"]).up()
    for per_message in (1, 8, 20, 40):
        for at in range(0, len(BATCH), 40):  # testpmd drops what a short ring does not take
            r.echo(BATCH[at:at + 40], per_message)
    assert max(r.nic.groups) <= nic.get("max_packets", 8)
    by_section = {s.section for s in r.nic.sent}
    if nic.get("send_status"):
        assert by_section == {False}
    elif nic.get("send_section") == 256 or "tx_copybreak" in devargs:
        assert by_section == {False, True}
    r.idle()
    r.end()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["own channel", "other channel"])
def test_late_completions(rig, elsewhere):
    """Messages stay as they are until completed: late, in any order, on whatever channel."""
    queues = 2 if elsewhere else 1
    r = rig(second.NicConfig(queues=queues, max_packets=2),
            args=(f"--rxq={queues}", f"--txq={queues}")).up()
    order = random.Random(4)
    r.nic.hold = True
    for _ in range(3):
        r.echo(BATCH, 8, queue=queues - 1)
        with r.host.lock:
            held, r.nic.held = r.nic.held, []
            order.shuffle(held)
            for done in held:
                r.nic.complete(done, channel=r.nic.channels[0] if elsewhere else None)
    r.nic.hold = False
    r.echo(BATCH, 8)
    r.idle()
    r.end()


def test_no_completions(rig):
    """Sections and descriptors run out; the driver drops nothing that it took, and goes on."""
    r = rig(second.NicConfig(max_packets=1), cls=Console,
            args=("--txd=256",)).up()
    r.nic.hold = True
    r.program.do("start")
    with r.host.lock:
        r.nic.receive(BATCH * 3, 8)
    r.host.until(lambda: not r.nic.backlog and not r.nic.session.busy, "all taken")
    r.program.do("stop")
    assert 200 <= len(r.nic.sent) < 600
    with r.host.lock:
        r.nic.hold = False
        for done in r.nic.held:
            r.nic.complete(done)
    r.program.do("start")
    before = len(r.nic.sent)
    with r.host.lock:
        r.nic.receive(BATCH, 1)
    r.host.until(lambda: len(r.nic.sent) >= before + len(BATCH), "frames back")
    r.idle()
    r.program.do("stop")
    assert r.program.stats()["TX-packets"] == len(r.nic.sent)
    r.program.quit()
    r.host.verdict()


def test_failed_messages(rig):
    """A completion may say that the host sent nothing: counted, and the section is free again."""
    r = rig(cls=Console).up()
    r.nic.tx_status = 2
    r.program.do("start")
    r.echo(BATCH, 8)
    r.idle()
    r.program.do("stop")
    hv.until(lambda: r.program.stats()["TX-errors"] == len(r.nic.groups), "all of them counted")
    r.program.quit()
    r.host.verdict()


def test_packed_across_bursts(rig):
    """While the host is behind, messages are filled by several bursts; nothing waits for more."""
    r = rig(cls=Console, args=("--burst=4",)).up()
    sent = [f for f in frames.mixed(2000, seed=5) if len(f) <= 128][:300]
    with r.host.lock:  # it does nothing meanwhile
        r.nic.receive(sent)
        r.nic.deliver()
        r.program.do("start")  # behind that, so that it has all of them to do at once
        hv.until(r.nic.channels[0].outbound.empty, "all of them taken")
    r.host.until(lambda: len(r.nic.sent) >= len(sent), "all of them back")
    assert [s.tagged for s in r.nic.sent] == sent
    assert max(r.nic.groups[:5]) <= 4 and max(r.nic.groups) == 8
    r.idle()
    r.program.do("stop")
    r.program.quit()
    r.host.verdict()


@pytest.mark.parametrize("doorbell", ["monitor", "eventfd", "datagram"])
def test_signals(rig, doorbell):
    """One doorbell for each time the host finds its ring empty, and not one more; a polling
    driver is not interrupted."""
    monitor = 6 if doorbell == "monitor" else None
    bus = second.BusConfig(second.VERSIONS, features=2 if doorbell == "datagram" else 3)
    r = rig(second.NicConfig(first_monitor=monitor), bus=bus).up()
    channel = r.nic.channels[0]
    with r.host.lock:
        before = r.host.partition.interrupts.get(channel.relid, 0)
    for n in (1, 2, 50):
        for frame in BATCH[:20]:
            r.echo([frame] * n, 1)
    r.idle()
    with r.host.lock:
        assert r.host.partition.interrupts.get(channel.relid, 0) == before
        assert 0 < channel.inbound.signals <= channel.inbound.allowed
        by_datagram = r.host.partition.signals
        if doorbell == "eventfd":  # but those before it had one
            assert by_datagram <= 1
        else:
            assert (by_datagram > 1) == (doorbell == "datagram")
    r.end()


CSUM = ["csum set ip hw 0", "csum set tcp hw 0", "csum set udp hw 0"]


@pytest.mark.parametrize("tso", [False, True], ids=["checksum", "tso"])
def test_offloads(rig, tso):
    """Checksum and LSO requests: PPIs and frames prepared as NDIS wants them. What a host takes in
    one send is no limit of a packet that is to be segmented."""
    r = rig(second.NicConfig(mtu=9000, max_transfer=2000 if tso else 0xEFFFFFFF), cls=Console,
            args=("--max-pkt-len=9014", "--mbuf-size=16384", "--total-num-mbufs=2048")).up()
    r.program.restart(*CSUM, *(["tso set 700 0"] if tso else []), "set fwd csum")
    r.program.do("start")
    r.up()
    count = len(r.nic.sent)
    batch = frames.mixed(240, seed=5, mtu=4000 if tso else 1500)
    told = [(f, [frames.vlan_ppi(0x2064)] if i % 4 == 0 and not tso else [])
            for i, f in enumerate(batch)]
    with r.host.lock:
        r.nic.receive(told, 5)
    r.host.until(lambda: len(r.nic.sent) >= count + len(batch), "frames back")
    r.idle()
    sent = r.nic.sent[count:]
    kinds = {(s.lso is not None, s.checksum is not None, s.frame[12:14].hex()) for s in sent}
    for kind in ("0800", "86dd"):
        assert (tso, not tso, kind) in kinds or (True, False, kind) in kinds, kinds
        assert any(s.checksum is not None and s.frame[12:14].hex() == kind for s in sent)
    assert any(s.lso is not None for s in sent) == tso
    r.program.do("stop")
    r.program.quit()
    r.host.verdict()


def test_session_restart(rig):
    """Stop, start, another MTU, other queues: every session opens and closes by the rules."""
    r = rig(second.NicConfig(queues=4, mtu=9000), cls=Console).up()
    for command, queues in (("port config mtu 0 2000", 1), ("port config all rxq 2", 2),
                            ("port config all rxq 1", 1)):
        lines = [command, command.replace("rxq", "txq")] if "rxq" in command else [command]
        r.program.restart(*lines)
        r.up()
        r.program.do("start")
        r.echo(BATCH[:60], 7, queue=queues - 1)
        r.idle()
        r.program.do("stop")
    assert re.search("MTU: 2000", r.program.do("show port info 0"))
    assert len(r.nic.sessions) >= 3
    r.program.quit()
    r.host.verdict()
