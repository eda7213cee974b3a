# SPDX-License-Identifier: BSD-3-Clause
"""doc/hvnetvsc.ini says what the driver can, no more and no less."""
import configparser
import re

from hv import BUILD, ROOT, Host, Testpmd

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
    "Flow control": "flow_ctrl_get flow_ctrl_set",
    "Packet type parsing": "dev_supported_ptypes_get dev_ptypes_set",
    "Basic stats": "stats_get stats_reset",
    "Extended stats": "xstats_get xstats_get_names xstats_reset",
    "FW version": "fw_version_get",
    "Timesync": "timesync_enable timesync_disable",
    "Module EEPROM dump": "get_module_info get_module_eeprom",
    "Traffic manager": "tm_ops_get",
    "EEPROM dump": "get_eeprom",
    "Registers dump": "get_reg",
}
# Ops that belong to no feature, or to every driver.
PLAIN = """dev_configure dev_start dev_stop dev_close dev_reset is_removed dev_set_link_up
    dev_set_link_down mac_addr_set dev_infos_get rx_queue_setup rx_queue_release
    vlan_offload_set tx_queue_setup tx_queue_release
    rxq_info_get txq_info_get eth_dev_priv_dump flow_ops_get""".split()
OFFLOADS = {
    "Scattered Rx": "SCATTER",
    "TSO": "TCP_TSO",
    "LRO": "TCP_LRO",
    "RSS hash": "RSS_HASH",
    "L3 checksum offload": "IPV4_CKSUM",
    "L4 checksum offload": "TCP_CKSUM UDP_CKSUM",
    "VLAN offload": "VLAN_STRIP VLAN_INSERT",
    "Fast mbuf free": "MBUF_FAST_FREE",
    "QinQ offload": "QINQ_STRIP QINQ_INSERT",
    "Timestamp offload": "TIMESTAMP",
    "MACsec offload": "MACSEC_STRIP",
    "Inner L3 checksum": "OUTER_IPV4_CKSUM",
    "Inner L4 checksum": "OUTER_UDP_CKSUM",
    "Inline crypto": "SECURITY",
    "Buffer split": "BUFFER_SPLIT",
    "CRC offload": "KEEP_CRC",
    "Lock-free Tx queue": "MT_LOCKFREE",
}
CAPABILITIES = {
    "Runtime Rx queue setup": "RUNTIME_RX_QUEUE_SETUP",
    "Runtime Tx queue setup": "RUNTIME_TX_QUEUE_SETUP",
}
OTHER_OFFLOADS = {"MULTI_SEGS"}  # every driver's
# What no table says: by a flag, a value, or a function beside the table.
HAS = {
    "Speed capabilities": "speed_capa",
    "Link status event": "INTR_LSC",
    "Removal event": "INTR_RMV",
    "Rx descriptor status": "rx_descriptor_status",
    "Tx descriptor status": "tx_descriptor_status",
    "Stats per queue": "q_ipackets",
}
# What another process would have to show, as test_multiprocess.py has it do.
SOURCE = {"Multiprocess aware": r"rte_eth_dev_attach_secondary\("}
# What there is to read, in doc/; and where it runs.
PAGES = {"Usage doc": "hvnetvsc.rst", "Perf doc": "performance.rst", "Design doc": "design.rst"}
WORLD = {"Linux", "x86-64"}


def wanted(needs, have):
    """Y, P if only a part is there, None."""
    found = set(needs.split()) & have
    return None if not found else "Y" if found == set(needs.split()) else "P"


class Features(Testpmd):
    """Says what port 0 has: it is asked, not read."""
    binary = BUILD / "test" / "e2e" / "features"

    def app_args(self, cores):
        return []

    def told(self):
        self.ended(0)
        said = {}
        for kind, name in re.findall(r"(?m)^(op|offload|capability|has) (\S+)\r?$", self.text):
            said.setdefault(kind, set()).add(name)
        return said


def test_features(run):
    ini = configparser.ConfigParser(delimiters="=", comment_prefixes=";")
    ini.optionxform = str
    ini.read(ROOT / "doc" / "hvnetvsc.ini")
    claimed = dict(ini["Features"])
    host = run(Host, nics=["rsc=yes,port=gen:rate=1k,verify=no"])  # LRO is the host's to offer
    told = run(Features, host, cores=0).told()
    host.end()
    for features, kind in ((OPS, "op"), (OFFLOADS, "offload"), (CAPABILITIES, "capability"),
                           (HAS, "has")):
        for feature, needs in features.items():
            assert claimed.get(feature) == wanted(needs, told[kind]), feature
    folder = ROOT / "drivers" / "net" / "hvnetvsc"
    source = "".join(p.read_text() for p in folder.glob("hvn_*.c"))
    for feature, pattern in SOURCE.items():
        assert (claimed.get(feature) == "Y") == bool(re.search(pattern, source)), feature
    for feature, page in PAGES.items():
        assert (claimed.get(feature) == "Y") == (ROOT / "doc" / page).exists(), feature
    # Flow rules are the VF's: what of them works is not this driver's to claim.
    assert ini.sections() == ["Features"]
    # Nothing is claimed that is not checked, nothing offered that is not claimed.
    assert set(claimed) <= {*OPS, *OFFLOADS, *CAPABILITIES, *HAS, *SOURCE, *PAGES, *WORLD}
    assert told["op"] <= {*PLAIN, *(op for needs in OPS.values() for op in needs.split())}
    assert told["offload"] <= {*OTHER_OFFLOADS,
                               *(n for needs in OFFLOADS.values() for n in needs.split())}
