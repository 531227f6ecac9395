"""What `status` says of a host's network."""

import io

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.network import Link, Network
from pyinfra_nspawn.reports.status import LinkStatus, Status, status_of
from pyinfra_nspawn.reports.visit import Visit
from pyinfra_nspawn.specs import HostSettings
from tests.unit.seen import snapshot

BRIDGED = Network(
    {
        "br0": Link("br0", kind="bridge", addresses=("192.0.2.10/24",), managed=True),
        "enp1s0": Link("enp1s0", master="br0", managed=True),
        "vb-web": Link("vb-web", kind="veth", master="br0"),
        "enp2s0": Link("enp2s0", addresses=("198.51.100.1/24",)),
    },
    uplinks=("br0",),
)


def status(network: object) -> Status:
    return status_of([Visit("one", HostSettings(), (), snapshot(network=network))])


def test_a_host_s_bridges_and_the_links_of_its_default_routes():
    found = status(BRIDGED)
    assert found.hosts[0].links == (
        LinkStatus(
            name="br0",
            manager="systemd-networkd",
            addresses=("192.0.2.10/24",),
            ports=("enp1s0", "vb-web"),
        ),
    )
    shown = io.StringIO()
    found.show(shown)
    assert "br0 192.0.2.10/24 with enp1s0, vb-web" in shown.getvalue()


def test_networkmanager_s_links():
    link = Link("enp1s0", addresses=("192.0.2.10/24",), manager_state="connected", profile="a")
    found = status(Network({"enp1s0": link}, uplinks=("enp1s0",))).hosts[0].links
    assert [(one.name, one.manager) for one in found] == [("enp1s0", "NetworkManager")]


def test_a_network_that_could_not_be_read():
    assert status(Unreadable("it has no ip")).hosts[0].links == ()
