"""A guest moves between sysroots and isolations, with its /etc and /var; killed, it goes on, or back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from pyinfra_nspawn.specs.host import STATE_DIRECTORY
from tests.lab.conftest import BOTH, deploy, succeed
from tests.lab.guest import inside
from tests.lab.side_by_side import on_each
from tests.lab.stand_in import stand_ins
from tests.lab.test_killed import NO_ORPHAN, killed_run
from tests.lab.test_unfit import ENOUGH, SMALL

if TYPE_CHECKING:
    from tests.lab import Host

pytestmark = pytest.mark.usefixtures("fresh")

PRIVATE: dict[str, Any] = {"name": "web"}
SHARED = {"name": "web", "sysroot": "shared", "isolation": "overlay"}
NONE = {"name": "web", "sysroot": "shared", "isolation": "none"}
OWN, BESIDE = "/var/lib/pyinfra-nspawn/web", "/sysroot/ostree/deploy/web"
KEEP = """
echo kept >/etc/kept; rm /etc/debian_version
echo kept >/var/kept; chown 1000:1000 /var/kept; ln -s /etc /var/link
"""
KEPT = """
cat /etc/kept; stat -c '%n %u:%g' /etc/kept /var/kept
readlink /var/link; ! test -e /etc/debian_version
"""
IS = "kept\n/etc/kept 0:0\n/var/kept 1000:1000\n/etc\n"
LEFT = {
    "private": f"! [ -e {OWN}/stateroot ] && ! [ -e {BESIDE} ] && [ -d {OWN}/ostree/deploy/web/var ]",
    "shared": f"! [ -e {OWN}/ostree ] && ! [ -e {OWN}/boot ] && [ -d {BESIDE}/var ]",
}


def is_whole(host: Host, guest: dict[str, Any]) -> None:
    """Expect the guest to run where it is wanted, with what it had, and nothing left elsewhere."""
    assert host.succeed("systemctl -M web is-system-running") == "running\n"
    assert inside(host, "web", KEPT) == IS
    host.succeed(LEFT[guest.get("sysroot", "private")])
    assert host.run(f"find {OWN} {BESIDE} -maxdepth 1 -name '.*'").stdout == ""


@pytest.fixture(scope="module")
def hosts(fresh: dict[str, Host]) -> dict[str, Host]:
    succeed(guests=[PRIVATE])
    for host in fresh.values():
        inside(host, "web", KEEP)
    return fresh


def test_it_moves_with_its_etc_and_var(hosts: dict[str, Host]):
    before = {name: host.succeed("ostree admin status") for name, host in hosts.items()}
    for guest in (SHARED, NONE, PRIVATE, NONE, PRIVATE):
        planned = deploy("--dry", "--json", guests=[guest])
        for name in hosts:
            assert not any(line.startswith(("pull ", "deploy ", "point ")) for line in planned.lines(name))
        succeed(guests=[guest])
        on_each(hosts.values(), partial(is_whole, guest=guest))
        assert succeed(guests=[guest]).json["results"]["totals"]["success"] == 0
    assert on_each(hosts.values(), lambda host: host.succeed("ostree admin status")) == before
    on_each(hosts.values(), lambda host: host.succeed("ostree fsck --quiet", timeout=120))


def test_one_that_is_only_to_be_reported_is_not_stopped(hosts: dict[str, Host]):
    started = "systemctl show systemd-nspawn@web -p ExecMainStartTimestampMonotonic"
    before = {name: host.succeed(started) for name, host in hosts.items()}
    outcome = deploy("-y", guests=[{**SHARED, "on_change": "report"}])
    assert outcome.code == 1
    for name, host in hosts.items():
        assert any("sysroot stops it, and `on_change` is 'report'" in line for line in outcome.lines(name))
        assert host.succeed(started) == before[name]


@pytest.mark.parametrize("wanted", [NONE, PRIVATE], ids=["into the host's", "into its own"])
def test_a_move_whose_controller_is_killed_is_finished(hosts: dict[str, Host], wanted: dict[str, Any]):
    """The third command of such a run is the move."""
    succeed(guests=[PRIVATE if wanted is NONE else NONE])
    assert on_each(hosts.values(), lambda host: killed_run(host.name, wanted, 3)) == dict.fromkeys(BOTH, True)
    hosts["lab2"].wait_until_succeeds(NO_ORPHAN)
    succeed(guests=[wanted])
    on_each(hosts.values(), partial(is_whole, guest=wanted))


def test_a_later_guest_in_the_other_sysroot_has_its_var(hosts: dict[str, Host]):
    for first, then in ((PRIVATE, NONE), (NONE, PRIVATE)):
        succeed(guests=[first])
        succeed(guests=[{"name": "web", "state": "absent"}])
        succeed(guests=[then])
        for host in hosts.values():
            assert inside(host, "web", "cat /var/kept; ! test -e /etc/kept") == "kept\n"
            host.succeed(LEFT[then.get("sysroot", "private")])
            inside(host, "web", "echo kept >/etc/kept; rm -f /etc/debian_version")


# It ends the script that calls the tool, the Nth time that it is called.
CUT_OFF = """
count=$(($(cat $own/count 2>/dev/null || echo 0) + 1))
echo $count >$own/count
if [ $count = NTH ]; then kill -KILL $PPID; exit; fi
exec $real "$@"
"""
CUTS = [("ln", 1), ("find", 1), ("cp", 1), ("mv", 1), ("mv", 2), ("mv", 3), ("rm", 1), ("rm", 2)]


def cut_off(hosts: dict[str, Host], tool: str, nth: int) -> None:
    """Move a guest beside its host, killed on each of them; then on one go on, and on the other go back."""
    succeed(guests=[PRIVATE])
    with stand_ins(hosts.values(), tool, CUT_OFF.replace("NTH", str(nth))):
        outcome = deploy("-y", guests=[NONE])
    assert outcome.code == 1

    def go_on_or_back(host: Host) -> None:
        wanted = NONE if host.name == "lab1" else PRIVATE
        succeed("-y", "--limit", host.name, guests=[wanted])
        is_whole(host, wanted)
        again = succeed("-y", "--json", "--limit", host.name, guests=[wanted])
        assert again.json["results"]["totals"]["success"] == 0

    on_each(hosts.values(), go_on_or_back)


@pytest.mark.parametrize(("tool", "nth"), CUTS, ids=str)
def test_a_move_that_is_killed_on_the_host_goes_on_or_back(hosts: dict[str, Host], tool: str, nth: int):
    cut_off(hosts, tool, nth)


def test_it_moves_between_file_systems(fresh: dict[str, Host]):
    succeed(guests=[{"name": "web", "state": "absent", "purge": True}])
    for host in fresh.values():
        host.succeed(f"rm -rf {STATE_DIRECTORY}; {SMALL.replace('SIZE', '1G')}")
    try:
        succeed(guests=[PRIVATE])
        for host in fresh.values():
            inside(host, "web", KEEP)
        for guest in (NONE, PRIVATE):
            succeed(guests=[guest])
            on_each(fresh.values(), partial(is_whole, guest=guest))
        # Between its two renames.
        cut_off(fresh, "mv", 2)
    finally:
        succeed(guests=[{"name": "web", "state": "absent", "purge": True}])
        for host in fresh.values():
            host.succeed(ENOUGH)
