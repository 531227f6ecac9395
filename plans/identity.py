"""Whether a running guest has the machine id that the inventory gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison


def identity(comparison: Comparison) -> Iterator[Finding]:
    """Yield a note about a guest with another machine id: it takes one at its first start, and keeps it."""
    guest, machine = comparison.guest, comparison.seen.machine
    seen = machine.machine_id if machine else ""
    if guest.machine_id and seen and seen != guest.machine_id:
        yield Finding(
            "differs",
            f"its machine id is {seen}",
            "Remove /etc/machine-id in the guest and restart it, or correct `machine_id`.",
            guest=guest.name,
            field="machine_id",
            wanted=guest.machine_id,
            seen=seen,
            severity="note",
        )
