"""One lab command at a time on this machine."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.lab.paths import CACHE
from tests.lab.progress import say

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def lock() -> Iterator[None]:
    """Wait until no other process changes the lab, and keep others waiting."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another lab command to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
