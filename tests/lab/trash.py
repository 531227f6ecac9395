"""Delete trees that ostree has protected against deletion."""

from __future__ import annotations

from pathlib import Path

from tests.lab.shell import run


def remove(directory: Path) -> None:
    """Delete a tree, whatever immutable deployments it holds; it may be gone already."""
    if not directory.exists():
        return
    _unmount_below(directory)
    # -f: links and sockets have no flags, and that is fine.
    run(
        "sh",
        "-c",
        'chattr -R -f -i -- "$1"; exec rm -rf --one-file-system -- "$1"',
        "sh",
        directory,
    )


def _unmount_below(directory: Path) -> None:
    """Unmount what a builder that was killed left mounted."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    for mount_point in reversed([line.split()[1] for line in mounts]):
        if Path(mount_point).is_relative_to(directory):
            run("umount", "--lazy", mount_point)
