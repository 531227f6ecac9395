"""What a guest's binds and devices come to on its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison
    from pyinfra_nspawn.specs import Bind


def binds(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for each bind whose source does not exist, or really is one of the host's own trees."""
    for bind in comparison.guest.binds:
        paths = comparison.sysroots.paths
        real, field = paths.get(bind.source), f"binds.{bind.source}"
        if bind.source not in paths:
            yield _error(comparison, field, f"whether {bind.source} exists is unknown", "Run again.", "")
        elif real is None:
            problem = f"bind source {bind.source} does not exist on the host"
            yield _error(comparison, field, problem, "Create it on the host, or correct `binds`.", "")
        elif real != bind.source and _gives_the_host(comparison, bind, real):
            problem = f"bind source {bind.source} is {real}, which is the host's own"
            hint = "Bind another directory, or bind it read-only and without `idmap`."
            yield _error(comparison, field, problem, hint, real)


def devices(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for each device that does not exist: systemd-nspawn would not start the guest."""
    for path, _ in map(str.split, comparison.guest.devices):
        paths, field = comparison.sysroots.paths, f"devices.{path}"
        if path not in paths:
            yield _error(comparison, field, f"whether {path} exists is unknown", "Run again.", "")
        elif paths[path] is None:
            hint = "Load its driver, or correct `devices`."
            yield _error(comparison, field, f"device {path} does not exist on the host", hint, "")


def _gives_the_host(comparison: Comparison, bind: Bind, real: str) -> bool:
    """Return whether guest root could write to the host through the path that a bind's source really is."""
    # A copy is not validated: a real path may hold what an inventory may not.
    really = bind.model_copy(update={"source": real})
    writes = comparison.guest.isolation != "private-users" and not bind.read_only
    return really.is_of_the_host and (writes or bind.idmap)


def _error(comparison: Comparison, field: str, problem: str, hint: str, seen: str) -> Finding:
    return Finding(
        "impossible",
        problem,
        hint,
        guest=comparison.guest.name,
        field=field,
        wanted=field.partition(".")[2],
        seen=seen,
        severity="error",
    )
