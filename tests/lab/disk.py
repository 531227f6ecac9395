"""A disk for each host: a file with a file system in it, mounted where the host's sysroot is.

libostree remounts /sysroot, and that changes the whole file system, not one mount of it. Were it this
machine's own, hosts at work at the same time would disturb each other ("Device or resource busy"), and a
host could make this machine read-only.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import lock
from tests.lab.paths import CACHE
from tests.lab.shell import LabError, run

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The file takes as much of this machine's disk as was written to it.
SIZE = "16G"
#: The first eight belong to tests in the hosts, which look for a free one among them.
LOOP_DEVICES = range(64, 1024)
ATTEMPTS = 5


def make(file: Path, target: Path) -> None:
    """Make a disk, and mount it."""
    target.mkdir()
    run("truncate", f"--size={SIZE}", file)
    # Nothing of it is to survive this machine: no journal, no barriers.
    run("mkfs.ext4", "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", file)
    with lock.machine():
        device = _attach(file)
    try:
        run("mount", "-o", "nobarrier,discard", device, target)
    finally:
        run("losetup", "--detach", device)  # as soon as it is not mounted any more
    (target / "lost+found").rmdir()


def unmount(target: Path) -> None:
    """Unmount a host's disk, if it is mounted."""
    if target.is_mount():
        run("umount", "--lazy", target)


def forget_others(own: Path) -> None:
    """Unmount the other hosts' disks in this process's mount namespace, which would keep them alive.

    A host that is being made is renamed in the meantime, and its disk is found under the new name then.
    """
    for _ in range(ATTEMPTS):
        for target in _others(own):
            with suppress(LabError):
                run("umount", "--lazy", target)
        if not _others(own):
            return
    raise LabError(f"expected no disk but {own}, found {', '.join(map(str, _others(own)))}")


def _others(own: Path) -> list[Path]:
    return [target for target in _mounted() if target != own]


def _attach(file: Path) -> str:
    """Attach a file to a free loop device.

    Two at once would meet at a device that the kernel is still making: "No such file or directory".
    """
    for number in LOOP_DEVICES:
        device = f"/dev/loop{number}"
        try:
            run("losetup", device, file)
        except LabError:
            if not Path(device).exists():
                raise  # it is no other disk's device
            continue
        return device
    raise LabError("expected a free loop device, found none")


def _mounted() -> Iterator[Path]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        target = Path(line.split()[4])
        if target.is_relative_to(CACHE):
            yield target
