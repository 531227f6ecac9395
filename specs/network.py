"""Networks: the bridge of a host, and how a guest is connected."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from pyinfra_nspawn.specs.base import Items, Line, Spec
from pyinfra_nspawn.specs.names import matching

# linux/if.h: IFNAMSIZ is 16, with the NUL; dev_valid_name() refuses '/', ':', space, '.' and '..'. What else
# a kernel takes has a meaning to globs, units or sysctls.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,14}"
_MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"

LinkName = Annotated[
    Line, matching(_NAME, "must be 1 to 15 letters, digits and . _ -, and begin with a letter or digit")
]


def _unicast(text: str) -> str:
    if int(text[:2], 16) & 1:
        raise ValueError("is the address of a group, not of a link")
    return text


Mac = Annotated[
    Line,
    matching(_MAC, "must be six pairs of lower-case hex digits, with ':' between"),
    AfterValidator(_unicast),
]
Uplink = Annotated[
    Line,
    matching(
        rf"{_MAC}|[A-Za-z0-9*?\[][A-Za-z0-9._*?\[\]!-]{{0,63}}",
        "must be the name of a link, a glob, or a permanent MAC in lower case",
    ),
]


def is_mac(uplink: str) -> bool:
    """Return whether an uplink is given by its permanent MAC."""
    return re.fullmatch(_MAC, uplink) is not None


def _interface(text: str) -> str:
    try:
        found = ip_interface(text)
    except ValueError:
        raise ValueError("must be an address with its prefix, such as 192.0.2.10/24") from None
    if "/" not in text:
        raise ValueError("needs a prefix, such as 192.0.2.10/24")
    if found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_loopback:
        raise ValueError("is no address that a host can have")
    return str(found)


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        raise ValueError("must be an address, such as 192.0.2.1") from None


Interface = Annotated[Line, AfterValidator(_interface)]
Address = Annotated[Line, AfterValidator(_address)]


class Bridge(Spec):
    """The inventory's `nspawn_host.bridge`: guests on the host's own network.

    + name: of the bridge; `br0` by default
    + uplinks: the links that connect it with the outside, each by name, glob (`en*`) or permanent MAC;
      every one must match exactly one link. None by default: a bridge of guests alone
    + dhcp: which addresses it asks for: `ipv4` (by default), `ipv6`, `yes` for both, `no`
    + addresses: static ones, with their prefixes
    + gateways: of the default routes, at most one a family
    + dns: servers, in addition to those that DHCP names
    + accept_ra: whether router advertisements give it addresses and routes; by default as the manager does
    + mac: `uplink`, the first uplink's, so that DHCP reservations are kept (by default), or another
    + mtu: in bytes, of the bridge and its uplinks; by default as it is
    + reached_at: the address or name by which the controller reaches the host once the bridge is up, where
      that changes; by default as before
    + confirm_seconds: how long the controller may take to reach the host through the bridge. Else the host
      restores its network; 30 by default
    + adopt: take over a bridge of that name that somebody made by hand in /etc/systemd/network: its files are
      moved aside, as `*.before-pyinfra-nspawn`, and its MAC is kept
    + state: `present`, or `absent`: the uplinks get their former configuration back
    """

    name: LinkName = "br0"
    uplinks: Annotated[tuple[Uplink, ...], Items] = ()
    dhcp: Literal["yes", "no", "ipv4", "ipv6"] = "ipv4"
    addresses: Annotated[tuple[Interface, ...], Items] = ()
    gateways: Annotated[tuple[Address, ...], Items] = ()
    dns: Annotated[tuple[Address, ...], Items] = ()
    accept_ra: bool | None = None
    mac: Literal["uplink"] | Mac = "uplink"
    mtu: Annotated[int, Field(ge=68, le=65535)] | None = None
    reached_at: Line | None = None
    confirm_seconds: Annotated[int, Field(ge=5, le=600)] = 30
    adopt: bool = False
    state: Literal["present", "absent"] = "present"

    @model_validator(mode="after")
    def _can_be_reached(self) -> Bridge:
        families = [ip_address(gateway).version for gateway in self.gateways]
        if len(families) != len(set(families)):
            raise ValueError("gateways: at most one of each family")
        own = [ip_interface(address) for address in self.addresses]
        for gateway in map(ip_address, self.gateways):
            near = any(gateway in interface.network for interface in own)
            if not near and not gateway.is_link_local:
                raise ValueError(f"gateways: {gateway} is in the network of none of `addresses`")
        if self.uplinks and self.dhcp == "no" and not self.addresses and self.accept_ra is not True:
            raise ValueError("dhcp: 'no' needs `addresses`, or `accept_ra`: the host would have no address")
        return self


Kind = Literal["default", "veth", "bridge", "zone", "host"]
_LONGEST_ZONE = 12  # IFNAMSIZ less `vz-`


class GuestNetwork(Spec):
    """How a guest is connected; `KIND` or `KIND:NAME` as a text.

    + kind: `bridge`: a port of the host's bridge; `zone`: of a bridge that nspawn makes for the guests of
      that zone, behind the host's own address; `veth`: a pair of interfaces of its own, behind the same;
      `host`: the host's own network, from which nothing separates it. `default`: the host's bridge where
      `nspawn_host` has one, else `veth`
    + name: of the bridge (the host's by default) or the zone
    + addresses: static ones, with their prefixes; the guest asks by DHCP where there are none. They are
      written for systemd-networkd 256 or newer in the guest
    + gateways: of the default routes, at most one a family
    + dns: servers
    + mac: of the guest's `host0`; by default systemd-nspawn derives one from the guest's name and the host's
      machine id. Needs systemd 255 on the host
    """

    kind: Kind = "default"
    name: LinkName | None = None
    addresses: Annotated[tuple[Interface, ...], Items] = ()
    gateways: Annotated[tuple[Address, ...], Items] = ()
    dns: Annotated[tuple[Address, ...], Items] = ()
    mac: Mac | None = None

    @classmethod
    def parse(cls, text: str) -> GuestNetwork:
        """Read `KIND` or `KIND:NAME`. Raises ValueError for anything else.

        >>> GuestNetwork.parse("zone:lab").name
        'lab'
        """
        kind, colon, name = text.partition(":")
        if kind not in get_args(Kind):
            raise ValueError("must be 'bridge', 'zone:NAME', 'veth', 'host' or 'default'")
        return cls(kind=kind, **({"name": name} if colon else {}))  # type: ignore[arg-type]

    @model_validator(mode="after")
    def _named(self) -> GuestNetwork:
        if self.kind == "zone" and (self.name is None or len(self.name) > _LONGEST_ZONE):
            raise ValueError(f"name: a zone needs a name of at most {_LONGEST_ZONE} characters")
        if self.name is not None and self.kind not in ("bridge", "zone"):
            raise ValueError("name: is only for a bridge or a zone")
        if self.kind == "host" and (self.addresses or self.gateways or self.dns or self.mac):
            raise ValueError("kind: on the host's own network a guest has no settings")
        if self.kind == "veth" and self.addresses:
            raise ValueError("addresses: are only for a bridge or a zone")
        if (self.gateways or self.dns) and not self.addresses:
            raise ValueError("addresses: are needed with `gateways` and `dns`; DHCP gives all of them")
        return self

    def on(self, bridge: str | None) -> GuestNetwork:
        """Return the network on a host with this bridge, or with none.

        >>> GuestNetwork().on("br0").kind
        'bridge'
        """
        if self.kind == "default":
            return self.model_copy(update={"kind": "bridge" if bridge else "veth", "name": bridge})
        if self.kind == "bridge" and self.name is None:
            return self.model_copy(update={"name": bridge})
        return self


def _from_text(value: object) -> object:
    return GuestNetwork.parse(value) if isinstance(value, str) else value


NetworkText = Annotated[GuestNetwork, BeforeValidator(_from_text)]
