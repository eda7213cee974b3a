# SPDX-License-Identifier: BSD-3-Clause
"""Fixtures: programs that end with their test and leave nothing, hugepages for a while."""
import fcntl
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

import capture
import hv

HUGE_PAGES = 256


@pytest.fixture(scope="session", autouse=True)
def what_is_tested():
    """The build tree, not something installed or named by the environment."""
    assert "HV_VMBUS_SOCKET" not in os.environ
    there = [p for p in (hv.EAL_PLUGINS / built.name for built in hv.PLUGINS) if p.exists()]
    if there:
        with tempfile.TemporaryDirectory() as root:
            new = {p.name: p.read_bytes() for p in hv.install(pathlib.Path(root))}
        for path in there:
            assert path.read_bytes() == new[path.name], \
                f"{path} is not what was built: run make install, or remove it"


@pytest.fixture
def tmp():
    """A short path: a Unix socket's name has 107 bytes."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="hv-e2e."))
    yield path
    shutil.rmtree(path)


def mentions(text):
    """Processes with a text in their command line or environment."""
    found = []
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if any(text in (proc / f).read_bytes() for f in ("cmdline", "environ")):
                found.append((proc.name, (proc / "cmdline").read_bytes()))
        except OSError:
            pass
    return found


@pytest.fixture
def run(tmp):
    """run(Class, ...): a program that is ended with the test; then nothing of it is left."""
    started = []

    def start(cls, *args, **more):
        if issubclass(cls, hv.Host):
            args = (tmp, *args)
        started.append(cls(*args, **more))
        return started[-1]

    yield start
    # Guests first; then every host that still runs is asked what it thinks of them.
    try:
        for program in reversed(started):
            if not isinstance(program, hv.Host):
                program.kill()
        for host in started:
            if isinstance(host, hv.Host) and host.proc.poll() is None:
                host.end(status=host.verdict)
    finally:
        for program in started:
            program.kill()
    assert mentions(str(tmp).encode()) == []
    left = [p for p in tmp.iterdir() if p.is_socket()]
    # A socket may only be left by a host that the test killed.
    killed = [p for p in started if p.proc.returncode == -9]
    assert left == [] or killed, left
    for program in started:
        prefix = getattr(program, "prefix", None)
        if prefix is None:
            continue
        for place in ("/dev/hugepages", "/var/run/dpdk"):
            assert list(pathlib.Path(place).glob(f"{prefix}*")) == []


@pytest.fixture(scope="module")
def hugepages():
    """Reserve hugepages; give them back before other tests, which must not find them."""
    if os.geteuid() != 0:
        pytest.skip("only root can reserve hugepages")
    # The lock is on the kernel's own directory: no file is left, nor removed under a waiter.
    lock = os.open(hv.HUGE, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = int((hv.HUGE / "nr_hugepages").read_text())
        (hv.HUGE / "nr_hugepages").write_text(str(before + HUGE_PAGES))
        try:
            free = int((hv.HUGE / "free_hugepages").read_text())
            assert free >= HUGE_PAGES, f"the kernel gave {free} of {HUGE_PAGES} hugepages"
            yield
        finally:
            (hv.HUGE / "nr_hugepages").write_text(str(before))
    finally:
        os.close(lock)


@pytest.fixture
def huge_dir(hugepages, tmp):
    """Files of hugepages, that another process can map."""
    where = tmp / "huge"
    where.mkdir()
    subprocess.run(["mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", where], check=True)
    try:
        yield where
    finally:
        # The kernel lets go of files behind the end of their processes.
        hv.until(lambda: subprocess.run(["umount", where], capture_output=True).returncode == 0,
                 f"umount {where}")
        where.rmdir()


@pytest.fixture(scope="session")
def frames():
    """The capture: a list of (flow, bytes)."""
    return capture.make()
