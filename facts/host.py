"""The host itself: what it is booted from, what is installed, and the limits that guests meet."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pyinfra.api.facts import FactBase

from pyinfra_nspawn.facts.base import (
    Record,
    Unreadable,
    not_understood,
    parse_answer,
    refuse_failed,
)
from pyinfra_nspawn.facts.program import command_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra_nspawn.facts.base import Part


@dataclass(frozen=True)
class Denial(Record):
    """What SELinux has denied to machined, networkd, nspawn or a guest.

    + source: the type of the process (its domain)
    + target: the type of the object
    + target_class: the class of the object, such as `lnk_file`
    + permissions: the denied ones
    """

    source: str
    target: str
    target_class: str
    permissions: tuple[str, ...]


@dataclass(frozen=True)
class Stored(Record):
    """A file of k3s that a host stores for its guests.

    + size: in bytes; of one that is not whole, those that have arrived
    + links: how many names it has: its own, and one in each guest that has it
    + whole: whether all of it has arrived, with the right digest
    """

    size: int
    links: int
    whole: bool


@dataclass(frozen=True)
class Host(Record):
    """A host, as guests find it.

    + root: whether the facts are read with root's rights
    + ostree_booted: whether it runs from an OSTree deployment
    + kernel: release, as `uname -r` prints it
    + commands: those of the needed commands that are installed
    + systemd_version: the major number; 0 without systemd
    + ostree_version: as ostree prints it; empty without ostree
    + cgroup_version: 2 for the unified hierarchy, else 1
    + sysroot_read_only: whether /sysroot is mounted read-only
    + state_file_system: type of the file system that guests lie on, as `stat -f` names it
    + free_bytes: what that file system has left
    + project_quotas: the sysroots, `private` or `shared`, whose file system has project quotas
    + max_user_namespaces: 0 where user namespaces are forbidden
    + inotify_instances: the limit in force (fs.inotify.max_user_instances)
    + sysctl_file: our file in /etc/sysctl.d; None where there is none
    + selinux: `enforcing`, `permissive` or `disabled`, as it is now
    + selinux_configured: the same, as /etc/selinux/config has it for the next boot; None without one
    + machines_target: machines.target's UnitFileState; empty where there is no such unit
    + modules: those of the kernel that guests may need and that are loaded, or built in
    + sysctls: the values in force that guests may need, by name
    + k3s_modules_file, k3s_sysctls_file: contents of the files at the paths of ours for k3s; None without one
    + stored: files of k3s by their sha256
    + ostree_features: what its ostree was built with, as it names it
    + remote_files: contents of our files of ostree's remotes and of their keys, by path
    + state_version: of what this package keeps on the host; 0 where it keeps nothing, or before there were
      versions
    + denials: what SELinux, enforcing, has denied since it last loaded a policy
    """

    root: bool
    ostree_booted: bool
    kernel: str
    commands: tuple[str, ...]
    systemd_version: int
    ostree_version: str
    cgroup_version: int
    sysroot_read_only: bool
    state_file_system: str
    free_bytes: int
    max_user_namespaces: int
    inotify_instances: int
    sysctl_file: str | None
    selinux: str
    selinux_configured: str | None
    machines_target: str
    modules: tuple[str, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    k3s_modules_file: str | None = None
    k3s_sysctls_file: str | None = None
    stored: dict[str, Stored] = field(default_factory=dict)
    ostree_features: tuple[str, ...] = ()
    remote_files: dict[str, str] = field(default_factory=dict)
    state_version: int = 0
    denials: tuple[Denial, ...] = ()
    project_quotas: tuple[str, ...] = ()

    @property
    def kernel_version(self) -> tuple[int, int]:
        """The kernel's first two numbers."""
        match = re.match(r"(\d+)\.(\d+)", self.kernel)
        return (int(match[1]), int(match[2])) if match else (0, 0)


def parse_host(parts: Iterable[Part]) -> Host | Unreadable:
    """Return the host that the parts of an answer describe."""
    try:
        return _host({part.words[0]: part for part in parts})
    except (ValueError, KeyError, IndexError) as error:
        return not_understood(error)


