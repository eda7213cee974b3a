# SPDX-License-Identifier: BSD-3-Clause
"""doc/hvnetvsc.ini says what the driver can, no more and no less."""
import configparser
import re

from console import Console
from hv import ROOT, Host

# A feature, and the functions or offloads that make it (doc/guides/nics/features.rst of DPDK).
OPS = {
    "Link status": "link_update",
    "Rx interrupt": "rx_queue_intr_enable rx_queue_intr_disable",
    "Free Tx mbuf on demand": "tx_done_cleanup",
    "Queue start/stop": "rx_queue_start rx_queue_stop tx_queue_start tx_queue_stop",
    "Burst mode info": "rx_burst_mode_get tx_burst_mode_get",
    "Power mgmt address monitor": "get_monitor_addr",
    "MTU update": "mtu_set",
    "Promiscuous mode": "promiscuous_enable promiscuous_disable",
    "Allmulticast mode": "allmulticast_enable allmulticast_disable",
    "Multicast MAC filter": "set_mc_addr_list",
    "Unicast MAC filter": "mac_addr_add mac_addr_remove",
    "RSS key update": "rss_hash_update rss_hash_conf_get",
    "RSS reta update": "reta_update reta_query",
    "VLAN filter": "vlan_filter_set",
    "VLAN offload": "vlan_offload_set",
    "Flow control": "flow_ctrl_get flow_ctrl_set",
    "Packet type parsing": "dev_supported_ptypes_get",
    "Basic stats": "stats_get stats_reset",
    "Extended stats": "xstats_get xstats_get_names xstats_reset",
    "FW version": "fw_version_get",
    "EEPROM dump": "get_eeprom",
    "Registers dump": "get_reg",
}
OFFLOADS = {
    "Scattered Rx": "SCATTER",
    "TSO": "TCP_TSO",
    "LRO": "TCP_LRO",
    "RSS hash": "RSS_HASH",
    "L3 checksum offload": "IPV4_CKSUM",
    "L4 checksum offload": "TCP_CKSUM UDP_CKSUM",
    "Fast mbuf free": "MBUF_FAST_FREE",
    "QinQ offload": "QINQ_STRIP QINQ_INSERT",
    "Timestamp offload": "TIMESTAMP",
}
CAPABILITIES = {
    "Runtime Rx queue setup": "RUNTIME_RX_QUEUE_SETUP",
    "Runtime Tx queue setup": "RUNTIME_TX_QUEUE_SETUP",
}


def test_features(run):
    ini = configparser.ConfigParser(delimiters="=", comment_prefixes=";")
    ini.optionxform = str
    ini.read(ROOT / "doc" / "hvnetvsc.ini")
    claimed = set(ini["Features"])
    source = (ROOT / "drivers" / "net" / "hvnetvsc" / "hvn_ethdev.c").read_text()
    ops = set(re.findall(r"^\t\.(\w+) = ", source, re.M))
    host = run(Host, nics=["rsc=yes,port=sink"])  # LRO is the host's to offer
    app = run(Console, host)
    told = set(re.findall(r"\w+", app.do("show port 0 rx_offload capabilities") +
                          app.do("show port 0 tx_offload capabilities") +
                          app.do("show port info 0")))
    app.quit()
    host.end()
    for features, have in ((OPS, ops), (OFFLOADS, told), (CAPABILITIES, told)):
        for feature, needs in features.items():
            assert (feature in claimed) == (set(needs.split()) <= have), feature


def test_defects():
    """Every test that doc/defects.rst names exists."""
    text = (ROOT / "doc" / "defects.rst").read_text()
    named = re.findall(r"``(test_\w+\.(?:c|py)):(\w+)``", text)
    assert len(set(re.findall(r"\* - (B\d+)", text))) == 35 and len(named) > 20
    for file, name in named:
        [path] = [p for p in (ROOT / "test").rglob(file) if p.parent.name != "host"]
        assert re.search(rf"\b{name}\b", path.read_text()), f"{file}: {name}"
