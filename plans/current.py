"""Choose the deployment that a guest boots."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison


def current(comparison: Comparison) -> Iterator[Step | Finding]:
    """Point `current` at the deployment of the source's commit, when it points at none."""
    if comparison.moves or comparison.current:
        return
    guest, chosen = comparison.guest, comparison.candidate
    what = f"deployment {chosen.id[:12]}" if chosen else f"the deployment of {guest.source}"
    seen = comparison.seen.current_deployment
    yield Finding(
        "differs" if seen else "missing",
        f"`current` points at {seen[:12]}, which does not exist" if seen else "no deployment is chosen",
        guest=guest.name,
        field="current",
        wanted=chosen.id if chosen else comparison.commit or str(guest.source),
        seen=seen or "",
    )
    yield Step(
        f"point {comparison.layout.current} at {what}",
        "current",
        guest.name,
        (guest.sysroot, "guest" if guest.source.guest else comparison.commit or guest.source.refspec or ""),
    )
