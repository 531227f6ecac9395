"""Pull from a remote, and say meanwhile how much has arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent
from gevent.event import Event
from pyinfra import logger
from pyinfra.api.command import PyinfraCommand, StringCommand

from pyinfra_nspawn.facts.base import parse_answer
from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.operations._look import LOST

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State
    from pyinfra.connectors.util import CommandOutput

    from pyinfra_nspawn.facts.outcome import Outcome
    from pyinfra_nspawn.operations._program import Program

FIRST_SECONDS, MOST_SECONDS = 5, 60
"""When the host is asked first how much has arrived, and how often at last.

A pull that is done before costs no further command.
"""


class PullProgram(PyinfraCommand):
    """Run the step that pulls.

    One command pulls all: ostree would get a file anew whose transfer is interrupted.

    + guest: for which it is
    + program: which runs it
    """

    def __init__(self, guest: str, program: Program) -> None:
        super().__init__()
        self.guest, self.program = guest, program

    @property
    def outcome(self) -> Outcome:
        """How the pull ended."""
        return self.program.outcome

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Pull, with a second command beside it now and then."""
        ended = Event()
        beside = gevent.spawn(self._watch, host, connector_arguments, ended)
        try:
            return self.program.execute(state, host, connector_arguments)
        finally:
            ended.set()
            beside.join()

    def _watch(self, host: Host, arguments: ConnectorArguments, ended: Event) -> None:
        command = StringCommand(command_line("pulled"))
        shown, pause = -1, FIRST_SECONDS
        while not ended.wait(pause):
            pause = min(2 * pause, MOST_SECONDS)
            try:
                _, output = host.run_shell_command(
                    command, print_output=False, print_input=False, **arguments
                )
                found = pulled_bytes(output.stdout_lines)
            except (*LOST, ValueError):
                continue  # the pull itself reports an error of the host
            if found > shown:
                logger.info("%s", f"{host.print_prefix}{self.guest}: {found / 2**20:.1f} MiB have arrived")
                shown = found


def pulled_bytes(answer: list[str]) -> int:
    """Return how much of an unfinished pull a host has, by its answer.

    Raises ValueError for an answer that does not say so.
    """
    return int(next((part.text for part in parse_answer(answer) if part.words == ("pulled",)), ""))
