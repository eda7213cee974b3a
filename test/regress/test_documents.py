# SPDX-License-Identifier: BSD-3-Clause
"""Every test that a page of doc/ names exists, and the tables are complete."""
import re

import pytest

from hv import ROOT

DOC = ROOT / "doc"
NAMED = re.compile(r"``(\w+\.(?:c|py)):(\w+)``")
# More than one, where directories have files of one name.
ALL = [p for p in (ROOT / "test").rglob("*") if p.suffix in (".c", ".py")]


@pytest.mark.parametrize("page", sorted(p.name for p in DOC.glob("*.rst")))
def test_names(page):
    for file, name in NAMED.findall((DOC / page).read_text()):
        texts = [p.read_text() for p in ALL if p.name == file]
        assert texts, f"{page}: no {file}"
        pattern = rf"(?m)^def {name}\(" if file.endswith(".py") else rf"(?m)^{name}\(void"
        assert any(re.search(pattern, t) for t in texts), f"{page}: no {name} in {file}"


def test_defects():
    text = (DOC / "defects.rst").read_text()
    rows = text.split("   * - B")[1:]
    assert [int(r.split("\n")[0]) for r in rows] == list(range(1, 36))
    stock = (ROOT / "test" / "e2e" / "test_stock_defects.py").read_text()
    for row in rows:
        _, _, seen, ours = row.split("\n     - ")
        assert NAMED.search(ours), row
        assert seen in ("measured", "elsewhere", "reading") or \
            f"def {seen.strip('`')}(run" in stock, row
    # What is seen of the stock driver is told, and nothing else.
    seen = {seen for row in rows for seen in re.findall("``(test_[a-z_]+)``\n", row)}
    assert seen == set(re.findall(r"(?m)^def (test_\w+)\(", stock))


def test_past_defects():
    """Each fix has a row, each row a test or the reason why it cannot occur."""
    text = (DOC / "past_defects.rst").read_text()
    rows = text.split("\n    * - ")[1:]
    rows = [r for r in rows if not r.startswith("commit\n")]
    assert len(set(re.findall(r"\b[0-9a-f]{10}\b", text))) == 98
    for row in rows:
        assert NAMED.search(row) or "cannot occur: " in row.replace("\n", " "), row


def test_devargs():
    """The driver's list of names, what it tells users, and the page for them are the same."""
    driver = ROOT / "drivers" / "net" / "hvnetvsc"
    source = (driver / "hvn_devargs.c").read_text()
    names = set(re.findall(r'"(\w+)"', re.search(r"names\[\] = {(.*?)}", source, re.S)[1])) | {"vf"}
    assert len(names) > 10
    told = re.search(r"HVN_DEVARGS_HELP(.*?)\n\n", (driver / "hvn_devargs.h").read_text(), re.S)[1]
    assert set(re.findall(r"(\w+)=<", told)) == names
    assert set(re.findall(r"``(\w+)=<", (DOC / "hvnetvsc.rst").read_text())) == names


def test_suites():
    named = re.findall(r"``((?:e2e|guest|unit|bench)(?:/[\w.]+)?)``",
                       (DOC / "suites.rst").read_text())
    assert len(named) > 30
    assert [n for n in named if not (ROOT / "test" / n).exists() and not (ROOT / n).exists()] == []
