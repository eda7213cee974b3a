# SPDX-License-Identifier: BSD-3-Clause
"""What "make install" puts where, and that EAL and the shell find it there."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from hv import BUILD, PLUGINS, Host, Testpmd, install, until


@pytest.fixture
def root():
    """Not in /tmp: EAL takes no plug-in from below a directory that all may write."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="install.", dir=BUILD))
    yield path
    shutil.rmtree(path)


def test_install(run, root):
    plugins = install(root)
    found = {p.name: p for p in root.rglob("*") if p.is_file()}
    for plugin, built in zip(plugins, PLUGINS):
        assert plugin.stat().st_size > 0 and plugin.name == built.name
    for name in ("hv-host", "hv-hostctl", "hv-devbind", "testpmd-hv"):
        assert os.access(found[name], os.X_OK), name
        assert found[name].parent.name == "bin", name

    subprocess.run([found["hv-host"], "--help"], check=True, capture_output=True)
    host = run(Host, nics=["port=gen:rate=50k,count=500,start=command,expect=return"])
    app = run(type("Installed", (Testpmd,), {"plugins": [a for p in plugins for a in ("-d", p)]}),
              host, "--forward-mode=macswap", "--stats-period=1")
    app.expect("NIC statistics")
    ask = [found["hv-hostctl"], host.control_path]
    subprocess.run([*ask, "-n", "0", "start"], check=True, capture_output=True)
    until(lambda: subprocess.run([*ask, "-n", "0", "-k", "port.received", "stats"], check=True,
                                 capture_output=True, text=True).stdout.strip() == "500",
          "500 packets back")
    app.end()
    host.end()
