"""A root shell on a host, over OpenSSH: not the way that pyinfra takes."""

from __future__ import annotations

import functools
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from testinfra.backend.ssh import SshBackend

from pyinfra_nspawn.connectors.door import BECOME, host_command, password_of

if TYPE_CHECKING:
    from testinfra.backend.base import CommandResult

#: What ssh itself exits with.
NO_CONNECTION = 255


class Shell:
    """Commands on one host, as root; all over one connection.

    + name: the host's, in the inventory
    + data: the host's, of which pyinfra's own keys are used: `ssh_hostname`, `_sudo`, `_sudo_password`, ...
    + socket: where the connection is shared
    """

    def __init__(self, name: str, data: dict[str, Any], socket: Path) -> None:
        self.name = name
        self._socket = socket
        self._become = {key: data[key] for key in BECOME if data.get(key)}
        self._ssh = SshWithStdin(
            _hostspec(name, data),
            ssh_config=_expanded(data.get("ssh_config_file")),
            ssh_identity_file=_expanded(data.get("ssh_key")),
            ssh_extra_args=_extra_arguments(data),
            controlpath=str(socket),
        )

    @functools.cached_property
    def obstacle(self) -> str:
        """Why no command can be run as root; empty when nothing is in the way."""
        try:
            user = self._run("id", "-u")
        except RuntimeError as error:
            return f"host {self.name}: no connection over SSH: {_last_line(error.args[0].stderr)}"
        if user.rc != 0:
            return f"host {self.name}: `id -u` failed: {_last_line(user.stderr)}"
        if user.stdout.strip() != "0":
            return (
                f"host {self.name}: expected root, found user id {user.stdout.strip()}: set `_sudo` to True"
            )
        return ""

    def run(self, *words: str, stdin: bytes = b"") -> CommandResult:
        """Run a command, however it ends.

        Never one that can exit with 255: with ssh that means that there was no connection.
        """
        __tracebackhide__ = True
        try:
            return self._run(*words, stdin=stdin)
        except RuntimeError as error:
            pytest.fail(
                f"host {self.name}: no connection over SSH: {_last_line(error.args[0].stderr)}", pytrace=False
            )

    def _run(self, *words: str, stdin: bytes = b"") -> CommandResult:
        command = host_command(words, self._become, asked=bool(self._password))
        return self._ssh.run_ssh(command, self._password + stdin)

    @functools.cached_property
    def _password(self) -> bytes:
        """The line that the way to root reads first; empty where it asks for no password."""
        password = password_of(self._become)
        without = host_command(["true"], self._become, asked=False)
        asked = password and self._ssh.run_ssh(without).rc != 0
        return f"{password}\n".encode() if asked else b""

    def close(self) -> None:
        """End the shared connection, where there is one."""
        if self._socket.exists():
            subprocess.run(
                ["ssh", "-O", "exit", "-o", f"ControlPath={self._socket}", "host"],
                capture_output=True,
                check=False,
            )


class SshWithStdin(SshBackend):
    """testinfra's way over OpenSSH, with stdin: a password or a program is on no command line."""

    def run_ssh(self, command: str, stdin: bytes = b"") -> CommandResult:
        """Run a command line; raise `RuntimeError` with its result where there is no connection."""
        ssh, values = self._build_ssh_command(command)
        done = subprocess.run(
            self.quote(" ".join(ssh), *values), shell=True, input=stdin, capture_output=True, check=False
        )
        result = self.result(done.returncode, command.encode(), done.stdout, done.stderr)
        if result.rc == NO_CONNECTION:
            raise RuntimeError(result)
        return result


def _hostspec(name: str, data: dict[str, Any]) -> str:
    host = str(data.get("ssh_hostname") or name.removeprefix("@ssh/"))
    user = f"{quote(data['ssh_user'])}@" if data.get("ssh_user") else ""
    port = f":{data['ssh_port']}" if data.get("ssh_port") else ""
    return f"{user}{f'[{host}]' if ':' in host else quote(host)}{port}"


def _extra_arguments(data: dict[str, Any]) -> str:
    # A question that nobody sees would wait for ever.
    options = ["BatchMode=yes"]
    for key, option in (
        ("ssh_known_hosts_file", "UserKnownHostsFile"),
        ("ssh_strict_host_key_checking", "StrictHostKeyChecking"),
    ):
        if data.get(key):
            options.append(f"{option}={_expanded(data[key])}")
    return shlex.join(word for option in options for word in ("-o", option))


def _expanded(path: str | None) -> str | None:
    return str(Path(path).expanduser()) if path else None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
