# SPDX-License-Identifier: BSD-3-Clause
"""Commands of the control socket one by one: what each does, and what it refuses."""
import pathlib
import re
import socket
import struct

import nicguest as ng
import pytest
from nicframes import frame
from test_ports import forward, send
from test_ports import host  # noqa: F401 (a fixture)

ROOT = pathlib.Path(__file__).resolve().parents[2]


REFUSED = [
    ("link", {}, "state"), ("link", dict(state="sideways"), "state"),
    ("speed", {}, "bps"), ("speed", dict(bps=99), "bps"), ("speed", dict(bps="fast"), "bps"),
    ("vf", {}, "action"), ("vf", dict(action="plug"), "serial"),
    ("vf", dict(action="plug", serial="one"), "serial"),
    ("vf", dict(action="plug", serial=-1), "serial"),
    ("vf", dict(action="replace"), "serial"), ("vf", dict(action="lose", count="all"), "count"),
    ("vf", dict(action="flap", ms=1 << 32), "ms"), ("vf", dict(action="unplug"), "No such device"),
    ("vf", dict(action="unplug", kind="rude"), "planned or surprise"),
    ("vf", dict(action="unplug", kind="surprise"), "No such device"),
    ("vf", dict(action="cut"), "No such device"), ("vf", dict(action="mend"), "No such device"),
    ("switch-synthetic", {}, "already"), ("stall", dict(queue=1), "no open channel"),
    ("stall", dict(queue="first"), "queue"), ("resume", dict(queue=1 << 40), "queue"),
    ("mangle", dict(every="x"), "every"), ("mangle", dict(every=-1), "every"),
    ("raw", dict(payload="0g"), "hexadecimal"), ("raw", dict(payload=12), "hexadecimal"),
    ("raw", dict(ext="00"), "multiple of 8"), ("raw", dict(type=1 << 16), "type"),
    ("raw", dict(flags="rc"), "flags"), ("raw", dict(queue=3), "no open channel"),
    ("poke", dict(offset="x", bytes="00"), "offset"), ("poke", dict(bytes="0"), "poke"),
    ("poke", dict(bytes=1), "poke"), ("poke", dict(offset=1 << 31, bytes="00"), "outside"),
    ("ring-word", dict(ring="up", word="read", value=0), "ring="),
    ("ring-word", dict(ring="rx", word="none", value=0), "word="),
    ("ring-word", dict(ring="rx", word="read"), "value="),
    ("ring-word", dict(ring="rx", word="read", value="x"), "value"),
    ("indicate", dict(status="up"), "status"), ("indicate", dict(bytes="zz"), "hexadecimal"),
    ("indicate", dict(bytes="00" * 157), "156"),
    ("bus-raw", dict(bytes="00" * 241), "240"), ("bus-raw", dict(bytes="00", type=-1), "type"),
    ("bus-raw", dict(bytes="00", size="x"), "size"),
    ("offer", {}, "already"), ("offer", dict(channel=1), "sub-channel"),
    ("rescind", dict(channel="x"), "sub-channel"), ("rescind", dict(channel=9), "sub-channel"),
    ("start", {}, "unknown command"), ("link", dict(nic=1), "no such NIC"),
    ("link", dict(nic="first", state="up"), "no such NIC"),
    ("link", dict(nic=-1), "no such NIC")]


def test_refused(nichost):
    """It is said why, and nothing happens."""
    h = nichost()
    g = h.guest().up()
    wrong = []
    for cmd, fields, message in REFUSED:
        reply = h.cmd(cmd, **fields)
        if reply["ok"] or message.lower() not in reply["error"].lower():
            wrong.append((cmd, fields, reply))
    assert wrong == []
    assert g.ch.read(0.05) is None and h.stats()["link"] and h.stats()["vf"] == "none"
    assert g.query(ng.OID_MAC)[0] == 0
    h.end()


def test_lines_that_are_no_command(nichost):
    h = nichost()
    for line in (b"\n", b"nonsense\n", b"[1]\n", b'{"nic": 0}\n', b'{"cmd": 7}\n', b"\xff\n"):
        h.ctl.sendall(line)
        assert b'no JSON object with a \\"cmd\\"' in h.lines.readline()
    assert h.cmd("what")["error"] == "unknown command"
    assert re.fullmatch(r"\d+\.\d+\.\d+", h.cmd("version")["version"])
    h.end()


