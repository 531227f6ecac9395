"""Tables for people, whose last column is a text of any length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pyinfra_nspawn.facts.base import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

_GAP = "  "
_MINIMUM_WIDTH_OF_TEXT = 40
_MAXIMUM_LENGTH = 2000


@dataclass(frozen=True)
class Line:
    """A line of a table.

    + cells: the texts, of which the last may be long; control characters are replaced
    + alarming: show it in red
    """

    cells: tuple[str, ...]
    alarming: bool = False

    @property
    def printable(self) -> tuple[str, ...]:
        """The texts without what a terminal would obey: a guest or a host has a say in some."""
        return tuple(one_line(text, _MAXIMUM_LENGTH) for text in self.cells)

    @property
    def style(self) -> str:
        """The style in rich's words."""
        return "red" if self.alarming else ""


def print_table(columns: Sequence[str], lines: Iterable[Line], file: TextIO | Console) -> None:
    """Print a table; one that is not a terminal's is as wide as it needs to be and has no colours.

    + columns: names of the columns
    + file: where to, or the console to print on

    On a narrow terminal the last column goes below the others, indented.
    """
    lines = list(lines)
    texts = [line.printable for line in lines]
    widths = [max(map(cell_len, column)) for column in zip(columns, *texts, strict=True)]
    console = file if isinstance(file, Console) else Console(file=file, highlight=False)
    if not console.is_terminal:
        for cells in (columns, *texts):
            print(_aligned(cells, widths), file=console.file)
    elif console.width >= sum(widths[:-1]) + len(_GAP) * len(widths) + _MINIMUM_WIDTH_OF_TEXT:
        console.print(_table(columns, lines))
    else:
        for line in lines:
            _print_narrow(console, line, widths)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (f"{cell}{' ' * (width - cell_len(cell))}" for cell, width in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip()


def _table(columns: Sequence[str], lines: Sequence[Line]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name != columns[-1])
    for line in lines:
        table.add_row(*map(Text, line.printable), style=line.style)
    return table


def _print_narrow(console: Console, line: Line, widths: Sequence[int]) -> None:
    """Print a line, and its last text indented below."""
    *cells, text = line.printable
    first = Text(_aligned(cells, widths[:-1]), style=line.style)
    console.print(first, overflow="ellipsis", no_wrap=True)
    if text:
        console.print(Padding(Text(text, style=line.style), (0, 0, 0, 4)))
