# SPDX-License-Identifier: BSD-3-Clause
"""NVSP of the synthetic NIC: versions, order, buffers, RNDIS control."""
import struct

import nicguest as ng
import pytest

ALL = [ng.V1, ng.V2, ng.V4, ng.V5, ng.V6, ng.V61]


@pytest.mark.parametrize("version", ALL)
def test_bring_up(nichost, version):
    h = nichost()
    g = h.guest().handshake(version)
    assert g.slot_size == 256 + 1514 + 36 and g.slots == ng.RECV_PAGES * ng.PAGE // g.slot_size
    assert g.section == 6144
    status, major, minor, flags, medium, packets, size, align, _, _ = g.rndis_init()
    assert (status, major, minor, flags, medium) == (0, 1, 0, 1, 0)
    assert (packets, size, align) == (8, 0xEFFFFFFF, 3)
    assert g.query(ng.OID_MAC) == (0, bytes.fromhex("00155d000001"))
    assert g.set(ng.OID_FILTER, struct.pack("<I", 0xB)) == 0
    assert h.stats()["nvsp_version"] == version
    h.end()


def test_data_both_ways(nichost):
    h = nichost()
    g = h.guest().up()
    frame = bytes(range(60))
    h.inject(frame)
    assert [f for f, _ in g.frames(1)] == [frame]
    tid = g.section_send(0, [ng.packet(frame)])
    assert g.completion(tid) == ng.SUCCESS
    assert h.taken(1) == [(frame, 0, 0)]
    h.end()