def test_several_nics(host):  # noqa: F811
    """Whose command it is has to be said, of a command that there is."""
    h = host("port=sink", "port=sink")
    for command in sorted(commands() - {"stats", "violations", "version", "quit"}):
        assert "several NICs" in h.hostctl(command).stderr, command
    for command in ("what", "", "start "):
        assert h.hostctl(command).stderr == f"hv-hostctl: {command}: unknown command\n"
    assert h.hostctl("-n", "1", "what").stderr == "hv-hostctl: what: unknown command\n"
    h.end()


def test_stall_and_resume(nichost):
    """One queue is not read; the others are."""
    h = nichost()
    g = h.guest().up()
    g.subchannels(1)
    g.ch.read()
    assert h.cmd("stall", queue=1)["ok"]
    tid = g.section_send(0, [ng.packet(frame())], g.subs[1])
    assert g.query(ng.OID_MAC)[0] == 0 and g.subs[1].pending()
    assert h.cmd("resume", queue=1)["ok"]
    assert g.completion(tid, g.subs[1]) == ng.SUCCESS
    h.end()


def test_switch_synthetic(nichost):
    h = nichost("vf=7")
    g = h.guest().up()
    assert (g.events.pop(0) if g.events else g.ch.read()).kind == 128
    g.ask(129, 1)
    assert h.stats()["data_path"] == "vf" and h.cmd("switch-synthetic")["ok"]
    p = g.ch.read()
    assert (p.kind, p.u32(4)) == (129, 0) and h.stats()["data_path"] == "synthetic"
    h.end()


def test_what_the_guest_has_set(nichost):
    h = nichost("queues=4")
    g = h.guest().up(filter=0x2D)
    g.subchannels(3)
    assert h.cmd("filter")["filter"] == 0x2D
    assert g.rss([3, 1], hash_info=0x101) == 0
    assert h.cmd("rss")["rss"] == {"enabled": True, "hash_info": 0x101, "key": ng.KEY.hex(),
                                   "table": [3, 1] * 64}
    before = h.cmd("offload")["offload"]
    assert before["lso4"] and before["tx_csum"] and before["rx_csum"]
    assert g.set(ng.OID_OFFLOAD, struct.pack("<2BH9B15x", 0x80, 3, 28, *[1] * 5, 0, 0, 1, 1)) == 0
    assert h.cmd("offload")["offload"] == {"tx_csum": 0, "rx_csum": 0, "lso4": False,
                                           "lso6": False, "rsc4": False, "rsc6": False}
    h.end()


def test_mangle_on_and_off(nichost):
    h = nichost()
    g = h.guest().up()
    for every, mangled in ((1, 3), (0, 3)):
        assert h.cmd("mangle", every=every)["ok"]
        for i in range(3):
            h.inject(frame(i))
            g.ch.complete(g.ch.read())
        assert h.stats()["mangled"] == mangled
    h.end()


def test_rescind_and_offer_of_a_sub_channel(nichost):
    h = nichost("queues=4", "--sub-delay", "600000")
    g = h.guest().up()
    assert g.ask(133, 1, 2).u32(8) == 2
    assert not any(m[0] == 1 for m in g.g.msgs)
    assert h.cmd("offer", channel=2)["ok"]
    offer = g.g.message(1)
    index, _, relid = struct.unpack_from("<2HI", offer, 180)
    assert index == 2
    assert not h.cmd("offer", channel=2)["ok"], "it has been offered"
    assert h.cmd("rescind", channel=2)["ok"]
    assert struct.unpack_from("<I", g.g.message(2), 8)[0] == relid
    assert g.query(ng.OID_MAC)[0] == 0
    h.end()


# --- of the ports -----------------------------------------------------------------------------

