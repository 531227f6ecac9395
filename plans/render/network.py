"""The files by which systemd-networkd makes a bridge, and those by which a change of it is tried."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.render.templates import render
from pyinfra_nspawn.specs.network import is_mac

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pyinfra_nspawn.specs.network import Bridge

DIRECTORY = "/etc/systemd/network"
# networkd takes the first file that matches, by name, in whatever directory; and a file in /etc before one of
# the same name in /run. So ours come before `00-...`, and what is tried in /run before what is in /etc.
_KEPT, _TRIED = "0-pyinfra-nspawn-", "0+pyinfra-nspawn-"


def netdev_path(bridge: str) -> str:
    """Return the path of the file that makes a bridge."""
    return f"{DIRECTORY}/{_KEPT}{bridge}.netdev"


def network_path(bridge: str) -> str:
    """Return the path of the file that gives a bridge its addresses."""
    return f"{DIRECTORY}/{_KEPT}{bridge}.network"


def uplink_path(bridge: str, number: int) -> str:
    """Return the path of the file that makes a link a port of a bridge."""
    return f"{DIRECTORY}/{_KEPT}{bridge}-uplink{number}.network"


def is_uplink_path(path: str) -> bool:
    """Return whether a path is one of `uplink_path`."""
    return re.fullmatch(rf"{DIRECTORY}/{_KEPT}.*-uplink\d+\.network", path) is not None


def tried_name(path: str) -> str:
    """Return the name in /run/systemd/network under which a file of ours is tried."""
    return path.rpartition("/")[2].replace(_KEPT, _TRIED, 1)


def is_read_before_ours(path: str) -> bool:
    """Return whether networkd reads a file before those of ours, so that they would have no effect."""
    return path.rpartition("/")[2] <= _TRIED


def is_ours(path: str) -> bool:
    """Return whether networkd's file is one of ours, tried or kept."""
    return path.rpartition("/")[2].startswith((_KEPT, _TRIED))


def bridge_of(path: str) -> str:
    """Return the bridge that a file of ours is about."""
    name = path.rpartition("/")[2].removeprefix(_KEPT)
    return re.sub(r"(-uplink\d+)?\.(network|netdev)$", "", name)


def render_bridge(
    bridge: Bridge,
    *,
    mac: str,
    iaid: int | None,
    by_mac: bool,
    former: Mapping[str, str],
    plain: Collection[str],
) -> dict[str, str]:
    """Return the content of each file of a bridge by its path.

    + mac: of the bridge; empty to leave it to networkd
    + iaid: the identity association of its DHCP client id; None for networkd's own
    + by_mac: whether its DHCP client id is its MAC
    + former: the file that networkd configured an uplink with before, by the uplink as the bridge has it
    + plain: those uplinks that are ethernet itself, and no bond or VLAN
    """
    asks = bridge.dhcp in ("yes", "ipv4")
    values = {"bridge": bridge, "iaid": iaid if asks else None, "by_mac": by_mac and asks}
    files = {
        netdev_path(bridge.name): render("bridge.netdev.j2", bridge=bridge, mac=mac),
        network_path(bridge.name): render("bridge.network.j2", **values),
    }
    for number, uplink in enumerate(bridge.uplinks):
        match = f"PermanentMACAddress={uplink}" if is_mac(uplink) else f"Name={uplink}"
        files[uplink_path(bridge.name, number)] = render(
            "uplink.network.j2",
            bridge=bridge,
            match=match,
            former=former.get(uplink, ""),
            plain=uplink in plain,
        )
    return files


def render_idle(bridge: str) -> str:
    """Return the file with which a bridge that is to go has no addresses."""
    return f"[Match]\nName={bridge}\n\n[Network]\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"


def kept(content: str, key: str) -> str:
    """Return the value of a key in a file of ours; empty without one."""
    match = re.search(rf"(?m)^{re.escape(key)}=(.*)$", content)
    return match[1] if match else ""


def former_of(content: str) -> str:
    """Return the file that an uplink was configured with before, as our file of it says."""
    match = re.search(r"(?m)^# In the place of (.*)$", content)
    return match[1] if match else ""
