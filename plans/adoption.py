"""A guest that somebody made by hand, and that is ours from now on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.nspawn import Guests, GuestSeen
from pyinfra_nspawn.facts.ostree import Sysroots
from pyinfra_nspawn.plans.foreign import foreign, foreign_diffs, foreign_files, is_foreign_stateroot
from pyinfra_nspawn.plans.plan import Plan, Step
from pyinfra_nspawn.plans.readable import readable
from pyinfra_nspawn.specs.host import HOST_SYSROOT

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.base import Unreadable
    from pyinfra_nspawn.facts.ostree import Deployment, HostSysroots, Sysroot
    from pyinfra_nspawn.specs import Guest


def adoption(
    guest: Guest,
    sysroots: HostSysroots | Unreadable,
    guests: dict[str, GuestSeen] | Unreadable,
) -> Plan:
    """Take over a hand-made guest: its stateroot and the deployment that it runs; move its files aside."""
    read = readable(guest, sysroots, guests)
    if isinstance(read, Plan):
        return read
    seen, host = read.seen, read.host
    if refused := foreign(guest, seen, host):
        return refused
    if not _is_to_adopt(guest, seen, host):
        return Plan()
    files = foreign_files(guest, seen)
    chosen = "" if seen.current else _chosen(guest, seen, host)
    if chosen is None:
        return Plan(refusals=(_no_choice(guest, files, host),))
    what = f", its stateroot in the host's /ostree, its deployment {chosen[:12]}" if chosen else ""
    moved = "".join(f"; move {path} aside" for path in files)
    step = Step(
        f"adopt guest {guest.name}{what}{moved}",
        "adopt",
        (guest.name, chosen, *files),
        changes=(Guests, Sysroots),
    )
    return Plan(steps=(step,), diffs=foreign_diffs(guest, seen))


def adopted(guest: Guest, seen: GuestSeen, host: Sysroot) -> GuestSeen:
    """Return the guest as the plans after its adoption find it: as it is, when it is not to be adopted."""
    if not _is_to_adopt(guest, seen, host):
        return seen
    theirs = foreign_files(guest, seen)
    seen = replace(seen, files={path: file for path, file in seen.files.items() if path not in theirs})
    chosen = None if seen.current else _chosen(guest, seen, host)
    if chosen is None:
        return seen
    stateroot = f"{HOST_SYSROOT}/ostree/deploy/{guest.name}"
    return replace(seen, stateroot=stateroot, current=f"{stateroot}/deploy/{chosen}")


def _is_to_adopt(guest: Guest, seen: GuestSeen, host: Sysroot) -> bool:
    """Tell whether there is something of somebody else's, or of an adoption that was killed."""
    begun = seen.stateroot and not seen.current and host.of_stateroot(guest.name)
    theirs = not seen.current and is_foreign_stateroot(guest, seen, host)
    return guest.adopt and bool(foreign_files(guest, seen) or theirs or begun)


def _chosen(guest: Guest, seen: GuestSeen, host: Sysroot) -> str | None:
    """Return the deployment that a hand-made guest runs, or the only one that it has."""
    deployments: tuple[Deployment, ...] = host.of_stateroot(guest.name)
    runs = seen.machine.deployment if seen.machine else None
    if any(item.id == runs for item in deployments):
        return runs
    return deployments[0].id if len(deployments) == 1 else None


def _no_choice(guest: Guest, files: list[str], host: Sysroot) -> str:
    if host.of_stateroot(guest.name):
        return (
            f"guest {guest.name}: it does not run and has several deployments: start it, so that the one "
            "that it runs is adopted, or undeploy the others"
        )
    return (
        f"guest {guest.name}: the host's /ostree has no deployment of a stateroot {guest.name} to adopt: "
        f"move {', '.join(files) or 'the stateroot'} away"
    )
