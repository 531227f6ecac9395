"""Whether a firewall of the host drops what guests send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.network import Firewall, Network
    from pyinfra_nspawn.plans.host import HostComparison


def firewall(comparison: HostComparison) -> Iterator[Finding]:
    """Yield a note for each kind of link over which firewalld lets no guest through.

    A link that somebody has put in a zone is left to them.
    """
    seen = comparison.snapshot.network
    if isinstance(seen, Unreadable) or seen.firewall is None:
        return
    networks = [guest.network for guest in comparison.guests if guest.state != "absent"]
    served = set()
    if any(network.kind in ("default", "veth") for network in networks):
        served.add("ve-+")  # firewalld.zone(5): a name may end in +, which stands for anything
    served |= {f"vz-{network.name}" for network in networks if network.kind == "zone"}
    for links in sorted(served) if seen.networkd else ():  # NetworkManager has a zone of its own for them
        yield from _unserved(links, seen.firewall)
    for bridge in sorted({network.name for network in networks if network.kind == "bridge" and network.name}):
        yield from _not_forwarded(bridge, seen, seen.firewall)


def _unserved(links: str, found: Firewall) -> Iterator[Finding]:
    if found.zone_of(links) is None and not (found.accepts or "dhcp" in found.services):
        problem = (
            f"firewalld drops the DHCP requests of guests on {links}: its zone {found.default} admits none"
        )
        yield _note(problem, f"Put {links} in a zone that admits them: docs/concepts/network.md.", found)


def _not_forwarded(bridge: str, seen: Network, found: Firewall) -> Iterator[Finding]:
    """Yield a note where frames that cross a bridge are filtered at all (the module br_netfilter)."""
    if seen.bridge_filter and found.zone_of(bridge) is None and not (found.accepts or found.forwards):
        problem = f"firewalld drops the frames that cross {bridge}: its zone {found.default} forwards none"
        yield _note(problem, f"Run `firewall-cmd --permanent --zone={found.default} --add-forward`.", found)


def _note(problem: str, hint: str, found: Firewall) -> Finding:
    return Finding("unfit", problem, hint, field="network", seen=found.default, severity="note")
