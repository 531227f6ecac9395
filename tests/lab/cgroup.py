"""The control group of a running host: made, entered, killed and removed.

Whatever a host forks stays in its group, however it detaches itself, so nothing escapes `down`.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.lab.paths import SUFFIX
from tests.lab.shell import LabError, retry

#: The parent of the hosts' groups where no service manager gives them one.
PARENT = f"pyinfra-nspawn-lab{SUFFIX}"


def mount_point() -> Path:
    """Return where cgroup v2 is mounted, alone or beside v1's hierarchies."""
    for candidate in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (candidate / "cgroup.controllers").exists():
            return candidate
    raise LabError("expected cgroup v2 on /sys/fs/cgroup or /sys/fs/cgroup/unified, found neither")


def of(pid: int | str) -> Path:
    """Return the directory of the v2 group that a process is in."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return mount_point() / line[4:]
    raise LabError(f"expected process {pid} in a cgroup v2 group, found none")


def enter(group: Path) -> None:
    """Make a group and move this process into it."""
    group.mkdir(parents=True, exist_ok=True)
    (group / "cgroup.procs").write_text(str(os.getpid()))


def hand_down_controllers(group: Path) -> None:
    """Give the groups below every controller that this one has. No process may be in it."""
    controllers = (group / "cgroup.controllers").read_text().split()
    if controllers:
        enabled = " ".join(f"+{controller}" for controller in controllers)
        (group / "cgroup.subtree_control").write_text(enabled)


def kill(group: Path) -> None:
    """Kill every process of a group and those below, and remove the groups."""
    if group.is_dir():
        (group / "cgroup.kill").write_text("1")
        retry(lambda: _is_empty(group), 30, f"no process left in {group}")
    # nspawn mirrors the groups it makes into v1's "systemd" hierarchy.
    name = group.relative_to(mount_point())
    for hierarchy in {mount_point(), *mount_point().parent.glob("*/")}:
        _remove(hierarchy / name)


def _is_empty(group: Path) -> bool:
    return "populated 0" in (group / "cgroup.events").read_text()


def _remove(group: Path) -> None:
    if (group / "cgroup.procs").exists():
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)
