"""The files that define a guest on its host: drop-ins, the .nspawn file, credentials."""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import Guests, GuestSeen
from pyinfra_nspawn.plans.files import render
from pyinfra_nspawn.plans.plan import FileDiff, Plan, Step, refusal
from pyinfra_nspawn.specs.base import MANAGED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.facts.nspawn import FileSeen
    from pyinfra_nspawn.specs import Guest

_OWNER = "0:0"
_DIRECTORY = "700 0:0"


@dataclass(frozen=True)
class Definition:
    """A guest's definition, rendered.

    + digest: what a running guest was started with is known by it
    + files: contents by path
    + credentials: contents by name; secret
    """

    digest: str
    files: dict[str, str]
    credentials: dict[str, str]


def define(guest: Guest) -> Definition:
    """Render everything that defines `guest` on its host."""
    credentials = _credentials(guest)
    settings = render("nspawn.j2", guest=guest)
    booted = functools.partial(render, "50-ostree.conf.j2", guest=guest, credentials=sorted(credentials))
    digest = _digest(guest.name, settings, booted(digest=""), credentials)
    return Definition(
        digest=digest,
        files={
            guest.settings_file: settings,
            f"{guest.dropin_directory}/50-ostree.conf": booted(digest=digest),
            f"{guest.dropin_directory}/60-limits.conf": render("60-limits.conf.j2", guest=guest),
        },
        credentials=credentials,
    )


def _digest(name: str, settings: str, booted: str, credentials: dict[str, str]) -> str:
    """Return one digest of all that takes a restart to change.

    It is readable by every user of the host, so that a secret must be costly to guess from it.
    """
    stretched = [f"{key} {_stretched(name, text)}" for key, text in sorted(credentials.items())]
    return hashlib.sha256("\n".join([settings, booted, *stretched]).encode()).hexdigest()[:32]


@functools.lru_cache(maxsize=4096)
def _stretched(salt: str, secret: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=salt.encode(), n=2**12, r=8, p=1).hex()


def _credentials(guest: Guest) -> dict[str, str]:
    """Return the inventory's credentials, with what makes `authorized_keys` and `files`."""
    credentials = {name: value.get_secret_value() for name, value in guest.credentials.items()}
    lines = [*_root_login(guest), *_files(guest)]
    if lines:
        extra = credentials.get("tmpfiles.extra", "")
        credentials["tmpfiles.extra"] = "\n".join([*extra.splitlines(), *lines, ""])
    return credentials


def _root_login(guest: Guest) -> Iterator[str]:
    """Write root's authorized keys with lines of our own rather than `ssh.authorized_keys.root`.

    That credential is written by provision.conf, before the tmpfiles.d file of an OSTree system that
    makes /var/roothome, to which /root is a link; `tmpfiles.extra` comes after every file.
    """
    if guest.authorized_keys:
        keys = "".join(f"{key}\n" for key in guest.authorized_keys)
        yield "d /root/.ssh 0700 root root"
        yield _written("/root/.ssh/authorized_keys", "0600", "root", "root", keys)


def _files(guest: Guest) -> Iterator[str]:
    for path, file in sorted(guest.files.items()):
        content = file.content.get_secret_value()
        yield _written(path, file.mode, file.user, file.group, content)


def _written(path: str, mode: str, user: str, group: str, content: str) -> str:
    """Return the tmpfiles.d(5) line that writes a file; `~` marks its content as base64."""
    return f"f+~ {path} {mode} {user} {group} - {base64.b64encode(content.encode()).decode()}"


def definition(guest: Guest, guests: dict[str, GuestSeen] | Unreadable) -> Plan:
    """Write what differs of the guest's definition; refuse what is somebody else's."""
    if isinstance(guests, Unreadable):
        return refusal("the host's guests", guests)
    seen = guests.get(guest.name, GuestSeen())
    refusals = (
        *_foreign_files(guest, seen),
        *_foreign_dropins(guest, seen),
        *_foreign_unit(guest, seen),
    )
    if refusals:
        return Plan(refusals=refusals, diffs=_foreign_diffs(guest, seen))
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
            ),
        ),
        diffs=tuple(_file_diff(path, seen.files.get(path), wanted.files[path]) for path in files),
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


def _file_diff(path: str, seen: FileSeen | None, content: str) -> FileDiff:
    return FileDiff(path, tuple(seen.content.splitlines()) if seen else (), tuple(content.splitlines()))


def _is_foreign(guest: Guest, path: str, file: FileSeen) -> bool:
    return path in define(guest).files and MANAGED not in file.content.splitlines()


def _foreign_files(guest: Guest, seen: GuestSeen) -> Iterator[str]:
    for path, file in seen.files.items():
        if _is_foreign(guest, path, file):
            yield f"guest {guest.name}: {path} is not ours: move it away, or give the guest another name"


def _foreign_diffs(guest: Guest, seen: GuestSeen) -> tuple[FileDiff, ...]:
    return tuple(
        _file_diff(path, file, define(guest).files[path])
        for path, file in seen.files.items()
        if _is_foreign(guest, path, file)
    )


def _foreign_dropins(guest: Guest, seen: GuestSeen) -> Iterator[str]:
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


def _foreign_unit(guest: Guest, seen: GuestSeen) -> Iterator[str]:
    fragment = seen.unit.fragment_path if seen.unit else ""
    if fragment and not fragment.endswith("/systemd-nspawn@.service"):
        yield f"guest {guest.name}: {fragment} replaces the unit's template: remove it"
    if seen.machine and seen.machine.unit not in ("", guest.unit):
        yield (
            f"guest {guest.name}: a machine of that name runs already, from {seen.machine.unit}: "
            "stop it, or give the guest another name"
        )
