"""The files by which systemd-networkd makes a bridge, and those by which a change of it is tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.render.manager import Identity, Manager, Port, former_of, value_of
from pyinfra_nspawn.plans.render.templates import render
from pyinfra_nspawn.plans.step import encoded
from pyinfra_nspawn.specs.network import is_mac

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyinfra_nspawn.facts.network import Link, Network
    from pyinfra_nspawn.specs.network import Bridge

PLAIN_KINDS = ("", "veth")
"""What `Type=ether` matches: neither a bond nor a VLAN on the same hardware."""


class Networkd(Manager):
    """systemd-networkd."""

    name = "networkd"
    directory = "/etc/systemd/network"
    mode = "644"
    # networkd takes the first file that matches, by name, in any directory, and a file in /etc before one of
    # the same name in /run. Ours sort before `00-...`, and tried ones in /run before kept ones in /etc.
    kept = "0-pyinfra-nspawn-"
    tried = "0+pyinfra-nspawn-"
    bridge_suffix = "netdev"
    suffix = "network"
    has_default = False

    def network_path(self, bridge: str) -> str:
        """Return the path of the file that gives a bridge its addresses."""
        return f"{self.directory}/{self.kept}{bridge}.{self.suffix}"

    def render(self, bridge: Bridge, identity: Identity, ports: Sequence[Port]) -> dict[str, str]:
        """Return the content of each file of a bridge by its path."""
        asks = bridge.dhcp in ("yes", "ipv4")
        values = {"iaid": identity.iaid if asks else None, "by_mac": identity.by_mac and asks}
        files = {
            self.bridge_path(bridge.name): render("bridge.netdev.j2", bridge=bridge, mac=identity.mac),
            self.network_path(bridge.name): render("bridge.network.j2", bridge=bridge, **values),
        }
        for number, port in enumerate(ports):
            match = f"PermanentMACAddress={port.uplink}" if is_mac(port.uplink) else f"Name={port.uplink}"
            plain = port.link.kind in PLAIN_KINDS
            content = render("uplink.network.j2", bridge=bridge, match=match, former=port.former, plain=plain)
            files[self.uplink_path(bridge.name, number)] = content
        return files

    def identity_in(self, files: Mapping[str, str], bridge: str) -> Identity:
        """Return the identity that our files of a bridge say."""
        network = files.get(self.network_path(bridge), "")
        iaid = value_of(network, "IAID")
        return Identity(
            value_of(files.get(self.bridge_path(bridge), ""), "MACAddress"),
            int(iaid) if iaid else None,
            value_of(network, "ClientIdentifier") == "mac",
        )

    def former(self, link: Link, seen: Network) -> str:
        """Return the file that configured a link before it was a port."""
        name = link.network_file.rpartition("/")[2]
        if not name.startswith((self.kept, self.tried)):
            return link.network_file
        return former_of(seen.files.get(f"{self.directory}/{name.replace(self.tried, self.kept, 1)}", ""))

    def try_lines(
        self,
        bridge: str,  # noqa: ARG002 - other managers need it
        files: Mapping[str, str],
        released: Iterable[str],
        seen: Network,
    ) -> list[str]:
        """Return the lines by which the host tries these files, and links that are ports no more."""
        return [
            *(f"run {self.tried_name(path)} {encoded(content)}" for path, content in files.items()),
            *self._without(released, seen),
        ]

    def try_without(self, bridge: str, released: Iterable[str], seen: Network) -> list[str]:
        """Return the lines by which the bridge has no address, and its ports their former files."""
        idle = f"[Match]\nName={bridge}\n\n[Network]\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
        return [
            *self._without(released, seen),
            f"run {self.tried_name(self.network_path(bridge))} {encoded(idle)}",
        ]

    def _without(self, released: Iterable[str], seen: Network) -> list[str]:
        return [f"copy {self.tried_name(path)} {former_of(seen.files[path])}" for path in released]


def is_read_before_ours(path: str) -> bool:
    """Return whether networkd reads a file before those of ours, so that they would have no effect."""
    name = path.rpartition("/")[2]
    return name <= Networkd.tried and not name.startswith((Networkd.kept, Networkd.tried))


NETWORKD = Networkd()