def test_generator_runs_by_command(host):  # noqa: F811
    h = host("port=gen:start=command,count=30,burst=1,expect=return")
    g = h.guest()
    for total in (30, 60):
        assert g.ch.read(0.05) is None and not h.port()["running"]
        assert h.hostctl("start").returncode == 0
        forward(g, [f for f, _ in g.frames(30)])
        h.wait("received", total)
    assert h.hostctl("rate", "rate=2").returncode == 0 and h.port()["rate"] == 2
    assert h.hostctl("start").returncode == 0
    forward(g, [f for f, _ in g.frames(2)])
    assert h.hostctl("stop").returncode == 0
    sent = h.port()["sent"]
    forward(g, [f for f, _ in g.frames(sent - 62)])
    assert g.ch.read(0.3) is None and h.port()["sent"] == sent < 90
    h.end()


@pytest.mark.parametrize("command", ["reset-stats", "clear"])
def test_counters_of_a_generator(host, command):  # noqa: F811
    """Zero; frames in flight are still expected, or written off: then they come late."""
    h = host("port=gen:count=40,flows=1")
    g = h.guest()
    frames = [f for f, _ in g.frames(40)]
    forward(g, frames[:20])
    h.wait("received", 20)
    assert h.hostctl(command).returncode == 0
    s = h.port()
    assert (s["sent"], s["received"], s["from_guest_frames"]) == (0, 0, 0)
    assert s["outstanding"] == (20 if command == "reset-stats" else 0)
    forward(g, frames[20:])
    h.wait("from_guest_frames", 20)
    s = h.port()
    late = command == "clear"
    assert (s["received"], s["late"], s["lost"], s["outstanding"], s["damaged"]) == \
        (0 if late else 20, 20 if late else 0, 0, 0, 0)
    h.end()


@pytest.mark.parametrize("command", ["reset-stats", "clear"])
@pytest.mark.parametrize("port, key", [
    ("sink", "from_guest_frames"), ("echo", "from_guest_frames"), ("echo", "sent"),
    ("dpdk:net_null0,no-rx=1", "from_guest_frames"), ("dgram:{0}/a,{0}/b", "unusable")])
def test_counters_of_a_port(host, tmp_path, port, key, command):  # noqa: F811
    h = host("port=" + port.format(tmp_path))
    g = h.guest()
    for _ in range(2):
        if "dgram" in port:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
                s.sendto(b"short", f"{tmp_path}/a")
        else:
            send(g, bytes(60))
        h.wait(key, 1)
        assert h.hostctl(command).returncode == 0 and h.port()[key] == 0
    h.end()


def test_words_of_vf(host):  # noqa: F811
    """vf plug | unplug [planned|surprise] | flap N, from a shell."""
    h = host("port=sink")
    h.guest()
    assert h.hostctl("vf", "plug", "3").returncode == 0
    assert h.nic()["vf_serial"] == 3 and h.nic()["vf"] != "none"
    assert "No such device" in h.hostctl("vf", "unplug", "surprise").stderr, "it has no wire"
    assert h.hostctl("vf", "unplug", "planned").returncode == 0 and h.nic()["vf"] == "none"
    assert h.hostctl("vf", "plug", "serial=4").returncode == 0
    assert h.hostctl("vf", "unplug").returncode == 0 and h.nic()["vf"] == "none"
    assert h.hostctl("vf", "flap", "2", "ms=1000").returncode == 0 and h.nic()["vf_flaps"] == 2
    for wrong in (("unplug", "rudely"), ("plug",), ("plug", "x"), ("fly",), ("cut", "off")):
        assert h.hostctl("vf", *wrong).returncode != 0, wrong


# --- all of them ------------------------------------------------------------------------------

def commands():
    found = set()
    for p in (ROOT / "host").rglob("*.c"):
        if "test" not in p.parts:
            found |= set(re.findall(r'strcmp\(cmd, "([a-z-]+)"\)', p.read_text()))
    return found - {"cut", "mend"}  # of a VF's leg: vf action=...


def test_every_command_is_explained_and_tested():
    table = (ROOT / "doc" / "hv_host.rst").read_text().split("Control: hv-hostctl")[1]
    table = table.split("Rules a guest must keep")[0]
    assert commands() - set(re.findall(r"``([a-z-]+)", table)) == set()
    tests = "".join(p.read_text() for p in (ROOT / "test" / "host").glob("*.py"))
    assert [c for c in sorted(commands()) if f'"{c}"' not in tests] == []