def _host(parts: dict[str, Part]) -> Host:
    refuse_failed(parts[name] for name in HOST_PARTS if name in parts)
    file_system, free = parts["state-file-system"].lines
    return Host(
        root=parts["user"].text == "0",
        ostree_booted=parts["ostree-booted"].text == "yes",
        kernel=parts["kernel"].text,
        commands=parts["commands"].lines,
        systemd_version=_number(parts.get("systemd"), r"systemd (\d+)"),
        ostree_version=_word(parts.get("ostree"), r"Version: '?([^'\s]+)"),
        cgroup_version=2 if parts["cgroup"].text == "cgroup2fs" else 1,
        sysroot_read_only="ro" in parts["sysroot-options"].text.split(","),
        state_file_system=file_system,
        free_bytes=int(free.split()[-3]) * 1024,  # from the end: a source may hold spaces
        max_user_namespaces=int(parts["user-namespaces"].text),
        inotify_instances=int(parts["inotify-instances"].text),
        sysctl_file=_content(parts.get("sysctl-file")),
        selinux=_selinux(parts.get("selinux-enforce")),
        selinux_configured=_word(parts.get("selinux-config"), r"(\S+)") or None,
        machines_target=_word(parts.get("machines-target"), r"(?m)^UnitFileState=(\S*)$"),
        modules=_lines(parts.get("modules")),
        sysctls=dict(map(_sysctl, _lines(parts.get("sysctls")))),
        k3s_modules_file=_content(parts.get("k3s-modules-file")),
        k3s_sysctls_file=_content(parts.get("k3s-sysctls-file")),
        stored=dict(map(_stored, _lines(parts.get("k3s-store")))),
        ostree_features=tuple(re.findall(r"(?m)^ *- (\S+)$", parts["ostree"].text))
        if "ostree" in parts
        else (),
        remote_files=dict(map(_remote_file, _lines(parts.get("remote-files")))),
        state_version=_number(parts.get("state-version"), r"(\d+)"),
        denials=_denials(parts.get("selinux-denials")),
        project_quotas=_project_quotas(parts.get("mount-options")),
    )


def _remote_file(line: str) -> tuple[str, str]:
    """Read `PATH BASE64`."""
    path, _, content = line.rpartition(" ")
    return path, base64.b64decode(content).decode(errors="replace")


def _project_quotas(part: Part | None) -> tuple[str, ...]:
    """Read lines `KIND OPTIONS` of the file systems of guests' sysroots."""
    kinds = (line.split(" ") for line in _lines(part))
    return tuple(kind for kind, *options in kinds if "prjquota" in ",".join(options).split(","))


def _lines(part: Part | None) -> tuple[str, ...]:
    return part.lines if part else ()


def _content(part: Part | None) -> str | None:
    return part.output.decode() if part else None


def _word(part: Part | None, pattern: str) -> str:
    match = re.search(pattern, part.text) if part else None
    return match[1] if match else ""


def _number(part: Part | None, pattern: str) -> int:
    return int(_word(part, pattern) or 0)


def _sysctl(line: str) -> tuple[str, str]:
    """Return name and value of a line `PATH:VALUE`; the path lies below /proc/sys."""
    path, _, value = line.partition(":")
    return path.replace("/", "."), value


def _stored(line: str) -> tuple[str, Stored]:
    """Return digest and state of a line `SIZE LINKS NAME`; the name of a part is `.SHA256.part`."""
    size, links, name = line.split(" ")
    whole = not name.startswith(".")
    return name.removeprefix(".").removesuffix(".part"), Stored(int(size), int(links), whole)


def _selinux(enforce: Part | None) -> str:
    if enforce is None:
        return "disabled"
    return "enforcing" if enforce.text == "1" else "permissive"


def _denials(part: Part | None) -> tuple[Denial, ...]:
    found = []
    for line in _lines(part):
        source, target, target_class, *permissions = line.split()
        found.append(Denial(source, target, target_class, tuple(permissions)))
    return tuple(found)


HOST_PARTS = frozenset(
    {
        "user",
        "ostree-booted",
        "kernel",
        "commands",
        "systemd",
        "ostree",
        "cgroup",
        "sysroot-options",
        "state-file-system",
        "user-namespaces",
        "inotify-instances",
        "sysctl-file",
        "selinux-enforce",
        "selinux-config",
        "selinux-denials",
        "machines-target",
        "modules",
        "sysctls",
        "k3s-modules-file",
        "k3s-sysctls-file",
        "k3s-store",
        "remote-files",
        "state-version",
    }
)
"""The headers of the parts that describe the host."""


class HostFacts(FactBase[Host | Unreadable]):
    """Read what the host is: OSTree, versions, commands, cgroup, SELinux, /sysroot, free space, limits.

    Returns `Host`, or `Unreadable` when it could not be determined.

    **Example:**

    .. code:: shell

        pyinfra inventories/mine.py fact pyinfra_nspawn.facts.host.HostFacts
    """

    def command(self) -> str:
        """Return the command; it exits 0 whatever it finds."""
        return command_line("facts", "host")

    @staticmethod
    def default() -> Unreadable:
        """Return what stands for no answer."""
        return Unreadable("the host gave no answer")

    def process(self, output: list[str]) -> Host | Unreadable:
        """Parse the answer."""
        try:
            return parse_host(parse_answer(output))
        except ValueError as error:
            return not_understood(error)
