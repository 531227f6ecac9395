"""Turn Debian packages into the file tree of an OSTree commit."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from tests.lab.overlay import lay_over
from tests.lab.progress import say, size, step
from tests.lab.shell import LabError, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.generations import Generation

MIRROR = "http://deb.debian.org/debian"

PACKAGES = (
    "curl",
    "dbus",
    "dracut",
    "fish",
    "iproute2",
    "kmod",
    "libnss-mymachines",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "openssh-server",
    "ostree",
    "ostree-boot",
    "procps",
    "sudo",
    "systemd",
    "systemd-container",
    "systemd-sysv",
    "tcsh",
    "udev",
)

APT_OPTIONS = (
    # The archive may be a mirror of a past day, whose sid has expired.
    'Acquire::Check-Valid-Until "false"',
    'Acquire::Languages "none"',
    'APT::Install-Recommends "false"',
)

LEFT_OUT = ("doc", "doc-base", "info", "lintian", "locale", "man")

#: What packages bring along and nothing in the lab uses: three files in five, which every deployment links
#: and every check of a store reads. The kernel's modules stay: a host may boot on a kernel of its own.
UNUSED = (
    "usr/bin/fish_indent",
    "usr/lib/dracut",
    "usr/lib/udev/hwdb*",
    "usr/lib/x86_64-linux-gnu/gconv",
    "usr/share/bash-completion",
    "usr/share/fish/completions",
    "usr/share/fish/man",
    "usr/share/fish/tools",
    "usr/share/groff",
    "usr/share/zoneinfo/[!E]*",
    "usr/share/zsh",
)

#: What hosts of most OSTree systems do not have, and nothing of ours needs there.
PYTHON = ("usr/bin/python3*", "usr/lib/python3*")

#: Where an OSTree tree keeps what Debian has as directories in its root.
LINKS = {
    "home": "var/home",
    "media": "var/media",
    "mnt": "var/mnt",
    "opt": "var/opt",
    "root": "var/roothome",
    "srv": "var/srv",
    "usr/local": "../var/usrlocal",
    "ostree": "sysroot/ostree",
}

#: They want apt's and dpkg's databases or a disk of their own, and would be failed units.
DISABLED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
)

#: Of the machine that built the tree, or one for each system that boots it.
UNWANTED_ETC = ("fstab", "hostname", "resolv.conf", "update-motd.d/10-uname")

#: What `lab-baked` has in its /etc all the same.
BAKED_HOSTNAME = "baked"
BAKED_MACHINE_ID = "ba5edba5edba5edba5edba5edba5edba"


def build(tree: Path, generation: Generation) -> None:
    """Make the whole tree of a generation's first commit in the directory `tree`."""
    count = len(_packages(generation))
    with step(f"{generation.name}: installing {count} packages with mmdebstrap") as done:
        _install_first_that_can_be(tree, generation)
        _leave_out_unused(tree, generation)
        _settle_kernel(tree)
        _settle_units(tree, generation)
        if generation.labelled:
            _settle_policy(tree)
        _empty_what_is_not_committed(tree)
        _settle_etc(tree)
        _settle_root(tree)
        lay_over(tree, "image")
        write_release(tree, tree, generation.versions[generation.ref])
        done.result = size(tree)


def write_release(tree: Path, into: Path, version: str) -> None:
    """Write the files that differ between a generation's commits into `into`."""
    release = (tree / "usr/lib/os-release").read_text()
    library = into / "usr/lib"
    library.mkdir(parents=True, exist_ok=True)
    (library / "lab-release").write_text(f"{version}\n")
    versioned = re.sub(r"(?m)^VERSION=.*$", f'VERSION="{version} (lab)"', release)
    if versioned == release and f'VERSION="{version} (lab)"' not in release:
        versioned += f'VERSION="{version} (lab)"\n'
    (library / "os-release").write_text(versioned)


def write_identity(into: Path) -> None:
    """Bake a hostname and a machine id into a commit's /etc, as images that once were booted have them."""
    etc = into / "usr/etc"
    etc.mkdir(parents=True)
    (etc / "hostname").write_text(f"{BAKED_HOSTNAME}\n")
    (etc / "machine-id").write_text(f"{BAKED_MACHINE_ID}\n")


