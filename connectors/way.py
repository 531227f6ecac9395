"""The way to a host, shared by all its guests: one SSH connection, and one question for a password."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from getpass import getpass
from itertools import chain
from typing import TYPE_CHECKING, Any

import gevent
from gevent.lock import BoundedSemaphore
from paramiko import SSHException
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import SUDO_PASSWORD_REQUIRED_LINES

from pyinfra_nspawn.connectors.door import host_command, password_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from paramiko import Channel, Transport
    from pyinfra.api.host import Host
    from pyinfra.api.state import State

#: Commands at a time over one connection: sshd's MaxSessions is 10, and forwarded agents take one each.
CHANNELS = 8
LOST = "the way to the guest was cut off"
_WAYS = "pyinfra_nspawn_ways"


class Way:
    """The way to one host's root.

    + of: one for all guests that are reached with the same data
    + join, leave: the connection is open while any guest has joined
    + channel: one command of the host's root
    """

    def __init__(self, ssh: SSHConnector, become: dict[str, Any]) -> None:
        self._ssh = ssh
        self._become = become
        self._password = ""
        self._guests: set[str] = set()
        self._lock = BoundedSemaphore()
        self._slots = BoundedSemaphore(CHANNELS)
        self._tries = 0
        self._error: ConnectError | None = None

    @classmethod
    def of(cls, state: State, host: Host, become: dict[str, Any]) -> Way:
        """Return the way to a guest's host.

        + host: the guest, whose `ssh_` data is its host's
        + become: those of `BECOME` that it takes
        """
        ssh = SSHConnector(state, host)
        key = repr((sorted(ssh.data.items()), sorted(become.items())))
        ways: dict[str, Way] = vars(state).setdefault(_WAYS, {})
        return ways.setdefault(key, cls(ssh, become))

    @property
    def host(self) -> str:
        """The host's name or address."""
        return str(self._ssh.data["ssh_hostname"])

    def join(self, guest: str) -> None:
        """Open the connection unless it is open. Those who waited for a try that failed fail with it."""
        tries = self._tries
        with self._lock:
            if self._error and self._tries != tries:
                raise ConnectError(*self._error.args)
            if not self._is_open():
                self._error = self._try_to_open()
                self._tries += 1
                if self._error:
                    raise self._error
            self._guests.add(guest)

    def leave(self, guest: str) -> None:
        """Close the connection when no guest is left."""
        with self._lock:
            self._guests.discard(guest)
            if not self._guests:
                self._close()

    @contextmanager
    def channel(
        self,
        words: Sequence[str],
        stdin: Iterable[bytes] = (),
        *,
        keep_open: bool = False,
        live: bool = False,
    ) -> Iterator[Channel]:
        """Run a command as the host's root while the block lasts, and give its channel.

        + stdin: what it reads
        + keep_open: stdin has no end (`systemd-run --pty` ends with its stdin, on systemd 257 without a word)
        + live: stdin is read from elsewhere while the command runs; it ends with the command
        """
        transport = self._transport
        if transport is None:
            raise SSHException(LOST)
        password = [f"{self._password}\n".encode()] if self._password else []
        with self._slots, transport.open_session() as channel:
            channel.exec_command(host_command(words, self._become, asked=bool(self._password)))
            # Beside the reading: a command that answers while it reads would wait for us, and we for it.
            writer = gevent.spawn(_feed, channel, chain(password, stdin), keep_open)
            yield channel
            if live:
                writer.kill()
            else:
                writer.get()

    @property
    def _transport(self) -> Transport | None:
        return self._ssh.client.get_transport() if self._ssh.client else None

    def _is_open(self) -> bool:
        return self._transport is not None and self._transport.is_active()

    def _try_to_open(self) -> ConnectError | None:
        try:
            self._open()
        except (ConnectError, SSHException, OSError) as error:
            self._close()
            return ConnectError(str(error))
        return None

    def _open(self) -> None:
        self._ssh.connect()
        self._password = ""
        if not self._become:
            return
        refused = self._try()
        if refused:
            self._password = password_of(self._become) or self._ask(refused)
            refused = self._try()
        if refused:
            raise ConnectError(f"no way to root on {self.host}: {refused}. Set `_sudo_password` or the like.")

    def _close(self) -> None:
        if self._ssh.client:
            self._ssh.client.close()

    def _try(self) -> str:
        """Return why nothing can be run on the host; empty when all is well."""
        with self.channel(["true"]) as channel:
            said = channel.makefile_stderr("rb").read().decode(errors="replace").strip().splitlines()
            done = exit_code(channel) == 0
        return "" if done else (said or ["no answer"])[-1]

    def _ask(self, refused: str) -> str:
        """Return the password that is typed, or nothing where there is none to ask for or nobody to ask."""
        if refused not in SUDO_PASSWORD_REQUIRED_LINES or not sys.stdin.isatty():
            return ""
        return getpass(f"sudo password on {self.host}: ")


def exit_code(channel: Channel) -> int:
    """Return how a command ended; raise `SSHException` when the connection or the command was cut off."""
    code = channel.recv_exit_status()
    if code < 0:
        raise SSHException(LOST)
    return code


def _feed(channel: Channel, chunks: Iterable[bytes], keep_open: bool) -> None:
    """Write chunks to a command's stdin; one that ends before it has read them all is no error."""
    try:
        for chunk in chunks:
            try:
                channel.sendall(chunk)
            except OSError:
                return
    finally:
        if not keep_open:
            channel.shutdown_write()
