"""What a process has mounted: /proc/PID/mountinfo (proc_pid_mountinfo(5))."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mount:
    """One mount.

    + root: the directory of the file system that is mounted
    + options: of this mount, not of the file system
    """

    root: str
    options: frozenset[str]

    def __str__(self) -> str:
        return f"{self.root} ({','.join(sorted(self.options))})"


def parse(text: str) -> dict[str, Mount]:
    """Return the mounts in `text` by where they are; of several at one place the uppermost."""
    mounts = {}
    for line in text.splitlines():
        _, _, _, root, where, options, *_ = line.split(" ")
        mounts[where] = Mount(root, frozenset(options.split(",")))
    return mounts
