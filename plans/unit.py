"""Whether a guest's unit starts with the host, and whether the guest runs and is healthy."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.health import awaited, files_to_look_for, health
from pyinfra_nspawn.plans.identity import identity
from pyinfra_nspawn.plans.outdated import outdated
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison


def unit(comparison: Comparison) -> Iterator[Step | Finding]:
    """Enable or disable the guest's unit; start, restart, await or stop the guest."""
    guest = comparison.guest
    enabling, action = enablement(comparison), _action(comparison)
    if enabling:
        yield _differs(comparison, "autostart", f"its unit is not {enabling}d", f"{enabling}d")
    if action:
        yield _differs(comparison, "state", f"it is not {guest.state}", guest.state)
    if enabling or action:
        yield _unit(comparison, enabling, action)
    if comparison.runs and guest.state == "running":
        yield from identity(comparison)
    if action == "start":
        yield awaited(comparison)
    elif guest.state == "running":
        reason = _outdated(comparison)
        if reason:
            yield reason
        if reason and reason.severity == "change":
            yield _restart(comparison)
        elif not comparison.tried:
            yield from health(comparison)


def enablement(comparison: Comparison) -> str:
    """Return `enable` or `disable`, or nothing where the unit is as desired."""
    enabled = comparison.seen.unit is not None and comparison.seen.unit.enabled
    if enabled == comparison.guest.autostart:
        return ""
    return "enable" if comparison.guest.autostart else "disable"


def _action(comparison: Comparison) -> str:
    if comparison.guest.state == "stopped":
        return "stop" if comparison.runs else ""
    return "" if comparison.runs else "start"


def _differs(comparison: Comparison, field: str, problem: str, wanted: str) -> Finding:
    unit = comparison.seen.unit
    seen = (unit.unit_file_state if field == "autostart" else unit.active_state) if unit else ""
    return Finding("differs", problem, guest=comparison.guest.name, field=field, wanted=wanted, seen=seen)


def _unit(comparison: Comparison, enabling: str, action: str) -> Step:
    name = comparison.guest.name
    texts = [f"{enabling} {comparison.layout.unit}"] if enabling else []
    texts += [f"{action} guest {name}"] if action else []
    return Step("; ".join(texts), "unit", name, (enabling, action))


def _outdated(comparison: Comparison) -> Finding | None:
    """Return in what a running guest differs from what it would be after a restart; None when in nothing.

    A changed definition that is tried is restarted by that.
    """
    if comparison.tried:
        return None
    machine = comparison.seen.machine
    runs, boots = machine.deployment if machine else None, _boots(comparison)
    if runs and boots and boots != runs:
        found = outdated(comparison, "deployment", f"it runs deployment {runs[:12]} until it restarts")
        return replace(found, wanted=boots, seen=runs)
    if not comparison.outdated:
        return None
    found = outdated(comparison, "definition", "it runs with another definition than it has now")
    if "definition" not in comparison.stages and not _is_written(comparison):
        hint = "Write its definition too: that restarts it."
        return replace(found, hint=hint, severity="note")
    # With `report` the definition itself says so.
    return found if found.severity == "change" else None


def _is_written(comparison: Comparison) -> bool:
    boot = comparison.definition.boot
    file = comparison.seen.files.get(boot)
    return file is not None and file.content == comparison.definition.files[boot]


def _boots(comparison: Comparison) -> str | None:
    """Return the deployment that the guest boots next: its name, or its source before it exists."""
    if "current" not in comparison.stages or comparison.current:
        return comparison.seen.current_deployment
    return comparison.candidate.id if comparison.candidate else str(comparison.guest.source)


def _restart(comparison: Comparison) -> Step:
    guest = comparison.guest
    return Step(
        f"restart guest {guest.name}",
        "restart",
        guest.name,
        (
            str(guest.start_timeout_seconds),
            guest.on_degraded,
            comparison.definition.digest,
            files_to_look_for(guest),
        ),
    )
