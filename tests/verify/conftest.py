"""The option that names a fleet, and the hosts and guests that its checks are given."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TypeVar

import pytest

from tests.verify import fleet
from tests.verify.places import Guest, Host, Place

FLEET = pytest.StashKey[list[Host]]()
P = TypeVar("P", bound=Place)
HOW = "name a pyinfra inventory: pytest tests/verify --inventory inventories/mine.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", metavar="PATH", help="the pyinfra inventory whose hosts are checked")


def pytest_configure(config: pytest.Config) -> None:
    # Not there when this folder was not named on the command line: then it is too late for options.
    inventory = config.getoption("--inventory", default=None)
    if inventory is None:
        return
    # A socket's path may have no more than about 100 characters: not below pytest's own directory.
    sockets = tempfile.TemporaryDirectory(prefix="verify-")
    config.add_cleanup(sockets.cleanup)
    hosts = config.stash[FLEET] = fleet.read(inventory, Path(sockets.name))
    for host in hosts:
        if host.shell is not None:
            config.add_cleanup(host.shell.close)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    hosts = metafunc.config.stash.get(FLEET, None)
    for name, parameters, without in (
        ("host", fleet.parameters, "the inventory has no hosts"),
        ("guest", fleet.guest_parameters, "the inventory has no guests"),
    ):
        if name in metafunc.fixturenames:
            reason = HOW if hosts is None else without
            nothing = [pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))]
            metafunc.parametrize(name, [*parameters(hosts or [])] or nothing, indirect=True, scope="session")


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Host:
    """A host of the inventory, reached. (testinfra's own fixture of that name knows its own options only.)"""
    return _reached(request.param, request.param)


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest) -> Guest:
    """A guest of the inventory, on a host that was reached."""
    return _reached(request.param, request.param.host)


def _reached(place: P, host: Host) -> P:
    """Return `place`, or say in one sentence why nobody can look at it; that is tried once a host."""
    if host.shell is not None and host.shell.obstacle:
        pytest.fail(host.shell.obstacle, pytrace=False)
    return place


@pytest.fixture
def running(guest: Guest) -> Guest:
    """The guest, which is to run and does."""
    if guest.spec.state != "running":
        pytest.skip(f"{guest} is to be stopped")
    if guest.unit["ActiveState"] != "active":
        # That is one promise, and one check fails for it; the others have nothing to look at.
        pytest.skip(f"{guest} does not run: see test_the_guest_runs_as_wanted")
    return guest
