"""The one form in which every plan is made, shown and carried out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyinfra.api.facts import FactBase

    from pyinfra_nspawn.facts.base import Unreadable


@dataclass(frozen=True)
class Step:
    """One command on the host.

    + text: what it does, for the administrator
    + script: the name of the operations' script that does it
    + arguments: of the script; none may begin with `-`
    + stdin: lines that must not appear on a command line, file contents; None for a script that reads none
    + changes: the facts that must be read again after it, because a later plan rests on what it changed
    + guest: the one guest of which they must be read again; empty for all
    """

    text: str
    script: str
    arguments: tuple[str, ...] = ()
    stdin: str | None = None
    changes: tuple[type[FactBase[Any]], ...] = field(kw_only=True)
    guest: str = field(default="", kw_only=True)


@dataclass(frozen=True)
class FileDiff:
    """How a file would change: its lines before and after."""

    path: str
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a run has to do on a host for one concern.

    + steps: in order; none where all is as wanted
    + diffs: of the files that the steps write
    + refusals: why nothing may be done, each a sentence that names the remedy
    + notes: what the administrator should know although no step follows from it
    + of_host: whether the refusals are of the host and so of every guest, not of one guest
    """

    steps: tuple[Step, ...] = ()
    diffs: tuple[FileDiff, ...] = ()
    refusals: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    of_host: bool = False


def refusal(what: str, unreadable: Unreadable, *, of_host: bool = True) -> Plan:
    """Return the plan for what could not be told: unknown is not absent."""
    sentence = f"{what} could not be read ({unreadable.reason}); mend that and run again"
    return Plan(refusals=(sentence,), of_host=of_host)
