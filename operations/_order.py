"""In which order guests are changed in a run, across its hosts, and when no other is changed any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.specs.cluster import node_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyinfra_nspawn.operations._turns import Turns
    from pyinfra_nspawn.specs import Guest


class Order:
    """Guests one after another, each whatever became of those before."""

    def refusal(self, guest: str, *, due: bool = True) -> Finding | None:
        """Return why a guest, or the host (""), is not changed; None where it may be.

        + due: whether there is anything to change, and its plan allows that
        """

    def done(self, guest: str) -> None:
        """Record a guest, or the host (""), that was found, or left, as desired."""

    def end(self) -> None:
        """Record that all were tried."""


class BackupOrder(Order):
    """Backups: no other guest of the host is stopped after one whose backup failed."""

    def __init__(self) -> None:
        self._open: list[str] = []

    def refusal(self, guest: str, *, due: bool = True) -> Finding | None:
        """Return an error where the backup of another guest failed before."""
        if not due:
            return None
        if self._open:
            problem = f"not tried: the backup of guest {self._open[0]} failed before"
            hint = "Fix that, then run again."
            return Finding("unfit", problem, hint, guest=guest, field="backup", severity="error")
        self._open.append(guest)
        return None

    def done(self, guest: str) -> None:
        """Record a guest that is backed up."""
        if guest in self._open:
            self._open.remove(guest)


class NodeOrder(Order):
    """Nodes of clusters: which of them are as desired is known to those that wait for them.

    + guests: the nodes
    + turns: those of a cluster, by its name
    """

    def __init__(self, guests: Sequence[Guest], turns: Callable[[str], Turns]) -> None:
        self._guests = {guest.name: guest for guest in guests}
        self._turns = turns

    def done(self, guest: str) -> None:
        """Record a node that is ready."""
        node = self._guests[guest]
        if node.k3s:
            self._turns(node.k3s.cluster).done.add(node_name(node))


class UpgradeOrder(Order):
    """Upgrades: none after one that failed, on whatever host, and none before those of earlier hosts.

    + turns: of the upgrades of this run; those that are done are hosts
    + host: whose guests these are
    + after: hosts that must be done before
    """

    def __init__(self, turns: Turns, host: str, after: Sequence[str]) -> None:
        self._turns = turns
        self._host = host
        self._after = after
        self._open: set[str] = set()

    def refusal(self, guest: str, *, due: bool = True) -> Finding | None:  # noqa: ARG002
        """Return an error where another guest failed before, or where an earlier host is not done."""
        self._see_failures()
        late = [name for name in self._after if name not in self._turns.done]
        if self._turns.stopped_by:
            problem = f"not tried: the upgrade of {self._turns.stopped_by} failed before"
        elif late:
            problem = f"not tried: host {late[0]} was not upgraded before"
        else:
            self._open.add(guest)
            return None
        hint = "Fix that, then run again."
        return Finding("unfit", problem, hint, guest=guest, field="upgrade", severity="error")

    def done(self, guest: str) -> None:
        """Record a guest that boots what its source names."""
        self._open.discard(guest)

    def end(self) -> None:
        """Record the host, once all its guests are done."""
        self._see_failures()
        if not self._turns.stopped_by:
            self._turns.done.add(self._host)

    def _see_failures(self) -> None:
        for guest in sorted(self._open):
            name = f"guest {guest} on {self._host}" if guest else f"host {self._host}"
            self._turns.stopped_by = self._turns.stopped_by or name
