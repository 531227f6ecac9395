"""Secrets of an inventory that nobody has to think up."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra_nspawn.specs.base import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BYTES = 32


def made_once(path: str | Path) -> str:
    """Return the secret in a file of the controller; make it, 0600, where there is no such file.

    + path: of the file. Keep it with the inventory, and out of its repository unless that is encrypted

    Raises `InvalidSpecError`, one line, for a file that others can read, or that cannot be read or made.

    **Example:**

    .. code:: python

        K3S = {"binary": {...}, "token": made_once(Path(__file__).with_name("k3s.token"))}
    """
    file = Path(path)
    try:
        if not file.exists():
            _make(file)
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise InvalidSpecError(str(file), 'others can read it; run "chmod 600" for it')
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise InvalidSpecError(str(file), error.strerror or type(error).__name__) from None


def _make(file: Path) -> None:
    """Make the file whole, in one step; another process may have been faster."""
    with written_beside(file, f"{secrets.token_hex(_BYTES)}\n") as new, suppress(FileExistsError):
        os.link(new, file)


@contextmanager
def written_beside(file: Path, text: str) -> Iterator[Path]:
    """Write a new file beside another one, 0600, for the block to rename or link; remove it afterwards.

    + file: the other one, which need not exist

    Raises `OSError` when it cannot be written.
    """
    new = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as made:
            made.write(text)
            made.flush()
            os.fsync(made.fileno())
        yield new
    finally:
        new.unlink(missing_ok=True)
