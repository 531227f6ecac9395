"""Delete trees that ostree has protected against deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.shell import run

if TYPE_CHECKING:
    from pathlib import Path


def remove(directory: Path) -> None:
    """Delete a tree, whatever immutable deployments it holds; it may be gone already."""
    if not directory.exists():
        return
    # -f: links and sockets have no flags, and that is fine.
    run(
        "sh",
        "-c",
        'chattr -R -f -i -- "$1"; exec rm -rf --one-file-system -- "$1"',
        "sh",
        directory,
    )
