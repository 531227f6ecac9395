"""A running guest that differs from what it would be after a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding

if TYPE_CHECKING:
    from pyinfra_nspawn.plans.comparison import Comparison


def outdated(comparison: Comparison, field: str, problem: str) -> Finding:
    """Return the finding that a running guest needs a restart; a note where `on_change` only reports it.

    + field: `definition` or `deployment`
    """
    guest, unit = comparison.guest, comparison.seen.unit
    reports = guest.on_change == "report"
    return Finding(
        "outdated",
        problem,
        "Restart it, or set `on_change` to 'restart'." if reports else "",
        guest=guest.name,
        field=field,
        wanted=comparison.definition.digest,
        seen=(unit.definition or "") if unit else "",
        severity="note" if reports else "change",
    )
