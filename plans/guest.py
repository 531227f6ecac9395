"""What a run does for one guest: its stages in order, and the one place where a refusal ends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.absent import absent
from pyinfra_nspawn.plans.adopt import adopt
from pyinfra_nspawn.plans.commit import commit
from pyinfra_nspawn.plans.comparison import Comparison
from pyinfra_nspawn.plans.current import current
from pyinfra_nspawn.plans.definition import definition
from pyinfra_nspawn.plans.deployment import deployment
from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.foreign import foreign, foreign_diffs
from pyinfra_nspawn.plans.k3s_node import k3s_place
from pyinfra_nspawn.plans.place import stateroot
from pyinfra_nspawn.plans.plan import Plan
from pyinfra_nspawn.plans.preflight import newer_state
from pyinfra_nspawn.plans.recover import is_interrupted, recover
from pyinfra_nspawn.plans.restore import half_restored
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.plans.unit import unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra_nspawn.facts.snapshot import Snapshot
    from pyinfra_nspawn.specs import Guest

Stage = Callable[[Comparison], Iterator[Step | Finding]]

STAGES: tuple[Stage, ...] = (
    recover,
    adopt,
    absent,
    stateroot,
    commit,
    deployment,
    current,
    k3s_place,
    definition,
    unit,
)
"""All stages, in order; each plans as if the steps of those before it were done."""
_OF_ABSENT = ("adopt", "k3s_left", "absent")

__all__ = [
    "STAGES",
    "Stage",
    "absent",
    "adopt",
    "commit",
    "current",
    "definition",
    "deployment",
    "k3s_place",
    "plan_guest",
    "recover",
    "stateroot",
    "unit",
]


def plan_guest(guest: Guest, snapshot: Snapshot, stages: Sequence[Stage] = STAGES) -> Plan:
    """Return what these stages find and do for a guest; nothing is done for one that is refused.

    + stages: those of `STAGES` to plan
    """
    absence = guest.state == "absent"
    stages = tuple(
        stage for stage in stages if (stage.__name__ in _OF_ABSENT if absence else stage is not absent)
    )
    comparison = Comparison(guest, snapshot, frozenset(stage.__name__ for stage in stages))
    found: list[Step | Finding] = []
    try:
        for stage in _due(comparison, stages):
            found.extend(stage(comparison))
    except Refused as refused:
        found.extend(refused.findings)
    foreign_found = any(item.kind == "foreign" for item in found if isinstance(item, Finding))
    return Plan.of(guest.name, found, foreign_diffs(comparison) if foreign_found else ())


def _due(comparison: Comparison, stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return these stages, or what has to come before them. Raises `Refused` for what is foreign."""
    if errors := tuple(newer_state(comparison.snapshot, comparison.guest.name)):
        raise Refused(*errors)
    if comparison.guest.state == "absent":
        return tuple(stages)
    if is_interrupted(comparison):
        return (recover,)
    if comparison.found.restoring and "restore" not in comparison.stages:
        raise Refused(half_restored(comparison))
    if errors := tuple(foreign(comparison)):
        raise Refused(*errors)
    return tuple(stages)
