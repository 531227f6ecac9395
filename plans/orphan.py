"""Guests of ours on a host that its inventory does not name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.foreign import is_our_guest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.specs import Guest


def orphans(guests: Iterable[Guest], snapshot: Snapshot) -> Iterator[Finding]:
    """Yield a finding for each guest of ours that no inventory names; a run leaves it as it is.

    + guests: all guests that the inventory names

    What is left of a guest whose `state` was `absent`, its /var, is no guest any more.
    """
    if not isinstance(snapshot.guests, dict):
        return
    named = {guest.name for guest in guests}
    for name, seen in sorted(snapshot.guests.items()):
        if name not in named and isinstance(seen, GuestSeen) and is_our_guest(seen):
            yield Finding(
                "orphan",
                "no inventory names this guest",
                "Add it to the inventory, or give it there the `state` 'absent'.",
                guest=name,
                field="guests",
                seen="running" if seen.unit and seen.unit.active else "stopped",
                severity="note",
            )
