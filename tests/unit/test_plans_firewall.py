"""Guests whose frames firewalld drops."""

import pytest

from pyinfra_nspawn.facts.network import Firewall, Network
from pyinfra_nspawn.plans.firewall import firewall
from pyinfra_nspawn.plans.host import plan_host
from pyinfra_nspawn.specs import HostSettings
from tests.unit.seen import guest, snapshot

PUBLIC = Firewall("public", services=("ssh", "dhcpv6-client"))
UNFORWARDED = Firewall("public", forwards=False)


def problems(found: Firewall | None, network: str, **seen: object) -> list[str]:
    seen = {"networkd": True, **seen}
    wanted = (guest(network=network),)
    plan = plan_host(
        HostSettings(), wanted, snapshot(network=Network({}, firewall=found, **seen)), (firewall,)
    )
    assert not plan.steps
    return [f"{note.problem} {note.hint}" for note in plan.notes]


@pytest.mark.parametrize(
    ("network", "links"), [("veth", "ve-+"), ("default", "ve-+"), ("zone:lab", "vz-lab")]
)
def test_a_zone_that_admits_no_dhcp_is_a_note(network, links):
    (problem,) = problems(PUBLIC, network)
    assert f"guests on {links}: its zone public admits none" in problem
    assert f"Put {links} in a zone" in problem


@pytest.mark.parametrize(
    ("found", "network", "seen"),
    [
        (None, "veth", {}),
        (Firewall("home", services=("dhcp",)), "veth", {}),
        (Firewall("trusted", accepts=True), "veth", {}),
        (Firewall("public", zones={"ve-+": "trusted"}), "veth", {}),
        (Firewall("public", zones={"vz-lab": "mine"}), "zone:lab", {}),
        (PUBLIC, "host", {}),
        (PUBLIC, "veth", {"networkd": False, "network_manager": True}),
        (UNFORWARDED, "bridge:br0", {}),
        (PUBLIC, "bridge:br0", {"bridge_filter": True}),
        (Firewall("public", forwards=False, zones={"br0": "mine"}), "bridge:br0", {"bridge_filter": True}),
    ],
)
def test_others_are_none(found, network, seen):
    assert problems(found, network, **seen) == []


def test_a_bridge_whose_frames_are_filtered_and_not_forwarded_is_a_note():
    (problem,) = problems(UNFORWARDED, "bridge:br0", bridge_filter=True)
    assert "the frames that cross br0: its zone public forwards none" in problem
    assert "--zone=public --add-forward`" in problem
