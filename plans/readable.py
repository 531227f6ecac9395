"""What every plan about a guest's sysroot needs to have been read: unknown is not absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import GuestSeen
from pyinfra_nspawn.plans.plan import Plan, refusal

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot
    from pyinfra_nspawn.specs import Guest


@dataclass(frozen=True)
class Readable:
    """A guest and the sysroots that it can be in, as they were seen.

    + host: the host's own sysroot
    + private: the guest's own; None when there is none
    + seen: the guest
    """

    host: Sysroot
    private: Sysroot | None
    seen: GuestSeen


def readable(
    guest: Guest,
    sysroots: HostSysroots | Unreadable,
    guests: dict[str, GuestSeen] | Unreadable,
) -> Readable | Plan:
    """Return what was seen for `guest`, or the refusal of what could not be read."""
    if isinstance(sysroots, Unreadable):
        return refusal("the host's OSTree sysroots", sysroots)
    if isinstance(sysroots.host, Unreadable):
        return refusal("the host's OSTree sysroot", sysroots.host)
    private = sysroots.guests.get(guest.name)
    if isinstance(private, Unreadable):
        return refusal(f"the OSTree sysroot of guest {guest.name}", private, of_host=False)
    if isinstance(guests, Unreadable):
        return refusal("the host's guests", guests)
    return Readable(sysroots.host, private, guests.get(guest.name, GuestSeen()))
