"""A host's bridge: what a plan finds, what it refuses, and what it has the host try."""

import base64
from dataclasses import replace

import pytest

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.network import Link, Network
from pyinfra_nspawn.plans.host import all_concerns_of, plan_host
from pyinfra_nspawn.plans.network import network
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.specs import HostSettings
from tests.unit.seen import error, snapshot

ORIGINAL = "/etc/systemd/network/00-original.network"
OURS = "/etc/systemd/network/0-pyinfra-nspawn-br0"
UPLINK = Link(
    "enp1s0",
    mac="52:54:00:00:00:01",
    permanent_mac="52:54:00:00:00:01",
    addresses=("192.0.2.7/24",),
    network_file=ORIGINAL,
    managed=True,
    dns=("192.0.2.53",),
    client_id=b"\xff\x00\x00\x00\x2a\x00\x02rest",
)
PLAIN = Network({"enp1s0": UPLINK, "lo": Link("lo")}, {4: "192.0.2.1"}, ("enp1s0",), networkd=True)


def settings(**bridge: object) -> HostSettings:
    return HostSettings.of({"bridge": {"uplinks": ["en*"], **bridge}}, "test")


def planned(seen: object = PLAIN, **bridge: object) -> Plan:
    return plan_host(settings(**bridge), (), snapshot(network=seen), (network,))


def with_links(*links: Link, **fields: object) -> Network:
    return replace(PLAIN, links={link.name: link for link in links}, **fields)


def lines(found: Plan) -> list[list[str]]:
    (step,) = found.steps
    return [line.split(" ") for line in step.payload.splitlines()]


def kept(found: Plan) -> dict[str, str]:
    """Return the files that are kept, by path; nothing for one that is removed."""
    return {
        path: "" if content == "-" else base64.b64decode(content).decode()
        for word, path, content in (line for line in lines(found) if line[0] == "etc")
    }


def bridged(**bridge: object) -> Network:
    """Return the host's network once that bridge is made."""
    link = replace(
        UPLINK, name="br0", kind="bridge", network_file=f"{OURS}.network", mtu=bridge.get("mtu", 1500)
    )
    port = replace(
        UPLINK,
        master="br0",
        network_file=f"{OURS}-uplink0.network",
        addresses=(),
        client_id=b"",
        mtu=link.mtu,
    )
    addresses = tuple(bridge.get("addresses", link.addresses))
    return with_links(port, replace(link, addresses=addresses), files=kept(planned(**bridge)))


def test_without_a_bridge_the_network_is_left_alone():
    assert plan_host(HostSettings(), (), snapshot(network=PLAIN), (network,)) == Plan("")
    unread = snapshot(network=Unreadable("no ip"))
    assert plan_host(HostSettings(), (), unread, (network,)) == Plan("")


def test_the_article_s_files_come_out_of_the_smallest_inventory():
    files = kept(planned())
    assert set(files) == {f"{OURS}.netdev", f"{OURS}.network", f"{OURS}-uplink0.network"}

    def settings_of(path: str) -> list[str]:
        return [line for line in files[path].splitlines() if line and not line.startswith("#")]

    assert settings_of(f"{OURS}.netdev") == [
        *("[NetDev]", "Name=br0", "Kind=bridge"),
        "MACAddress=52:54:00:00:00:01",
    ]
    assert settings_of(f"{OURS}-uplink0.network") == [
        *("[Match]", "Name=en*", "Type=ether"),
        *("[Network]", "Bridge=br0"),
    ]
    assert "DHCP=ipv4" in settings_of(f"{OURS}.network")
    assert "IAID=42" in settings_of(f"{OURS}.network")


def test_what_is_tried_comes_before_what_is_there_and_is_in_run_alone():
    found = planned()
    tried = [name for word, name, _ in (line for line in lines(found) if line[0] == "run")]
    assert tried == [
        "0+pyinfra-nspawn-br0.netdev",
        "0+pyinfra-nspawn-br0.network",
        "0+pyinfra-nspawn-br0-uplink0.network",
    ]
    assert all(name < path.rpartition("/")[2] for name in tried for path in (f"{OURS}.netdev", ORIGINAL))
    assert ["made", "br0"] in lines(found)
    assert ["address", "br0"] in lines(found)
    assert ["answer", "192.0.2.53"] in lines(found)
    (step,) = found.steps
    assert step.confirmation.seconds == 30
    assert step.arguments == ("30", step.confirmation.digest)


