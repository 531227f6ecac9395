"""Who makes bridges on a host, and how: what systemd-networkd and NetworkManager have in common."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, ClassVar

from pyinfra_nspawn.specs.network import is_mac

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pyinfra_nspawn.facts.network import Link, Network
    from pyinfra_nspawn.specs.network import Bridge

_FORMER = re.compile(r"(?m)^# In the place of (.*)$")


@dataclass(frozen=True)
class Port:
    """An uplink of a bridge.

    + uplink: as the inventory has it
    + link: what that is on the host
    + former: what configured the link before, as its manager names that; empty where it is unknown
    """

    uplink: str
    link: Link
    former: str


@dataclass(frozen=True)
class Identity:
    """By what a bridge is known on its network.

    + mac: its MAC; empty to leave that to the manager
    + iaid: the identity association of its DHCP client id; None for the manager's own
    + by_mac: whether its DHCP client id is its MAC
    """

    mac: str = ""
    iaid: int | None = None
    by_mac: bool = False


class Manager(ABC):
    """One manager of networks.

    + name: as the program on the host knows it
    + directory: where its files lie in /etc
    + mode: of these files
    + kept, tried: how the names of our files begin in /etc, and in /run while they are tried: those must win
    + bridge_suffix, suffix: of the file by which a bridge is known as ours, and of the others
    + has_default: whether it configures a link that no file is about
    """

    name: ClassVar[str]
    directory: ClassVar[str]
    mode: ClassVar[str]
    kept: ClassVar[str]
    tried: ClassVar[str]
    bridge_suffix: ClassVar[str]
    suffix: ClassVar[str]
    has_default: ClassVar[bool]

    def bridge_path(self, bridge: str) -> str:
        """Return the path of the file by which a bridge is known as ours."""
        return f"{self.directory}/{self.kept}{bridge}.{self.bridge_suffix}"

    def uplink_path(self, bridge: str, number: int) -> str:
        """Return the path of the file that makes a link a port of a bridge."""
        return f"{self.directory}/{self.kept}{bridge}-uplink{number}.{self.suffix}"

    def tried_name(self, path: str) -> str:
        """Return the name in /run under which a file of ours is tried."""
        return path.rpartition("/")[2].replace(self.kept, self.tried, 1)

    @abstractmethod
    def render(self, bridge: Bridge, identity: Identity, ports: Sequence[Port]) -> dict[str, str]:
        """Return the content of each file of a bridge by its path."""

    @abstractmethod
    def identity_in(self, files: Mapping[str, str], bridge: str) -> Identity:
        """Return the identity that our files of a bridge say."""

    @abstractmethod
    def former(self, link: Link, seen: Network) -> str:
        """Return what configured a link before it was a port, as far as that is known."""

    @abstractmethod
    def try_lines(
        self, bridge: str, files: Mapping[str, str], released: Iterable[str], seen: Network
    ) -> list[str]:
        """Return the lines by which the host tries these files (see host/network.sh).

        + released: those of our files of uplinks that are tried without
        """

    @abstractmethod
    def try_without(self, bridge: str, released: Iterable[str], seen: Network) -> list[str]:
        """Return the lines by which the host tries its network without the bridge."""

    def bridge_of(self, path: str) -> str:
        """Return the bridge that a file of ours is about; empty for any other file."""
        found = self._match(path)
        return found[1] if found else ""

    def is_uplink(self, path: str) -> bool:
        """Return whether a path is one of `uplink_path`."""
        found = self._match(path)
        return found is not None and found[2] is not None

    def _match(self, path: str) -> re.Match[str] | None:
        start = re.escape(f"{self.directory}/{self.kept}")
        return re.fullmatch(rf"{start}(.*?)(-uplink\d+)?\.(?:{self.bridge_suffix}|{self.suffix})", path)


def matches(link: Link, uplink: str) -> bool:
    """Return whether an uplink, by glob or permanent MAC, means a link."""
    return link.permanent_mac == uplink if is_mac(uplink) else fnmatchcase(link.name, uplink)


def former_of(content: str) -> str:
    """Return what an uplink was configured by before, as our file of it says."""
    match = _FORMER.search(content)
    return match[1] if match else ""


def value_of(content: str, key: str) -> str:
    """Return the value of a key in a file of ours; empty without one."""
    match = re.search(rf"(?m)^{re.escape(key)}=(.*)$", content)
    return match[1] if match else ""
