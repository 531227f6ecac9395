"""What the pytest plugin of `tests/verify` adds to a pytest run that does not check a fleet."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pyinfra_nspawn.verify import fleet

if TYPE_CHECKING:
    from pathlib import Path

PLUGIN = "pyinfra_nspawn.verify.plugin"
HEAVY = {"gevent", "paramiko", "pydantic", "pyinfra", "testinfra"}
OTHER = """
import pytest

@pytest.fixture
def host():
    return "a host of mine"

@pytest.fixture(params=["one", "two"])
def guest(request):
    return request.param

def test_fixtures(host, guest, pytestconfig):
    assert host == "a host of mine"
    assert guest in ("one", "two")
    assert pytestconfig.getoption("--inventory") == "mine"

def test_no_running(running):
    pass
"""
OPTION = """
def pytest_addoption(parser):
    parser.addoption("--inventory", default="mine")
"""


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_is_loaded_by_every_pytest_and_imports_nothing_heavy(tmp_path: Path):
    show = (
        "import sys; from importlib.metadata import entry_points; "
        "(found,) = entry_points(group='pytest11', name='pyinfra-nspawn'); "
        "print(found.load().__name__, *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    name, *modules = python("-c", show, cwd=tmp_path).stdout.split()
    assert name == PLUGIN
    assert not HEAVY & set(modules)


def test_another_pytest_run_has_its_own_fixtures_and_options(tmp_path: Path):
    (tmp_path / "conftest.py").write_text(OPTION)
    (tmp_path / "test_other.py").write_text(OTHER)
    done = python("-m", "pytest", "-rA", "-W", "error", "-p", "no:cacheprovider", cwd=tmp_path)
    assert "fixture 'running' not found" in done.stdout
    assert "2 passed, 1 error" in done.stdout, done.stdout


@pytest.mark.parametrize(
    ("inventory", "why"),
    [
        ("wrong.py", "inventory of one: guests.0.sauce: no such field"),
        ("missing.py", "the inventory missing.py has no hosts"),
        ("empty.py", "the inventory empty.py has no hosts"),
    ],
)
def test_an_inventory_of_which_nothing_can_be_checked_is_refused(tmp_path: Path, inventory: str, why: str):
    (tmp_path / "wrong.py").write_text("hosts = [('one', {'guests': [{'name': 'web', 'sauce': 'host'}]})]\n")
    (tmp_path / "empty.py").write_text("hosts = []\n")
    checks = ("--pyargs", PLUGIN.rpartition(".")[0], "--nspawn-inventory", inventory)
    done = python("-m", "pytest", *checks, cwd=tmp_path)
    assert done.returncode == 4
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_the_guests_that_are_checked_have_the_defaults_of_their_inventory(tmp_path: Path):
    hosts = {host.name: host for host in fleet.read("inventories/thirty/fleet.py", tmp_path)}
    specs = {guest.spec.name: guest.spec for guest in hosts["shop07.example.org"].guests}
    assert {name: spec.limits.memory_max for name, spec in specs.items()} == {"till": "1G", "db": "4G"}
