"""The host's ends of guests' links, where NetworkManager has them."""

import base64
from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.network import Network
from pyinfra_nspawn.plans.host import plan_host
from pyinfra_nspawn.plans.links import PAIRS, RULES, guest_links, uuid_of, zone_path
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.specs import HostSettings
from tests.unit.seen import HOST, guest, snapshot

MANAGER = Network({}, network_manager=True)
EQUIPPED = replace(HOST, commands=(*HOST.commands, "dnsmasq", "nft"))


def planned(seen: Network = MANAGER, facts: object = EQUIPPED, **fields: object) -> Plan:
    wanted = (guest(**fields),)
    return plan_host(HostSettings(), wanted, snapshot(host_facts=facts, network=seen), (guest_links,))


def files(found: Plan) -> dict[str, tuple[str, str]]:
    (step,) = found.steps
    lines = (line.split(" ") for line in step.payload.splitlines())
    return {path: (mode, base64.b64decode(content).decode()) for mode, path, content in lines}


def test_networkmanager_is_given_a_rule_and_a_profile():
    found = files(planned())
    assert found[RULES][0] == "644"
    assert 'ENV{NM_UNMANAGED}="0"' in found[RULES][1]
    mode, profile = found[PAIRS]
    assert mode == "600"  # NetworkManager ignores what others can read
    assert {"interface-name=ve-*;", "method=shared", f"uuid={uuid_of(PAIRS)}"} <= set(profile.splitlines())


def test_a_zone_is_a_bridge_of_networkmanager_s():
    (found,) = files(planned(network="zone:lab")).items()
    assert found[0] == zone_path("lab")
    mode, profile = found[1]
    assert mode == "600"
    assert {"type=bridge", "interface-name=vz-lab", "method=shared"} <= set(profile.splitlines())


def test_a_foreign_file_is_refused():
    found = planned(replace(MANAGER, foreign={RULES: ()}))
    assert [finding.kind for finding in found.errors] == ["foreign"]
    assert not found.steps


def test_it_is_done_once():
    contents = {path: content for path, (_, content) in files(planned()).items()}
    assert planned(replace(MANAGER, files=contents, profiles={uuid_of(PAIRS): PAIRS})) == Plan("")
    assert planned(replace(MANAGER, files=contents)).steps  # it was not loaded


@pytest.mark.parametrize(
    ("seen", "fields"),
    [
        (Network({}), {}),
        (replace(MANAGER, networkd=True), {}),
        (MANAGER, {"network": "bridge:br0"}),
        (MANAGER, {"network": "host"}),
        (MANAGER, {"state": "absent"}),
    ],
)
def test_others_need_none(seen, fields):
    assert planned(seen, **fields) == Plan("")


def test_what_networkmanager_lacks_is_a_note():
    found = planned(facts=HOST)
    assert [note.field for note in found.notes] == ["commands.dnsmasq", "commands.nft"]
    assert found.steps
