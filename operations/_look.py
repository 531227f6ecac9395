"""Look at a host: read it, its sysroots and its guests, and change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from paramiko import SSHException
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_host, ctx_state

from pyinfra_nspawn.facts.base import Unreadable, one_line
from pyinfra_nspawn.facts.history import History
from pyinfra_nspawn.facts.snapshot import Snapshot, SnapshotFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.facts import FactBase
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from pyinfra_nspawn.facts.history import Change
    from pyinfra_nspawn.facts.snapshot import Usage
    from pyinfra_nspawn.specs import Guest

T = TypeVar("T")

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
    return _snapshot(whole=False)


def look_back(limit: int) -> tuple[Change, ...] | Unreadable:
    """Read what was changed on the host, in one command.

    + limit: how many entries, the latest
    """
    return ask(History(), limit=limit)


def _snapshot(**asked: Any) -> Snapshot:  # noqa: ANN401 - arguments of the fact
    found = ask(SnapshotFacts(), **asked)
    return Snapshot(found, found, found, found) if isinstance(found, Unreadable) else found


def look(
    guests: Iterable[Guest], *, usage: Usage = "", probed: Iterable[Guest] = (), remotes: bool = False
) -> Snapshot:
    """Read the host, its sysroots and its guests, in one command.

    + guests: those that are read whether the host knows of them or not; their commits, the sources of their
      binds and their devices are looked for
    + usage: `addresses` to read those of the guests too, `disk` to have the guests measure their files
    + probed: guests in which to test the preconditions of k3s
    + remotes: ask the remotes of the guests' sources for the commits that they have now
    """
    guests = tuple(guests)
    return _snapshot(
        names=tuple(guest.name for guest in guests),
        commits=tuple(sorted({guest.source.commit for guest in guests if guest.source.commit})),
        paths=tuple(sorted({path for guest in guests for path in _paths(guest)})),
        offers=_offers(guests) if remotes else (),
        usage=usage,
        k3s=tuple(guest.name for guest in probed),
    )


def _offers(guests: Iterable[Guest]) -> tuple[str, ...]:
    present = [guest.source for guest in guests if guest.state != "absent"]
    return tuple(sorted({source.refspec for source in present if source.remote and source.refspec}))


def _paths(guest: Guest) -> Iterator[str]:
    """Return the paths on its host that a guest needs."""
    yield from (bind.source for bind in guest.binds)
    yield from (device.split()[0] for device in guest.devices)


def ask(fact: FactBase[T], **asked: Any) -> T | Unreadable:  # noqa: ANN401 - arguments of the fact
    """Read a fact by its command.

    pyinfra's `get_fact` would take such a host away at once, and stop with a traceback where it is the last
    one; with `_ignore_errors` it would report an error that is "ignored", and keep the cause to itself.
    """
    host, state = current_host(), current_state()
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
        return Unreadable(cause(error))
    if answered and output.stdout_lines:
        return fact.process(output.stdout_lines)
    return Unreadable(one_line(output.stderr or output.stdout) or "the host gave no answer")


def cause(error: BaseException) -> str:
    """Return why there was no answer, in one printable line."""
    return one_line(str(error)) or type(error).__name__
