"""A virtual machine's disks: made from the image, changed in an overlay, with snapshots in that.

| disk | holds | changed |
|---|---|---|
| root | the sysroot | in the overlay |
| boot | /boot, where that is a file system of its own | in the overlay |
| remote | the repository that offers updates | never |

An overlay with snapshots is QEMU's own business; here it is made and thrown away.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.lab import sysroot
from tests.lab.image import MADE_FROM, REMOTE_DIRECTORY, STATEROOT, Image, build, image
from tests.lab.paths import HOSTS
from tests.lab.progress import size, step
from tests.lab.shell import run
from tests.lab.trash import remove
from tests.lab.vm.fleet import UPLINK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.vm.fleet import VmSpec

ROOT, BOOT, REMOTE = "root", "boot", "remote"
#: The files take as much of this machine's disk as was written to them. In /boot, a kernel with its initramfs
#: takes 50 MB, and a deployment of another commit needs a second one.
SIZES = {ROOT: "6G", BOOT: "400M", REMOTE: "400M"}
#: The root file system's label, which the image's kernel arguments name.
LABELS = {ROOT: "lab", BOOT: "boot", REMOTE: "remote"}
#: FS_EXTENT_FL, which each directory has, and FS_IMMUTABLE_FL.
IMMUTABLE = 0x80000 | 0x10


def create(spec: VmSpec) -> None:
    """Make the disks of a freshly installed machine unless it has them. Call it under the machine's lock."""
    if sysroot.copy(spec).directory.is_dir():
        return
    build(spec.generation)
    source = image(spec.generation)
    os.utime(source.directory)  # it is in use
    with step(f"{spec.name}: making its disks") as done:
        new = Image(HOSTS / f"creating.{spec.name}")
        remove(new.directory)
        new.directory.mkdir(parents=True)
        run("cp", "--archive", source.sysroot, new.sysroot)
        deployment = _configure(spec, new.sysroot)
        _pack(spec, new, source.remote)
        # The copy lost the flag; ostree sets it on the root of every deployment.
        flag = f"set_inode_field /{deployment.relative_to(new.sysroot)} flags {IMMUTABLE:#x}"
        run("debugfs", "-w", "-R", flag, new.directory / f"{ROOT}.raw")
        remove(new.sysroot)
        (new.directory / MADE_FROM).write_text(sysroot.present(spec))
        new.directory.rename(sysroot.copy(spec).directory)
        renew(spec)
        done.result = size(sysroot.copy(spec).directory)


def renew(spec: VmSpec) -> None:
    """Forget whatever the machine has written, and its snapshots. It must be off."""
    for name in _changing(spec):
        run(
            *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw"),
            *("-b", f"{name}.raw", sysroot.copy(spec).directory / f"{name}.qcow2"),
        )


def snapshots(spec: VmSpec) -> set[str]:
    """Return the names of the machine's snapshots, whether it is on or off."""
    disk = sysroot.copy(spec).directory / f"{ROOT}.qcow2"
    if not disk.exists():
        return set()
    about = json.loads(run("qemu-img", "info", "--force-share", "--output=json", disk))
    return {snapshot["name"] for snapshot in about.get("snapshots", ())}


@contextmanager
def as_raw(spec: VmSpec, name: str) -> Iterator[Path]:
    """Yield a copy of the disk as it is now that debugfs can read. The machine must be off."""
    directory = sysroot.copy(spec).directory
    raw = directory / f"{name}.now"
    try:
        run("qemu-img", "convert", "-O", "raw", directory / f"{name}.qcow2", raw)
        yield raw
    finally:
        raw.unlink(missing_ok=True)


def options(spec: VmSpec) -> list[str]:
    """Return QEMU's options for the machine's disks. The first one takes the snapshots' memory."""
    directory = sysroot.copy(spec).directory
    drives = [f"file={directory}/{name}.qcow2,format=qcow2,cache=unsafe" for name in _changing(spec)]
    drives.append(f"file={directory}/{REMOTE}.raw,format=raw,readonly=on")
    return [word for drive in drives for word in ("-drive", f"if=virtio,{drive}")]


def _changing(spec: VmSpec) -> tuple[str, ...]:
    return (ROOT, BOOT) if spec.own_boot else (ROOT,)


def _configure(spec: VmSpec, root: Path) -> Path:
    """Make the deployed system that machine; return its deployment."""
    deployment = sysroot.booting(root)
    sysroot.identify(spec, root, deployment)
    (deployment / "etc/systemd/network/10-uplink.network").write_text(
        f"[Match]\nName={UPLINK}\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
    # To start a user's service manager at each login takes 10 s by emulation: it runs from the boot on.
    lingering = root / "ostree/deploy" / STATEROOT / "var/lib/systemd/linger" / spec.user
    lingering.parent.mkdir(parents=True)
    lingering.touch()
    mounts = [f"LABEL={LABELS[REMOTE]} {REMOTE_DIRECTORY} ext4 ro 0 0\n"]
    if spec.own_boot:
        mounts.append(f"LABEL={LABELS[BOOT]} /boot ext4 defaults 0 2\n")
    (deployment / "etc/fstab").write_text("".join(mounts))
    if spec.generation.labelled:
        _label(root, deployment)
    return deployment


def _label(root: Path, deployment: Path) -> None:
    """Label /etc and /var as the deployed system's policy says: ostree leaves both to the first boot."""
    run(
        *("unshare", "--mount", "sh", "-ec"),
        'mount --bind "$1" "$2/var" && exec chroot "$2" setfiles -F -m "$3" /etc /var',
        *("sh", root / "ostree/deploy" / STATEROOT / "var", deployment),
        "/etc/selinux/default/contexts/files/file_contexts",
    )


def _pack(spec: VmSpec, machine: Image, remote: Path) -> None:
    """Make file systems of the directories, with quotas. They need not survive this machine: no journal."""
    contents = {ROOT: machine.sysroot, REMOTE: remote}
    if spec.own_boot:
        contents[BOOT] = machine.directory / "boot"
        (machine.sysroot / "boot").rename(contents[BOOT])
        (machine.sysroot / "boot").mkdir()
    for name, content in contents.items():
        run(
            *("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum,quota,project", "-m", "0"),
            *("-L", LABELS[name], "-d", content, machine.directory / f"{name}.raw", SIZES[name]),
        )
    remove(machine.directory / "boot")
