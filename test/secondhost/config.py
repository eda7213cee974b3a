# SPDX-License-Identifier: BSD-3-Clause
"""What hosts may differ in: of the bus and of a NIC."""
import dataclasses
import uuid

V1, V2, V4, V5, V6, V61 = 0x2, 0x30002, 0x40000, 0x50000, 0x60000, 0x60001
NVSP_VERSIONS = [V61, V6, V5, V4, V2, V1]


@dataclasses.dataclass
class BusConfig:
    versions: list  # VMBus versions that are accepted
    message_connection: int = 1  # for messages after contact, from 5.0 on
    no_connection_4: bool = False
    first_relid: int = 1
    relid_step: int = 1
    gpadl_status: int = 0
    open_status: int = 0
    features: int = 3  # of the socket: eventfds as doorbells, as interrupts


@dataclasses.dataclass
class NicConfig:
    instance: uuid.UUID = uuid.UUID("0000155d-0203-4d01-9a1c-00155d010203")
    mac: bytes = bytes.fromhex("00155d010203")
    offer_rest: bytes = bytes(16)  # offsets 40..55 of an offer: meaning unknown
    user_data: bytes = bytes(120)
    first_monitor: int = 6  # None: no monitor
    nvsp: tuple = tuple(NVSP_VERSIONS)
    refusal: int = 0
    init_complete_bytes: int = 28
    reply_bytes: int = 40
    slot: int = None  # bytes of a receive section; None: what OpenVMM would take
    slots: int = None  # at most
    recv_status: int = 1
    send_section: int = 6144
    send_status: int = 1
    max_packets: int = 8
    max_transfer: int = 0xEFFFFFFF
    alignment: int = 3
    queues: int = 1  # most
    grant: int = None  # fewer sub-channels than asked
    offer_order: str = "up"  # of the sub-channels
    table: tuple = None  # send indirection table; None: no message
    table_offset: int = 12
    rss_entries: int = 128
    mtu: int = 1500  # most that the switch takes
    link_speed: int = 10000  # Mb/s
    reply_first: bool = False  # an RNDIS reply before the completion of its request
    complete_late: bool = False  # an RNDIS request behind the next one
    ids: str = "slot"  # transaction ids of received packets: slot, random, top
    order: str = "up"  # of the slots of a packet: up, down, random
    offload: bytes = None  # NDIS_OFFLOAD
    vf: int = None  # serial of a VF
    data_path: int = 0  # as a session before left it
    # Hostile hosts: other packets than the right completion, by NVSP type: f(id) -> packets
    replies: dict = dataclasses.field(default_factory=dict)
    # other RNDIS answers, by OID (INITIALIZE: None): f(request id) -> messages
    answers: dict = dataclasses.field(default_factory=dict)
    on_open: object = None  # f(bus, channel) instead of an answer to OPENCHANNEL

    def monitor_id(self, index):
        return None if self.first_monitor is None else self.first_monitor + index
