"""Kernel settings that a lab host can change for the whole machine: saved and put back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.paths import RUN
from tests.lab.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator

SAVED = RUN / "sysctls.json"

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


def save() -> None:
    """Remember the present settings unless that was done since the last `restore`."""
    if not SAVED.exists():
        RUN.mkdir(parents=True, exist_ok=True)
        new = SAVED.with_suffix(".new")
        new.write_text(json.dumps(_read()))
        new.rename(SAVED)


def restore() -> None:
    """Put back what differs from what was remembered."""
    if not SAVED.exists():
        return
    before, now = json.loads(SAVED.read_text()), _read()
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            say(f"sysctl {name.replace('/', '.')}: {now[name]} back to {before[name]}")
            (_PROC / name).write_text(before[name])
    SAVED.unlink()


_PROC = Path("/proc/sys")


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
