"""The network of a host, as its tools say it."""

from pyinfra_nspawn.facts.base import Part
from pyinfra_nspawn.facts.network import Firewall, Network, parse_network

LINKS = b"""[
{"ifname": "enp1s0", "address": "52:54:00:00:00:01", "mtu": 1500, "flags": []},
{"ifname": "lo", "mtu": 65536, "flags": []}
]"""
ROUTES = b'[{"dst":"default","gateway":"192.0.2.1","dev":"enp1s0"}]\n[]\n'
# As NetworkManager 1.52 prints it.
DEVICES = b"""GENERAL.DEVICE:enp1s0
GENERAL.STATE:100 (connected)
GENERAL.CON-UUID:4e4436a8-a6f7-3b67-9ec7-3b54d34f85b8
IP4.DNS[1]:192.0.2.1
IP6.DNS[1]:fe80::2

GENERAL.DEVICE:lo
GENERAL.STATE:100 (connected (externally))
GENERAL.CON-UUID:d07de5ff-52ef-466b-8710-8437b11fb719
"""
CONNECTIONS = b"""4e4436a8-a6f7-3b67-9ec7-3b54d34f85b8:/run/a\\:b \\\\.nmconnection
d07de5ff-52ef-466b-8710-8437b11fb719:
"""


def seen(*parts: Part) -> Network:
    found = parse_network([Part(("links",), LINKS), Part(("routes",), ROUTES), *parts])
    assert isinstance(found, Network)
    return found


def test_networkmanager_s_links_and_profiles():
    found = seen(Part(("network-manager",), DEVICES), Part(("profiles",), CONNECTIONS))
    assert found.network_manager
    assert found.links["enp1s0"].profile == "4e4436a8-a6f7-3b67-9ec7-3b54d34f85b8"
    assert found.links["enp1s0"].dns == ("192.0.2.1", "fe80::2")
    assert found.links["enp1s0"].is_by_network_manager
    assert not found.links["lo"].is_by_network_manager  # it only knows of it
    assert found.profiles == {
        "4e4436a8-a6f7-3b67-9ec7-3b54d34f85b8": "/run/a:b \\.nmconnection",
        "d07de5ff-52ef-466b-8710-8437b11fb719": "",
    }


def test_a_networkmanager_that_does_not_run_is_none():
    found = seen(Part(("network-manager",), b"", 8, b"Error: NetworkManager is not running."))
    assert not found.network_manager
    assert not found.links["enp1s0"].is_by_network_manager


# As firewalld 2.3 answers, less its descriptions.
FIREWALL = b"""{"type":"s","data":["public"]}
{"type":"a{sa{sas}}","data":[{"trusted":{"interfaces":["ve-+"],"sources":[]},"public":{"interfaces":[]}}]}
{"type":"a{sv}","data":[{"target":{"type":"s","data":"default"},"services":{"type":"as","data":["ssh"]},\
"forward":{"type":"b","data":true}}]}
"""


def test_firewalld():
    found = seen(Part(("firewall",), FIREWALL), Part(("bridge-filter",), b"1"))
    assert found.firewall == Firewall("public", ("ssh",), forwards=True, zones={"ve-+": "trusted"})
    assert found.firewall.zone_of("ve-web") == "trusted"
    assert found.firewall.zone_of("vz-lab") is None
    assert found.bridge_filter
    assert seen(Part(("firewall",), b"", 1, b"Call failed")).firewall is None
