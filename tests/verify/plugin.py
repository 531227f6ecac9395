"""The option that names a fleet: a pytest plugin, which pytest loads wherever this package is installed.

It is light, and does nothing without its option. `conftest.py` has what only the checks use: pytest reads the
conftest of a package that `--pyargs` names when it collects, which is too late for an option.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyinfra_nspawn.verify.places import Host

OPTION = "--nspawn-inventory"
FLEET: pytest.StashKey[list[Host]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    text = "the pyinfra inventory whose hosts `--pyargs pyinfra_nspawn.verify` checks"
    parser.getgroup("pyinfra-nspawn").addoption(OPTION, metavar="PATH", help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Read the fleet, where one is named."""
    inventory = config.getoption(OPTION)
    if inventory is None:
        return
    try:
        from pyinfra_nspawn.verify import fleet  # noqa: PLC0415 # testinfra is heavy, and may be missing
    except ModuleNotFoundError as error:
        message = f"{OPTION} needs {error.name}. Run \"pip install 'pyinfra-nspawn[verify]'\"."
        raise pytest.UsageError(message) from None
    # A socket's path may have no more than about 100 characters: not below pytest's own directory.
    sockets = tempfile.TemporaryDirectory(prefix="verify-")
    config.add_cleanup(sockets.cleanup)
    hosts = config.stash[FLEET] = fleet.read(inventory, Path(sockets.name))
    for host in hosts:
        if host.shell is not None:
            config.add_cleanup(host.shell.close)
