"""The options that say which inventory, and how its hosts are reached: pyinfra's own."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import click
from pyinfra_cli.cli import cli as pyinfra

if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = (
    "limit",
    "exclude",
    "data",
    "group_data",
    "config_filename",
    "chdir",
    "sudo",
    "sudo_user",
    "same_sudo_password",
    "use_sudo_password",
    "use_sudo_login",
    "su_user",
    "dzdo",
    "dzdo_user",
    "shell_executable",
    "parallel",
    "ssh_user",
    "ssh_port",
    "ssh_key",
    "ssh_key_password",
    "ssh_password",
    "ssh_password_prompt",
)


def reaches_hosts(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command pyinfra's options about an inventory and the way to its hosts.

    They are taken from pyinfra's own command, and so have its names, defaults and help.
    """
    found = {option.name: option for option in pyinfra.params if isinstance(option, click.Option)}
    return reduce(_with, (found[name] for name in reversed(_NAMES)), command)


def _with(command: Callable[..., Any], option: click.Option) -> Callable[..., Any]:
    params: list[click.Parameter] = command.__dict__.setdefault("__click_params__", [])
    params.append(option)
    return command
