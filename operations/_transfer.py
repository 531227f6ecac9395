"""Bring a large file to a host, in steps: with progress, and resumed where it was cut off."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand
from pyinfra.connectors.util import CommandOutput

from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.host import Stored, parse_host
from pyinfra_nspawn.facts.outcome import Outcome, Trouble
from pyinfra_nspawn.operations._program import Program
from pyinfra_nspawn.plans.k3s_store import described

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from pyinfra_nspawn.plans.step import Step, Transfer

CHUNK_BYTES = 4 * 2**20
"""How much is sent in one command."""
FETCH_SECONDS = 20
"""How long a host fetches before it says how far it came."""
_STALLS = 3
"""How often in a row nothing may arrive."""


class TransferProgram(PyinfraCommand):
    """Bring one file; its outcome is that of the last command.

    + step: with its `transfer`
    """

    def __init__(self, step: Step, transfer: Transfer) -> None:
        super().__init__()
        self.verb, self.guest = step.verb, step.guest
        self.transfer = transfer
        self.outcome = Outcome()

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Send or have fetched what the host lacks, until it says that it has all."""
        stored, stalls, shown = Stored(0, 0, whole=False), 0, -1
        chunk, changed = 0, False  # at first the host is asked how much it has
        while not stored.whole and stalls < _STALLS and not self.outcome.troubles:
            program = Program(*self._next(stored.size, chunk))
            chunk, changed = CHUNK_BYTES, changed or bool(program.outcome.changed)
            program.execute(state, host, connector_arguments)
            self.outcome = program.outcome
            before, stored = stored, self._stored()
            stalls = 0 if stored.size > before.size else stalls + 1
            shown = self._show(host, stored, shown)
        if not (stored.whole or self.outcome.troubles):
            self.outcome = Outcome(troubles=(self._stalled(),), facts=self.outcome.facts)
        if stored.whole:
            done = ((self.verb, self.guest),)
            self.outcome = Outcome(done, done if changed else (), facts=self.outcome.facts)
        return True, CommandOutput([])

    def _next(self, offset: int, count: int) -> tuple[tuple[str, ...], str]:
        """Return words and payload of the next command, which sends so many bytes."""
        artifact, kind = self.transfer.artifact, self.transfer.kind
        words: tuple[str, ...] = ("change", "host", "--", self.verb, self.guest, artifact.sha256, kind)
        if artifact.path is None:
            payload = artifact.url or ""
            return (*words, str(FETCH_SECONDS), str(len(payload.encode()))), payload
        with Path(artifact.path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(offset)
            payload = base64.b64encode(file.read(count)).decode()
        return (*words, str(size), str(offset), str(len(payload))), payload

    def _stored(self) -> Stored:
        """Return how much the host has, by its last answer."""
        host: Any = parse_host(self.outcome.facts)
        nothing = Stored(0, 0, whole=False)
        return (
            nothing
            if isinstance(host, Unreadable)
            else host.stored.get(self.transfer.artifact.sha256, nothing)
        )

    def _show(self, host: Host, stored: Stored, shown: int) -> int:
        """Show how far it came, in MiB, where that is news."""
        now = stored.size // 2**20
        if now != shown:
            logger.info("%s", f"{host.print_prefix}{described(self.transfer.artifact)}: {now} MiB")
        return now

    def _stalled(self) -> Trouble:
        return Trouble(self.verb, self.guest, "the transfer stalled", "Check the connection, then run again.")
