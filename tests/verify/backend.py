"""A guest as testinfra sees a host: its modules (`file`, `service`, `mount_point`, ...) look from inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testinfra.backend.base import BaseBackend
from testinfra.host import Host

from pyinfra_nspawn.connectors.door import command_in_guest

if TYPE_CHECKING:
    from testinfra.backend.base import CommandResult

    from pyinfra_nspawn.verify.shell import Shell


class NspawnBackend(BaseBackend):
    """Commands in a guest, by the way that `@nspawn/HOST:GUEST` takes; its host is reached as ever.

    + shell: a root shell on the host
    + guest: the machine's name
    """

    NAME = "nspawn"

    def __init__(self, shell: Shell, guest: str) -> None:
        super().__init__(f"{shell.name}:{guest}")
        self._shell = shell
        self._guest = guest

    def run(self, command: str, *args: str, **_kwargs: Any) -> CommandResult:
        """Run a shell command in the guest, however it ends."""
        words, program = command_in_guest(self._guest, self.get_command(command, *args))
        return self._shell.run(*words, stdin=program)


def guest_host(shell: Shell, guest: str) -> Host:
    """Return testinfra's `Host` for a guest."""
    return Host(NspawnBackend(shell, guest))
