"""Share what all facts need: records, `Unreadable`, and the parts of which an answer consists.

The program on the host (`host/`) answers in ASCII: parts with a header, whose content is base64 unless it
is printable ASCII, and `:: done` at the end. Without that line the answer is incomplete, and whatever it
seems to say is unknown.
"""

from __future__ import annotations

import base64
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

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
    """The state could not be determined. Never treat it as absent.

    + reason: what stood in the way, in one line
    """

    reason: str


class GarbledError(ValueError):
    """An answer is not what the program on the host prints."""


@dataclass(frozen=True)
class Part:
    """One part of an answer.

    + words: of its header
    + output: what a command printed on stdout, or a value that the program knew
    + code: the command's exit code; 0 for a value
    + errors: what it printed on stderr
    """

    words: tuple[str, ...]
    output: bytes = b""
    code: int = 0
    errors: bytes = b""

    @property
    def text(self) -> str:
        """The output as text, without the newline at its end; bytes that are not UTF-8 are replaced."""
        return self.output.decode(errors="replace").removesuffix("\n")

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines of the output, split at newlines alone."""
        return tuple(self.text.split("\n")) if self.output else ()

    @property
    def complaint(self) -> str:
        """What the command said of its failure, in one printable line."""
        if self.code in _TIMED_OUT:  # what it printed until then says nothing of why
            return one_line(f"timed out {self.errors.decode(errors='replace')}")
        said = self.errors or self.output
        return one_line(said.decode(errors="replace")) or f"exit code {self.code}"


_TIMED_OUT = (124, 137)
"""The exit codes of timeout(1): it ended the command, or had to kill it."""


def one_line(text: str, limit: int = 300) -> str:
    """Return text as one printable line: a control sequence of a guest must not reach a terminal."""
    words = " ".join(text.split())
    return "".join(character if character.isprintable() else "?" for character in words)[:limit]


def parse_answer(output: Iterable[str]) -> list[Part]:
    """Split an answer into its parts, without the closing `done`.

    Raises `GarbledError` when the answer is incomplete or holds a line that is not the program's.
    """
    lines = [line for raw in output if (line := raw.rstrip("\r"))]  # so a terminal (`_get_pty`) ends them
    strange = next((line for line in lines if not line.startswith((":: ", *_READERS))), None)
    if strange is not None:
        raise GarbledError(f"unexpected output: {strange[:120]!r}")
    # Before anything is decoded: the last line of what broke off may be half a word.
    if not lines or lines.pop() != ":: done":
        raise GarbledError("the answer broke off")
    parts: list[Part] = []
    for line in lines:
        if line.startswith(":: "):
            parts.append(Part(tuple(line[3:].split(" "))))
        elif parts:
            parts[-1] = _READERS[line[0]](parts[-1], line[1:])
        else:
            raise GarbledError(f"output without a header: {line[:120]!r}")
    return parts


def decoded(text: str) -> bytes:
    """Return what base64 stands for. Raises `GarbledError` for anything else."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # of binascii, or for what is not even ASCII
        raise GarbledError(f"no base64: {text[:40]!r}") from None


def decoded_name(word: str) -> str:
    """Return a path or name that a header holds: as it is after `=`, which base64 never begins with."""
    if word.startswith("="):
        return word[1:]
    return decoded(word).decode(errors="surrogateescape")


def _value(part: Part, line: str) -> Part:
    return dataclasses.replace(part, output=line.encode())


def _printed(part: Part, line: str) -> Part:
    """Read the lines of a command's output, each ended by a tab, and its exit code after them."""
    *printed, code = line.split("\t")
    output = "".join(f"{text}\n" for text in printed).encode()
    return dataclasses.replace(part, output=output, code=_code(code))


def _code(text: str) -> int:
    """Return an exit code. Raises `GarbledError` for anything else, a number of 60,000 digits too."""
    if not (text.isascii() and text.isdigit() and len(text) <= _CODE_DIGITS):
        raise GarbledError(f"no exit code: {text[:40]!r}")
    return int(text)


def _captured(part: Part, line: str) -> Part:
    """Read a command's output with its exit code on a line of its own at the end.

    Without one the output was cut at the program's limit, and what it says is not known.
    """
    output, newline, code = decoded(line).rpartition(b"\n")
    try:
        # The last line of what was cut may be anything.
        known = _code(code.decode(errors="replace") if newline else "")
    except GarbledError:
        return dataclasses.replace(part, code=-1, errors=b"too much output")
    return dataclasses.replace(part, output=output, code=known)


_CODE_DIGITS = 3


def _complained(part: Part, line: str) -> Part:
    """Read a command's stderr; of a part that was cut, that counts more than any complaint."""
    return part if part.errors else dataclasses.replace(part, errors=decoded(line))


_READERS = {"|": _value, ">": _printed, "+": _captured, "!": _complained}


def refuse_failed(parts: Iterable[Part]) -> None:
    """Raise `GarbledError`, in the words of the command, when the command of a part failed."""
    for part in parts:
        if part.code != 0:
            raise GarbledError(f"{part.words[0]}: {part.complaint}")


def not_understood(error: Exception) -> Unreadable:
    """Return an answer that is complete, or not, and says something else than its parser knows."""
    reason = str(error) if isinstance(error, GarbledError) else f"unexpected answer, {error!r}"
    return Unreadable(one_line(reason))
