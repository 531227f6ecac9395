"""Commands to a host: read everything, run steps, fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.exceptions import OperationValueError, PyinfraError
from pyinfra.connectors.util import CommandOutput
from pyinfra.context import ctx_host, ctx_state

from pyinfra_nspawn.facts.base import Unreadable, one_line
from pyinfra_nspawn.facts.outcome import Outcome, Trouble, lost, parse_outcome
from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.facts.program import text as program_text
from pyinfra_nspawn.facts.snapshot import Snapshot, SnapshotFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from pyinfra_nspawn.plans.step import Step
    from pyinfra_nspawn.specs import Guest

_LOST = (TimeoutError, OSError, EOFError, SSHException, PyinfraError)
"""What a connector raises for a command that gets no answer; any of them would stop the whole fleet."""
TERMINAL = Trouble(
    "",
    "",
    "a terminal (`_get_pty`) echoes and cuts what is sent, secrets among it",
    "Remove `_get_pty` from the inventory, and requiretty from the host's sudoers.",
)
"""The trouble of a command that would have sent a payload over a terminal."""


def current_host() -> Host:
    """Return the current host itself: pyinfra's `context.host` is a stand-in that changes with it."""
    found: Host = ctx_host.get()  # type: ignore[no-untyped-call]
    return found


def current_state() -> State:
    """Return the state of the current run."""
    found: State = ctx_state.get()  # type: ignore[no-untyped-call]
    return found


def look_at_host() -> Snapshot:
    """Read the host and its own sysroot, in one command, and no guest."""
    return _read(whole=False)


def look(guests: Iterable[Guest]) -> Snapshot:
    """Read the host, its sysroots and its guests, in one command.

    + guests: those that are read whether the host knows of them or not; their commits and the sources of
      their binds are looked for
    """
    guests = tuple(guests)
    return _read(
        names=tuple(guest.name for guest in guests),
        commits=tuple(sorted({guest.source.commit for guest in guests if guest.source.commit})),
        paths=tuple(sorted({bind.source for guest in guests for bind in guest.binds})),
    )


def _read(**asked: Any) -> Snapshot:  # noqa: ANN401 - arguments of the fact
    """Read the fact by its command: a host that gives no answer is a snapshot of `Unreadable`.

    pyinfra's `get_fact` would take such a host away at once, and stop with a traceback where it is the last
    one; with `_ignore_errors` it would report an error that is "ignored", and keep the cause to itself.
    """
    host, state, fact = current_host(), current_state(), SnapshotFacts()
    given: dict[str, Any] = dict(host.current_op_global_arguments or {})
    arguments = {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}
    try:
        answered, output = host.run_shell_command(
            StringCommand(fact.command(**asked)),
            print_output=state.print_fact_output,
            print_input=state.print_fact_input,
            **cast("ConnectorArguments", arguments),
        )
    except _LOST as error:
        return _unread(_cause(error))
    if answered and output.stdout_lines:
        return fact.process(output.stdout_lines)
    return _unread(output.stderr or output.stdout)


def _unread(cause: str) -> Snapshot:
    if not cause.strip():
        return SnapshotFacts.default()
    unread = Unreadable(one_line(cause))
    return Snapshot(unread, unread, unread)


def _cause(error: BaseException) -> str:
    return one_line(str(error)) or type(error).__name__


class Program(StringCommand):
    """Run the program on the host and keep its answer in `outcome`.

    It succeeds for pyinfra whatever becomes of the steps: the caller decides, once it has tried all guests.
    """

    def __init__(self, words: Iterable[str], payload: str | None = None) -> None:
        super().__init__(command_line(*words), _stdin="" if payload is None else payload)
        self.outcome = Outcome()
        self._has_payload = payload is not None

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Run it and read its answer, of which pyinfra shows nothing."""
        if self._has_payload and connector_arguments.get("_get_pty"):
            self.outcome = Outcome(troubles=(TERMINAL,))
            return True, CommandOutput([])
        try:
            _, output = super().execute(state, host, connector_arguments)
        except _LOST as error:
            self.outcome = Outcome(troubles=(lost(_cause(error)),))
        else:
            self.outcome = parse_outcome(output.stdout_lines, complaint=output.stderr)
        return True, CommandOutput([])


class Failure(PyinfraCommand):
    """Fail the operation on this host, without a command to it."""

    def execute(self, *_: Any, **__: Any) -> bool:  # noqa: ANN401 - pyinfra's signature
        """Fail."""
        return False


def change(steps: Iterable[Step]) -> Program:
    """Return the one command that runs these steps in order, and answers with what they changed.

    Raises `OperationValueError` for an argument that a program could take for an option.
    """
    steps = tuple(steps)
    scope = sorted({f"guest:{step.guest}" if step.guest else "host" for step in steps})
    scope += ["sysroot"] if any(step.sysroot for step in steps) else []
    words = [word for step in steps for word in ("--", *_words(step))]
    payloads = [text for step in steps for text in _payloads(step)]
    return Program(("change", *scope, *words), "".join(payloads) if payloads else None)


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
