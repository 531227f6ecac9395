"""Which of a guest's deployments are kept, and which go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.plans.upgrade import newer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.ostree import Deployment
    from pyinfra_nspawn.plans.comparison import Comparison


def retention(comparison: Comparison) -> Iterator[Step | Finding]:
    """Undeploy what is neither booted, nor run, nor the fallback, nor pinned, nor among the latest `keep`."""
    guest = comparison.guest
    if guest.source.guest or guest.state == "stopped" or comparison.current is None or comparison.moves:
        return
    extra = _extra(comparison)
    if not extra:
        return
    what = f"{len(extra)} deployment{'' if len(extra) == 1 else 's'}"
    yield Finding(
        "extra",
        f"{what} {'is' if len(extra) == 1 else 'are'} no longer kept",
        guest=guest.name,
        field="deployments",
        seen=", ".join(extra),
    )
    yield Step(
        f"remove {what} of guest {guest.name}: {', '.join(name[:12] for name in extra)}",
        "prune",
        guest.name,
        (guest.sysroot, *extra),
        sysroot=guest.sysroot == "shared",
    )


def _extra(comparison: Comparison) -> tuple[str, ...]:
    needed = _needed(comparison)
    spare = [
        item.id
        for item in comparison.deployments
        if not (item.id in needed or item.checksum in needed or _is_pinned(comparison, item))
    ]
    return tuple(spare[comparison.guest.keep :])


def _needed(comparison: Comparison) -> set[str | None]:
    """Return what the guest boots, runs and falls back to once the stage before is done.

    Of the commit that it is upgraded to no deployment may go: what a power cut has left of it may be made
    anew under the same name.
    """
    seen = comparison.seen
    needed = {seen.current_deployment, seen.machine.deployment if seen.machine else None}
    upgraded = "upgrade" in comparison.stages and comparison.guest.state == "running"
    newest = newer(comparison) if upgraded else None
    return needed | {newest or seen.fallback_deployment}


def _is_pinned(comparison: Comparison, deployment: Deployment) -> bool:
    """Return whether the inventory or ostree pins a deployment, or the host needs it."""
    by_ostree = deployment.pinned or deployment.booted or deployment.staged
    return by_ostree or deployment.checksum in comparison.guest.pinned
