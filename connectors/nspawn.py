"""`@nspawn/HOST:GUEST`: a guest as an inventory host, by way of the SSH host that runs it."""

from __future__ import annotations

import re
import shutil
from typing import IO, TYPE_CHECKING, Any, TypedDict

from pyinfra import logger
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import ConnectError, InventoryError
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector, DataMeta
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import extract_control_arguments, make_unix_command_for_host

from pyinfra_nspawn.specs import Guest, Guests
from pyinfra_nspawn.specs.base import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyinfra.api.host import Host
    from pyinfra.api.state import State
    from pyinfra.connectors.util import CommandOutput

# 254 brought --expand-environment=no; before, a `$` is written twice (systemd.service(5), "COMMAND LINES").
_EXPANSION_CAN_BE_OFF = 254
_CHUNK_BYTES = 2**18


def guests_of(hosts: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    """Return every guest that these hosts of an inventory are to run, as inventory hosts.

    + hosts: names with their data, as an inventory lists them

    A guest is reached as its host is: all `ssh_` data is the host's, and with the host's `_sudo` the way
    to it takes sudo on the host.

    Raises `InvalidSpecError` when a host's `guests` are not what `Guest` describes.
    """
    found = []
    for name, data in hosts:
        way = {key: value for key, value in data.items() if key.startswith("ssh_")}
        way["nspawn_sudo"] = bool(data.get("_sudo"))
        wanted = Guests.of({"guests": data.get("guests") or ()}, f"inventory of {name}").guests
        found += [(f"@nspawn/{name}:{guest.name}", way) for guest in wanted if guest.state == "running"]
    return found


def expansion_can_be_off(version: str) -> bool:
    """Tell from what `systemctl --version` says whether systemd-run can leave a `$` alone."""
    match = re.search(r"^systemd (\d+)", version)
    return match is not None and int(match[1]) >= _EXPANSION_CAN_BE_OFF


def command_in_guest(guest: str, text: str, *, without_expansion: bool, pty: bool = False) -> StringCommand:
    """Return the command of a host that runs a shell command in one of its guests.

    + guest: the machine's name
    + text: what the guest's /bin/sh is to run
    + without_expansion: whether the host's systemd-run knows `--expand-environment=no`
    + pty: give it a terminal

    It exits as the command does (`machinectl shell` loses that, systemd#4215).
    """
    door = ["systemd-run", "--quiet", "--wait", "--collect", "--pty" if pty else "--pipe"]
    if without_expansion:
        door.append("--expand-environment=no")
    else:
        text = text.replace("$", "$$")
    # User= gives a login's HOME and USER, and a home directory to begin in, as SSH does.
    door += ["--property=User=root", "--property=WorkingDirectory=~"]
    return StringCommand(*door, QuoteString(f"--machine={guest}"), "--", "sh", "-c", QuoteString(text))


class NspawnData(TypedDict):
    """Host data of a guest."""

    nspawn_guest: str
    nspawn_sudo: bool


class NspawnConnector(BaseConnector):
    """Run commands in a guest, and copy files to and from it: `pyinfra @nspawn/host1:web ...`.

    The guest needs neither sshd nor a network: everything goes through `systemd-run --machine` on its
    host, which is reached over SSH, as root or with `nspawn_sudo`. `_sudo`, `_su_user`, `_env`, `_chdir`
    and the like are of the guest. Exit codes are the command's own. Files are written and read by a
    process of the guest: no process of the host opens a path that the guest has made.
    """

    handles_execution = True
    data_cls = NspawnData
    data_meta = {  # noqa: RUF012 - pyinfra's own form
        "nspawn_guest": DataMeta("Machine name of the guest on its host"),
        "nspawn_sudo": DataMeta("Use sudo on the host to reach the guest", default=False),
    }
    data: NspawnData

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        self.ssh = SSHConnector(state, host)
        self._without_expansion = False

    @staticmethod
    def make_names_data(name: str | None) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        """Yield the inventory host for `HOST:GUEST`."""
        host, _, guest = (name or "").rpartition(":")
        try:
            Guest.of({"name": guest}, f"@nspawn/{name}")
        except InvalidSpecError as error:
            raise InventoryError(str(error)) from None
        if not host:
            raise InventoryError(f"@nspawn/{name}: name the host too: @nspawn/HOST:GUEST")
        yield f"@nspawn/{name}", {"ssh_hostname": host, "nspawn_guest": guest}, ["@nspawn"]

    def connect(self) -> None:
        """Connect to the host, and see that the guest runs there."""
        self.ssh.connect()
        guest = self.data["nspawn_guest"]
        look = StringCommand("systemctl", "--version;", "machinectl", "show", QuoteString(guest))
        there, output = self.ssh.run_shell_command(look, _sudo=self.data["nspawn_sudo"])
        self._without_expansion = expansion_can_be_off(output.stdout)
        if not there:
            said = output.stderr.strip() or "no answer"
            raise ConnectError(f"guest {guest} does not run on its host ({said}): start it, then run again")

    def disconnect(self) -> None:
        """Disconnect from the host."""
        self.ssh.disconnect()

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,  # noqa: ANN401 - pyinfra's global arguments
    ) -> tuple[bool, CommandOutput]:
        """Run a command in the guest; return whether it succeeded, and what it said."""
        control = extract_control_arguments(arguments)  # type: ignore[arg-type]
        control["_sudo"] = self.data["nspawn_sudo"]
        entered = self._in_guest(command, arguments, pty=bool(control.get("_get_pty")))
        return self.ssh.run_shell_command(entered, print_output, print_input, **control)

    def put_file(
        self,
        filename_or_io: Any,  # noqa: ANN401
        remote_filename: str,
        remote_temp_filename: str | None = None,  # noqa: ARG002 - nothing is copied twice
        print_output: bool = False,
        print_input: bool = False,  # noqa: ARG002
        **arguments: Any,  # noqa: ANN401
    ) -> bool:
        """Write a file in the guest, by a process of the guest; return whether it was written whole."""
        write = StringCommand("cat", ">", QuoteString(remote_filename))
        with get_file_io(filename_or_io) as file:
            return self._stream(write, arguments, remote_filename, source=file, report=print_output)

    def get_file(
        self,
        remote_filename: str,
        filename_or_io: Any,  # noqa: ANN401
        remote_temp_filename: str | None = None,  # noqa: ARG002
        print_output: bool = False,
        print_input: bool = False,  # noqa: ARG002
        **arguments: Any,  # noqa: ANN401
    ) -> bool:
        """Read a file in the guest, by a process of the guest; return whether it was read whole."""
        read = StringCommand("cat", "--", QuoteString(remote_filename))
        with get_file_io(filename_or_io, "wb") as file:
            return self._stream(read, arguments, remote_filename, target=file, report=print_output)

    def _in_guest(self, command: StringCommand, arguments: Any, *, pty: bool = False) -> StringCommand:  # noqa: ANN401
        """Return the command of the host that runs `command` in the guest."""
        text = make_unix_command_for_host(self.state, self.host, command, **arguments).get_raw_value()
        return command_in_guest(
            self.data["nspawn_guest"], text, without_expansion=self._without_expansion, pty=pty
        )

    def _stream(
        self,
        command: StringCommand,
        arguments: dict[str, Any],
        path: str,
        *,
        source: IO[bytes] | None = None,
        target: IO[bytes] | None = None,
        report: bool,
    ) -> bool:
        """Run a command in the guest that reads bytes from `source`, or writes bytes to `target`."""
        extract_control_arguments(arguments)  # type: ignore[arg-type]
        entered = make_unix_command_for_host(
            self.state, self.host, self._in_guest(command, arguments), _sudo=self.data["nspawn_sudo"]
        )
        assert self.ssh.client is not None
        stdin, stdout, stderr = self.ssh.client.exec_command(entered.get_raw_value())
        if source:
            try:
                shutil.copyfileobj(source, stdin, _CHUNK_BYTES)
            except OSError:
                logger.debug("%s: the command ended before all was written", path)
        stdin.channel.shutdown_write()
        if target:
            shutil.copyfileobj(stdout, target, _CHUNK_BYTES)
        said = stderr.read().decode(errors="replace").strip()
        done = stdout.channel.recv_exit_status() == 0
        if not done:
            reason = said or "the way to the guest was cut off"
            logger.error("%s", f"{self.host.print_prefix}{path}: {reason}")
        elif report:
            logger.info("%s", f"{self.host.print_prefix}{path}: {'written' if source else 'read'}")
        return done
