"""What differs from what is desired, or stands in its way: typed, for people and for programs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal[
    "missing",  # desired, not there
    "differs",  # there, and not as desired
    "extra",  # there, and not desired
    "behind",  # the source has moved on; commits are moved by an upgrade
    "own-commit",  # the guest has deployed something itself
    "foreign",  # in a guest's place, and not ours
    "orphan",  # a guest of ours that no inventory names
    "degraded",  # runs with failed units
    "restarting",  # runs with a unit that keeps restarting
    "outdated",  # runs another definition or deployment than it has now
    "interrupted",  # a trial or a move was cut off
    "refused-commit",  # did not come up, or was rolled back, and is not tried again until the source moves
    "refused-definition",  # did not come up and is not tried again until it changes
    "unfit",  # the host lacks what guests need
    "impossible",  # cannot be done as asked
    "unreadable",  # could not be determined
    "boot-order",  # what the host boots next needs attention
    "failed",  # a step failed on the host
    "unreachable",  # no answer from the host
]

Severity = Literal["change", "note", "error"]


@dataclass(frozen=True)
class Finding:
    """One difference or obstacle of a host or of one of its guests.

    + kind: what sort of finding it is
    + problem: one line for people
    + hint: what to do about it; empty when a step takes care of it
    + guest: the guest's name; empty for the host itself
    + field: what it is about, by the inventory's or the record's name (`files./etc/x`, `source`, `unit`)
    + wanted, seen: both sides, as text; never a secret
    + severity: `change`: a step removes it; `note`: reported, no step follows; `error`: the guest (or,
      without one, the host) is refused and its run fails
    """

    kind: Kind
    problem: str
    hint: str = ""
    guest: str = ""
    field: str = ""
    wanted: str = ""
    seen: str = ""
    severity: Severity = "change"

    def __str__(self) -> str:
        whose = f"{self.guest}: " if self.guest else ""
        return f"{whose}{self.problem}{'. ' + self.hint if self.hint else ''}"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return dataclasses.asdict(self)


class Refused(Exception):  # noqa: N818 - not an error of the program
    """Nothing may be done for a guest, or for the host, because of these findings."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = findings
