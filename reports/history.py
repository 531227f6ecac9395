"""What was changed on hosts, as their journals have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.reports.report import FleetReport, Report
from pyinfra_nspawn.reports.table import Line, print_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from pyinfra_nspawn.facts.history import Change

COLUMNS = ("time", "host", "guest", "step", "result", "version", "by")


class Entry(Report):
    """A step that changed something, or failed."""

    time: str
    """When it ended, as an ISO 8601 time in UTC."""
    host: str
    """The host's name in the inventory."""
    guest: str
    """The guest's name; empty for the host itself."""
    verb: str
    """The step."""
    result: Literal["changed", "failed"]
    """How it ended."""
    by: str
    """Who ran it, USER@CONTROLLER, as the controller says."""
    login: str
    """Who became root on the host."""
    package_version: str
    """The version of pyinfra-nspawn."""


class HistoryReport(FleetReport):
    """What was changed on hosts."""

    entries: tuple[Entry, ...]
    """All entries, oldest first."""
    problems: dict[str, str]
    """Why a host's history could not be read, by its name."""

    @property
    def exit_code(self) -> int:
        """0 when every history could be read, else 1."""
        return int(bool(self.problems))

    def show(self, file: TextIO) -> None:
        """Print the entries as a table for people, and below it what could not be read."""
        if self.entries:
            print_table(COLUMNS, map(_line, self.entries), file)
        if self.problems:
            lines = (Line((host, text), alarming=True) for host, text in self.problems.items())
            print_table(("host", "problem"), lines, file)


def history_of(found: Mapping[str, tuple[Change, ...] | Unreadable]) -> HistoryReport:
    """Return the histories of these hosts as one.

    + found: what was read, by the host's name
    """
    entries = [
        _entry(host, change)
        for host, changes in found.items()
        if not isinstance(changes, Unreadable)
        for change in changes
    ]
    return HistoryReport(
        entries=tuple(sorted(entries, key=lambda entry: entry.time)),
        problems={host: item.reason for host, item in found.items() if isinstance(item, Unreadable)},
    )


def _entry(host: str, change: Change) -> Entry:
    result: Literal["changed", "failed"] = "failed" if change.result == "failed" else "changed"
    return Entry(
        time=change.time,
        host=host,
        guest=change.guest,
        verb=change.verb,
        result=result,
        by=change.by,
        login=change.login,
        package_version=change.version,
    )


def _line(entry: Entry) -> Line:
    by = f"{entry.by} as {entry.login}" if entry.login else entry.by
    time = entry.time.partition(".")[0].replace("T", " ")
    cells = (time, entry.host, entry.guest or "-", entry.verb, entry.result, entry.package_version, by)
    return Line(cells, alarming=entry.result == "failed")
