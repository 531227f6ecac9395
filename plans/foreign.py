"""What is somebody else's in the places of a guest: refused, before anything of the guest is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.plan import FileDiff, Plan
from pyinfra_nspawn.plans.rendered import define
from pyinfra_nspawn.specs.base import MANAGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen
    from pyinfra_nspawn.facts.ostree import Sysroot
    from pyinfra_nspawn.specs import Guest

# Where a file can be moved aside; what lies in /usr belongs to a package.
_ADMINISTRATORS = ("/etc/", "/run/")
_REMEDY = "take it over with `--data adopt={}`, or give the guest another name"


def foreign(guest: Guest, seen: GuestSeen, host: Sysroot | None = None) -> Plan | None:
    """Return the refusal, with how our files differ from what is there; None when all is ours.

    With the guest's `adopt` only what cannot be taken over is refused.

    + host: the host's own sysroot; None where its stateroots do not matter
    """
    stateroot = _stateroot(guest, seen, host) if host else ()
    refusals = (*stateroot, *_files(guest, seen), *_machine(guest, seen))
    return Plan(refusals=refusals, diffs=foreign_diffs(guest, seen)) if refusals else None


def file_diff(path: str, seen: FileSeen | None, content: str) -> FileDiff:
    """Return how a file, which may not be there, would change."""
    return FileDiff(path, tuple(seen.content.splitlines()) if seen else (), tuple(content.splitlines()))


def foreign_files(guest: Guest, seen: GuestSeen) -> list[str]:
    """Return the files of somebody else that define this very guest.

    Those in our places; every other drop-in of the unit, which systemd merges whatever its name and
    directory; a unit in the template's place. Drop-ins of all services are the host's affair. systemd
    does not list those that it has not loaded yet: what it loaded and what lies in /etc both count.
    """
    ours = define(guest).files
    found = {path for path, file in seen.files.items() if MANAGED not in file.content.splitlines()}
    loaded = seen.unit.dropin_paths if seen.unit else ()
    found |= {path for path in {*loaded, *seen.files} - set(ours) if f"/{guest.unit}.d/" in path}
    fragment = seen.unit.fragment_path if seen.unit else ""
    if fragment and not fragment.endswith("/systemd-nspawn@.service"):
        found.add(fragment)
    return sorted(found)


def foreign_diffs(guest: Guest, seen: GuestSeen) -> tuple[FileDiff, ...]:
    """Return what our files would say in the places of somebody else's, and what would be gone."""
    ours = define(guest).files
    return tuple(
        file_diff(path, seen.files[path], ours.get(path, ""))
        for path in foreign_files(guest, seen)
        if path in seen.files
    )


def is_foreign_stateroot(guest: Guest, seen: GuestSeen, host: Sysroot) -> bool:
    """Tell whether the host's own sysroot has a stateroot of that name that is not ours."""
    return guest.name in host.stateroots and seen.stateroot is None


def _files(guest: Guest, seen: GuestSeen) -> Iterator[str]:
    for path in foreign_files(guest, seen):
        if not (guest.adopt and path.startswith(_ADMINISTRATORS)):
            remedy = _REMEDY.format(guest.name)
            yield f"guest {guest.name}: {path} {_what(guest, path)}: move it away, {remedy}"


def _what(guest: Guest, path: str) -> str:
    if path in define(guest).files:
        return "is not ours"
    if f"/{guest.unit}.d/" in path:
        return "is a drop-in that is not ours"
    return "replaces the unit's template"


def _stateroot(guest: Guest, seen: GuestSeen, host: Sysroot) -> Iterator[str]:
    if not is_foreign_stateroot(guest, seen, host):
        return
    if seen.current and guest.sysroot == "private":
        return  # it has a stateroot of that name in a sysroot of its own, and they do not meet
    where = f"guest {guest.name}: the host's /ostree has a stateroot of that name"
    if host.booted and host.booted.stateroot == guest.name:
        yield f"{where}, which the host itself was booted from: give the guest another name"
    elif seen.current:
        yield f"{where} that is not this guest's, which has its own: give one of them another name"
    elif not guest.adopt:
        yield f"{where} that is not ours: {_REMEDY.format(guest.name)}"


def _machine(guest: Guest, seen: GuestSeen) -> Iterator[str]:
    if seen.machine and seen.machine.unit not in ("", guest.unit):
        yield (
            f"guest {guest.name}: a machine of that name runs already, from {seen.machine.unit}: "
            "stop it, or give the guest another name"
        )
