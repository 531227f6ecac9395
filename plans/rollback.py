"""Boot the deployment that a guest booted before, with the /etc that it had; and back again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.trial import trial_step
from pyinfra_nspawn.plans.upgrade import unprepared

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.guest import Stage
    from pyinfra_nspawn.plans.step import Step


def rollback_to(targets: MutableMapping[str, str]) -> Stage:
    """Return the stage `rollback` of a run.

    + targets: where each guest goes in this run; filled at its first plan. A guest that is there already is
      not rolled forward again by a second plan
    """

    def rollback(comparison: Comparison) -> Iterator[Step | Finding]:
        """Restart the guest with its other deployment; the commit that it leaves is not tried again."""
        guest, seen = comparison.guest, comparison.seen
        if guest.state == "stopped" or guest.source.guest:
            raise Refused(_cannot(comparison))
        known = {item.id for item in comparison.deployments}
        fallback = seen.fallback_deployment
        if guest.name not in targets and fallback in known and fallback:
            targets[guest.name] = fallback
        target = targets.get(guest.name, "")
        if target and target == seen.current_deployment:
            return
        if target not in known:
            raise Refused(_nothing(comparison))
        yield Finding(
            "differs",
            f"it boots deployment {(seen.current_deployment or '')[:12]}",
            guest=guest.name,
            field="current",
            wanted=target,
            seen=seen.current_deployment or "",
        )
        yield from unprepared(comparison)
        yield trial_step(
            comparison,
            "rollback",
            f"restart guest {guest.name} with deployment {target[:12]} and the /etc that it had",
            (guest.sysroot, target),
        )

    return rollback


def _cannot(comparison: Comparison) -> Finding:
    guest = comparison.guest
    problem, hint = (
        "it is stopped, and a rollback restarts it",
        "Set its `state` to 'running', run deploys/guest.py.",
    )
    if guest.source.guest:
        problem, hint = "it deploys for itself", "Roll it back in the guest, with ostree."
    return Finding("impossible", problem, hint, guest=guest.name, field="state", severity="error")


def _nothing(comparison: Comparison) -> Finding:
    return Finding(
        "impossible",
        "it has no deployment to go back to",
        "It has one after an upgrade.",
        guest=comparison.guest.name,
        field="current",
        severity="error",
    )
