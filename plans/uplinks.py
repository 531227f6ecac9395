"""Which links a bridge may take, and why not."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.render.manager import matches
from pyinfra_nspawn.plans.render.networkd import NETWORKD, PLAIN_KINDS, is_read_before_ours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.network import Link, Network
    from pyinfra_nspawn.plans.finding import Kind
    from pyinfra_nspawn.plans.render.manager import Manager
    from pyinfra_nspawn.specs.network import Bridge

# systemd-nspawn(1): the host's ends of guests' links, and its bridges of zones.
_OF_GUESTS = ("ve-", "vb-", "vz-")

# Who writes files for networkd and NetworkManager, or has them need none, by a part of their paths.
_OWNERS = {
    "netplan": "netplan",
    "cloud-init": "cloud-init",
    "ifupdown": "ifupdown",
    "/etc/network/interfaces": "ifupdown",
}


def error(kind: Kind, problem: str, hint: str, *, seen: str = "") -> Finding:
    """Return an error about the bridge, for which nothing is changed."""
    return Finding(kind, problem, hint, field="bridge", seen=seen, severity="error")


def matched(uplink: str, seen: Network) -> list[Link]:
    """Return the links that an uplink of the inventory names: by name, glob or permanent MAC.

    Bonds and VLANs go by their names alone: `enp1s0.7` is not meant by `en*`, and has the MAC of `enp1s0`.
    """
    return [
        link
        for link in seen.links.values()
        if link.name != "lo"
        and link.kind != "bridge"
        and not link.name.startswith(_OF_GUESTS)
        and (link.name == uplink or (link.kind in PLAIN_KINDS and matches(link, uplink)))
    ]


def refusals(bridge: Bridge, seen: Network, manager: Manager) -> Iterator[Finding]:
    """Yield an error for everything that forbids to have this manager make this bridge on this host."""
    taken: dict[str, str] = {}
    for uplink in bridge.uplinks:
        links = matched(uplink, seen)
        if len(links) != 1:
            yield _not_one(uplink, links)
            continue
        (link,) = links
        if link.name in taken:
            problem = f"uplinks {taken[link.name]} and {uplink} are the same link, {link.name}"
            yield error("impossible", problem, "Write each link once in `uplinks`.", seen=link.name)
        taken[link.name] = uplink
        yield from _unfit(link, bridge, seen, manager)
        yield from _managed_otherwise(link, seen, manager)
    yield from _clashes(bridge, seen, set(taken))
    if manager is not NETWORKD:
        yield from _gateways_alone(bridge)
    if not bridge.uplinks and not (seen.networkd or seen.network_manager):
        yield error("unfit", "no manager of networks runs", "Start systemd-networkd: it makes the bridge.")


def _not_one(uplink: str, links: list[Link]) -> Finding:
    if links:
        problem = f"uplink {uplink} matches {', '.join(sorted(link.name for link in links))}"
        return error("impossible", problem, "Write the name of one of them in `uplinks`.", seen=links[0].name)
    hint = 'Run "ip link" on the host, and write the name of its uplink in `uplinks`.'
    return error("impossible", f"no link matches uplink {uplink}", hint)


def _unfit(link: Link, bridge: Bridge, seen: Network, manager: Manager) -> Iterator[Finding]:
    if link.wireless:
        problem = f"{link.name} is a Wi-Fi station, and access points drop the frames of a bridge behind one"
        yield error("impossible", problem, "Leave the guests on their own network (`veth`).", seen=link.name)
    if link.master not in ("", bridge.name):
        problem = f"{link.name} is a port of {link.master} already"
        hint = f"Name {link.master} in `uplinks`, or free it."
        if manager.bridge_path(link.master) in seen.files:
            hint = f"Remove that first: `bridge: {{name: {link.master}, state: absent}}`."
        yield error("impossible", problem, hint, seen=link.master)


def _managed_otherwise(link: Link, seen: Network, manager: Manager) -> Iterator[Finding]:
    """Yield an error for a link that the manager does not configure by files that may be overridden."""
    file = link.network_file if manager is NETWORKD else seen.profiles.get(link.profile, "")
    owner = next((owner for part, owner in _OWNERS.items() if part in file), "")
    if owner:
        problem = f"{link.name} is configured by {owner}: {file}"
        yield error("impossible", problem, f"Make the bridge in {owner}'s configuration.", seen=owner)
    elif manager is NETWORKD:
        yield from _not_by_networkd(link, seen)
    elif link.kind not in PLAIN_KINDS:
        problem = f"{link.name} is a {link.kind}, of which a profile for Ethernet knows nothing"
        yield error("impossible", problem, "Name an Ethernet link in `uplinks`.", seen=link.kind)
    elif link.manager_state in ("", "unmanaged", "connected (externally)"):
        problem = f"NetworkManager does not configure {link.name}"
        hint = "Have it manage the link: `unmanaged-devices` in NetworkManager.conf(5)."
        yield error("impossible", problem, hint, seen=link.name)


def _not_by_networkd(link: Link, seen: Network) -> Iterator[Finding]:
    if link.is_by_network_manager:
        problem = f"NetworkManager configures {link.name}, and systemd-networkd another uplink"
        yield error("impossible", problem, "Leave all uplinks to one of them.", seen="NetworkManager")
    elif not (seen.networkd and link.managed):
        problem = f"systemd-networkd does not configure {link.name}"
        yield error("impossible", problem, "Have it configure the link: networkctl(1).", seen=link.name)
    elif is_read_before_ours(link.network_file):
        problem = f"{link.network_file} comes before our files, and would win"
        hint = "Rename it so that it sorts after 0-pyinfra-nspawn."
        yield error("impossible", problem, hint, seen=link.network_file)


def _gateways_alone(bridge: Bridge) -> Iterator[Finding]:
    """Yield an error for each gateway without a static address of its family, which no profile may have."""
    families = {ip_interface(address).version for address in bridge.addresses}
    for gateway in bridge.gateways:
        if ip_address(gateway).version not in families:
            problem = f"NetworkManager takes gateway {gateway} only with an address of its family"
            yield error("impossible", problem, "Add one to `addresses`, or leave it to DHCP.", seen=gateway)


def _clashes(bridge: Bridge, seen: Network, uplinks: set[str]) -> Iterator[Finding]:
    """Yield an error for each address that another link of the host has."""
    own = {address.partition("/")[0] for address in bridge.addresses}
    for link in seen.links.values():
        if link.name in uplinks or bridge.name in (link.name, link.master):
            continue
        for address in sorted(own & {address.partition("/")[0] for address in link.addresses}):
            problem = f"{address} is an address of {link.name} already"
            yield error("impossible", problem, "Correct `addresses`.", seen=link.name)
