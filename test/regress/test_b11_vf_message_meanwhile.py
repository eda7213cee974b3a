# SPDX-License-Identifier: BSD-3-Clause
"""B11: a VF association that arrives while net_netvsc awaits an answer fails its probe."""
import pytest

import vf
from console import ANY_PROMPT, Console
from hv import Host

BODY = "80000000" + "01000000" + "07000000"  # NVSP_VF_ASSOC, allocated, serial 7


@pytest.mark.parametrize("ms", [0, 1, 5])
def test_while_probing(run, tmp, ms):
    """It comes in the middle of the handshake: the port is there, and so is the VF."""
    host = run(Host, nics=[f"reply-delay=3,vf=7:{ms},port=sink"])
    one = vf.Vf(tmp)
    app = run(Console, host, eal=one.by_driver())
    assert "Port 0: " in app.text
    vf.wait_path(host, "vf")
    app.quit()
    host.end()


def test_while_waiting(run, tmp):
    """Notices of any kind while an answer is awaited: the answer is taken, no notice is lost."""
    host = run(Host, nics=["reply-delay=300,port=sink"])
    app = run(Console, host, eal=vf.Vf(tmp).by_driver())
    app.type("set promisc 0 off")
    for _ in range(3):  # the same again, as hosts may send it
        assert host.command("raw", nic=0, queue=0, type=6, payload=BODY.ljust(80, "0"))["ok"]
    vf.add(host, 7)
    app.expect(ANY_PROMPT)
    assert "fail" not in app.text.lower()
    assert host.command("filter", nic=0)["filter"] & 0x20 == 0
    vf.wait_path(host, "vf")
    app.quit()
    host.end()
