"""Commands that change a host: run steps, and await guests."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from pyinfra.api.exceptions import OperationValueError

from pyinfra_nspawn.facts.program import text as program_text
from pyinfra_nspawn.operations._backup import BackupProgram
from pyinfra_nspawn.operations._confirm import ConfirmedProgram
from pyinfra_nspawn.operations._node import NodeProgram
from pyinfra_nspawn.operations._program import Program
from pyinfra_nspawn.operations._pull import PullProgram
from pyinfra_nspawn.operations._transfer import TransferProgram

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra_nspawn.plans.step import Step


def changes(
    steps: Iterable[Step],
) -> Iterator[Program | TransferProgram | NodeProgram | BackupProgram | PullProgram]:
    """Yield the commands that run these steps in order: one, but for steps that may take several.

    Raises `OperationValueError` for an argument that a program could take for an option.
    """
    for large, group in itertools.groupby(steps, key=_takes_several):
        if not large:
            yield change(group)
            continue
        for step in group:
            _words(step)  # raises for an argument like an option
            if step.transfer:
                yield TransferProgram(step, step.transfer)
            elif step.turn:
                yield NodeProgram(step, step.turn)
            elif step.archiving:
                yield BackupProgram(step, change((step,)), step.archiving)
            elif step.pulling:
                yield PullProgram(step.guest, change((step,)))


def _takes_several(step: Step) -> bool:
    return bool(step.transfer or step.turn or step.archiving or step.pulling)


def change(steps: Iterable[Step]) -> Program:
    """Return the one command that runs these steps in order, and answers with what they changed."""
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
