"""What of a fleet differs from what its inventory wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding, Kind
from pyinfra_nspawn.plans.guest import plan_guest
from pyinfra_nspawn.plans.host import all_concerns_of, plan_host
from pyinfra_nspawn.plans.k3s_node import k3s_node
from pyinfra_nspawn.plans.orphan import orphans
from pyinfra_nspawn.plans.ready import k3s_ready
from pyinfra_nspawn.reports.report import FleetReport, Report
from pyinfra_nspawn.reports.table import Line, print_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import TextIO

    from pyinfra_nspawn.reports.visit import Visit

COLUMNS = ("host", "guest", "kind", "field", "finding")
UNDETERMINED: frozenset[Kind] = frozenset({"unreadable", "unreachable"})
"""The kinds that leave it open whether there is drift."""


class Difference(Report):
    """One finding about a host, or about one of its guests."""

    host: str
    """The host's name in the inventory."""
    guest: str
    """The guest's name; empty for the host itself."""
    kind: Kind
    """What sort of finding it is."""
    field: str
    """What it is about: a field of the inventory, a file, or a property of the host."""
    problem: str
    """One line for people."""
    hint: str
    """What to do about it; empty where the next run of the deploys removes it."""
    wanted: str
    """What the inventory wants; empty where it has no value, and for what is secret."""
    seen: str
    """What was seen; empty where it has no value, and for what is secret."""


class Drift(FleetReport):
    """Every finding about a fleet."""

    hosts: tuple[str, ...]
    """The hosts that were looked at, or could not be."""
    findings: tuple[Difference, ...]
    """All findings, by host and guest."""

    @property
    def exit_code(self) -> int:
        """0 without findings, 1 when something could not be determined, else 2."""
        if any(finding.kind in UNDETERMINED for finding in self.findings):
            return 1
        return 2 if self.findings else 0

    def show(self, file: TextIO) -> None:
        """Print the findings as a table for people, and nothing where there are none."""
        if self.findings:
            print_table(COLUMNS, map(_line, self.findings), file)


def drift_of(visits: Iterable[Visit], ignored: Collection[str] = ()) -> Drift:
    """Return what of these hosts differs from what their inventory wants.

    + ignored: kinds of findings to leave out
    """
    visits = sorted(visits, key=lambda visit: visit.host)
    found = (
        _difference(visit.host, finding)
        for visit in visits
        for finding in sorted(_findings(visit), key=lambda item: item.guest)
        if finding.kind not in ignored
    )
    return Drift(hosts=tuple(visit.host for visit in visits), findings=tuple(found))


def _findings(visit: Visit) -> Iterator[Finding]:
    """Yield what a run would find, and the guests that it would not look for."""
    seen = visit.snapshot
    if seen is None:
        yield Finding("unreachable", visit.problem, "Check the host and its SSH data.", severity="error")
        return
    yield from plan_host(visit.settings, visit.guests, seen, all_concerns_of(visit.settings)).findings
    if isinstance(seen.guests, Unreadable):
        if isinstance(seen.host, Unreadable):
            return  # for the same reason, which is reported of the host
        problem = f"the host's guests could not be read: {seen.guests.reason}"
        yield Finding("unreadable", problem, field="guests", severity="error")
        return
    for guest in visit.guests:
        plan = plan_guest(guest, seen)
        yield from plan.findings
        if guest.k3s and not (plan.errors or plan.steps):
            yield from plan_guest(guest, seen, (k3s_ready,)).errors
            yield from plan_guest(guest, seen, (k3s_node(()),)).findings
    if visit.settings.state == "present":  # else they are errors of the host
        yield from orphans(visit.guests, seen)


def _difference(host: str, finding: Finding) -> Difference:
    return Difference(
        host=host,
        guest=finding.guest,
        kind=finding.kind,
        field=finding.field,
        problem=finding.problem,
        hint=finding.hint,
        wanted=finding.wanted,
        seen=finding.seen,
    )


def _line(finding: Difference) -> Line:
    text = f"{finding.problem}. {finding.hint}" if finding.hint else finding.problem
    cells = (finding.host, finding.guest or "-", finding.kind, finding.field, text)
    return Line(cells, alarming=finding.kind in UNDETERMINED)
