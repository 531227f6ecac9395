"""Move a guest from one kind of sysroot into the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison

_OTHER = {"private": "shared", "shared": "private"}
_PLACES = {"private": "its own sysroot", "shared": "the host's /ostree"}


def move(comparison: Comparison) -> Iterator[Step | Finding]:
    """Move the guest with its deployment, /etc and /var; refuse where that would destroy something."""
    guest = comparison.guest
    unit = comparison.seen.unit
    running = unit is not None and unit.active
    if running and guest.on_change == "report":
        problem = f"a move into the {guest.sysroot} sysroot stops it, and `on_change` is 'report'"
        yield _impossible(comparison, problem, "Stop it, then run again.")
    if left := _left_behind(comparison):
        problem = f"a move takes along only the deployment that it boots, and not {', '.join(left)}"
        hint = "Remove what it does not take along, or leave the guest's `sysroot` as it was."
        yield _impossible(comparison, problem, hint)
    yield Finding(
        "differs",
        f"it is in the {_OTHER[guest.sysroot]} sysroot",
        guest=guest.name,
        field="sysroot",
        wanted=guest.sysroot,
        seen=_OTHER[guest.sysroot],
    )
    lost = "; it cannot be rolled back then, and a `snapshot` goes" if comparison.seen.fallback else ""
    places = f"from {_PLACES[_OTHER[guest.sysroot]]} into {_PLACES[guest.sysroot]}"
    yield Step(
        f"{'stop and ' if running else ''}move guest {guest.name} {places}, with its /etc and /var{lost}",
        "move",
        guest.name,
        (guest.sysroot,),
        sysroot=True,
    )


def _impossible(comparison: Comparison, problem: str, hint: str) -> Finding:
    guest = comparison.guest
    return Finding(
        "impossible",
        problem,
        hint,
        guest=guest.name,
        field="sysroot",
        wanted=guest.sysroot,
        seen=_OTHER[guest.sysroot],
        severity="error",
    )


def _left_behind(comparison: Comparison) -> list[str]:
    """Name what a move would destroy: other deployments of the guest, and refs that it made.

    The deployment that it would be rolled back to does not come along: an upgrade makes another.

    Nothing of a guest that boots from where it is wanted: what it has elsewhere is left of a move that was
    cut off.
    """
    guest, seen, other = comparison.guest, comparison.seen, comparison.other
    if other is None or not seen.current or seen.current.startswith(f"{comparison.layout.deployments}/"):
        return []
    deployments = [item.id for item in other.of_stateroot(guest.name)]
    known = (seen.current_deployment, seen.fallback_deployment)
    found = [f"deployment {name[:12]}" for name in deployments if name not in known]
    if guest.sysroot == "shared":
        # ostree's own are those of its deployments; ours hold a commit that is about to be deployed.
        ours = ("ostree/", "pyinfra-nspawn/")
        found += [f"ref {name}" for name in sorted(other.refs) if not name.startswith(ours)]
    return found
