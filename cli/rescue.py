"""Enter a guest that does not boot: a shell in place of its init, by way of its host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyinfra.api.exceptions import InventoryError

from pyinfra_nspawn import __version__
from pyinfra_nspawn.cli.guest import connection, host_in, passed_on, raw_terminal, typed
from pyinfra_nspawn.facts.program import command_line
from pyinfra_nspawn.operations._program import controller
from pyinfra_nspawn.plans.render import define
from pyinfra_nspawn.plans.render.rescue import SHELL, rescue_words
from pyinfra_nspawn.specs.inventory import guests_from

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyinfra_nspawn.cli.inventory import Loaded
    from pyinfra_nspawn.specs import Guest


def rescue(loaded: Loaded, host: str, guest: str, words: Sequence[str]) -> int:
    """Run a command in a guest that does not run, or a login shell at this process's terminal.

    + loaded: the inventory that defines the guest
    + host, guest: their names
    + words: a command of the guest; none for a login shell

    Returns its exit code. Raises `ConnectError`, `InventoryError` and `InvalidSpecError`.
    """
    wanted = _wanted(loaded, host, guest)
    runs = (define(wanted).digest, *rescue_words(wanted, words or SHELL))
    options = ("--by", controller(), "--version", __version__)
    line = command_line("rescue", guest, "--pipe" if words else "--pty", *runs, options=options)
    with connection(loaded, host, guest) as connector, connector.reached():
        if words:
            with connector.beside(["sh", "-c", line], typed()) as channel:
                return passed_on(channel)
        with raw_terminal(), connector.beside(["sh", "-c", line], typed(), keep_open=True) as channel:
            return passed_on(channel)


def _wanted(loaded: Loaded, host: str, guest: str) -> Guest:
    """Return the guest as the inventory defines it, with its mounts and its isolation."""
    guests = guests_from(host_in(loaded, host).data.dict(), f"inventory of {host}")
    wanted = next((item for item in guests if item.name == guest), None)
    if wanted is None:
        raise InventoryError(f"the inventory has no guest {guest} on {host}")
    return wanted
