"""`@nspawn/HOST:GUEST`: a guest as an inventory host, by way of the SSH host that runs it."""

from __future__ import annotations

import shutil
import sys
from contextlib import contextmanager
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, TypedDict, cast
from uuid import uuid4

from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.command import QuoteString, StringCommand
from pyinfra.api.exceptions import ConnectError, InventoryError
from pyinfra.api.hiddenvalue import HiddenValue
from pyinfra.api.output import echo
from pyinfra.api.util import get_file_io
from pyinfra.connectors.base import BaseConnector, DataMeta
from pyinfra.connectors.util import (
    CommandOutput,
    OutputLine,
    extract_control_arguments,
    make_unix_command,
    read_output_buffers,
)

from pyinfra_nspawn.connectors.door import (
    BECOME,
    PASSWORDS,
    changes_user,
    command_in_guest,
    file_in_guest,
    framed,
    login_in_guest,
    look_at_guest,
    program_for,
)
from pyinfra_nspawn.connectors.group_data import group_data_of
from pyinfra_nspawn.connectors.way import Way, exit_code
from pyinfra_nspawn.specs import Guest
from pyinfra_nspawn.specs.base import InvalidSpecError
from pyinfra_nspawn.specs.inventory import guests_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from paramiko import Channel
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

_CHUNK_BYTES = 2**18
# What pyinfra's fact `Uptime` asks, by which `server.reboot` knows that a reboot is over. In a guest
# /proc/uptime is the host's: its own is that of its PID 1 (proc_pid_stat(5): ticks of 1/100 s).
UPTIME_OF_HOST = "cut -d. -f1 /proc/uptime"
UPTIME_OF_GUEST = (
    "read -r stat </proc/1/stat; read -r up idle </proc/uptime; "
    "set -- ${stat##*) }; echo $((${up%%.*} - ${20} / 100))"
)

Data = dict[str, Any]


class _Password(HiddenValue):
    """A password that pyinfra shows nowhere, in `debug-inventory --json` neither."""

    def __init__(self, password: str) -> None:
        super().__init__(password)  # type: ignore[no-untyped-call]

    def to_json(self) -> str:
        return str(self)


def guests_of(
    hosts: Iterable[str | tuple[str, Data]] | tuple[list[str | tuple[str, Data]], Data],
    data: Data | None = None,
) -> list[tuple[str, Data]]:
    """Return every guest that these hosts of an inventory are to run, as inventory hosts.

    + hosts: a group as an inventory has it: names, names with their data, or a list of them with group data
    + data: more group data, as from a folder of `--group-data`; a host's own wins

    Files in `group_data` count, those of a group whose name the inventory has bound to `hosts` before.

    A guest is reached as its host is: all `ssh_` data is the host's, and what makes pyinfra root there
    (`_sudo`, `_sudo_password`, `_su_user`, ...) is for the way to it.

    Raises `InvalidSpecError` when a host's `guests` are not what `Guest` describes.
    """
    names, own_data = _group(hosts)
    group = {**group_data_of(hosts, own_data, sys._getframe(1).f_globals), **(data or {})}
    found = []
    for item in names:
        name, own = _host(item)
        of_host = {**group, **own}
        wanted = guests_from(of_host, f"inventory of {name}")
        found += [guest_as_host(name, of_host, guest.name) for guest in wanted if guest.state == "running"]
    if names and not found:
        logger.warning("guests_of: no guest is to run. If `--group-data` has them, pass it as `data`.")
    return found


def _group(hosts: Any) -> tuple[list[Any], Data]:  # noqa: ANN401 - from an inventory
    """Return the hosts of a group, and its data."""
    match hosts:
        case ([*names], dict(data)) if isinstance(hosts, tuple):
            return names, data
        case str() | dict():
            raise InvalidSpecError("guests_of", f"expected a list of hosts, found a {type(hosts).__name__}")
    return list(hosts), {}


def _host(item: Any) -> tuple[str, Data]:  # noqa: ANN401 - from an inventory
    """Return the name of a host of a group, and its data."""
    match item:
        case str():
            return item, {}
        case (str(name), dict(data)) if isinstance(item, tuple):
            return name, data
    raise InvalidSpecError("guests_of", f"expected a name or (name, data), found a {type(item).__name__}")


def guest_as_host(host: str, data: Data, guest: str) -> tuple[str, Data]:
    """Return a guest as an inventory host.

    + host: the name of its host
    + data: its host's; what leads there is taken
    + guest: its name

    Raises `InvalidSpecError` for a host that is not reached over SSH.
    """
    return _guest_name(host, guest), _way_data(data)


def _guest_name(host: str, guest: str) -> str:
    name = host.removeprefix("@ssh/")
    if name.startswith("@"):
        raise InvalidSpecError("guests_of", f"{host} is not reached over SSH, and so are not its guests")
    return f"@nspawn/{name}:{guest}"


