# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures of the guest tests: hosts and guests that end, and are checked, with the test."""
import contextlib
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import guest as g  # noqa: E402
import pmd  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: the selection that CI runs on each submission")


@pytest.fixture(scope="session", autouse=True)
def built():
    """QEMU is built before the first test's clock runs."""
    g.image.qemu()


@pytest.fixture
def start(tmp_path):
    """start(host arguments, guest=keywords) -> (host, guest); both are checked at the end."""
    with contextlib.ExitStack() as stack:
        def begin(*args, program="hv-host", kernel="6.1", **guest):
            host = stack.enter_context(g.Host(tmp_path, *args, program=program))
            return host, stack.enter_context(g.Guest(tmp_path, host, kernel, **guest))
        yield begin


@pytest.fixture
def dpdk(start):
    """dpdk(NIC, kernel) -> (host, guest): the NIC belongs to uio_hv_generic."""
    def begin(*nics, kernel, cpus=2, memory=1024, bind=True, options=(), **guest_args):
        args = [*options, *(a for n in nics for a in ("--nic", n))]
        image = g.image.with_dpdk(g.image.kernel(kernel), g.BUILD)
        host, guest = start(*args, kernel=kernel, cpus=cpus, memory=memory, initrd=image,
                            **guest_args)
        pmd.prepare(guest, len(nics), bind)
        return host, guest
    return begin
