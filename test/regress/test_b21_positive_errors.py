# SPDX-License-Identifier: BSD-3-Clause
"""B21: net_netvsc returns positive error numbers, which applications take for success."""
import errno
import re

import pytest

from hv import ROOT

SOURCES = sorted(p for d in ("drivers", "lib") for p in (ROOT / d).rglob("*.[ch]"))
NUMBER = re.compile(r"(?<!-)\b(errno|" + "|".join(errno.errorcode.values()) + r")\b")
# Where one may stand without its sign: DPDK's own errno, compared, kept over a handler, put into
# words; and as an argument of functions that take it so and return it with its sign.
ALLOWED = re.compile(r"\brte_errno = E[A-Z0-9]+;|"
                     r"\berrno ([!=]= (E[A-Z0-9]+|0)\b|= (0|-?rc|error);)|int error = errno;|"
                     r"[!=]= E[A-Z0-9]+\b|case E[A-Z0-9]+:|(strerror|open_errno)\(errno\)|"
                     r"log_open_error\(dev, path, errno\)|rte_flow_error_set\(error, E[A-Z0-9]+,")


def code(path):
    """Its text without comments, strings and preprocessor."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    text = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', text)
    return re.sub(r"(?m)^\s*#.*$", "", text)


def bare(text):
    return [line.strip() for line in text.splitlines() if NUMBER.search(ALLOWED.sub("", line))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_sign(path):
    """Every error number has its sign, except where errno itself is looked at."""
    assert bare(code(path)) == []


@pytest.mark.parametrize("line", [
    "return EIO;", "return rc ? EIO : 0;", "rc = errno;", "done(p, ETIMEDOUT);",
    "return (EINVAL);", "if (rc == EIO) return EIO;", "int rc = ok ? 0 : errno;", "return errno;"])
def test_finds(line):
    """What the test is to find, it finds."""
    assert bare(line) == [line]
