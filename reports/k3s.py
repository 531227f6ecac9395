"""The preconditions of k3s, as they were tested in each guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.ready import probed, rows
from pyinfra_nspawn.reports.report import FleetReport, Report
from pyinfra_nspawn.reports.table import Line, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import TextIO

    from pyinfra_nspawn.plans.ready import Row
    from pyinfra_nspawn.reports.visit import Visit
    from pyinfra_nspawn.specs import Guest

COLUMNS = ("host", "guest", "precondition", "state", "details")


class Tried(Report):
    """A precondition, and what was found of it."""

    name: str
    """Its name."""
    state: Literal["met", "unmet", "untried"]
    """`untried` where it could not be tested, or depends on an unmet one."""
    required: bool
    """Whether k3s fails without it."""
    found: str
    """What was found; empty where it is met."""
    needed: str
    """What must be so."""
    why: str
    """Who needs it, and for what."""
    source: str
    """Where that is said, or done."""
    hint: str
    """What to do about it; empty where it is met."""


class GuestProbe(Report):
    """The results of one guest."""

    host: str
    """The host's name in the inventory."""
    guest: str
    """The guest's name."""
    ready: bool | None
    """Whether no required precondition is unmet; None where that is not known."""
    preconditions: tuple[Tried, ...] = ()
    """All of them."""
    problem: str = ""
    """Why nothing was tested; empty when it was."""


class K3sReport(FleetReport):
    """The preconditions of k3s, in each guest."""

    guests: tuple[GuestProbe, ...]
    """The guests, by host and name."""

    @property
    def exit_code(self) -> int:
        """0 when every guest is ready, 1 when something could not be determined, else 2."""
        if any(guest.ready is None for guest in self.guests):
            return 1
        return 0 if all(guest.ready for guest in self.guests) else 2

    def show(self, file: TextIO) -> None:
        """Print a line for each precondition of each guest, and below why the unmet ones are needed."""
        if self.guests:
            print_table(COLUMNS, (line for guest in self.guests for line in _lines(guest)), file)
        unmet = {row.name: row for guest in self.guests for row in guest.preconditions if row.hint}
        if unmet:
            print(file=file)
            print_table(("unmet", "hint"), (Line((row.name, _advice(row))) for row in unmet.values()), file)


def k3s_of(visits: Iterable[Visit], *, every: bool = False) -> K3sReport:
    """Return what was tested in the guests of these hosts.

    + every: guests without `k3s` too
    """
    return K3sReport(
        guests=tuple(
            _probe(visit, guest)
            for visit in sorted(visits, key=lambda visit: visit.host)
            for guest in sorted(probed(visit.guests, every=every), key=lambda guest: guest.name)
        )
    )


def _probe(visit: Visit, guest: Guest) -> GuestProbe:
    if visit.snapshot is None:
        return _unknown(visit, guest, visit.problem)
    found = rows(guest, visit.snapshot)
    if isinstance(found, Unreadable):
        return _unknown(visit, guest, found.reason)
    return GuestProbe(
        host=visit.host,
        guest=guest.name,
        ready=not any(row.is_refused for row in found),
        preconditions=tuple(map(_tried, found)),
    )


def _unknown(visit: Visit, guest: Guest, problem: str) -> GuestProbe:
    return GuestProbe(host=visit.host, guest=guest.name, ready=None, problem=problem)


def _tried(row: Row) -> Tried:
    of = row.precondition
    return Tried(
        name=of.name,
        state=row.state,
        required=of.severity == "error",
        found=row.found,
        needed=of.needed,
        why=of.why,
        source=of.source,
        hint=of.hint if row.state == "unmet" else "",
    )


def _lines(guest: GuestProbe) -> Iterator[Line]:
    if guest.ready is None:
        yield Line((guest.host, guest.guest, "-", "unknown", guest.problem), alarming=True)
    for row in guest.preconditions:
        alarming = row.state == "unmet" and row.required
        yield Line((guest.host, guest.guest, row.name, row.state, row.found or row.needed), alarming=alarming)


def _advice(row: Tried) -> str:
    return f"{row.why[0].upper()}{row.why[1:]}. {row.hint}"
