"""Run the program on the host from an operation, and keep its answer."""

from __future__ import annotations

import functools
import getpass
import re
import socket
from typing import TYPE_CHECKING, Any

from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.connectors.util import CommandOutput

from pyinfra_nspawn import __version__
from pyinfra_nspawn.facts.outcome import Outcome, Trouble, lost, parse_outcome
from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.operations._look import LOST, cause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

TERMINAL = Trouble(
    "",
    "",
    "a terminal (`_get_pty`) echoes and cuts what is sent, secrets among it",
    "Remove `_get_pty` from the inventory, and requiretty from the host's sudoers.",
)
"""The trouble of a command that would have sent a payload over a terminal."""


@functools.cache
def controller() -> str:
    """Return who runs pyinfra and where, `USER@HOST`, for the journals of the hosts.

    Each half is of bounded length, and of characters that mean nothing to a shell, systemd or a terminal.
    """
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        user = ""
    return f"{_plain(user)}@{_plain(socket.gethostname())}"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]", "?", text)[:_LONGEST_NAME] or "?"


_LONGEST_NAME = 64
"""How much is recorded of a user's or a machine's name; Linux takes no longer ones of machines."""


class Program(StringCommand):
    """Run the program on the host and keep its answer in `outcome`; what it changes is recorded there.

    It succeeds for pyinfra whatever becomes of the steps: the caller decides, once it has tried all guests.
    """

    def __init__(self, words: Iterable[str], payload: str | None = None) -> None:
        command = command_line(*words, options=("--by", controller(), "--version", __version__))
        super().__init__(command, _stdin="" if payload is None else payload)
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
        except LOST as error:
            self.outcome = Outcome(troubles=(lost(cause(error)),))
        else:
            self.outcome = parse_outcome(output.stdout_lines, complaint=output.stderr)
        return True, CommandOutput([])


class Failure(PyinfraCommand):
    """Fail the operation on this host, without a command to it."""

    def execute(self, *_: Any, **__: Any) -> bool:  # noqa: ANN401 - pyinfra's signature
        """Fail."""
        return False
