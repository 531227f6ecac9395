"""What a run does for one guest or for the host, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra_nspawn.plans.step import FileDiff


@dataclass(frozen=True)
class Plan:
    """The findings about one guest (or the host), and the steps that answer them.

    + guest: the guest's name; empty for the host itself
    + findings: all of them; with one of severity `error` there are no steps
    + steps: in order; those of verb `await` come last
    + diffs: shown with a refusal: how our files would change those of others
    """

    guest: str = ""
    findings: tuple[Finding, ...] = ()
    steps: tuple[Step, ...] = ()
    diffs: tuple[FileDiff, ...] = ()

    @classmethod
    def of(
        cls, guest: str, found: Iterable[Step | Finding], refused_diffs: tuple[FileDiff, ...] = ()
    ) -> Plan:
        """Return the plan that consists of what was found, without its steps when one finding is an error.

        + refused_diffs: the diffs of a plan that is refused
        """
        found = list(dict.fromkeys(found))
        steps = sorted((item for item in found if isinstance(item, Step)), key=_waits)
        acts = any(not _waits(step) for step in steps)
        findings = tuple(_due(item, acts=acts) for item in found if isinstance(item, Finding))
        plan = cls(guest, findings, tuple(steps))
        return replace(plan, steps=(), diffs=refused_diffs) if plan.errors else plan

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that refuse the guest, or the host."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """The findings that no step follows from."""
        return tuple(finding for finding in self.findings if finding.severity == "note")


def _waits(step: Step) -> bool:
    return step.verb == "await"


def _due(finding: Finding, *, acts: bool) -> Finding:
    """Return a degraded guest as a note while a step may change that: more memory, another file.

    It is looked at again after the steps, and then it is an error.
    """
    return replace(finding, severity="note") if acts and finding.kind == "degraded" else finding