@pytest.mark.parametrize(
    "bridge", [{}, {"mtu": 1400}, {"addresses": ["192.0.2.9/24"], "dhcp": "no"}, {"mac": "52:54:00:00:00:09"}]
)
def test_a_bridge_that_is_as_desired(bridge):
    assert planned(bridged(**bridge), **bridge) == Plan("")


def test_the_mac_and_the_lease_s_identity_are_taken_once():
    seen = bridged()
    other = replace(seen.links["enp1s0"], mac="52:54:00:00:00:02", permanent_mac="52:54:00:00:00:02")
    assert planned(replace(seen, links={**seen.links, "enp1s0": other})) == Plan("")


def test_a_lease_by_mac_stays_one_by_mac():
    seen = with_links(replace(UPLINK, client_id=b"\x01\x52\x54\x00\x00\x00\x01"))
    assert "ClientIdentifier=mac" in kept(planned(seen))[f"{OURS}.network"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda seen: replace(seen, links={"enp1s0": seen.links["enp1s0"]}), "bridge br0 does not exist"),
        (
            lambda seen: replace(
                seen, links={**seen.links, "enp1s0": replace(seen.links["enp1s0"], master="")}
            ),
            "enp1s0 is no port of br0",
        ),
        (
            lambda seen: replace(seen, files={**seen.files, f"{OURS}.network": "# x"}),
            f"{OURS}.network differs",
        ),
        (
            lambda seen: replace(seen, files={**seen.files, f"{OURS}-uplink1.network": "# x"}),
            f"{OURS}-uplink1.network is not wanted any more",
        ),
    ],
)
def test_a_change_by_hand_is_a_finding_and_a_step(change, problem):
    found = planned(change(bridged()))
    assert [finding.problem for finding in found.findings] == [problem]
    assert [step.verb for step in found.steps] == ["network"]


def test_the_mtu_in_force_is_compared():
    seen = bridged(mtu=1400)
    wrong = replace(seen, links={**seen.links, "br0": replace(seen.links["br0"], mtu=1500)})
    assert [item.problem for item in planned(wrong, mtu=1400).findings] == ["the MTU of br0 is 1500"]


@pytest.mark.parametrize(
    ("seen", "bridge", "kind", "problem"),
    [
        (PLAIN, {"uplinks": ["wl*"]}, "impossible", "no link matches uplink wl*"),
        (
            with_links(UPLINK, replace(UPLINK, name="enp2s0")),
            {},
            "impossible",
            "uplink en* matches enp1s0, enp2s0",
        ),
        (
            PLAIN,
            {"uplinks": ["enp1s0", "52:54:00:00:00:01"]},
            "impossible",
            "uplinks enp1s0 and 52:54:00:00:00:01 are the same link, enp1s0",
        ),
        (
            with_links(replace(UPLINK, wireless=True)),
            {},
            "impossible",
            "enp1s0 is a Wi-Fi station, and access points drop the frames of a bridge behind one",
        ),
        (with_links(replace(UPLINK, master="bond0")), {}, "impossible", "enp1s0 is a port of bond0 already"),
        (
            with_links(replace(UPLINK, network_file="/run/systemd/network/10-netplan-enp1s0.network")),
            {},
            "impossible",
            "enp1s0 is configured by netplan: /run/systemd/network/10-netplan-enp1s0.network",
        ),
        (
            with_links(replace(UPLINK, network_file="/etc/systemd/network/10-cloud-init-enp1s0.network")),
            {},
            "impossible",
            "enp1s0 is configured by cloud-init: /etc/systemd/network/10-cloud-init-enp1s0.network",
        ),
        (
            with_links(replace(UPLINK, manager_state="disconnected", managed=False)),
            {},
            "impossible",
            "systemd-networkd does not configure enp1s0",
        ),
        (
            with_links(replace(UPLINK, managed=False)),
            {},
            "impossible",
            "systemd-networkd does not configure enp1s0",
        ),
        (
            with_links(replace(UPLINK, network_file="/etc/systemd/network/!first.network")),
            {},
            "impossible",
            "/etc/systemd/network/!first.network comes before our files, and would win",
        ),
        (
            with_links(UPLINK, Link("tun0", addresses=("10.0.0.1/24",))),
            {"addresses": ["10.0.0.1/8"]},
            "impossible",
            "10.0.0.1 is an address of tun0 already",
        ),
        (
            with_links(UPLINK, Link("br0", kind="bridge")),
            {},
            "foreign",
            "a bridge br0 exists that no file of ours makes",
        ),
        (with_links(UPLINK, Link("br0", kind="bond")), {}, "foreign", "br0 is a link already, and no bridge"),
        (
            replace(PLAIN, change="running"),
            {},
            "interrupted",
            "a change of the network is being tried",
        ),
        (Unreadable("no ip"), {}, "unreadable", "the host's network could not be read: no ip"),
    ],
)
def test_a_host_is_refused(seen, bridge, kind, problem):
    found = error(planned(seen, **bridge), kind)
    assert found.problem == problem
    assert found.hint


