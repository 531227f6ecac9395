"""A guest's definition, rendered: files, credentials, and the digest that a running guest is known by."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyinfra_nspawn.plans.files import render
from pyinfra_nspawn.specs.credentials import composed

if TYPE_CHECKING:
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
    credentials = composed(guest)
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
