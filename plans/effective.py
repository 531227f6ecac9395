"""Whether systemd made of a guest's unit what its drop-ins say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.limits import ignored_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison


def effective(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error where the unit's command, devices or limits are not what our files say.

    Asked where the files are as they should be and no reload is due; answered where systemd has loaded them.
    """
    unit, wanted = comparison.seen.unit, comparison.definition
    if unit is None or unit.load_state != "loaded" or comparison.seen.trial:
        return
    if not set(wanted.files) <= set(unit.dropin_paths):
        return
    runs, devices = _shown(wanted.command), wanted.devices
    if unit.exec_start and _bare(unit.exec_start) != runs:
        yield _foreign(comparison, "ExecStart", runs, unit.exec_start)
    if unit.device_allow and unit.device_allow != devices:
        yield _foreign(comparison, "DeviceAllow", ", ".join(devices), ", ".join(unit.device_allow))
    yield from ignored_limits(comparison.guest, unit)


def _shown(command: tuple[str, ...]) -> str:
    """Return a command as `systemctl show` prints it: with `%` expanded, which is when the unit is loaded."""
    return " ".join(word.replace("$", "$$") for word in command)


def _bare(shown: str) -> str:
    """Return a command by the name of its program, without the directory that it was found in."""
    program, space, arguments = shown.partition(" ")
    return program.rpartition("/")[2] + space + arguments


def _foreign(comparison: Comparison, setting: str, wanted: str, seen: str) -> Finding:
    return Finding(
        "foreign",
        f"the unit's {setting} is not the one in our drop-in",
        f'Look for the file that changes it with "systemctl cat {comparison.layout.unit}", and remove it.',
        guest=comparison.guest.name,
        field=f"unit.{setting}",
        wanted=wanted,
        seen=seen,
        severity="error",
    )
