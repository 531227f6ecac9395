"""Load an inventory as pyinfra loads it.

pyinfra's command line does this in private functions, which are used here: what `--limit`, `--data`,
`config.py` or a host's data mean is then the same. A test compares the result with `debug-inventory`.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from getpass import getpass
from typing import TYPE_CHECKING, Any

from pyinfra import logger
from pyinfra.api.config import Config
from pyinfra.context import ctx_config, ctx_inventory
from pyinfra_cli import cli as pyinfra_cli
from pyinfra_cli.inventory import make_inventory

if TYPE_CHECKING:
    from pyinfra.api.host import Host
    from pyinfra.api.state import State


@dataclass(frozen=True)
class Loaded:
    """An inventory, ready to be used.

    + state: pyinfra's state
    + hosts: those that are not limited away, in the inventory's order
    + problems: what pyinfra warned of while it loaded them, and names that no host can have
    """

    state: State
    hosts: tuple[Host, ...]
    problems: tuple[str, ...]


def load(inventory: str, options: dict[str, Any]) -> Loaded:
    """Load an inventory, with pyinfra's options of the same names.

    + inventory: a file, or names of hosts separated by commas
    + options: see `pyinfra_nspawn.cli.options`

    Raises what pyinfra raises: `CliError`, `PyinfraError` or `UnexpectedExternalError`.
    """
    if options["chdir"]:
        os.chdir(options["chdir"])
    logger.setLevel(logging.WARNING)
    warnings = _Warnings()
    logger.addHandler(warnings)
    try:
        state = pyinfra_cli._setup_state(0, yes=True)
        config = _config(options)
        found = make_inventory(
            inventory,
            override_data=_overrides(options),
            cwd=state.cwd,
            group_data_directories=options["group_data"],
        )
        ctx_inventory.set(found)
        limit = pyinfra_cli._apply_inventory_limit(found, options["limit"])
        limit = pyinfra_cli._apply_inventory_exclude(found, limit, options["exclude"])
        state.init(found, config, initial_limit=limit)
    finally:
        logger.removeHandler(warnings)
    hosts = tuple(host for host in found if state.is_host_in_limit(host))
    strange = (_strange(host) for host in found if not _HOST.fullmatch(host.name))
    return Loaded(state, hosts, (*warnings.texts, *strange))


_HOST = re.compile(r"@.*|[\w.:%\[\]-]+")
"""What may be the name of a host: `@CONNECTOR/...`, a name, an address."""


def _strange(host: Host) -> str:
    """Return the problem of a name that no host can have: mostly a list that was not meant as hosts."""
    return (
        f"{host.name!r} in {host.groups[0]} is no name of a host: pyinfra takes every list of an inventory "
        "for a group of hosts; begin its name with `_`"
    )


class _Warnings(logging.Handler):
    """Keep the warnings of pyinfra."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        self.texts.append(record.getMessage())


def _config(options: dict[str, Any]) -> Config:
    config = Config()
    ctx_config.set(config)
    found: Config = pyinfra_cli._set_config(
        config,
        config_filename=options["config_filename"],
        sudo=options["sudo"],
        sudo_user=options["sudo_user"],
        use_sudo_password=options["use_sudo_password"],
        use_sudo_login=options["use_sudo_login"],
        same_sudo_password=options["same_sudo_password"],
        su_user=options["su_user"],
        dzdo=options["dzdo"],
        dzdo_user=options["dzdo_user"],
        parallel=options["parallel"],
        shell_executable=options["shell_executable"],
        fail_percent=None,
        yes=True,
        diff=False,
        retry=None,
        retry_delay=None,
    )
    return found


def _overrides(options: dict[str, Any]) -> dict[str, Any]:
    password = getpass("SSH password: ") if options["ssh_password_prompt"] else options["ssh_password"]
    found: dict[str, Any] = pyinfra_cli._set_override_data(
        options["data"],
        options["ssh_user"],
        options["ssh_key"],
        options["ssh_key_password"],
        options["ssh_port"],
        password,
    )
    return found
