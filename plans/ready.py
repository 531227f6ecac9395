"""Judge whether k3s can run in a guest, by the results of the tests in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_interface, ip_network
from typing import TYPE_CHECKING, Literal

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.k3s import Try
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.guest import plan_guest
from pyinfra_nspawn.plans.k3s import number
from pyinfra_nspawn.plans.preconditions import CONNECTIONS, PRECONDITIONS
from pyinfra_nspawn.specs.k3s import MODULES, SYSCTLS, K3s

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.facts.k3s import K3sProbe
    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.preconditions import Precondition
    from pyinfra_nspawn.plans.step import Step
    from pyinfra_nspawn.specs import Guest

State = Literal["met", "unmet", "untried"]


@dataclass(frozen=True)
class Row:
    """The state of a precondition in one guest.

    + state: `untried` where it could not be tested, or depends on an unmet one
    + found: the finding; empty where it is met
    """

    precondition: Precondition
    state: State
    found: str = ""

    @property
    def is_refused(self) -> bool:
        """Whether k3s would fail for it."""
        return self.state == "unmet" and self.precondition.severity == "error"


_SPACE_BYTES = 2**30
_SPACE_SHARE = 0.06
_OF_K3S = ("cali", "cilium", "cni", "flannel", "kube-", "lxc", "tunl", "veth", "vxlan")
"""How links of a node are called that k3s and its network plugins make."""
_SHOWN = 3
"""How many of several are named."""


@dataclass(frozen=True)
class _Seen:
    """What one guest is judged by.

    + guest: the guest as it is desired
    + snapshot: its host
    + host: the latter's facts
    + probe: the guest's results
    """

    guest: Guest
    snapshot: Snapshot
    host: Host
    probe: K3sProbe

    @cached_property
    def missing_modules(self) -> tuple[str, ...]:
        return tuple(name for name in MODULES if name not in self.host.modules)

    @cached_property
    def k3s(self) -> K3s:
        return self.guest.k3s or K3s()


def probed(guests: Iterable[Guest], *, every: bool = False) -> tuple[Guest, ...]:
    """Return the guests to test: those that should run and have `k3s`.

    + every: those without `k3s` too
    """
    return tuple(guest for guest in guests if guest.state == "running" and (every or guest.k3s))


def rows(guest: Guest, snapshot: Snapshot) -> tuple[Row, ...] | Unreadable:
    """Return the state of every precondition of k3s in a guest.

    `Unreadable` where it could not be determined: also of a guest that does not run, or was not asked.
    """
    host = snapshot.host
    if isinstance(host, Unreadable):
        return host
    if isinstance(snapshot.guests, Unreadable):
        return snapshot.guests
    probe = snapshot.k3s.guests.get(guest.name, Unreadable("the guest does not run"))
    if isinstance(probe, Unreadable):
        return probe
    seen = _Seen(guest, snapshot, host, probe)
    found: dict[str, Row] = {}
    for precondition in PRECONDITIONS:
        found[precondition.name] = _row(precondition, seen, found)
    return tuple(found.values())


def k3s_ready(comparison: Comparison) -> Iterator[Step | Finding]:
    """Yield every unmet precondition of k3s of a guest with `k3s`.

    A guest that does not run is an error too: an unknown state is not a met precondition.
    """
    guest = comparison.guest
    if guest.k3s is None or guest.state != "running":
        return
    found = rows(guest, comparison.snapshot)
    if isinstance(found, Unreadable):
        problem = f"the preconditions of k3s could not be tested: {found.reason}"
        hint = f'Run "systemctl -M {guest.name} list-jobs" on the host.'
        yield Finding("unreadable", problem, hint, guest=guest.name, field="k3s", severity="error")
        return
    for row in found:
        if row.state == "unmet":
            yield _finding(row, guest.name)


def k3s_planned(comparison: Comparison) -> Iterator[Step | Finding]:
    """Yield what `k3s_ready` refuses of a guest as it is now, where no step is due that may change it."""
    if not plan_guest(comparison.guest, comparison.snapshot).steps:
        yield from (
            item for item in k3s_ready(comparison) if isinstance(item, Finding) and item.severity == "error"
        )


def _finding(row: Row, guest: str) -> Finding:
    precondition = row.precondition
    return Finding(
        "unfit",
        f"not ready for k3s: {precondition.name}: {row.found}",
        precondition.hint,
        guest=guest,
        field=f"k3s.{precondition.name}",
        wanted=precondition.needed,
        seen=row.found,
        severity=precondition.severity,
    )


def _row(precondition: Precondition, seen: _Seen, before: dict[str, Row]) -> Row:
    lacking = [name for name in precondition.after if before[name].state != "met"]
    lacking += [name for name in precondition.modules if name in seen.missing_modules]
    if lacking:
        return Row(precondition, "untried", f"needs {', '.join(lacking)}")
    if precondition.name == "overlay" and seen.k3s.snapshotter != "overlayfs":
        return Row(precondition, "untried", f"the snapshotter is {seen.k3s.snapshotter}")
    judge = _JUDGES.get(precondition.name)
    tried = judge(seen) if judge else seen.probe.tries[precondition.name]
    if precondition.name == "overlay" and tried.met is False and seen.k3s.binary:
        return Row(precondition, "untried", "not needed: k3s takes the snapshotter native")
    return Row(precondition, _STATES[tried.met], "" if tried.met else tried.said or "it fails")


_STATES: dict[bool | None, State] = {True: "met", False: "unmet", None: "untried"}


def _unless(problem: str) -> Try:
    """Return what was tested: met without a problem."""
    return Try(not problem, problem)


def _some(items: Sequence[str]) -> str:
    """Return the first of these, and how many more there are: a guest may invent any number."""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return "; ".join(items[:_SHOWN]) + more


def _modules(seen: _Seen) -> Try:
    return _unless(f"without {', '.join(seen.missing_modules)}" if seen.missing_modules else "")


def _sysctls(seen: _Seen) -> Try:
    found = seen.host.sysctls
    own = {name: value for name, value in SYSCTLS.items() if not name.startswith("net.")}
    differs = [
        f"{name} is {found.get(name, 'missing')}, not {value}"
        for name, value in own.items()
        if found.get(name) != value
    ]
    return _unless("; ".join(differs))


def _connections(seen: _Seen) -> Try:
    found = number(seen.host.sysctls.get("net.netfilter.nf_conntrack_max", ""))
    if found is None:
        return Try(None, "not known")
    return _unless("" if found >= CONNECTIONS else f"it is {found}")


def _space(seen: _Seen) -> Try:
    free, size = seen.probe.free_bytes, seen.probe.size_bytes
    enough = free >= _SPACE_BYTES and free >= size * _SPACE_SHARE
    return _unless("" if enough else f"{free // 2**20} of {size // 2**20} MiB are free")


def _swap(seen: _Seen) -> Try:
    return _unless(_some(seen.probe.swaps))


def _clock(seen: _Seen) -> Try:
    synchronized = seen.snapshot.k3s.clock_synchronized
    return Try(synchronized, "not known" if synchronized is None else "not synchronized")


def _ranges(seen: _Seen) -> Try:
    """Return the networks that overlap with those of pods and services; the links of k3s itself do."""
    network = seen.snapshot.network
    if isinstance(network, Unreadable):
        return Try(None, network.reason)
    taken = {
        f"{route.network} ({route.link})": route.network
        for route in seen.probe.routes
        if route.link != "lo" and not route.link.startswith(_OF_K3S)
    }
    for link in network.links.values():
        taken |= {
            f"{address} (the host's {link.name})": str(ip_interface(address).network)
            for address in link.addresses
        }
    clashes = [
        f"{label} overlaps with {key} {cidr}"
        for key, cidrs in seen.k3s.ranges.items()
        for cidr in cidrs
        for label, other in taken.items()
        if _overlap(cidr, other)
    ]
    return _unless(_some(sorted(clashes)))


def _overlap(one: str, other: str) -> bool:
    first, second = ip_network(one, strict=False), ip_network(other, strict=False)
    return first.version == second.version and first.overlaps(second)


_JUDGES: dict[str, Callable[[_Seen], Try]] = {
    "modules": _modules,
    "sysctls": _sysctls,
    "connections": _connections,
    "space": _space,
    "ranges": _ranges,
    "swap": _swap,
    "clock": _clock,
}
"""What judges a precondition that is not tested in the guest."""
