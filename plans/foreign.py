"""What is somebody else's in the places of a guest: refused, before anything of the guest is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.plan import FileDiff, Plan
from pyinfra_nspawn.plans.rendered import define
from pyinfra_nspawn.specs.base import MANAGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen
    from pyinfra_nspawn.specs import Guest


def foreign(guest: Guest, seen: GuestSeen) -> Plan | None:
    """Return the refusal, with how our files differ from those in their places; None when all is ours."""
    refusals = (*_files(guest, seen), *_dropins(guest, seen), *_unit(guest, seen))
    return Plan(refusals=refusals, diffs=_diffs(guest, seen)) if refusals else None


def file_diff(path: str, seen: FileSeen | None, content: str) -> FileDiff:
    """Return how a file, which may not be there, would change."""
    return FileDiff(path, tuple(seen.content.splitlines()) if seen else (), tuple(content.splitlines()))


def _is_foreign(guest: Guest, path: str, file: FileSeen) -> bool:
    return path in define(guest).files and MANAGED not in file.content.splitlines()


def _files(guest: Guest, seen: GuestSeen) -> Iterator[str]:
    for path, file in seen.files.items():
        if _is_foreign(guest, path, file):
            yield f"guest {guest.name}: {path} is not ours: move it away, or give the guest another name"


def _diffs(guest: Guest, seen: GuestSeen) -> tuple[FileDiff, ...]:
    return tuple(
        file_diff(path, file, define(guest).files[path])
        for path, file in seen.files.items()
        if _is_foreign(guest, path, file)
    )


def _dropins(guest: Guest, seen: GuestSeen) -> Iterator[str]:
    """Find drop-ins of this very unit that are not ours; those of all services are the host's affair.

    systemd merges drop-ins whatever their name and directory, and does not list those that it has not
    loaded yet: what it loaded and what lies in /etc both count.
    """
    ours = define(guest).files
    loaded = seen.unit.dropin_paths if seen.unit else ()
    for path in sorted({*loaded, *seen.files} - set(ours)):
        if f"/{guest.unit}.d/" in path:
            yield (
                f"guest {guest.name}: {path} is a drop-in that is not ours: "
                "move it away, or give the guest another name"
            )


def _unit(guest: Guest, seen: GuestSeen) -> Iterator[str]:
    fragment = seen.unit.fragment_path if seen.unit else ""
    if fragment and not fragment.endswith("/systemd-nspawn@.service"):
        yield f"guest {guest.name}: {fragment} replaces the unit's template: remove it"
    if seen.machine and seen.machine.unit not in ("", guest.unit):
        yield (
            f"guest {guest.name}: a machine of that name runs already, from {seen.machine.unit}: "
            "stop it, or give the guest another name"
        )
