"""The processes that the lab's machines hang on, whatever their body is, and how they are found again."""

from __future__ import annotations

from pathlib import Path

from tests.lab.paths import INSTANCE

#: Where each was found last: hundreds of processes need not be looked at for each command.
_last_seen: dict[tuple[str, ...], int] = {}


def words(module: str, name: str) -> list[str]:
    """Return the interpreter's arguments; the instance is among them to tell its supervisors from others'."""
    instance = [str(INSTANCE)] if INSTANCE else []
    return ["-m", module, name, *instance]


def find(module: str, name: str) -> int | None:
    """Find a supervisor by its command line: a pid file could outlive it."""
    wanted = words(module, name)
    known = _last_seen.get(tuple(wanted))
    if known and _is_called(known, wanted):
        return known
    for process in Path("/proc").glob("[0-9]*"):
        if _is_called(int(process.name), wanted):
            _last_seen[tuple(wanted)] = int(process.name)
            return int(process.name)
    return None


def children(pid: int) -> list[int]:
    """Return the processes that a process has started; none of one that has ended."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _is_called(pid: int, wanted: list[str]) -> bool:
    try:
        found = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:  # ended meanwhile
        return False
    return found[1:] == wanted
