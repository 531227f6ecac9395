"""Copy the archive that a backup has made to the controller, in steps: resumed where it was cut off."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.connectors.util import CommandOutput

from pyinfra_nspawn.facts.archive import archive_bytes, read_archive
from pyinfra_nspawn.facts.base import Unreadable
from pyinfra_nspawn.facts.nspawn import GuestSeen, parse_guests
from pyinfra_nspawn.facts.outcome import Outcome, Trouble
from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.operations._look import LOST, cause

if TYPE_CHECKING:
    from pathlib import Path

    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from pyinfra_nspawn.facts.nspawn import Backup
    from pyinfra_nspawn.operations._program import Program
    from pyinfra_nspawn.plans.step import Step

CHUNK_BYTES = 8 * 2**20
"""How much is copied by one command."""


class CopiedProgram(PyinfraCommand):
    """Back up a guest, and copy the archive to the controller.

    + step: the backup
    + program: which runs it
    + folder: of the controller; made, 0700, where there is none
    """

    def __init__(self, step: Step, program: Program, folder: Path) -> None:
        super().__init__()
        self.step, self.program, self.folder = step, program, folder
        self.outcome = Outcome()

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Do both; an archive that cannot be copied stays on its host."""
        self.program.execute(state, host, connector_arguments)
        self.outcome = self.program.outcome
        guests = parse_guests(self.outcome.facts)
        seen = None if isinstance(guests, Unreadable) else guests.get(self.step.guest)
        if self.outcome.troubles or not isinstance(seen, GuestSeen) or not seen.backups:
            return True, CommandOutput([])
        latest = seen.backups[-1]
        try:
            path = self._copy(state, host, connector_arguments, latest)
        except (*LOST, ValueError) as error:
            problem = f"{latest.file} could not be copied: {cause(error)}"
            hint = "It is on its host, in /var/lib/pyinfra-nspawn/.backups: copy it from there."
            trouble = Trouble(self.step.verb, self.step.guest, problem, hint)
            outcome = self.outcome
            self.outcome = Outcome(outcome.done, outcome.changed, outcome.notes, (trouble,), outcome.facts)
        else:
            logger.info("%s", f"{host.print_prefix}{self.step.guest}: copied to {path}")
        return True, CommandOutput([])

    def _copy(self, state: State, host: Host, arguments: ConnectorArguments, archive: Backup) -> Path:
        """Write the file, 0600, and rename it once it is whole; return its path."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{re.sub(r'[^A-Za-z0-9._-]', '_', host.name)}-{self.step.guest}-{archive.file}"
        path, part = self.folder / name, self.folder / f".{name}.part"
        with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            while (offset := file.tell()) < archive.size:
                chunk = self._chunk(state, host, arguments, archive, offset)
                file.write(chunk)
                file.flush()
            os.fsync(file.fileno())
        if archive.file.endswith(".tar") and isinstance(found := read_archive(str(part)), Unreadable):
            part.unlink()
            raise ValueError(found.reason)
        part.rename(path)
        return path

    def _chunk(
        self, state: State, host: Host, arguments: ConnectorArguments, archive: Backup, offset: int
    ) -> bytes:
        """Return the next bytes of the archive; raise `ValueError` where there are none."""
        words = ("archive-bytes", self.step.guest, archive.file, str(offset), str(CHUNK_BYTES))
        command = StringCommand(command_line(*words))
        _, output = command.execute(state, host, arguments)
        found = archive_bytes(output.stdout_lines)
        if not found:
            raise ValueError("the host sent nothing")
        return found
