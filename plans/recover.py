"""Finish or undo what was cut off while a change was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison


def recover(comparison: Comparison) -> Iterator[Step | Finding]:
    """Finish or undo an interrupted trial; the guest is looked at again after that."""
    if not is_interrupted(comparison):
        return
    name = comparison.guest.name
    problem = "a change was being tried when that was cut off"
    yield Finding("interrupted", problem, guest=name, field="trial", seen="interrupted")
    yield Step(f"finish or undo the interrupted trial of guest {name}", "recover", name)


def is_interrupted(comparison: Comparison) -> bool:
    """Return whether a trial was cut off; its drop-in alone says so too."""
    seen, dropin = comparison.found, comparison.layout.trial_dropin
    loaded = seen.unit.dropin_paths if seen.unit else ()
    left = dropin in loaded or dropin in seen.dropins or dropin in seen.files
    return seen.trial == "interrupted" or (seen.trial is None and left)
