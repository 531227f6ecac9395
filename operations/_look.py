"""Look at a host: read it, its sysroots and its guests, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_host, ctx_state

from pyinfra_nspawn.facts.base import Unreadable, one_line
from pyinfra_nspawn.facts.snapshot import Snapshot, SnapshotFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from pyinfra_nspawn.specs import Guest

LOST = (TimeoutError, OSError, EOFError, SSHException, PyinfraError)
"""What a connector raises for a command that gets no answer; any of them would stop the whole fleet."""


def current_host() -> Host:
    """Return the current host itself: pyinfra's `context.host` is a stand-in that changes with it."""
    found: Host = ctx_host.get()
    return found


def current_state() -> State:
    """Return the state of the current run."""
    found: State = ctx_state.get()
    return found


def look_at_host() -> Snapshot:
    """Read the host and its own sysroot, in one command, and no guest."""
    return _read(whole=False)


def look(guests: Iterable[Guest], *, usage: bool = False) -> Snapshot:
    """Read the host, its sysroots and its guests, in one command.

    + guests: those that are read whether the host knows of them or not; their commits and the sources of
      their binds are looked for
    + usage: read the guests' addresses too
    """
    guests = tuple(guests)
    return _read(
        names=tuple(guest.name for guest in guests),
        commits=tuple(sorted({guest.source.commit for guest in guests if guest.source.commit})),
        paths=tuple(sorted({bind.source for guest in guests for bind in guest.binds})),
        usage=usage,
    )


def _read(**asked: Any) -> Snapshot:  # noqa: ANN401 - arguments of the fact
    """Read the fact by its command: a host that gives no answer is a snapshot of `Unreadable`.

    pyinfra's `get_fact` would take such a host away at once, and stop with a traceback where it is the last
    one; with `_ignore_errors` it would report an error that is "ignored", and keep the cause to itself.
    """
    host, state, fact = current_host(), current_state(), SnapshotFacts()
    given: dict[str, Any] = dict(
        host.current_op_global_arguments or pop_global_arguments(state, host, {})[0]  # outside an operation
    )
    arguments = {key: value for key, value in given.items() if key in CONNECTOR_ARGUMENT_KEYS}
    try:
        answered, output = host.run_shell_command(
            StringCommand(fact.command(**asked)),
            print_output=state.print_fact_output,
            print_input=state.print_fact_input,
            **cast("ConnectorArguments", arguments),
        )
    except LOST as error:
        return _unread(cause(error))
    if answered and output.stdout_lines:
        return fact.process(output.stdout_lines)
    return _unread(output.stderr or output.stdout)


def _unread(reason: str) -> Snapshot:
    if not reason.strip():
        return SnapshotFacts.default()
    unread = Unreadable(one_line(reason))
    return Snapshot(unread, unread, unread)


def cause(error: BaseException) -> str:
    """Return why there was no answer, in one printable line."""
    return one_line(str(error)) or type(error).__name__
