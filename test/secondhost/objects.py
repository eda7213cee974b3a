# SPDX-License-Identifier: BSD-3-Clause
"""NDIS objects: what a host reports, what a guest may set."""
import struct

from . import rndis
from .config import V4, V5


def offload(checksum4=0x155, checksum6=0x55, lso=0xF53C, rsc=0):
    """NDIS_OFFLOAD revision 3: everything that a driver looks for, unless told otherwise."""
    out = struct.pack("<BBH", 0xA7, 3, 156)
    out += struct.pack("<8I", 2, checksum4, 2, checksum4, 2, checksum6, 2, checksum6)
    out += bytes(16 + 28)  # LSOv1, IPsec
    out += struct.pack("<3I", 2, lso, 2) if lso else bytes(12)
    out += struct.pack("<4I", 2, lso, 2, 0x5) if lso else bytes(16)
    out += bytes(4) + bytes(32) + struct.pack("<BBH", rsc, rsc, 0) + bytes(8)
    assert len(out) == 156
    return out


def rss_capabilities(queues, entries):
    return struct.pack("<BBHIIIH", 0x88, 2, 18, 0x301, queues, queues, entries)


def check_query(rules, oid, data, version):
    """The input of a query, where it has one."""
    if oid == rndis.OFFLOAD_HARDWARE:
        wanted = (3, 156) if version >= V5 else (2, 144) if version >= V4 else (1, 112)
        kind, revision, size = struct.unpack_from("<BBH", data.ljust(4, b"\0"))
        rules.equal((kind, revision, size, len(data)), (0xA7, *wanted, wanted[1]),
                    "header of the hardware capabilities query")
        rules.zero(data[4:], "input of the hardware capabilities query")
    elif oid == rndis.RSS_CAPABILITIES:
        rules.check(data[:1] == b"\x88", f"RSS capabilities query: {data.hex()}")
        rules.zero(data[4:], "input of the RSS capabilities query")


def check_offload_parameters(rules, data, version):
    wanted = 28 if version >= V5 else 22
    revision = 3 if version >= V5 else 2
    kind, rev, size = struct.unpack_from("<BBH", data)
    rules.equal((kind, rev, size, len(data)), (0x80, revision, wanted, wanted),
                "offload parameters' header")
    rules.check(all(v <= 4 for v in data[4:9]), f"checksum parameters {data[4:9].hex()}")
    rules.check(data[9] <= 1 and data[10] == 0, "LSOv1, IPsec parameters")
    rules.check(data[11] <= 2 and data[12] <= 2, "LSOv2 parameters")
    rules.zero(data[13:20], "rest of the offload parameters")
    if version < V5:
        rules.check(data[6] in (0, 1) and data[8] in (0, 1), "UDP checksum before NVSP 5")
    else:
        rules.zero(data[26:28], "end of the offload parameters")


def check_rss(rules, data, channels, entries):
    """RSS parameters; the table, or None for 'off'."""
    if not rules.check(len(data) >= 40, f"RSS parameters of {len(data)} bytes"):
        return None
    (kind, rev, size, flags, cpu, info, table_size, pad, table_at, key_size, pad2, key_at, *masks
     ) = struct.unpack_from("<BBHHHIHHIHHIIII", data)
    rules.equal((kind, rev, size), (0x89, 2, 40), "RSS parameters' header")
    rules.equal((cpu, pad, pad2, *masks), (0, 0, 0, 0, 0, 0), "RSS parameters' unused fields")
    rules.check(flags & ~0x10 == 0, f"RSS flags {flags:#x}: not all hosts know 'unchanged'")
    if flags & 0x10 or not info & 0xFF:
        return None
    rules.check(info & 0xFF == 1 and info & ~0x1FF01 == 0 and info > 1, f"RSS hash {info:#x}")
    rules.equal(key_size, 40, "RSS key size")
    ok = rules.check(table_size and table_size % 4 == 0 and table_size // 4 <= entries,
                     f"RSS table of {table_size} bytes")
    rules.equal((table_at, key_at, len(data)), (40, 40 + table_size, 80 + table_size),
                "RSS offsets")
    if not ok:
        return None
    table = struct.unpack_from(f"<{table_size // 4}I", data, table_at)
    rules.check(all(t in channels for t in table), f"RSS table names {set(table)}, open {channels}")
    return table
