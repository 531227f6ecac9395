"""The summary at the end of a run: a line for each host and each guest.

pyinfra's own table names operations, not guests. It is not printed at all when every host failed, or when
more failed than `--fail-percent` allows; so this one is printed when the process ends.
"""

from __future__ import annotations

import atexit
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.reports.seen import booted_by_guest, booted_by_host, state_of
from pyinfra_nspawn.reports.table import Line, print_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from pyinfra.api.state import State

    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.plans.finding import Finding
    from pyinfra_nspawn.plans.plan import Plan

_COLUMNS = ("host", "guest", "state", "commit", "version", "result")
_COMMIT_DIGITS = 12


@dataclass(frozen=True)
class Row:
    """What a run says of one host (`guest` is empty) or of one guest.

    + state: of the guest, as its host sees it; empty for a host
    + commit, version: of the deployment that it boots; empty where there is none
    + result: what was done, or is to do, or what is wrong
    + failed: whether the run fails for it
    """

    host: str
    guest: str
    state: str
    commit: str
    version: str
    result: str
    failed: bool = False


@dataclass(frozen=True)
class _Record:
    """What one operation did about one guest, or about the host itself."""

    plan: Plan
    snapshot: Snapshot
    changed: Sequence[str]
    errors: Sequence[Finding]


class Summary:
    """The rows of one run, and the hosts that it lost sight of."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._records: dict[tuple[str, str], dict[str, _Record]] = {}
        self._said: dict[tuple[str, str, Finding], str] = {}
        self._expected: set[tuple[str, str]] = set()

    def expect(self, host: str, guests: Iterable[str]) -> None:
        """Have a row for each of these guests, even if the run ends before it reaches them."""
        self._expected.update((host, guest) for guest in guests)

    def add(
        self,
        host: str,
        plan: Plan,
        snapshot: Snapshot,
        changed: Sequence[str],
        errors: Sequence[Finding],
        *,
        operation: str = "",
    ) -> None:
        """Record how one guest, or the host itself, is after its steps.

        + operation: whose record it is; a later one of the same operation, which ran after it was planned or
          was tried again, replaces it
        """
        records = self._records.setdefault((host, plan.guest), {})
        records.pop(operation, None)  # the latest record is the last
        records[operation] = _Record(plan, snapshot, tuple(changed), tuple(errors))

    def is_news(self, host: str, finding: Finding, stage: str, operation: str) -> bool:
        """Return whether no other operation has shown this finding in the same stage of the run."""
        return self._said.setdefault((host, stage, finding), operation) == operation

    @property
    def rows(self) -> list[Row]:
        """All rows, by host and guest; a host that could not be connected to has one."""
        found = {key: _row(*key, list(records.values())) for key, records in self._records.items()}
        for key in self._expected - set(found):
            found[key] = Row(*key, "unknown", "", "", "not tried", failed=True)
        for host in self._state.inventory:
            if self._state.is_host_in_limit(host) and host not in self._state.activated_hosts:
                found[host.name, ""] = Row(host.name, "", "", "", "", "unreachable", failed=True)
        return [found[key] for key in sorted(found)]

    def show(self, file: TextIO) -> None:
        """Print the rows as a table; one that is not a terminal's is as wide as it needs to be."""
        print_table(_COLUMNS, map(_line, self.rows), file)


def _line(row: Row) -> Line:
    cells = (row.host, row.guest or "-", row.state, row.commit, row.version, row.result)
    return Line(cells, alarming=row.failed)


def _row(host: str, guest: str, records: Sequence[_Record]) -> Row:
    snapshot = records[-1].snapshot
    deployment = booted_by_guest(guest, snapshot) if guest else booted_by_host(snapshot)
    return Row(
        host,
        guest,
        state_of(guest, snapshot) if guest else "",
        deployment.checksum[:_COMMIT_DIGITS] if deployment else "",
        (deployment.version or "") if deployment else "",
        _result(records),
        failed=any(record.errors for record in records),
    )


def _result(records: Sequence[_Record]) -> str:
    """Return what all operations of the run say of one guest, or of the host."""
    errors = [error for record in records for error in record.errors]
    if errors:
        return " ".join(_once(f"{error.problem}. {error.hint}".rstrip() for error in errors))
    changed = [verb for record in records for verb in record.changed]
    due = [step.verb for record in records if not record.changed for step in record.plan.steps]
    done = [f"done: {', '.join(_once(changed))}"] if changed else []
    done += [f"due: {', '.join(_once(due))}"] if due else []
    notes = [note.problem for record in records for note in record.plan.notes]
    return "; ".join(_once([*(done or ["nothing to do"]), *notes]))


def _once(texts: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(texts)


_SUMMARIES: list[Summary] = []


def summary_of(state: State) -> Summary:
    """Return the summary of a run; it is printed to stderr when the process ends."""
    for summary in _SUMMARIES:
        if summary._state is state:
            return summary
    summary = Summary(state)
    _SUMMARIES.append(summary)
    atexit.register(summary.show, sys.stderr)
    return summary
