# SPDX-License-Identifier: BSD-3-Clause
"""doc/hvnetvsc.ini says what the driver can, no more and no less."""
import collections
import configparser
import re

from hv import BUILD, ROOT, App, Host, Program, lcores
from test_examples import SymmetricMp

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
# What another process shows.
PROCESSES = {"Multiprocess aware": "processes"}
# What there is to read, in doc/; and where it runs.
PAGES = {"Usage doc": "hvnetvsc.rst", "Perf doc": "performance.rst", "Design doc": "design.rst"}
WORLD = {"Linux", "x86-64"}


def wanted(needs, have):
    """Y, P if only a part is there, None."""
    found = set(needs.split()) & have
    return None if not found else "Y" if found == set(needs.split()) else "P"


BINARY = BUILD / "test" / "e2e" / "features"


class Features(App):
    """Says what port 0 has: it is asked, not read."""
    binary = BINARY

    def told(self):
        self.ended(0)
        return told(self.text)


def told(text):
    said = collections.defaultdict(set)
    for kind, name in re.findall(r"(?m)^(op|offload|capability|has) (\S+)\r?$", text):
        said[kind].add(name)
    return said


def claims():
    ini = configparser.ConfigParser(delimiters="=", comment_prefixes=";")
    ini.optionxform = str
    ini.read(ROOT / "doc" / "hvnetvsc.ini")
    # Flow rules are the VF's: what of them works is not this driver's to claim.
    assert ini.sections() == ["Features"]
    return dict(ini["Features"])


def test_processes(huge_dir, run):
    """A secondary process receives from a queue of its own, which is another application's."""
    host = run(Host, nics=["queues=2,overflow=drop,port=gen:rate=1k,flows=64,verify=no",
                           "queues=2,port=sink"])
    first = run(SymmetricMp, host, "-p", "3", "--num-procs=2", "--proc-id=0",
                memory=["--huge-dir", huge_dir, "-m", "128"], cores=0)
    first.expect("using queue 0")
    second = run(Program, [BINARY, *first.plugins, *lcores(1), "--no-pci", "--no-telemetry",
                           "--proc-type=secondary", "--file-prefix", first.prefix],
                 {"HV_VMBUS_SOCKET": str(host.socket)})
    second.wait()
    for feature, needs in PROCESSES.items():
        assert claims().get(feature) == wanted(needs, told(second.text)["has"]), second.text
    first.end()
    host.end()


def test_features(run):
    claimed = claims()
    host = run(Host, nics=["rsc=yes,port=gen:rate=1k,verify=no"])  # LRO is the host's to offer
    have = run(Features, host, cores=0).told()
    host.end()
    for features, kind in ((OPS, "op"), (OFFLOADS, "offload"), (CAPABILITIES, "capability"),
                           (HAS, "has")):
        for feature, needs in features.items():
            assert claimed.get(feature) == wanted(needs, have[kind]), feature
    for feature, page in PAGES.items():
        assert (claimed.get(feature) == "Y") == (ROOT / "doc" / page).exists(), feature
    # Nothing is claimed that is not checked, nothing offered that is not claimed.
    assert set(claimed) <= {*OPS, *OFFLOADS, *CAPABILITIES, *HAS, *PROCESSES, *PAGES, *WORLD}
    assert have["op"] <= {*PLAIN, *(op for needs in OPS.values() for op in needs.split())}
    assert have["offload"] <= {*OTHER_OFFLOADS,
                               *(n for needs in OFFLOADS.values() for n in needs.split())}
