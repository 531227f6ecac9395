"""One line before a long step, one line after it."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Step:
    """A step under way; `result` says in the closing line how much was done."""

    result: str = "done"


def say(message: str) -> None:
    """Print one line at once, whole: builds run side by side."""
    sys.stdout.write(f"lab: {message}\n")
    sys.stdout.flush()


@contextmanager
def step(what: str) -> Iterator[Step]:
    """Announce a step, and how it ended."""
    say(f"{what} ...")
    started = time.monotonic()
    running = Step()
    try:
        yield running
    except BaseException:
        say(f"{what}: failed after {time.monotonic() - started:.1f} s")
        raise
    say(f"{what}: {running.result}, {time.monotonic() - started:.1f} s")


def size(directory: Path) -> str:
    """Return the space that a tree takes, hard links counted once."""
    seen: dict[int, int] = {}
    for path in (directory, *directory.rglob("*")):
        status = path.lstat()
        seen[status.st_ino] = status.st_blocks * 512
    return f"{sum(seen.values()) // 1_000_000} MB"
