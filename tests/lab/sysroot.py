"""One host's own sysroot: made from the image, made into that host, and what of it boots."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.lab import disk, ssh
from tests.lab.image import MADE_FROM, STATEROOT, Image, build, image
from tests.lab.overlay import lay_over
from tests.lab.paths import HOSTS
from tests.lab.progress import size, step
from tests.lab.shell import LabError, run
from tests.lab.trash import remove

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.fleet import HostSpec, MachineSpec

#: The file beside it that is the host's disk.
DISK = "disk.img"
#: A local account with no password, of which sudo asks none.
USER_ID = 1000


def copy(spec: MachineSpec) -> Image:
    """Return the host's own copy of the image it was made from."""
    return Image(HOSTS / spec.name)


def is_current(spec: MachineSpec) -> bool:
    """Tell whether the host was made from the present image, and lets the present key in."""
    made_from = copy(spec).directory / MADE_FROM
    return made_from.exists() and made_from.read_text() == present(spec)


def create(spec: HostSpec) -> None:
    """Make a fresh sysroot for the host unless it has one. Call it under the host's lock."""
    if copy(spec).directory.is_dir():
        return
    build(spec.generation)
    os.utime(image(spec.generation).directory)  # it is in use
    with step(f"{spec.name}: copying a fresh sysroot") as done:
        new = Image(HOSTS / f"creating.{spec.name}")
        _delete(new)
        new.directory.mkdir(parents=True)
        disk.make(new.directory / DISK, new.sysroot)
        run("cp", "--archive", f"{image(spec.generation).sysroot}/.", new.sysroot)
        configure(spec, new.sysroot)
        (new.directory / MADE_FROM).write_text(present(spec))
        new.directory.rename(copy(spec).directory)
        done.result = size(copy(spec).sysroot)


def present(spec: MachineSpec) -> str:
    """Return what a machine made now is made from: its image, and the key that it lets in."""
    return f"{image(spec.generation).directory}\n{ssh.authorized_key()}"


def configure(spec: HostSpec, sysroot: Path) -> None:
    """Make the deployed system that host: in its /etc and /var, for guests share its commit."""
    deployment = booting(sysroot)
    identify(spec, sysroot, deployment)
    lay_over(deployment, "nspawn")
    (deployment / "etc/systemd/network/10-uplink.network").write_text(
        "[Match]\nName=eth0\n\n[Network]\n"
        f"Address={spec.address}/31\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
    if spec.readonly_sysroot:
        lay_over(deployment, "readonly")
    # The copy lost the flag; ostree sets it on the root of every deployment.
    run("chattr", "+i", deployment)


def identify(spec: MachineSpec, sysroot: Path, deployment: Path) -> None:
    """Give a deployed system what makes it that machine, whatever its body is."""
    etc, var = deployment / "etc", sysroot / "ostree/deploy" / STATEROOT / "var"
    lay_over(deployment, "host")
    (etc / "hostname").write_text(f"{spec.name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {spec.name}\n")
    ssh.install_host_key(spec, etc)
    (var / "log/journal").mkdir(parents=True, exist_ok=True)
    if spec.user == "root":
        ssh.authorize(var / "roothome", owner=0)
    else:
        _add_user(spec.user, etc, var)
    if spec.readonly_sysroot:
        run("ostree", f"--repo={sysroot}/ostree/repo", "config", "set", "sysroot.readonly", "true")


def _add_user(name: str, etc: Path, var: Path) -> None:
    for file, line in {
        "passwd": f"{name}:x:{USER_ID}:{USER_ID}::/var/home/{name}:/bin/bash",
        "shadow": f"{name}:*:20000:0:99999:7:::",
        "group": f"{name}:x:{USER_ID}:",
        "gshadow": f"{name}:!::",
    }.items():
        with (etc / file).open("a") as accounts:
            accounts.write(f"{line}\n")
    sudoers = etc / f"sudoers.d/{name}"
    sudoers.write_text(f"{name} ALL=(ALL:ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    (etc / "ssh/sshd_config.d/20-no-root.conf").write_text("PermitRootLogin no\n")
    ssh.authorize(var / "home" / name, owner=USER_ID)


def booting(sysroot: Path, deployment: str | None = None) -> Path:
    """Return the deployment directory that a boot loader would boot now, or the one asked for.

    `deployment` is a directory name, CHECKSUM.SERIAL, as a person picks a line of the boot menu.
    """
    entries = _boot_entries(sysroot)
    for entry in entries:
        found = _deployment_of(sysroot, entry)
        if deployment in (None, found.name):
            return found
    names = ", ".join(_deployment_of(sysroot, entry).name for entry in entries)
    raise LabError(f"expected a boot entry for deployment {deployment}, found: {names or 'none'}")


def _boot_entries(sysroot: Path) -> list[dict[str, str]]:
    """Read the boot loader entries afresh, as a boot loader sorts them: highest version first.

    https://uapi-group.org/specifications/specs/boot_loader_specification/#type-1-boot-loader-entry-keys
    """
    files = (sysroot / "boot/loader/entries").glob("*.conf")
    entries = [parse_entry(file.read_text()) for file in files]
    return sorted(entries, key=lambda entry: int(entry["version"]), reverse=True)


def parse_entry(text: str) -> dict[str, str]:
    """Return the fields of a boot loader entry."""
    pairs = (line.split(None, 1) for line in text.splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _deployment_of(sysroot: Path, entry: dict[str, str]) -> Path:
    """Follow ostree= of an entry: a path within the sysroot, the last part of it a link."""
    options = entry["options"].split()
    (target,) = (option[7:] for option in options if option.startswith("ostree="))
    found = (sysroot / target.lstrip("/")).resolve(strict=True)
    if not found.is_relative_to(sysroot.resolve()):
        raise LabError(f"expected a deployment below {sysroot}, found {found}")
    return found


def delete(spec: MachineSpec) -> None:
    """Throw the host's disk away."""
    _delete(copy(spec))


def delete_all() -> None:
    """Throw all disks of this instance away, unfinished ones too."""
    for directory in HOSTS.glob("*"):
        _delete(Image(directory))
    remove(HOSTS)


def _delete(host: Image) -> None:
    disk.unmount(host.sysroot)
    remove(host.directory)
