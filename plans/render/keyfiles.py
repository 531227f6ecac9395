"""The profiles by which NetworkManager makes a bridge, and those by which a change of it is tried."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.render.manager import Identity, Manager, Port, former_of, matches, value_of
from pyinfra_nspawn.plans.render.templates import render
from pyinfra_nspawn.plans.step import encoded
from pyinfra_nspawn.specs.network import is_mac

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyinfra_nspawn.facts.network import Link, Network
    from pyinfra_nspawn.specs.network import Bridge

_OURS = uuid.UUID("a0a7f0ac-52f1-4a35-9c9a-d4bb1a2ce8b4")
"""The namespace of our profiles' UUIDs."""


class NetworkManager(Manager):
    """NetworkManager."""

    name = "NetworkManager"
    directory = "/etc/NetworkManager/system-connections"
    mode = "600"
    # A profile in /etc comes before one of the same name in /run.
    kept = "pyinfra-nspawn-bridge-"
    tried = "pyinfra-nspawn+bridge-"
    bridge_suffix = suffix = "nmconnection"
    has_default = True

    def render(self, bridge: Bridge, identity: Identity, ports: Sequence[Port]) -> dict[str, str]:
        """Return the content of each profile by its path; its UUID is another with another content."""
        main = _with_uuid(
            "bridge.nmconnection.j2",
            bridge=bridge,
            mac=identity.mac,
            ipv4=_family(bridge, ipv6=False),
            ipv6=_family(bridge, ipv6=True),
        )
        files = {self.bridge_path(bridge.name): main}
        for number, port in enumerate(ports):
            files[self.uplink_path(bridge.name, number)] = _with_uuid(
                "uplink.nmconnection.j2",
                bridge=bridge,
                number=number,
                uplink=port.uplink,
                is_mac=is_mac(port.uplink),
                former=port.former,
                controller=value_of(main, "uuid"),
            )
        return files

    def identity_in(self, files: Mapping[str, str], bridge: str) -> Identity:
        """Return the identity that our profile of a bridge says: NetworkManager asks by the MAC."""
        return Identity(value_of(files.get(self.bridge_path(bridge), ""), "cloned-mac-address"))

    def former(self, link: Link, seen: Network) -> str:
        """Return the UUID of the profile that configured a link before it was a port."""
        for path, content in seen.files.items():
            if self.is_uplink(path) and _is_about(content, link):
                return former_of(content)
        return link.profile

    def try_lines(
        self, bridge: str, files: Mapping[str, str], released: Iterable[str], seen: Network
    ) -> list[str]:
        """Return the lines by which the host tries these profiles, and those that it goes back to."""
        return [
            *(f"run {self.tried_name(path)} {encoded(content)}" for path, content in files.items()),
            *(f"up {value_of(content, 'uuid')}" for content in files.values()),
            *(line for path in released for line in _former_lines(seen.files[path], seen)),
            *self._back(bridge, files, seen),
        ]

    def try_without(self, bridge: str, released: Iterable[str], seen: Network) -> list[str]:
        """Return the lines by which the former profiles of the ports are tried."""
        ours = [path for path in seen.files if self.bridge_of(path) == bridge]
        return [
            *(line for path in released for line in _former_lines(seen.files[path], seen)),
            *(f"former {value_of(seen.files[path], 'uuid')}" for path in ours),
        ]

    def _back(self, bridge: str, files: Mapping[str, str], seen: Network) -> list[str]:
        """Return the profiles that are active now, of the bridge first."""
        formers = [former_of(content) for path, content in files.items() if self.is_uplink(path)]
        ours = [path for path in seen.files if self.bridge_of(path) == bridge]
        found = [value_of(seen.files[path], "uuid") for path in ours] or formers
        return [f"former {profile}" for profile in dict.fromkeys(found) if profile]


def _is_about(content: str, link: Link) -> bool:
    """Return whether a profile of ours is that of a link, which need not be active now."""
    return matches(link, value_of(content, "mac-address") or value_of(content, "interface-name").rstrip(";"))


def _former_lines(content: str, seen: Network) -> list[str]:
    """Return the lines by which an uplink gets its former profile back.

    NetworkManager generates one for a link that has none, in memory alone, and only when it first sees the
    link: after a reboot as a port there is none. It is written then, for NetworkManager may be told to
    generate none (NetworkManager.conf(5), `no-auto-default`).
    """
    profile = former_of(content) or str(uuid.uuid5(_OURS, content))
    lines = [f"up {profile}"]
    if profile not in seen.profiles:
        name, mac = value_of(content, "interface-name"), value_of(content, "mac-address")
        made = encoded(render("wired.nmconnection.j2", uuid=profile, name=name, mac=mac))
        path = f"{NetworkManager.directory}/wired-{profile}.nmconnection"
        lines = [f"run tried-{profile}.nmconnection {made}", f"etc {path} {made}", *lines]
    return lines


def _with_uuid(template: str, **values: object) -> str:
    content = render(template, uuid="", **values)
    return render(template, uuid=uuid.uuid5(_OURS, content), **values)


def _family(bridge: Bridge, *, ipv6: bool) -> list[str]:
    """Return the settings of an address family: `[ipv4]` or `[ipv6]` of nm-settings-keyfile(5)."""

    def own(texts: Iterable[str]) -> list[str]:
        return [text for text in texts if (":" in text) == ipv6]

    addresses, gateways, dns = own(bridge.addresses), own(bridge.gateways), own(bridge.dns)
    method = _method(bridge, ipv6=ipv6) or ("manual" if addresses else "disabled")
    return [
        f"method={method}",
        *(f"address{number}={address}" for number, address in enumerate(addresses, 1)),
        *(f"gateway={gateway}" for gateway in gateways),
        *([f"dns={';'.join(dns)};"] if dns and method != "disabled" else []),
    ]


def _method(bridge: Bridge, *, ipv6: bool) -> str:
    """Return how a bridge asks for addresses of a family; empty where it does not."""
    asks = bridge.dhcp in ("yes", "ipv6" if ipv6 else "ipv4")
    if ipv6 and bridge.accept_ra is False:
        return "dhcp" if asks else ""
    return "auto" if asks or ipv6 else ""


NETWORK_MANAGER = NetworkManager()
