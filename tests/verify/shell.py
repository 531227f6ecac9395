"""A root shell on a host, over OpenSSH: not the way that pyinfra takes."""

from __future__ import annotations

import functools
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import testinfra

if TYPE_CHECKING:
    from testinfra.backend.base import CommandResult
    from testinfra.host import Host


class Shell:
    """Commands on one host, as root; all over one connection.

    + name: the host's, in the inventory
    + data: the host's, of which pyinfra's own keys are used: `ssh_hostname`, `_sudo`, ...
    + socket: where the connection is shared
    """

    def __init__(self, name: str, data: dict[str, Any], socket: Path) -> None:
        self.name = name
        self._socket = socket
        self._host: Host = testinfra.get_host(
            _address(name, data),
            sudo=bool(data.get("_sudo")),
            sudo_user=data.get("_sudo_user"),
            ssh_config=_expanded(data.get("ssh_config_file")),
            ssh_identity_file=_expanded(data.get("ssh_key")),
            ssh_extra_args=_extra_arguments(data),
            controlpath=str(socket),
        )

    @functools.cached_property
    def obstacle(self) -> str:
        """Why no command can be run as root; empty when nothing is in the way."""
        try:
            user = self._host.run("id -u")
        except RuntimeError as error:
            return f"host {self.name}: no connection over SSH: {_last_line(error.args[0].stderr)}"
        if user.rc != 0:
            return f"host {self.name}: `id -u` failed: {_last_line(user.stderr)}"
        if user.stdout.strip() != "0":
            return (
                f"host {self.name}: expected root, found user id {user.stdout.strip()}: set `_sudo` to True"
            )
        return ""

    def run(self, *words: str) -> CommandResult:
        """Run a command, however it ends.

        Never one that can exit with 255: with ssh that means that there was no connection.
        """
        __tracebackhide__ = True
        try:
            return self._host.run(shlex.join(words))
        except RuntimeError as error:
            pytest.fail(
                f"host {self.name}: no connection over SSH: {_last_line(error.args[0].stderr)}", pytrace=False
            )

    def close(self) -> None:
        """End the shared connection, where there is one."""
        if self._socket.exists():
            subprocess.run(
                ["ssh", "-O", "exit", "-o", f"ControlPath={self._socket}", "host"],
                capture_output=True,
                check=False,
            )


def _address(name: str, data: dict[str, Any]) -> str:
    host = str(data.get("ssh_hostname") or name.removeprefix("@ssh/"))
    user = f"{quote(data['ssh_user'])}@" if data.get("ssh_user") else ""
    port = f":{data['ssh_port']}" if data.get("ssh_port") else ""
    return f"ssh://{user}{f'[{host}]' if ':' in host else quote(host)}{port}"


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
