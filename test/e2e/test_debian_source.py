# SPDX-License-Identifier: BSD-3-Clause
"""How set-up gets sources: with an apt configuration of its own, and a word when it cannot."""
import os
import pathlib
import subprocess

import pytest

from hv import ROOT

# In place of apt-get: keeps what it was told and given, and brings no package.
APT_GET = """#!/bin/sh
echo "$@" >> "$KEPT/calls"
for word in "$@"; do
    case $word in Dir::Etc::sourceparts=*) cp "${word#*=}"/* "$KEPT" ;; esac
done
case "$*" in *" update"*) exit 0 ;; esac
echo "E: Unable to find a source package"
exit 100
"""


@pytest.fixture
def fetch(tmp_path):
    for name, text in (("apt-get", APT_GET), ("dpkg-source", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "kept").mkdir()
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}",
           "KEPT": str(tmp_path / "kept")}
    return lambda *args: subprocess.run([ROOT / "scripts/debian-source.sh", *map(str, args)],
                                        env=env, capture_output=True, text=True)


def test_private_configuration(fetch, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in pathlib.Path("/etc/apt").rglob("*")}
    r = fetch("dpdk", "1.2-3", tmp_path / "out")
    assert r.returncode == 1
    assert "no source package dpdk 1.2-3" in r.stderr and "run set-up again" in r.stderr
    assert "Unable to find" in r.stderr, "what apt said is shown"
    calls = (tmp_path / "kept/calls").read_text().splitlines()
    assert [c.rsplit(" ", 1)[-1] for c in calls] == ["update", "dpdk=1.2-3"]
    for call in calls:
        assert "Dir::Etc::sourcelist=/dev/null" in call
        assert f"Dir::State::lists={tmp_path}/out/apt/lists" in call
    given = [line for p in (tmp_path / "kept").iterdir() if p.name != "calls"
             for line in p.read_text().splitlines() if line.startswith(("deb", "Types:"))]
    assert given and all(line.startswith(("deb-src", "Types: deb-src")) for line in given)
    assert before == {p: p.stat().st_mtime_ns for p in pathlib.Path("/etc/apt").rglob("*")}


def test_usage(fetch):
    r = fetch("dpdk")
    assert r.returncode == 2 and "usage:" in r.stderr
