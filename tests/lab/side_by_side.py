"""Do the same on several hosts at once: waiting for one costs the others nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.lab.protocol import Machine

T = TypeVar("T")
M = TypeVar("M", bound="Machine")


def on_each(hosts: Iterable[M], act: Callable[[M], T]) -> dict[str, T]:
    """Call `act` with every host at once; return what it returned, by the host's name.

    All are waited for. Of what was raised, the first is raised again.
    """
    with ThreadPoolExecutor() as pool:
        pending = {host.name: pool.submit(act, host) for host in hosts}
    return {name: done.result() for name, done in pending.items()}
