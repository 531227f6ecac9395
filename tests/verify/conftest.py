"""The hosts and guests that the checks are given."""

from __future__ import annotations

from typing import TypeVar

import pytest

from pyinfra_nspawn.verify import fleet
from pyinfra_nspawn.verify.places import Guest, Host, Place
from pyinfra_nspawn.verify.plugin import FLEET, OPTION

P = TypeVar("P", bound=Place)
HOW = f"name a pyinfra inventory: pytest --pyargs pyinfra_nspawn.verify {OPTION} inventories/mine.py"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    hosts = metafunc.config.stash.get(FLEET, None)
    for name, parameters in (("host", fleet.parameters), ("guest", fleet.guest_parameters)):
        if name in metafunc.fixturenames:
            reason = HOW if hosts is None else f"the inventory has no {name}s"
            nothing = [pytest.param(None, id="none", marks=pytest.mark.skip(reason=reason))]
            metafunc.parametrize(name, [*parameters(hosts or [])] or nothing, indirect=True, scope="session")


@pytest.fixture(scope="session")
def host(request: pytest.FixtureRequest) -> Host:
    """A host of the inventory, reached. (testinfra's own fixture of that name knows its own options only.)"""
    wanted: Host = request.param
    return _reached(wanted, wanted)


@pytest.fixture(scope="session")
def guest(request: pytest.FixtureRequest) -> Guest:
    """A guest of the inventory, on a host that was reached."""
    wanted: Guest = request.param
    return _reached(wanted, wanted.host)


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
