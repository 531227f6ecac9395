"""The files that define a guest on its host: drop-ins, the .nspawn file, credentials."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import Guests, GuestSeen
from pyinfra_nspawn.plans.foreign import file_diff, foreign
from pyinfra_nspawn.plans.plan import Plan, Step, refusal
from pyinfra_nspawn.plans.rendered import define

if TYPE_CHECKING:
    from pyinfra_nspawn.facts.nspawn import FileSeen
    from pyinfra_nspawn.plans.rendered import Definition
    from pyinfra_nspawn.specs import Guest

_OWNER = "0:0"
_DIRECTORY = "700 0:0"


def definition(guest: Guest, guests: dict[str, GuestSeen] | Unreadable) -> Plan:
    """Write what differs of the guest's definition; refuse what is somebody else's."""
    if isinstance(guests, Unreadable):
        return refusal("the host's guests", guests)
    seen = guests.get(guest.name, GuestSeen())
    if refused := foreign(guest, seen):
        return refused
    wanted = define(guest)
    files = [path for path in wanted.files if _differs(seen.files.get(path), wanted.files[path], "644")]
    secrets = [
        name
        for name, text in wanted.credentials.items()
        if _differs(seen.credentials.get(name), hashlib.sha256(text.encode()).hexdigest(), "600")
    ]
    stale = sorted(set(seen.credentials) - set(wanted.credentials))
    reload = any(path.startswith(guest.dropin_directory) for path in files)
    reload = reload or bool(seen.unit and seen.unit.need_daemon_reload)
    if not (files or secrets or stale or reload or seen.directory not in (None, _DIRECTORY)):
        return Plan()
    return Plan(
        steps=(
            Step(
                _sentence(guest, files, [*secrets, *stale], reload=reload),
                "definition",
                (guest.name, "reload" if reload else ""),
                _bundle(guest, wanted, files, secrets, stale),
                changes=(Guests,),
                guest=guest.name,
            ),
        ),
        diffs=tuple(file_diff(path, seen.files.get(path), wanted.files[path]) for path in files),
    )


def _differs(seen: FileSeen | None, content: str, mode: str) -> bool:
    return seen is None or (seen.content, seen.mode, seen.owner) != (content, mode, _OWNER)


def _sentence(guest: Guest, files: list[str], secrets: list[str], *, reload: bool) -> str:
    parts = [f"write {path}" for path in files]
    parts += [f"write credential {name} (not shown)" for name in secrets]
    parts += ["daemon-reload"] if reload else []
    return f"guest {guest.name}: {', '.join(parts) or f'make {guest.directory} 0700'}"


def _bundle(guest: Guest, wanted: Definition, files: list[str], secrets: list[str], stale: list[str]) -> str:
    """Return lines `MODE PATH BASE64`, and `- PATH` for what is to go: the script's stdin."""
    directory = guest.credentials_directory
    contents = [("600", f"{directory}/{name}", wanted.credentials[name]) for name in secrets]
    contents += [("644", path, wanted.files[path]) for path in files]
    lines = [
        f"{mode} {path} {base64.b64encode(content.encode()).decode()}" for mode, path, content in contents
    ]
    return "".join(f"{line}\n" for line in [*lines, *(f"- {directory}/{name}" for name in stale)])
