"""The network of a host: its links, addresses, default routes, and who configures them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from pyinfra.api.facts import FactBase

from pyinfra_nspawn.facts.base import (
    GarbledError,
    Record,
    Unreadable,
    decoded_name,
    not_understood,
    parse_answer,
    refuse_failed,
)
from pyinfra_nspawn.facts.program import command_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pyinfra_nspawn.facts.base import Part


@dataclass(frozen=True)
class Link(Record):
    """A network interface.

    + name: of the interface
    + kind: what made it, as `ip -d link` says: `bridge`, `veth`, `bond`, ...; empty for hardware
    + mac: the present one
    + permanent_mac: the hardware's own; the present one where it has none
    + mtu: in bytes
    + master: the bridge or bond that it is a port of; empty for none
    + carrier: whether a cable is in it, so to speak
    + wireless: whether it is a Wi-Fi station
    + addresses: the global ones, with their prefixes
    + network_file: the .network file that networkd configures it with; empty for none
    + managed: whether networkd configures it
    + dns: the servers that networkd or NetworkManager knows for it
    + client_id: by which networkd asks for its IPv4 address; empty for none
    + manager_state: as NetworkManager says, such as `connected`; empty where there is none
    + profile: the UUID of the connection that NetworkManager has made active on it; empty for none
    """

    name: str
    kind: str = ""
    mac: str = ""
    permanent_mac: str = ""
    mtu: int = 1500
    master: str = ""
    carrier: bool = True
    wireless: bool = False
    addresses: tuple[str, ...] = ()
    network_file: str = ""
    managed: bool = False
    dns: tuple[str, ...] = ()
    client_id: bytes = b""
    manager_state: str = ""
    profile: str = ""

    @property
    def is_by_network_manager(self) -> bool:
        """Whether NetworkManager configures it, and not only knows of it."""
        busy = self.manager_state == "connected" or self.manager_state.startswith("connecting")
        return bool(self.profile) and busy and not self.managed

    @property
    def manager(self) -> str:
        """Who configures it: `systemd-networkd`, `NetworkManager`, or nobody that is known here."""
        return "systemd-networkd" if self.managed else "NetworkManager" if self.is_by_network_manager else ""

    @property
    def iaid(self) -> int | None:
        """The identity association of its DHCP client id (RFC 4361); None for an id of another kind."""
        return int.from_bytes(self.client_id[1:5], "big") if self.client_id[:1] == b"\xff" else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**super().to_json(), "client_id": self.client_id.hex()}


@dataclass(frozen=True)
class Firewall(Record):
    """What firewalld lets through.

    + default: the zone of links that have none of their own
    + services: what that zone admits
    + accepts: whether it admits everything
    + forwards: whether it forwards between its links
    + zones: the zone of each link that has one of its own; a name that ends in `+` stands for many
    """

    default: str
    services: tuple[str, ...] = ()
    accepts: bool = False
    forwards: bool = True
    zones: dict[str, str] = field(default_factory=dict)

    def zone_of(self, link: str) -> str | None:
        """Return the zone that a link was put in; None where the default one is left."""
        for name, zone in self.zones.items():
            if name == link or (name.endswith("+") and link.startswith(name[:-1])):
                return zone
        return None


@dataclass(frozen=True)
class Network(Record):
    """The network of a host at one time.

    + links: by name
    + gateways: of the default routes, by address family: the router's address, or an empty text where a
      route has none
    + uplinks: the links that the default routes lead through
    + networkd: whether systemd-networkd answers
    + network_manager: whether NetworkManager answers
    + profiles: the file of each connection that NetworkManager knows, by UUID
    + files: the text of each file of ours about networks in /etc, by path
    + foreign: of each other one, its lines `Name=`, `Kind=` and `Bridge=`, by path
    + firewall: what firewalld lets through; None where it does not run
    + bridge_filter: whether frames that cross a bridge are filtered as packets are
    + change: `running` while a change is being tried, `stale` where one was cut off; empty for none
    + verdict: why the last change was reverted since the host's boot: problem and hint; empty for none
    """

    links: dict[str, Link]
    gateways: dict[int, str] = field(default_factory=dict)
    uplinks: tuple[str, ...] = ()
    networkd: bool = False
    network_manager: bool = False
    profiles: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    foreign: dict[str, tuple[str, ...]] = field(default_factory=dict)
    firewall: Firewall | None = None
    bridge_filter: bool = False
    change: str = ""
    verdict: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**super().to_json(), "links": {name: link.to_json() for name, link in self.links.items()}}


def parse_network(parts: Iterable[Part]) -> Network | Unreadable:
    """Return the network that the parts of an answer describe."""
    try:
        return _network(list(parts))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return not_understood(error)


def _network(parts: list[Part]) -> Network:
    found = {part.words[0]: part for part in parts}
    if "links" not in found:
        raise GarbledError("the host has no `ip`, or was not asked for its network")
    refuse_failed(found[name] for name in ("links", "routes"))
    networkd = found.get("networkd")
    answers = networkd is not None and networkd.code == 0
    known = (
        {link["Name"]: link for link in json.loads(networkd.output)["Interfaces"]}
        if answers and networkd
        else {}
    )
    devices = _devices(_lines_of(found.get("network-manager")))
    wireless = found["wireless"].lines if "wireless" in found else ()
    links = [
        _link(link, known.get(link["ifname"], {}), devices.get(link["ifname"], {}), wireless)
        for link in json.loads(found["links"].output)
        if link
    ]
    routes = [route for line in found["routes"].lines for route in json.loads(line or "[]")]
    files = [part for part in parts if part.words[0] == "network-file"]
    refuse_failed(files)
    return Network(
        links={link.name: link for link in links},
        gateways=_gateways(found["routes"]),
        uplinks=tuple(dict.fromkeys(route["dev"] for route in routes if "dev" in route)),
        networkd=answers,
        network_manager=bool(devices),
        profiles=_profiles(_lines_of(found.get("profiles"))),
        firewall=_firewall(_lines_of(found.get("firewall"))),
        bridge_filter=found["bridge-filter"].text == "1" if "bridge-filter" in found else False,
        files={decoded_name(part.words[1]): part.output.decode(errors="replace") for part in files},
        foreign={
            decoded_name(part.words[1]): part.lines for part in parts if part.words[0] == "network-foreign"
        },
        change=found["network-change"].text if "network-change" in found else "",
        verdict=found["network-verdict"].lines if "network-verdict" in found else (),
    )


def _gateways(routes: Part) -> dict[int, str]:
    """Return the router of the best default route of each family."""
    found = {}
    for family, line in zip((4, 6), routes.lines, strict=True):
        ways = sorted(json.loads(line or "[]"), key=lambda route: route.get("metric", 0))
        if ways:
            found[family] = ways[0].get("gateway", "")
    return found


def _link(
    link: dict[str, Any], known: dict[str, Any], device: dict[str, str], wireless: Iterable[str]
) -> Link:
    name = link["ifname"]
    return Link(
        name=name,
        kind=link.get("linkinfo", {}).get("info_kind", ""),
        mac=link.get("address", ""),
        permanent_mac=link.get("permaddr") or link.get("address", ""),
        mtu=link["mtu"],
        master=link.get("master", ""),
        carrier="LOWER_UP" in link["flags"],
        wireless=name in wireless,
        addresses=tuple(
            f"{address['local']}/{address['prefixlen']}"
            for address in link.get("addr_info", ())
            if address.get("scope") == "global" and "local" in address
        ),
        network_file=known.get("NetworkFile") or "",
        managed=known.get("AdministrativeState", "unmanaged") not in ("unmanaged", "pending", "initialized"),
        dns=(
            *(_address(server["Address"]) for server in known.get("DNS") or ()),
            *(value for name, value in device.items() if name.startswith(("IP4.DNS[", "IP6.DNS["))),
        ),
        client_id=bytes((known.get("DHCPv4Client") or {}).get("ClientIdentifier") or ()),
        manager_state=device.get("GENERAL.STATE", "").partition(" ")[2][1:-1],
        profile=device.get("GENERAL.CON-UUID", ""),
    )


def _address(octets: list[int]) -> str:
    return str(ip_address(bytes(octets)))


def _lines_of(part: Part | None) -> tuple[str, ...]:
    """Return the lines of a tool that may be missing or fail."""
    return part.lines if part is not None and part.code == 0 else ()


def _devices(lines: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return what NetworkManager says of each link: a block of `FIELD:VALUE` each, values as they are."""
    found: dict[str, dict[str, str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name == "GENERAL.DEVICE":
            found[value] = {}
        if found and value:
            next(reversed(found.values()))[name] = value
    return found


def _profiles(lines: Iterable[str]) -> dict[str, str]:
    """Return the file of each profile by UUID: in a table `nmcli -t` escapes colons and backslashes."""
    rows = (line.partition(":") for line in lines)
    return {uuid: re.sub(r"\\(.)", r"\1", path) for uuid, _, path in rows}


def _firewall(lines: Sequence[str]) -> Firewall | None:
    """Return what the answers of firewalld say: `busctl --json` has each in `data`."""
    if not lines:
        return None
    default, active, settings = (json.loads(line)["data"][0] for line in lines)
    return Firewall(
        default=default,
        services=tuple(settings["services"]["data"]),
        accepts=settings["target"]["data"] == "ACCEPT",
        forwards="forward" in settings and settings["forward"]["data"],
        zones={link: zone for zone, of in active.items() for link in of.get("interfaces", ())},
    )


class NetworkFacts(FactBase[Network | Unreadable]):
    """Read the network of a host: links, addresses, default routes, and who configures them.

    Returns `Network`, or `Unreadable` when it could not be determined.

    **Example:**

    .. code:: shell

        pyinfra inventories/mine.py fact pyinfra_nspawn.facts.network.NetworkFacts
    """

    def command(self) -> str:
        """Return the command; it exits 0 whatever it finds."""
        return command_line("facts", "network")

    @staticmethod
    def default() -> Unreadable:
        """Return what stands for no answer."""
        return Unreadable("the host gave no answer")

    def process(self, output: list[str]) -> Network | Unreadable:
        """Parse the answer."""
        try:
            return parse_network(parse_answer(output))
        except ValueError as error:
            return not_understood(error)
