"""Whether a running guest is healthy: it says so, none of its units failed, and none keeps restarting."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.nspawn import Machine
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.finding import Severity
    from pyinfra_nspawn.specs import Guest


def health(comparison: Comparison) -> Iterator[Step | Finding]:
    """Yield what ails a running guest, and wait where that may pass."""
    machine = comparison.seen.machine or Machine()
    degraded = machine.system_state == "degraded"
    if machine.complaint:
        yield _unreadable(comparison, machine)
    if degraded:
        yield _degraded(comparison, machine)
    restarting = _restarting_units(comparison, machine)
    if restarting:
        yield _restarting(comparison, restarting)
    elif not (degraded or machine.system_state == "running"):
        yield _starting(comparison, machine)
    if comparison.seen.unwritten:
        yield _unwritten(comparison)
    settled = degraded or machine.system_state == "running"
    if restarting or comparison.seen.unwritten or not settled:
        yield awaited(comparison)


def _restarting_units(comparison: Comparison, machine: Machine) -> tuple[str, ...]:
    """Return the units that keep restarting, less a k3s of ours.

    A node that is not ready is `k3s_node`'s trouble, and must not keep a run from coming so far.
    """
    ours = comparison.seen.k3s is not None
    return tuple(unit for unit in machine.restarting_units if not (ours and unit == "k3s.service"))


def awaited(comparison: Comparison) -> Step:
    """Return the step that waits until the guest is healthy."""
    guest = comparison.guest
    seconds = str(guest.start_timeout_seconds)
    text = f"wait up to {seconds} s until guest {guest.name} is running"
    return Step(text, "await", guest.name, (seconds, guest.on_degraded, files_to_look_for(guest)))


def files_to_look_for(guest: Guest) -> str:
    """Return, as the program takes it, which files the guest must have once it is up: base64, or nothing."""
    lines = [
        f"{file.mode.lstrip('0') or '0'} {file.user} {file.group} {path}\n"
        for path, file in sorted(guest.files.items())
    ]
    return base64.b64encode("".join(lines).encode()).decode()


def _degraded(comparison: Comparison, machine: Machine) -> Finding:
    units = machine.failed_units
    problem = f"{', '.join(units)} failed" if units else "it says that it is degraded"
    return replace(
        _of_units(comparison, units, problem),
        kind="degraded",
        field="failed_units",
        severity=_fails(comparison),
    )


def _restarting(comparison: Comparison, units: tuple[str, ...]) -> Finding:
    problem = f"{', '.join(units)} keep{'s' if len(units) == 1 else ''} restarting"
    return _of_units(comparison, units, problem)


def _fails(comparison: Comparison) -> Severity:
    return "error" if comparison.guest.on_degraded == "fail" else "note"


def _of_units(comparison: Comparison, units: tuple[str, ...], problem: str) -> Finding:
    name = comparison.guest.name
    unit = f" -u {units[0]}" if units else ""
    return Finding(
        "restarting",
        problem,
        f'Run "pyinfra-nspawn logs HOST:{name}{unit}", and fix it in the guest.',
        guest=name,
        field="restarting_units",
        seen=", ".join(units),
    )


def _unwritten(comparison: Comparison) -> Finding:
    """Return that a file was not written at the guest's last start; the wait looks again, and names it."""
    return Finding(
        "missing",
        "a file that it was given did not exist after its last start",
        guest=comparison.guest.name,
        field="files",
        wanted=", ".join(sorted(comparison.guest.files)),
    )


def _starting(comparison: Comparison, machine: Machine) -> Finding:
    state = machine.system_state or "unknown"
    return Finding(
        "differs",
        f"it does not say `running` but `{state}`",
        guest=comparison.guest.name,
        field="system_state",
        wanted="running",
        seen=machine.system_state,
    )


def _unreadable(comparison: Comparison, machine: Machine) -> Finding:
    """Return what its systemd could not be asked; what it did not say is not taken for good or bad."""
    name = comparison.guest.name
    return Finding(
        "unreadable",
        f"its systemd could not be asked: {machine.complaint}",
        f'Run "systemctl -M {name} list-units --failed" on the host.',
        guest=name,
        field="machine",
        seen=machine.system_state,
        severity="note",
    )
