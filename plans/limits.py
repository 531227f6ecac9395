"""Whether systemd applies the limits that a guest asks for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.nspawn import Unit
    from pyinfra_nspawn.specs import Guest

_UNLIMITED, _UNSET = "infinity", "[not set]"
_SIZE = re.compile(r"(\d+)([KMGT]?)")
_UNITS = ("", "K", "M", "G", "T")
# A span of time as systemd prints it: `1s 500ms`, `1.500000s`.
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|min|h)")
_MICROSECONDS = {"us": 1, "ms": 10**3, "s": 10**6, "min": 60 * 10**6, "h": 3600 * 10**6}


def ignored_limits(guest: Guest, unit: Unit) -> Iterator[Finding]:
    """Yield an error for each limit of which systemd made something else, or nothing."""
    limits = guest.limits
    asked = (
        ("memory_max", limits.memory_max, unit.memory_max, _bytes),
        ("cpu_quota", limits.cpu_quota, unit.cpu_quota_us, _microseconds),
        ("tasks_max", limits.tasks_max, unit.tasks_max, str),
        ("io_weight", limits.io_weight, unit.io_weight, str),
    )
    for field, wanted, seen, exactly in asked:
        if wanted is None or not seen:
            continue
        number, exact = _number(seen), exactly(str(wanted))
        if seen == _UNSET or number == _UNLIMITED != exact or (exact and number and number != exact):
            yield _ignored(guest, field, str(wanted), seen)


def _ignored(guest: Guest, field: str, wanted: str, seen: str) -> Finding:
    return Finding(
        "differs",
        f"systemd applies {seen} and not the {field} of {wanted}",
        f"Correct `limits.{field}` in the inventory, or look for what changes it on the host.",
        guest=guest.name,
        field=f"limits.{field}",
        wanted=wanted,
        seen=seen,
        severity="error",
    )


def _bytes(size: str) -> str:
    """Return a size in bytes; empty for a percentage, which depends on the host."""
    if size == _UNLIMITED:
        return size
    match = _SIZE.fullmatch(size)
    return str(int(match[1]) * 1024 ** _UNITS.index(match[2])) if match else ""


def _microseconds(quota: str) -> str:
    """Return the CPU time that a quota in percent allows in a second."""
    return str(int(quota.removesuffix("%")) * 10**4)


def _number(seen: str) -> str | None:
    """Return a number or a span of time as a number, `infinity` as it is; None for anything else."""
    if seen.isdecimal() or seen == _UNLIMITED:
        return seen
    words = [_SPAN.fullmatch(word) for word in seen.split()]
    found = [match for match in words if match]
    if len(found) != len(words) or not found:
        return None
    return str(round(sum(float(match[1]) * _MICROSECONDS[match[2]] for match in found)))
