# SPDX-License-Identifier: BSD-3-Clause
"""B21: net_netvsc returns positive error numbers, which applications take for success."""
import re

import pytest

from hv import ROOT

SOURCES = sorted([*(ROOT / "drivers").rglob("*.c"), *(ROOT / "lib").rglob("*.c")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_sign(path):
    """An errno is negated where it is returned or kept, and errno itself too."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    for line in text.splitlines():
        assert not re.search(r"\breturn\s+(E[A-Z0-9]{3,}|errno)\s*;", line), line
        assert not re.search(r"\b(rc|ret)\s*=\s*(E[A-Z0-9]{3,}|errno)\s*;", line), line