def test_what_was_cut_off_is_finished_or_undone_first():
    found = planned(replace(PLAIN, change="stale"))
    assert [step.verb for step in found.steps] == ["network-recover"]
    assert [finding.kind for finding in found.findings] == ["interrupted"]


def test_a_vlan_on_the_same_hardware_is_another_link():
    vlan = replace(UPLINK, name="enp1s0.7", kind="vlan")
    seen = with_links(UPLINK, vlan)
    assert "Type=ether" in kept(planned(seen))[f"{OURS}-uplink0.network"]
    assert planned(seen, uplinks=["52:54:00:00:00:01"]).steps
    assert "Type=" not in kept(planned(seen, uplinks=["enp1s0.7"]))[f"{OURS}-uplink0.network"]


def test_a_link_of_a_guest_is_no_uplink():
    seen = with_links(UPLINK, replace(UPLINK, name="ve-web"), replace(UPLINK, name="vb-web"))
    assert planned(seen, uplinks=["*"]).steps


ARTICLE = {
    "/etc/systemd/network/br0.netdev": ("Name=br0", "Kind=bridge"),
    "/etc/systemd/network/br0.network": ("Name=br0",),
    "/etc/systemd/network/br0-bind.network": ("Name=en*", "Bridge=br0"),
    "/etc/systemd/network/lan.network": ("Name=lan0",),
}
MADE_BY_HAND = with_links(
    replace(UPLINK, master="br0", addresses=(), network_file="/etc/systemd/network/br0-bind.network"),
    replace(UPLINK, name="br0", kind="bridge", mac="52:54:00:00:00:99"),
    foreign=ARTICLE,
)


def test_a_bridge_made_by_hand_is_refused():
    found = error(planned(MADE_BY_HAND), "foreign")
    assert found.hint == "Set `adopt` on the bridge, or give it another name."


def test_a_bridge_made_by_hand_is_adopted_with_its_mac():
    found = planned(MADE_BY_HAND, adopt=True)
    assert "MACAddress=52:54:00:00:00:99" in kept(found)[f"{OURS}.netdev"]
    assert [path for word, path in (line for line in lines(found) if line[0] == "aside")] == sorted(
        path for path in ARTICLE if "br0" in path
    )
    assert ["made", "br0"] not in lines(found)


def test_a_bridge_is_removed_and_its_uplink_gets_its_file_back():
    found = planned(bridged(), state="absent")
    assert lines(found)[1] == ["copy", "0+pyinfra-nspawn-br0-uplink0.network", ORIGINAL]
    assert ["gone", "br0"] in lines(found)
    assert ["address", "enp1s0"] in lines(found)
    assert list(kept(found)) == [f"{OURS}-uplink0.network", f"{OURS}.netdev", f"{OURS}.network"]
    assert planned(state="absent") == Plan("")


