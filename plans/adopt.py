"""Take over a guest that was made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.foreign import foreign_diffs, foreign_files, has_foreign_stateroot
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.specs.host import HOST_SYSROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.nspawn import GuestSeen
    from pyinfra_nspawn.plans.comparison import Comparison


def adopt(comparison: Comparison) -> Iterator[Step | Finding]:
    """Take over the stateroot and the deployment that the guest runs, and move its foreign files aside."""
    guest = comparison.guest
    if not (guest.adopt and _is_adoptable(comparison)):
        return
    files = foreign_files(comparison)
    chosen = "" if comparison.found.current else _chosen(comparison)
    what = f", its stateroot in the host's /ostree, its deployment {chosen[:12]}" if chosen else ""
    yield Finding(
        "foreign",
        f"{', '.join([*(['its stateroot'] if chosen else []), *files])} to adopt",
        guest=guest.name,
        field="adopt",
        wanted="ours",
        seen=chosen,
    )
    yield Step(
        f"adopt guest {guest.name}{what}{''.join(f'; move {path} aside' for path in files)}",
        "adopt",
        guest.name,
        (chosen, *files),
        diffs=foreign_diffs(comparison),
        sysroot=bool(chosen),
    )


def adopted(comparison: Comparison) -> GuestSeen:
    """Return the guest as the stages after its adoption find it: as it is, when nothing is adopted."""
    seen = comparison.found
    if not _is_adoptable(comparison):
        return seen
    theirs = foreign_files(comparison)
    seen = replace(
        seen,
        files={path: file for path, file in seen.files.items() if path not in theirs},
        dropins={path: text for path, text in seen.dropins.items() if path not in theirs},
    )
    if seen.current:
        return seen
    stateroot = f"{HOST_SYSROOT}/ostree/deploy/{comparison.guest.name}"
    return replace(seen, stateroot=stateroot, current=f"{stateroot}/deploy/{_chosen(comparison)}")


def _is_adoptable(comparison: Comparison) -> bool:
    """Return whether there is something foreign, or an adoption that was cut off."""
    seen = comparison.found
    begun = seen.stateroot and not seen.current and comparison.host.of_stateroot(comparison.guest.name)
    theirs = not seen.current and has_foreign_stateroot(comparison)
    return bool(foreign_files(comparison) or theirs or begun)


def _chosen(comparison: Comparison) -> str:
    """Return the deployment that a hand-made guest runs, or the only one that it has.

    Raises `Refused` when there is none to choose, or several and none that runs.
    """
    deployments = comparison.host.of_stateroot(comparison.guest.name)
    machine = comparison.found.machine
    runs = machine.deployment if machine else None
    if runs and any(item.id == runs for item in deployments):
        return runs
    if len(deployments) == 1:
        return deployments[0].id
    name = comparison.guest.name
    problem = f"the host's /ostree has no deployment of a stateroot {name} to adopt"
    hint = f"Move {', '.join(foreign_files(comparison)) or 'the stateroot'} away."
    if deployments:
        problem = "it does not run and has several deployments"
        hint = "Start it, so that the one that it runs is adopted, or undeploy the others."
    raise Refused(Finding("impossible", problem, hint, guest=name, field="adopt", severity="error"))
