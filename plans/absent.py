"""Remove a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.finding import Finding, Refused
from pyinfra_nspawn.plans.foreign import file_diff, foreign_to_unit, is_managed
from pyinfra_nspawn.plans.k3s_node import not_left
from pyinfra_nspawn.plans.step import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.plans.comparison import Comparison


def absent(comparison: Comparison) -> Iterator[Step | Finding]:
    """Remove all of a guest but its /var, and with `purge` that too; leave what is foreign alone."""
    guest, seen = comparison.guest, comparison.seen
    if guest.state != "absent":
        return
    files = _files(comparison)
    deployments = _deployments(comparison)
    kept = seen.directory if guest.purge else None
    if not (files or deployments or seen.current or seen.credentials or seen.trial or kept):
        return
    if errors := tuple(foreign_to_unit(comparison)):
        raise Refused(*errors)
    if error := not_left(comparison):
        raise Refused(error)
    yield Finding(
        "extra",
        "the guest exists",
        guest=guest.name,
        field="state",
        wanted="absent",
        seen="running" if comparison.runs else "stopped",
    )
    yield Step(
        _text(comparison, deployments),
        "remove",
        guest.name,
        ("purge" if guest.purge else "",),
        diffs=tuple(file_diff(path, seen.files[path], "") for path in files),
        sysroot=bool(seen.stateroot),
    )


def _files(comparison: Comparison) -> list[str]:
    """Return those of its files that exist and are ours."""
    seen = comparison.seen.files
    places = (*comparison.definition.files, comparison.layout.settings_file)
    return [path for path in places if path in seen and is_managed(seen[path].content)]


def _deployments(comparison: Comparison) -> int:
    """Count its deployments, in whatever sysroot they are."""
    shared = comparison.host if comparison.seen.stateroot else None
    sysroots = [sysroot for sysroot in (comparison.private, shared) if sysroot]
    return sum(len(sysroot.of_stateroot(comparison.guest.name)) for sysroot in sysroots)


def _text(comparison: Comparison, deployments: int) -> str:
    guest, layout = comparison.guest, comparison.layout
    sysroot = "/sysroot" if comparison.seen.stateroot else layout.directory
    what = f"its files, credentials, {deployments} deployment{'' if deployments == 1 else 's'}"
    rest = f"; keep its /var, {sysroot}/ostree/deploy/{guest.name}/var"
    if guest.purge:
        rest = f" and everything in {layout.directory}, its /var included"
    return f"stop and disable {layout.unit}; remove guest {guest.name}: {what}{rest}"