def _way_data(host: Data) -> Data:
    """Return the data of a guest that leads to its host."""
    way = {key: value for key, value in host.items() if key.startswith("ssh_")}
    for key in BECOME:
        if value := host.get(key):
            hide = key in PASSWORDS and isinstance(value, str)
            way[f"nspawn{key}"] = _Password(value) if hide else value
    return way


class NspawnData(TypedDict):
    """Host data of a guest; but for the first, what pyinfra's argument of that name is on its host."""

    nspawn_guest: str
    nspawn_sudo: bool
    nspawn_sudo_user: str
    nspawn_use_sudo_login: bool
    nspawn_preserve_sudo_env: bool
    nspawn_sudo_password: str | HiddenValue
    nspawn_su_user: str
    nspawn_use_su_login: bool
    nspawn_preserve_su_env: bool
    nspawn_su_shell: str
    nspawn_su_password: str | HiddenValue
    nspawn_doas: bool
    nspawn_doas_user: str
    nspawn_dzdo: bool
    nspawn_dzdo_user: str


class NspawnConnector(BaseConnector):
    """Run commands in a guest, and copy files to and from it: `pyinfra @nspawn/host1:web ...`.

    The guest needs neither sshd nor a network: everything goes through `systemd-run --machine` on its
    host, which is reached over SSH, as root or with `nspawn_sudo`. `_sudo`, `_su_user`, `_env`, `_chdir`
    and the like are of the guest. Exit codes are the command's own. Files are written and read by a
    process of the guest: no process of the host opens a path that the guest has made. What a command says
    is on no command line, and so in no journal.
    """

    handles_execution = True
    data_cls = NspawnData
    data_meta = {  # noqa: RUF012 - pyinfra's own form
        "nspawn_guest": DataMeta("Machine name of the guest on its host"),
        **{f"nspawn{key}": DataMeta(f"`{key}` on the guest's host") for key in BECOME},
    }
    data: NspawnData

    def __init__(self, state: State, host: Host) -> None:
        super().__init__(state, host)
        data = cast("Data", self.data)
        become = {key: data[f"nspawn{key}"] for key in BECOME if data[f"nspawn{key}"]}
        hidden = {key: value for key, value in become.items() if isinstance(value, HiddenValue)}
        become |= {key: value.unmask() for key, value in hidden.items()}
        self._guest = self.data["nspawn_guest"]
        self._way = Way.of(state, host, become)

    @staticmethod
    def make_names_data(name: str | None) -> Iterator[tuple[str, Data, list[str]]]:
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
        """Connect to the host, and see that commands can be run in the guest."""
        self._way.join(self.host.name)
        try:
            code, output = self._run(look_at_guest(self._guest))
        except (SSHException, OSError) as error:
            self.disconnect()
            raise ConnectError(str(error)) from None
        if code != 0:
            self.disconnect()
            said = (output.stderr_lines or ["no answer"])[-1].strip()
            raise ConnectError(
                f"guest {self._guest} is not running: {said}. Start it on {self._way.host} and run again."
            )

    def disconnect(self) -> None:
        """Disconnect from the host, when no other guest needs it."""
        self._way.leave(self.host.name)

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Any,  # noqa: ANN401 - pyinfra's global arguments
    ) -> tuple[bool, CommandOutput]:
        """Run a command in the guest; return whether it succeeded, and what it said."""
        control: Data = {**extract_control_arguments(arguments)}  # type: ignore[arg-type]
        shown = make_unix_command(command, **arguments)
        logger.debug("Running command in %s: %s", self.host.name, shown)
        if print_input:
            echo(f"{self.host.print_prefix}>>> {shown}", err=True)
        if StringCommand(command).get_raw_value() == UPTIME_OF_HOST:
            command = StringCommand(UPTIME_OF_GUEST)
        run = self._run_at_terminal if control.get("_get_pty") else self._run_with_stdin
        code, output = run(command, arguments, control, report=print_output)
        return code in (control.get("_success_exit_codes") or (0,)), output

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

    @contextmanager
    def session(self, text: str, stdin: Iterable[bytes]) -> Iterator[Channel]:
        """Run a shell program as the guest's root while the block lasts, and give its channel.

        + stdin: what it reads, from elsewhere, while it runs
        """
        words, program = command_in_guest(self._guest, text)
        with self._way.channel(words, chain((program,), stdin), live=True) as channel:
            yield channel

    @contextmanager
    def login(self, terminal: str, rows: int, columns: int, stdin: Iterable[bytes]) -> Iterator[Channel]:
        """Start a login shell of the guest's root at a terminal while the block lasts, and give its channel.

        + terminal: the type of the terminal, as in `TERM`
        + rows, columns: its size
        + stdin: what is typed
        """
        words = login_in_guest(self._guest, terminal, rows, columns)
        with self._way.channel(words, stdin, keep_open=True, live=True) as channel:
            yield channel

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Connect to the host while the block lasts, whether the guest runs or not."""
        self._way.join(self.host.name)
        try:
            yield
        finally:
            self._way.leave(self.host.name)

    @contextmanager
    def beside(
        self, words: Sequence[str], stdin: Iterable[bytes], *, keep_open: bool = False
    ) -> Iterator[Channel]:
        """Run a command of the host's root while the block lasts; the host must have been reached.

        + stdin: what it reads, from elsewhere, while it runs
        + keep_open: stdin has no end
        """
        with self._way.channel(words, stdin, keep_open=keep_open, live=True) as channel:
            yield channel

    def _run_with_stdin(
        self, command: StringCommand, arguments: Data, control: Data, *, report: bool
    ) -> tuple[int, CommandOutput]:
        text, first = program_for(command, arguments)
        words, program = command_in_guest(self._guest, text)
        stdin = chain((program, first), _lines(control.get("_stdin")))
        return self._run(words, stdin, timeout=control.get("_timeout"), report=report)

    def _run_at_terminal(
        self, command: StringCommand, arguments: Data, control: Data, *, report: bool
    ) -> tuple[int, CommandOutput]:
        """Run a command at a terminal of the guest, from a file that removes itself."""
        if control.get("_stdin") or changes_user(arguments):
            refusal = "`_get_pty` in a guest goes with neither `_stdin` nor another user: leave one off."
            if report:  # else pyinfra shows it
                logger.error("%s", f"{self.host.print_prefix}{refusal}")
            return 1, CommandOutput([OutputLine("stderr", refusal)])
        path = f"/run/pyinfra-nspawn-{uuid4().hex}"
        text, _ = program_for(command, arguments)
        words, program = command_in_guest(self._guest, f"umask 077; cat >{path}")
        code, output = self._run(words, (program, framed(f"rm -f {path}\n{text}")))
        if code != 0:
            return code, output
        terminal = file_in_guest(self._guest, path)
        return self._run(terminal, keep_open=True, timeout=control.get("_timeout"), report=report)

    def _run(
        self,
        words: Sequence[str],
        stdin: Iterable[bytes] = (),
        *,
        keep_open: bool = False,
        timeout: int | None = None,
        report: bool = False,
    ) -> tuple[int, CommandOutput]:
        """Run a command of the host; return its exit code, and what it said."""
        with self._way.channel(words, stdin, keep_open=keep_open) as channel:
            output = read_output_buffers(
                _texts(channel.makefile("rb")),
                _texts(channel.makefile_stderr("rb")),
                timeout=timeout,
                print_output=report,
                print_prefix=self.host.print_prefix,
            )
            return exit_code(channel), output

    def _stream(
        self,
        command: StringCommand,
        arguments: Data,
        path: str,
        *,
        source: IO[bytes] | None = None,
        target: IO[bytes] | None = None,
        report: bool,
    ) -> bool:
        """Run a command in the guest that reads bytes from `source`, or writes bytes to `target`."""
        extract_control_arguments(arguments)  # type: ignore[arg-type]
        text, first = program_for(command, arguments)
        words, program = command_in_guest(self._guest, text)
        content = iter(lambda: source.read(_CHUNK_BYTES), b"") if source else ()
        with self._way.channel(words, chain((program, first), content)) as channel:
            if target:
                shutil.copyfileobj(channel.makefile("rb"), target, _CHUNK_BYTES)
            said = channel.makefile_stderr("rb").read().decode(errors="replace").strip()
            code = exit_code(channel)
        if code != 0:
            logger.error("%s", f"{self.host.print_prefix}{path}: {said or f'exit code {code}'}")
        elif report:
            logger.info("%s", f"{self.host.print_prefix}{path}: {'written' if source else 'read'}")
        return code == 0


def _texts(file: Iterable[bytes]) -> Iterator[str]:
    """Yield lines as text; a terminal ends them with a carriage return too."""
    for line in file:
        text = line.decode(errors="replace")
        yield f"{text[:-2]}\n" if text.endswith("\r\n") else text


def _lines(stdin: Any) -> Iterator[bytes]:  # noqa: ANN401 - pyinfra's `_stdin`
    """Yield what pyinfra's `_stdin` holds: a text, lines or a file, each line with an end."""
    if hasattr(stdin, "readlines"):
        stdin = stdin.readlines()
    for line in [stdin] if isinstance(stdin, str) else stdin or ():
        yield (line if line.endswith("\n") else f"{line}\n").encode()