def test_a_bridge_with_guests_is_not_removed():
    seen = bridged()
    used = replace(seen, links={**seen.links, "vb-web": Link("vb-web", kind="veth", master="br0")})
    assert error(planned(used, state="absent")).problem == "guests use bridge br0: vb-web"


def test_an_adopted_bridge_whose_past_is_unknown_is_not_removed():
    seen = replace(MADE_BY_HAND, files=kept(planned(MADE_BY_HAND, adopt=True)), foreign={})
    assert "was configured before is unknown" in error(planned(seen, state="absent")).problem


def test_a_bridge_changes_its_name_by_being_removed_first():
    found = planned(bridged(), name="br1")
    assert error(found).hint == "Remove that first: `bridge: {name: br0, state: absent}`."
    assert [note.problem for note in found.notes] == [
        "bridge br0 is ours, and the inventory does not name it"
    ]


def test_the_last_revert_is_told_of():
    found = planned(replace(PLAIN, verdict=("br0 got no address",)))
    assert [note.problem for note in found.notes] == [
        "the last change of the network was reverted: br0 got no address"
    ]


def test_a_bridge_that_the_inventory_does_not_name_is_a_note_of_reports():
    found = plan_host(HostSettings(), (), snapshot(network=bridged()), all_concerns_of(HostSettings()))
    assert [note.problem for note in found.notes] == [
        "bridge br0 is ours, and the inventory does not name it"
    ]


def test_a_host_with_a_bridge_is_not_decommissioned():
    gone = HostSettings(state="absent")
    found = plan_host(gone, (), snapshot(network=bridged()), all_concerns_of(gone))
    assert error(found).problem == "the host has bridge br0"


# NetworkManager

PROFILES = "/etc/NetworkManager/system-connections/pyinfra-nspawn-bridge-br0"
WIRED = "0d4f0a4f-0f33-4a4c-9f4f-6b1c6f4b8a11"
MANAGED = replace(
    UPLINK, managed=False, network_file="", client_id=b"", dns=(), manager_state="connected", profile=WIRED
)
WIRED_KEPT = "/etc/NetworkManager/system-connections/wired"
WIRED_FILE = "/run/NetworkManager/system-connections/Wired connection 1.nmconnection"
BY_NETWORK_MANAGER = replace(
    PLAIN,
    links={"enp1s0": MANAGED},
    networkd=False,
    network_manager=True,
    profiles={WIRED: WIRED_FILE},
)


def settings_in(content: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in content.splitlines() if "=" in line)


def test_networkmanager_s_uplink_gets_networkmanager_s_profiles():
    found = planned(BY_NETWORK_MANAGER)
    assert lines(found)[0] == ["manager", "NetworkManager", "600"]
    bridge, uplink = (settings_in(content) for content in kept(found).values())
    assert list(kept(found)) == [f"{PROFILES}.nmconnection", f"{PROFILES}-uplink0.nmconnection"]
    assert bridge["cloned-mac-address"] == "52:54:00:00:00:01"
    assert bridge["stp"] == "false"
    assert uplink["master"] == bridge["uuid"]
    assert uplink["interface-name"] == "en*;"
    assert [words[1:] for words in lines(found) if words[0] == "up"] == [[bridge["uuid"]], [uplink["uuid"]]]
    assert ["former", WIRED] in lines(found)


def test_networkmanager_s_bridge_that_is_as_desired_and_its_change_and_its_removal():
    files = kept(planned(BY_NETWORK_MANAGER))
    bridge, uplink = (settings_in(content) for content in files.values())
    port = replace(MANAGED, master="br0", addresses=(), profile=uplink["uuid"])
    link = replace(MANAGED, name="br0", kind="bridge", profile=bridge["uuid"])
    seen = replace(BY_NETWORK_MANAGER, links={"enp1s0": port, "br0": link}, files=files)
    assert planned(seen) == Plan("")
    changed = planned(seen, mtu=1400)
    assert [words[1] for words in lines(changed) if words[0] == "former"] == [bridge["uuid"], uplink["uuid"]]
    assert set(kept(changed)) == set(files)
    removed = planned(seen, state="absent")
    assert ["up", WIRED] in lines(removed)
    assert ["former", uplink["uuid"]] in lines(removed)
    assert ["gone", "br0"] in lines(removed)
    assert "run" not in {words[0] for words in lines(removed)}


