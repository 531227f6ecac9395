"""Read the files of the controller that hosts get."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.local import LocalFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra_nspawn.specs import Guest


def local_files(guests: Iterable[Guest]) -> dict[str, LocalFile | Unreadable]:
    """Return size and digest of every file of the controller that these guests need, by path.

    A file is read once for all hosts. `Unreadable` says why one cannot be read.
    """
    paths = {
        artifact.path
        for guest in guests
        if guest.k3s and guest.state != "absent"
        for artifact in guest.k3s.artifacts.values()
        if artifact.path
    }
    return {path: _read(path) for path in sorted(paths)}


def _read(path: str) -> LocalFile | Unreadable:
    try:
        status = Path(path).stat()
        return LocalFile(status.st_size, _sha256(path, status.st_size, status.st_mtime_ns))
    except OSError as error:
        return Unreadable(error.strerror or type(error).__name__)


@functools.cache
def _sha256(path: str, _size: int, _mtime_ns: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