def _install_first_that_can_be(tree: Path, generation: Generation) -> None:
    *preferred, last = generation.suites
    for suite in preferred:
        try:
            return _install(tree, suite, generation)
        except LabError as error:
            say(f"{generation.name}: {suite} cannot be installed, taking the next:\n{error}")
            shutil.rmtree(tree, ignore_errors=True)
    return _install(tree, last, generation)


def _packages(generation: Generation) -> tuple[str, ...]:
    return (*PACKAGES, *generation.packages)


def _install(tree: Path, suite: str, generation: Generation) -> None:
    options = [f"--aptopt={option}" for option in APT_OPTIONS]
    dracut = " ".join(f'"{word}"' for word in generation.initramfs)
    options += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in LEFT_OUT]
    run(
        # mmdebstrap outlives its caller, with mounts: in namespaces of its own it cannot.
        *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        f"--include={','.join(_packages(generation))}",
        *options,
        # Before /etc moves to /usr/etc: dracut takes /etc/initrd-release from there, and an
        # initramfs without it stops in emergency mode.
        '--customize-hook=chroot "$1" sh -ec \'kver=$(ls /usr/lib/modules); '
        f'dracut --no-hostonly {dracut} --kver "$kver" "/usr/lib/modules/$kver/initramfs.img"\'',
        suite,
        tree,
        MIRROR,
        # The kernel's own maintainer script would make another initramfs, in /boot.
        env={"INITRD": "No", "TMPDIR": str(tree.parent)},
    )


def _leave_out_unused(tree: Path, generation: Generation) -> None:
    for pattern in (*UNUSED, *(() if generation.python else PYTHON)):
        for path in tree.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _settle_kernel(tree: Path) -> None:
    """Put the kernel where ostree looks for it, beside its modules."""
    (modules,) = (tree / "usr/lib/modules").iterdir()
    if not (modules / "vmlinuz").exists():  # newer packages have it there already
        (tree / f"boot/vmlinuz-{modules.name}").rename(modules / "vmlinuz")


def _settle_units(tree: Path, generation: Generation) -> None:
    offline = {"SYSTEMD_OFFLINE": "1"}
    run("chroot", tree, "systemctl", "enable", "systemd-networkd.service", env=offline)
    run("chroot", tree, "systemctl", "disable", *DISABLED, *generation.disabled, env=offline)
    if generation.masked:
        run("chroot", tree, "systemctl", "mask", *generation.masked, env=offline)


def _settle_policy(tree: Path) -> None:
    """Make SELinux's policy one of an OSTree system, as Fedora has it.

    What it is made from is in /etc: no commit has a /var. Everybody may read the links in /, and what they
    lead to has the labels of Debian's directories.
    """
    policy = tree / "etc/selinux/default"
    shutil.copytree(tree / "var/lib/selinux/default/active", policy / "active")
    with (tree / "etc/selinux/semanage.conf").open("a") as settings:
        settings.write("store-root = /etc/selinux\n")
    contexts = policy / "contexts/files"
    with (
        (contexts / "file_contexts.subs_dist").open("a") as same,
        (contexts / "file_contexts.local").open("a") as local,
    ):
        for name, target in LINKS.items():
            local.write(f"/{name} -l system_u:object_r:root_t:s0\n")
            if "var/" in target:
                same.write(f"/{target.removeprefix('../')} /{name}\n")


def _empty_what_is_not_committed(tree: Path) -> None:
    for name in ("boot", "dev", "proc", "run", "sys", "tmp", "var"):
        directory = tree / name
        mode = directory.stat().st_mode
        shutil.rmtree(directory)
        directory.mkdir()
        directory.chmod(mode)
    for link in tree.glob("vmlinuz*"):
        link.unlink()


def _settle_etc(tree: Path) -> None:
    etc = tree / "etc"
    for name in UNWANTED_ETC:
        (etc / name).unlink(missing_ok=True)
    for pattern in ("ssh/ssh_host_*", "*-", ".pwd.lock"):
        for path in etc.glob(pattern):
            path.unlink()
    # Empty, not "uninitialized": each system gets its own, and it is no "first boot", which
    # would enable every unit that has an [Install] section (machine-id(5), systemd.preset(5)).
    (etc / "machine-id").write_text("")
    etc.rename(tree / "usr/etc")


def _settle_root(tree: Path) -> None:
    (tree / "sysroot").mkdir()
    for name, target in LINKS.items():
        path = tree / name
        if path.is_dir():
            shutil.rmtree(path)
        os.symlink(target, path)
