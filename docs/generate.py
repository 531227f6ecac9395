"""Write what the documentation takes from the package: tables of fields and kinds, schemas, and pictures.

`python docs/generate.py` writes all of it, byte for byte the same every time.
"""

from __future__ import annotations

import inspect
import json
import re
import typing
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from pydantic_core import PydanticUndefined
from rich.console import Console

from pyinfra_nspawn.cli.schema import SCHEMAS
from pyinfra_nspawn.plans import finding
from pyinfra_nspawn.reports.status import Status
from pyinfra_nspawn.specs import Artifact, Bridge, Checks, Guest, GuestNetwork, HostSettings, K3s, Remote

if TYPE_CHECKING:
    from pyinfra_nspawn.specs.base import Spec

HERE = Path(__file__).parent
GENERATED = HERE / "generated"
WIDTHS = (80, 140)
DRAWINGS = ("sysroot", "isolation", "network", "confirmation", "upgrade", "backup")
TABLES = {
    "guest": Guest,
    "guest_network": GuestNetwork,
    "checks": Checks,
    "k3s": K3s,
    "artifact": Artifact,
    "nspawn_host": HostSettings,
    "bridge": Bridge,
    "remote": Remote,
}


def main() -> None:
    """Write all of it."""
    GENERATED.mkdir(exist_ok=True)
    for name, spec in TABLES.items():
        (GENERATED / f"{name}.md").write_text(fields(spec))
    (GENERATED / "kinds.md").write_text(kinds())
    for name, schema in SCHEMAS.items():
        (HERE / f"schema/{name}.json").write_text(json.dumps(schema(), indent=2) + "\n")
    for width in WIDTHS:
        (HERE / f"pictures/status-{width}.svg").write_text(screenshot(width))
    for name in DRAWINGS:
        (HERE / f"pictures/{name}.svg").write_text(drawing(name))


def fields(spec: type[Spec]) -> str:
    """Return a table of a spec's fields: name, default, and what its docstring says."""
    described = _described(inspect.getdoc(spec) or "")
    rows = [
        f"| `{name}` | {_default(field.get_default(call_default_factory=True))} | {described.get(name, '')} |"
        for name, field in spec.model_fields.items()
    ]
    return "\n".join(["| field | default | meaning |", "|---|---|---|", *rows, ""])


def _described(docstring: str) -> dict[str, str]:
    """Return what each `+ name: text` of a docstring says."""
    items = re.findall(r"(?ms)^\+ ([\w, ]+): (.*?)(?=^\+ |^\S|\Z)", docstring)
    return {
        name: " ".join(text.split()).replace("|", "\\|")
        for names, text in items
        for name in names.split(", ")
    }


def _default(value: Any) -> str:  # noqa: ANN401 - of a field
    if value is PydanticUndefined:
        return "required"
    return f"`{value}`" if isinstance(value, (str, int)) else f"`{str(value) or 'none'}`"


def kinds() -> str:
    """Return a table of the kinds of findings, with what the source says of each."""
    source = inspect.getsource(finding)
    said = dict(re.findall(r'^ +"([a-z-]+)",  # (.*)$', source, re.MULTILINE))
    rows = [f"| `{kind}` | {said[kind]} |" for kind in typing.get_args(finding.Kind)]
    return "\n".join(["| kind | meaning |", "|---|---|", *rows, ""])


def screenshot(width: int) -> str:
    """Return the picture of a recorded fleet, as `status` shows it at a terminal.

    + width: of the terminal, in columns
    """
    recorded = Status.model_validate_json((HERE / "recorded/status.json").read_text())
    console = Console(
        file=StringIO(),
        record=True,
        width=width,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
    )
    recorded.show(console, now=_NOW)
    return console.export_svg(title="pyinfra-nspawn status inventories/mine.py", unique_id=f"status-{width}")


def drawing(name: str) -> str:
    """Return the picture of a text that is drawn with lines; its columns stand whatever the font.

    + name: of the text, in `pictures`
    """
    lines = [line.rstrip() for line in (HERE / f"pictures/{name}.txt").read_text().splitlines()]
    width, height = (max(map(len, lines)) + 2) * _COLUMN, (len(lines) + 1) * _ROW
    rows = [
        f'<text x="{_COLUMN}" y="{number * _ROW}" textLength="{len(line) * _COLUMN}" xml:space="preserve"'
        f' lengthAdjust="spacingAndGlyphs">{escape(line)}</text>'
        for number, line in enumerate(lines, 1)
    ]
    style = 'font-family="monospace" font-size="13" fill="#777"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {style}>'
    return "\n".join([head, *rows, "</svg>", ""])


_COLUMN, _ROW = 8, 16
"""Pixels of a character of a drawing."""
_NOW = datetime.fromisoformat("2026-11-27T12:00:00+00:00")
"""When the recorded fleet was looked at."""


if __name__ == "__main__":
    main()
