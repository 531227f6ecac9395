"""A guest that is to be absent: all of it goes but its /var, and nothing of anybody else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import ROOT, deploy, succeed
from tests.lab.side_by_side import on_each
from tests.lab.test_killed import NO_ORPHAN, killed_run
from tests.lab.test_verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

WEB, OTHER = {"name": "web", "credentials": {"token": "x"}}, {"name": "web-1"}
ABSENT = {"name": "web", "state": "absent"}
PURGED = {**ABSENT, "purge": True}
OWN = "/var/lib/pyinfra-nspawn"
VAR = f"{OWN}/web/ostree/deploy/web/var"
# All that tells of it; its name alone, not as the beginning of another's.
TRACES = """
find /etc/systemd /run/systemd/machines -name 'web.nspawn' -o -name '*@web.service*' -o -name web
systemctl list-units --all --plain --no-legend 'systemd-nspawn@web.service'
"""
STARTED = "systemctl show systemd-nspawn@web-1 -p ExecMainStartTimestampMonotonic --value"
HOST = "ostree admin status; find /boot -printf '%p %s %m %T@ %l\\n' | sort; ostree refs"


def total(outcome) -> int:
    return outcome.json["results"]["totals"]["success"]


def is_absent(host: Host) -> None:
    assert host.succeed(TRACES) == ""
    assert host.succeed(f"ls -A {OWN}/web 2>/dev/null || :") in ("", "boot\nostree\n")  # where its /var lies
    assert host.succeed(STARTED) != "0\n"


def test_a_guest_is_removed_but_for_its_var(fresh: dict[str, Host]):
    before = {name: host.succeed(HOST) for name, host in fresh.items()}
    succeed(guests=[WEB, OTHER])
    started = {name: host.succeed(STARTED) for name, host in fresh.items()}
    for host in fresh.values():
        host.succeed(f"echo kept >{VAR}/kept")
    planned = deploy("--dry", "--json", guests=[ABSENT, OTHER])
    assert any("stop and disable systemd-nspawn@web.service" in line for line in planned.lines("lab1"))
    for host in fresh.values():
        assert host.succeed("systemctl -M web is-system-running") == "running\n"
    assert total(succeed(guests=[ABSENT, OTHER])) == 2
    for name, host in fresh.items():
        is_absent(host)
        assert host.succeed(f"cat {VAR}/kept") == "kept\n"
        assert host.succeed(HOST) == before[name]
        assert host.succeed(STARTED) == started[name]
    assert total(succeed(guests=[ABSENT, OTHER])) == 0


def test_tests_verify_looks_whether_it_is_gone(fresh: dict[str, Host], tmp_path: Path):
    check = "test_nothing_is_left_of_guests_that_are_to_be_absent[lab1]"
    path = tmp_path / "inventory.py"
    lab = (ROOT / "inventories/lab.py").read_text()
    path.write_text(f"{lab}\nlab = [(name, {{**data, 'guests': [{ABSENT}]}}) for name, data in lab]\n")
    assert verify("-k", "absent", inventory=path).code == 0
    left = "/var/lib/pyinfra-nspawn/web/current"
    fresh["lab1"].succeed(f"touch {left}")
    try:
        assert left in verify("-k", "absent", inventory=path).failed[check]
    finally:
        fresh["lab1"].succeed(f"rm {left}")


def test_a_later_guest_of_that_name_has_its_var(fresh: dict[str, Host]):
    succeed(guests=[WEB, OTHER])
    for host in fresh.values():
        assert host.succeed("systemd-run -M web --pipe --wait --quiet --collect cat /var/kept") == "kept\n"


def test_purged_nothing_is_left(fresh: dict[str, Host]):
    assert total(succeed(guests=[PURGED, OTHER])) == 2
    for host in fresh.values():
        is_absent(host)
        host.fail(f"test -e {OWN}/web || test -e /sysroot/ostree/deploy/web")
    assert total(succeed(guests=[PURGED, OTHER])) == 0


# The third command of such a run is the removal.
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("sysroot", ["private", "shared"])
def test_a_removal_that_is_killed_is_finished(fresh: dict[str, Host], sysroot: str, count: int):
    succeed(guests=[{**WEB, "sysroot": sysroot}, OTHER])

    def kill(host: Host) -> None:
        if killed_run(host.name, PURGED, count):
            host.wait_until_succeeds(NO_ORPHAN)

    on_each(fresh.values(), kill)
    succeed(guests=[PURGED, OTHER])
    for host in fresh.values():
        is_absent(host)
        host.fail(f"test -e {OWN}/web || test -e /sysroot/ostree/deploy/web")
