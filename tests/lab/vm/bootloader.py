"""What a boot loader would do: choose an entry of the disk's own /boot, and take what it names.

It reads the disk as it is now, before each start: what runs in the machine deploys, and with that the entries
change, and the paths in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.lab import sysroot
from tests.lab.shell import LabError, run
from tests.lab.vm import disks

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.vm.fleet import VmSpec

ENTRIES = "loader/entries"


@dataclass(frozen=True)
class Boot:
    """What was taken from the disk at the last start."""

    directory: Path

    @property
    def kernel(self) -> Path:
        return self.directory / "kernel"

    @property
    def initramfs(self) -> Path:
        return self.directory / "initramfs"

    @property
    def options(self) -> Path:
        """A file with the kernel's command line."""
        return self.directory / "options"


def chosen(spec: VmSpec) -> Boot:
    """Return where the choice of the last start lies."""
    return Boot(sysroot.copy(spec).directory / "boot")


def choose(spec: VmSpec) -> Boot:
    """Take from the disk what a boot loader would take now. The machine must be off."""
    boot = chosen(spec)
    boot.directory.mkdir(exist_ok=True)
    with disks.as_raw(spec, disks.BOOT if spec.own_boot else disks.ROOT) as disk:
        prefix = "" if spec.own_boot else "/boot"
        entry = _default_entry(disk, prefix)
        _read(disk, prefix + entry["linux"], boot.kernel)
        _read(disk, prefix + entry["initrd"], boot.initramfs)
    boot.options.write_text(entry["options"])
    return boot


def _default_entry(disk: Path, prefix: str) -> dict[str, str]:
    """Return the entry with the highest version, as a boot loader sorts them."""
    directory = f"{prefix}/{ENTRIES}"
    # Fields between slashes: inode, mode, owner, group, name, size.
    lines = _debugfs(disk, f"ls -p {directory}").splitlines()
    names = [line.split("/")[5] for line in lines if line.count("/") > 5]
    entries = [
        sysroot.parse_entry(_debugfs(disk, f"cat {directory}/{name}"))
        for name in names
        if name.endswith(".conf")
    ]
    if not entries:
        raise LabError(f"expected boot loader entries in {directory} of {disk}, found none")
    return max(entries, key=lambda entry: int(entry["version"]))


def _read(disk: Path, source: str, target: Path) -> None:
    target.unlink(missing_ok=True)
    _debugfs(disk, f"dump {source} {target}")
    if not target.exists() or target.stat().st_size == 0:  # debugfs exits 0 whatever happens
        raise LabError(f"expected {source} in {disk}, found nothing")


def _debugfs(disk: Path, request: str) -> str:
    return run("debugfs", "-R", request, disk)
