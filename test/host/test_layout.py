# SPDX-License-Identifier: BSD-3-Clause
"""What can be read off the source: sizes and offsets of lib/hvwire, violations of hv-host."""
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
HVWIRE = ROOT / "lib" / "hvwire"
LAYOUT = HVWIRE / "hvwire_layout.c"


def without_comments(path):
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)


def structures(path):
    """Name and body of each."""
    return re.findall(r"(?ms)^struct (\w+) \{(.*?)^\}", without_comments(path))


def fields(body):
    """Names of all fields, also those inside of unnamed and named structures."""
    return {re.split(r"\[", n)[0].strip().split()[-1]
            for decl in re.sub(r"\b(struct|union)\s*\{", ";", body).replace("HVWIRE_PACKED", "")
            .replace("}", " ; x ").split(";")
            for n in decl.split(",") if n.strip()} - {"x"}


@pytest.mark.parametrize("name", [p.name for p in sorted(HVWIRE.glob("*_wire.h"))] +
                         ["vmbus_user.h", "hvwire.h"])
def test_all_is_asserted(name):
    text = without_comments(HVWIRE / name)
    found = structures(HVWIRE / name)
    assert found
    blocks = dict(re.findall(r"(?ms)^#define T (\w+)\n(.*?)^#undef T", LAYOUT.read_text()))
    for struct, body in found:
        assert f"HVWIRE_SIZE(struct {struct}," in text, struct
        if struct == "hv_guid":  # bytes only
            continue
        asserted = set(re.findall(r"\bAT\((?:\w+(?:\[1\])?\.)?(\w+),", blocks[struct]))
        assert asserted == fields(body), struct


def test_violations_name_bytes():
    """The offending bytes belong to every violation; a file that was cut off has none."""
    bare = [call for path in (ROOT / "host").rglob("*.c")
            for call in re.findall(r"\b(?:host_violation|tx_broken|nic_fatal)\([^;]*?\bNULL, 0,",
                                   path.read_text())]
    assert len(bare) == 1 and "mem.truncated" in bare[0], bare
