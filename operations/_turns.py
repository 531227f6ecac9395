"""Limit how many hosts of a run act at once, and stop after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gevent.lock import BoundedSemaphore
from pyinfra import logger

if TYPE_CHECKING:
    from pyinfra.api.host import Host
    from pyinfra.api.state import State


class Turns:
    """The turns of a run.

    + turn: held by those whose turn it is
    + single: held where one at a time may have a turn, whatever the inventory says
    + stopped_by: the first that failed; empty before
    + done: those that were found, or left, as desired
    """

    def __init__(self, at_once: int) -> None:
        self.turn = BoundedSemaphore(at_once)
        self.single = BoundedSemaphore(1)
        self.stopped_by = ""
        self.done: set[str] = set()


_ROLLBACKS: WeakKeyDictionary[State, dict[str, dict[str, str]]] = WeakKeyDictionary()
_TURNS: WeakKeyDictionary[State, dict[tuple[str, str], Turns]] = WeakKeyDictionary()


def turns_of(state: State, host: Host, kind: str, of: str = "") -> Turns:
    """Return the turns of a kind: one host at a time, or as many as the data key `KIND_at_once` says.

    + kind: `network`, `k3s` or `upgrade`
    + of: whose turns, where there are several of a kind: the name of a cluster
    """
    found = _TURNS.setdefault(state, {})
    if (kind, of) not in found:
        key = f"{kind}_at_once"
        found[kind, of] = Turns(_at_once(key, host.data.get(key, 1)))
    return found[kind, of]


def _at_once(key: str, value: object) -> int:
    """Return how many hosts may act at once; one where the value is not a number."""
    if isinstance(value, int) and value > 0:
        return value
    logger.warning("%s", f"{key}: must be a number above 0; one host at a time")
    return 1


def rollbacks_of(state: State, host: Host) -> dict[str, str]:
    """Return where the guests of a host go that are rolled back in this run, by name.

    An operation that pyinfra tries again (`_retries`) must not roll forward those that arrived.
    """
    return _ROLLBACKS.setdefault(state, {}).setdefault(host.name, {})
