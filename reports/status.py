"""What runs on a fleet, beside what its inventory wants to run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.k3s import K3sProbe
from pyinfra_nspawn.facts.nspawn import GuestSeen, Machine
from pyinfra_nspawn.plans.comparison import Comparison
from pyinfra_nspawn.plans.finding import Refused
from pyinfra_nspawn.plans.host import all_concerns_of, plan_host
from pyinfra_nspawn.plans.orphan import orphans
from pyinfra_nspawn.plans.ready import rows
from pyinfra_nspawn.reports.report import FleetReport, Report
from pyinfra_nspawn.reports.seen import booted_by_guest, booted_by_host, deployments_of, state_of
from pyinfra_nspawn.reports.table import Line, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from rich.console import Console

    from pyinfra_nspawn.facts.network import Network
    from pyinfra_nspawn.facts.ostree import Deployment
    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.reports.visit import Visit
    from pyinfra_nspawn.specs import Guest

COLUMNS = ("host", "guest", "state", "commit", "version", "details")
_DIGITS = 12


class GuestStatus(Report):
    """A guest as its host has it, and as its inventory wants it."""

    name: str
    """Machine name."""
    named: bool
    """Whether the inventory names it; the other guests of ours are orphans."""
    state: str
    """What its systemd says of it (`running`, `degraded`, ...), `starting`, `stopped`, `failed`, `absent`, or
    `unknown` where it could not be determined."""
    wanted_state: str
    """What the inventory wants: `running`, `stopped` or `absent`; empty for an orphan."""
    commit: str
    """The commit that it runs or, when it does not run, boots; empty without one."""
    version: str
    """The version that ostree knows of that commit; empty without one."""
    since: str
    """When it started, as an ISO 8601 time in UTC; empty when it does not run."""
    source: str
    """The inventory's `source`; empty for an orphan."""
    source_commit: str
    """The commit that the source names on this host now; empty where it could not be determined."""
    behind: bool | None
    """Whether the source is another commit than the one it boots; None where that is not known."""
    next: str = ""
    """The commit that it boots at its next start; empty without one."""
    fallback: str = ""
    """The commit that a rollback boots; empty without one."""
    pinned: tuple[str, ...] = ()
    """Commits that it has deployments of which no upgrade removes, by the inventory or by ostree."""
    refused: str = ""
    """The commit of its source, where no upgrade tries it again; else empty."""
    refused_problem: str = ""
    """Why not."""
    upgraded: str = ""
    """When it was last upgraded or rolled back, as an ISO 8601 time in UTC; empty if never."""
    down_seconds: float | None = None
    """How long it was down for that, until it was healthy; None if never."""
    backup: str = ""
    """When its latest archive on its host was taken, as an ISO 8601 time in UTC; empty without one."""
    autostart: bool | None
    """Whether it starts with its host; None where that is not known."""
    failed_units: tuple[str, ...] = ()
    """Units that failed in it."""
    restarting_units: tuple[str, ...] = ()
    """Units that keep restarting in it."""
    addresses: tuple[str, ...] = ()
    """Addresses of its network, but for loopback and link-local ones."""
    memory_bytes: int | None = None
    """Memory that its control group uses; None where that is not known."""
    disk_bytes: int | None = None
    """What its /etc and /var take, by its own word; None without `--disk`, and where that is not known."""
    k3s_unmet: tuple[str, ...] | None = None
    """The preconditions of k3s that are unmet; None where they were not tested."""
    node: str = ""
    """The state of its node and the version of k3s, as its cluster says, or why there is none; empty where no
    k3s was placed or asked."""
    problem: str = ""
    """Why something could not be determined; empty when all was."""


class LinkStatus(Report):
    """A bridge of a host, or a link of its default route."""

    name: str
    """The link's name."""
    manager: str
    """Who configures it: `systemd-networkd` or `NetworkManager`; empty for others."""
    addresses: tuple[str, ...] = ()
    """Its addresses with their prefixes, but for link-local ones."""
    ports: tuple[str, ...] = ()
    """What a bridge connects, links of guests among it."""


class HostStatus(Report):
    """A host, and the guests on it."""

    name: str
    """The host's name in the inventory."""
    state: Literal["ready", "refused", "unreadable", "unreachable"]
    """Whether guests can be run on it; `refused` where a run would refuse it."""
    commit: str = ""
    """The commit that it is booted from."""
    version: str = ""
    """The version that ostree knows of that commit."""
    problem: str = ""
    """Why it is not `ready`."""
    links: tuple[LinkStatus, ...] = ()
    """Its bridges and the links of its default routes, by name; empty where its network could not be read."""
    guests: tuple[GuestStatus, ...] = ()
    """Its guests, by name: those of the inventory, and orphans."""


