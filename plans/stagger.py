"""In which order the guests of a host start with it."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra_nspawn.specs import Guest


def staggered(guests: Sequence[Guest], at_once: int) -> tuple[Guest, ...]:
    """Return the guests, each after those that it waits for when the host starts.

    + guests: all guests of one host, whose `after` makes no circle
    + at_once: how many may start side by side

    systemd starts all at once and has no limit for that (systemd#6232), so that thirty guests would be
    slower than one after the other, and time out. The guests that start with the host go in lanes, each
    waiting for the one before it in its lane. A guest's lane comes from its name: one more guest on the
    host changes the file of one other, not of all.
    """
    last: dict[int, str] = {}
    found = {}
    for guest in in_order(guests):
        lane = zlib.crc32(guest.name.encode()) % at_once
        before = last.get(lane)
        if guest.autostart and guest.state != "absent":
            last[lane] = guest.name
            if before and before not in guest.after:
                guest = guest.model_copy(update={"after": (*guest.after, before)})  # noqa: PLW2901
        found[guest.name] = guest
    return tuple(found[guest.name] for guest in guests)


def in_order(guests: Sequence[Guest]) -> list[Guest]:
    """Return the guests by name, but none before one that it starts after.

    Whoever waits for one before it in this order makes no circle, not even with a file that was written
    when there were fewer guests or more.
    """
    waiting = {guest.name: guest for guest in guests}
    found: list[Guest] = []
    while waiting:
        free = min(name for name, guest in waiting.items() if not waiting.keys() & guest.after)
        found.append(waiting.pop(free))
    return found
