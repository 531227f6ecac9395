"""Locks between the processes and threads that change the lab.

Whoever takes several takes them in this order: hosts by name, their instance, an image, the machine.
"""

from __future__ import annotations

import fcntl
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.lab.paths import CACHE, SUFFIX
from tests.lab.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLL_SECONDS = 0.05
#: A wait that is shorter is not worth a line.
SAY_AFTER_SECONDS = 2


@contextmanager
def host(name: str) -> Iterator[None]:
    """Let nobody else start, stop or replace this host of the instance."""
    with _lock(CACHE / f"lock{SUFFIX}-{name}"):
        yield


@contextmanager
def instance() -> Iterator[None]:
    """Let nobody else change what the hosts of this instance share."""
    with _lock(CACHE / f"lock{SUFFIX}-instance"):
        yield


@contextmanager
def image(name: str) -> Iterator[None]:
    """Let nobody else build the image of this generation."""
    with _lock(CACHE / f"lock-image-{name}"):
        yield


@contextmanager
def machine() -> Iterator[None]:
    """Let nobody else change what all instances share: tools, this machine's settings."""
    with _lock(CACHE / "lock-machine"):
        yield


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Ask again and again: where threads are greenlets, one that blocks in flock(2) blocks all of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        asked, said = time.monotonic(), False
        while not _taken(file.fileno()):
            if not said and time.monotonic() - asked > SAY_AFTER_SECONDS:
                said = True
                say(f"waiting for another lab command to end ({path.name})")
            time.sleep(POLL_SECONDS)
        yield


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