class Status(FleetReport):
    """A fleet."""

    hosts: tuple[HostStatus, ...]
    """All hosts, by name."""

    @property
    def exit_code(self) -> int:
        """0 when every host could be looked at, else 1."""
        return int(any(host.state in ("unreadable", "unreachable") for host in self.hosts))

    def show(self, file: TextIO | Console, now: datetime | None = None) -> None:
        """Print a line for each host and guest, for people.

        + now: the time to which ages refer; the present one by default
        """
        now = now or datetime.now(UTC)
        lines = (line for host in self.hosts for line in _lines(host, now))
        print_table(COLUMNS, lines, file)


def status_of(visits: Iterable[Visit]) -> Status:
    """Return what these hosts and their guests are."""
    return Status(hosts=tuple(_host(visit) for visit in sorted(visits, key=lambda visit: visit.host)))


def _host(visit: Visit) -> HostStatus:
    seen = visit.snapshot
    if seen is None:
        return HostStatus(name=visit.host, state="unreachable", problem=visit.problem)
    errors = plan_host(visit.settings, visit.guests, seen, all_concerns_of(visit.settings)).errors
    unread = next((part for part in (seen.host, seen.guests) if isinstance(part, Unreadable)), None)
    booted = booted_by_host(seen)
    return HostStatus(
        name=visit.host,
        state="unreadable" if unread else "refused" if errors else "ready",
        commit=booted.checksum if booted else "",
        version=(booted.version or "") if booted else "",
        problem=" ".join(map(str, errors)) or (unread.reason if unread else ""),
        links=() if isinstance(seen.network, Unreadable) else tuple(_links(seen.network)),
        guests=() if isinstance(seen.guests, Unreadable) else tuple(_guests(visit, seen)),
    )


def _links(seen: Network) -> Iterator[LinkStatus]:
    for name, link in sorted(seen.links.items()):
        if link.kind == "bridge" or name in seen.uplinks:
            ports = sorted(port.name for port in seen.links.values() if port.master == name)
            yield LinkStatus(name=name, manager=link.manager, addresses=link.addresses, ports=tuple(ports))


def _guests(visit: Visit, seen: Snapshot) -> Iterator[GuestStatus]:
    named = {guest.name: guest for guest in visit.guests}
    others = {finding.guest for finding in orphans(visit.guests, seen)}
    for name in sorted({*named, *others}):
        yield _guest(name, named.get(name), seen)


def _guest(name: str, wanted: Guest | None, snapshot: Snapshot) -> GuestStatus:
    seen = snapshot.guests.get(name, GuestSeen()) if isinstance(snapshot.guests, dict) else GuestSeen()
    unread = seen if isinstance(seen, Unreadable) else None
    found = GuestSeen() if isinstance(seen, Unreadable) else seen
    machine = found.machine or Machine()
    runs, boots = _deployments(name, found, snapshot)
    source, problem = _source(wanted, snapshot)
    return GuestStatus(
        name=name,
        named=wanted is not None,
        state=state_of(name, snapshot),
        wanted_state=wanted.state if wanted else "",
        commit=runs.checksum if runs else "",
        version=(runs.version or "") if runs else "",
        since=found.unit.started if found.unit and found.unit.active else "",
        source=str(wanted.source) if wanted else "",
        source_commit=source,
        behind=boots.checksum != source if boots and source else None,
        **_life(name, wanted, found, snapshot),
        autostart=found.unit.enabled if found.unit else None,
        failed_units=machine.failed_units,
        restarting_units=machine.restarting_units,
        addresses=machine.addresses,
        memory_bytes=found.unit.memory_bytes if found.unit and found.unit.active else None,
        disk_bytes=machine.disk_bytes,
        k3s_unmet=_unmet(wanted, snapshot),
        node=_node(name, snapshot),
        problem=unread.reason if unread else machine.complaint or problem,
    )


