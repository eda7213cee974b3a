# SPDX-License-Identifier: BSD-3-Clause
"""B16: while net_netvsc stops a VF, every burst of every queue waits for its lock."""
import vf
from hv import Host, Testpmd, until
from test_ethdev import GEN


def test_bursts_go_on(run, tmp):
    """A VF whose stop does not come to an end: the synthetic path serves meanwhile."""
    host = run(Host, nics=[GEN])
    one = vf.Vf(tmp)
    app = run(Testpmd, host, "--forward-mode=macswap", interactive=True, eal=one.by_driver())
    app.expect("testpmd> ")
    app.type("start")
    vf.to_vf(host)
    one.do("hold")
    assert host.command("vf", nic=0, action="unplug")["ok"]
    vf.wait_path(host, "synthetic")
    before = host.port()["received"]
    until(lambda: host.port()["received"] > before + 1000, "frames over the synthetic path")
    assert "is given up" not in app.text
    one.do("release")
    app.expect("is given up")
    app.type("stop")
    app.expect("Accumulated")
    app.type("quit")
    assert app.wait() == 0, app.text
    app.forget()
    host.end()
