"""The quota of a guest's /var and /etc."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import Step
from pyinfra_nspawn.specs.layout import project_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.host import Host
    from pyinfra_nspawn.facts.nspawn import DiskLimit
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.finding import Kind

_COMMANDS = {"chattr": "e2fsprogs", "lsattr": "e2fsprogs", "setquota": "quota"}


def disk(comparison: Comparison) -> Iterator[Step | Finding]:
    """Set, change or lift the quota; one that cannot be in force is an error."""
    guest, seen = comparison.guest, comparison.seen.disk_limit
    wanted = guest.limits.disk_kib
    refused = _impossible(comparison) if wanted else None
    if refused:
        yield refused
        return
    present = seen.kib if seen and seen.sysroot == guest.sysroot else 0
    if (wanted, bool(wanted)) == (present, seen is not None):
        yield from _ignored(comparison)
        return
    kind: Kind = "missing" if not seen else "differs" if wanted else "extra"
    yield _finding(comparison, kind, f"the quota of its /var and /etc is {_shown(seen)}")
    what = f"/var and /etc of guest {guest.name}"
    yield Step(
        f"limit {what} to {guest.limits.disk_max}" if wanted else f"lift the limit of {what}",
        "disk-limit",
        guest.name,
        (guest.sysroot, str(project_of(guest.name)), str(wanted)),
    )


def _shown(limit: DiskLimit | None) -> str:
    if limit is None:
        return "none"
    return f"{limit.kib // 1024}M in the {limit.sysroot} sysroot" if limit.kib else "not known"


def _impossible(comparison: Comparison) -> Finding | None:
    """Return an error where the host has no quotas, or where the guest has more than it may have."""
    host, seen = comparison.snapshot.host, comparison.seen.disk_limit
    if isinstance(host, Unreadable):
        return None  # its own finding says so
    problem, hint = _lack(host, comparison.guest.sysroot)
    if not problem and seen and seen.is_in_force and seen.used_kib > comparison.guest.limits.disk_kib:
        problem = f"its /var and /etc take {seen.used_kib // 1024}M, which is more than `disk_max`"
        hint = "Remove some of it, or raise `disk_max`."
    return _finding(comparison, "impossible", problem, hint) if problem else None


def _lack(host: Host, sysroot: str) -> tuple[str, str]:
    """Return what the host lacks for quotas, and what to do about it; nothing where it lacks nothing."""
    missing = [command for command in _COMMANDS if command not in host.commands]
    if missing:
        packages = ", ".join(sorted({_COMMANDS[command] for command in missing}))
        return f"`disk_max` needs {', '.join(missing)}", f"Install {packages} on the host."
    if sysroot not in host.project_quotas:
        problem = f"`disk_max` needs project quotas, and the file system of {sysroot} guests has none"
        return problem, "Mount it with prjquota, or remove `disk_max`."
    return "", ""


def _ignored(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for a guest that is up and whose files are not under the quota."""
    seen, unit = comparison.seen.disk_limit, comparison.seen.unit
    is_up = unit is not None and unit.active_state == "active"  # on its way, they may not be under it yet
    if seen and is_up and not comparison.outdated and not seen.is_in_force:
        yield _finding(
            comparison,
            "differs",
            "no quota is in force: not all of its /var and /etc is under it",
            f'Restart the guest. If that is not enough, "journalctl -u {comparison.layout.unit}" says why.',
        )


def _finding(comparison: Comparison, kind: Kind, problem: str, hint: str = "") -> Finding:
    return Finding(
        kind,
        problem,
        hint,
        guest=comparison.guest.name,
        field="limits.disk_max",
        wanted=comparison.guest.limits.disk_max or "",
        seen=_shown(comparison.seen.disk_limit),
        severity="error" if hint else "change",
    )
