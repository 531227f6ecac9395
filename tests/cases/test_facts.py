"""Whole answers of hosts, one file a case, and what each fact makes of them.

`facts/MODULE.CLASS/NAME.yaml`: `fact` is what the answer `output` comes to. So that it can be read, `output`
holds no base64, which this file makes of it:

    :: HEADER     a path or name in it stands there as it is
    |LINE         of what a command printed, or a value's only line
    !LINE         of its complaint on stderr
    := CODE       its exit code; a part without one is a value

Any other line is no word of the program's and is passed on. Without `:: done` at its end the answer broke
off: its last part too, then, in the middle of a word.

What is called recorded was put into the parts of today by hand, and lacks what was not asked for then (a
unit's command, devices and limits).
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tests.unit.answers import (
    credential_header,
    cut,
    dropin_header,
    file_header,
    part,
    path_header,
    value,
)

_FOLDER = Path(__file__).parent / "facts"
_CASES = sorted(path.relative_to(_FOLDER).as_posix() for path in _FOLDER.glob("*/*.yaml"))


@pytest.mark.parametrize("case", _CASES)
def test_what_a_fact_makes_of_an_answer(case: str):
    module, _, name = case.partition("/")[0].rpartition(".")
    fact = getattr(import_module(f"pyinfra_nspawn.facts.{module}"), name)()
    known = yaml.safe_load((_FOLDER / case).read_text(encoding="utf-8"))
    found = fact.process(encoded(known["output"].splitlines()))
    assert json.loads(json.dumps(found, default=lambda record: record.to_json())) == known["fact"]


def test_every_fact_has_cases():
    assert {case.partition("/")[0] for case in _CASES} == {
        "history.History",
        "host.HostFacts",
        "nspawn.Guests",
        "ostree.Sysroots",
    }


def encoded(readable: list[str]) -> list[str]:
    """Return the answer that the program would print."""
    answer: list[str] = []
    for index, line in enumerate(readable):
        if line == ":: done":
            answer.append(line)
        elif line.startswith(":: "):
            answer += _part(line[3:], _body(readable[index + 1 :]))
        elif line[:1] not in ("|", "!") and not line.startswith(":= "):
            answer.append(line)
    return answer


def _body(lines: list[str]) -> list[str]:
    end = next((index for index, line in enumerate(lines) if line.startswith(":: ")), len(lines))
    return lines[:end]


def _part(readable: str, body: list[str]) -> list[str]:
    header = _header(readable)
    text, errors = ([line[1:] for line in body if line.startswith(mark)] for mark in "|!")
    code = next((int(line[3:]) for line in body if line.startswith(":= ")), None)
    if code is not None:
        return part(header, "\n".join(text), code, "\n".join(errors))
    if len(text) > 1:
        first, last = cut(header, "\n".join(text))
        return [first, last[:-3]]
    return value(header, *text) if text else [f":: {header}"]


def _header(readable: str) -> str:
    """Return a header with its path or name in base64."""
    kind, _, rest = readable.partition(" ")
    match kind:
        case "file":
            guest, mode, owner, path = rest.split(" ", 3)
            return file_header(guest, path, mode, owner)
        case "dropin":
            return dropin_header(*rest.split(" ", 1))
        case "credential":
            guest, name, mode = rest.split(" ")
            return credential_header(guest, name, mode)
        case "path":
            return path_header(rest)
    return readable
