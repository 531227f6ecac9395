"""What a changing command did: the answer of the program on the host to `change` and `await`."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra_nspawn.facts.base import Part, Record, not_understood, one_line, parse_answer

_OF_STEPS = frozenset({"step", "note", "trouble", "journal"})


@dataclass(frozen=True)
class Trouble(Record):
    """Why a step failed.

    + verb: of the step; empty when the command gave no complete answer
    + guest: the guest's name; empty for the host itself
    + problem, hint: in the words of the program
    + journal: the last lines of a guest that did not come up, printable
    """

    verb: str
    guest: str
    problem: str
    hint: str
    journal: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome(Record):
    """How the steps of one command ended.

    + done: verbs and guests of the steps that succeeded, in order
    + changed: those of them that changed something
    + notes: what is to be reported, with the guest's name
    + troubles: of the steps that failed
    + facts: the parts of the answer that say how the host is now
    """

    done: tuple[tuple[str, str], ...] = ()
    changed: tuple[tuple[str, str], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    troubles: tuple[Trouble, ...] = ()
    facts: tuple[Part, ...] = ()


def parse_outcome(output: list[str], *, complaint: str = "") -> Outcome:
    """Read the answer of a changing command.

    + complaint: what it printed on stderr

    An incomplete answer is a trouble of its own: the host was lost, or the command was killed.
    """
    try:
        return _outcome(parse_answer(output))
    except (ValueError, IndexError) as error:
        reason = one_line(complaint) or not_understood(error).reason
        return Outcome(troubles=(lost(reason),))


def _outcome(parts: list[Part]) -> Outcome:
    journals = {part.words[1]: part for part in parts if part.words[0] == "journal"}
    steps = [(part.words[1], _name(part.words[2]), part.text) for part in parts if part.words[0] == "step"]
    return Outcome(
        done=tuple((verb, guest) for verb, guest, _ in steps),
        changed=tuple((verb, guest) for verb, guest, result in steps if result == "changed"),
        notes=tuple((_name(part.words[1]), one_line(part.text)) for part in parts if part.words[0] == "note"),
        troubles=tuple(_trouble(part, journals) for part in parts if part.words[0] == "trouble"),
        facts=tuple(part for part in parts if part.words[0] not in _OF_STEPS),
    )


def lost(reason: str) -> Trouble:
    """Return the trouble of a command that gave no complete answer."""
    return Trouble(
        "", "", f"no answer ({reason})", "The host was lost or the command killed: check it, then run again."
    )


def _trouble(part: Part, journals: dict[str, Part]) -> Trouble:
    _, verb, name = part.words
    text = part.text if part.code == 0 else part.complaint
    problem, _, hint = text.partition("\n")
    journal = journals[name].lines if name in journals else ()
    return Trouble(
        verb, _name(name), one_line(problem), one_line(hint), tuple(one_line(line) for line in journal)
    )


def _name(word: str) -> str:
    return "" if word == "-" else word
