"""A guest's definition, rendered: files, credentials, and the digest that a running guest is known by."""

from __future__ import annotations

import base64
import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.files import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyinfra_nspawn.specs import Guest


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
        extra = credentials.get("tmpfiles.extra", "").removesuffix("\n")
        credentials["tmpfiles.extra"] = "\n".join([*([extra] if extra else []), *lines, ""])
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
