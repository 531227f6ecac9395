"""Files of the controller that hosts get."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra_nspawn.facts.base import Record


@dataclass(frozen=True)
class LocalFile(Record):
    """A file of the controller.

    + size: in bytes
    + sha256: of its content
    """

    size: int
    sha256: str
