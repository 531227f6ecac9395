"""A host that is given up: refused as long as anything would be lost or left, and then as it was before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.conftest import deploy, succeed
from tests.lab.test_kinds import HOST
from tests.lab.test_removal import total

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

WEB, DB = {"name": "web"}, {"name": "db", "sysroot": "shared", "credentials": {"token": "x"}}
GIVEN_UP: dict[str, Any] = {"nspawn_host": {"state": "absent"}}
PURGED = {"guest_defaults": {"purge": True}, **GIVEN_UP}
LEFT = (
    "find /etc /var/lib /var/tmp -xdev -not -path '/var/lib/systemd/*' -not -path '/var/lib/private/*' | sort"
)
#: It may have been enabled before, or be what others rely on by now.
MACHINES = "/etc/systemd/system/multi-user.target.wants/machines.target"
RUN = "! test -e /run/pyinfra-nspawn && ! ls -d /run/systemd/system/systemd-nspawn@*"


def files(host: Host) -> set[str]:
    return {*host.succeed(LEFT).splitlines(), *host.succeed(HOST).splitlines()}


@pytest.fixture(scope="module")
def before(fresh: dict[str, Host]) -> dict[str, set[str]]:
    """What is on each host before it is given guests."""
    found = {name: files(host) for name, host in fresh.items()}
    succeed(guests=[WEB, DB])
    return found


@pytest.mark.parametrize(
    ("guests", "problem"),
    [
        ([{**WEB, "purge": True}, DB], "the /var of guest db would be left on the host"),
        ([{**WEB, "purge": True}], "guest db is on the host, and in no inventory"),
    ],
)
def test_nothing_is_removed_as_long_as_something_would_be_left(
    fresh: dict[str, Host], before: dict[str, set[str]], guests: list[object], problem: str
):
    assert before
    outcome = deploy(guests=guests, **GIVEN_UP)
    assert outcome.code != 0
    for name, host in fresh.items():
        assert any(problem in line for line in outcome.lines(name))
        for guest in ("web", "db"):
            assert host.succeed(f"systemctl -M {guest} is-system-running") == "running\n"


def test_it_is_as_it_was(fresh: dict[str, Host], before: dict[str, set[str]]):
    planned = deploy("--dry", "--json", guests=[WEB, DB], **PURGED)
    assert planned.code == 0, planned.stderr
    for name, host in fresh.items():
        said = planned.lines(name)
        assert any("remove guest web" in line for line in said)
        assert any(line.startswith("remove /var/lib/pyinfra-nspawn, /etc/sysctl.d/") for line in said)
        assert host.succeed("systemctl -M db is-system-running") == "running\n"
    assert total(succeed(guests=[WEB, DB], **PURGED)) == 2
    for name, host in fresh.items():
        assert files(host) - before[name] <= {MACHINES}
        assert before[name] <= files(host)
        host.succeed(RUN)


def test_the_second_run_does_nothing():
    assert total(succeed(guests=[WEB, DB], **PURGED)) == 0
    # Its inventory may have forgotten the guests by then.
    assert total(succeed(guests=[], **GIVEN_UP)) == 0


def test_it_is_given_guests_again(fresh: dict[str, Host]):
    succeed(guests=[WEB])
    for host in fresh.values():
        assert host.succeed("systemctl -M web is-system-running") == "running\n"
