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
    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.plans.finding import Kind

_COMMANDS = {"chattr": "e2fsprogs", "lsattr": "e2fsprogs", "setquota": "quota"}


def disk(comparison: Comparison) -> Iterator[Step | Finding]:
    """Set, change or lift the quota; a host that has none is an error."""
    guest, seen = comparison.guest, comparison.seen.disk_limit
    wanted = guest.limits.disk_kib
    present = seen.kib if seen and seen.sysroot == guest.sysroot else 0
    if wanted:
        yield from _impossible(comparison)
    if (wanted, bool(wanted)) == (present, seen is not None):
        yield from _ignored(comparison)
        return
    kind: Kind = "missing" if not seen else "differs" if wanted else "extra"
    problem = "its /var and /etc have no quota" if not seen else f"their quota is {seen.kib} KiB"
    yield _finding(comparison, kind, problem)
    what = f"/var and /etc of guest {guest.name}"
    yield Step(
        f"limit {what} to {guest.limits.disk_max}" if wanted else f"lift the limit of {what}",
        "disk-limit",
        guest.name,
        (guest.sysroot, str(project_of(guest.name)), str(wanted)),
    )


def _impossible(comparison: Comparison) -> Iterator[Finding]:
    host = comparison.snapshot.host
    if isinstance(host, Unreadable):
        return  # its own finding says so
    problem, hint = _lack(host, comparison.guest.sysroot)
    if problem:
        yield _finding(comparison, "impossible", problem, hint)


def _lack(host: Host, sysroot: str) -> tuple[str, str]:
    """Return what the host lacks for quotas, and what to do about it; nothing where it lacks nothing."""
    missing = [command for command in _COMMANDS if command not in host.commands]
    if missing:
        packages = ", ".join(sorted({_COMMANDS[command] for command in missing}))
        return f"`disk_max` takes {', '.join(missing)}", f"Install {packages} on the host."
    if sysroot not in host.project_quotas:
        problem = f"`disk_max` takes a file system with project quotas, and that of {sysroot} guests has none"
        return problem, "Mount it with prjquota (ext4: after tune2fs -O project,quota), or remove `disk_max`."
    return "", ""


def _ignored(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for a guest that runs and whose /var shows that no quota is in force."""
    seen = comparison.seen.disk_limit
    if seen and comparison.runs and not comparison.outdated and seen.size_kib > seen.kib:
        yield _finding(
            comparison,
            "differs",
            f"no quota is in force: its /var is {seen.size_kib // 1024} MiB large",
            "Restart the guest, and look for what keeps its files out of their project (lsattr -dp).",
        )


def _finding(comparison: Comparison, kind: Kind, problem: str, hint: str = "") -> Finding:
    seen = comparison.seen.disk_limit
    return Finding(
        kind,
        problem,
        hint,
        guest=comparison.guest.name,
        field="limits.disk_max",
        wanted=comparison.guest.limits.disk_max or "",
        seen=f"{seen.kib}K" if seen else "",
        severity="error" if hint else "change",
    )
