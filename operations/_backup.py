"""Back up a guest, in its turn, and copy the archive to the controller, in steps."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyinfra import logger
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.connectors.util import CommandOutput

from pyinfra_nspawn.facts.archive import archive_bytes
from pyinfra_nspawn.facts.base import Unreadable, parse_answer
from pyinfra_nspawn.facts.nspawn import GuestSeen, parse_guests
from pyinfra_nspawn.facts.outcome import Outcome, Trouble
from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.operations._look import LOST, cause
from pyinfra_nspawn.operations._turns import turns_of

if TYPE_CHECKING:
    from pyinfra.api.arguments import ConnectorArguments
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

    from pyinfra_nspawn.facts.nspawn import Backup
    from pyinfra_nspawn.operations._program import Program
    from pyinfra_nspawn.plans.step import Archiving, Step

CHUNK_BYTES = 8 * 2**20
"""How much is copied by one command."""


_OLD_SECONDS = 86400


class BackupProgram(PyinfraCommand):
    """Back up a guest, and copy the archive to the controller where that is wanted.

    + step: the backup
    + program: which runs it
    + archiving: of the step
    """

    def __init__(self, step: Step, program: Program, archiving: Archiving) -> None:
        super().__init__()
        self.step, self.program, self.archiving = step, program, archiving
        self.outcome = Outcome()

    def execute(
        self, state: State, host: Host, connector_arguments: ConnectorArguments
    ) -> tuple[bool, CommandOutput]:
        """Do both; one server of a cluster at a time, and none after one that failed."""
        cluster = self.archiving.cluster
        if not cluster:
            self._run(state, host, connector_arguments)
            return True, CommandOutput([])
        turns, own = turns_of(state, host, "k3s", cluster), f"{self.step.guest} on {host.name}"
        with turns.single:
            if turns.stopped_by not in ("", own):
                problem = f"not tried: the backup of {turns.stopped_by} failed before"
                self._fail(problem, "Fix that, then run again.")
                return True, CommandOutput([])
            self._run(state, host, connector_arguments)
            turns.stopped_by = own if self.outcome.troubles else ""
        return True, CommandOutput([])

    def _run(self, state: State, host: Host, arguments: ConnectorArguments) -> None:
        self.program.execute(state, host, arguments)
        self.outcome = self.program.outcome
        guests = parse_guests(self.outcome.facts)
        seen = None if isinstance(guests, Unreadable) else guests.get(self.step.guest)
        if self.outcome.troubles or not isinstance(seen, GuestSeen) or not seen.backups:
            return
        if self.archiving.copied_to:
            self._copy(_Source(host, arguments, self.step.guest, seen.backups[-1]))

    def _copy(self, source: _Source) -> None:
        """Copy the archive; one that cannot be copied stays on its host."""
        try:
            path = copied(source, Path(self.archiving.copied_to))
        except (*LOST, ValueError) as error:
            problem = f"{source.archive.file} could not be copied: {cause(error)}"
            self._fail(problem, "It is on its host, in /var/lib/pyinfra-nspawn/.backups: copy it from there.")
        else:
            logger.info("%s", f"{source.host.print_prefix}{self.step.guest}: copied to {path}")

    def _fail(self, problem: str, hint: str) -> None:
        trouble = Trouble(self.step.verb, self.step.guest, problem, hint)
        self.outcome = replace(self.outcome, troubles=(trouble,))


@dataclass(frozen=True)
class _Source:
    """An archive on its host.

    + arguments: how to become root there
    """

    host: Host
    arguments: ConnectorArguments
    guest: str
    archive: Backup

    def ask(self, mode: str, *words: str) -> list[str]:
        """Return what the program prints in a mode; it is shown nowhere: an archive holds secrets."""
        command = StringCommand(command_line(mode, self.guest, self.archive.file, *words))
        _, output = self.host.run_shell_command(
            command, print_output=False, print_input=False, **self.arguments
        )
        return output.stdout_lines


def copied(source: _Source, folder: Path) -> Path:
    """Write the file, 0600, and rename it once it is whole; return its path.

    + folder: of the controller; made, 0700, where there is none
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A guest's name has no @: hosts and guests cannot be taken for one another.
    prefix = f"{source.guest}@{re.sub(r'[^A-Za-z0-9._-]', '_', source.host.name)}-"
    path = folder / f"{prefix}{source.archive.file}"
    part = folder / f".{path.name}.part"
    _drop_old_parts(folder, prefix)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    digest = hashlib.sha256()
    with open(os.open(part, flags, 0o600), "wb") as file:
        while file.tell() < source.archive.size:
            chunk = archive_bytes(source.ask("archive-bytes", str(file.tell()), str(CHUNK_BYTES)))
            if not chunk:
                raise ValueError("the host sent nothing")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    said = [item.text for item in parse_answer(source.ask("archive-digest")) if item.words == ("sha256",)]
    if said != [digest.hexdigest()]:
        part.unlink()
        raise ValueError("the copy differs from the archive")
    part.rename(path)
    return path


def _drop_old_parts(folder: Path, prefix: str) -> None:
    """Remove what copies that were interrupted have left, but not what another run may be writing."""
    for old in folder.glob(f".{glob.escape(prefix)}*.part"):
        if old.lstat().st_mtime < time.time() - _OLD_SECONDS:
            old.unlink(missing_ok=True)
