# SPDX-License-Identifier: BSD-3-Clause
"""Linux's hv_vmbus against the host's bus: every version, offers, unload, reboot, crash."""
import pytest

KERNELS = ["6.1", "6.12"]
VERSIONS = ["5.3", "5.2", "5.1", "5.0", "4.1", "4.0", "3.0", "2.4"]


@pytest.mark.smoke
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_version(start, kernel, version):
    _, guest = start("--nic", "x", "--vmbus-max", version, program="hv-host-echo",
                     kernel=kernel)
    guest.run("modprobe hv_vmbus")
    guest.until("an offer", "ls /sys/bus/vmbus/devices/*/class_id")
    assert "{f8615163-df3e-46c5-913f-f2d2f965ed0e}" in guest.run(
        "cat /sys/bus/vmbus/devices/*/class_id")
    assert f"Vmbus version:{version}" in guest.console()
    guest.run("rmmod hv_vmbus")
