# SPDX-License-Identifier: BSD-3-Clause
"""Options of hv-host that change what a guest or a user sees, and nothing else."""
import struct
import subprocess

import nicguest as ng
import vmu
from control import control
from nicframes import frame
from test_bus import BUILD
from test_bus import host  # noqa: F401 (a fixture)


def test_control_socket(host, tmp_path):  # noqa: F811
    """Elsewhere than beside the first one; hv-host leaves neither behind."""
    at = tmp_path / "elsewhere"
    (tmp_path / "s.ctl").symlink_to(at)  # where the fixture looks for it
    h = host("--control", at)
    assert control(h, cmd="stats")["ok"]
    h.end()
    assert not at.exists()


def test_what_offers_say(host):  # noqa: F811
    h = host("--message-conn-id", "4660", "--mmio", "77")
    g = vmu.Guest(h.path)
    assert g.contact(5, 3) == 1 and g.conn == 4660
    g.offers()
    offer = next(m for m in g.msgs if m[0] == 1)
    assert struct.unpack_from("<H", offer, 58)[0] == 77
    h.end()


def test_name(host):  # noqa: F811
    h = host("--name", "a host of many words")
    g = vmu.Guest(h.path, hello=False)
    g.send(vmu.HELLO, struct.pack("<4IQ64s", 1, 0, 2, 0, 0, b"pytest"))
    assert b"a host of many words\0" in g.wait(vmu.HELLO_ACK)
    h.end()


def test_numa_node(host):  # noqa: F811
    """Where its memory comes from."""
    h = host("--numa", "0")
    with open(f"/proc/{h.proc.pid}/numa_maps", encoding="ascii") as f:
        assert " prefer:0 " in f.read()
    h.end()


def test_numa_node_that_is_not_there(tmp_path):
    out = subprocess.run([BUILD / "host" / "hv-host", "--socket", tmp_path / "s", "--nic",
                          "port=sink", "--numa", "900"], capture_output=True, text=True)
    assert out.returncode == 1 and "900" in out.stderr


def test_link_at_start(nichost):
    """As hosts do, it says "connected" when asked, and nothing of its own; frames are lost."""
    h = nichost("link=down")
    g = h.guest().up()
    assert g.query(ng.OID_CONNECT) == (0, bytes(4)) and not h.stats()["link"]
    assert g.completion(g.section_send(0, [ng.packet(frame())])) == ng.SUCCESS
    assert h.taken(1, 0.1) == []
    h.inject(frame(1))
    assert g.frames(1, seconds=0.1) == []
    h.cmd("link", state="up")
    assert g.indication()[0] == 0x4001000B
    assert g.frames(1)[0][0] == frame(1)
    h.end()


def test_smallest_frame_size(nichost):
    """Of the sizes a guest may ask for; what is below becomes 1514."""
    h = nichost("mtu-min=600")
    for asked, used in ((599, 1514), (600, 600)):
        g = h.guest().handshake(mtu=asked)
        g.rndis_init()
        assert g.query(ng.OID_FRAME_SIZE) == (0, struct.pack("<I", used - 14))
        g.g.sock.close()
        assert ng.until(lambda: h.stats()["state"] != "ready")
    h.end()
