# SPDX-License-Identifier: BSD-3-Clause
"""VF association and the data path, as a host of another hand tells and asks."""
import pytest

import second
from console import Console
from secondhost import config, frames, netvsp
from second import rig  # noqa: F401 (a fixture)
from vf import Vf, said

BATCH = frames.mixed(60, seed=11)


@pytest.fixture
def failover(rig, tmp):
    """A running NIC with a VF that the driver probes when it is told of it."""
    def start(**settings):
        vf = Vf(tmp, mac=":".join(f"{b:02x}" for b in frames.GUEST))
        vf.nic = f"hv_vmbus:{config.NicConfig.instance}"
        r = rig(second.NicConfig(**settings), cls=Console, eal=vf.by_driver()).up()
        r.program.do("start")
        return r
    return start


def on_path(r, path):
    r.host.until(lambda: r.nic.session and r.nic.session.data_path == path
                 and r.nic.session.switching is None, f"data path {path}")


def end(r):
    r.program.do("stop")
    r.idle()
    r.program.quit()
    r.host.verdict()


def through_vf(r):
    """What comes on the synthetic path while the VF serves is received all the same."""
    r.host.until(lambda: r.program.xstats()["path_is_vf"], "transmission through the VF")
    assert "Burst mode: VF, " in r.program.do("show txq info 0 0")
    assert "Burst mode: VF and synthetic" in r.program.do("show rxq info 0 0")
    before, sent = r.program.xstats(), len(r.nic.sent)
    with r.host.lock:
        r.nic.receive(BATCH, 9)
    r.host.until(lambda: r.program.xstats()["vf_tx_packets"] - before["vf_tx_packets"]
                 >= len(BATCH), "frames through the VF")
    assert len(r.nic.sent) == sent


@pytest.mark.parametrize("serial", [0, 7])
@pytest.mark.parametrize("notice", [False, True], ids=["", "notice"])
def test_comes_and_goes(failover, serial, notice):
    """Any serial is good; a withdrawal repeats it, after a notice that the path is synthetic."""
    r = failover()
    r.echo(BATCH, 8)
    with r.host.lock:
        r.nic.vf_association(True, serial)
    on_path(r, 1)
    through_vf(r)
    with r.host.lock:
        if notice:
            r.nic.session.data_path = 0
            r.nic.notify(netvsp.SWITCH, 0, ident=1 << 63 | 1, completion=True)
        r.nic.vf_association(False, serial)
    said(r.program, "is given up")
    on_path(r, 0)
    r.host.until(lambda: not r.program.xstats()["path_is_vf"], "the synthetic path")
    r.echo(BATCH, 8)
    assert r.nic.session.switches[0] == 1
    end(r)


def test_from_the_start(failover):
    """Associated while the driver waits for the answers of its start."""
    r = failover(vf=3, reply_first=True)
    on_path(r, 1)
    through_vf(r)
    end(r)


def test_slow_switch(failover):
    """The completion may take its time: until then the synthetic path sends, nothing is lost,
    and no second request is made, not even when the VF is withdrawn meanwhile."""
    r = failover()
    r.nic.hold_switch = True
    with r.host.lock:
        r.nic.vf_association(True, 1)
    r.host.until(lambda: r.nic.session.switching, "a switch")
    r.echo(BATCH, 8)
    with r.host.lock:
        r.nic.vf_association(False, 1)
    r.echo(BATCH, 8)
    with r.host.lock:
        r.nic.hold_switch = False
        r.nic.switched()
    on_path(r, 0)
    said(r.program, "is given up")
    r.echo(BATCH, 8)
    end(r)


def test_another_serial(failover):
    """Two associations in a row, the second with another serial; repeated ones change nothing."""
    r = failover()
    for serial, switches in ((1, [1]), (1, [1]), (2, [1, 0, 1])):
        with r.host.lock:
            r.nic.vf_association(True, serial)
        r.host.until(lambda: r.nic.session.switches == switches, f"switches {switches}")
        on_path(r, 1)
    through_vf(r)
    for _ in range(2):
        with r.host.lock:
            r.nic.vf_association(False, 2)
    on_path(r, 0)
    r.host.until(lambda: not r.program.xstats()["path_is_vf"], "the synthetic path")
    r.echo(BATCH, 8)
    end(r)


def test_restart(failover):
    """The channel closes and opens: the host tells again, the driver asks again."""
    r = failover(vf=4)
    on_path(r, 1)
    r.program.restart("port config mtu 0 1400")
    r.program.do("start")
    r.up()
    on_path(r, 1)
    through_vf(r)
    end(r)


def test_left_on_the_vf(rig):
    """Hosts keep the data path over a close. Without the VF, it is asked back."""
    r = rig(second.NicConfig(vf=7, data_path=1), cls=Console).up()
    r.program.do("start")
    on_path(r, 0)
    assert r.nic.session.switches == [0]
    r.echo(BATCH, 8)
    end(r)


def test_before_version_4(failover):
    """A host of NVSP 2 knows no VFs; what it says of one is ignored."""
    r = failover(nvsp=(config.V2,))
    with r.host.lock:
        r.nic.vf_association(True, 1)
    r.echo(BATCH, 8)
    assert r.nic.session.switches == []
    end(r)
