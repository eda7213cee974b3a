# SPDX-License-Identifier: BSD-3-Clause
"""A host that sends what no host sends, while frames flow; doc/hostile_inputs.rst says what else.

What would have to be acknowledged is injected below the driver (test_rx.c): hv-host takes an
acknowledgement of what it did not send for a broken rule, which ends the channel.
"""
import struct

from console import Console
from hv import Host
from console import Console
from hv import Host
from test_ethdev import GEN, counters, forward, quit_both, start

INBAND, COMPLETION = 6, 0xB
CTRL_TID = 1 << 63  # the driver's mark of its own requests
VF_ASSOC, SEND_TABLE, SWITCH_DATA_PATH = 128, 134, 129


def inject(host, *words, kind=INBAND, tid=0, **more):
    payload = struct.pack(f"<{len(words)}I", *words).hex()
    tid -= (tid >> 63) << 64  # a JSON number has a sign
    reply = host.command("raw", nic=0, queue=0, type=kind, tid=tid, payload=payload, **more)
    assert reply["ok"], reply


def test_control(run):
    """Messages that nobody asked for, that are too short, or make no sense: nothing changes."""
    host, app = start(run, GEN, eal=["--log-level=pmd.net.hvnetvsc:debug"])
    forward(host, app)
    for kind in (0, 1, 2, 100, 101, 102, 107, 108, 133, 999, 0xFFFFFFFF):
        inject(host, kind)
        inject(host, kind, *[0xFFFFFFFF] * 9)
    inject(host)
    for words in ((), (1,)):
        inject(host, VF_ASSOC, *words)
    inject(host, SWITCH_DATA_PATH, 7)
    for count, offset in ((17, 12), (0, 0), (16, 0xFFFFFFF0), (16, 400), (0xFFFFFFFF, 12)):
        inject(host, SEND_TABLE, count, offset, *[0xFFFFFFFF] * 16)
    app.expect("send table ignored")
    # Completions of requests that were never made, of any type, and of none.
    for tid in (CTRL_TID, CTRL_TID | 1, CTRL_TID | 0xFFFFFFFFFF, 0, 1, (1 << 62) | 5):
        for kind in (0, 2, 102, 105, 108, 133):
            inject(host, kind, *[0xFFFFFFFF] * 7, kind=COMPLETION, tid=tid)
        inject(host, kind=COMPLETION, tid=tid)
    forward(host, app)
    assert "data path switched" not in app.text and "is given up" not in app.text
    assert sum(n for k, n in counters(app).items() if k.startswith("invalid_")) > 0
    quit_both(host, app)


def test_answers_of_another_request(run):
    """While an answer is awaited, completions of the same request that are of another type."""
    host = run(Host, nics=["reply-delay=500," + GEN])
    app = run(Console, host)
    app.type("set promisc 0 off")
    for tid in range(1, 64):
        inject(host, 2, *[0xFFFFFFFF] * 7, kind=COMPLETION, tid=CTRL_TID | tid)
        inject(host, kind=COMPLETION, tid=CTRL_TID | tid)
    app.expect("testpmd> ")
    assert "fail" not in app.text.lower()
    assert host.stats()["nics"][0]["filter"] & 0x20 == 0
    app.quit()
    host.end()


def test_corrupt_ring_is_told(run):
    """A ring that the host made unusable is a line in the log, one, though nobody polls."""
    host, app = start(run, "port=sink")
    reply = host.command("ring-word", nic=0, queue=0, ring="rx", word="write", value=3)
    assert reply["ok"], reply
    app.expect("channel 0: the host wrote nonsense into the ring that it fills")
    app.kill()
    assert app.text.count("wrote nonsense") == 1
    host.kill()
