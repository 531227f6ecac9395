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
    # The root of each deployment has the flag; anything else only if a guest set it. To look at every file
    # takes longer than to delete it.
    deployments = ("-path", "*/deploy/*/deploy/*.[0-9]*", "-type", "d", "-prune")
    run("find", directory, *deployments, "-exec", "chattr", "-f", "-i", "--", "{}", "+")
    delete = 'rm -rf --one-file-system -- "$1"'
    # -f: links and sockets have no flags, and that is fine.
    run("sh", "-c", f'{delete} || {{ chattr -R -f -i -- "$1"; {delete}; }}', "sh", directory)