def test_an_uplink_whose_profile_networkmanager_had_generated_gets_such_a_one_back():
    files = kept(planned(BY_NETWORK_MANAGER))
    removed = planned(replace(BY_NETWORK_MANAGER, files=files, profiles={}), state="absent")
    made = kept(removed)[f"{WIRED_KEPT}-{WIRED}.nmconnection"]
    assert {"uuid": WIRED, "interface-name": "en*;"}.items() <= settings_in(made).items()
    assert [words[1] for words in lines(removed) if words[0] == "run"] == [f"tried-{WIRED}.nmconnection"]
    assert ["up", WIRED] in lines(removed)


def test_an_uplink_that_had_no_profile_gets_one():
    without = replace(MANAGED, profile="", manager_state="disconnected")
    seen = replace(BY_NETWORK_MANAGER, links={"enp1s0": without}, profiles={})
    removed = planned(replace(seen, files=kept(planned(seen))), state="absent")
    (up,) = [words for words in lines(removed) if words[0] == "up"]
    assert f"{WIRED_KEPT}-{up[1]}.nmconnection" in kept(removed)


def test_an_uplink_without_a_cable_keeps_its_past():
    files = kept(planned(BY_NETWORK_MANAGER))
    bridge, _ = (settings_in(content) for content in files.values())
    idle = replace(MANAGED, master="br0", profile="", manager_state="disconnected")
    link = replace(MANAGED, name="br0", kind="bridge", profile=bridge["uuid"])
    seen = replace(BY_NETWORK_MANAGER, links={"enp1s0": idle, "br0": link}, files=files)
    assert planned(seen) == Plan("")


def test_networkmanager_s_gateway_needs_an_address_of_its_family():
    found = planned(BY_NETWORK_MANAGER, gateways=["fe80::1"])
    assert "takes gateway fe80::1 only with an address" in error(found).problem


@pytest.mark.parametrize(
    ("link", "profile", "problem"),
    [
        (MANAGED, "/run/NetworkManager/system-connections/netplan-a.nmconnection", "configured by netplan"),
        (MANAGED, "/etc/NetworkManager/system-connections/cloud-init-enp1s0.nmconnection", "by cloud-init"),
        (MANAGED, "/etc/network/interfaces", "by ifupdown"),
        (replace(MANAGED, kind="bond"), WIRED_FILE, "enp1s0 is a bond"),
        (replace(MANAGED, manager_state="unmanaged"), "", "NetworkManager does not configure enp1s0"),
    ],
)
def test_what_a_profile_of_ours_cannot_replace_is_refused(link, profile, problem):
    seen = replace(BY_NETWORK_MANAGER, links={"enp1s0": link}, profiles={WIRED: profile})
    assert problem in error(planned(seen, uplinks=["enp1s0"])).problem


@pytest.mark.parametrize(
    ("bridge", "ipv4", "ipv6"),
    [
        ({}, "auto", "auto"),
        ({"accept_ra": False}, "auto", "disabled"),
        ({"dhcp": "no", "addresses": ["192.0.2.9/24"], "accept_ra": False}, "manual", "disabled"),
        ({"dhcp": "no", "addresses": ["2001:db8::9/64"], "accept_ra": False}, "disabled", "manual"),
        ({"dhcp": "no", "accept_ra": True}, "disabled", "auto"),
        ({"dhcp": "yes", "accept_ra": False}, "auto", "dhcp"),
        ({"dns": ["2001:db8::53"], "accept_ra": False}, "auto", "disabled"),
    ],
)
def test_methods_of_address_families(bridge, ipv4, ipv6):
    content = kept(planned(BY_NETWORK_MANAGER, **bridge))[f"{PROFILES}.nmconnection"]
    methods = [line for line in content.splitlines() if line.startswith("method=")]
    assert methods == [f"method={ipv4}", f"method={ipv6}"]
    assert "method=disabled\ndns" not in content
