# SPDX-License-Identifier: BSD-3-Clause
"""The driver against a host of another hand: versions, queues, frames byte for byte."""
import pytest

import second
from secondhost import config, frames


@pytest.fixture
def rig(tmp, run):
    """rig(nic, ...): a second host and dpdk-testpmd; both end with the test."""
    rigs = []

    def start(*nics, **more):
        rigs.append(second.Rig(tmp, run, *nics, name=f"second{len(rigs)}", **more))
        return rigs[-1]

    yield start
    for r in rigs:
        r.close()


@pytest.mark.parametrize("vmbus, nvsp", [
    ((5, 3), config.V61), ((5, 2), config.V6), ((5, 1), config.V5), ((5, 0), config.V4),
    ((4, 1), config.V2), ((4, 0), config.V1), ((3, 0), config.V61), ((2, 4), config.V5)])
def test_versions(rig, vmbus, nvsp):
    """Each VMBus and each NVSP version comes up, sends and receives, and ends in good order."""
    r = rig(second.NicConfig(nvsp=(nvsp,)), bus=second.BusConfig([vmbus])).up()
    assert r.host.bus.version == vmbus and r.nic.session.version == nvsp
    assert r.nic.session.asked == [v for v in config.NVSP_VERSIONS if v >= nvsp]
    r.echo(frames.mixed(200), 7)
    r.end()
