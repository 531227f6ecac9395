"""What lies in a guest's place and is not ours: refused before anything of the guest is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.ostree import HostSysroots, Sysroot
from pyinfra_nspawn.plans.dropins import vital_keys
from pyinfra_nspawn.plans.finding import Finding
from pyinfra_nspawn.plans.step import FileDiff
from pyinfra_nspawn.specs.base import MANAGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.nspawn import FileSeen, GuestSeen
    from pyinfra_nspawn.plans.comparison import Comparison

# Where a file can be moved aside; what lies in /usr belongs to a package.
_ADMINISTRATORS = ("/etc/", "/run/")
_OTHER_NAME = "Give the guest another name."


def foreign(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for everything foreign; with the guest's `adopt`, only for what it cannot take over."""
    yield from _stateroot(comparison)
    yield from foreign_to_unit(comparison)
    if not (foreign_files(comparison) or has_foreign_stateroot(comparison)):
        yield from _container(comparison)
    yield from _shared_dropins(comparison)


def foreign_to_unit(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for each foreign file of the unit, and for a machine of another unit."""
    for path in foreign_files(comparison):
        if not comparison.guest.adopt:
            yield _error(comparison, path, f"{path} {_what(comparison, path)}", _adoption(comparison))
        elif not path.startswith(_ADMINISTRATORS):
            problem = f"{path} {_what(comparison, path)}, and belongs to a package"
            yield _error(comparison, path, problem, f"Remove the package. {_OTHER_NAME}")
    machine = comparison.found.machine
    if machine and machine.unit not in ("", comparison.layout.unit):
        problem = f"a machine of that name runs already, from {machine.unit}"
        yield _error(comparison, "machine", problem, f"Stop it. {_OTHER_NAME}", seen=machine.unit)


def foreign_files(comparison: Comparison) -> list[str]:
    """Return the foreign files that define this very guest.

    Those in our places; every other drop-in of the unit, which systemd merges whatever its name and
    directory; a .nspawn file; a unit in the template's place. systemd does not list a drop-in that it has
    not loaded yet: what it loaded and what lies in /etc both count.
    """
    seen, layout = comparison.found, comparison.layout
    found = {path for path, file in seen.files.items() if not is_managed(file.content)}
    loaded = seen.unit.dropin_paths if seen.unit else ()
    ours = {*comparison.definition.files, layout.trial_dropin}
    found |= {path for path in {*loaded, *seen.files, *seen.dropins} - ours if f"/{layout.unit}.d/" in path}
    fragment = seen.unit.fragment_path if seen.unit else ""
    if fragment and not fragment.endswith("/systemd-nspawn@.service"):
        found.add(fragment)
    return sorted(found - {layout.trial_dropin})


def foreign_diffs(comparison: Comparison) -> tuple[FileDiff, ...]:
    """Return how our files differ from the foreign ones in their places, and what would be gone."""
    ours, seen = comparison.definition.files, comparison.found.files
    return tuple(
        file_diff(path, seen[path], ours.get(path, "")) for path in foreign_files(comparison) if path in seen
    )


def file_diff(path: str, seen: FileSeen | None, content: str) -> FileDiff:
    """Return how a file, which need not exist, would change."""
    return FileDiff(path, tuple(seen.content.splitlines()) if seen else (), tuple(content.splitlines()))


def is_managed(content: str) -> bool:
    """Return whether a file is ours."""
    return MANAGED in content.splitlines()


def has_foreign_stateroot(comparison: Comparison) -> bool:
    """Return whether the host's own sysroot has a stateroot of the guest's name that is not ours.

    False where that sysroot could not be read: whatever needs it refuses then.
    """
    sysroots = comparison.snapshot.sysroots
    host = sysroots.host if isinstance(sysroots, HostSysroots) else None
    return (
        isinstance(host, Sysroot)
        and comparison.guest.name in host.stateroots
        and comparison.found.stateroot is None
    )


def _error(comparison: Comparison, field: str, problem: str, hint: str, *, seen: str = "") -> Finding:
    return Finding(
        "foreign",
        problem,
        hint,
        guest=comparison.guest.name,
        field=field,
        seen=seen,
        severity="error",
    )


def _adoption(comparison: Comparison) -> str:
    return f"Adopt it with `--data adopt={comparison.guest.name}`, or give the guest another name."


def _what(comparison: Comparison, path: str) -> str:
    if path in comparison.definition.files or path.endswith(".nspawn"):
        return "is not ours"
    if f"/{comparison.layout.unit}.d/" in path:
        return "is a foreign drop-in"
    return "replaces the unit's template"


def _stateroot(comparison: Comparison) -> Iterator[Finding]:
    guest, seen = comparison.guest, comparison.found
    if not has_foreign_stateroot(comparison):
        return
    if seen.current and guest.sysroot == "private":
        return  # it has a stateroot of that name in a sysroot of its own, and they do not meet
    host = comparison.host
    if host.booted and host.booted.stateroot == guest.name:
        problem, hint = f"the host itself was booted from stateroot {guest.name}", _OTHER_NAME
    elif seen.current:
        problem = f"the host's /ostree has a stateroot {guest.name} that is not this guest's"
        hint = "Give one of them another name."
    elif not guest.adopt:
        problem = f"the host's /ostree has a stateroot {guest.name} that is not ours"
        hint = _adoption(comparison)
    else:
        return
    yield _error(comparison, "stateroot", problem, hint, seen=guest.name)


def _container(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for a container of machinectl's, running or only enabled, or its tree alone."""
    seen = comparison.found
    if is_ours(comparison):
        return
    if seen.image:
        problem = f"{seen.image} is a container or image of that name"
        yield _error(comparison, "image", problem, _OTHER_NAME, seen=seen.image)
    elif seen.unit and (seen.unit.active or seen.unit.enabled):
        state = "runs" if seen.unit.active else "is enabled"
        problem = f"{comparison.layout.unit} {state}, and nothing of it is ours"
        hint = "Disable and stop it, or give the guest another name."
        yield _error(comparison, "unit", problem, hint, seen=seen.unit.active_state)


def is_ours(comparison: Comparison) -> bool:
    """Return whether anything on the host says that the guest is ours."""
    return bool(comparison.found.directory) or is_our_guest(comparison.found)


def is_our_guest(seen: GuestSeen) -> bool:
    """Return whether a host has a guest of ours, and not only the /var that an absent one has left."""
    managed = any(is_managed(file.content) for file in seen.files.values())
    return bool(managed or seen.current or seen.stateroot)


def _shared_dropins(comparison: Comparison) -> Iterator[Finding]:
    """Yield an error for each drop-in of the template, or of all services, that a guest cannot live with."""
    for path, content in sorted(comparison.found.dropins.items()):
        if f"/{comparison.layout.unit}.d/" in path:
            continue
        if keys := vital_keys(content):
            problem = f"{path} changes the guest's unit: it sets {', '.join(keys)}"
            hint = "Move these settings to drop-ins of the units that need them."
            yield _error(comparison, path, problem, hint, seen=", ".join(keys))
    for path in _unread(comparison):
        yield _error(
            comparison, path, f"{path} is merged into the unit and could not be read", "Move it away."
        )


def _unread(comparison: Comparison) -> list[str]:
    """Return drop-ins of which systemd says that they count, and of which nothing else is known."""
    unit, seen = comparison.found.unit, comparison.found
    known = {*seen.dropins, *seen.files, *comparison.definition.files, comparison.layout.trial_dropin}
    return sorted(set(unit.dropin_paths if unit else ()) - known - set(foreign_files(comparison)))
