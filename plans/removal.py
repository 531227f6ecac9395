"""A guest that is to be there no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.nspawn import Guests, GuestSeen
from pyinfra_nspawn.facts.ostree import Sysroots
from pyinfra_nspawn.plans.adoption import adopted
from pyinfra_nspawn.plans.foreign import file_diff, foreign
from pyinfra_nspawn.plans.plan import Plan, Step
from pyinfra_nspawn.plans.readable import readable
from pyinfra_nspawn.plans.rendered import define
from pyinfra_nspawn.specs.base import MANAGED
from pyinfra_nspawn.specs.host import HOST_SYSROOT

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.base import Unreadable
    from pyinfra_nspawn.facts.ostree import HostSysroots
    from pyinfra_nspawn.specs import Guest


def removal(
    guest: Guest,
    sysroots: HostSysroots | Unreadable,
    guests: dict[str, GuestSeen] | Unreadable,
) -> Plan:
    """Remove all of a guest but its /var, and with `purge` that too; nothing of somebody else's."""
    read = readable(guest, sysroots, guests)
    if isinstance(read, Plan):
        return read
    seen = adopted(guest, read.seen, read.host)
    files = _files(guest, seen)
    shared = read.host if seen.stateroot else None
    deployments = [
        item for sysroot in (read.private, shared) if sysroot for item in sysroot.of_stateroot(guest.name)
    ]
    kept = seen.directory if guest.purge else None
    if not (files or deployments or seen.current or seen.credentials or kept):
        return Plan()
    if refused := foreign(guest, read.seen):
        return refused
    step = Step(
        _sentence(guest, len(deployments), HOST_SYSROOT if shared else guest.directory),
        "removal",
        (guest.name, "purge" if guest.purge else ""),
        changes=(Guests, Sysroots),
        guest=guest.name,
    )
    return Plan(steps=(step,), diffs=tuple(file_diff(path, seen.files[path], "") for path in files))


def _files(guest: Guest, seen: GuestSeen) -> list[str]:
    """Return those of its files that are there and ours."""
    return [
        path
        for path in define(guest).files
        if path in seen.files and MANAGED in seen.files[path].content.splitlines()
    ]


def _sentence(guest: Guest, deployments: int, sysroot: str) -> str:
    rest = f"keep its /var, {sysroot}/ostree/deploy/{guest.name}/var"
    if guest.purge:
        rest = f"everything in {guest.directory}, its /var included"
    return (
        f"stop and disable {guest.unit}; remove guest {guest.name}: its files, credentials, "
        f"{deployments} deployment{'' if deployments == 1 else 's'}{' and ' if guest.purge else '; '}{rest}"
    )
