"""Kernel settings that every lab host would share with this machine: saved, put back, or given to each host.

What tests change, each host has in a file of its own (`OWN`): hosts do not see each other's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import lock
from tests.lab.paths import RUN, other_instances
from tests.lab.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator

#: For all instances: the first one that comes up saves, the last one that goes restores.
SAVED = RUN.parent / "pyinfra-nspawn-lab.sysctls.json"

#: What each host has of its own, and its value in a kernel that has just been booted.
OWN = {"fs/inotify/max_user_instances": "128"}
#: What this machine then needs for all hosts together, as root here is root in every host.
NEEDED = {"fs/inotify/max_user_instances": 16384}

#: What is not per network namespace. The rest a host has of its own.
SHARED = ("fs/**/*", "kernel/**/*", "vm/**/*", "net/core/*", "net/netfilter/*")
#: State or triggers, not settings.
NOT_SETTINGS = (
    "fs/binfmt_misc/",
    "kernel/ns_last_pid",
    "kernel/random/",
    "vm/compact_memory",
    "vm/drop_caches",
    "vm/stat_refresh",
)

_PROC = Path("/proc/sys")


def prepare() -> None:
    """Save this machine's settings unless that was done since the last `restore`; raise what is needed."""
    with lock.machine():
        if not SAVED.exists():
            new = SAVED.with_suffix(".new")
            new.write_text(json.dumps(_read()))
            new.rename(SAVED)
        for name, needed in NEEDED.items():
            if int((_PROC / name).read_text()) < needed:
                (_PROC / name).write_text(str(needed))


def restore() -> None:
    """Put back what differs from what was saved, unless another instance of the lab is still up."""
    with lock.machine():
        if other_instances() or not SAVED.exists():
            return
        before, now = json.loads(SAVED.read_text()), _read()
        for name in sorted(before.keys() & now.keys()):
            if before[name] != now[name]:
                say(f"sysctl {name.replace('/', '.')}: {now[name]} back to {before[name]}")
                (_PROC / name).write_text(before[name])
        SAVED.unlink()


def write_own(directory: Path) -> None:
    """Write the files that stand in for a host's own settings, as after a boot."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, value in OWN.items():
        (directory / file_name(name)).write_text(f"{value}\n")


def file_name(name: str) -> str:
    """Return the name of the file that stands in for a setting."""
    return name.replace("/", ".")


def _read() -> dict[str, str]:
    found = {}
    for path in _settings():
        try:
            found[str(path.relative_to(_PROC))] = path.read_text().strip()
        except (OSError, UnicodeDecodeError):  # write-only, or not of this machine
            continue
    return found


def _settings() -> Iterator[Path]:
    for pattern in SHARED:
        for path in _PROC.glob(pattern):
            name = str(path.relative_to(_PROC))
            if path.is_file() and path.stat().st_mode & 0o200 and not name.startswith(NOT_SETTINGS):
                yield path
