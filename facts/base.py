"""What all facts share: records, `Unreadable`, and the parts of which a fact's answer consists.

A fact's command is a POSIX sh script that always exits 0 and prints parts: a header, the output of one
command with a mark before each line (so that no output can pass for a header), and the exit code.
The last part is `done`; without it the answer is not whole, and whatever it seems to say is unknown.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from pyinfra.api.command import QuoteString, StringCommand

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


@dataclass(frozen=True)
class Record:
    """Something seen on a host; `to_json` is what pyinfra's `fact` command prints."""

    def to_json(self) -> dict[str, Any]:
        """Return plain data, nested records included."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Unreadable(Record):
    """It could not be told. Never to be taken for "there is none".

    + reason: what stood in the way, to be shown to the administrator
    """

    reason: str


class GarbledError(ValueError):
    """A fact's answer has not the form that its script prints."""


@dataclass(frozen=True)
class Part:
    """One part of a fact's answer.

    + words: of its header
    + output: what the command printed, to the letter
    + code: the command's exit code
    """

    words: tuple[str, ...]
    output: str
    code: int

    @property
    def text(self) -> str:
        """The output without the newline at its end."""
        return self.output.removesuffix("\n")

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the output."""
        return tuple(self.output.splitlines())


def parse_parts(output: Iterable[str]) -> list[Part]:
    """Split a script's output into its parts, without the closing `done`.

    Raises `GarbledError` when a line has no mark or the answer is not whole.
    """
    parts: list[Part] = []
    words: tuple[str, ...] | None = None
    lines: list[str] = []
    whole = False
    for line in output:
        if line == ":: done":
            whole = True
        elif line.startswith(":: ") and words is None:
            words, lines = tuple(line[3:].split(" ")), []
        elif line.startswith("|") and words is not None:
            lines.append(line[1:])
        elif line.startswith(":= ") and words is not None and line[3:].isdigit():
            parts.append(Part(words, "\n".join(lines), int(line[3:])))
            words = None
        else:
            raise GarbledError(f"unexpected output: {line[:120]!r}")
    if not whole:
        raise GarbledError("the answer broke off")
    return parts


def refuse_failed(parts: Iterable[Part]) -> None:
    """Raise `GarbledError`, in the words of the command, when the command of a part failed."""
    for part in parts:
        if part.code != 0:
            raise GarbledError(f"{part.words[0]}: {' '.join(part.lines) or f'exit code {part.code}'}")


def not_understood(error: Exception) -> Unreadable:
    """Return an answer that is whole, or not, and says something else than its parser knows."""
    reason = str(error) if isinstance(error, GarbledError) else f"unexpected answer, {error!r}"
    return Unreadable(reason.replace("\n", " "))


@runtime_checkable
class OfGuests(Protocol[T]):
    """A fact about all guests of a host that can be read of one guest alone, by its argument `only`.

    With many guests a run would otherwise read every one of them again after each change of one.
    """

    @staticmethod
    def merged(before: T, now: T, only: str) -> T:
        """Return the answer `before`, with what the answer `now` says of the guest `only`."""


def fact_script(name: str, *arguments: str) -> StringCommand:
    """Return the command that runs `scripts/NAME.sh` on the host, in its /bin/sh."""
    folder = files("pyinfra_nspawn.facts") / "scripts"
    text = "\n".join((folder / part).read_text() for part in ("parts.sh", f"{name}.sh"))
    return StringCommand("sh", "-c", QuoteString(text), *map(QuoteString, (name, *arguments)))