def _life(name: str, wanted: Guest | None, seen: GuestSeen, snapshot: Snapshot) -> dict[str, Any]:
    """Return what a guest boots next, what became of its last upgrade, and when it was last backed up."""
    deployments = {item.id: item for item in deployments_of(name, snapshot)}
    boots = deployments.get(seen.current_deployment or "")
    fallback = deployments.get(seen.fallback_deployment or "")
    by_inventory = wanted.pinned if wanted else ()
    pinned = [item for item in deployments.values() if item.pinned or item.checksum in by_inventory]
    source, last = _source(wanted, snapshot)[0], seen.upgraded
    refused = source if source in seen.refused_commits else ""
    return {
        "next": boots.checksum if boots else "",
        "fallback": fallback.checksum if fallback else "",
        "pinned": tuple(dict.fromkeys(item.checksum for item in pinned)),
        "refused": refused,
        "refused_problem": seen.refused_commits.get(refused, ""),
        "upgraded": datetime.fromtimestamp(last.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if last else "",
        "down_seconds": last.down_seconds if last else None,
        "backup": seen.backups[-1].taken if seen.backups else "",
    }


def _unmet(wanted: Guest | None, snapshot: Snapshot) -> tuple[str, ...] | None:
    found = rows(wanted, snapshot) if wanted else None
    if not isinstance(found, tuple):
        return None
    return tuple(row.precondition.name for row in found if row.is_refused)


def _node(name: str, snapshot: Snapshot) -> str:
    probe = snapshot.k3s.guests.get(name)
    return probe.service.state if isinstance(probe, K3sProbe) and probe.service else ""


def _deployments(
    name: str, seen: GuestSeen, snapshot: Snapshot
) -> tuple[Deployment | None, Deployment | None]:
    """Return the deployment that a guest runs (else boots), and the one that it boots."""
    boots = booted_by_guest(name, snapshot)
    runs = seen.machine.deployment if seen.machine else None
    return next((item for item in deployments_of(name, snapshot) if item.id == runs), boots), boots


def _source(wanted: Guest | None, snapshot: Snapshot) -> tuple[str, str]:
    """Return the commit that a guest's source names now; or why that is not known."""
    if wanted is None or wanted.source.guest or wanted.state == "absent":
        return "", ""
    try:
        return Comparison(wanted, snapshot).commit or "", ""
    except Refused as refused:
        return "", refused.findings[0].problem


def _lines(host: HostStatus, now: datetime) -> Iterator[Line]:
    details = "; ".join([*([host.problem] if host.problem else []), *map(_link, host.links)])
    own = (host.name, "-", host.state, host.commit[:_DIGITS], host.version, details)
    yield Line(own, alarming=host.state != "ready")
    for guest in host.guests:
        details = "; ".join(_details(guest, now))
        cells = (host.name, guest.name, guest.state, guest.commit[:_DIGITS], guest.version, details)
        yield Line(cells, alarming=_is_alarming(guest))


def _is_alarming(guest: GuestStatus) -> bool:
    wanted = guest.wanted_state
    return bool(
        guest.problem
        or guest.failed_units
        or guest.restarting_units
        or guest.k3s_unmet
        or guest.refused
        or (guest.node and not guest.node.startswith("Ready"))
        or (wanted and wanted != guest.state)
    )


def _link(link: LinkStatus) -> str:
    ports = [f"with {', '.join(link.ports)}"] if link.ports else []
    return " ".join([link.name, *link.addresses, *ports])


def _details(guest: GuestStatus, now: datetime) -> Iterator[str]:
    manual = guest.autostart is False and guest.state != "absent"
    said = (
        (not guest.named, "orphan"),
        (guest.wanted_state not in ("", guest.state), f"wanted {guest.wanted_state}"),
        (guest.since, f"up {_age(guest.since, now)}"),
        (guest.behind, f"behind {guest.source} ({guest.source_commit[:_DIGITS]})"),
        (guest.next not in ("", guest.commit), f"boots {guest.next[:_DIGITS]} next"),
        (guest.refused, f"refused {guest.refused[:_DIGITS]}: {guest.refused_problem}"),
        (guest.fallback, f"falls back to {guest.fallback[:_DIGITS]}"),
        (guest.pinned, f"pinned: {', '.join(commit[:_DIGITS] for commit in guest.pinned)}"),
        (guest.upgraded, f"upgraded {_age(guest.upgraded, now)} ago, down {guest.down_seconds or 0:.1f} s"),
        (guest.backup, f"backed up {_age(guest.backup, now)} ago"),
        (manual, "does not start with its host"),
        (guest.failed_units, f"failed: {', '.join(guest.failed_units)}"),
        (guest.restarting_units, f"restarting: {', '.join(guest.restarting_units)}"),
        (guest.k3s_unmet, f"not ready for k3s: {', '.join(guest.k3s_unmet or ())}"),
        (guest.k3s_unmet == () and not guest.node, "ready for k3s"),
        (guest.node, f"node {guest.node}"),
        (guest.addresses, " ".join(guest.addresses)),
        (guest.memory_bytes is not None, f"{(guest.memory_bytes or 0) // 2**20} MiB"),
        (guest.disk_bytes is not None, f"{(guest.disk_bytes or 0) // 2**20} MiB on disk"),
        (guest.problem, guest.problem),
    )
    return (text for applies, text in said if applies)


def _age(since: str, now: datetime) -> str:
    if not since:
        return ""
    seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"
