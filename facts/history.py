"""What was changed on a host, when and by whom: the entries that the program writes into the host's journal.

`host/record.sh` writes them, one for each step that changed something or failed. Only entries of root count:
journald itself says whose they are, and any user of the host may write with our identifier.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pyinfra.api.exceptions import FactValueError
from pyinfra.api.facts import FactBase

from pyinfra_nspawn.facts.base import (
    GarbledError,
    Record,
    Unreadable,
    not_understood,
    one_line,
    parse_answer,
)
from pyinfra_nspawn.facts.program import command_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra_nspawn.facts.base import Part

MOST = 300
"""How many entries can be asked for: more may not fit into an answer, which is capped."""


@dataclass(frozen=True)
class Change(Record):
    """A step that changed something on a host, or failed there; every text is printable.

    + time: when it ended, in UTC, as ISO 8601 with microseconds
    + verb: of the step
    + guest: the guest's name; empty for the host itself
    + result: `changed` or `failed`
    + by: who ran pyinfra and where, `USER@HOST`, as that machine says
    + login: who became root on the host; with sudo the user who called it
    + version: of this package
    """

    time: str
    verb: str
    guest: str
    result: str
    by: str
    login: str
    version: str


def parse_history(parts: Iterable[Part]) -> tuple[Change, ...] | Unreadable:
    """Return the changes that an answer holds, oldest first.

    A line that is no entry of a journal makes all unreadable: what else is missing is not known. An entry
    without our fields is skipped: root may write anything under that identifier.
    """
    try:
        (part,) = (part for part in parts if part.words == ("history",))
        if part.code != 0:
            return Unreadable(part.complaint)
        return tuple(change for line in part.lines if (change := _change(line)) is not None)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        return not_understood(error)


def _change(line: str) -> Change | None:
    entry = json.loads(line)
    if not isinstance(entry, dict):
        raise GarbledError(f"no entry of a journal: {line[:120]!r}")
    microseconds = timedelta(microseconds=int(entry["__REALTIME_TIMESTAMP"]))
    field = {name: _text(entry.get(f"PYINFRA_NSPAWN_{name.upper()}", "")) for name in _FIELDS}
    if not field["verb"] or not field["guest"] or field["result"] not in _RESULTS:
        return None
    if field["guest"] == "-":
        field["guest"] = ""
    return Change(time=(_EPOCH + microseconds).isoformat(timespec="microseconds"), **field)


_FIELDS = ("verb", "guest", "result", "by", "login", "version")
_RESULTS = ("changed", "failed")
_EPOCH = datetime.fromtimestamp(0, UTC)


def _text(found: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Return a field as one printable line.

    journalctl prints bytes that are no printable UTF-8 as numbers, a field that is there several times as an
    array of its values, and one that is too long as null.
    """
    if isinstance(found, str):
        return one_line(found)
    if found is None:
        return "?"
    if not isinstance(found, list):
        raise GarbledError(f"no field of a journal: {str(found)[:120]!r}")
    if found and all(isinstance(item, int) for item in found):
        return one_line(bytes(found).decode(errors="replace"))
    return one_line(", ".join(_text(item) for item in found))


class History(FactBase[tuple[Change, ...] | Unreadable]):
    """Read what was changed on the host, when, by whom, and with which version of this package.

    + limit: how many of the latest entries

    Returns `Change` records, oldest first, or `Unreadable` when it could not be determined. How far they
    reach back is up to the host's journal, which may not outlive a reboot.

    **Example:**

    .. code:: shell

        pyinfra inventories/mine.py fact pyinfra_nspawn.facts.history.History limit=20
    """

    def command(self, limit: int = 100) -> str:
        """Return the command; it exits 0 whatever it finds.

        Raises `FactValueError` for a limit that is no number from 1 to 300.
        """
        if not (str(limit).isascii() and str(limit).isdigit() and 1 <= int(limit) <= MOST):
            raise FactValueError(f"limit must be a number from 1 to {MOST}, not {limit!r}")
        return command_line("facts", "history", str(int(limit)))

    @staticmethod
    def default() -> Unreadable:
        """Return what stands for no answer."""
        return Unreadable("the host gave no answer")

    def process(self, output: list[str]) -> tuple[Change, ...] | Unreadable:
        """Parse the answer."""
        try:
            return parse_history(parse_answer(output))
        except ValueError as error:
            return not_understood(error)
