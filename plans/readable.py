"""Unknown is not absent: what could not be read refuses whatever needs it."""

from __future__ import annotations

from typing import TypeVar

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.plans.finding import Finding, Refused

T = TypeVar("T")


def readable(what: str, seen: T | Unreadable, guest: str = "") -> T:
    """Return what was seen. Raises `Refused` when it could not be read.

    + what: its name, for the administrator
    + guest: whose finding that is; the host's by default
    """
    if isinstance(seen, Unreadable):
        raise Refused(
            Finding(
                "unreadable",
                f"{what} could not be read: {seen.reason}",
                "Fix the cause on the host, then run again.",
                guest=guest,
                severity="error",
            )
        )
    return seen
