"""The host's ends of guests' links on hosts with NetworkManager; systemd-networkd serves them by itself."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.render.templates import render
from pyinfra_nspawn.plans.step import Step, file_diffs, file_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.facts.network import Network
    from pyinfra_nspawn.plans.host import HostComparison
    from pyinfra_nspawn.specs.guest import Guest

RULES = "/etc/udev/rules.d/86-pyinfra-nspawn.rules"
_PREFIX = "/etc/NetworkManager/system-connections/pyinfra-nspawn-"
PAIRS = f"{_PREFIX}guest-links.nmconnection"
"""The profile of all pairs, `ve-NAME`."""
_UUIDS = uuid.UUID("7f8d3f86-5d0a-4b57-8d6b-0c6a1f1f2f5e")

_NEEDED = {
    "dnsmasq": ("gives guests no addresses", "dnsmasq-base"),
    "nft": ("lets guests reach nothing", "nftables"),
}
"""The commands with which NetworkManager shares a connection, and Debian's packages of them."""


def guest_links(comparison: HostComparison) -> Iterator[Step | Finding]:
    """Have NetworkManager serve the links of guests (`veth`, `zone`): addresses, DNS, masquerading.

    A udev rule has it manage the pairs, and one profile with `method=shared` serves all of them (seen with
    NetworkManager 1.52). A zone is a bridge that systemd-nspawn finds there already; its profile remains
    until the host is decommissioned.
    """
    host, seen = comparison.host, comparison.snapshot.network
    if isinstance(seen, Unreadable) or seen.networkd or not seen.network_manager:
        return
    files = _files(guest for guest in comparison.guests if guest.state != "absent")
    if not files:
        return
    yield from _missing(host)
    if foreign := sorted(set(files) & set(seen.foreign)):
        problem, hint = f"{foreign[0]} is not ours", "Move it away, then run again."
        yield Finding("foreign", problem, hint, field=foreign[0], severity="error")
        return
    diffs = file_diffs(seen.files, {path: content for path, (_, content) in files.items()})
    if not diffs and {uuid_of(path) for path in files if path != RULES} <= set(seen.profiles):
        return
    yield Finding("missing", "NetworkManager does not serve the links of guests", field="network")
    yield Step(
        "have NetworkManager serve the links of guests",
        "guest-links",
        payload="\n".join(file_line(mode, path, content) for path, (mode, content) in files.items()),
        network=True,
        diffs=diffs,
    )


def links_files(seen: Network) -> list[str]:
    """Return the paths of our files about guests' links on a host."""
    return sorted(path for path in seen.files if path in (RULES, PAIRS) or path.startswith(f"{_PREFIX}zone-"))


def zone_path(zone: str) -> str:
    """Return the path of the profile of a zone."""
    return f"{_PREFIX}zone-{zone}.nmconnection"


def uuid_of(path: str) -> str:
    """Return the UUID of the profile that is kept there."""
    return str(uuid.uuid5(_UUIDS, path))


def _files(guests: Iterable[Guest]) -> dict[str, tuple[str, str]]:
    """Return mode and content of each file that these guests need, by path."""
    networks = [guest.network for guest in guests]
    files: dict[str, tuple[str, str]] = {}
    if any(network.kind in ("default", "veth") for network in networks):
        files[RULES] = "644", render("guest-links.rules.j2")
        files[PAIRS] = "600", render("guest-links.nmconnection.j2", uuid=uuid_of(PAIRS))
    for zone in sorted({network.name for network in networks if network.kind == "zone" and network.name}):
        path = zone_path(zone)
        files[path] = "600", render("zone.nmconnection.j2", zone=zone, uuid=uuid_of(path))
    return files


def _missing(host: Host) -> Iterator[Finding]:
    for command, (without, package) in _NEEDED.items():
        if command not in host.commands:
            problem = f"{command} is missing: NetworkManager {without} without it"
            hint = f"Install it on the host ({package} in Debian)."
            yield Finding("unfit", problem, hint, field=f"commands.{command}", severity="note")
