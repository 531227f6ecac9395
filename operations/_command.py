"""Commands that change a host: run steps, and await guests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.exceptions import OperationValueError

from pyinfra_nspawn.facts.program import text as program_text
from pyinfra_nspawn.operations._confirm import ConfirmedProgram
from pyinfra_nspawn.operations._program import Program

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra_nspawn.plans.step import Step


def change(steps: Iterable[Step]) -> Program:
    """Return the one command that runs these steps in order, and answers with what they changed.

    Raises `OperationValueError` for an argument that a program could take for an option.
    """
    steps = tuple(steps)
    scope = sorted({f"guest:{step.guest}" if step.guest else "host" for step in steps})
    scope += ["sysroot"] if any(step.sysroot for step in steps) else []
    scope += ["network"] if any(step.network for step in steps) else []
    words = [word for step in steps for word in ("--", *_words(step))]
    payloads = [text for step in steps for text in _payloads(step)]
    payload = "".join(payloads) if payloads else None
    confirmations = [step.confirmation for step in steps if step.confirmation]
    if confirmations:
        return ConfirmedProgram(("change", *scope, *words), payload or "", confirmations[0])
    return Program(("change", *scope, *words), payload)


def wait(steps: Iterable[Step]) -> Program:
    """Return the one command that awaits all these guests side by side."""
    return Program(("await", *(word for step in steps for word in (step.guest, *step.arguments))))


def _words(step: Step) -> list[str]:
    for argument in step.arguments:
        if argument.startswith("-"):
            raise OperationValueError(f"{argument!r} begins with '-': a program could take it for an option")
    sizes = [str(len(payload.encode())) for payload in _payloads(step)]
    return [step.verb, step.guest or "-", *step.arguments, *sizes]


def _payloads(step: Step) -> list[str]:
    """Return what a step reads from stdin, one after another."""
    program = [program_text()] if step.program else []
    return [*program, *([] if step.payload is None else [step.payload])]
