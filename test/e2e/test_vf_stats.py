# SPDX-License-Identifier: BSD-3-Clause
"""Statistics are the sums of both paths, whatever becomes of the VF and of its counters."""
import re

import vf
from console import Console
from hv import Host, until
from telemetry import Telemetry


def test_exact(run, tmp):
    """Traffic by both paths over flaps of a VF that forgets its counters: every frame counts."""
    wire = f"socket-abstract=no,socket={tmp}/vf.sock"
    host = run(Host, nics=[f"vf-leg=(dpdk:net_memif0,role=server,{wire}),"
                           "port=gen:rate=10k,start=command"])
    one = vf.Vf(tmp, inner="net_memif0")
    app = run(Console, host, "--forward-mode=macswap", telemetry=True,
              eal=["--vdev", f"net_memif0,role=client,{wire}", *one.by_application()])
    app.do("start")
    host.command("start", nic=0)
    before = app.stats()
    names = set(app.xstats())
    for serial in range(4):
        vf.to_vf(host, serial)
        seen = host.stats()["nics"][0]["vf_from_guest"]
        until(lambda: host.stats()["nics"][0]["vf_from_guest"] > seen + 50, "traffic by the VF")
        now = app.stats()
        assert all(now[k] >= before[k] for k in now), (before, now)
        before = now
        assert set(app.xstats()) == names, "ids do not depend on a VF"
        vf.remove(host, app)
    assert set(app.xstats()) == names
    host.command("stop", nic=0)
    until(lambda: host.port()["silence_ns"] > 2e8, "the last has come back")
    dropped = int(re.search(r"TX-dropped: (\d+)", app.do("stop"))[1])  # by the application
    stats = app.stats()
    assert stats["RX-packets"] == stats["TX-packets"] + dropped, stats
    assert stats["RX-bytes"] == stats["TX-bytes"] or dropped
    by_queue = Telemetry(app).ask("/ethdev/stats,0")  # of the only queue, by both paths
    assert by_queue["q_ipackets"][0] == stats["RX-packets"]
    assert by_queue["q_opackets"][0] == stats["TX-packets"]
    assert host.port()["received"] <= stats["TX-packets"] <= host.port()["sent"]
    app.do("clear port stats 0")
    assert all(v == 0 for v in app.stats().values())
    host.command("clear", nic=0)  # what a VF lost with its rings is not this test's
    app.quit()
    host.end()
